"""Least scores: given ones as given, calibrated ones with the precision that was asked for, and what comes of them."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import f1_score
from tiny import write_model_folder

from ftdeploy import progress
from ftdeploy.errors import ConfigError
from ftdeploy.recipe import ThresholdSettings
from ftdeploy.signature import read_signature, write_signature
from ftdeploy.tasks.said import sigmoid
from ftdeploy.thresholds import (
    HALF,
    TRIED,
    calibrated,
    enough,
    fit_sets,
    keeping,
    least_scores,
    outcome,
    set_thresholds,
    sets_outcome,
)

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


class Told:
    """Remembers what was said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, message: str) -> None:
        self.said.append(message)

    def task(self, _name: str, _total: float | None) -> AbstractContextManager[progress.Advance]:
        return nullcontext(lambda _steps: None)


def _sets(count: int, seed: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """A calibrated model of one label that few rows have: it holds as often as its probability says."""
    random = np.random.default_rng(seed)
    shares = 1 / (1 + np.exp(-random.normal(-2.5, 2.0, count)))
    return shares[:, None].astype(np.float32), (random.random(count) < shares)[:, None].astype(np.float32)


def test_a_label_of_any_number_holds_from_half_of_its_best_f1() -> None:
    """On other rows that is nearly the best threshold that there is, and better than a half."""
    (found,) = set_thresholds(("rare",), *_sets(2000, 0))
    assert found.threshold < HALF
    assert found.after > found.before
    assert found.sentence().startswith(f"rare from {found.threshold:g} on (F1 ")
    shares, held = (rows[:, 0] for rows in _sets(50_000, 1))
    by_threshold = {cut: f1_score(held, shares >= cut) for cut in (*np.arange(0.05, 0.95, 0.01), found.threshold)}
    assert by_threshold[found.threshold] > max(by_threshold.values()) - 0.005
    assert by_threshold[found.threshold] > f1_score(held, shares >= HALF) + 0.02


@pytest.mark.parametrize(
    ("shares", "held", "reason"),
    [
        (np.linspace(0, 0.6, 400), np.arange(400) >= 381, "19 validation rows have it, and 20 are wanted"),
        (np.where(np.arange(400) // 4 % 2, 0.6, 0.2), np.arange(400) % 4 == 0, "says it of every row"),
        (np.full(400, 0.3), np.arange(400) % 4 == 0, "says it of every row"),
        (np.linspace(0, 0.999, 400), np.arange(400) >= 200, "nothing is gained"),
        # Probabilities that are too high: half of the best F1 lies below all of them.
        (
            np.linspace(0.3, 0.45, 400),
            np.arange(400) % 10 < np.where(np.arange(400) > 200, 4, 1),
            "no better than by one that says",
        ),
    ],
)
def test_a_label_stays_at_a_half_and_says_why(shares: NDArray[np.float64], held: NDArray[np.bool_],
                                              reason: str) -> None:  # fmt: skip
    """With few rows that have it, where the model knows nothing of it, and where nothing is gained."""
    (found,) = set_thresholds(("a",), shares[:, None].astype(np.float32), held[:, None].astype(np.float32))
    assert found.threshold == HALF
    assert found.before == found.after
    assert reason in found.sentence()


def test_a_folder_gets_thresholds_and_says_what_they_brought(tmp_path: Path) -> None:
    """Of its own temperature; a label that stays at a half has none in the signature. What rows that had no part in it
    say is beside what a half would give."""
    write_model_folder(tmp_path, labels=("rare", "never"))
    signature = read_signature(tmp_path).model_copy(update={"task": "multi-label-classification", "temperature": 2.0})
    write_signature(tmp_path, signature)
    shares, held = _sets(1000, 0)
    logits = 2 * np.log(shares.astype(np.float64) / (1 - shares))
    pairs = np.concatenate([logits, -np.ones_like(logits)], axis=1).astype(np.float32)
    truths = np.concatenate([held, np.zeros_like(held)], axis=1)
    told = Told()
    with progress.reporting(told):
        facts = fit_sets(tmp_path, pairs, truths)
    (expected,) = set_thresholds(("rare",), sigmoid(pairs[:, :1] / 2), held)
    least = read_signature(tmp_path).thresholds
    assert least == {"rare": expected.threshold}
    assert facts["labels_with_threshold"] == 1
    assert facts["mean_label_f1"] == pytest.approx(expected.after / 2)
    assert "never from a half on: 0 validation rows have it" in told.said[0]
    found = sets_outcome(least, ("rare", "never"), sigmoid(pairs / 2), truths)
    assert found["label_f1_by_threshold"] == pytest.approx(expected.after)
    assert found["label_f1_at_half"] == pytest.approx(expected.before)
