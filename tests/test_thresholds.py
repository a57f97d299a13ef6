"""Least scores: given ones as given, calibrated ones with the precision that was asked for, and what comes of them."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from ftdeploy.errors import ConfigError
from ftdeploy.recipe import ThresholdSettings
from ftdeploy.thresholds import TRIED, calibrated, enough, keeping, least_scores, outcome

LABELS = ("a", "b", "other")
Rows = tuple[NDArray[np.float32], NDArray[np.int64]]


def _settings(**given: object) -> ThresholdSettings:
    return ThresholdSettings.model_validate({"fallback": "none of them", **given})


def _rows(count: int, seed: int = 0) -> Rows:
    """A calibrated model of three labels: a label is right as often as its probability says."""
    random = np.random.default_rng(seed)
    probabilities = random.dirichlet([0.3, 0.3, 0.3], count).astype(np.float32)
    return probabilities, np.array([random.choice(3, p=row / row.sum()) for row in probabilities.astype(float)])


def test_given_scores_are_taken_as_given() -> None:
    """One for all, others by name; the fallback has none."""
    found = least_scores(_settings(score=0.5, scores={"b": 0.8}), LABELS, *_rows(5))
    assert found == {"a": 0.5, "b": 0.8, "other": 0.5}
    found = least_scores(_settings(score=0.5, fallback="other"), LABELS, *_rows(5))
    assert found == {"a": 0.5, "b": 0.5}
    assert least_scores(_settings(scores={"b": 0.8}), LABELS, *_rows(5)) == {"b": 0.8}


def test_a_label_that_the_model_does_not_have_is_named() -> None:
    """With what was probably meant."""
    with pytest.raises(ConfigError, match=r"1 label\(s\) that the model does not have") as caught:
        least_scores(_settings(scores={"othr": 0.8}), LABELS, *_rows(5))
    assert "other" in str(caught.value.problems[0].hint)


def test_a_calibrated_threshold_holds_what_was_asked_on_other_rows() -> None:
    """Precision of each label above its threshold, and not more is refused than need be."""
    wanted = 0.85
    least = least_scores(_settings(precision=wanted), LABELS, *_rows(3000))
    probabilities, references = _rows(20_000, seed=1)
    best, predictions = probabilities.max(axis=1), probabilities.argmax(axis=1)
    for index, label in enumerate(LABELS):
        kept = (predictions == index) & (best >= least[label])
        assert (references[kept] == index).mean() > wanted
        assert kept.sum() > 0.4 * (predictions == index).sum()
    assert max(least.values()) < 0.9


def test_the_error_of_the_bound_is_what_was_said() -> None:
    """A label whose true precision is below what is asked at every threshold gets one in at most 5% of the samples."""
    settings = _settings(precision=0.9)
    random = np.random.default_rng(3)
    passed = sum(
        calibrated(random.random(300), random.random(300) < 0.899, settings)[0] is not None for _ in range(400)
    )
    assert passed / 400 <= 0.05


def test_the_smallest_of_those_tried_is_taken() -> None:
    """Where every row is right, all of them are kept; where the lower half is wrong, the upper half."""
    settings = _settings(precision=0.9)
    scores = np.linspace(0.5, 0.99, 400)
    assert calibrated(scores, np.ones(400, dtype=bool), settings)[0] == 0.0
    score, bound = calibrated(scores, scores > 0.7, settings)
    assert score == pytest.approx(0.7, abs=0.03)
    assert score is not None
    assert bound >= 0.9
    assert (scores[scores >= score] > 0.7).mean() > 0.9


def test_a_label_that_cannot_be_shown_to_be_precise_is_an_error_that_names_it() -> None:
    """Rather than a label that is silently never answered; rows that would do are told."""
    probabilities, references = _rows(60)
    with pytest.raises(ConfigError, match=r"3 label\(s\) reach a precision of 0\.95 at no score") as caught:
        least_scores(_settings(precision=0.95), LABELS, probabilities, references)
    assert "at least 104 right ones" in caught.value.cause
    assert caught.value.problems[0].path == "package.thresholds.scores.a"
    given = dict.fromkeys(LABELS, 0.9)
    assert least_scores(_settings(precision=0.95, scores=given), LABELS, probabilities, references) == given


def test_so_many_right_rows_are_enough_and_one_less_is_not() -> None:
    """The number that the error tells."""
    settings = _settings(precision=0.95)
    count = enough(settings)
    assert count == 104
    for rows, found in ((count, True), (count - 1, False)):
        assert (calibrated(np.full(rows, 0.9), np.ones(rows, dtype=bool), settings)[0] is not None) is found


def test_a_share_of_the_answers_is_kept_on_other_rows() -> None:
    """On average over the rows that the score is found on, and whatever the scores are."""
    random = np.random.default_rng(5)
    for draw in (random.random, lambda count: random.random(count) ** 0.1):
        kept = [float((draw(500) >= keeping(draw(99), 0.9)).mean()) for _ in range(400)]
        assert np.mean(kept) == pytest.approx(0.9, abs=0.005)


def test_the_rows_of_the_labels_without_a_score_decide_what_is_kept() -> None:
    """One score for all of them, and none for the fallback; given ones stay."""
    probabilities, references = _rows(2000)
    least = least_scores(_settings(keep=0.9, scores={"b": 0.8}), LABELS, probabilities, references)
    assert least["b"] == 0.8
    assert least["a"] == least["other"]
    asked = probabilities.argmax(axis=1) != 1
    assert (probabilities.max(axis=1)[asked] >= least["a"]).mean() == pytest.approx(0.9, abs=0.002)
    assert least_scores(_settings(keep=0.9, fallback="other"), LABELS, probabilities, references).keys() == {"a", "b"}


def test_so_many_rows_can_keep_a_share_and_one_less_cannot() -> None:
    """The error says how many."""
    assert keeping(np.linspace(0.5, 1, 19), 0.95) == 0.5
    with pytest.raises(ConfigError, match=r"18 validation rows are too few to keep 0\.95") as caught:
        keeping(np.linspace(0.5, 1, 18), 0.95)
    assert "one row of 19" in caught.value.cause


def test_a_label_without_rows_has_no_threshold() -> None:
    """Nothing is known of it."""
    assert calibrated(np.array([]), np.array([], dtype=bool), _settings(precision=0.9)) == (None, 0.0)


def test_what_comes_of_them() -> None:
    """The share that gets the fallback, and how often the rest is right."""
    probabilities = np.array([[0.9, 0.1, 0], [0.6, 0.4, 0], [0.2, 0.8, 0], [0.1, 0.2, 0.7]], dtype=np.float32)
    references = np.array([0, 0, 0, 2])
    assert outcome({}, LABELS, probabilities, references) == {"fallback_share": 0.0, "accuracy_answered": 0.75}
    found = outcome({"a": 0.7, "b": 0.9}, LABELS, probabilities, references)
    assert found == {"fallback_share": 0.5, "accuracy_answered": 1.0}
    every = outcome(dict.fromkeys(LABELS, 1.0), LABELS, probabilities, references)
    assert every == {"fallback_share": 1.0, "accuracy_answered": 1.0}
    assert TRIED == 10


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "one of score, scores, precision and keep"),
        ({"score": 0.5, "precision": 0.9}, "score and precision say"),
        ({"precision": 0.9, "keep": 0.9}, "leave out all but one of them"),
        ({"keep": 1.0}, "less than 1"),
        ({"scores": {"none of them": 0.5}}, "is the fallback"),
        ({"score": 1.5}, "less than or equal to 1"),
        ({"precision": 1.0}, "less than 1"),
        ({"fallback": "", "score": 0.5}, "at least 1 character"),
    ],
)
def test_settings_that_contradict_themselves_are_refused(given: dict[str, object], said: str) -> None:
    """In words."""
    with pytest.raises(ValueError, match=said):
        _settings(**given)
