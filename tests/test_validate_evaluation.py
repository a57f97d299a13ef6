"""One evaluation: gates of every kind on models that answer out of arrays, models without a baseline, cases, costs."""

from __future__ import annotations

import re
import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import pyarrow as pa
import pytest
from scripted import Scores, ScriptedModel, sure
from tiny import write_model_folder
from tiny_run import TinyRun, artifact

from ftdeploy.dataset import read_split
from ftdeploy.errors import ConfigError, DataError, ModelError
from ftdeploy.models import open_model
from ftdeploy.models.local import LocalModel, open_local
from ftdeploy.signature import read_signature, write_signature
from ftdeploy.suite import Gate, Suite
from ftdeploy.validate.answers import Answers
from ftdeploy.validate.evaluation import evaluate_models, identical
from ftdeploy.validate.gates import JUDGES
from ftdeploy.verdict import CaseResult, Compared, GateResult, Report

_NUMBER = re.compile(r"text (\d+)")
if TYPE_CHECKING:
    from numpy.typing import NDArray

DATASET = Compared(made_by="test@1", digest="d")


def truth(rows: int) -> NDArray[np.int64]:
    return np.arange(rows, dtype=np.int64) % 2


def rows_table(rows: int, labels: Sequence[str] = ("no", "yes"), **columns: Sequence[str | None]) -> pa.Table:
    """Texts that carry their number, labels in turn."""
    return pa.table({"text": [f"text {row}" for row in range(rows)], "id": [f"row {row}" for row in range(rows)],
                     "label": [labels[row % 2] for row in range(rows)], **columns})  # fmt: skip


def answering(predictions: NDArray[np.int64], score: float | NDArray[np.float64] = 0.9, **keys: Any) -> ScriptedModel:
    """A model that looks each text's answer up by its number."""
    probabilities = sure(predictions).probabilities
    probabilities[np.arange(len(predictions)), predictions] = score
    probabilities[np.arange(len(predictions)), 1 - predictions] = 1 - np.asarray(score)

    def answer(texts: Sequence[str]) -> Scores:
        return probabilities[[int(_NUMBER.findall(text)[0]) for text in texts]]

    return ScriptedModel(answer, **keys)


def with_errors(rows: int, *errors: range | slice) -> NDArray[np.int64]:
    """Right answers, but for some rows."""
    found = truth(rows)
    for part in errors:
        found[part] = 1 - found[part]
    return found


def evaluated(gates: Sequence[dict[str, Any]], table: pa.Table, candidate: ScriptedModel,
              baseline: ScriptedModel | None, **suite: Any) -> tuple[Report, Answers]:  # fmt: skip
    made = Suite.model_validate(
        {"gates": gates, "resamples": 1000, "timing_rows": 8, "timing_rounds": 5, "slice_rows": 20} | suite
    )
    return evaluate_models(made, table, candidate=candidate, baseline=baseline, dataset=DATASET, name="demo",
                           task="text-classification")  # fmt: skip


def result(gate: dict[str, Any], candidate: ScriptedModel, baseline: ScriptedModel, *, rows: int,
           **columns: Sequence[str]) -> GateResult:  # fmt: skip
    report, _ = evaluated([gate], rows_table(rows, **columns), candidate, baseline)
    return report.gates[0]


ACCURACY = {"metric": "accuracy"}


