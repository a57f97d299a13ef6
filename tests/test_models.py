"""Opening a model by what its place is, and what is said where there is none."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from checkpoints import LABELS, write_tiny_checkpoint
from tiny import write_model_folder
from tiny_service import served

from ftdeploy.errors import ArtifactError, FtdeployError, ModelError, SourceError
from ftdeploy.models import open_model

if TYPE_CHECKING:
    from tiny_run import TinyRun


@pytest.mark.parametrize("kind", ["bundle", "onnx", "compressed", "checkpoint"])
def test_an_artifact_is_opened_by_its_manifest(tiny: TinyRun, kind: str) -> None:
    """Each kind of a run's models, with the artifact's digest, the labels and the length of the recipe."""
    place = str(tiny.run / kind)
    model = open_model(place, device="cpu", labels=LABELS)
    assert (model.name, model.kind, model.labels, model.max_length) == (place, kind, LABELS, 48)
    assert f'"digest": "{model.digest}"' in (tiny.run / kind / "artifact.json").read_text()
    assert model.cacheable
    assert model.digest[:12] in model.about
    scores = model.scores(["a superb film", "awful"])
    assert scores.shape == (2, 2)
    assert scores.sum(axis=1) == pytest.approx([1, 1])
    model.close()
    model.close()


def test_a_model_folder_and_a_checkpoint_need_no_manifest(tiny: TinyRun, tmp_path: Path) -> None:
    """What stands inside a bundle, and what `save_pretrained` wrote; their digests follow what decides the answers."""
    write_model_folder(tmp_path / "folder")
    folder = open_model(str(tmp_path / "folder"), device="cpu")
    assert (folder.kind, folder.folder) == ("onnx", tmp_path / "folder")
    shutil.copytree(tiny.run / "checkpoint", tmp_path / "plain")
    (tmp_path / "plain" / "artifact.json").unlink()
    plain = open_model(str(tmp_path / "plain"), device="cpu")
    assert (plain.kind, plain.folder, plain.max_length) == ("checkpoint", None, 64)
    (tmp_path / "plain" / "README.md").write_text("words")
    assert open_model(str(tmp_path / "plain"), device="cpu").digest == plain.digest
    config = tmp_path / "plain" / "config.json"
    config.write_text(config.read_text().replace('"positive"', '"good"'))
    assert open_model(str(tmp_path / "plain"), device="cpu").digest != plain.digest


def test_a_url_is_a_service() -> None:
    """http:// and https:// go nowhere else."""
    with served("tei") as service:
        model = open_model(service.url)
        assert (model.kind, model.labels) == ("service", ("bad", "fair", "good"))
        model.close()


def refusal(place: str) -> FtdeployError:
    with pytest.raises(FtdeployError) as found:
        open_model(place, device="cpu")
    assert found.value.cause
    assert found.value.fix
    return found.value


def test_a_typing_error_in_a_path_is_named_with_what_is_near(tiny: TinyRun, monkeypatch: pytest.MonkeyPatch) -> None:
    """No hub is asked for what is meant to be a path; a near name is suggested with its whole path."""
    found = refusal(str(tiny.run / "bundel"))
    assert isinstance(found, SourceError)
    assert found.what.endswith("bundel is no folder, and no name on the hub")
    assert found.fix == f"did you mean '{tiny.run / 'bundle'}'?"
    monkeypatch.chdir(tiny.run.parent)
    assert refusal("run/bundel").fix == "did you mean 'run/bundle'?"
    assert "as owner/name" in refusal("runs/of/nobody").fix
    assert "is a file" in refusal(str(tiny.run / "onnx" / "model.onnx")).what


def test_folders_that_are_no_model_say_which_is(tiny: TinyRun, tmp_path: Path) -> None:
    """The whole run, and a data set of it, point to the bundle."""
    for place in (tiny.run, tiny.run / "dataset"):
        found = refusal(str(place))
        assert isinstance(found, ArtifactError)
        assert found.fix == f"did you mean '{tiny.run / 'bundle'}'?"
    assert "name a bundle" in refusal(str(tmp_path)).fix


def test_a_changed_artifact_is_refused(tiny: TinyRun, tmp_path: Path) -> None:
    """Its digest would promise what it no longer is."""
    run = tiny.copy(tmp_path, until="export")
    with (run / "onnx" / "tokenizer.json").open("a") as handle:
        handle.write(" ")
    assert "was changed" in refusal(str(run / "onnx")).what


def test_other_labels_are_refused(tiny: TinyRun, tmp_path: Path) -> None:
    """A model for another task is no baseline; and one without a head is no model."""
    with pytest.raises(ModelError, match="'neutral' is not among them"):
        open_model(str(tiny.run / "onnx"), device="cpu", labels=("negative", "neutral", "positive"))
    write_tiny_checkpoint(tmp_path / "model")
    assert "lacks the weights classifier" in refusal(str(tmp_path / "model")).what
