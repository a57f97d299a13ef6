"""Metrics of predicted classes: functions of how often each class is predicted, is true, and is both.

Where a quotient has nothing below it (the precision of a class that is never predicted) it is 0, and averages are over
the classes that occur among references or predictions: as scikit-learn has it with ``zero_division=0``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ftdeploy.metrics.metric import Floats, Ids, divide


@dataclass(frozen=True)
class Accuracy:
    """Share of rows whose predicted class is the true one. Of one label a row it is micro F1 as well."""

    name: str = "accuracy"
    greater_is_better: bool = True
    needs_scores: bool = False

    def statistics(self, references: Ids, predictions: Ids, classes: int,  # noqa: ARG002 - the protocol's
                   scores: Floats | None = None) -> Floats:  # noqa: ARG002  # fmt: skip
        right = (references == predictions).astype(np.float64)
        return np.stack([right, np.ones_like(right)], axis=1)

    def value(self, sums: Floats) -> Floats:
        return np.asarray(sums[..., 0] / np.maximum(sums[..., 1], 1))


@dataclass(frozen=True)
class MacroF1:
    """Mean over the classes of F1 = 2 tp / (2 tp + fp + fn), as scikit-learn's ``f1_score(average="macro")``.

    A class that occurs neither among the references nor among the predictions is left out of the mean, as there.
    """

    name: str = "macro_f1"
    greater_is_better: bool = True
    needs_scores: bool = False

    def statistics(self, references: Ids, predictions: Ids, classes: int,
                   scores: Floats | None = None) -> Floats:  # noqa: ARG002 - the protocol's  # fmt: skip
        truth = np.eye(classes)[references]
        guess = np.eye(classes)[predictions]
        # per class: true positives, then predicted + true (= 2 tp + fp + fn)
        return np.concatenate([truth * guess, truth + guess], axis=1)

    def value(self, sums: Floats) -> Floats:
        hits, total = np.split(sums, 2, axis=-1)
        return _mean(divide(2 * hits, total), total > 0)


@dataclass(frozen=True)
class FromCounts:
    """A metric as a function of three counts a class.

    Attributes:
        function: (both, predicted, true), each float64 of shape (..., classes), to the metric, of shape (...).
        index: only this class is counted, and the function gets shape (..., 1); None counts all.
    """

    name: str
    function: Callable[[Floats, Floats, Floats], Floats]
    index: int | None = None
    greater_is_better: bool = True
    needs_scores: bool = False

    def statistics(self, references: Ids, predictions: Ids, classes: int,
                   scores: Floats | None = None) -> Floats:  # noqa: ARG002 - the protocol's  # fmt: skip
        """Per class: whether it is both, whether it is predicted, whether it is true."""
        columns = np.arange(classes) if self.index is None else np.array([self.index])
        guess = (predictions[:, None] == columns).astype(np.float64)
        truth = (references[:, None] == columns).astype(np.float64)
        return np.concatenate([guess * truth, guess, truth], axis=1)

    def value(self, sums: Floats) -> Floats:
        """The function of the counts."""
        return np.asarray(self.function(*np.split(sums, 3, axis=-1)))


def weighted_f1(both: Floats, predicted: Floats, true: Floats) -> Floats:
    """Mean of the classes' F1, each weighted with how often it is true."""
    scores = divide(2 * both, predicted + true)
    return divide((scores * true).sum(axis=-1), true.sum(axis=-1))


def macro_precision(both: Floats, predicted: Floats, true: Floats) -> Floats:
    """Mean over the classes of both / predicted."""
    return _mean(divide(both, predicted), predicted + true > 0)


def macro_recall(both: Floats, predicted: Floats, true: Floats) -> Floats:
    """Mean over the classes of both / true."""
    return _mean(divide(both, true), predicted + true > 0)


def matthews(both: Floats, predicted: Floats, true: Floats) -> Floats:
    """Matthews' correlation of any number of classes (Gorodkin 2004), from -1 to 1; 0 where one side is constant."""
    rows = true.sum(axis=-1)
    covariance = both.sum(axis=-1) * rows - (predicted * true).sum(axis=-1)
    spread = (rows**2 - (predicted**2).sum(axis=-1)) * (rows**2 - (true**2).sum(axis=-1))
    return divide(covariance, np.sqrt(np.maximum(spread, 0)))


def f1(both: Floats, predicted: Floats, true: Floats) -> Floats:
    """2 both / (predicted + true) of one class."""
    return divide(2 * both, predicted + true)[..., 0]


def precision(both: Floats, predicted: Floats, true: Floats) -> Floats:  # noqa: ARG001 - the three counts
    """both / predicted of one class."""
    return divide(both, predicted)[..., 0]


def recall(both: Floats, predicted: Floats, true: Floats) -> Floats:  # noqa: ARG001 - the three counts
    """both / true of one class."""
    return divide(both, true)[..., 0]


def _mean(scores: Floats, present: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> Floats:
    return np.asarray((scores * present).sum(axis=-1) / np.maximum(present.sum(axis=-1), 1))
