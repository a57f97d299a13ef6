"""`evaluate_suite` on tiny models that are genuine: baselines, verdicts, reports, what is asked of whom."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from tiny import WORDS, write_bundle, write_model_folder

from ftdeploy.errors import ConfigError, DataError, GateFailed, GateInconclusive, SourceError
from ftdeploy.evaluation import beside, evaluate_suite, rows_for
from ftdeploy.suite import Suite
from ftdeploy.verdict import read_report

FAST = {"resamples": 1000, "timing_rows": 8, "timing_rounds": 5}
LABELS = ("negative", "positive")


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder and a cache of the test's own, with 80 rows that the tiny models answer rightly."""
    monkeypatch.setenv("FTDEPLOY_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    with (tmp_path / "rows.csv").open("w", encoding="utf-8", newline="") as handle:
        rows = [(f"the film was {WORDS[n % 10]} , number {n}", LABELS[n % 10 // 5]) for n in range(80)]
        csv.writer(handle).writerows([("text", "label"), *rows])
    return tmp_path


def suite(*gates: dict[str, Any], **keys: Any) -> Suite:
    document = {"name": "demo", "cases": [{"name": "films", "source": {"path": "rows.csv"}}], "gates": gates}
    return Suite.model_validate(document | FAST | keys)


def model(folder: str, *labels: str) -> str:
    write_model_folder(Path(folder), labels or LABELS, name=folder)
    return folder


FLOOR = {"kind": "floor", "metric": "accuracy", "minimum": 0.9}
NOT_WORSE = {"kind": "non-inferiority", "metric": "accuracy", "margin": 0.1}


def test_a_model_against_another(here: Path) -> None:
    """The report names both, the rows with their digest, the gates, and when; its folder is named after the three."""
    found = evaluate_suite(suite(FLOOR, NOT_WORSE), candidate=model("new"), baseline=model("old"))
    report = found.report
    assert (report.verdict, report.suite, report.name, report.rows) == ("pass", "demo", "new", 80)
    assert (report.baseline.name, report.candidate.name, report.candidate.kind) == ("old", "new", "onnx")
    assert [case.name for case in report.cases] == ["films"]
    assert report.dataset.digest == report.cases[0].digest
    assert report.created is not None
    assert found.folder.parent == Path("reports")
    assert found.folder.name.startswith(f"demo-{report.candidate.digest[:12]}-20")
    assert read_report(found.folder / "report.json") == report
    assert {path.name for path in found.folder.iterdir()} >= {"report.html", "junit.xml", "flips.csv"}
    assert [path.name for path in (here / "reports").iterdir()] == [found.folder.name]
    found.refuse()


def test_the_report_stands_whatever_the_verdict() -> None:
    """A gate that fails or cannot tell refuses after the report was written."""
    new, old = model("new"), model("old")
    worse = model("worse", "positive", "negative")
    failed = evaluate_suite(suite(NOT_WORSE), candidate=worse, baseline=old, report=Path("out"))
    assert read_report(Path("out/report.json")).verdict == "fail"
    with pytest.raises(GateFailed, match=r"1 gate of 1 failed"):
        failed.refuse()
    few = suite({"kind": "flips", "maximum": 0.001})
    unsure = evaluate_suite(few, candidate=new, baseline=worse, report=Path("out"))
    assert read_report(Path("out/report.json")).verdict == "inconclusive"
    with pytest.raises(GateInconclusive):
        unsure.refuse()


def test_gates_that_want_a_baseline_are_listed_without_one() -> None:
    """Before anything is computed; `absolute` asks the others only, and so does a suite that has no such gates."""
    new = model("new")
    with pytest.raises(ConfigError) as caught:
        evaluate_suite(suite(FLOOR, NOT_WORSE), candidate=new)
    assert [problem.path for problem in caught.value.problems] == ["gates[1]"]
    assert "non-inferiority: metric accuracy" in str(caught.value.problems[0])
    assert "--absolute" in caught.value.fix
    alone = evaluate_suite(suite(FLOOR, NOT_WORSE), candidate=new, absolute=True)
    assert alone.report.absolute
    assert [gate.kind for gate in alone.report.gates] == ["floor"]
    assert evaluate_suite(suite(FLOOR), candidate=new, report=Path("out")).report.absolute


def test_the_export_of_the_same_run_is_the_baseline(here: Path) -> None:
    """Where it stands beside the candidate; not for itself, and not beside what is in no run."""
    write_bundle(here / "run" / "bundle")
    assert beside("run/bundle") is None
    shutil.copytree(here / "run" / "bundle", here / "run" / "onnx")  # any artifact will do
    assert beside("run/bundle") == "run/onnx"
    assert beside("run/onnx") is None
    assert beside(model("new")) is None
    assert beside("http://127.0.0.1:9") is None


def test_a_folder_with_other_things_is_left_alone(here: Path) -> None:
    """Refused before a model is opened."""
    (here / "out").mkdir()
    (here / "out" / "thesis.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(ConfigError, match="no report of"):
        evaluate_suite(suite(FLOOR), candidate="nowhere", report=Path("out"))
    assert (here / "out" / "thesis.txt").read_text(encoding="utf-8") == "mine"


def test_answers_are_kept_and_asked_anew(here: Path) -> None:
    """The second evaluation takes the answers from the cache; `refresh` writes rows and answers again."""
    arguments: dict[str, Any] = {"candidate": model("new"), "report": Path("out")}

    def kept() -> set[int]:
        return {path.stat().st_ino for name in ("*.npy", "*.arrow") for path in (here / "cache").rglob(name)}

    evaluate_suite(suite(FLOOR), **arguments)
    first = kept()
    assert len(first) == 2
    evaluate_suite(suite(FLOOR), **arguments)
    assert kept() == first
    evaluate_suite(suite(FLOOR), refresh=True, **arguments)
    assert not kept() & first


def test_faults_of_places() -> None:
    """A misspelt folder, a service that is not there, a label that the model does not have."""
    model("new")
    with pytest.raises(SourceError, match="nwe") as caught:
        evaluate_suite(suite(FLOOR), candidate="./nwe")
    assert "new" in caught.value.fix
    with pytest.raises(SourceError, match="127"):
        evaluate_suite(suite(FLOOR), candidate="http://127.0.0.1:9")
    mapped = suite(FLOOR, cases=[{"name": "a", "source": {"path": "rows.csv"}, "label_map": {"positive": "great"}}])
    with pytest.raises(DataError, match=r"case a: 40 row\(s\) have the label 'great', first row-7, and new has"):
        evaluate_suite(mapped, candidate="new")
    assert not Path("reports").exists()


def test_a_label_that_a_case_calls_otherwise_is_told_with_case_and_place(here: Path) -> None:
    """One of several cases, and not that it does not occur in the training rows; its map mends it."""
    text = (here / "rows.csv").read_text(encoding="utf-8")
    other = text.replace('",positive', ' too",positiv').replace('",negative', ' too",negative')
    (here / "other.csv").write_text(other, encoding="utf-8")
    cases: list[dict[str, Any]] = [{"name": name, "source": {"path": f"{name}.csv"}} for name in ("rows", "other")]
    with pytest.raises(DataError, match=r"case other: 40 .* the label 'positiv', first other:row-7,") as caught:
        evaluate_suite(suite(FLOOR, cases=cases), candidate=model("new"))
    assert "'negative', 'positive'" in caught.value.what
    assert caught.value.fix.startswith("did you mean 'positive'?; name it in the case's `label_map`")
    cases[1]["label_map"] = {"positiv": "positive"}
    assert evaluate_suite(suite(FLOOR, cases=cases), candidate="new").report.verdict == "pass"


def test_several_cases_and_a_gate_for_one(here: Path) -> None:
    """Each gate judges the rows of its case; the report has a slice for each."""
    text = (here / "rows.csv").read_text(encoding="utf-8")
    swapped = text.replace("positive", "?").replace("negative", "positive").replace("?", "negative")
    (here / "wrong.csv").write_text(swapped, encoding="utf-8")
    cases = [{"name": name, "source": {"path": f"{name}.csv"}} for name in ("rows", "wrong")]
    found = evaluate_suite(
        suite(FLOOR | {"case": "rows"}, FLOOR | {"case": "wrong"}, cases=cases), candidate=model("new")
    ).report
    assert [(gate.case, gate.verdict, gate.rows) for gate in found.gates] == [
        ("rows", "pass", 80),
        ("wrong", "fail", 80),
    ]
    scores = {part.value: part.candidate.value for part in found.slices
              if part.slice == "case" and part.metric == "accuracy"}  # fmt: skip
    assert scores == {"rows": 1.0, "wrong": 0.0}


def test_a_gate_over_all_cases_takes_no_row_for_two() -> None:
    """One file under two names would decide what it alone cannot; costs are no evidence, and may be of both."""
    cases = [{"name": name, "source": {"path": "rows.csv"}} for name in ("one", "two")]
    size = {"kind": "ratio", "metric": "size", "maximum": 1.5}
    for gates in ([FLOOR], [FLOOR | {"case": "one"}, NOT_WORSE]):
        with pytest.raises(DataError, match=r"80 text\(s\) stand in two cases"):
            rows_for(suite(*gates, cases=cases), candidate=None, baseline=None)
    apart = suite(FLOOR | {"case": "one"}, FLOOR | {"case": "two"}, size, cases=cases)
    assert len(rows_for(apart, candidate=None, baseline=None)) == 160


def test_a_suite_without_cases_wants_a_run() -> None:
    """Nothing says which rows are meant."""
    with pytest.raises(ConfigError, match="has no cases"):
        rows_for(suite(FLOOR, cases=[]), candidate=model("new"), baseline=None)


def test_json_of_the_report_is_what_the_schema_says() -> None:
    """Its version stands first, as in the report of a run."""
    found = evaluate_suite(suite(FLOOR), candidate=model("new"))
    assert next(iter(json.loads((found.folder / "report.json").read_text(encoding="utf-8")))) == "schema"


@pytest.mark.parametrize(
    ("new", "old"),
    [
        (("LABEL_0", "LABEL_1"), LABELS),
        (LABELS, ("LABEL_0", "LABEL_1")),
        (("LABEL_0", "LABEL_1"), ("LABEL_0", "LABEL_1")),
    ],
)
def test_a_model_that_only_counts_its_labels(new: tuple[str, ...], old: tuple[str, ...]) -> None:
    """It is taken to count those of the other model, or of the rows."""
    found = evaluate_suite(suite(FLOOR, NOT_WORSE), candidate=model("new", *new), baseline=model("old", *old)).report
    assert found.verdict == "pass"
    assert found.confusion.labels == LABELS
