"""What is said of a suite before a model is run."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import TypeAdapter

from ftdeploy.evaluation.cases import gather
from ftdeploy.evaluation.plan import decides, in_words, plan
from ftdeploy.statistics import compare
from ftdeploy.suite import Gate, Suite

GATES: list[dict[str, Any]] = [
    {"kind": "non-inferiority", "metric": "accuracy", "margin": 0.02},
    {"kind": "equivalence", "metric": "accuracy", "margin": 0.02},
    {"kind": "superiority", "metric": "accuracy"},
    {"kind": "floor", "metric": "accuracy", "minimum": 0.8},
    {"kind": "ceiling", "metric": "ece", "maximum": 0.1},
    {"kind": "calibration", "margin": 0.02},
    {"kind": "slices", "margin": 0.05},
    {"kind": "worst-slice", "minimum": 0.7},
    {"kind": "flips", "maximum": 0.03},
    {"kind": "robustness", "perturbation": "typos", "maximum": 0.2},
    {"kind": "robustness", "perturbation": "typos", "margin": 0.05},
    {"kind": "directional", "add": "Good.", "label": "good", "maximum": 0.1},
    {"kind": "consistency"},
    {"kind": "ratio", "metric": "size", "maximum": 1.0},
    {"kind": "gap", "metric": "error_rate", "slice": "kind", "maximum": 0.1},
]


def gate(document: dict[str, Any]) -> Any:
    return TypeAdapter(Gate).validate_python(document)


def test_every_kind_of_gate_has_words() -> None:
    """None is forgotten here when one is added to suites."""
    kinds = {one.model_fields["kind"].annotation for one in get_args(get_args(Gate)[0])}
    assert {get_args(kind)[0] for kind in kinds} == {document["kind"] for document in GATES}
    for document in GATES:
        says, _ = decides(gate(document), 1000, Suite())
        assert says
        assert in_words(gate(document)).startswith(document["kind"])


def test_a_gate_in_words_says_what_it_wants() -> None:
    """Its keys, and its case."""
    assert in_words(gate(GATES[0] | {"case": "films"})) == (
        "non-inferiority: metric accuracy, margin 0.02, method bootstrap (case films)"
    )
    assert in_words(gate({"kind": "slices", "margin": 0.05, "slices": ["label"]})) == (
        "slices: metric accuracy, margin 0.05, slices label, rule all-proven"
    )


@pytest.mark.parametrize(("rows", "enough"), [(200, False), (5000, True)])
def test_few_rows_cannot_support_a_narrow_margin(rows: int, enough: bool) -> None:
    """As the gate itself would find, of two equal models that differ on 4% of the rows."""
    import numpy as np

    from ftdeploy.metrics import METRICS

    assert decides(gate(GATES[0]), rows, Suite())[1] is enough
    references = np.zeros(rows, dtype=np.int64)
    before, after = references.copy(), references.copy()
    before[: rows // 50] = 1
    after[-(rows // 50) :] = 1
    found = compare(METRICS["accuracy"], references, before, after, classes=2, margin=0.02, confidence=0.95,
                    resamples=1000, seed=1)  # fmt: skip
    assert (found.verdict == "pass") is enough


def test_a_share_that_nothing_can_show_says_how_many_rows_would() -> None:
    """With no change at all the upper end for n rows is 1 - 0.05^(1/n)."""
    says, enough = decides(gate({"kind": "flips", "maximum": 0.01}), 100, Suite())
    assert (enough, says) == (False, "100 rows cannot show it even where nothing changes; about 299 would")
    assert decides(gate({"kind": "flips", "maximum": 0.01}), 299, Suite())[1]


def test_a_plan_has_rows_gates_and_what_is_odd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Labels by case, columns that rows are cut by, and labels that are named and that no row has."""
    monkeypatch.setenv("FTDEPLOY_CACHE", str(tmp_path / "cache"))
    (tmp_path / "a.csv").write_text("text,label,kind\nfine,good,x\npoor,bad,y\n", encoding="utf-8")
    (tmp_path / "b.csv").write_text("text,label\nfine,good\n", encoding="utf-8")
    suite = Suite.model_validate({
        "name": "demo",
        "cases": [{"name": "a", "source": {"path": str(tmp_path / "a.csv")}, "slices": ["kind"]},
                  {"name": "b", "source": {"path": str(tmp_path / "b.csv")}}],
        "gates": [{"kind": "flips", "maximum": 0.5, "case": "b"},
                  {"kind": "floor", "metric": "accuracy", "minimum": 0.8}],
        "golden": [{"text": "well", "label": "goood"}],
    })  # fmt: skip
    found = plan(suite, gather(suite.cases, seed=1, task=suite.task))
    assert (found["suite"], found["rows"], found["golden"]) == ("demo", 3, 1)
    assert [(case["name"], case["rows"], case["labels"]) for case in found["cases"]] == [
        ("a", 2, {"bad": 1, "good": 1}),
        ("b", 1, {"good": 1}),
    ]
    assert found["slices"] == ["text length", "label", "case", "kind"]
    assert [(one["case"], one["baseline"]) for one in found["gates"]] == [("b", True), ("", False)]
    assert found["gates"][0]["decides"].startswith("1 rows cannot show it")
    assert found["notes"] == [
        "a golden row names the label 'goood', which no row has",
        "case b has no row with the label 'bad'",
    ]
