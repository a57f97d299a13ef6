"""Suites: keys, defaults, and every error at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from ftdeploy.document import Section
from ftdeploy.errors import ConfigError
from ftdeploy.metrics import CLASS_METRICS, METRICS, SCORE_METRICS
from ftdeploy.suite import Floor, Golden, NonInferiority, Ratio, Suite, load_suite, suites_folder, wants_baseline
from ftdeploy.validate.crosscheck import _MODULES, metric_module

WRONG = """\
version: 1
metrics: [acuracy]
gatess: []
gates:
  - kind: non-inferiority
    metric: accuracy
    margn: 0.02
  - kind: non-inferiorty
    metric: accuracy
    margin: 0.02
  - {kind: floor, metric: f1, minimum: 1.5}
  - {kind: ratio, metric: throughput, maximum: 1.0}
  - {kind: ratio, metric: size}
golden:
  - {text: fine}
resamples: 10
"""


def _write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "suite.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_every_problem_is_reported_at_once(tmp_path: Path) -> None:
    """Misspelt keys, kinds and metrics, missing and impossible values: all in one error, each with line and hint."""
    with pytest.raises(ConfigError) as caught:
        load_suite(_write(tmp_path, WRONG))
    found = [str(problem) for problem in caught.value.problems]
    for line, words in (
        (2, "did you mean 'accuracy'?"),
        (3, "gatess: unknown key (did you mean 'gates'?)"),
        (5, "gates[0].margin: is required"),
        (7, "gates[0].margn: unknown key (did you mean 'margin'?)"),
        (8, "did you mean 'non-inferiority'?"),
        (11, "'f1' is not a metric"),
        (11, "less than or equal to 1"),
        (12, "throughput wants a minimum"),
        (13, "exactly one of minimum and maximum is wanted"),
        (15, "label: is required"),
        (16, "greater than or equal to 1000"),
    ):
        assert any(f"line {line}:" in problem and words in problem for problem in found), (line, words, found)


def test_the_suite_of_the_recipe_loads() -> None:
    """sentiment.yaml is a suite with gates on quality, speed and size, and golden rows for both labels."""
    suite = load_suite(suites_folder() / "sentiment.yaml")
    judged = {(gate.kind, getattr(gate, "metric", "")) for gate in suite.gates}
    assert {("non-inferiority", "accuracy"), ("non-inferiority", "macro_f1"), ("ratio", "throughput")} <= judged
    assert {row.label for row in suite.golden} == {"positive", "negative"}


def test_every_suite_that_comes_along_loads() -> None:
    """No suite of the folder has an error."""
    paths = sorted(suites_folder().glob("*.yaml"))
    assert paths
    for path in paths:
        assert load_suite(path).name == path.stem


def test_a_suite_without_anything_is_the_default(tmp_path: Path) -> None:
    """The version alone is a suite."""
    assert load_suite(_write(tmp_path, "version: 1\n")) == Suite()


def test_a_suite_cannot_be_changed() -> None:
    """Suites are frozen."""
    with pytest.raises(ValueError, match="frozen"):
        Suite().name = "other"  # type: ignore[misc]  # that is the test


@pytest.mark.parametrize(
    ("gate", "words"),
    [
        ("{kind: floor, metric: brier, minimum: 0.1}", "a ceiling gate is meant"),
        ("{kind: ceiling, metric: accuracy, maximum: 0.1}", "a floor gate is meant"),
        ("{kind: ceiling, metric: 'f1:spam', maximum: 0.1}", "a floor gate is meant"),
        ("{kind: worst-slice, metric: ece, minimum: 0.1}", "lower is better"),
        ("{kind: floor, metric: ecee, minimum: 0.1}", "did you mean 'ece'?"),
    ],
)
def test_a_limit_goes_with_the_metric(gate: str, words: str, tmp_path: Path) -> None:
    """A minimum for scores, a maximum for errors; said before any model is asked."""
    with pytest.raises(ConfigError) as caught:
        load_suite(_write(tmp_path, f"gates: [{gate}]\n"))
    assert words in str(caught.value.problems[0])


def test_what_keys_say_of_each_other_is_reported_by_its_place(tmp_path: Path) -> None:
    """A gate's case that there is not, two cases of one name: all of them, with line and hint."""
    text = (
        "cases:\n  - {name: support, source: {path: a.csv}}\n  - {name: support, source: {path: b.csv}}\ngates:\n"
        "  - {kind: flips, maximum: 0.1, case: suport}\n  - {kind: flips, maximum: 0.1, case: support}\n"
    )
    with pytest.raises(ConfigError) as caught:
        load_suite(_write(tmp_path, text))
    assert list(map(str, caught.value.problems)) == [
        "line 3: cases[1].name: two cases are called 'support'",
        "line 5: gates[0].case: the suite has no case 'suport' (did you mean 'support'?)",
    ]


