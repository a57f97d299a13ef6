"""What of a suite is made for another task than that of the models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ftdeploy.errors import ConfigError
from ftdeploy.evaluation.listing import read_suite
from ftdeploy.suite import Suite
from ftdeploy.suite_fit import misfits
from ftdeploy.tasks import TASKS


def _places(suite: dict[str, Any], task: str) -> list[str]:
    return [problem.path for problem in misfits(Suite.model_validate(suite), TASKS[task])]


@pytest.mark.parametrize(
    "metric",
    ["entity_f1", "entity_recall:X", "r2", "rmse", "spearman", "label_mcc", "label_f1:x", "neighbour_agreement"],
)
def test_metrics_of_whole_answers_do_not_go_with_one_label_a_row(metric: str) -> None:
    """Wherever they are named: such a suite would end a run in a traceback, when everything is trained."""
    gate = {"kind": "non-inferiority", "metric": metric, "margin": 0.1}
    suite = {"metrics": ["accuracy", metric], "gates": [{"kind": "flips", "maximum": 0.1}, gate]}
    assert _places(suite, "text-classification") == ["metrics[1]", "gates[1].metric"]


@pytest.mark.parametrize("task", TASKS)
def test_what_a_task_measures_goes_with_it(task: str) -> None:
    """And the metrics that a suite leaves out are the task's own."""
    measures = TASKS[task].measures or ("accuracy", "brier", "f1:x", "/home/r2.py")
    assert _places({"metrics": measures, "gates": []}, task) == []
    assert _places({"gates": []}, task) == []


@pytest.mark.parametrize("task", [name for name in TASKS if not TASKS[name].one_label])
def test_what_is_made_for_labels_does_not_go_with_whole_answers(task: str) -> None:
    """Metrics, gates on probabilities, swaps, and, where an answer is no name, golden rows."""
    suite = {
        "metrics": ["macro_f1"],
        "gates": [{"kind": "calibration", "margin": 0.1}, {"kind": "floor", "metric": "f1:x", "minimum": 0.1}],
        "swaps": [{"name": "s", "pairs": [["he", "she"]]}],
        "golden": [{"text": "a", "label": "x"}],
    }
    golden = ["golden[0]"] if TASKS[task].vectors or TASKS[task].number else []
    assert _places(suite, task) == ["gates[0]", "swaps[0]", *golden, "metrics[0]", "gates[1].metric"]


def test_a_suite_that_is_run_by_itself_is_held_against_its_own_task(tmp_path: Path) -> None:
    """With lines and what was probably meant, before rows are read; `--set` counts."""
    path = tmp_path / "suite.yaml"
    path.write_text("metrics: [accuracy,\n  entity_f1]\ngates:\n  - {kind: floor, metric: r2, minimum: 0.1}\n", "utf-8")
    with pytest.raises(ConfigError) as caught:
        read_suite(path)
    first, second = map(str, caught.value.problems)
    assert first.startswith("line 2: metrics[1]: 'entity_f1' is a metric of spans (token-classification), and text-cl")
    assert "did you mean" in first
    assert second.startswith("line 4: gates[0].metric: 'r2' is a metric of numbers (text-regression), and text-class")
    assert read_suite(path, overrides=["task=token-classification", "gates=[]"]).metrics == ("accuracy", "entity_f1")
    with pytest.raises(ConfigError, match="1 problem") as caught:
        read_suite(path, overrides=["gates=[]", "metrics=[r2]"])
    assert "metrics[0]" in str(caught.value.problems[0])
    assert str(caught.value.problems[0]).count("(given with --set)") == 1
