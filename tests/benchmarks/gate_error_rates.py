"""Error rates and power of every statistical gate, simulated; run by hand, prints a table.

For each population a candidate that is worse by *just the margin* is drawn again and again: the share that passes is
the gate's error rate, and must not be above 5% but for the noise of the simulation. The same with a candidate that is
not worse: the share that passes is the power. Where there is one, a plainer method stands beside it, for comparison:
the percentile bootstrap without the least favourable row, Tango's interval without the continuity correction.

Populations of counts have two classes; those of probabilities a true log odds, which both models see with noise and
scale: a scale of 1 is calibrated.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import get_args

import numpy as np
from scipy.special import expit, ndtri

from ftdeploy.metrics import METRICS, SCORE_METRICS, Floats, Ids, Metric, score
from ftdeploy.statistics import (
    Verdict,
    compare,
    compare_accuracy,
    equivalent,
    resample,
    slices_non_inferior,
    superior,
)
from ftdeploy.statistics.proportions import tango_score
from ftdeploy.statistics.slices import Rule

RESAMPLES = 1000
SLICES = 10
_LEAST = 1e-3
ACCURACY = METRICS["accuracy"]


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


@dataclass(frozen=True)
class Scores:
    """Two classes; the probability of the last by each model: the true log odds with noise, times a scale.

    Attributes:
        baseline, candidate: scale and noise.
        equal: of a candidate that is not worse.
    """

    name: str
    baseline: tuple[float, float]
    candidate: tuple[float, float]
    equal: tuple[float, float]

    def draw(self, random: np.random.Generator, rows: int, *, worse: bool) -> tuple[Ids, Floats, Floats]:
        """References, int64 (rows,), and both models' probabilities, float64 (rows, 2)."""
        odds = random.normal(1.5, 2.0, rows) * random.choice([-1, 1], rows)
        references = (random.random(rows) < expit(odds)).astype(np.int64)
        shared = random.normal(size=rows)
        found = []
        for scale, noise in (self.baseline, self.candidate if worse else self.equal):
            last = expit(scale * (odds + noise * (0.95 * shared + 0.31 * random.normal(size=rows))))
            found.append(np.stack([1 - last, last], axis=1))
        return references, found[0], found[1]


SCORES = (
    Scores("overconfident", (1.0, 0.3), (1.3, 0.3), (1.0, 0.3)),
    Scores("noisier", (1.0, 0.3), (1.0, 0.9), (1.0, 0.3)),
    Scores("both uncalibrated", (1.5, 0.3), (1.8, 0.5), (1.5, 0.3)),
)


@dataclass(frozen=True)
class Line:
    """A line of the table; ``plain`` is the false passes of a plainer method."""

    gate: str
    population: str
    margin: float
    rows: int
    wrong: float
    power: float
    plain: float | None = None

    def __str__(self) -> str:
        plain = "" if self.plain is None else f"{self.plain:.3f}"
        return (
            f"| {self.gate} | {self.population} | {self.margin:.4f} | {self.rows} | {self.wrong:.3f} | {plain} "
            f"| {self.power:.3f} |"
        )


Sample = tuple[Ids, Ids, Ids]
Gate = Callable[[Sample, float], bool]


def passed(verdict: Verdict) -> bool:
    """Whether the gate lets the candidate through."""
    return verdict == "pass"


def bootstrap(metric: Metric) -> Gate:
    """Non-inferiority by the bootstrap."""
    return lambda rows, margin: passed(
        compare(metric, *rows, classes=2, margin=margin, resamples=RESAMPLES, seed=13).verdict
    )


def percentile(metric: Metric) -> Gate:
    """The same without the least favourable row."""

    def gate(rows: Sample, margin: float) -> bool:
        before, after = (metric.statistics(rows[0], guess, 2) for guess in rows[1:])
        width = before.shape[1]
        sums = resample(np.concatenate([before, after], axis=1), resamples=RESAMPLES, seed=13)
        return bool(np.quantile(metric.value(sums[:, width:]) - metric.value(sums[:, :width]), 0.05) > -margin)

    return gate


