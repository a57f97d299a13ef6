"""What training minimises: one number from logits, targets and row weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ftdeploy.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    import pyarrow as pa
    import torch
    from numpy.typing import NDArray

    from ftdeploy.recipe import TrainSettings
    from ftdeploy.tasks import Task


def batch_loss(logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor | None, *, settings: TrainSettings,
               again: torch.Tensor | None = None, teacher: torch.Tensor | None = None) -> torch.Tensor:  # fmt: skip
    """The mean over the rows of a batch: the loss of a row times its weight.

    Divided by the number of rows and not by the sum of the weights: a row counts the same, whichever rows it meets in
    its batch.

    Args:
        logits: float, shape (rows, labels).
        targets: int64, shape (rows,); or float32, shape (rows, labels), where any number of labels hold: the loss of a
            row is then the mean binary cross-entropy over its labels; or float32, shape (rows,): numbers, whose loss is
            the squared error.
        weights: float32, shape (rows,), mean about 1 over the training rows; None is all 1.
        settings: the recipe's ``train`` section.
        again: logits of a second pass with other dropout (R-Drop, Liang et al. 2021): the losses of both are averaged,
            and ``r_drop`` times their divergence is added, as in the authors' code.
        teacher: logits of the teacher, float32, shape (rows, labels).

    Returns:
        A scalar.
    """
    from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, mse_loss

    if targets.is_floating_point() and targets.dim() == 1:
        losses = mse_loss(logits.float().squeeze(-1), targets.float(), reduction="none")
        return (losses if weights is None else losses * weights).mean()
    if targets.is_floating_point():
        losses = binary_cross_entropy_with_logits(logits.float(), targets, reduction="none").mean(dim=-1)
        return (losses if weights is None else losses * weights).mean()
    if weights is None and again is None and teacher is None and not settings.focal_gamma:
        return cross_entropy(logits, targets, label_smoothing=settings.label_smoothing)
    losses = _row_losses(logits, targets, teacher, settings)
    if again is not None:
        losses = (losses + _row_losses(again, targets, teacher, settings)) / 2
        losses = losses + settings.r_drop * symmetric_divergence(logits, again)
    return (losses if weights is None else losses * weights).mean()


def _row_losses(logits: torch.Tensor, targets: torch.Tensor, teacher: torch.Tensor | None,
                settings: TrainSettings) -> torch.Tensor:  # fmt: skip
    losses = focal_losses(logits, targets, gamma=settings.focal_gamma, smoothing=settings.label_smoothing)
    if teacher is None or settings.teacher is None:
        return losses
    soft = distillation_losses(logits, teacher, temperature=settings.teacher.temperature)
    return settings.teacher.alpha * soft + (1 - settings.teacher.alpha) * losses


def focal_losses(logits: torch.Tensor, targets: torch.Tensor, *, gamma: float, smoothing: float) -> torch.Tensor:
    """Cross-entropy with label smoothing (Szegedy et al. 2016) of each row, times (1 - p)^gamma (Lin et al. 2017).

    Args:
        logits: float, shape (rows, labels).
        targets: int64, shape (rows,).
        gamma: p is the probability of the target; 0 leaves the cross-entropy as it is.
        smoothing: share of the target spread over all labels.

    Returns:
        float32, shape (rows,).
    """
    from torch.nn.functional import cross_entropy, log_softmax

    losses = cross_entropy(logits.float(), targets, label_smoothing=smoothing, reduction="none")
    if not gamma:
        return losses
    sure = log_softmax(logits.float(), dim=-1).gather(1, targets[:, None]).squeeze(1)
    # Not (1 - exp(sure)): it loses all digits where the row is answered well, and the power's slope at 0 is infinite
    # for gamma < 1.
    return (-sure.expm1()).clamp_min(1e-12).pow(gamma) * losses


def symmetric_divergence(logits: torch.Tensor, again: torch.Tensor) -> torch.Tensor:
    """Half the sum of the Kullback-Leibler divergences in both directions: float32, shape (rows,).

    Args:
        logits: float, shape (rows, labels).
        again: likewise.
    """
    from torch.nn.functional import log_softmax

    first, second = log_softmax(logits.float(), dim=-1), log_softmax(again.float(), dim=-1)
    # KL(p, q) + KL(q, p) = sum (p - q)(log p - log q)
    return ((first.exp() - second.exp()) * (first - second)).sum(dim=-1) / 2


def distillation_losses(logits: torch.Tensor, teacher: torch.Tensor, *, temperature: float) -> torch.Tensor:
    """The Kullback-Leibler divergence of the student from the teacher, both softened, times temperature squared so that
    its gradients keep their size (Hinton et al. 2015, section 2).

    Args:
        logits: float, shape (rows, labels).
        teacher: float32, shape (rows, labels).
        temperature: the logits are divided by it.

    Returns:
        float32, shape (rows,).
    """
    from torch.nn.functional import kl_div, log_softmax

    student, target = (log_softmax(one.float() / temperature, dim=-1) for one in (logits, teacher))
    return kl_div(student, target, log_target=True, reduction="none").sum(dim=-1) * temperature**2


def class_weights(targets: NDArray[np.int64], labels: Sequence[str],
                  settings: TrainSettings) -> NDArray[np.float32] | None:  # fmt: skip
    """The weight of each label's rows: float32, shape (labels,); None where all count the same.

    ``balanced`` (King & Zeng 2001, as scikit-learn has it) and ``effective_number`` (Cui et al. 2019, equation 2) have
    a mean of 1 over the training rows, so that the learning rate keeps its meaning; given weights are taken as they
    are.

    Args:
        targets: of the training rows, shape (rows,).
        labels: in the order of their ids.
        settings: the recipe's ``train`` section.

    Raises:
        ConfigError: a weight is given for a label that is not there.
    """
    rule = settings.class_weights
    if rule == "none":
        return None
    if isinstance(rule, Mapping):
        return _given_weights(rule, labels)
    # A fold may lack the rows of a rare label; its weight is then multiplied with nothing.
    counts = np.bincount(targets, minlength=len(labels)).clip(min=1).astype(np.float64)
    beta = settings.effective_number_beta
    weights = 1 / counts if rule == "balanced" else (1 - beta) / (1 - beta**counts)
    return np.asarray(weights * len(targets) / (weights * counts).sum(), dtype=np.float32)


def weigh_labels(table: pa.Table, labels: Sequence[str], task: Task, settings: TrainSettings) -> pa.Table:
    """The training rows with their `class_weights` multiplied into the column ``weight``, float32.

    Raises:
        ConfigError: a weight is given for a label that is not there, or the labels are not of rows.
    """
    import pyarrow as pa

    if settings.class_weights == "none":
        return table
    if not task.one_label:
        raise ConfigError(
            f"train.class_weights does not go with {task.name}",
            cause=f"it weighs rows by their label, and these rows have {task.unit}",
            fix="leave it out",
        )
    targets = task.targets(table["label"].to_pylist(), labels)
    weights = class_weights(targets, labels, settings)
    if weights is None:
        return table
    rows = weights[targets]
    if "weight" in table.column_names:
        rows = rows * table["weight"].to_numpy().astype(np.float32)
        table = table.drop_columns("weight")
    return table.append_column("weight", pa.array(rows, pa.float32()))


def check_given_weights(given: Mapping[str, float], labels: Sequence[str]) -> None:
    """Whether the labels that have weights are there.

    Args:
        given: label -> weight.
        labels: of the data.

    Raises:
        ConfigError: one is not.
    """
    unknown = sorted(set(given) - set(labels))
    if unknown:
        raise ConfigError(
            f"train.class_weights names the label {unknown[0]!r}, which the data does not have",
            cause="it is misspelt, or the rows of that label were set aside",
            fix=did_you_mean(unknown[0], labels),
        )


def _given_weights(given: Mapping[str, float], labels: Sequence[str]) -> NDArray[np.float32]:
    check_given_weights(given, labels)
    return np.array([given.get(label, 1.0) for label in labels], dtype=np.float32)
