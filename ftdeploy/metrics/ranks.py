"""Metrics of how a class's probability ranks the rows: area under the ROC curve, average precision.

They are no sums over rows, but to first order they move with a row's weight by a known amount, its influence
(the infinitesimal jackknife, Jaeckel 1972; Efron 1982, ch. 6). A row's statistic here is its pseudo-value, metric +
rows * influence: the mean of the pseudo-values is the metric exactly, and resampling them has the metric's variance.
For the area under the ROC curve these influences are the placements of DeLong, DeLong & Clarke-Pearson (1988), and the
variance of two models' difference is theirs; by sorting, as Sun & Xu (2014): O(rows log rows).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ftdeploy.metrics.metric import Floats, Ids, wanted

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Classes are added up in so many parts, however many threads there are, so that the sum is the same everywhere.
_PARTS = 8


class Ranked(NamedTuple):
    """Rows from the lowest score to the highest.

    Attributes:
        rows: which ones, int64, shape (rows,).
        scores: theirs, float64.
        positive: whether they are of the class, bool.
    """

    rows: Ids
    scores: Floats
    positive: NDArray[np.bool_]

    def and_(self, score: float, *, positive: bool) -> Ranked:
        """With one row more, the last one; sorted without sorting."""
        at = int(np.searchsorted(self.scores, score))
        columns = zip(self, (len(self.rows), score, positive), strict=True)
        return Ranked(*(np.insert(column, at, value) for column, value in columns))


def rank(positive: NDArray[np.bool_], scores: Floats) -> Ranked:
    """Sort rows by their score."""
    rows = np.argsort(scores, kind="stable")
    return Ranked(rows, scores[rows], positive[rows])


#: Sums of pseudo-values over some classes, of the rows and of each with one more; how many classes each is of.
_Sums = tuple[list[Floats], Floats]
#: To (metric, influence of each row in the order of the ranks), or None where it is not defined.
Curve = Callable[[Ranked], tuple[float, Floats] | None]


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

    def statistics(self, references: Ids, predictions: Ids, classes: int,  # noqa: ARG002 - the protocol's
                   scores: Floats | None = None) -> Floats:  # fmt: skip
        """The row's pseudo-value, and 1."""
        return self.statistics_with(references, classes, wanted(scores), ())[0]

    def statistics_with(self, references: Ids, classes: int, scores: Floats,
                        more: Sequence[tuple[int, Floats]]) -> list[Floats]:  # fmt: skip
        """`statistics` of the rows, and then of these and one more, for each that could come: sorted only once.

        Args:
            references: true class ids, int64, shape (rows,).
            classes: how many classes there are.
            scores: probabilities, float, shape (rows, classes).
            more: true class and probabilities, shape (classes,), of a row.

        Returns:
            float64, shape (rows, 2), and for each row more (rows + 1, 2).
        """
        columns = np.array([classes - 1]) if classes == 2 else np.arange(classes)  # noqa: PLR2004 - two classes
        sizes = [len(references), *(len(references) + 1 for _ in more)]
        totals, defined = [np.zeros(size) for size in sizes], np.zeros(len(sizes))

        def add_up(part: Ids) -> _Sums:
            sums, found = [np.zeros(size) for size in sizes], np.zeros(len(sizes))
            for column in part:
                ranked = rank(references == column, np.asarray(scores[:, column], dtype=np.float64))
                each = (ranked.and_(float(at[column]), positive=truth == column) for truth, at in more)
                for index, one in enumerate((ranked, *each)):
                    curve = self.function(one)
                    if curve is not None:
                        sums[index][one.rows] += curve[0] + sizes[index] * curve[1]
                        found[index] += 1
            return sums, found

        parts = np.array_split(columns, min(_PARTS, len(columns)))
        for sums, found in _in_threads(add_up, parts):
            defined += found
            totals = [total + one for total, one in zip(totals, sums, strict=True)]
        values = [total / n if n else np.full(len(total), self.undefined)
                  for total, n in zip(totals, defined, strict=True)]  # fmt: skip
        return [np.stack([value, np.ones_like(value)], axis=1) for value in values]

    def value(self, sums: Floats) -> Floats:
        """The mean of the pseudo-values."""
        return np.asarray(sums[..., 0] / np.maximum(sums[..., 1], 1))


def _in_threads(function: Callable[[Ids], _Sums], parts: Sequence[Ids]) -> Iterator[_Sums]:
    """Of each part, in order. numpy lets the interpreter go while it sorts and adds up."""
    if len(parts) == 1:
        yield function(parts[0])
        return
    with ThreadPoolExecutor(min(len(parts), os.cpu_count() or 1)) as pool:
        yield from pool.map(function, parts)


def roc_auc(ranked: Ranked) -> tuple[float, Floats] | None:
    """Probability that a positive row has a higher score than a negative one, ties counting half.

    Returns:
        The area, and each row's influence: its placement among the rows of the other side, less the area, over the
        rows of its side (less one, as in an unbiased variance). None without positives or without negatives.
    """
    sizes, hits = _levels(ranked)
    yes, no = float(hits.sum()), float(len(ranked.rows) - hits.sum())
    if not yes or not no:
        return None

    def below(counts: Floats) -> Floats:  # in lower levels, and half of the row's own
        return _each(np.cumsum(counts) - counts / 2, sizes)

    placements = np.where(ranked.positive, below(sizes - hits) / no, 1 - below(hits) / yes)
    area = float(placements[ranked.positive].mean())
    unbiased = np.where(ranked.positive, np.sqrt(yes * max(yes - 1, 1)), np.sqrt(no * max(no - 1, 1)))
    return area, (placements - area) / unbiased


def average_precision(ranked: Ranked) -> tuple[float, Floats] | None:
    """Sum over the thresholds of precision times the gain in recall; rows with equal scores share a threshold.

    With T and A the positives and all rows at or above a positive's score, it is the mean of T / A over the positives.
    One negative row at the very top lowers it by about ln(positives) / positives, so that a gate on it wants several
    times the rows that one on the area wants.

    Returns:
        The average precision, and each row's influence, its derivative by the row's weight. None without positives.
    """
    sizes, hits = _levels(ranked)
    count = hits.sum()
    if not count:
        return None

    def from_above(counts: Floats) -> Floats:  # sum over this level and all higher ones
        return np.asarray(np.cumsum(counts[::-1])[::-1])

    above = from_above(sizes)
    precision = from_above(hits) / above
    found = float((hits * precision).sum() / count)
    gain, loss = np.cumsum(hits / above), np.cumsum(hits * precision / above)
    return found, (ranked.positive * _each(precision - found + gain, sizes) - _each(loss, sizes)) / count


def _levels(ranked: Ranked) -> tuple[Floats, Floats]:
    """Rows, and positive ones, with each distinct score, from the lowest: float64."""
    firsts = np.flatnonzero(np.append(True, ranked.scores[1:] != ranked.scores[:-1]))
    positive = ranked.positive.astype(np.float64)
    if len(firsts) == len(positive):
        return np.ones_like(positive), positive
    return np.diff(firsts, append=len(positive)).astype(np.float64), np.add.reduceat(positive, firsts)


def _each(levels: Floats, sizes: Floats) -> Floats:
    """What is true of a level, for each of its rows."""
    whole = len(levels) == sizes.sum()
    return levels if whole else np.repeat(levels, sizes.astype(np.int64))
