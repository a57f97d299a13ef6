"""A run's folder is read whole or not at all."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from small_runs import write_artifact

from ftdeploy.artifact import LAYOUT, seal
from ftdeploy.errors import ArtifactError
from ftdeploy.pipeline import FLOW
from ftdeploy.run_folder import lineage, read_run

if TYPE_CHECKING:
    from pathlib import Path


def test_a_folder_without_a_run(tmp_path: Path) -> None:
    """Named as such, and not an empty table."""
    with pytest.raises(ArtifactError, match="holds no artifacts"):
        read_run(tmp_path)
    with pytest.raises(ArtifactError, match="nix does not exist"):
        read_run(tmp_path / "nix")


def test_artifacts_come_in_the_order_of_the_stages(tmp_path: Path) -> None:
    """Whichever was made first; what is no artifact is left out, and one that was changed is an error."""
    assert list(LAYOUT) == [stage.writes for stage in FLOW]
    for kind in ("report", "onnx"):
        partial = tmp_path / f"{kind}.partial"
        partial.mkdir()
        for name in LAYOUT[kind].required:
            (partial / name).write_text(name, encoding="utf-8")
        seal(partial, target=tmp_path / kind, kind=kind, made_by="test@1", made_from=(), key="", settings={}, facts={})
    (tmp_path / "bundle").mkdir()
    assert list(read_run(tmp_path)) == ["onnx", "report"]
    (tmp_path / "report" / "report.json").write_text("x", encoding="utf-8")
    with pytest.raises(ArtifactError, match=r"report\.json was changed"):
        read_run(tmp_path)


def test_it_is_read_without_the_stages() -> None:
    """`show` and `verify` are instant: neither numpy nor pydantic is imported for them."""
    code = "import sys, ftdeploy.run_folder\nprint(*({'numpy', 'pydantic', 'ftdeploy.recipe'} & {*sys.modules}))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "\n"


def test_lineage_goes_through_what_stands_between(tmp_path: Path) -> None:
    """To what it was made of by whatever way, and to nothing else; a missing part ends the way behind it."""
    data, other = (write_artifact(tmp_path / run, "dataset", run, ()) for run in ("run", "other"))
    onnx = write_artifact(tmp_path / "run", "onnx", "a", (data.digest,))
    bundle = write_artifact(tmp_path / "run", "bundle", "a", (onnx.digest,))
    assert lineage(bundle, [data, onnx, other]) == {bundle.digest, onnx.digest, data.digest}
    assert lineage(onnx, [bundle]) == {onnx.digest, data.digest}
    assert lineage(bundle, [data]) == {bundle.digest, onnx.digest}


def test_every_artifact_that_is_damaged_is_named(tmp_path: Path) -> None:
    """At once: who restores the first should not learn of the second afterwards."""
    for kind in ("onnx", "report", "bundle"):
        partial = tmp_path / f"{kind}.partial"
        partial.mkdir()
        for name in LAYOUT[kind].required:
            (partial / name).parent.mkdir(parents=True, exist_ok=True)
            (partial / name).write_text(name, encoding="utf-8")
        seal(partial, target=tmp_path / kind, kind=kind, made_by="test@1", made_from=(), key="", settings={}, facts={})
    (tmp_path / "report" / "report.json").write_text("x", encoding="utf-8")
    (tmp_path / "onnx" / "model.onnx").unlink()
    with pytest.raises(ArtifactError) as caught:
        read_run(tmp_path)
    first, onnx, report = caught.value.what.splitlines()
    assert first.startswith("2 of 3 artifacts in ")
    assert onnx.endswith("model.onnx is missing")
    assert report.endswith("report.json was changed")
