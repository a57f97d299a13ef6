"""The validate stage, through the framework, on genuine tiny models."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import onnx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from onnx import numpy_helper
from tiny import WORDS, write_model_folder

from ftdeploy.artifact import Artifact, Kind, seal
from ftdeploy.errors import ConfigError, DataError, GateFailed, GateInconclusive
from ftdeploy.recipe import Recipe
from ftdeploy.stage import run_stage
from ftdeploy.validate import validate
from ftdeploy.verdict import Report, read_report, refuse

LABELS = ("negative", "positive")
QUALITY = {"kind": "non-inferiority", "metric": "accuracy", "margin": 0.02}
GOLDEN = [{"text": "the best film", "label": "positive"}, {"text": "awful !", "label": "negative"}]
HOSTILE = "<script>alert('good')</script> & \"quoted\", =1+1 best"


def _seal(folder: Path, kind: Kind) -> Artifact:
    return seal(folder.rename(folder.with_name(folder.name + ".made")), target=folder, kind=kind, made_by="test@1",
                made_from=(), key="", settings={}, facts={})  # fmt: skip


def _rows(count: int) -> list[dict[str, str | None]]:
    """Texts whose single telling word gives the label; every fifth has a hostile text or no source."""
    rows: list[dict[str, str | None]] = []
    for index in range(count):
        word = WORDS[index % len(WORDS)]
        label = LABELS[index % len(WORDS) >= len(WORDS) // 2]
        text = HOSTILE if word == "best" else f"the film was {'very ' * (index % 7)}{word}"
        source = None if index % 5 == 0 else ("blog", "paper")[index % 2]
        rows.append({"text": text, "label": label, "group": None, "id": f"row {index}", "source": source})
    return rows


def _dataset(folder: Path, rows: Sequence[Mapping[str, str | None]]) -> Artifact:
    folder.mkdir()
    schema = pa.schema([(name, pa.string()) for name in ("text", "label", "group", "id", "source")])
    for name in ("train", "validation", "test"):
        pq.write_table(pa.Table.from_pylist([dict(row) for row in rows], schema=schema), folder / f"{name}.parquet")
    (folder / "profile.json").write_text("{}", encoding="utf-8")
    return _seal(folder, "dataset")


def _model(folder: Path, kind: Kind, misread: Sequence[str] = ()) -> Artifact:
    """A tiny model that takes some words for their opposite."""
    write_model_folder(folder, LABELS)
    if misread:
        model = onnx.load(str(folder / "model.onnx"))
        table = next(tensor for tensor in model.graph.initializer if tensor.name == "table")
        values = numpy_helper.to_array(table).copy()
        first = values[:, 0]
        known = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
        for word in misread:
            first[known[word]] *= -1
        table.CopyFrom(numpy_helper.from_array(values, "table"))
        onnx.save(model, str(folder / "model.onnx"))
    (folder / ("parity.json" if kind == "onnx" else "candidates.json")).write_text("{}", encoding="utf-8")
    if kind == "compressed":
        (folder / "candidates.html").write_text("<p>", encoding="utf-8")
    return _seal(folder, kind)


def _run(root: Path, *, rows: Sequence[Mapping[str, str | None]], misread: Sequence[str] = (),
         **suite: Any) -> Artifact:  # fmt: skip
    """The report of a tiny model that misreads some words, against one that does not."""
    inputs = {
        "dataset": _dataset(root / "dataset", rows),
        "onnx": _model(root / "onnx", "onnx"),
        "compressed": _model(root / "compressed", "compressed", misread),
    }
    recipe = Recipe.model_validate(
        {
            "version": 1,
            "name": "tiny",
            "task": "text-classification",
            "data": {"source": {"path": "rows.csv"}},
            "model": {"path": "model"},
            "validate": {
                "suite": {"gates": [QUALITY], "timing_rows": 8, "timing_rounds": 5, "resamples": 1000} | suite
            },
        }
    )
    found: Mapping[Kind, Artifact] = inputs  # type: ignore[assignment]  # the keys are kinds
    return run_stage(validate, recipe, found, root / "report").artifact


def _report(artifact: Artifact) -> Report:
    return read_report(artifact.file("report.json"))


@pytest.fixture(scope="module")
def worse(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """A candidate that takes `best` and `lovely` for their opposite: a fifth of 400 rows is lost."""
    return _run(tmp_path_factory.mktemp("worse"), rows=_rows(400), misread=("best", "lovely"), golden=GOLDEN)


def test_a_candidate_that_is_the_baseline_passes(tmp_path: Path) -> None:
    """Equal bytes pass every gate, on few rows as well, and the report says why; ratios are one."""
    gates = [QUALITY, {"kind": "ratio", "metric": "throughput", "minimum": 1.0},
             {"kind": "ratio", "metric": "size", "maximum": 1.0}]  # fmt: skip
    artifact = _run(tmp_path, rows=_rows(40), gates=gates, golden=[{"text": "a great film", "label": "positive"}])
    report = _report(artifact)
    assert (report.verdict, report.identical) == ("pass", True)
    assert "byte for byte" in report.gates[0].explanation
    facts = artifact.facts
    assert (facts["verdict"], facts["rows"], facts["flips"]) == ("pass", 40, 0)
    assert (facts["speedup"], facts["size_ratio"]) == (1, 1)
    assert facts["accuracy"] == facts["baseline_accuracy"] == facts["macro_f1"] == 1
    refuse(artifact)


def test_a_worse_candidate_fails_and_the_report_names_the_gates(worse: Artifact) -> None:
    """The verdict is in facts and report, not an exception of the stage; refusing names each failed gate."""
    report = _report(worse)
    assert worse.facts["verdict"] == report.verdict == "fail"
    assert [gate.verdict for gate in report.gates] == ["fail", "fail"]
    quality, golden = report.gates
    assert (quality.baseline, quality.candidate) == (1, 0.8)
    assert quality.value == pytest.approx(-0.2)
    assert quality.limit == -0.02
    assert quality.lower < quality.value < quality.upper < quality.limit
    assert "the best film" in golden.explanation
    with pytest.raises(GateFailed) as caught:
        refuse(worse)
    assert all(gate.name in caught.value.what for gate in report.gates)
    assert str(worse.file("report.html")) in caught.value.fix


def test_flips_are_listed_with_text_slice_and_scores(worse: Artifact) -> None:
    """flips.csv holds every row that turned wrong; texts with commas and quotes come back whole."""
    with worse.file("flips.csv").open(encoding="utf-8", newline="") as handle:
        found = list(csv.DictReader(handle))
    assert len(found) == worse.facts["flips"] == 80
    assert {row["text"] for row in found if "script" in row["text"]} == {HOSTILE}
    assert {(row["label"], row["baseline"], row["candidate"]) for row in found} == {
        ("positive", "positive", "negative")
    }
    scores = [float(row["candidate_score"]) for row in found]
    assert scores == sorted(scores, reverse=True)
    assert {row["source"] for row in found} <= {"", "blog", "paper"}


def test_slices_are_reported_with_the_greatest_harm_first(worse: Artifact) -> None:
    """By text length, label and the dataset's column; the label that was hurt comes before the other."""
    slices = _report(worse).slices
    assert {part.slice for part in slices} == {"text length", "label", "source"}
    harms = [part.difference.value for part in slices]
    assert harms == sorted(harms)
    labels = {part.value: part.difference.value for part in slices if part.slice == "label"}
    assert labels == {"negative": 0, "positive": pytest.approx(-0.4)}
    assert {part.metric for part in slices if part.slice == "label"} == {"accuracy"}
    assert "(none)" in {part.value for part in slices if part.slice == "source"}


