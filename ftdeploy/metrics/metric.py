"""What a metric is: a function of sums, which makes one vectorised bootstrap serve every metric and every task.

Each row contributes a short vector of numbers (its sufficient statistics), and the metric is a function of the sum of
those vectors over the rows. Resampling rows is then resampling vectors.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]
Floats = NDArray[np.float64]


class Named(Protocol):
    """What every metric says about itself, whether ftdeploy's or the user's own."""

    @property
    def name(self) -> str:
        """As in recipes, suites and reports."""

    @property
    def greater_is_better(self) -> bool:
        """Whether a higher value is the better one; not of errors such as ``brier``."""

    @property
    def needs_scores(self) -> bool:
        """Whether it is computed from the probabilities of all classes, not from the predicted class alone."""


class Metric(Named, Protocol):
    """A metric as a function of sums of what each row adds."""

    def statistics(self, references: Ids, predictions: Ids, classes: int, scores: Floats | None = None) -> Floats:
        """Per row, what it adds to the sums; of ranks (`Ranking`) that depends on all rows, of others on the row alone.

        Args:
            references: true class ids, int64, shape (rows,).
            predictions: predicted class ids, int64, shape (rows,).
            classes: how many classes there are.
            scores: probabilities, float, shape (rows, classes); only read where ``needs_scores``.

        Returns:
            float64, shape (rows, k).
        """

    def value(self, sums: Floats) -> Floats:
        """The metric from sums of statistics; float64 of shape (..., k) to (...)."""


@runtime_checkable
class OwnMetric(Named, Protocol):
    """A metric that is no function of sums, or not known to be one: computed anew for every resample."""

    def compute(self, references: Ids, predictions: Ids, scores: Floats | None = None) -> float:
        """The metric over some rows.

        Args:
            references, predictions: class ids, int64, shape (rows,).
            scores: probabilities, float, shape (rows, classes); only read where ``needs_scores``.
        """


def wanted(scores: Floats | None) -> Floats:
    """The scores as float64.

    Raises:
        ValueError: there are none.
    """
    if scores is None:
        raise ValueError("this metric is computed from the probabilities of all classes, and there are none")
    return np.asarray(scores, dtype=np.float64)


def divide(numerator: Floats, denominator: Floats) -> Floats:
    """Element by element; 0 where the denominator is 0, as scikit-learn's ``zero_division=0``."""
    denominator = np.asarray(denominator, dtype=np.float64)
    return np.divide(numerator, denominator, out=np.zeros_like(denominator), where=denominator != 0)
