"""Is the candidate worse than the baseline by more than a margin? A verdict with a known error rate.

Paired non-inferiority by the bootstrap (Efron & Tibshirani 1993, ch. 13 and 16; non-inferiority as in Blackwelder
1982): baseline and candidate answer the same rows, the rows are resampled with replacement, and the candidate passes
when the lower end of the one-sided interval of (candidate - baseline) lies above -margin.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.special import ndtri

from ftdeploy.metrics import Floats, Ids, Metric

Verdict = Literal["pass", "fail", "inconclusive"]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Candidate against baseline on the same rows.

    Attributes:
        baseline, candidate: the metric of each.
        difference: candidate - baseline.
        lower, upper: ends of the interval of the difference; each is one-sided at the stated confidence.
        margin: the drop that is tolerated.
        rows: how many rows were compared.
        verdict: pass when lower > -margin; fail when upper < -margin, or when the difference itself is at or below
            -margin; else inconclusive.
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


def resample(statistics: Floats, *, resamples: int, seed: int) -> Floats:
    """Sums of per-row statistics over bootstrap resamples of the rows.

    Rows with equal statistics are interchangeable, so the resample is drawn as multinomial counts over the distinct
    ones: the same distribution as drawing rows, at a cost that does not grow with the rows for count metrics.

    Args:
        statistics: float64, shape (rows, k).
        resamples: how many.
        seed: of the generator.

    Returns:
        float64, shape (resamples, k).
    """
    cells, counts = np.unique(statistics, axis=0, return_counts=True)
    rows = len(statistics)
    generator = np.random.default_rng(seed)
    sums = np.empty((resamples, statistics.shape[1]))
    # Pieces keep memory bounded when every row is its own cell (8 bytes * piece * cells).
    piece = max(1, min(resamples, 20_000_000 // len(cells)))
    for start in range(0, resamples, piece):
        size = min(piece, resamples - start)
        sums[start : start + size] = generator.multinomial(rows, counts / rows, size=size) @ cells
    return sums


def interval(metric: Metric, references: Ids, predictions: Ids, classes: int, *, resamples: int, seed: int,
             confidence: float = 0.95) -> tuple[float, float]:  # fmt: skip
    """Two-sided percentile bootstrap interval of one metric, as (low, high)."""
    sums = resample(metric.statistics(references, predictions, classes), resamples=resamples, seed=seed)
    low, high = np.quantile(metric.value(sums), [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def compare(metric: Metric, references: Ids, baseline: Ids, candidate: Ids, *, classes: int, margin: float,
            confidence: float = 0.95, resamples: int = 10_000, seed: int = 13) -> Comparison:  # fmt: skip
    """Paired non-inferiority of ``candidate`` to ``baseline``.

    Args:
        metric: what is compared; higher is better.
        references: true class ids, int64, shape (rows,).
        baseline, candidate: predicted class ids, int64, shape (rows,), in the same order.
        classes: how many classes there are.
        margin: the largest drop that is tolerated, in units of the metric.
        confidence: of each one-sided end.
        resamples: bootstrap resamples.
        seed: of the generator.
    """
    before = metric.statistics(references, baseline, classes)
    after = metric.statistics(references, candidate, classes)
    width = before.shape[1]
    sums = resample(np.concatenate([before, after], axis=1), resamples=resamples, seed=seed)
    differences = metric.value(sums[:, width:]) - metric.value(sums[:, :width])
    was, now = float(metric.value(before.sum(axis=0))), float(metric.value(after.sum(axis=0)))
    lower, upper = (float(q) for q in np.quantile(differences, [1 - confidence, confidence]))
    difference = now - was
    verdict = _verdict(difference, lower, margin)
    needed = None
    if verdict == "inconclusive":
        # The interval's half-width falls with the square root of the rows.
        reach = float(ndtri(confidence)) * float(np.std(differences))
        needed = math.ceil(len(references) * (reach / (difference + margin)) ** 2)
    return Comparison(
        metric=metric.name,
        baseline=was,
        candidate=now,
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
