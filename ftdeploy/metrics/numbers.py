"""Metrics of predicted numbers (regression), as scikit-learn and scipy have them.

A row's answer is one label, the string of its number (`ftdeploy.values`), so everything that compares class ids
compares rows; these metrics look into the strings.

Spearman's correlation is that of ranks, and no function of sums over rows. A row's statistic there is its pseudo-value,
metric + influence (Croux & Dehon 2010, "Influence functions of the Spearman and Kendall correlation measures", with
mid-ranks where numbers are equal): the mean of the pseudo-values is the metric exactly, and resampling them has the
metric's variance, as in `ftdeploy.metrics.ranks`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np

from ftdeploy.metrics.metric import Floats, Ids, divide
from ftdeploy.values import numbers


class Sums(NamedTuple):
    """Of t, what is true, and p, what is predicted: sums over rows, each float64 of shape (...)."""

    squared: Floats
    absolute: Floats
    t: Floats
    p: Floats
    tt: Floats
    pp: Floats
    tp: Floats
    rows: Floats


def mse(of: Sums) -> Floats:
    """Mean squared error."""
    return divide(of.squared, of.rows)


def rmse(of: Sums) -> Floats:
    """Its root, in the units of the numbers."""
    return np.asarray(np.sqrt(np.maximum(mse(of), 0)))


def mae(of: Sums) -> Floats:
    """Mean absolute error."""
    return divide(of.absolute, of.rows)


def r2(of: Sums) -> Floats:
    """Coefficient of determination: 1 less the mean squared error over the variance; 0 answers the mean to all rows,
    and where all are equal."""
    spread = of.tt - divide(of.t**2, of.rows)
    return np.asarray((spread > 0) - divide(of.squared, np.maximum(spread, 0)))


def pearson(of: Sums) -> Floats:
    """Pearson's correlation; 0 where one side is constant."""
    both = of.tp - divide(of.t * of.p, of.rows)
    spread = (of.tt - divide(of.t**2, of.rows)) * (of.pp - divide(of.p**2, of.rows))
    return divide(both, np.sqrt(np.maximum(spread, 0)))


#: Name -> (the function of sums, whether higher is better).
FUNCTIONS: Mapping[str, tuple[Callable[[Sums], Floats], bool]] = {
    "r2": (r2, True), "pearson": (pearson, True), "mse": (mse, False), "rmse": (rmse, False), "mae": (mae, False),
}  # fmt: skip
SPEARMAN = "spearman"
NAMES = ("r2", SPEARMAN, "pearson", "mse", "rmse", "mae")
#: Those where lower is better; they are in the units of the numbers, and end nowhere.
ERRORS = tuple(name for name, (_, higher) in FUNCTIONS.items() if not higher)


@dataclass(frozen=True)
class Numbers:
    """A metric of numbers.

    Attributes:
        name: of `NAMES`.
        labels: class id -> the number of a row, as a string.
    """

    name: str
    labels: Sequence[str] = field(repr=False)
    needs_scores: bool = False

    @property
    def greater_is_better(self) -> bool:
        """Whether a higher value is the better one: not of errors."""
        return self.name not in ERRORS

    @property
    def of_ranks(self) -> bool:
        """Whether what a row adds depends on all rows."""
        return self.name == SPEARMAN

    @cached_property
    def _values(self) -> Floats:
        """Of the labels, less their middle, so that no digits are lost in squares."""
        found = numbers(self.labels)
        return found - np.median(found) if len(found) else found

    def statistics(self, references: Ids, predictions: Ids, classes: int,  # noqa: ARG002 - the protocol's
                   scores: Floats | None = None) -> Floats:  # noqa: ARG002  # fmt: skip
        """What a row adds to `Sums`; of ranks its pseudo-value, and 1."""
        t, p = self._values[references], self._values[predictions]
        if self.of_ranks:
            return np.stack([pseudo_values(t, p), np.ones_like(t)], axis=1)
        return np.stack([(p - t) ** 2, np.abs(p - t), t, p, t * t, p * p, t * p, np.ones_like(t)], axis=1)

    def value(self, sums: Floats) -> Floats:
        """The metric."""
        if self.of_ranks:
            return divide(sums[..., 0], sums[..., 1])
        return np.asarray(FUNCTIONS[self.name][0](Sums(*np.moveaxis(sums, -1, 0))))


def number_scores(truths: Floats, said: Floats) -> dict[str, float]:
    """All metrics of numbers, float64, shape (rows,)."""
    labels = [f"{value:.17g}" for value in np.concatenate([truths, said])]
    places = np.arange(len(labels), dtype=np.int64)
    found = {}
    for name in NAMES:
        metric = Numbers(name, labels)
        rows = metric.statistics(places[: len(truths)], places[len(truths) :], len(labels))
        found[name] = float(metric.value(rows.sum(axis=0)))
    return found


def pseudo_values(t: Floats, p: Floats) -> Floats:
    """Of Spearman's correlation: float64, shape (rows,); their mean is it. 0 where one side is constant."""
    first, second = _Ranks(t), _Ranks(p)
    spreads = float((first.centred**2).mean()), float((second.centred**2).mean())
    scale = np.sqrt(spreads[0] * spreads[1])
    if not scale > 0:
        return np.zeros_like(t)
    both = float((first.centred * second.centred).mean())
    moved = first.centred * second.centred + first.above(second.centred) + second.above(first.centred) - 3 * both
    own = [
        (one.centred**2 + 2 * one.above(one.centred) - 3 * spread) / spread
        for one, spread in zip((first, second), spreads, strict=True)
    ]
    influence = moved / scale - both / scale / 2 * (own[0] + own[1])
    return np.asarray(both / scale + influence - influence.mean())


class _Ranks:
    """Mid-ranks of some numbers as shares, less a half, so that their mean is 0: ``centred``."""

    def __init__(self, values: Floats) -> None:
        _, self._level, counts = np.unique(values, return_inverse=True, return_counts=True)
        self._rows = len(values)
        below = np.cumsum(counts) - counts
        self.centred: Floats = ((below + counts / 2) / max(1, self._rows) - 0.5)[self._level]

    def above(self, weights: Floats) -> Floats:
        """For each row the mean over all rows of the weights of those above it, half of those level with it; less half
        of all."""
        sums = np.bincount(self._level, weights=weights)
        higher = np.cumsum(sums[::-1])[::-1] - sums
        return np.asarray((higher + sums / 2 - sums.sum() / 2)[self._level] / self._rows)
