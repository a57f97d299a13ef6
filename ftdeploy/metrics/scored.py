"""Metrics of probabilities: means over the rows, and the expected calibration error. Lower is better."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ftdeploy.metrics.metric import Floats, Ids, wanted

#: Bins of the expected calibration error, as in Guo et al. (2017).
BINS = 15
#: A probability counts as at least this in the log loss: models answer in float32, where a softmax ends in zeros.
_LEAST = float(np.finfo(np.float32).eps)


@dataclass(frozen=True)
class MeanLoss:
    """Mean over the rows of a loss.

    Attributes:
        function: (references, scores) to the loss of each row, float64, shape (rows,).
    """

    name: str
    function: Callable[[Ids, Floats], Floats]
    greater_is_better: bool = False
    needs_scores: bool = True

    def statistics(self, references: Ids, predictions: Ids, classes: int,  # noqa: ARG002 - the protocol's
                   scores: Floats | None = None) -> Floats:  # fmt: skip
        """The loss of the row, and 1."""
        losses = self.function(references, wanted(scores))
        return np.stack([losses, np.ones_like(losses)], axis=1)

    def value(self, sums: Floats) -> Floats:
        """The mean."""
        return np.asarray(sums[..., 0] / np.maximum(sums[..., 1], 1))


def brier(references: Ids, scores: Floats) -> Floats:
    """Sum over the classes of (probability - truth)^2, between 0 and 2 (Brier 1950).

    Of two classes it is twice scikit-learn's ``brier_score_loss``, which looks at one of them; of more it is the same.
    """
    right = np.take_along_axis(scores, references[:, None], axis=1)[:, 0]
    return np.asarray((scores**2).sum(axis=1) - 2 * right + 1)


def log_loss(references: Ids, scores: Floats) -> Floats:
    """Minus the natural logarithm of the true class's probability, which counts as at least 1.2e-7."""
    right = np.take_along_axis(scores, references[:, None], axis=1)[:, 0]
    return np.asarray(-np.log(np.clip(right, _LEAST, 1.0)))


@dataclass(frozen=True)
class CalibrationError:
    """Expected calibration error: over equal-width bins of the predicted class's probability, the mean of
    |share that is right - mean probability|, weighted with the rows (Naeini et al. 2015; Guo et al. 2017).
    """

    name: str = "ece"
    greater_is_better: bool = False
    needs_scores: bool = True

    def statistics(self, references: Ids, predictions: Ids, classes: int,  # noqa: ARG002 - the protocol's
                   scores: Floats | None = None) -> Floats:  # fmt: skip
        """By bin, 1 or 0 for right or wrong less the probability; and 1."""
        sure = np.take_along_axis(wanted(scores), predictions[:, None], axis=1)[:, 0]
        # A bin holds its upper edge and not its lower one, as in the paper.
        bins = np.clip(np.ceil(sure * BINS).astype(np.int64) - 1, 0, BINS - 1)
        found = np.zeros((len(references), BINS + 1))
        found[np.arange(len(references)), bins] = (references == predictions) - sure
        found[:, BINS] = 1
        return found

    def value(self, sums: Floats) -> Floats:
        """Sum of the bins' absolute sums, over the rows."""
        return np.asarray(np.abs(sums[..., :BINS]).sum(axis=-1) / np.maximum(sums[..., BINS], 1))
