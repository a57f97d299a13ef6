"""Metrics of probabilities, against scikit-learn and against the words of the papers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss, log_loss

from ftdeploy.metrics import SCORE_METRICS, Floats, Ids, score


def rows(seed: int, *, count: int, classes: int, steps: int | None = None) -> tuple[Ids, Ids, Floats]:
    """References, predictions and probabilities; with ``steps`` so coarse that they tie."""
    random = np.random.default_rng(seed)
    references = random.integers(0, classes, count)
    logits = random.normal(size=(count, classes)) * 2
    logits[np.arange(count), references] += 1
    if steps:
        logits = np.round(logits * steps) / steps
    scores = np.exp(logits)
    scores /= scores.sum(axis=1, keepdims=True)
    return references, scores.argmax(axis=1), scores


@given(st.integers(0, 10_000), st.integers(1, 50), st.integers(2, 5))
def test_brier_and_log_loss_are_scikit_learns(seed: int, count: int, classes: int) -> None:
    """Of two classes the Brier score is twice theirs, which looks at one of the two."""
    references, predictions, scores = rows(seed, count=count, classes=classes)
    labels = list(range(classes))
    brier = score(SCORE_METRICS["brier"], references, predictions, classes, scores)
    assert brier == pytest.approx(brier_score_loss(references, scores, labels=labels, scale_by_half=False))
    if classes == 2:
        assert brier == pytest.approx(2 * brier_score_loss(references, scores[:, 1], pos_label=1))
    logs = score(SCORE_METRICS["log_loss"], references, predictions, classes, scores)
    assert logs == pytest.approx(log_loss(references, scores, labels=labels))


def test_log_loss_of_certain_mistakes_is_finite() -> None:
    """A softmax in float32 ends in zeros; one such row costs what 1.2e-7 costs, as with scikit-learn."""
    references, scores = np.array([0, 1]), np.array([[0.0, 1.0], [0.0, 1.0]], dtype=np.float32)
    ours = score(SCORE_METRICS["log_loss"], references, np.array([1, 1]), 2, np.asarray(scores, dtype=np.float64))
    assert ours == pytest.approx(log_loss(references, scores), rel=1e-6)


def _calibration_error(references: Ids, predictions: Ids, scores: Floats) -> float:
    """Guo et al. (2017), equations 3 and 5, as they are written: bins ((m - 1) / 15, m / 15]."""
    found = 0.0
    for m in range(1, 16):
        members = [
            (float(scores[i, predictions[i]]), float(predictions[i] == references[i]))
            for i in range(len(references))
            if (m - 1) / 15 < scores[i, predictions[i]] <= m / 15
        ]
        if members:
            confidence, right = np.mean(members, axis=0)
            found += len(members) / len(references) * abs(right - confidence)
    return found


@given(st.integers(0, 10_000), st.integers(1, 200), st.integers(2, 5))
@settings(max_examples=50)
def test_calibration_error_is_the_papers(seed: int, count: int, classes: int) -> None:
    """The bins' gaps, weighted with their rows."""
    found = rows(seed, count=count, classes=classes)
    assert score(SCORE_METRICS["ece"], *found[:2], classes, found[2]) == pytest.approx(_calibration_error(*found))


def test_calibration_error_of_the_edges() -> None:
    """A probability on an edge belongs to the bin below it, that of 0 to the first; sure and right is no error."""
    ids = np.array([0, 0, 0])
    sure = np.array([[1.0, 0.0]] * 3)
    assert score(SCORE_METRICS["ece"], ids, ids, 2, sure) == 0
    edge = np.array([[0.6, 0.4], [0.61, 0.39], [0.0, 1.0]])
    # 0.6 is the ninth bin's upper edge: it and 0.61 lie in two bins, so that their gaps do not cancel.
    found = score(SCORE_METRICS["ece"], np.array([0, 1, 1]), ids, 2, edge)
    assert found == pytest.approx((0.4 + 0.61) / 3)
