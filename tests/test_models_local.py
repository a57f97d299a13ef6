"""Bundles and model folders answer as they are served."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from checkpoints import sentences
from tiny import write_bundle, write_model_folder

from ftdeploy.artifact import open_artifact
from ftdeploy.batching import SERVED, Batching
from ftdeploy.measure import measure
from ftdeploy.models.local import LocalModel, folder_digest, open_local, served_batching
from ftdeploy.predictor import Predictor
from ftdeploy.signature import read_signature, write_signature

if TYPE_CHECKING:
    from tiny_run import TinyRun

TEXTS = [row["text"] for row in sentences()[:150]] + ["", "good " * 100]


def test_scores_are_those_that_the_service_shows(tiny: TinyRun) -> None:
    """The same numbers as predict and decode give, in the order asked, for empty and for over-long texts too."""
    model = open_local("b", open_artifact(tiny.run / "bundle"), device="cpu")
    predictor = Predictor(tiny.run / "bundle" / "src" / "model", device="cpu")
    answers = predictor.task.decode(predictor.predict(TEXTS), predictor.signature)
    shown = [[{one["label"]: one["score"] for one in row}[label] for label in model.labels] for row in answers]
    seen: list[float] = []
    np.testing.assert_allclose(model.scores(TEXTS, advance=seen.append), shown, atol=1e-6)
    assert sum(seen) == len(TEXTS)
    assert model.scores([]).shape == (0, 2)


def test_the_temperature_is_applied(tmp_path: Path) -> None:
    """Probabilities are those that are served, together and alone."""
    write_model_folder(tmp_path)
    sharp = LocalModel("m", "onnx", tmp_path, digest="0", device="cpu").scores(["good"])
    write_signature(tmp_path, read_signature(tmp_path).model_copy(update={"temperature": 4.0}))
    soft = LocalModel("m", "onnx", tmp_path, digest="0", device="cpu")
    logit = np.log(sharp[0, 1] / sharp[0, 0]) / 4
    assert soft.scores(["good"])[0, 1] == pytest.approx(1 / (1 + np.exp(-logit)), rel=1e-4)
    assert soft.alone(["good"])[0, 1] == pytest.approx(1 / (1 + np.exp(-logit)), rel=1e-4)


def test_alone_has_no_batch_mates(tiny: TinyRun) -> None:
    """A quantized model answers a text alone as it does in a request of its own, not as in its batch."""
    model = open_local("c", open_artifact(tiny.run / "compressed"), device="cpu")
    alone = model.alone(TEXTS[:20])
    each = np.concatenate([model.scores([text]) for text in TEXTS[:20]])
    np.testing.assert_array_equal(alone, each)
    assert model.alone([]).shape == (0, 2)


def test_batches_are_those_of_the_signature_unless_others_are_given(tmp_path: Path) -> None:
    """What `serve` states; they are among the conditions, because they have a say in the answers."""
    bundle = write_bundle(tmp_path / "bundle", serve={"batch_tokens": 512, "batch_rows": 8, "threads": 1, "lanes": 1})
    stated = Batching(tokens=512, rows=8, threads=1, lanes=1)
    assert served_batching(bundle.path / "src" / "model") == stated
    model = open_local("b", bundle, device="cpu")
    assert (model.batching, model.conditions["batch_rows"]) == (stated, 8)
    other = open_local("b", bundle, device="cpu", batching=dataclasses.replace(stated, rows=4))
    assert other.conditions != model.conditions
    write_model_folder(tmp_path / "folder")
    assert served_batching(tmp_path / "folder") == SERVED


def test_it_is_timed_as_a_folder(tiny: TinyRun) -> None:
    """So that its memory can be measured in processes of their own."""
    model = open_local("o", open_artifact(tiny.run / "onnx"), device="cpu")
    found = measure({"o": model.timed()}, TEXTS[:8], rounds=1, rows=8, device="cpu")["o"]
    assert found.size > 0
    assert found.provider == model.provider


def test_a_folders_digest_follows_its_signature(tmp_path: Path) -> None:
    """Another temperature is another model."""
    write_model_folder(tmp_path)
    before = folder_digest(tmp_path)
    assert len(before) == 64
    write_signature(tmp_path, read_signature(tmp_path).model_copy(update={"temperature": 4.0}))
    assert folder_digest(tmp_path) != before
