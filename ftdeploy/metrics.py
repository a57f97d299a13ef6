"""Metrics as functions of sums: what makes one vectorised bootstrap serve every metric and every task.

Each row contributes a short vector of counts (its sufficient statistics), and the metric is a function of the sum of
those vectors over the rows. Resampling rows is then resampling counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]
Floats = NDArray[np.float64]


class Metric(Protocol):
    """A quality metric, higher is better."""

    @property
    def name(self) -> str:
        """The field's name for it, as in recipes, suites and reports."""

    def statistics(self, references: Ids, predictions: Ids, classes: int) -> Floats:
        """Per row, what it adds to the sums.

        Args:
            references: true class ids, int64, shape (rows,).
            predictions: predicted class ids, int64, shape (rows,).
            classes: how many classes there are.

        Returns:
            float64, shape (rows, k).
        """

    def value(self, sums: Floats) -> Floats:
        """The metric from sums of statistics; float64 of shape (..., k) to (...)."""


@dataclass(frozen=True)
class Accuracy:
    """Share of rows whose predicted class is the true one."""

    name: str = "accuracy"

    def statistics(self, references: Ids, predictions: Ids, classes: int) -> Floats:  # noqa: ARG002 - the protocol's
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

    def statistics(self, references: Ids, predictions: Ids, classes: int) -> Floats:
        truth = np.eye(classes)[references]
        guess = np.eye(classes)[predictions]
        # per class: true positives, then predicted + true (= 2 tp + fp + fn)
        return np.concatenate([truth * guess, truth + guess], axis=1)

    def value(self, sums: Floats) -> Floats:
        hits, total = np.split(sums, 2, axis=-1)
        present = total > 0
        scores = np.divide(2 * hits, total, out=np.zeros_like(total), where=present)
        return np.asarray(scores.sum(axis=-1) / np.maximum(present.sum(axis=-1), 1))


METRICS: Mapping[str, Metric] = {metric.name: metric for metric in (Accuracy(), MacroF1())}


def score(metric: Metric, references: Ids, predictions: Ids, classes: int) -> float:
    """A metric over all rows, as one number."""
    return float(metric.value(metric.statistics(references, predictions, classes).sum(axis=0)))
