"""The temperature is found, never hurts, changes no label, and says so where the rows cannot tell."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from tiny import write_model_folder

from ftdeploy.encoded import Outputs
from ftdeploy.metrics import SCORE_METRICS, score
from ftdeploy.predictor import Predictor
from ftdeploy.signature import Signature, read_signature
from ftdeploy.tasks import TASKS
from ftdeploy.tasks.said import softmax
from ftdeploy.temperature import (
    HIGHEST,
    Calibration,
    calibrate,
    calibrate_folder,
    labelled,
    log_loss,
    of_the_same_logits,
)

Drawn = tuple[NDArray[np.float32], NDArray[np.int64]]


def _drawn(rows: int, temperature: float, *, labels: int = 3, seed: int = 0) -> Drawn:
    """Logits, and labels drawn with the probabilities that these logits give at a temperature."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 3, (rows, labels)).astype(np.float32)
    chances = softmax(logits / temperature).cumsum(axis=1)
    return logits, np.asarray((random.random((rows, 1)) > chances[:, :-1]).sum(axis=1), dtype=np.int64)


@pytest.mark.parametrize("true", [0.5, 2.5, 6.0])
def test_the_temperature_that_labels_were_drawn_at_is_found_and_holds_on_other_rows(true: float) -> None:
    """Overconfident models and timid ones; log loss and calibration error fall on rows that it was not fitted on."""
    found = calibrate(*_drawn(20_000, true), "fit")
    assert found.temperature == pytest.approx(true, rel=0.05)
    fresh = _drawn(20_000, true, seed=1)
    again = calibrate(*fresh, found.temperature)
    assert again.log_loss < again.log_loss_before
    assert again.ece < again.ece_before / 3
    assert again.ece < 0.02


def test_no_temperature_near_it_is_likelier() -> None:
    """It is the minimum, to the four digits that are kept."""
    logits, references = _drawn(500, 2.0)
    best = calibrate(logits, references, "fit").temperature
    wide = logits.astype(np.float64)
    least = log_loss(wide, references, best)
    assert all(log_loss(wide, references, best * factor) >= least for factor in (0.5, 0.95, 0.999, 1.001, 1.05, 2))
    assert best == float(f"{best:.4g}")


def test_it_never_fits_the_rows_worse_than_no_temperature() -> None:
    """Whatever the rows, few or many."""
    for seed in range(60):
        found = calibrate(*_drawn(2 + seed, 1.5, seed=seed), "fit")
        assert found.log_loss <= found.log_loss_before


def test_few_rows_of_a_calibrated_model_leave_it_alone() -> None:
    """A number that is fitted to noise would make it worse elsewhere; the reason says what was found."""
    left = [calibrate(*_drawn(30, 1.0, seed=seed), "fit") for seed in range(40)]
    kept = [one for one in left if one.temperature == 1]
    assert len(kept) > 25
    assert all("do not tell" in one.reason or "every validation row is right" in one.reason for one in kept)
    assert all(one.log_loss == one.log_loss_before for one in kept)


def test_rows_that_are_all_right_have_no_likeliest_temperature() -> None:
    """The likelihood rises for ever as the temperature falls, to a model that is certain of everything."""
    logits = _drawn(400, 1.0)[0]
    found = calibrate(logits, logits.argmax(axis=1), "fit")
    assert found.temperature == 1
    assert "every validation row is right" in found.reason


def test_a_model_that_is_worse_than_chance_is_held_at_the_bound() -> None:
    """It rises for ever as the temperature rises; the bound is said."""
    logits = _drawn(400, 1.0)[0]
    found = calibrate(logits, logits.argmin(axis=1), "fit")
    assert (found.temperature, found.reason) == (HIGHEST, "fitted, and held at the bound")


def test_a_temperature_of_the_recipe_is_taken_as_it_is() -> None:
    """1 leaves the logits alone; what it does is measured like a fitted one."""
    rows = _drawn(300, 2.0)
    assert calibrate(*rows, 1.0).log_loss == calibrate(*rows, 1.0).log_loss_before
    found = calibrate(*rows, 3.0)
    assert (found.temperature, found.reason) == (3.0, "set by the recipe")
    assert found.log_loss != found.log_loss_before


def test_tokens_with_a_label_count_like_rows() -> None:
    """Those that are judged, and no filling of short rows."""
    logits, references = _drawn(6, 2.0)
    rows = np.zeros((3, 4, 3), dtype=np.float32)
    rows[0, :3], rows[1, 1], rows[2, [0, 3]] = logits[:3], logits[3], logits[4:]
    one, two, three, four, five, six = references.tolist()
    found = labelled(rows, [[one, two, three], [-100, four], [five, -100, -100, six]])
    np.testing.assert_array_equal(found[0], logits)
    np.testing.assert_array_equal(found[1], references)
    assert labelled(logits, references)[0] is logits


