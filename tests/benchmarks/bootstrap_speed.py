"""How long the paired bootstrap takes, metric by metric; run by hand, prints a table.

Two models' answers to the same rows, resampled 10,000 times: `compare` as the gates call it, and `estimate` of one
model. Beside it, what a plain bootstrap would take that draws rows, reckoned from a few of its resamples.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np

from ftdeploy.metrics import METRICS, SCORE_METRICS, Floats, Ids, Metric
from ftdeploy.statistics import compare, compare_accuracy, estimate

_PLAIN = 20  # resamples of rows that are timed


def models(rows: int, classes: int) -> tuple[Ids, Floats, Floats]:
    """References, and two models' probabilities that differ a little in every row."""
    random = np.random.default_rng(0)
    references = random.integers(0, classes, rows)
    logits = 1.5 * random.normal(size=(rows, classes))
    logits[np.arange(rows), references] += 3 + np.log(classes) / 2
    other = logits + 0.3 * random.normal(size=logits.shape)
    first, second = (np.exp(one) / np.exp(one).sum(axis=1, keepdims=True) for one in (logits, other))
    return references, first, second


def seconds(work: Callable[[], object]) -> float:
    """Of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def plain(metric: Metric, references: Ids, scores: list[Floats], classes: int, resamples: int) -> float:
    """Seconds that drawing rows would take."""
    parts = [metric.statistics(references, one.argmax(axis=1), classes, one) for one in scores]
    every, random = np.concatenate(parts, axis=1), np.random.default_rng(1)

    def some() -> None:
        for _ in range(_PLAIN):
            sums = every[random.integers(0, len(every), len(every))].sum(axis=0)
            metric.value(np.stack(np.split(sums, 2)))

    return seconds(some) * resamples / _PLAIN


def main(say: Callable[[str], None]) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--resamples", type=int, default=10_000)
    parser.add_argument("--classes", type=int, nargs="+", default=[2, 10])
    options = parser.parse_args()
    say(f"{options.rows:,} rows, {options.resamples:,} resamples; seconds")
    say("| metric | classes | compare | estimate | compare by drawing rows, reckoned |")
    say("|---|---|---|---|---|")
    for classes in options.classes:
        references, *scores = models(options.rows, classes)
        baseline, candidate = (one.argmax(axis=1) for one in scores)
        exact = seconds(lambda: compare_accuracy(references, baseline, candidate, margin=0.02))  # noqa: B023 - at once
        say(f"| accuracy by Tango's interval | {classes} | {exact:.2f} | | |")
        for metric in (*METRICS.values(), *SCORE_METRICS.values()):
            both = seconds(lambda: compare(
                metric, references, baseline, candidate, classes=classes, margin=0.02, resamples=options.resamples,  # noqa: B023
                baseline_scores=scores[0], candidate_scores=scores[1],  # noqa: B023
            ))  # fmt: skip
            one = seconds(lambda: estimate(
                metric, references, candidate, classes, resamples=options.resamples, scores=scores[1],  # noqa: B023
            ))  # fmt: skip
            rows = plain(metric, references, scores, classes, options.resamples)
            say(f"| {metric.name} | {classes} | {both:.2f} | {one:.2f} | {rows:,.0f} |")


if __name__ == "__main__":
    main(lambda line: print(line, flush=True))  # noqa: T201 - printing is what it is for