def plain_tango(rows: Sample, margin: float) -> bool:
    """Tango's interval as published."""
    was, now = rows[1] == rows[0], rows[2] == rows[0]
    found = tango_score(int((was & ~now).sum()), int((~was & now).sum()), len(was), -margin, 0.0)
    return bool(found > ndtri(0.95))


def gate_of(name: str) -> tuple[Gate, Gate | None, Metric]:
    """The gate, a plainer one, and the metric."""
    if name == "Tango accuracy":
        gate: Gate = lambda rows, margin: passed(compare_accuracy(*rows, margin=margin).verdict)  # noqa: E731 - a table
        return gate, plain_tango, ACCURACY
    if name == "equivalence accuracy":
        return (
            lambda rows, margin: passed(
                equivalent(ACCURACY, *rows, classes=2, margin=margin, resamples=RESAMPLES).verdict
            ),
            None,
            ACCURACY,
        )
    metric = METRICS[name.removeprefix("bootstrap ")]
    return bootstrap(metric), percentile(metric) if metric is ACCURACY else None, metric


COUNTS = ("bootstrap accuracy", "bootstrap macro_f1", "bootstrap mcc", "Tango accuracy", "equivalence accuracy")


def drawn(cells: Ids, weights: Floats, rows: int, pairs: int) -> Iterator[tuple[Sample, bytes]]:
    """Samples of the rows of both models, and a key that equal samples share."""
    random = np.random.default_rng(20)
    for _ in range(pairs):
        counts = random.multinomial(rows, weights)
        truth, before, after = np.repeat(cells, counts, axis=0).T
        yield (truth, before, after), counts.tobytes()


def share(gate: Gate, metric: Metric, cells: Ids, weights: Floats, margin: float, *, rows: int, pairs: int) -> float:
    """Share of passes among simulated pairs of models."""
    known: dict[bytes, bool] = {}
    total = 0
    for sample, every in drawn(cells, weights, rows, pairs):
        key = _flips(sample) if metric is ACCURACY else every
        if key not in known:
            known[key] = gate(sample, margin)
        total += known[key]
    return total / pairs


def _flips(sample: Sample) -> bytes:
    """For accuracy only the numbers of losses and gains count."""
    was, now = sample[1] == sample[0], sample[2] == sample[0]
    return np.array([(was & ~now).sum(), (~was & now).sum()]).tobytes()


def counted(name: str, drop: float, index: int, rows: int, pairs: int) -> Line:
    """A gate on metrics of counts."""
    population = populations(drop)[index]
    gate, plain, metric = gate_of(name)
    worse, equal = population.cells(worse=True), population.cells(worse=False)
    before, after = (
        float(metric.value(worse[1] @ metric.statistics(worse[0][:, 0], worse[0][:, column], 2))) for column in (1, 2)
    )
    run = partial(share, metric=metric, margin=before - after, rows=rows, pairs=pairs)
    wrong = run(gate, cells=worse[0], weights=worse[1])
    power = run(gate, cells=equal[0], weights=equal[1])
    beside = run(plain, cells=worse[0], weights=worse[1]) if plain else None
    return Line(name, population.name, before - after, rows, wrong, power, beside)


def superiority(drop: float, index: int, rows: int, pairs: int) -> Line:
    """False: a candidate that is just as good passes. Power: at a gain of twice the drop."""
    population = populations(2 * drop)[index]

    def gate(sample: Sample, _: float) -> bool:
        return passed(superior(ACCURACY, *sample, classes=2, resamples=RESAMPLES).verdict)

    cells, weights = population.cells(worse=False)
    wrong = share(gate, ACCURACY, cells, weights, 0.0, rows=rows, pairs=pairs)
    cells, weights = population.cells(worse=True)
    # The worse candidate is taken for the baseline.
    power = share(gate, ACCURACY, cells[:, [0, 2, 1]], weights, 0.0, rows=rows, pairs=pairs)
    return Line("superiority accuracy", population.name, 0.0, rows, wrong, power)


