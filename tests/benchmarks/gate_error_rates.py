"""Error rates and power of the non-inferiority gate, simulated; run by hand, prints a table.

For each population a candidate that is worse by *just the margin* is drawn again and again: the share that passes is
the gate's error rate, and must not be above 5% but for the noise of the simulation. The same with a candidate that is
not worse: the share that passes is the power. The plain percentile bootstrap stands beside it, for comparison.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ftdeploy.metrics import METRICS, Floats, Ids, Metric
from ftdeploy.statistics import compare, resample


@dataclass(frozen=True)
class Population:
    """Two classes; by class: its share, what both get wrong, what the candidate loses and gains."""

    name: str
    shares: tuple[float, float]
    wrong: tuple[float, float]
    lost: tuple[float, float]
    gained: tuple[float, float]

    def cells(self, *, worse: bool) -> tuple[Ids, Floats]:
        """Cells (true, baseline, candidate), int64 (8, 3), and their probabilities; not worse: losses are halved, and
        as many rows are gained as lost."""
        cells, weights = [], []
        for truth in (0, 1):
            lost, gained, other = self.lost[truth], self.gained[truth], 1 - truth
            if not worse:
                lost = gained = (lost + gained) / 2
            both = self.wrong[truth]
            cells += [(truth, truth, truth), (truth, truth, other), (truth, other, truth), (truth, other, other)]
            weights += [self.shares[truth] * part for part in (1 - both - lost - gained, lost, gained, both)]
        return np.array(cells, dtype=np.int64), np.array(weights)


def populations(drop: float) -> list[Population]:
    """Populations whose accuracy drops by ``drop``: losses only, few gains, many flips, a rare class that is hurt."""
    return [
        Population("losses only", (0.5, 0.5), (0.12, 0.12), (drop, drop), (0.0, 0.0)),
        Population("few gains", (0.5, 0.5), (0.12, 0.12), (1.25 * drop, 1.25 * drop), (0.25 * drop, 0.25 * drop)),
        Population("many flips", (0.5, 0.5), (0.1, 0.1), (drop + 0.03, drop + 0.03), (0.03, 0.03)),
        Population("rare class hurt", (0.9, 0.1), (0.05, 0.2), (drop / 2, 5.5 * drop), (0.0, 0.0)),
    ]


def value(metric: Metric, cells: Ids, weights: Floats, column: int) -> float:
    """The metric in the population itself, for the answers in a column of the cells."""
    return float(metric.value(weights @ metric.statistics(cells[:, 0], cells[:, column], 2)))


def shares_that_pass(metric: Metric, cells: Ids, weights: Floats, margin: float, *, rows: int,
                     pairs: int) -> tuple[float, float]:  # fmt: skip
    """(the gate's, the plain percentile bootstrap's) share of passes among simulated pairs of models."""
    random = np.random.default_rng(20)
    known: dict[bytes, tuple[bool, bool]] = {}
    passes = np.zeros(2)
    for _ in range(pairs):
        counts = random.multinomial(rows, weights)
        key = _key(metric, cells, counts)
        if key not in known:
            sample = np.repeat(cells, counts, axis=0).T
            gate = compare(metric, *sample, classes=2, margin=margin, resamples=4000).verdict == "pass"
            known[key] = (gate, _percentile(metric, sample, margin))
        passes += known[key]
    return float(passes[0] / pairs), float(passes[1] / pairs)


def _key(metric: Metric, cells: Ids, counts: Ids) -> bytes:
    """Samples with one key have one verdict: for accuracy only the numbers of losses and gains count."""
    if metric.name != "accuracy":
        return counts.tobytes()
    before, after = cells[:, 1] == cells[:, 0], cells[:, 2] == cells[:, 0]
    return np.array([counts[before & ~after].sum(), counts[~before & after].sum()]).tobytes()


def _percentile(metric: Metric, sample: Ids, margin: float) -> bool:
    before, after = (metric.statistics(sample[0], guess, 2) for guess in sample[1:])
    width = before.shape[1]
    sums = resample(np.concatenate([before, after], axis=1), resamples=4000, seed=13)
    return bool(np.quantile(metric.value(sums[:, width:]) - metric.value(sums[:, :width]), 0.05) > -margin)


def main(say: Callable[[str], None]) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=2000)
    parser.add_argument("--rows", type=int, nargs="+", default=[200, 1000, 5000])
    parser.add_argument("--drop", type=float, default=0.02, help="of the accuracy, at the margin")
    options = parser.parse_args()
    say(f"{options.pairs} pairs each; two standard errors at 5%: {2 * (0.0475 / options.pairs) ** 0.5:.3f}")
    say("| population | metric | margin | rows | false passes | percentile bootstrap | power at no drop |")
    say("|---|---|---|---|---|---|---|")
    for population in populations(options.drop):
        worse, equal = population.cells(worse=True), population.cells(worse=False)
        for metric in METRICS.values():
            margin = value(metric, *worse, 1) - value(metric, *worse, 2)
            for rows in options.rows:
                wrong, plain = shares_that_pass(metric, *worse, margin, rows=rows, pairs=options.pairs)
                power, _ = shares_that_pass(metric, *equal, margin, rows=rows, pairs=options.pairs)
                say(
                    f"| {population.name} | {metric.name} | {margin:.4f} | {rows} | {wrong:.3f} | {plain:.3f} "
                    f"| {power:.3f} |"
                )


if __name__ == "__main__":
    main(lambda line: print(line, flush=True))  # noqa: T201 - printing is what it is for
