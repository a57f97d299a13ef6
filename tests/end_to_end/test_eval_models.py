"""`ftdeploy eval` of served bundles and of checkpoints that answer with entities, sets of labels and numbers."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import SMALL
from tiny_entities import write_tiny_entities
from tiny_multi_label import write_unsure_labels
from tiny_regression import write_tiny_numbers
from tiny_run import TinyRun, artifact, ftdeploy, refusal, run_to_the_end
from workspace import serving

from ftdeploy.dataset import read_split
from ftdeploy.models import Model, open_model
from ftdeploy.signature import read_signature
from ftdeploy.verdict import Report, read_report

#: What fp32 answers does not follow from the batch that a text came in.
FP32: dict[str, Any] = {"compress": {"candidates": []}}
WRITERS = {
    "token-classification": write_tiny_entities,
    "multi-label-classification": write_unsure_labels,
    "text-regression": write_tiny_numbers,
}
ODD = ["", "gro\u00dfer Cafe\u0301 \u4f60\u597d. Two  sentences!", "good " * 200]


@dataclass(frozen=True)
class Made:
    """A finished run, and its bundle as it is served."""

    task: str
    run: Path
    url: str

    def texts(self) -> list[str]:
        """The test rows, and some that are none of theirs."""
        return [*read_split(artifact(self.run, "dataset"), "test")["text"].to_pylist(), *ODD]


@pytest.fixture(scope="module", params=WRITERS)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    """Of each task, one after the other."""
    run: TinyRun = run_to_the_end(WRITERS[request.param](tmp_path_factory.mktemp("made"), sections=FP32))
    command = [sys.executable, "-m", "ftdeploy", "serve", str(run.run / "bundle")]
    with serving(command, cwd=tmp_path_factory.mktemp("served")) as url:
        yield Made(task=request.param, run=run.run, url=url)


def _suite(folder: Path, task: str) -> Path:
    gates = [{"kind": "flips", "maximum": 0.1}, {"kind": "consistency", "maximum": 0.1, "rows": 32}]
    path = folder / "again.yaml"
    path.write_text(json.dumps({"name": "again", "task": task, "gates": gates, **SMALL}), encoding="utf-8")
    return path


def _judged(made: Made, folder: Path, candidate: str | Path, baseline: Path) -> Report:
    asked = ("--candidate", candidate, "--baseline", baseline, "--report", folder / "report")
    found = ftdeploy("eval", _suite(folder, made.task), *asked, environment={"FTDEPLOY_CACHE": str(folder / "cache")})
    assert found.returncode == 0, found.stderr + found.stdout
    return read_report(folder / "report" / "report.json")


def _check_equal(one: Model, other: Model, made: Made, *, alone: bool = True) -> None:
    """Both answer alike, together and alone: equal strings, or numbers as near as rounding leaves them."""
    texts = made.texts()
    pairs = [(one.said(texts).labels, other.said(texts).labels)]
    if alone:
        pairs.append((one.said_alone(texts[-20:]).labels, other.said_alone(texts[-20:]).labels))
    for found, expected in pairs:
        assert len(set(found)) > 1, "the tiny model says the same of all, and nothing here is proven"
        if made.task == "text-regression":
            here, there = (np.array(labels, dtype=np.float64) for labels in (found, expected))
            np.testing.assert_allclose(here, there, rtol=1e-4, atol=1e-3)
        else:
            assert found == expected


def test_a_served_bundle_passes_against_its_folder(made: Made, tmp_path: Path) -> None:
    """No flip, equal metrics, and the report says that the candidate was a service with the bundle's digest."""
    report = _judged(made, tmp_path, made.url, made.run / "bundle")
    assert (report.verdict, report.task, report.candidate.kind, report.baseline.kind) == (
        "pass", made.task, "service", "bundle"
    )  # fmt: skip
    assert not report.identical
    assert report.candidate.digest == report.baseline.digest
    assert (report.right_to_wrong, report.wrong_to_right) == (0, 0)
    for metric in report.metrics:
        assert metric.candidate.value == pytest.approx(metric.baseline.value, abs=1e-4)


@pytest.mark.parametrize("path", ["", "/predict"])
def test_a_served_bundle_answers_as_its_folder(made: Made, path: str) -> None:
    """By each protocol, also to empty texts, to letters of several characters and beyond the model's length."""
    with (
        closing(open_model(made.url + path, task=made.task)) as service,
        closing(open_model(str(made.run / "bundle"), device="cpu")) as bundle,
    ):
        assert set(service.labels) == set(bundle.labels)
        _check_equal(service, bundle, made)
    with closing(open_model(made.url + path)) as unasked:  # it says itself what it does
        assert unasked.said([ODD[1]]).labels


def test_an_export_passes_against_its_checkpoint(made: Made, tmp_path: Path) -> None:
    """In torch the checkpoint says the very same: with the thresholds of its export, where labels have some."""
    report = _judged(made, tmp_path, made.run / "onnx", made.run / "checkpoint")
    assert (report.verdict, report.candidate.kind, report.baseline.kind) == ("pass", "onnx", "checkpoint")
    assert (report.right_to_wrong, report.wrong_to_right) == (0, 0)
    with (
        closing(open_model(str(made.run / "checkpoint"), device="cpu")) as checkpoint,
        closing(open_model(str(made.run / "onnx"), device="cpu")) as onnx,
    ):
        assert checkpoint.labels == onnx.labels
        _check_equal(checkpoint, onnx, made)
    thresholds = read_signature(made.run / "onnx").thresholds
    assert bool(thresholds) == (made.task == "multi-label-classification")
    assert ("by the thresholds of its export" in report.baseline.made_by) == bool(thresholds)


def test_a_suite_of_another_task_is_refused(made: Made, tmp_path: Path) -> None:
    """With what the service and the checkpoint do, before any row is read."""
    suite = _suite(tmp_path, "text-classification")
    for place in (made.url, f"{made.url}/predict", str(made.run / "checkpoint")):
        told = refusal(ftdeploy("eval", suite, "--candidate", place, "--absolute"), 6)
        assert f"does {made.task}, and text-classification is asked of it" in told
