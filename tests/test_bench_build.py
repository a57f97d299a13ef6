"""Making a contender: once, kept by what it is made from, and with the tool's reason where it fails."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from small_runs import write_artifact
from tiny_run import TinyRun, artifact

from ftdeploy.bench.build import Source, _options, folder_of
from ftdeploy.bench.contenders import CONTENDERS
from ftdeploy.compress.tools.calibration import read_rows
from ftdeploy.dataset import read_split
from ftdeploy.errors import ArtifactError, CompressionError
from ftdeploy.predictor import Predictor

INT8 = CONTENDERS["ort-int8"]


@pytest.fixture
def source(tiny: TinyRun, tmp_path: Path) -> Source:
    """The tiny run, and an empty folder to make things in."""
    onnx = artifact(tiny.run, "onnx")
    return Source(
        onnx=onnx,
        checkpoint=tiny.run / "checkpoint",
        dataset=artifact(tiny.run, "dataset"),
        fp32=Predictor(onnx.path, device="cpu"),
        work=tmp_path,
    )


def test_what_needs_no_making_is_opened_where_it_stands(source: Source) -> None:
    """The export and the checkpoint are the run's own."""
    assert folder_of("fp32", CONTENDERS["fp32"], source) == source.onnx.path
    assert folder_of("torch", CONTENDERS["torch"], source) == source.checkpoint
    assert list(source.work.iterdir()) == []


def test_a_checkpoint_that_was_trained_since_is_no_contender(source: Source, tmp_path: Path) -> None:
    """It is another model than the one that was exported, and all the others are made of that export."""
    newer = write_artifact(tmp_path / "run", "checkpoint", "newer", ())
    with pytest.raises(ArtifactError, match="was not made of the checkpoint artifact beside it"):
        folder_of("torch", CONTENDERS["torch"], dataclasses.replace(source, checkpoint=newer.path))


def test_a_contender_is_made_once(source: Source) -> None:
    """A model folder smaller than fp32 and nothing else; it is found again, and one of another export goes for it."""
    for leftover in ("ort-int8-0123456789ab", "ort-int8-ba9876543210.partial", "int8-0123456789ab"):
        (source.work / leftover).mkdir()
    made = folder_of("ort-int8", INT8, source)
    assert sorted(path.name for path in source.work.iterdir()) == ["int8-0123456789ab", made.name]
    assert sorted(path.name for path in made.iterdir()) == [
        "files.json", "model.onnx", "signature.json", "tokenizer.json"
    ]  # fmt: skip
    assert (made / "model.onnx").stat().st_size < source.onnx.file("model.onnx").stat().st_size
    before = (made / "model.onnx").stat().st_mtime_ns
    assert folder_of("ort-int8", INT8, source) == made
    assert (made / "model.onnx").stat().st_mtime_ns == before


@pytest.mark.parametrize("damage", [lambda file: file.write_bytes(file.read_bytes()[:-9]), Path.unlink])
@pytest.mark.parametrize("name", ["model.onnx", "files.json"])
def test_a_damaged_contender_is_made_anew(source: Source, name: str, damage: Callable[[Path], object]) -> None:
    """Of a full disk or an unfinished copy: it would be reused, and refused, for ever."""
    made = folder_of("ort-int8", INT8, source)
    whole = {path.name: path.read_bytes() for path in made.iterdir()}
    damage(made / name)
    assert folder_of("ort-int8", INT8, source) == made
    assert {path.name: path.read_bytes() for path in made.iterdir()} == whole


def test_another_onnx_runtime_makes_its_contenders_anew(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is what quantizes, and no two of its versions need do it alike; the earlier one's goes."""
    before = folder_of("ort-int8", INT8, source)
    monkeypatch.setattr("ftdeploy.bench.build.version_of_runtime", lambda: "another")
    assert folder_of("ort-int8", INT8, source) != before
    assert not before.exists()


@pytest.mark.parametrize(
    ("module", "reason"), [("this", "without an error and without a model"), ("json.tool", "No such file")]
)
def test_a_tool_that_makes_nothing_is_told_with_its_reason(source: Source, module: str, reason: str) -> None:
    """Whether it ends well or not; and nothing half-made stays."""
    with pytest.raises(CompressionError, match=reason):
        folder_of("broken", dataclasses.replace(INT8, tool=(module, "x")), source)
    assert list(source.work.iterdir()) == []


def test_tools_are_given_training_rows_and_labelled_validation_rows(source: Source) -> None:
    """Calibration sees training rows, tuning validation rows with their classes; no test row is among them."""
    given = _options(source, source.work)
    rows = {name: read_rows(Path(str(given[name]))) for name in ("calibration", "evaluation")}
    for name, split in (("calibration", "train"), ("evaluation", "validation")):
        known = {tuple(row) for row in source.rows(split)[0]}  # type: ignore[arg-type]  # both are splits
        assert {tuple(row.tolist()) for row in rows[name][0]} <= known
    assert rows["calibration"][1] is None
    labels = rows["evaluation"][1]
    assert labels is not None
    assert len(labels) == read_split(source.dataset, "validation").num_rows
    assert set(np.unique(labels)) == {0, 1}
