"""The row that could come next, and metrics that are computed anew for each resample."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from ftdeploy.metrics import METRICS, SCORE_METRICS, Floats, Ids
from ftdeploy.statistics.sampling import OWN_RESAMPLES, Answered, sample

IDS = np.arange(100) % 2
SCORES = np.where(np.eye(2)[IDS] > 0, 0.9, 0.1)


@dataclass
class Own:
    """Accuracy, or with ``wrong`` its complement, and how often it was asked."""

    wrong: bool = False
    calls: int = 0
    name: str = "own"
    needs_scores: bool = False

    @property
    def greater_is_better(self) -> bool:
        return not self.wrong

    def compute(self, references: Ids, predictions: Ids, scores: Floats | None = None) -> float:
        assert scores is None
        assert len(references) in (len(IDS), len(IDS) + 1)
        self.calls += 1
        return float(((references == predictions) != self.wrong).mean())


@pytest.mark.parametrize(
    ("name", "step"),
    # In units of the metric: what a row moves of which a model is sure at 0.9, right before and wrong after.
    [("accuracy", 0.01), ("brier", (2 * 0.81 - 2 * 0.01) / 100), ("log_loss", np.log(9) / 100)],
)
def test_of_equal_answers_the_ends_are_the_least_favourable_row(name: str, step: float) -> None:
    """Nothing else varies; how often it is drawn is Poisson with a mean of 1, so that each end is some whole rows."""
    metric = {**METRICS, **SCORE_METRICS}[name]
    found = sample(metric, IDS, [Answered(IDS, SCORES)] * 2, classes=2, resamples=4000, seed=1)
    rows = -found.below / step
    assert rows == pytest.approx(np.round(rows), abs=1e-6)
    assert rows.mean() == pytest.approx(1, abs=0.1)
    assert (rows.min(), found.value) == (pytest.approx(0, abs=1e-9), 0)
    assert np.sort(found.above) == pytest.approx(np.sort(-found.below))


def test_of_one_model_the_ends_lie_on_their_sides() -> None:
    """The row that comes is wrong for the lower end, and right for the upper one."""
    guesses = np.where(np.arange(100) < 20, 1 - IDS, IDS)
    found = sample(METRICS["accuracy"], IDS, [Answered(guesses)], classes=2, resamples=4000, seed=1)
    assert found.values == (found.value,) == (0.8,)
    assert found.below.mean() == pytest.approx(80 / 101, abs=2e-3)
    assert found.above.mean() == pytest.approx(81 / 101, abs=2e-3)


@pytest.mark.parametrize("wrong", [False, True])
def test_own_metrics_are_computed_anew(wrong: bool) -> None:
    """500 resamples an end, each of as many rows as there are; harm is found whichever direction is the better one."""
    metric = Own(wrong=wrong)
    guesses = np.where(np.arange(100) < 20, 1 - IDS, IDS)
    found = sample(metric, IDS, [Answered(IDS), Answered(guesses)], classes=2, resamples=10_000, seed=1)
    assert found.value == pytest.approx(0.2 if wrong else -0.2)
    assert len(found.below) == len(found.above) == OWN_RESAMPLES
    assert metric.calls == 2 + 4 * OWN_RESAMPLES
    assert found.below.mean() < found.value < found.above.mean()
    assert found.deviation == pytest.approx((0.2 * 0.8 / 100) ** 0.5, rel=0.15)