def test_a_gate_with_a_case_where_there_are_none(tmp_path: Path) -> None:
    """There is nothing that could have been meant, so that it is told to go."""
    with pytest.raises(ConfigError) as caught:
        load_suite(_write(tmp_path, "gates: [{kind: flips, maximum: 0.1, case: suport}]\n"))
    (problem,) = caught.value.problems
    assert str(problem).endswith("no case 'suport' (leave it out: there are no cases)")


def test_columns_that_do_not_fit_are_reported_by_their_case(tmp_path: Path) -> None:
    """As any other fault is; and each of them."""
    text = (
        "cases:\n  - name: one\n    source: {path: a.csv}\n    columns: {label: null}\n"
        "  - name: two\n    source: {path: b.csv}\n    columns: {label_separator: ','}\n"
    )
    with pytest.raises(ConfigError) as caught:
        load_suite(_write(tmp_path, text))
    first, second = map(str, caught.value.problems)
    assert first.startswith("line 4: cases[0].columns: case one: `columns.label` is null, and text-classification")
    assert second.startswith("line 7: cases[1].columns: case two: `columns.label_separator` goes with")


def test_metrics_of_probabilities_of_a_label_and_of_ones_own(tmp_path: Path) -> None:
    """By name, by label, or by a path that starts at the suite's folder."""
    suite = load_suite(_write(tmp_path, "metrics: [brier, 'recall:spam', own.py]\n"))
    assert suite.metrics == ("brier", "recall:spam", str(tmp_path / "own.py"))


def test_which_gates_want_a_baseline() -> None:
    """Those that compare; of robustness gates those with a margin."""
    gates = [
        {"kind": "non-inferiority", "metric": "accuracy", "margin": 0.1}, {"kind": "calibration", "margin": 0.1},
        {"kind": "flips", "maximum": 0.1}, {"kind": "ratio", "metric": "size", "maximum": 1},
        {"kind": "robustness", "perturbation": "case", "margin": 0.1},
        {"kind": "robustness", "perturbation": "case", "maximum": 0.1}, {"kind": "consistency"},
        {"kind": "floor", "metric": "accuracy", "minimum": 0.1}, {"kind": "worst-slice", "minimum": 0.1},
    ]  # fmt: skip
    found = [wants_baseline(gate) for gate in Suite.model_validate({"gates": gates}).gates]
    assert found == [True] * 5 + [False] * 4


@pytest.mark.parametrize("section", [Suite, NonInferiority, Floor, Ratio, Golden])
def test_every_key_is_documented(section: type[Section]) -> None:
    """The docstring under a field is its documentation, and none is without."""
    assert all(field.description for field in section.model_fields.values())


def test_every_metric_has_its_evaluate_module() -> None:
    """What a suite may name, `evaluate` can load from the folder, if under its own name for it."""
    for name in (*METRICS, *SCORE_METRICS, *CLASS_METRICS):
        assert metric_module(_MODULES.get(name, (name, {}))[0]).is_file()
