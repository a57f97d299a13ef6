"""What training minimises: one number from logits, targets and row weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from ftdeploy.recipe import TrainSettings


def batch_loss(logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor | None, *,
               settings: TrainSettings) -> torch.Tensor:  # fmt: skip
    """The mean over the rows of a batch: cross-entropy with label smoothing (Szegedy et al. 2016), times the weight.

    Divided by the number of rows and not by the sum of the weights: a row counts the same, whichever rows it meets in
    its batch.

    Args:
        logits: float, shape (rows, labels).
        targets: int64, shape (rows,).
        weights: float32, shape (rows,), mean about 1 over the training rows; None is all 1.
        settings: the recipe's ``train`` section.

    Returns:
        A scalar.
    """
    from torch.nn.functional import cross_entropy

    smoothing = settings.label_smoothing
    if weights is None:
        return cross_entropy(logits, targets, label_smoothing=smoothing)
    return (cross_entropy(logits, targets, label_smoothing=smoothing, reduction="none") * weights).mean()
