"""Trainings that came to grief are told; noise is not."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest

from ftdeploy.errors import TrainingError
from ftdeploy.train.divergence import check_finite, check_log


def log_of(losses: list[float], norms: list[float] | None = None) -> list[dict[str, Any]]:
    norms = norms or [1.0] * len(losses)
    return [{"step": 10 * n, "loss": a, "grad_norm": b} for n, (a, b) in enumerate(zip(losses, norms, strict=True), 1)]


def check(log: list[dict[str, Any]], *, weight: float = 1.0) -> None:
    """At every entry, as the training does."""
    for end in range(len(log) + 1):
        check_log(log[:end], classes=2, weight=weight, max_grad_norm=1.0, rate=1e-2)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_none_is_refused(value: float) -> None:
    """With the step, the value, and what causes it."""
    with pytest.raises(TrainingError, match=rf"the loss is {value} at step 7 of 90") as caught:
        check_finite(value, "the loss", step=7, steps=90, rate=1e-2)
    assert "0.01" in caught.value.cause


def test_a_loss_far_above_its_start_is_refused() -> None:
    """After a few entries in a row; the message has the step and both values."""
    with pytest.raises(TrainingError, match=r"the loss is 9 at step 150, after 0\.7 at the start"):
        check(log_of([0.7] * 10 + [9.0] * 5))


def test_gradients_that_explode_are_refused() -> None:
    """Likewise, with what they are clipped to."""
    with pytest.raises(TrainingError, match=r"their norm is 5000 at step 150, after 2 at the start, .* to 1"):
        check(log_of([0.7] * 15, [2.0] * 10 + [5000.0] * 5))


@pytest.mark.parametrize("seed", range(20))
def test_noise_is_no_divergence(seed: int) -> None:
    """Losses and norms that vary by a factor of several around a falling, or even a slowly rising, course."""
    draw = random.Random(seed)  # noqa: S311  # not for secrets
    course = [0.7 * math.exp((0.004 if seed % 2 else -0.03) * n) for n in range(100)]
    losses = [value * draw.lognormvariate(0, 0.5) for value in course]
    norms = [draw.lognormvariate(1, 1) * (5 if n > 50 else 1) for n in range(100)]
    check(log_of(losses, norms))


def test_single_outliers_are_no_divergence() -> None:
    """A batch of wrong labels, now and then, is survived: its gradient is clipped."""
    losses, norms = [0.5] * 40, [1.0] * 40
    for at in (12, 13, 20, 30):
        losses[at], norms[at] = 50.0, 1e6
    check(log_of(losses, norms))


def test_a_start_with_a_tiny_loss_may_rise_to_that_of_guessing() -> None:
    """A champion that is trained further on new data begins near nothing."""
    check(log_of([0.001] * 10 + [0.6] * 20))


def test_rows_that_weigh_much_are_no_divergence() -> None:
    """A label of weight 30 whose rows are missing in the first batches: each entry after that is far above them, and
    not above what guessing gives on rows of that mean weight. What is above that still is told."""
    losses = [0.7] * 5 + [4.0] * 20
    check(log_of(losses), weight=3.3)
    with pytest.raises(TrainingError, match="diverges"):
        check(log_of(losses))
    with pytest.raises(TrainingError, match="diverges"):
        check(log_of([0.7] * 5 + [9.0] * 20), weight=3.3)
