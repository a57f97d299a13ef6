"""Metrics of how a class's probability ranks the rows: area under the ROC curve, average precision.

They are no sums over rows, but to first order they move with a row's weight by a known amount, its influence
(the infinitesimal jackknife, Jaeckel 1972; Efron 1982, ch. 6). A row's statistic here is its pseudo-value, metric +
rows * influence: the mean of the pseudo-values is the metric exactly, and resampling them has the metric's variance.
For the area under the ROC curve these influences are the placements of DeLong, DeLong & Clarke-Pearson (1988), and the
variance of two models' difference is theirs; by sorting, as Sun & Xu (2014): O(rows log rows).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ftdeploy.metrics.metric import Floats, Ids, wanted

#: (which rows are positive, bool; scores) -> (metric, influence of each row), or None where it is not defined.
Curve = Callable[[NDArray[np.bool_], Floats], tuple[float, Floats] | None]


@dataclass(frozen=True)
class Ranking:
    """Mean over the classes of one against the rest; of two classes only the last, as scikit-learn takes 1 of 0 and 1.

    Classes for which the metric is not defined, because no row or every row has them, are left out of the mean.

    Attributes:
        function: of one class.
        undefined: the value when it is not defined for any class.
    """

    name: str
    function: Curve
    undefined: float
    greater_is_better: bool = True
    needs_scores: bool = True
    additive: bool = False

    def statistics(self, references: Ids, predictions: Ids, classes: int,  # noqa: ARG002 - the protocol's
                   scores: Floats | None = None) -> Floats:  # fmt: skip
        """The row's pseudo-value, and 1."""
        all_scores = wanted(scores)
        columns = [classes - 1] if classes == 2 else range(classes)  # noqa: PLR2004 - two classes
        curves = (self.function(references == column, all_scores[:, column]) for column in columns)
        found = [curve for curve in curves if curve is not None]
        values: Floats = np.full(len(references), self.undefined)
        if found:
            values = np.mean([value + len(references) * influence for value, influence in found], axis=0)
        return np.stack([values, np.ones_like(values)], axis=1)

    def value(self, sums: Floats) -> Floats:
        """The mean of the pseudo-values."""
        return np.asarray(sums[..., 0] / np.maximum(sums[..., 1], 1))


def roc_auc(positive: NDArray[np.bool_], scores: Floats) -> tuple[float, Floats] | None:
    """Probability that a positive row has a higher score than a negative one, ties counting half.

    Returns:
        The area, and each row's influence: its placement among the rows of the other side, less the area, over the
        rows of its side (less one, as in an unbiased variance). None without positives or without negatives.
    """
    group, hits, sizes = _levels(positive, scores)
    yes, no = float(hits.sum()), float(len(scores) - hits.sum())
    if not yes or not no:
        return None

    def below(counts: Floats) -> Floats:  # in lower levels, and half of the row's own
        return np.asarray((np.cumsum(counts) - counts / 2)[group])

    placements = np.where(positive, below(sizes - hits) / no, 1 - below(hits) / yes)
    area = float(placements[positive].mean())
    unbiased = np.where(positive, yes * max(yes - 1, 1), no * max(no - 1, 1))
    return area, (placements - area) / np.sqrt(unbiased)


def average_precision(positive: NDArray[np.bool_], scores: Floats) -> tuple[float, Floats] | None:
    """Sum over the thresholds of precision times the gain in recall; rows with equal scores share a threshold.

    With T and A the positives and all rows at or above a positive's score, it is the mean of T / A over the positives.
    One negative row at the very top lowers it by about ln(positives) / positives, so that a gate on it wants several
    times the rows that one on the area wants.

    Returns:
        The average precision, and each row's influence, its derivative by the row's weight. None without positives.
    """
    group, hits, sizes = _levels(positive, scores)
    count = hits.sum()
    if not count:
        return None

    def from_above(counts: Floats) -> Floats:  # sum over this level and all higher ones
        return np.asarray(np.cumsum(counts[::-1])[::-1])

    above = from_above(sizes)
    precision = from_above(hits) / above
    found = float((hits * precision).sum() / count)
    gain, loss = np.cumsum(hits / above), np.cumsum(hits * precision / above)
    return found, (positive * (precision[group] - found + gain[group]) - loss[group]) / count


def _levels(positive: NDArray[np.bool_], scores: Floats) -> tuple[Ids, Floats, Floats]:
    """Each row's level among the distinct scores, from the lowest; the positive rows at each level; all rows there."""
    order = np.argsort(scores, kind="stable")
    ranked = scores[order]
    group = np.empty(len(scores), dtype=np.int64)
    group[order] = np.cumsum(np.append(False, ranked[1:] != ranked[:-1]))
    sizes = np.bincount(group).astype(np.float64)
    return group, np.bincount(group[positive], minlength=len(sizes)).astype(np.float64), sizes
