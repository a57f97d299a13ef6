"""Training that has come to grief, told from its log: so a resumed run judges as the undisturbed one would.

Gradients and losses of small batches are noisy, and a loss may well rise for a while. So nothing is judged by one
value: several entries in a row must be far above where the training began, and above what guessing would give.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from ftdeploy.errors import TrainingError

#: Entries of the log that say where the training began.
START = 5
#: Entries in a row that must be beyond the limit; a run has about a hundred.
ROW = 5
#: Cross-entropy this many times that of guessing, or of the start where that was more, is no noise.
LOSS = 3.0
#: Likewise for the gradient's norm, of the start and of ``max_grad_norm``; a factor of ten is seen in sound trainings.
NORM = 100.0


def check_finite(value: float, what: str, *, step: int, steps: int, rate: float) -> None:
    """Refuse to go on with a number that is none.

    Args:
        value: a loss, or the norm of all gradients.
        what: which of them.
        step: that is being made, from 1.
        steps: there are to be.
        rate: peak learning rate.

    Raises:
        TrainingError: it is infinite or not a number.
    """
    if not math.isfinite(value):
        raise TrainingError(
            f"{what} is {value} at step {step} of {steps}",
            cause=f"the learning rate ({rate:g}) is too high for this checkpoint, or its weights hold values that are "
            "not numbers",
            fix="lower train.learning_rate (by ten), lengthen train.warmup, or set train.precision: fp32",
        )


def check_log(log: Sequence[Mapping[str, Any]], *, classes: int, weight: float, max_grad_norm: float,
              rate: float) -> None:  # fmt: skip
    """Refuse to go on when the loss, or the gradient, has been far above its start for several entries in a row.

    Args:
        log: entries with ``step``, ``loss`` and ``grad_norm``; others do not count.
        classes: labels there are; guessing has a cross-entropy of ``log(classes)``.
        weight: mean of the rows' weights, which a loss is multiplied with.
        max_grad_norm: to which gradients are clipped.
        rate: peak learning rate.

    Raises:
        TrainingError: the training diverges.
    """
    entries = [entry for entry in log if "loss" in entry]
    if len(entries) < START + ROW:
        return
    latest = entries[-1]
    losses = [float(entry["loss"]) for entry in entries]
    start = min(losses[:START])  # a training that is wrecked by its first steps has high ones among them
    # The first batches may lack the rows that weigh most. Where most rows weigh next to nothing, a batch may still hold
    # those that do not.
    limit = LOSS * max(start, math.log(classes) * max(1.0, weight))
    if min(losses[-ROW:]) > limit:
        raise TrainingError(
            f"training diverges: the loss is {losses[-1]:.4g} at step {latest['step']}, after {start:.4g} at the start",
            cause=f"the learning rate ({rate:g}) is too high",
            fix="lower train.learning_rate (by ten), or lengthen train.warmup",
        )
    norms = [float(entry["grad_norm"]) for entry in entries if "grad_norm" in entry]
    if len(norms) < START + ROW:
        return
    start = statistics.median(norms[:START])
    if min(norms[-ROW:]) > NORM * max(start, max_grad_norm):
        raise TrainingError(
            f"gradients explode: their norm is {norms[-1]:.4g} at step {latest['step']}, after {start:.4g} at the "
            f"start, and is clipped to {max_grad_norm:g}",
            cause=f"the learning rate ({rate:g}) is too high, or rows far from the others (very long, or of wrong "
            "labels) dominate",
            fix="lower train.learning_rate (by ten), lengthen train.warmup, or look at the rows",
        )
