"""Is the candidate worse than the baseline by more than a margin? A verdict with a known error rate.

Paired non-inferiority by the bootstrap (Efron & Tibshirani 1993, ch. 13 and 16; non-inferiority as in Blackwelder
1982): baseline and candidate answer the same rows, the rows are resampled with replacement, and the candidate passes
when the lower end of the one-sided interval of (candidate - baseline) lies above -margin.

The plain percentile bootstrap claims too much when few rows flip: it cannot draw what the sample does not hold, and
with no flip at all its interval has no width. Computed exactly, a candidate that is worse by just the margin then
passes up to 13% of the time instead of 5%. So each end is bootstrapped from the sample and *one row more, the least
favourable one that could have come* (for accuracy: a row that the baseline gets right and the candidate wrong): the
rule of succession, on the side where it hurts. For rows without any flip it gives the rule of three (Hanley &
Lippman-Hand 1983): n equal answers show that at most about 3/n of the rows differ. With it the share of false passes
stays below 5% everywhere that was computed (tests/benchmarks/gate_error_rates.py prints it), for 1/n of the width.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import permutations
from typing import Literal

import numpy as np
from scipy.special import ndtri

from ftdeploy.metrics import Floats, Ids, Metric

Verdict = Literal["pass", "fail", "inconclusive"]

#: The least favourable row is looked for among this many of the rarest classes; a row weighs most in a rare one.
_RAREST = 24


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A metric over some rows.

    Attributes:
        value: the metric.
        lower, upper: ends of its interval; each is one-sided at the stated confidence.
    """

    value: float
    lower: float
    upper: float


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Candidate against baseline on the same rows.

    Attributes:
        metric: its name.
        baseline, candidate: the metric of each.
        difference: candidate - baseline.
        lower, upper: ends of the interval of the difference; each is one-sided at the stated confidence.
        margin: the drop that is tolerated.
        rows: how many rows were compared.
        verdict: pass when lower > -margin; fail when the difference itself is at or below -margin (no number of
            rows would change that, if it stays); else inconclusive.
        rows_to_decide: for an inconclusive verdict, about how many rows would give a pass if the difference stays.
    """

    metric: str
    baseline: float
    candidate: float
    difference: float
    lower: float
    upper: float
    margin: float
    rows: int
    verdict: Verdict
    rows_to_decide: int | None = None


def resample(statistics: Floats, *, resamples: int, seed: int, extra: Floats | None = None) -> Floats:
    """Sums of per-row statistics over bootstrap resamples of the rows.

    Rows with equal statistics are interchangeable, so the resample is drawn as multinomial counts over the distinct
    ones: the same distribution as drawing rows, at a cost that does not grow with the rows for count metrics.

    Args:
        statistics: float64, shape (rows, k).
        resamples: how many.
        seed: of the generator.
        extra: one row more to draw from, float64, shape (k,). A resample still has as many rows as ``statistics``.

    Returns:
        float64, shape (resamples, k).
    """
    cells, counts = _cells(statistics)
    if extra is not None:
        cells, counts = np.concatenate([cells, extra[None]]), np.append(counts, 1)
    rows = len(statistics)
    generator = np.random.default_rng(seed)
    sums = np.empty((resamples, statistics.shape[1]))
    # Pieces keep memory bounded when every row is its own cell (8 bytes * piece * cells).
    piece = max(1, min(resamples, 20_000_000 // len(cells)))
    for start in range(0, resamples, piece):
        size = min(piece, resamples - start)
        sums[start : start + size] = generator.multinomial(rows, counts / counts.sum(), size=size) @ cells
    return sums


def estimate(metric: Metric, references: Ids, predictions: Ids, classes: int, *, confidence: float = 0.95,
             resamples: int = 10_000, seed: int = 13) -> Estimate:  # fmt: skip
    """A metric with the ends of its interval, each one-sided at ``confidence``.

    Args:
        metric: which one.
        references, predictions: class ids, int64, shape (rows,).
        classes: how many classes there are.
        confidence: of each end.
        resamples: bootstrap resamples.
        seed: of the generator.
    """
    statistics = metric.statistics(references, predictions, classes)
    sums = statistics.sum(axis=0)
    pairs = _pairs(references, predictions, classes=classes)
    wrong = metric.statistics(pairs[:, 0], pairs[:, 1], classes)
    right = metric.statistics(pairs[:, 0], pairs[:, 0], classes)
    low, high = wrong[np.argmin(metric.value(sums + wrong))], right[np.argmax(metric.value(sums + right))]
    value = float(metric.value(sums))
    below = metric.value(resample(statistics, resamples=resamples, seed=seed, extra=low))
    above = metric.value(resample(statistics, resamples=resamples, seed=seed, extra=high))
    return Estimate(value=value, lower=_low(below, confidence), upper=_high(above, confidence))


def compare(metric: Metric, references: Ids, baseline: Ids, candidate: Ids, *, classes: int, margin: float,
            confidence: float = 0.95, resamples: int = 10_000, seed: int = 13) -> Comparison:  # fmt: skip
    """Paired non-inferiority of ``candidate`` to ``baseline``.

    Args:
        metric: what is compared; higher is better.
        references: true class ids, int64, shape (rows,), at least one.
        baseline, candidate: predicted class ids, int64, shape (rows,), in the same order.
        classes: how many classes there are.
        margin: the largest drop that is tolerated, in units of the metric.
        confidence: of each one-sided end.
        resamples: bootstrap resamples.
        seed: of the generator.
    """
    before = metric.statistics(references, baseline, classes)
    after = metric.statistics(references, candidate, classes)
    both = np.concatenate([before, after], axis=1)
    width = before.shape[1]

    def differences(sums: Floats) -> Floats:
        return np.asarray(metric.value(sums[..., width:]) - metric.value(sums[..., :width]))

    pairs = _pairs(references, baseline, candidate, classes=classes)
    right = metric.statistics(pairs[:, 0], pairs[:, 0], classes)
    wrong = metric.statistics(pairs[:, 0], pairs[:, 1], classes)
    sums = both.sum(axis=0)
    harm, help_ = np.concatenate([right, wrong], axis=1), np.concatenate([wrong, right], axis=1)
    worst, best = harm[np.argmin(differences(sums + harm))], help_[np.argmax(differences(sums + help_))]
    lower = _low(differences(resample(both, resamples=resamples, seed=seed, extra=worst)), confidence)
    upper = _high(differences(resample(both, resamples=resamples, seed=seed, extra=best)), confidence)
    difference = float(differences(sums))
    verdict = _verdict(difference, lower, margin)
    needed = None
    if verdict == "inconclusive":
        reach = float(ndtri(confidence)) * _deviation(both, differences)
        needed = _rows_to_decide(len(references), reach, difference - lower, difference + margin)
    return Comparison(
        metric=metric.name,
        baseline=float(metric.value(sums[:width])),
        candidate=float(metric.value(sums[width:])),
        difference=difference,
        lower=lower,
        upper=upper,
        margin=margin,
        rows=len(references),
        verdict=verdict,
        rows_to_decide=needed,
    )


def _verdict(difference: float, lower: float, margin: float) -> Verdict:
    if lower > -margin:
        return "pass"
    return "fail" if difference <= -margin else "inconclusive"


def _low(values: Floats, confidence: float) -> float:
    # Metrics of counts take steps; the step outside the quantile keeps the confidence, interpolation would not.
    return float(np.quantile(values, 1 - confidence, method="lower"))


def _high(values: Floats, confidence: float) -> float:
    return float(np.quantile(values, confidence, method="higher"))


def _cells(statistics: Floats) -> tuple[Floats, Ids]:
    """The distinct rows and how often each occurs."""
    cells, counts = np.unique(statistics, axis=0, return_counts=True)
    return cells, counts


def _pairs(*answers: Ids, classes: int) -> Ids:
    """(true class, another class) of every row that could have come next: int64, shape (pairs, 2).

    Only classes that occur, rarest first: a class that the rows never show would enter a macro average with nothing.
    """
    seen = np.bincount(np.concatenate(answers), minlength=classes)
    order = [int(index) for index in np.argsort(seen, kind="stable") if seen[index]]
    if len(order) < 2:  # noqa: PLR2004 - a wrong answer takes two classes
        order = [*order, *(index for index in range(classes) if index not in order)]
    return np.array(list(permutations(order[:_RAREST], 2)) or [(0, 0)], dtype=np.int64)


def _deviation(statistics: Floats, function: Callable[[Floats], Floats]) -> float:
    """Standard deviation of a function of the sums, by the infinitesimal jackknife (Efron 1982, ch. 6)."""
    cells, counts = _cells(statistics)
    sums = statistics.sum(axis=0)
    step = 1e-3  # of a row: small enough to be a derivative, large enough for float64
    mean = sums / len(statistics)
    slopes = (function(sums + step * (cells - mean)) - function(sums)) / step
    return float(np.sqrt((counts * slopes**2).sum()))


def _rows_to_decide(rows: int, reach: float, width: float, room: float) -> int:
    """Rows at which an interval's lower half fits into ``room``.

    The half-width is taken as a / sqrt(n) + b / n: sampling noise, ``reach`` now, and the least favourable row.
    """
    a = reach * math.sqrt(rows)
    b = max(0.0, width - reach) * rows
    root = (a + math.sqrt(a * a + 4 * room * b)) / (2 * room)
    return max(rows + 1, math.ceil(root * root))
