"""The order of the stages, the lock, and what a run's folder tells."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny import write_bundle
from tiny_run import STAGES, TinyRun, artifact

from ftdeploy.artifact import open_artifact
from ftdeploy.errors import LockedError, ModelError, SourceError, StorageError
from ftdeploy.pipeline import FLOW, _retire, locked, run_recipe
from ftdeploy.recipe import Recipe, load_recipe
from ftdeploy.stage import Outcome, Stage


def test_each_stage_reads_what_an_earlier_one_writes() -> None:
    """The flow can run from the top to the bottom, and no two stages write the same kind."""
    made: list[str] = []
    for stage in FLOW:
        assert set(stage.reads) <= set(made), stage.name
        assert stage.writes not in made
        made.append(stage.writes)
    assert [stage.name for stage in FLOW] == list(STAGES)


def test_a_folder_belongs_to_one_run_at_a_time(tmp_path: Path) -> None:
    """A second one is refused while the first holds it, and not afterwards, however the first ended."""
    with locked(tmp_path):
        with pytest.raises(LockedError, match="another run") as caught:
            locked(tmp_path)
        assert "--out" in caught.value.fix
    with pytest.raises(ZeroDivisionError), locked(tmp_path):
        _ = 1 // 0
    with locked(tmp_path):
        pass


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    """A file in the way is told as such."""
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(StorageError, match="cannot be written"):
        locked(tmp_path / "file" / "run")


def _recipe(tiny: TinyRun) -> Recipe:
    return load_recipe(tiny.recipe)


def test_the_watcher_hears_of_each_stage_before_and_after(tiny: TinyRun, tmp_path: Path) -> None:
    """Twice a stage; what was finished comes back as skipped, with its artifact."""
    heard: list[tuple[str, bool | None]] = []

    def watch(stage: Stage, outcome: Outcome | None, seconds: float) -> None:
        assert seconds >= 0
        heard.append((stage.name, None if outcome is None else outcome.skipped))

    found = run_recipe(_recipe(tiny), tiny.copy(tmp_path, until="export"), until="export", watch=watch)
    assert heard == [(name, state) for name in ("prepare", "train", "export") for state in (None, True)]
    assert {kind: made.digest for kind, made in found.items()} == {
        kind: artifact(tiny.run, kind).digest for kind in ("dataset", "checkpoint", "onnx")
    }


def test_a_stage_that_fails_leaves_the_lock_free(tiny: TinyRun, tmp_path: Path) -> None:
    """A program that catches the error can run again at once."""
    recipe = load_recipe(tiny.recipe, overrides=["data.source.path=gone.csv"])
    for _ in range(2):
        with pytest.raises(SourceError, match=r"gone\.csv"):
            run_recipe(recipe, tmp_path / "run")


def test_a_bundle_that_is_no_longer_passed_is_kept_aside(tmp_path: Path) -> None:
    """Under its digest; the very same bundle is not kept twice; where there is none, nothing happens."""
    bundle = tmp_path / "bundle"
    first = write_bundle(bundle)
    for _ in range(2):
        _retire(bundle)
        assert not bundle.exists()
        aside = tmp_path / "superseded" / f"bundle-{first.digest[:12]}"
        assert open_artifact(aside).digest == first.digest
        _retire(bundle)
        assert write_bundle(bundle).digest == first.digest
    assert len(list((tmp_path / "superseded").iterdir())) == 1


def test_a_layer_that_is_not_there_is_told_before_the_training(tiny: TinyRun, tmp_path: Path) -> None:
    """Export would find it hours later. What is trained already is not trained anew for it, and export refuses."""
    recipe = load_recipe(tiny.recipe, overrides=["export.embedding_layer=3"])
    heard: list[str] = []

    def watch(stage: Stage, _outcome: Outcome | None, _seconds: float) -> None:
        heard.append(stage.name)

    with pytest.raises(ModelError, match="has 2 layers"):
        run_recipe(recipe, tiny.copy(tmp_path, until="prepare"), watch=watch)
    assert heard == ["prepare", "prepare", "train"]
    assert not (tmp_path / "run" / "checkpoint.work").exists()
    (tmp_path / "trained").mkdir()
    with pytest.raises(ModelError, match="has 2 layers"):
        run_recipe(recipe, tiny.copy(tmp_path / "trained", until="train"), watch=watch)
    assert heard[3:] == ["prepare", "prepare", "train", "train", "export"]
