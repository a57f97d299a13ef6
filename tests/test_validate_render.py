"""Reports as JUnit XML and as a page; reading them back."""

from __future__ import annotations

import csv
import dataclasses
import json
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from scripted import sure

from ftdeploy.errors import ArtifactError
from ftdeploy.statistics import Verdict
from ftdeploy.validate.answers import Answers
from ftdeploy.validate.render import junit, page, write_report
from ftdeploy.verdict import (
    Compared,
    Confusion,
    CostResult,
    GateResult,
    MetricResult,
    Report,
    Scored,
    read_report,
    report_schema,
)


def _gate(verdict: Verdict, explanation: str = "It is so.") -> GateResult:
    return GateResult(name=f"gate {verdict}", kind="floor", metric="accuracy", verdict=verdict, explanation=explanation,
                      baseline=0.9, candidate=0.8, difference=-0.1, value=0.8, lower=0.7, upper=0.9, limit=0.75,
                      better="higher", rows=10)  # fmt: skip


def _report(*gates: GateResult, labels: int = 2, verdict: Verdict = "fail") -> Report:
    one = Compared(made_by="test@1", digest="d" * 64)
    scored = Scored(value=0.8, lower=0.7, upper=0.9)
    counts = tuple(tuple(10 * (i == j) + j for j in range(labels)) for i in range(labels))
    costs = tuple(
        CostResult(cost=name, baseline=1, candidate=2, ratio=2, lower=1.9, upper=2.1, confidence=0.98)
        for name in ("throughput", "latency_p50", "latency_p95", "size")
    )
    return Report(
        name="tiny", task="text-classification", suite="suite", verdict=verdict, rows=10, confidence=0.95,
        resamples=1000, identical=False, baseline=one, candidate=one, dataset=one, gates=gates,
        metrics=(MetricResult(metric="accuracy", baseline=scored, candidate=scored, difference=scored),), slices=(),
        costs=costs, provider="CPUExecutionProvider", noise=0.01, timing_rows=8, timing_rounds=5,
        confusion=Confusion(labels=tuple(f"label {i}" for i in range(labels)), baseline=counts, candidate=counts),
        golden=(), right_to_wrong=0, wrong_to_right=0,
    )  # fmt: skip


def _answers(flipped: int) -> Answers:
    references = np.zeros(flipped + 1, dtype=np.int64)
    candidate = np.append(np.ones(flipped, dtype=np.int64), 0)
    return Answers(
        ids=[f"row {index}" for index in range(flipped + 1)],
        texts=["word " * 400] * (flipped + 1),
        columns={},
        labels=("no", "yes"),
        references=references,
        baseline=sure(references),
        candidate=sure(candidate, 0.8),
    )


def test_junit_shows_inconclusive_as_an_error() -> None:
    """CI shows errors as red and skipped tests as green; a gate that could not tell must not look green."""
    root = ET.fromstring(junit(_report(_gate("pass"), _gate("fail"), _gate("inconclusive"))))  # noqa: S314 - our own
    assert (root.get("tests"), root.get("failures"), root.get("errors")) == ("3", "1", "1")
    cases = {str(case.get("name")): [child.tag for child in case] for case in root.iter("testcase")}
    assert cases == {"gate pass": ["system-out"], "gate fail": ["failure"], "gate inconclusive": ["error"]}


def test_junit_holds_any_text() -> None:
    """Control characters, which XML cannot hold, do not break the file."""
    root = ET.fromstring(junit(_report(_gate("fail", "a \x00 \x1b <b> & \ud800 ü 😀"))))  # noqa: S314 - our own
    assert [found.get("message") for found in root.iter("failure")] == ["a \ufffd \ufffd <b> & \ufffd ü 😀"]


@pytest.mark.parametrize("verdict", ["pass", "fail", "inconclusive"])
def test_the_page_begins_with_the_verdict(verdict: Verdict) -> None:
    """The title and the first heading say it."""
    found = page(_report(_gate(verdict), verdict=verdict), _answers(0))
    assert f"<title>{verdict.capitalize()}: tiny" in found
    assert f"<h1>{verdict.capitalize()}:" in found


def test_the_page_stays_readable_with_much_to_show() -> None:
    """Many labels: the commonest mistakes and no matrix of thousands of cells. Many flips: the first, and how many
    more. Long texts are cut."""
    found = page(_report(_gate("pass"), labels=80), _answers(250))
    assert "commonest mistakes" in found
    assert "150 more in flips.csv" in found
    assert len(found) < 200_000


def test_reports_come_back_as_they_were(tmp_path: Path) -> None:
    """report.json is read into an equal report; its key for the version is `schema`."""
    report = _report(_gate("pass"), _gate("inconclusive"))
    write_report(report, _answers(3), tmp_path)
    assert read_report(tmp_path / "report.json") == report
    assert json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))["schema"] == 1


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"schema": 2}', "not json"])
def test_a_report_that_is_none_is_refused(content: str, tmp_path: Path) -> None:
    """Damaged files and other versions are an error that names the file."""
    path = tmp_path / "report.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ArtifactError, match=r"report\.json cannot be read"):
        read_report(path)


def test_the_schema_documents_every_key() -> None:
    """Each property of the report and of its parts has a description, under the name that the file has."""
    schema = report_schema()
    assert "schema" in schema["properties"]
    parts = [schema, *schema["$defs"].values()]
    assert all("description" in body or "$ref" in body for part in parts for body in part["properties"].values())


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_no_cell_of_the_flips_is_a_formula(tmp_path: Path, start: str) -> None:
    """Text, id, labels and columns come from the data, and whoever opens flips.csv in a spreadsheet runs none of it;
    scores are plain numbers."""
    evil = f"{start}HYPERLINK(1)"
    answers = _answers(1)
    answers = dataclasses.replace(
        answers, ids=[evil] * 2, texts=[evil] * 2, columns={evil: [evil] * 2}, labels=(evil, f"{evil} too")
    )
    write_report(_report(_gate("pass")), answers, tmp_path)
    with (tmp_path / "flips.csv").open(encoding="utf-8", newline="") as handle:
        header, row = csv.reader(handle)
    assert header == ["id", "label", "baseline", "baseline_score", "candidate", "candidate_score", f"'{evil}", "text"]
    assert row == [f"'{evil}", f"'{evil}", f"'{evil}", "0.9000", f"'{evil} too", "0.8000", f"'{evil}", f"'{evil}"]