@pytest.mark.parametrize(
    ("gate", "rows", "was_wrong", "now_wrong", "verdict", "words"),
    [
        ({"kind": "non-inferiority", "margin": 0.02}, 1000, 100, 102, "pass", "the drop is at most"),
        ({"kind": "non-inferiority", "margin": 0.02}, 1000, 100, 130, "fail", "tolerated drop of 0.0200"),
        ({"kind": "non-inferiority", "margin": 0.02}, 200, 20, 22, "inconclusive", "cannot exclude a drop"),
        ({"kind": "non-inferiority", "margin": 0.02, "method": "mcnemar"}, 1000, 100, 102, "pass", "at most"),
        ({"kind": "non-inferiority", "margin": 0.02, "method": "mcnemar"}, 1000, 100, 130, "fail", "tolerated drop"),
        ({"kind": "non-inferiority", "margin": 0.02, "method": "mcnemar"}, 200, 20, 22, "inconclusive", "rows would"),
        ({"kind": "equivalence", "margin": 0.02}, 1000, 100, 102, "pass", "tolerated either way"),
        ({"kind": "equivalence", "margin": 0.02}, 1000, 100, 60, "fail", "difference of +0.0400"),
        ({"kind": "equivalence", "margin": 0.02}, 200, 20, 22, "inconclusive", "cannot exclude differences"),
        ({"kind": "superiority"}, 1000, 100, 60, "pass", "the gain is at least"),
        ({"kind": "superiority"}, 1000, 100, 101, "fail", "But a gain is wanted"),
        ({"kind": "superiority", "by": 0.03}, 1000, 100, 60, "inconclusive", "a gain of more than 0.0300"),
        ({"kind": "superiority", "by": 0.05}, 1000, 100, 60, "fail", "a gain of more than 0.0500"),
        ({"kind": "floor", "minimum": 0.8}, 1000, 100, 100, "pass", "at least"),
        ({"kind": "floor", "minimum": 0.95}, 1000, 100, 100, "fail", "at least 0.95 is wanted"),
        ({"kind": "floor", "minimum": 0.89}, 1000, 100, 100, "inconclusive", "cannot exclude"),
    ],
)  # fmt: skip
def test_gates_on_accuracy(  # noqa: PLR0917  # a table
    gate: dict[str, Any], rows: int, was_wrong: int, now_wrong: int, verdict: str, words: str
) -> None:
    """Each passes, fails and cannot tell where it should, with its numbers in words; undecided ones say how many rows
    would decide."""
    baseline = answering(with_errors(rows, slice(0, was_wrong)), name="baseline")
    candidate = answering(with_errors(rows, slice(0, now_wrong)))
    found = result(ACCURACY | gate, candidate, baseline, rows=rows)
    assert (found.verdict, found.kind, found.metric, found.rows) == (verdict, gate["kind"], "accuracy", rows)
    assert words in found.explanation
    assert (found.baseline, found.candidate) == (1 - was_wrong / rows, 1 - now_wrong / rows)
    assert found.difference == pytest.approx((was_wrong - now_wrong) / rows)
    assert found.lower <= found.value <= found.upper
    assert found.unit == ("score" if gate["kind"] == "floor" else "difference")
    assert (found.rows_to_decide is not None) == (verdict == "inconclusive")