def scored(name: str, index: int, rows: int, pairs: int) -> Line | None:
    """Non-inferiority in a metric of probabilities; None where nothing is worse, as ranks do not see a scale."""
    population, metric = SCORES[index], SCORE_METRICS[name]
    exact = population.draw(np.random.default_rng(1), 1_000_000, worse=True)
    values = [score(metric, exact[0], one.argmax(axis=1), 2, one) for one in exact[1:]]
    margin = abs(values[1] - values[0])
    if margin < _LEAST:
        return None
    shares = []
    for worse in (True, False):
        random, total = np.random.default_rng(21), 0
        for _ in range(pairs):
            references, before, after = population.draw(random, rows, worse=worse)
            found = compare(metric, references, before.argmax(axis=1), after.argmax(axis=1), classes=2, margin=margin,
                            resamples=RESAMPLES // 2, baseline_scores=before, candidate_scores=after)  # fmt: skip
            total += passed(found.verdict)
        shares.append(total / pairs)
    return Line(f"bootstrap {name}", population.name, margin, rows, *shares)


def sliced(rule: Rule, drop: float, rows: int, pairs: int) -> Line:
    """Ten slices of so many rows. False passes: one slice is worse by just the margin, and the others are not worse.
    Beside it, false alarms: every slice is worse by just the margin, and the gate fails. Power: none is worse."""
    margin = 3 * drop
    bad, fine = (Population("", (0.5, 0.5), (0.1, 0.1), (margin + 0.02, margin + 0.02), (0.02, 0.02)).cells(worse=True),
                 Population("", (0.5, 0.5), (0.1, 0.1), (0.02, 0.02), (0.02, 0.02)).cells(worse=True))  # fmt: skip
    groups = {str(at): np.arange(at * rows, (at + 1) * rows) for at in range(SLICES)}

    def verdicts(hurt: int) -> list[Verdict]:
        random, found = np.random.default_rng(22), []
        for _ in range(pairs):
            parts = [np.repeat(cells, random.multinomial(rows, weights), axis=0)
                     for cells, weights in [bad] * hurt + [fine] * (SLICES - hurt)]  # fmt: skip
            truth, before, after = np.concatenate(parts).T
            result = slices_non_inferior(ACCURACY, truth, before, after, groups, classes=2, margin=margin, rule=rule)
            found.append(result.verdict)
        return found

    wrong, alarms, power = verdicts(1), verdicts(SLICES), verdicts(0)
    return Line(f"slices {rule}", f"{SLICES} slices; beside: false alarms", margin, rows, wrong.count("pass") / pairs,
                power.count("pass") / pairs, alarms.count("fail") / pairs)  # fmt: skip


def main(say: Callable[[str], None]) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=2000)
    parser.add_argument("--score-pairs", type=int, default=200, help="of metrics of probabilities")
    parser.add_argument("--rows", type=int, nargs="+", default=[200, 1000, 5000])
    parser.add_argument("--drop", type=float, default=0.02, help="of the accuracy, at the margin")
    parser.add_argument("--only", default="", help="gates with this in their name")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    drop, pairs, fewer = options.drop, options.pairs, options.score_pairs
    for count in (pairs, fewer):
        say(f"{count} pairs: two standard errors at 5% are {2 * (0.0475 / count) ** 0.5:.3f}")
    say("| gate | population | margin | rows | false passes | of the plainer method | power at no drop |")
    say("|---|---|---|---|---|---|---|")
    kinds = range(len(populations(drop)))
    jobs: list[tuple[str, Callable[[], Line | None]]] = [
        *((name, partial(counted, name, drop, kind, rows, pairs))
          for name in COUNTS for kind in kinds for rows in options.rows),
        *(("superiority accuracy", partial(superiority, drop, kind, rows, pairs))
          for kind in kinds for rows in options.rows),
        *((f"slices {rule}", partial(sliced, rule, drop, rows, pairs))
          for rule in get_args(Rule) for rows in options.rows),
        *((f"bootstrap {name}", partial(scored, name, kind, rows, fewer))
          for name in SCORE_METRICS for kind in range(len(SCORES)) for rows in options.rows),
    ]  # fmt: skip
    with ProcessPoolExecutor(options.workers) as pool:
        for waiting in [pool.submit(job) for name, job in jobs if options.only in name]:
            if found := waiting.result():
                say(str(found))


if __name__ == "__main__":
    main(lambda line: print(line, flush=True))  # noqa: T201 - printing is what it is for