def test_confusion_matrices_count_all_rows(worse: Artifact) -> None:
    """[true][predicted] of both models."""
    confusion = _report(worse).confusion
    assert confusion.baseline == ((200, 0), (0, 200))
    assert confusion.candidate == ((200, 0), (80, 120))


def test_junit_has_a_test_case_per_gate(worse: Artifact) -> None:
    """Failures are failures with the explanation as message."""
    suite = ET.fromstring(worse.file("junit.xml").read_bytes()).find("testsuite")  # noqa: S314 - our own file
    assert suite is not None
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("2", "2", "0")
    messages = [str(failure.get("message")) for failure in suite.iter("failure")]
    assert messages == [gate.explanation for gate in _report(worse).gates]


def test_the_page_stands_alone_and_escapes_texts(worse: Artifact) -> None:
    """No address, no script but its own filters; a hostile text of the data is shown and not run."""
    page = worse.file("report.html").read_text(encoding="utf-8")
    assert "&lt;script&gt;alert" in page
    assert page.count("<script") == 1
    assert not re.search(r"https?://|src=|@import|url\(", page)
    assert page.index("must not be released") < page.index("Gates")
    for artifact in (_report(worse).baseline, _report(worse).candidate, _report(worse).dataset):
        assert artifact.digest in page


def test_too_few_rows_are_inconclusive(tmp_path: Path) -> None:
    """40 rows, none lost, cannot exclude a drop of 0.02: an error in JUnit, and a refusal that says how many would."""
    artifact = _run(tmp_path, rows=[row for row in _rows(50) if "awful" not in str(row["text"])], misread=("awful",))
    (gate,) = _report(artifact).gates
    assert (gate.verdict, gate.difference, artifact.facts["verdict"]) == ("inconclusive", 0, "inconclusive")
    assert gate.rows_to_decide == pytest.approx(150, abs=5)
    suite = ET.fromstring(artifact.file("junit.xml").read_bytes()).find("testsuite")  # noqa: S314 - our own file
    assert suite is not None
    assert (suite.get("failures"), suite.get("errors")) == ("0", "1")
    assert artifact.file("flips.csv").read_text(encoding="utf-8").startswith("id,label,")
    with pytest.raises(GateInconclusive, match=gate.name) as caught:
        refuse(artifact)
    assert f"{gate.rows_to_decide} rows" in caught.value.fix


