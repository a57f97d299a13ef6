"""A gate that says no: a report and no bundle, and nothing of an earlier bundle is lost."""

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from checkpoints import SUITE
from tiny_run import TinyRun, artifact, changed_recipe, ftdeploy, refusal, remains

from ftdeploy.artifact import open_artifact
from ftdeploy.verdict import read_report

pytestmark = pytest.mark.slow


def _with_floor(tiny: TinyRun, target: Path, minimum: float) -> Path:
    gate = {"kind": "floor", "metric": "accuracy", "minimum": minimum}
    return changed_recipe(tiny.recipe, target, validate={"suite": SUITE | {"gates": [gate]}})


def test_a_failed_gate_leaves_a_report_and_no_bundle(tiny: TinyRun, tmp_path: Path) -> None:
    """Exit code 10; the report says which gate and why, in all its forms; the older bundle is kept aside, whole; with
    the old suite the bundle is there again."""
    run = tiny.copy(tmp_path)
    old = artifact(run, "bundle")
    strict = _with_floor(tiny, tmp_path / "strict.yaml", 0.999)
    said = refusal(ftdeploy("run", strict, "--out", run), 10)
    assert "accuracy at least 0.999" in said
    assert str(run / "report" / "report.html") in said
    report = read_report(artifact(run, "report").file("report.json"))
    assert report.verdict == "fail"
    assert [gate.verdict for gate in report.gates] == ["fail"]
    assert ET.parse(run / "report" / "junit.xml").getroot().findall(".//failure")  # noqa: S314  # our own
    assert "0.999" in (run / "report" / "report.html").read_text(encoding="utf-8")
    assert not (run / "bundle").exists()
    assert remains(run) == []
    aside = run / "superseded" / f"bundle-{old.digest[:12]}"
    assert open_artifact(aside, kind="bundle").digest == old.digest

    assert "accuracy at least 0.999" in refusal(ftdeploy("run", strict, "--out", run), 10)
    assert ftdeploy("run", tiny.recipe, "--out", run).returncode == 0
    assert artifact(run, "bundle").facts["verdict"] == "pass"
    assert open_artifact(aside, kind="bundle").digest == old.digest


def test_a_gate_that_cannot_tell_is_not_a_pass(tiny: TinyRun, tmp_path: Path) -> None:
    """Exit code 11, with the number of rows that would decide; as JSON for programs."""
    run = tiny.copy(tmp_path, until="compress")
    known = read_report(tiny.run / "report" / "report.json").metrics[0].candidate
    between = (known.lower + known.value) / 2
    recipe = _with_floor(tiny, tmp_path / "unsure.yaml", between)
    found = ftdeploy("run", recipe, "--out", run, "--json")
    assert found.returncode == 11
    told = json.loads(found.stdout)
    assert told["error_type"] == "GateInconclusive"
    assert "rows" in told["fix"]
    assert artifact(run, "report").facts["verdict"] == "inconclusive"
    assert not (run / "bundle").exists()


def test_a_run_until_the_verdict_ends_with_it(tiny: TinyRun, tmp_path: Path) -> None:
    """`--until validate` is how CI asks for a verdict: its exit code is the gate's, after the facts of the report, and
    the older bundle is left alone. A pass ends with 0."""
    run = tiny.copy(tmp_path)
    strict = _with_floor(tiny, tmp_path / "strict.yaml", 0.999)
    found = ftdeploy("run", strict, "--out", run, "--until", "validate")
    assert "accuracy at least 0.999" in refusal(found, 10)
    assert re.search(r"verdict +fail", found.stdout)
    told = ftdeploy("run", strict, "--out", run, "--until", "validate", "--json")
    assert told.returncode == 10
    document = json.loads(told.stdout)
    assert document["error_type"] == "GateFailed"
    assert document["artifacts"]["report"]["facts"]["verdict"] == "fail"
    assert (run / "bundle").exists()
    assert ftdeploy("run", tiny.recipe, "--out", run, "--until", "validate").returncode == 0
