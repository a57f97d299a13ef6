"""Reports as files: JSON that comes back, JUnit XML, and what stands beside them."""

from __future__ import annotations

import csv
import dataclasses
import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from report_samples import KINDS, alone, answers, gate, report

from ftdeploy.artifact import LAYOUT
from ftdeploy.errors import ArtifactError
from ftdeploy.validate.render import junit, write_report
from ftdeploy.verdict import read_report, report_schema


def test_junit_shows_inconclusive_as_an_error() -> None:
    """CI shows errors as red and skipped tests as green; a gate that could not tell must not look green."""
    gates = [gate("floor", verdict, name=f"gate {verdict}") for verdict in ("pass", "fail", "inconclusive")]
    root = ET.fromstring(junit(report(*gates)))  # noqa: S314 - our own
    assert (root.get("tests"), root.get("failures"), root.get("errors")) == ("3", "1", "1")
    cases = {str(case.get("name")): [child.tag for child in case] for case in root.iter("testcase")}
    assert cases == {"gate pass": ["system-out"], "gate fail": ["failure"], "gate inconclusive": ["error"]}


def test_junit_holds_any_text() -> None:
    """Control characters, which XML cannot hold, do not break the file."""
    found = junit(report(gate("floor", "fail", explanation="a \x00 \x1b <b> & \ufffe ü 😀", details=("\x00 <i>",))))
    (failure,) = ET.fromstring(found).iter("failure")  # noqa: S314 - our own
    assert failure.get("message") == "a \ufffd \ufffd <b> & \ufffd ü 😀"
    assert failure.text == "\ufffd <i>"


def test_junit_names_the_case_and_what_was_judged() -> None:
    """Whoever sees the result in CI can tell which rows a gate is of, and which models by their digests."""
    root = ET.fromstring(junit(report(gate("floor", case="reviews"), gate("floor"))))  # noqa: S314 - our own
    assert [case.get("classname") for case in root.iter("testcase")] == ["sentiment.floor.reviews", "sentiment.floor"]
    found = {str(one.get("name")): one.get("value") for one in root.iter("property")}
    assert found["baseline.digest"] == "b" * 64
    assert found["candidate.digest"] == "c" * 64
    assert found["dataset.digest"] == "d" * 64
    assert found["case.forum.digest"] == "2" * 64
    assert found["candidate"] == "runs/today/bundle"
    judged_alone = ET.fromstring(junit(alone()))  # noqa: S314 - our own
    assert not [one for one in judged_alone.iter("property") if "baseline" in str(one.get("name"))]


def test_junit_has_no_clock() -> None:
    """The same verdict gives the same file, whenever it was found."""
    assert junit(report(created="2026-05-01T00:00:00Z")) == junit(report(created=None))


def test_reports_come_back_as_they_were(tmp_path: Path) -> None:
    """report.json is read into an equal report, with every section and gates of every kind; its key for the version is
    `schema`."""
    for number, one in enumerate((report(), alone(), report(gate()))):
        folder = tmp_path / str(number)
        folder.mkdir()
        write_report(one, answers(rows=60, flipped=4), folder)
        assert read_report(folder / "report.json") == one
        assert json.loads((folder / "report.json").read_text(encoding="utf-8"))["schema"] == 2
    assert {found.kind for found in report().gates} == set(KINDS)


def test_everything_is_written(tmp_path: Path) -> None:
    """For machines, for CI, for spreadsheets and for people; nothing is left half written."""
    write_report(report(), answers(rows=60, flipped=4), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == set(LAYOUT["report"].required)
    assert all(path.stat().st_size for path in tmp_path.iterdir())


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"schema": 3}', "not json"])
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
    found = dataclasses.replace(
        answers(rows=2, flipped=1, labels=(evil, f"{evil} too")), ids=[evil] * 2, texts=[evil] * 2,
        columns={evil: [evil] * 2},
    )  # fmt: skip
    write_report(report(gate()), found, tmp_path)
    with (tmp_path / "flips.csv").open(encoding="utf-8", newline="") as handle:
        header, row = csv.reader(handle)
    assert header == ["id", "label", "baseline", "baseline_score", "candidate", "candidate_score", f"'{evil}", "text"]
    assert row == [f"'{evil}", f"'{evil}", f"'{evil}", "0.9000", f"'{evil} too", "0.8000", f"'{evil}", f"'{evil}"]
