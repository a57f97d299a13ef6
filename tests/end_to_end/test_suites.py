"""`ftdeploy eval` on the suites of the recipes, with their real rows."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tiny import write_model_folder
from workspace import ROOT, Workspace

from ftdeploy.recipe import load_recipe
from ftdeploy.suite import load_suite, wants_baseline
from ftdeploy.verdict import read_report

pytestmark = pytest.mark.slow
#: name -> rows of the test split
SUITES = {
    "clinical-sections": 200, "contract-clauses": 1741, "finance-sentiment": 862, "retail-categorization": 6197,
}  # fmt: skip
FAST = ("--set", "resamples=1000", "--set", "timing_rows=8", "--set", "timing_rounds=5")


def _eval(*arguments: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ftdeploy", "eval", *map(str, arguments)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_the_bundle_passes_its_suite(sentiment: Workspace) -> None:
    """The shipped model against fp32, on the case of the suite: the rows, and so the scores, of the run's own report; a
    second time the answers come from the cache."""
    arguments = ("evaluation_suites/sentiment.yaml", "--candidate", "runs/sentiment/bundle", "--report", "reports/own")
    found = sentiment.ftdeploy("eval", *arguments)
    report = read_report(sentiment.folder / "reports" / "own" / "report.json")
    assert report.verdict == "pass"
    assert (report.candidate.kind, report.baseline.kind) == ("bundle", "onnx")
    assert "runs/sentiment/onnx is taken" in found.stderr
    own = read_report(sentiment.run / "report" / "report.json")
    assert report.rows == own.rows == 2008
    assert {gate.kind for gate in report.gates} == {gate.kind for gate in own.gates}
    for ours, theirs in zip(report.metrics, own.metrics, strict=True):
        assert ours.metric == theirs.metric
        # The service's batches and those of the run's report may differ, and with them a dynamically quantized answer.
        assert abs(ours.candidate.value - theirs.candidate.value) < 0.005
    assert "in the cache" in sentiment.ftdeploy("eval", *arguments).stderr


def test_the_bundle_elsewhere(sentiment: Workspace) -> None:
    """On domains that it was not trained for there is a verdict for each, and a score that beats guessing."""
    found = _eval("sentiment-domains", "--candidate", "runs/sentiment/bundle", "--report", "reports/domains", *FAST,
                  folder=sentiment.folder)  # fmt: skip
    assert found.returncode in (0, 10, 11), found.stderr
    report = read_report(sentiment.folder / "reports" / "domains" / "report.json")
    assert [(case.name, case.rows) for case in report.cases] == [("amazon", 2935), ("tweets", 3302), ("nyt", 2750)]
    assert {gate.case for gate in report.gates} == {"amazon", "tweets", "nyt", ""}
    scores = {part.value: part.candidate.lower for part in report.slices
              if part.slice == "case" and part.metric == "accuracy"}  # fmt: skip
    assert set(scores) == {"amazon", "tweets", "nyt"}
    assert min(scores.values()) > 0.5


def test_plain_evaluate_finds_the_same(sentiment: Workspace) -> None:
    """`evaluate.EvaluationSuite` with the module that comes along: the accuracy of the report, without a network."""
    code = (
        "import evaluate, json, sys\nfrom ftdeploy.models import as_pipeline, open_model\n"
        "model = as_pipeline(open_model('runs/sentiment/bundle'))\n"
        "(found,) = evaluate.EvaluationSuite.load('evaluation_suites/sentiment_suite.py').run(model)\n"
        "print(json.dumps([found['accuracy'], found['macro_f1']]))"
    )
    settings = {**os.environ, "HF_HOME": str(sentiment.folder / "hf"), "HF_HUB_OFFLINE": "1"}
    found = subprocess.run([sys.executable, "-c", code], cwd=sentiment.folder, capture_output=True, text=True,
                           check=False, env=settings)  # fmt: skip
    assert found.returncode == 0, found.stderr
    own = read_report(sentiment.run / "report" / "report.json")
    expected = {result.metric: result.candidate.value for result in own.metrics}
    for ours, theirs in zip(json.loads(found.stdout.splitlines()[-1]), (expected["accuracy"], expected["macro_f1"]),
                            strict=True):  # fmt: skip
        assert abs(ours - theirs) < 0.005


@pytest.mark.usefixtures("mirror")
@pytest.mark.parametrize("name", SUITES)
def test_the_rows_of_a_suite_fit_its_gates(name: str) -> None:
    """Without a model: as many rows as the recipe's test split has, labels that golden rows and gates name, and margins
    that so many rows can decide."""
    found = _eval(name, "--dry-run", "--json", folder=ROOT)
    assert found.returncode == 0, found.stderr
    document: dict[str, Any] = json.loads(found.stdout)
    assert document["rows"] == SUITES[name]
    assert document["notes"] == []
    assert [gate["gate"] for gate in document["gates"] if gate["enough"] is False] == []


@pytest.mark.usefixtures("mirror")
@pytest.mark.parametrize("name", SUITES)
def test_a_model_with_the_labels_is_judged(name: str, tmp_path: Path) -> None:
    """An untaught one, alone: its floors fail, with all rows asked; gates that want a baseline are left out."""
    from ftdeploy.evaluation.cases import gather

    suite = load_suite(ROOT / "evaluation_suites" / f"{name}.yaml")
    names = gather(suite.cases, seed=suite.seed, task=suite.task).names
    assert set(load_recipe(ROOT / "recipes" / f"{name}.yaml").data.labels or names) == set(names)
    write_model_folder(tmp_path / "model", names)
    found = _eval(name, "--candidate", tmp_path / "model", "--absolute", "--report", tmp_path / "out", *FAST,
                  folder=ROOT)  # fmt: skip
    assert found.returncode == 10, found.stderr
    report = read_report(tmp_path / "out" / "report.json")
    assert report.rows == SUITES[name]
    verdicts = {gate.kind: gate.verdict for gate in report.gates}
    assert (verdicts["floor"], verdicts["golden"]) == ("fail", "fail")
    assert set(verdicts) == {gate.kind for gate in suite.gates if not wants_baseline(gate)} | {"golden"}