def test_answers_are_the_same_each_time(worse: Artifact, tmp_path: Path) -> None:
    """All that is not timing is reproducible to the digit."""
    again = _run(tmp_path, rows=_rows(400), misread=("best", "lovely"), golden=GOLDEN)
    timing = {"costs", "noise"}
    assert _report(again).model_dump(exclude=timing) == _report(worse).model_dump(exclude=timing)
    assert again.files["flips.csv"] == worse.files["flips.csv"]


def test_no_path_of_this_machine_is_in_the_report_of_a_run(worse: Artifact) -> None:
    """Models are called by the stages that made them, so that the same run elsewhere says the same."""
    report = _report(worse)
    sides = (report.baseline, report.candidate, report.dataset)
    assert [(side.kind, side.made_by, side.name) for side in sides] == [
        ("onnx", "test@1", ""), ("compressed", "test@1", ""), ("dataset", "test@1", ""),
    ]  # fmt: skip
    assert str(worse.path.parent) not in worse.file("report.json").read_text(encoding="utf-8")
    assert (report.created, report.absolute, report.cases) == (None, False, ())


def test_a_golden_label_that_the_model_lacks_is_an_error(tmp_path: Path) -> None:
    """Found before anything is predicted, with a suggestion."""
    with pytest.raises(ConfigError) as caught:
        _run(tmp_path, rows=_rows(40), golden=[{"text": "good", "label": "positiv"}])
    assert "golden[0].label" in str(caught.value.problems[0])
    assert "did you mean 'positive'?" in str(caught.value.problems[0])
    assert not (tmp_path / "report").exists()


def test_a_label_unseen_in_training_is_an_error(tmp_path: Path) -> None:
    """A test row whose label the model does not have."""
    with pytest.raises(DataError, match="'mixed'"):
        _run(tmp_path, rows=[*_rows(40), {"text": "good and bad", "label": "mixed", "id": "odd"}])


def test_no_test_rows_is_an_error(tmp_path: Path) -> None:
    """An empty split is said to be empty."""
    with pytest.raises(DataError, match="no test rows"):
        _run(tmp_path, rows=[])


def test_a_slower_and_larger_candidate_fails_its_ratios(tmp_path: Path) -> None:
    """Ratios of size, latency and memory are held against their maximum."""
    onnx_, dataset = _model(tmp_path / "onnx", "onnx"), _dataset(tmp_path / "dataset", _rows(40))
    heavy = tmp_path / "compressed"
    write_model_folder(heavy, LABELS)
    model = onnx.load(str(heavy / "model.onnx"))
    # The same answers, after much work that adds nothing.
    model.graph.initializer.append(numpy_helper.from_array(np.zeros((2, 400_000), dtype=np.float32), "wide"))
    head = next(node for node in model.graph.node if node.output[0] == "logits")
    head.output[0] = "plain"
    model.graph.node.extend(
        [
            onnx.helper.make_node("MatMul", ["plain", "wide"], ["zeros"]),
            onnx.helper.make_node("ReduceMax", ["zeros"], ["zero"], axes=[1], keepdims=1),
            onnx.helper.make_node("Add", ["plain", "zero"], ["logits"]),
        ]
    )
    onnx.save(model, str(heavy / "model.onnx"))
    (heavy / "candidates.json").write_text("{}", encoding="utf-8")
    (heavy / "candidates.html").write_text("<p>", encoding="utf-8")
    gates = [{"kind": "ratio", "metric": name, "maximum": 1.0} for name in ("size", "latency_p50", "memory")]
    gates.append({"kind": "ratio", "metric": "throughput", "minimum": 1.0})
    recipe = Recipe.model_validate({
        "version": 1, "name": "tiny", "task": "text-classification", "data": {"source": {"path": "rows.csv"}},
        "model": {"path": "model"}, "validate": {"suite": {"gates": gates, "timing_rows": 8, "timing_rounds": 5}},
    })  # fmt: skip
    inputs: Mapping[Kind, Artifact] = {"dataset": dataset, "onnx": onnx_, "compressed": _seal(heavy, "compressed")}
    report = _report(run_stage(validate, recipe, inputs, tmp_path / "report").artifact)
    assert [gate.verdict for gate in report.gates] == ["fail", "fail", "fail", "fail"]
    assert [metric.difference.value for metric in report.metrics] == [0, 0]
