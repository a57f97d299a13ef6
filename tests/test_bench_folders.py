"""Two models of ours side by side: only those that do the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from small_runs import write_artifact, write_run
from tiny import MAX_LENGTH, NAME, write_bundle
from typer.testing import CliRunner

from ftdeploy.artifact import MANIFEST, Kind
from ftdeploy.bench import bench_folders, beside
from ftdeploy.cli import app
from ftdeploy.errors import ArtifactError, ModelError
from ftdeploy.pairs import Pairs
from ftdeploy.signature import Signature

CHAIN: tuple[Kind, ...] = ("dataset", "checkpoint", "onnx", "compressed", "report", "bundle")
CLASSES = {"task": "text-classification", "labels": ("negative", "positive")}


def _bundle(folder: Path, **states: Any) -> Path:
    """A sealed bundle whose signature states this."""
    signature = Signature(name=NAME, max_length=MAX_LENGTH, **(CLASSES | states))
    write_bundle(folder, replaced={"model/signature.json": signature.model_dump_json().encode()})
    return folder


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"task": "multi-label-classification"}, r"ours does text-classification, and .*other multi-label-classifica"),
        ({"labels": ("negative", "neutral", "positive")}, "other have other labels: only one has 'neutral'$"),
        ({"labels": tuple("abcdefg")}, "only one has 'a', 'b', 'c', 'd', 'e' and 4 more"),
        ({"pairs": Pairs()}, "ours reads one text, and .*other reads two texts"),
    ],
)
def test_models_that_do_not_do_the_same_are_refused(tmp_path: Path, other: dict[str, Any], words: str) -> None:
    """Before rows are read: there are none here. The one that does less would look like the faster one."""
    ours, theirs = _bundle(tmp_path / "ours"), _bundle(tmp_path / "other", **other)
    with pytest.raises(ModelError, match=words) as caught:
        bench_folders(ours, theirs, rounds=3, rows=32)
    assert "how much faster the same work is done" in caught.value.cause
    found = CliRunner().invoke(app, ["bench", str(ours), "--against", str(theirs)])
    assert isinstance(found.exception, ModelError)


def test_the_same_labels_in_another_order_are_no_hindrance(tmp_path: Path) -> None:
    """It gets as far as the rows."""
    ours = _bundle(tmp_path / "ours")
    theirs = _bundle(tmp_path / "other", labels=("positive", "negative"))
    with pytest.raises(ArtifactError, match="has no dataset artifact beside it"):
        bench_folders(ours, theirs, rounds=3, rows=32)


def test_what_a_bundle_was_made_of_is_found_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By whatever was made in between, of a model artifact likewise, and from within the bundle's own folder."""
    run = write_run(tmp_path / "run", "a", CHAIN)
    for candidate in ("bundle", "compressed", "onnx"):
        assert beside(run / candidate, "dataset").path == run / "dataset"
    monkeypatch.chdir(run / "bundle")
    assert beside(Path(), "onnx").path == run / "onnx"
    monkeypatch.chdir(run / "bundle" / "src")
    assert beside(Path(".."), "onnx").path == run / "onnx"


@pytest.mark.parametrize("kind", ["dataset", "onnx"])
def test_a_bundle_beside_a_newer_artifact_is_refused(tmp_path: Path, kind: Kind) -> None:
    """A run that went on and ended there: the bundle may have learned from rows that are test rows now."""
    run = write_run(tmp_path / "run", "a", CHAIN)
    write_artifact(run, kind, "b", ())
    with pytest.raises(ArtifactError, match=f"bundle was not made of the {kind} artifact beside it"):
        beside(run / "bundle", kind)


def test_a_bundle_whose_way_to_the_export_is_gone_is_refused(tmp_path: Path) -> None:
    """Nothing says any longer that it was made of that export."""
    run = write_run(tmp_path / "run", "a", CHAIN)
    (run / "compressed" / MANIFEST).unlink()
    with pytest.raises(ArtifactError, match="not made of the onnx artifact") as caught:
        beside(run / "bundle", "onnx")
    assert "what stands between the two was removed" in caught.value.cause


@pytest.mark.parametrize("against", [[], ["--against", "fp32"]])
def test_the_command_refuses_a_stale_bundle(tmp_path: Path, against: list[str]) -> None:
    """Against the export beside it, and against contenders, which are made of that export."""
    run = write_run(tmp_path / "run", "a", CHAIN)
    write_artifact(run, "onnx", "b", ())
    found = CliRunner().invoke(app, ["bench", str(run / "bundle"), *against])
    assert isinstance(found.exception, ArtifactError)
    assert "was not made of the onnx artifact beside it" in found.exception.what


def test_rows_that_the_candidate_was_not_made_of_are_refused(tmp_path: Path) -> None:
    """Whichever model it is held against: they are of another split."""
    ours, theirs = _bundle(tmp_path / "ours"), _bundle(tmp_path / "other")
    write_artifact(tmp_path, "dataset", "a", ())
    with pytest.raises(ArtifactError, match="ours was not made of the dataset artifact beside it"):
        bench_folders(ours, theirs, rounds=3, rows=32)
