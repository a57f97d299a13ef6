"""A run that is copied into a registry: all that its bundle was made of, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_runs import CHAIN, write_artifact, write_run

from ftdeploy.artifact import MANIFEST, open_artifact
from ftdeploy.errors import ArtifactError
from ftdeploy.registry.copying import copy_run


def test_what_the_bundle_was_made_of_comes_along(tmp_path: Path) -> None:
    """File by file as it was sealed; what was removed of a run is missed by nobody."""
    run = write_run(tmp_path / "run", "a", CHAIN)
    for name in ("checkpoint", "dataset"):
        (run / name / MANIFEST).unlink()
    (run / ".lock").touch()
    (tmp_path / "copy").mkdir()
    copy_run(run, tmp_path / "copy")
    assert sorted(path.name for path in (tmp_path / "copy").iterdir()) == ["bundle", "compressed", "report"]
    for kind in ("bundle", "compressed", "report"):
        assert open_artifact(tmp_path / "copy" / kind).digest == open_artifact(run / kind).digest
    file = Path("bundle", "src", "service.py")
    assert (tmp_path / "copy" / file).stat().st_ino != (run / file).stat().st_ino


def test_a_bundle_beside_a_newer_checkpoint_is_refused(tmp_path: Path) -> None:
    """A run that went on to train and ended there: the next champion would be trained from what was never judged."""
    run = write_run(tmp_path / "run", "a", CHAIN)
    write_artifact(run, "checkpoint", "b", ())
    (tmp_path / "copy").mkdir()
    with pytest.raises(ArtifactError, match="was not made of the dataset and the checkpoint beside it"):
        copy_run(run, tmp_path / "copy")
    assert not list((tmp_path / "copy").iterdir())
