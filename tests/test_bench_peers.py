"""A model of ours against other ways to run the same model: who takes part, and what is told of each."""

from __future__ import annotations

import json
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from ftdeploy.bench.peers import bench_peers
from ftdeploy.cli import app
from ftdeploy.errors import ArtifactError

if TYPE_CHECKING:
    from tiny_run import TinyRun

NAMES = ("torch", "openvino", "ort-int8", "optimum-int8")


@pytest.fixture(scope="module")
def run(tiny: TinyRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny run without the file that Optimum wants: its checkpoint is changed."""
    folder = tiny.copy(tmp_path_factory.mktemp("peers"))
    (folder / "checkpoint" / "config.json").unlink()
    return folder


@pytest.fixture(scope="module")
def found(run: Path) -> dict[str, Any]:
    return bench_peers(run / "bundle", NAMES, rounds=3, rows=32, margin=0.2)


def test_everyone_is_measured_or_has_a_reason(found: dict[str, Any]) -> None:
    """The candidate comes first, fp32 is always there; who cannot take part does not stop the others."""
    measured, refused = found["models"], found["not_measured"]
    assert list(measured)[:2] == ["bundle", "fp32"]
    assert set(measured) | set(refused) == {"bundle", "fp32", *NAMES}
    assert "ort-int8" in measured
    assert "config.json" in refused["torch"]  # whose checkpoint is no longer what was sealed
    assert "config.json" in refused["optimum-int8"]
    assert ("openvino" in measured) == (find_spec("openvino") is not None)


def test_every_model_is_told_by_speed_size_and_metrics(found: dict[str, Any]) -> None:
    """Ratios hold in both directions, fp32's are 1, and its metrics are what the others are held against."""
    fp32 = found["models"]["fp32"]
    for name, one in found["models"].items():
        assert min(one["throughput"], one["latency_p50"], one["bytes"], one["lanes"]) > 0, name
        assert one["to_fp32"]["size"]["ratio"] == pytest.approx(one["bytes"] / fp32["bytes"])
        ratio = one["to_fp32"]["throughput"]
        assert ratio["lower"] <= ratio["ratio"] <= ratio["upper"]
        for metric, compared in one["metrics"].items():
            assert compared["baseline"] == fp32["metrics"][metric]["candidate"]
            assert compared["margin"] == 0.2
            assert compared["verdict"] in {"pass", "fail", "inconclusive"}
    assert fp32["to_fp32"]["throughput"]["ratio"] == 1
    assert fp32["metrics"]["accuracy"]["difference"] == 0
    assert found["models"]["bundle"]["candidate_to_it"]["throughput"]["ratio"] == 1
    int8 = found["models"]["ort-int8"]
    assert int8["bytes"] < fp32["bytes"]


def test_the_table_names_everyone(found: dict[str, Any]) -> None:
    """A line for each model in each part, and the reasons at the end; the document is plain JSON."""
    lines = found["table"]
    for name in found["models"]:
        assert sum(line.startswith(name) for line in lines) == 1 + len(found["models"][name]["metrics"]), name
    for name, reason in found["not_measured"].items():
        assert f"{name}: {reason}" in lines
    assert json.loads(json.dumps(found)) == found


def test_what_was_made_is_kept_where_that_can_be(run: Path, found: dict[str, Any], tmp_path: Path) -> None:
    """Beside the artifacts; nothing stays where the run cannot be written to."""
    assert "ort-int8" in found["models"]
    assert [path.name[:9] for path in (run / "bench.work").glob("ort-int8*")] == ["ort-int8-"]
    other = tmp_path / "run"
    other.mkdir()
    for kind in ("onnx", "dataset", "checkpoint"):
        shutil.copytree(run / kind, other / kind)
    (other / "bench.work").write_text("in the way")
    again = bench_peers(other / "onnx", ["torch"], rounds=1, rows=8, margin=0.2)
    assert set(again["models"]) == {"onnx", "fp32"}
    assert again["models"]["onnx"]["metrics"]["accuracy"]["difference"] == 0
    assert (other / "bench.work").read_text() == "in the way"


def test_a_model_without_its_run_is_refused(run: Path, tmp_path: Path) -> None:
    """The fp32 export is what everything is held against."""
    shutil.copytree(run / "bundle", tmp_path / "bundle")
    with pytest.raises(ArtifactError, match="onnx"):
        bench_peers(tmp_path / "bundle", ["torch"], rounds=1, rows=8, margin=0.2)


def test_the_command_takes_contenders_and_folders(run: Path) -> None:
    """Names compare with contenders, a folder with another model as ever, another word is wrong usage."""
    short = ["--rounds", "3", "--rows", "32", "--json"]
    runner = CliRunner()
    peers = runner.invoke(app, ["bench", str(run / "bundle"), "--against", "fp32", "--margin", "0.5", *short])
    assert json.loads(peers.stdout)["margin"] == 0.5, peers.output
    folder = runner.invoke(app, ["bench", str(run / "bundle"), "--against", str(run / "onnx"), *short])
    assert set(json.loads(folder.stdout)) == {"ratios", "table"}, folder.output
    wrong = runner.invoke(app, ["bench", str(run / "bundle"), "--against", "fp32,openvno"])
    assert wrong.exit_code == 2
