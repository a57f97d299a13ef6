"""Reliability diagrams: what is drawn is what the expected calibration error is computed from."""

from __future__ import annotations

import numpy as np
import pytest
from scripted import sure

from ftdeploy.metrics import resolve, score
from ftdeploy.validate.answers import Answer, Answers
from ftdeploy.validate.reliability import BINS, reliability


def test_bins_add_up_to_the_calibration_error() -> None:
    """Every row is in one bin, within its edges; the gaps weighted with the rows are the metric."""
    draw = np.random.default_rng(5)
    probabilities = draw.dirichlet(np.ones(3), size=3000).astype(np.float32)
    exact = probabilities.astype(np.float64)
    references = draw.integers(3, size=3000)
    texts = [str(row) for row in range(3000)]
    answer = Answer(probabilities=probabilities)
    made = Answers(ids=texts, texts=texts, columns={}, labels=("a", "b", "c"), references=references, baseline=answer,
                   candidate=answer)  # fmt: skip
    whole = reliability(made)
    assert whole is not None
    found = whole.candidate
    assert sum(one.rows for one in found) == 3000
    for one in found:
        assert one.lower < one.confidence <= one.upper
        assert one.upper - one.lower == pytest.approx(1 / BINS)
        inside = (answer.scores > np.float32(one.lower)) & (answer.scores <= np.float32(one.upper))
        assert one.accuracy == pytest.approx((answer.predictions == references)[inside].mean(), abs=0.01)
    error = sum(one.rows * abs(one.accuracy - one.confidence) for one in found) / 3000
    assert error == pytest.approx(score(resolve("ece", ()), references, answer.predictions, 3, exact))


def test_both_models_and_only_bins_with_rows() -> None:
    """All answers with one probability are one bin."""
    references = np.zeros(10, dtype=np.int64)
    made = Answers(ids=list("abcdefghij"), texts=list("abcdefghij"), columns={}, labels=("no", "yes"),
                   references=references, baseline=sure([0] * 10, 0.9),
                   candidate=sure([0] * 8 + [1] * 2, 1.0))  # fmt: skip
    found = reliability(made)
    assert found is not None
    (before,), (after,) = found.baseline, found.candidate
    assert (before.rows, before.accuracy) == (10, 1)
    assert before.confidence == pytest.approx(0.9)
    assert (after.rows, after.accuracy, after.upper) == (10, 0.8, 1)