@pytest.mark.parametrize(
    ("gate", "rows", "was", "now", "verdict", "words"),
    [
        ({"kind": "non-inferiority", "metric": "brier", "margin": 0.02}, 1000, 0.9, 0.9, "pass", "the rise is at most"),
        ({"kind": "non-inferiority", "metric": "brier", "margin": 0.02}, 1000, 0.9, 0.6, "fail", "rise of 0.0200"),
        ({"kind": "superiority", "metric": "brier"}, 1000, 0.6, 0.9, "pass", "the gain is at least"),
        ({"kind": "superiority", "metric": "brier"}, 1000, 0.9, 0.6, "fail", "But a gain is wanted"),
        ({"kind": "ceiling", "metric": "brier", "maximum": 0.25}, 1000, 0.9, 0.9, "pass", "at most"),
        ({"kind": "ceiling", "metric": "brier", "maximum": 0.1}, 1000, 0.9, 0.9, "fail", "0.1 is allowed"),
        ({"kind": "ceiling", "metric": "brier", "maximum": 0.19}, 200, 0.9, 0.9, "inconclusive", "cannot exclude"),
        ({"kind": "calibration", "margin": 0.03}, 1000, 0.9, 0.91, "pass", "the rise is at most"),
        ({"kind": "calibration", "margin": 0.03}, 1000, 0.9, 0.999, "fail", "tolerated rise of 0.0300"),
        ({"kind": "calibration", "margin": 0.03}, 60, 0.9, 0.92, "inconclusive", "cannot exclude a rise"),
        ({"kind": "calibration", "metric": "brier", "margin": 0.03}, 1000, 0.9, 0.999, "pass", "the rise is at most"),
    ],
)  # fmt: skip
def test_gates_on_errors_where_lower_is_better(  # noqa: PLR0917  # a table
    gate: dict[str, Any], rows: int, was: float, now: float, verdict: str, words: str
) -> None:
    """Nine in ten are right, and the models differ in how sure they are: a loss is a rise."""
    predictions = with_errors(rows, slice(0, rows // 10))
    found = result(gate, answering(predictions, now), answering(predictions, was, name="baseline"), rows=rows)
    assert (found.verdict, found.better) == (verdict, "lower")
    assert words in found.explanation
    assert found.lower <= found.value <= found.upper


@pytest.mark.parametrize(
    ("gate", "lost", "rows", "verdict", "words"),
    [
        ({"kind": "slices", "margin": 0.05, "rule": "none-worse"}, 1, 2000, "pass", "all of them together do not"),
        ({"kind": "slices", "margin": 0.05, "rule": "none-worse"}, 100, 2000, "fail", "source new"),
        ({"kind": "slices", "margin": 0.02, "rule": "none-worse"}, 2, 200, "inconclusive", "it of all of them"),
        ({"kind": "slices", "margin": 0.05}, 1, 2000, "pass", "none loses 0.0500 or more"),
        ({"kind": "slices", "margin": 0.05, "rule": "all-proven"}, 8, 2000, "inconclusive", "of source new"),
        ({"kind": "worst-slice", "minimum": 0.7}, 10, 2000, "pass", "no slice is under"),
        ({"kind": "worst-slice", "minimum": 0.8}, 100, 2000, "fail", "source new is the worst: 0.4000"),
        ({"kind": "worst-slice", "minimum": 0.87}, 0, 2000, "inconclusive", "of some slice"),
        ({"kind": "flips", "maximum": 0.02}, 10, 2000, "pass", "with 95% confidence at most"),
        ({"kind": "flips", "maximum": 0.02}, 60, 2000, "fail", "60 of 2,000 rows went from right to wrong, and 0"),
        ({"kind": "flips", "maximum": 0.02}, 2, 200, "inconclusive", "rows would do, if the share stays"),
    ],
)  # fmt: skip
def test_gates_on_parts_of_the_rows(gate: dict[str, Any], lost: int, rows: int, verdict: str, words: str) -> None:
    """A tenth of the rows are of a new source, and only among them something is lost: a small slice that an average
    hides."""
    new = rows // 10
    source = ["new" if row < new else "old" for row in range(rows)]
    was = with_errors(rows, slice(new - new // 10, new), slice(rows - rows // 20, rows))
    now = was.copy()
    now[:lost] = 1 - was[:lost]
    keys = gate if gate["kind"] == "flips" else gate | {"slices": ["source"]}
    found = result(keys, answering(now), answering(was, name="baseline"), rows=rows, source=source)
    assert found.verdict == verdict
    assert words in found.explanation
    if gate["kind"] == "slices":
        assert found.details
        assert found.details[0].startswith("source new: ")
        assert found.value == pytest.approx(-lost / new if lost else 0)
    if gate["kind"] == "flips":
        assert found.value == lost / rows


def test_slices_that_cannot_be_judged() -> None:
    """None has rows enough: inconclusive, and it says why. What the rows are not cut by is an error with a hint."""
    model = answering(truth(24))
    for gate in ({"kind": "slices", "margin": 0.1}, {"kind": "worst-slice", "minimum": 0.5}):
        found = result(gate, model, model, rows=24)
        assert found.verdict == "inconclusive"
        assert "No slice has 20 rows" in found.explanation
        with pytest.raises(ConfigError, match="'sauce'") as caught:
            result(gate | {"slices": ["sauce"]}, model, model, rows=24, source=["a", "b"] * 12)
        assert "did you mean 'source'?" in caught.value.fix


def test_label_slices_are_judged_by_accuracy_only() -> None:
    """Over rows of one true label an average over labels says nothing."""
    model = answering(truth(200), name="baseline")
    other = answering(with_errors(200, slice(0, 4)))
    by_label = {"kind": "slices", "margin": 0.2, "slices": ["label"]}
    assert len(result(by_label, other, model, rows=200).details) == 2
    assert result(by_label | {"metric": "macro_f1"}, other, model, rows=200).verdict == "inconclusive"


def test_a_model_that_is_its_own_baseline() -> None:
    """Nothing was lost, whatever the rows could show; and nothing was gained either."""
    model = answering(with_errors(60, slice(0, 6)))
    gates: list[dict[str, Any]] = [
        {"kind": "non-inferiority", "metric": "accuracy", "margin": 0.001},
        {"kind": "equivalence", "metric": "accuracy", "margin": 0.001}, {"kind": "flips", "maximum": 0.001},
        {"kind": "calibration", "margin": 0.001}, {"kind": "slices", "margin": 0.001},
        {"kind": "robustness", "perturbation": "length", "margin": 0.001},
        {"kind": "superiority", "metric": "accuracy"},
    ]  # fmt: skip
    report, answers = evaluated(gates, rows_table(60), model, model)
    assert [gate.verdict for gate in report.gates] == ["pass"] * 6 + ["fail"]
    assert all("byte for byte" in gate.explanation for gate in report.gates)
    assert report.identical
    assert answers.baseline is answers.candidate
    assert model.asked == 60 + 60  # the rows, and the same rows with a sentence more


def test_without_a_baseline_only_the_candidate_is_judged() -> None:
    """Gates that compare are not asked, those that do not are; the report says that it is absolute."""
    gates: list[dict[str, Any]] = [
        {"kind": "non-inferiority", "metric": "accuracy", "margin": 0.02}, {"kind": "ratio", "metric": "size",
         "maximum": 1.0}, {"kind": "robustness", "perturbation": "length", "margin": 0.1},
        {"kind": "robustness", "perturbation": "length", "maximum": 0.1},
        {"kind": "floor", "metric": "accuracy", "minimum": 0.7}, {"kind": "gap", "metric": "error_rate",
         "slice": "source", "maximum": 0.5}, {"kind": "consistency", "rows": 100},
        {"kind": "worst-slice", "minimum": 0.7}, {"kind": "ceiling", "metric": "ece", "maximum": 0.5},
    ]  # fmt: skip
    model = answering(with_errors(400, slice(0, 40)))
    table = rows_table(400, source=["a", "b", "b", "a"] * 100)
    report, answers = evaluated(gates, table, model, None, golden=[{"text": "text 100", "label": "no"}])
    assert [gate.kind for gate in report.gates] == [
        "robustness", "floor", "gap", "consistency", "worst-slice", "ceiling", "golden",
    ]  # fmt: skip
    assert {gate.verdict for gate in report.gates} == {"pass"}
    assert (report.absolute, report.identical, report.right_to_wrong) == (True, False, 0)
    assert report.baseline == report.candidate
    assert answers.baseline is answers.candidate


def test_labels_go_by_their_names() -> None:
    """A model with its labels in another order answers the same; one that has its labels the wrong way round does
    not, and nothing is mended behind its back."""
    predictions = with_errors(200, slice(0, 20))
    gate = {"kind": "non-inferiority", "metric": "accuracy", "margin": 0.1}
    plain = answering(predictions)
    other_order = answering(1 - predictions, labels=("yes", "no"), name="other order")
    swapped = answering(predictions, labels=("yes", "no"), name="swapped")
    report, answers = evaluated([gate], rows_table(200), plain, other_order)
    assert (report.gates[0].baseline, report.gates[0].candidate, report.right_to_wrong) == (0.9, 0.9, 0)
    assert tuple(answers.labels) == report.confusion.labels == ("no", "yes")
    report, answers = evaluated([gate], rows_table(200), other_order, plain)
    assert (report.gates[0].baseline, report.gates[0].candidate) == (0.9, 0.9)
    assert report.confusion.labels == ("yes", "no")
    report, _ = evaluated([gate], rows_table(200), swapped, plain)
    assert report.gates[0].candidate == pytest.approx(0.1)
    assert report.verdict == "fail"


def test_labels_that_do_not_fit() -> None:
    """A label that one model has and the other lacks, or that a row has and no model."""
    model = answering(truth(40))
    three = ScriptedModel(lambda texts: np.full((len(texts), 3), 1 / 3, dtype=np.float32), ("no", "yes", "maybe"))
    for candidate, baseline in ((model, three), (three, model)):
        with pytest.raises(ModelError, match="has the label 'maybe', and"):
            evaluated([], rows_table(40), candidate, baseline)
    with pytest.raises(DataError, match="'nope'"):
        evaluated([], rows_table(40, labels=("nope", "yes")), model, model)


def test_labels_that_a_suite_names_are_checked_at_once() -> None:
    """Of golden rows and of directional gates, all of them, before any model is asked."""
    model = answering(truth(40))
    with pytest.raises(ConfigError) as caught:
        evaluated(
            [{"kind": "directional", "add": "x", "label": "yess", "maximum": 0.1}], rows_table(40), model, model,
            golden=[{"text": "text 1", "label": "know"}],
        )  # fmt: skip
    found = [str(problem) for problem in caught.value.problems]
    assert [line.split(":")[0] for line in found] == ["golden[0].label", "gates[0].label"]
    assert "did you mean 'yes'?" in found[1]
    assert model.asked == 0
    with pytest.raises(ConfigError, match="'recall:yess' names the label 'yess'"):
        evaluated([{"kind": "floor", "metric": "recall:yess", "minimum": 0.5}], rows_table(40), model, model)


def test_a_metric_of_one_label() -> None:
    """`recall:yes` is that label's share that is found."""
    model = answering(with_errors(400, range(1, 80, 2)))
    gate = {"kind": "floor", "metric": "recall:yes", "minimum": 0.7}
    report, _ = evaluated([gate], rows_table(400), model, None, metrics=["recall:yes", "brier"])
    assert report.gates[0].value == pytest.approx(160 / 200)
    assert [found.metric for found in report.metrics] == ["recall:yes", "brier", "accuracy", "macro_f1"]


OWN = """\
import datasets
import evaluate


class Mine(evaluate.Metric):
    def _info(self):
        ids = datasets.Value("int64")
        features = datasets.Features({"predictions": ids, "references": ids})
        return evaluate.MetricInfo(description="", citation="", inputs_description="", features=features)

    def _compute(self, predictions, references):
        return {"mine": sum(p == r for p, r in zip(predictions, references)) / len(references)}
"""


def test_a_metric_of_ones_own(tmp_path: Path) -> None:
    """Named by its file, in metrics and in gates, and reported by the file's name: no path goes into a report."""
    path = tmp_path / "mine.py"
    path.write_text(OWN, encoding="utf-8")
    gates: list[dict[str, Any]] = [
        {"kind": "floor", "metric": str(path), "minimum": 0.8},
        {"kind": "non-inferiority", "metric": str(path), "margin": 0.05},
        {"kind": "slices", "metric": str(path), "margin": 0.1, "slices": ["source"]},
        {"kind": "worst-slice", "metric": str(path), "minimum": 0.5, "slices": ["source"]},
    ]  # fmt: skip
    table = rows_table(300, source=["a", "b", "c"] * 100)
    report, _ = evaluated(
        gates, table, answering(with_errors(300, slice(0, 32))), answering(with_errors(300, slice(0, 30))),
        metrics=[str(path), "mcc", "f1:yes"],
    )  # fmt: skip
    assert [found.metric for found in report.metrics] == ["mine", "mcc", "f1:yes", "accuracy", "macro_f1"]
    assert [(gate.metric, gate.verdict) for gate in report.gates] == [("mine", "pass")] * 4
    assert report.metrics[0].candidate.value == report.metrics[3].candidate.value == pytest.approx(268 / 300)
    assert str(tmp_path) not in report.model_dump_json()


def test_costs_that_nobody_knows_leave_a_gate_open() -> None:
    """The size of a service, the memory of what is no folder: inconclusive with the reason, and no crash."""
    gates = [{"kind": "ratio", "metric": name, "maximum": 2.0} for name in ("size", "memory", "latency_p99")]
    report, _ = evaluated(gates, rows_table(40), answering(truth(40), size=0), answering(truth(40), name="baseline"))
    size, memory, latency = report.gates
    assert (size.verdict, memory.verdict) == ("inconclusive", "inconclusive")
    assert "size of a service is not known" in size.explanation
    assert "takes the model folders" in memory.explanation
    assert latency.rows == 8
    assert {cost.cost for cost in report.costs} == {"throughput", "latency_p50", "latency_p95", "latency_p99"}
    for cost in report.costs:
        assert len(cost.baseline_rounds) == len(cost.candidate_rounds) == 5
    report, _ = evaluated([], rows_table(40), answering(truth(40)), answering(truth(40), name="baseline"))
    assert {cost.cost for cost in report.costs} == {"throughput", "latency_p50", "latency_p95", "size"}


def test_cases_are_slices_and_can_be_judged_alone() -> None:
    """A gate on a case judges its rows; another judges all; the report says where the rows are from."""
    rows = 400
    table = rows_table(rows, case=["easy"] * 200 + ["hard"] * 200)
    cases = [{"name": name, "source": {"path": "x.csv"}} for name in ("easy", "hard")]
    floor = {"kind": "floor", "metric": "accuracy", "minimum": 0.8}
    gates = [floor, floor | {"case": "easy"}, floor | {"case": "hard"},
             {"kind": "gap", "metric": "error_rate", "slice": "text length", "maximum": 0.9, "case": "easy"},
             {"kind": "flips", "maximum": 0.3, "case": "hard"}]  # fmt: skip
    made = Suite.model_validate({"gates": gates, "cases": cases, "resamples": 1000, "timing_rows": 8,
                                 "timing_rounds": 5})  # fmt: skip
    told = tuple(CaseResult(name=name, rows=200, digest="d" * 64, licence="MIT") for name in ("easy", "hard"))
    report, _ = evaluate_models(
        made, table, candidate=answering(with_errors(rows, slice(300, 400))), baseline=answering(truth(rows)),
        dataset=DATASET, name="demo", task="text-classification", cases=told, created="2030-01-01T00:00:00+00:00",
    )  # fmt: skip
    assert [(gate.case, gate.rows, gate.verdict) for gate in report.gates[:3]] == [
        ("", 400, "fail"), ("easy", 200, "pass"), ("hard", 200, "fail"),
    ]  # fmt: skip
    assert [gate.candidate for gate in report.gates[:3]] == [0.75, 1.0, 0.5]
    assert (report.gates[3].case, report.gates[4].rows, report.gates[4].value) == ("easy", 200, 0.5)
    assert {part.value for part in report.slices if part.slice == "case"} == {"easy", "hard"}
    assert (report.cases, report.created) == (told, "2030-01-01T00:00:00+00:00")


def test_texts_stay_in_arrow() -> None:
    """A hundred thousand strings are not made of the table: what the answers hold reads it row by row."""
    table = rows_table(300, source=[None, "a", "b"] * 100)
    report, answers = evaluated([], table, answering(truth(300)), answering(with_errors(300, slice(7, 9))))
    assert not any(isinstance(part, list) for part in (answers.texts, answers.ids, *answers.columns.values()))
    assert (answers.texts[7], answers.ids[7], answers.columns["source"][6]) == ("text 7", "row 7", "")
    assert answers.texts[-2:] == ["text 298", "text 299"]
    assert {part.value for part in report.slices if part.slice == "source"} == {"(none)", "a", "b"}
    assert answers.candidate.probabilities.shape == (300, 2)
    assert answers.candidate.probabilities.dtype == np.float32


def test_memory_does_not_grow_with_the_texts() -> None:
    """Of 2,000 characters a row nothing is held but the two pieces that models are asked with."""
    gates: list[dict[str, Any]] = [
        {"kind": "flips", "maximum": 0.1}, {"kind": "slices", "margin": 0.1}, {"kind": "consistency", "rows": 64},
        {"kind": "robustness", "perturbation": "length", "maximum": 0.1, "rows": 64},
    ]  # fmt: skip
    long = "word " * 400
    peaks = {}
    for rows in (400, 17_000, 34_000):  # the first imports what is needed
        columns = pa.array([f"text {row} {long}" for row in range(rows)])
        table = rows_table(rows, source=["a", "b"] * (rows // 2)).set_column(0, "text", columns)
        models = answering(with_errors(rows, slice(0, 9))), answering(truth(rows), name="baseline")
        tracemalloc.start()
        evaluated(gates, table, *models)
        peaks[rows] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert (peaks[34_000] - peaks[17_000]) / 17_000 < 1000


def test_every_kind_of_gate_has_a_judge() -> None:
    """No kind that a suite may name is without one."""
    union = get_args(get_args(Gate)[0])
    assert set(JUDGES) == set(union)


def test_real_artifacts(tiny: TinyRun) -> None:
    """The checkpoint in torch and the compressed model of a run, with every kind of gate: what is asked of both is
    answered, twice the same."""
    onnx, compressed = artifact(tiny.run, "onnx"), artifact(tiny.run, "compressed")
    table = read_split(artifact(tiny.run, "dataset"), "test")
    gates: list[dict[str, Any]] = [
        {"kind": "non-inferiority", "metric": "macro_f1", "margin": 0.3},
        {"kind": "equivalence", "metric": "accuracy", "margin": 0.3}, {"kind": "superiority", "metric": "accuracy"},
        {"kind": "floor", "metric": "roc_auc", "minimum": 0.1}, {"kind": "ceiling", "metric": "brier", "maximum": 2},
        {"kind": "calibration", "margin": 0.3}, {"kind": "slices", "margin": 0.3},
        {"kind": "worst-slice", "minimum": 0.1}, {"kind": "flips", "maximum": 0.3},
        {"kind": "robustness", "perturbation": "typos", "margin": 0.3, "rows": 32},
        {"kind": "directional", "add": "Good.", "label": open_label(onnx), "maximum": 0.9, "rows": 32},
        {"kind": "consistency", "rows": 16, "maximum": 0.5}, {"kind": "ratio", "metric": "size", "maximum": 1.5},
        {"kind": "gap", "metric": "error_rate", "slice": "label", "maximum": 0.9},
    ]  # fmt: skip
    suite = Suite.model_validate(
        {"gates": gates, "resamples": 1000, "timing_rows": 8, "timing_rounds": 5, "slice_rows": 10}
    )
    reports = []
    for _ in range(2):
        baseline, candidate = open_model(str(tiny.run / "checkpoint")), open_local("compressed", compressed)
        report, answers = evaluate_models(suite, table, baseline=baseline, candidate=candidate, dataset=DATASET,
                                          name="tiny", task="text-classification")  # fmt: skip
        reports.append(report.model_dump(exclude={"costs", "noise"}))
        assert len(answers) == table.num_rows == report.rows
        assert [gate.kind for gate in report.gates] == [gate["kind"] for gate in gates]
        assert report.baseline.kind == "checkpoint"
        assert (report.candidate.kind, report.candidate.name) == ("compressed", "compressed")
        assert report.reliability is not None
        assert sum(found.rows for found in report.reliability.candidate) == report.rows
        assert [found.name for found in report.robustness] == ["typos", "Good.", "alone", "reordered"]
        assert not report.identical
    assert reports[0] == reports[1]
    assert identical(open_local("onnx", onnx), open_local("again", onnx)), "whatever a model is called"


def open_label(model: Any) -> str:
    return LocalModel("x", "onnx", model.path, digest="").labels[-1]


def test_sets_that_hold_from_elsewhere_on_are_other_answers(tmp_path: Path) -> None:
    """Equal files and temperatures are not enough; of one label a row thresholds decide about a fallback, which is not
    judged."""
    for name in ("one", "other"):
        write_model_folder(tmp_path / name)

    def alike(task: str, thresholds: dict[str, float]) -> bool:
        parts: tuple[tuple[str, dict[str, float]], ...] = (("one", {}), ("other", thresholds))
        for name, least in parts:
            signature = read_signature(tmp_path / name).model_copy(update={"task": task, "thresholds": least})
            write_signature(tmp_path / name, signature)
        models = [LocalModel(name, "onnx", tmp_path / name, digest=name) for name in ("one", "other")]
        return identical(*models)

    assert alike("multi-label-classification", {})
    assert not alike("multi-label-classification", {"positive": 0.3})
    assert alike("text-classification", {"positive": 0.3})