def test_its_losses_are_those_of_the_metrics() -> None:
    """Where no probability is so small that the metric cuts it off."""
    logits, references = _drawn(300, 2.0)
    found = calibrate(logits, references, 2.0)
    chances = softmax(logits / 2).astype(np.float64)
    for name, value in (("log_loss", found.log_loss), ("ece", found.ece)):
        assert value == pytest.approx(
            score(SCORE_METRICS[name], references, logits.argmax(axis=1), 3, chances), abs=1e-6
        )


def test_certain_and_wrong_costs_what_it_should() -> None:
    """A probability of exp(-1000) is 0 in any float; its logarithm is not infinite."""
    assert log_loss(np.array([[1000.0, 0.0]]), np.array([1]), 1.0) == pytest.approx(1000)


def _outputs(logits: NDArray[np.float32]) -> Outputs:
    return Outputs(logits=logits, embedding=logits[:, :0])


@pytest.mark.parametrize("temperature", [0.05, 0.7, 3.0, 20.0])
def test_no_label_and_no_order_of_labels_changes(temperature: float) -> None:
    """Accuracies are those without it, also where probabilities end in ties of float32."""
    logits, _ = _drawn(200, 1.0)
    task = TASKS["text-classification"]
    orders = [
        [[one["label"] for one in answer] for answer in task.decode(_outputs(logits), signature)]
        for signature in (_signature(1.0), _signature(temperature))
    ]
    assert orders[0] == orders[1]


def _signature(temperature: float) -> Signature:
    return Signature(
        name="m", task="text-classification", labels=("a", "b", "c"), max_length=8, temperature=temperature
    )


def test_a_folder_gets_it_in_its_signature_and_nothing_else_changes(tmp_path: Path) -> None:
    """What the folder answers from then on has the log loss that was promised."""
    write_model_folder(tmp_path)
    before = read_signature(tmp_path)
    texts = [f"{word} film" for word in ("good", "bad", "fine", "dull")] * 30
    predictor = Predictor(tmp_path)
    logits = predictor.predict(texts).logits
    references = np.where(np.arange(len(texts)) % 5 == 0, logits.argmin(axis=1), logits.argmax(axis=1))
    found = calibrate_folder(tmp_path, logits, references, "fit")
    after = read_signature(tmp_path)
    assert after == before.model_copy(update={"temperature": found.temperature})
    assert found.temperature != 1
    answers = TASKS[after.task].decode(_outputs(logits), after)
    wanted = [
        next(one["score"] for one in answer if one["label"] == after.labels[truth])
        for answer, truth in zip(answers, references.tolist(), strict=True)
    ]
    assert float(-np.log(wanted).mean()) == pytest.approx(found.log_loss, abs=1e-5)


def test_what_people_and_artifacts_are_told() -> None:
    """The sentence has all figures; the facts are named as the artifact's."""
    found = Calibration(temperature=1.834, rows=1004, log_loss=0.3, log_loss_before=0.4, ece=0.01, ece_before=0.08,
                        reason="fitted")  # fmt: skip
    assert found.sentence() == (
        "Temperature 1.834 (fitted): on 1,004 validation rows log loss 0.4000 -> 0.3000, calibration error "
        "0.0800 -> 0.0100."
    )
    assert found.facts()["temperature"] == 1.834
    assert found.facts()["ece_before"] == 0.08


@given(
    least=st.floats(0.05, 0.95),
    before=st.floats(0.7, 1.5),
    after=st.floats(0.7, 1.5),
    logits=st.lists(st.floats(-8, 8, width=32), min_size=1, max_size=20),
)
def test_under_another_temperature_sets_hold_of_the_same_logits(
    least: float, before: float, after: float, logits: list[float]
) -> None:
    """Their thresholds move along, so that what was judged is what ships; but for what lies on one."""
    signature = Signature(name="t", task="multi-label-classification", labels=("a", "b"), max_length=8)
    cut = np.log(least / (1 - least)) * before
    far = np.array([[one, -one] for one in logits if abs(one - cut) > 1e-3 and abs(one) > 1e-3], dtype=np.float32)
    outputs = Outputs(logits=far.reshape(-1, 2), embedding=np.zeros((len(far), 1), dtype=np.float32))
    task = TASKS[signature.task]
    said = [
        task.said(outputs, signature.model_copy(update={"temperature": temperature, "thresholds": thresholds})).labels
        for temperature, thresholds in (
            (before, {"a": least}),
            (after, of_the_same_logits({"a": least}, before, after)),
        )
    ]
    assert said[0] == said[1]
