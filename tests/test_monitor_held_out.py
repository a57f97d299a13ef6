"""Shifts made at packaging: each has a magnitude and errors, and texts are changed as said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from monitor_samples import features
from tiny import WORDS, write_model_folder

from ftdeploy.drift import bundle_projection, features_of
from ftdeploy.monitor.held_out import CHANGES, learn_shifts, measure_shifts
from ftdeploy.predictor import Predictor
from ftdeploy.tasks import TASKS

TASK = TASKS["text-classification"]
TEXTS = [f"the film was {WORDS[place % 10]} and not {WORDS[place * 7 % 10]}" for place in range(300)]


def test_a_bundle_learns_from_its_held_out_rows(tmp_path: Path) -> None:
    """Every change at three strengths, and selections; finite, the same every time; few rows teach nothing."""
    write_model_folder(tmp_path / "model")
    predictor = Predictor(tmp_path / "model")
    projection = bundle_projection(predictor, seed=1)
    plain = features_of(predictor, TASK, TEXTS, projection=projection)
    truths = (np.arange(300) % 10 >= 5).astype(np.int64)
    one, two = (learn_shifts(predictor, TASK, plain, TEXTS, truths, projection=projection, seed=1) for _ in range(2))
    assert len(one["shift_magnitude"]) >= 3 * len(CHANGES)
    assert one["shift_error"].shape == (len(one["shift_magnitude"]), 3)
    for name, values in one.items():
        assert np.isfinite(values).all()
        np.testing.assert_array_equal(values, two[name])
    few = learn_shifts(predictor, TASK, plain.take(np.arange(60)), TEXTS[:60], truths[:60], projection=projection,
                       seed=1)  # fmt: skip
    assert few["shift_error"].shape == (0, 3)


def test_errors_are_estimate_less_truth() -> None:
    """Rows that move far and whose labels turn: large magnitude, and an estimate that is far too high."""
    plain, truths = features(800, seed=1)
    moved, _ = features(300, seed=2, away=5.0)
    half, rest = np.arange(400), np.arange(400, 800)
    turned = truths.copy()
    turned[rest[:300]] = 1 - moved.labels
    found = measure_shifts(plain, turned, {"far": moved}, half=half, rest=rest, changed_rows=rest[:300], classes=2,
                           seed=1)  # fmt: skip
    assert found["shift_magnitude"][2] > 0.9
    assert (found["shift_error"][2] > 0.5).all()


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_makes_another_text_and_never_none(name: str) -> None:
    """Of one word, too, something is left; of many, something differs."""
    generator = np.random.default_rng(1)
    words = [f"word{number}" for number in range(20)]
    pool = ["other", "texts", "have", "words"] * 20
    assert CHANGES[name](words, pool, generator) != words
    for short in ([], ["a"]):
        assert isinstance(CHANGES[name](list(short), pool, generator), list)
    assert words == [f"word{number}" for number in range(20)]
