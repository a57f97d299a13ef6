"""A teacher's answers: asked once, in the order of the data's labels; a teacher that does not fit is refused."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from tiny import write_bundle, write_model_folder
from tiny_pairs import write_pair_model
from tiny_training import TinyTraining, make_tiny_training, weights_of

from ftdeploy.errors import ArtifactError, ModelError
from ftdeploy.pairs import join
from ftdeploy.predictor import Predictor
from ftdeploy.recipe import load_recipe
from ftdeploy.stage import stage_key
from ftdeploy.train import train
from ftdeploy.train.distill import teacher_logits

if TYPE_CHECKING:
    from numpy.typing import NDArray

TEXTS = ["a good film", "an awful film", "boring", "superb and lovely"] * 3


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory) -> TinyTraining:
    return make_tiny_training(tmp_path_factory.mktemp("training"), rows=120)


def ask(folder: Path, work: Path, *, labels: tuple[str, ...] = ("negative", "positive"),
        task: str = "text-classification") -> NDArray[np.float32]:  # fmt: skip
    work.mkdir(exist_ok=True)
    return teacher_logits(folder, TEXTS, labels, task=task, device="cpu", work=work)


def test_columns_are_in_the_order_of_the_data(tmp_path: Path) -> None:
    """A teacher that numbers its labels otherwise is understood by their names."""
    write_model_folder(tmp_path / "teacher", ("negative", "positive"))
    logits = Predictor(tmp_path / "teacher", device="cpu").predict(TEXTS).logits
    np.testing.assert_array_equal(ask(tmp_path / "teacher", tmp_path / "one"), logits)
    turned = ask(tmp_path / "teacher", tmp_path / "other", labels=("positive", "negative"))
    np.testing.assert_array_equal(turned, logits[:, ::-1])
    assert turned.dtype == np.float32


def test_a_bundle_is_a_teacher(tmp_path: Path) -> None:
    """Its model answers; one that was changed after it was sealed does not."""
    write_bundle(tmp_path / "bundle")
    expected = Predictor(tmp_path / "bundle" / "src" / "model", device="cpu").predict(TEXTS).logits
    np.testing.assert_array_equal(ask(tmp_path / "bundle", tmp_path / "work"), expected)
    (tmp_path / "bundle" / "src" / "model" / "signature.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ArtifactError, match="was changed"):
        ask(tmp_path / "bundle", tmp_path / "again")


def test_the_teacher_is_asked_once(tmp_path: Path) -> None:
    """What it answered is kept in the work folder: a run that resumes does not need its model a second time, and a
    write that was cut short does not count."""
    write_model_folder(tmp_path / "teacher")
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "teacher.partial").write_bytes(b"half")
    first = ask(tmp_path / "teacher", tmp_path / "work")
    (tmp_path / "teacher" / "model.onnx").unlink()
    np.testing.assert_array_equal(ask(tmp_path / "teacher", tmp_path / "work"), first)


def test_a_teacher_of_other_labels_is_refused(tmp_path: Path) -> None:
    """With what only one of the two knows; likewise one of another task, and a folder that is no model."""
    write_model_folder(tmp_path / "teacher", ("bad", "good", "positive"))
    with pytest.raises(ModelError) as caught:
        ask(tmp_path / "teacher", tmp_path / "work")
    assert "bad, good, positive" in caught.value.what
    assert "bad, good, negative;" in caught.value.cause
    with pytest.raises(ModelError, match="the recipe asks for summarization"):
        ask(tmp_path / "teacher", tmp_path / "work", task="summarization")
    with pytest.raises(ModelError, match="holds no model"):
        ask(tmp_path, tmp_path / "work")


def test_a_teacher_reads_what_the_rows_have(tmp_path: Path) -> None:
    """Pairs or single texts: one of the other kind would take two texts for one, and teach that."""
    write_model_folder(tmp_path / "single")
    write_pair_model(tmp_path / "pairs")
    (tmp_path / "work").mkdir()
    texts, labels = [join("great", "best"), join("bad", "poor")], ["negative", "positive"]
    for name, pairs, words in (("single", True, "reads single texts"), ("pairs", False, "reads two texts a row")):
        with pytest.raises(ModelError, match=words):
            teacher_logits(tmp_path / name, texts, labels, task="text-classification", device="cpu",
                           work=tmp_path / "work", pairs=pairs)  # fmt: skip
    found = teacher_logits(tmp_path / "pairs", texts, labels, task="text-classification", device="cpu",
                           work=tmp_path / "work", pairs=True)  # fmt: skip
    assert found.argmax(axis=1).tolist() == [1, 0]


def test_a_resumed_training_learns_the_same(training: TinyTraining, tmp_path: Path) -> None:
    """From the same answers; the student is another than one without a teacher."""
    write_model_folder(tmp_path / "teacher")
    setting = f"train.teacher={{path: {tmp_path / 'teacher'}, alpha: 0.9}}"
    whole = training.run(tmp_path / "whole", setting)
    training.interrupt(tmp_path / "resumed", setting)
    assert training.run(tmp_path / "resumed", setting).digest == whole.digest
    plain = weights_of(training.run(tmp_path / "plain").path)
    assert any(not torch.equal(weight, plain[name]) for name, weight in weights_of(whole.path).items())


def test_another_teacher_is_another_training(training: TinyTraining, tmp_path: Path) -> None:
    """The teacher's content is part of the key, its place is not."""
    keys = []
    for place, labels in (("a", ("negative", "positive")), ("b", ("positive", "negative"))):
        write_model_folder(tmp_path / place / "teacher", labels)
    shutil.copytree(tmp_path / "a", tmp_path / "c")
    for place in ("a", "b", "c"):
        setting = f"train.teacher={{path: {tmp_path / place / 'teacher'}}}"
        keys.append(stage_key(train, load_recipe(training.recipe, overrides=[setting]), {"dataset": training.dataset}))
    assert keys[0] == keys[2]
    assert keys[0] != keys[1]
