"""The bridge to `evaluate`: our cases there, and its suites here."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tiny import WORDS, write_model_folder
from tiny_pairs import write_pair_model

from ftdeploy.errors import ConfigError, DataError
from ftdeploy.evaluation import evaluate_suite
from ftdeploy.evaluation.cases import gather
from ftdeploy.evaluation.hf import read_evaluate_suite, subtasks
from ftdeploy.suite import load_suite

ROOT = Path(__file__).parents[1]
LABELS = ("negative", "positive")
FAST = {"resamples": 1000, "timing_rounds": 5, "timing_rows": 8}
SUITE = """\
import evaluate
from evaluate.evaluation_suite import SubTask

class Suite(evaluate.EvaluationSuite):
    def __init__(self, name):
        super().__init__(name)
        self.suite = [{tasks}]
"""
ARGUMENTS: dict[str, Any] = {
    "metric": "accuracy", "input_column": "says", "label_column": "mood",
    "label_mapping": {"negative": 0, "positive": 1},
}  # fmt: skip


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder and a cache of the test's own, and a tiny model."""
    monkeypatch.setenv("FTDEPLOY_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    write_model_folder(tmp_path / "model")
    return tmp_path


def plain_evaluate(suite: Path) -> list[dict[str, Any]]:
    """What `evaluate` itself finds with the tiny model, in a process and with caches of its own, without a network."""
    code = (
        "import evaluate, json, sys\n"
        "from ftdeploy.models import as_pipeline, open_model\n"
        "found = evaluate.EvaluationSuite.load(sys.argv[1]).run(as_pipeline(open_model('model')))\n"
        "keep = [{k: v for k, v in one.items() if isinstance(v, float)} for one in found]\n"
        "print(json.dumps(keep))"
    )
    settings = {**os.environ, "HF_HOME": str(suite.parent / "hf"), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-c", code, str(suite)]
    found = subprocess.run(command, capture_output=True, text=True, check=False, env=settings)
    assert found.returncode == 0, found.stderr
    answer: list[dict[str, Any]] = json.loads(found.stdout.splitlines()[-1])
    return answer


def rows(count: int) -> list[tuple[str, int]]:
    """Texts that the tiny model answers rightly, but for each tenth."""
    return [(f"the film was {WORDS[n % 10]} number {n}", (n % 10 // 5) ^ (n % 10 == 0)) for n in range(count)]


def hub_folder(folder: Path, counts: dict[str, int]) -> Path:
    """A data set in the hub's layout: a configuration `films`, with splits of so many rows."""
    for split, count in counts.items():
        path = folder / "films" / f"{split}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        texts, moods = zip(*rows(count), strict=True)
        pq.write_table(pa.table({"says": texts, "mood": moods}), path)
    files = "".join(f"  - split: {split}\n    path: films/{split}.parquet\n" for split in counts)
    header = f"---\nconfigs:\n- config_name: films\n  data_files:\n{files}---\n"
    (folder / "README.md").write_text(header, encoding="utf-8")
    return folder


def suite_file(folder: Path, *tasks: dict[str, Any]) -> Path:
    path = folder / "theirs.py"
    told = ", ".join("SubTask(" + ", ".join(f"{key}={value!r}" for key, value in task.items()) + ")" for task in tasks)
    path.write_text(SUITE.format(tasks=told), encoding="utf-8")
    return path


def task(folder: Path, **keys: Any) -> dict[str, Any]:
    return {"task_type": "text-classification", "data": os.fspath(folder), "subset": "films", "split": "test",
            "args_for_task": dict(ARGUMENTS)} | keys  # fmt: skip


def test_a_suite_of_theirs_has_the_figures_that_evaluate_finds(here: Path) -> None:
    """Subset, split, columns and mapping are honoured: the same accuracy on the same rows, by both programs."""
    accuracy = str(ROOT / "evaluation_suites" / "metrics" / "accuracy.py")  # by its name alone it would be fetched
    path = suite_file(here, task(hub_folder(here / "data", {"test": 50, "train": 30}),
                                 args_for_task=ARGUMENTS | {"metric": accuracy}))  # fmt: skip
    suite, found = read_evaluate_suite(path, gated=False)
    assert (suite.name, suite.metrics, suite.gates) == ("theirs", ("accuracy",), ())
    assert len(found) == 50
    assert found.names == LABELS
    assert found.cases[0].source == "data set data, films, test"
    suite = suite.model_copy(update=FAST)
    report = evaluate_suite(suite, rows=found, candidate="model", report=here / "out").report
    (ours,) = (result.candidate.value for result in report.metrics if result.metric == "accuracy")
    (result,) = plain_evaluate(path)
    assert result["accuracy"] == ours == 0.9


def test_with_a_baseline_there_are_gates(here: Path) -> None:
    """Non-inferiority of each metric, by a margin that so many rows support; each subtask is a case."""
    data = hub_folder(here / "data", {"test": 50, "train": 30})
    f1 = ARGUMENTS | {"metric": "f1"}
    suite, found = read_evaluate_suite(
        suite_file(here, task(data), task(data, split="train", args_for_task=f1)), gated=True
    )
    assert [(gate.kind, getattr(gate, "metric", "")) for gate in suite.gates] == [
        ("non-inferiority", "accuracy"), ("non-inferiority", "macro_f1"),
    ]  # fmt: skip
    assert [(case.name, case.rows) for case in found.cases] == [("data-films-test", 50), ("data-films-train", 30)]
    suite = suite.model_copy(update=FAST)
    report = evaluate_suite(suite, rows=found, candidate="model", baseline="model", report=here / "out").report
    assert (report.verdict, report.rows) == ("pass", 80)


def test_data_of_the_suites_own_code(here: Path) -> None:
    """A data set that the module makes, with named classes, a preprocessor, and labels as text."""
    (here / "theirs.py").write_text(
        "import datasets, evaluate\nfrom evaluate.evaluation_suite import SubTask\n"
        "named = datasets.Dataset.from_dict({'text': ['BAD', 'GOOD'], 'label': [0, 1]}, features=datasets.Features({"
        "'text': datasets.Value('string'), 'label': datasets.ClassLabel(names=['negative', 'positive'])}))\n"
        "plain = datasets.Dataset.from_dict({'text': ['good'], 'label': ['positive']})\n"
        "lower = lambda row: {'text': row['text'].lower()}\n"
        "class Suite(evaluate.EvaluationSuite):\n    def __init__(self, name):\n        super().__init__(name)\n"
        "        self.suite = [SubTask('text-classification', named, data_preprocessor=lower),\n"
        "                      SubTask('sentiment-analysis', plain)]\n",
        encoding="utf-8",
    )
    suite, found = read_evaluate_suite(here / "theirs.py", gated=False)
    assert suite.metrics == ("accuracy",)
    assert found.table.select(["text", "label", "case"]).to_pylist() == [
        {"text": "bad", "label": "negative", "case": "task-1"},
        {"text": "good", "label": "positive", "case": "task-1"},
        {"text": "good", "label": "positive", "case": "task-2"},
    ]


@pytest.mark.parametrize(
    ("keys", "error", "words"),
    [
        ({"task_type": "summarization"}, ConfigError, "task 'summarization'"),
        ({"args_for_task": ARGUMENTS | {"metric": "acuracy"}}, ConfigError, "metric 'acuracy' is not known"),
        ({"args_for_task": ARGUMENTS | {"second_input_column": "b"}}, DataError, "no column 'b'"),
        (
            {"task_type": "token-classification", "args_for_task": {"metric": "accuracy"}},
            ConfigError,
            "metric 'accuracy' is not known for token-classification",
        ),
        ({"args_for_task": ARGUMENTS | {"input_column": "syas"}}, DataError, "no column 'syas'"),
        ({"args_for_task": ARGUMENTS | {"label_mapping": None}}, DataError, "nothing says which label is which"),
        ({"split": "tset"}, DataError, "cannot be loaded"),
        ({"subset": "flims"}, DataError, "cannot be loaded"),
    ],
)
def test_faults_name_the_subtask(here: Path, keys: dict[str, Any], error: type[Exception], words: str) -> None:
    """Which one, and what is wrong with it."""
    path = suite_file(here, task(hub_folder(here / "data", {"test": 10}), **keys))
    with pytest.raises(error, match=r"theirs\.py, subtask 1") as caught:
        read_evaluate_suite(path, gated=False)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("1/0", "ZeroDivisionError"),
        ("class Suite: pass", "no class Suite that is"),
        (SUITE.format(tasks=""), "no subtasks"),
        ("raise SystemError('x')", "SystemError: x"),
    ],
)
def test_a_module_that_is_no_suite(here: Path, code: str, words: str) -> None:
    """What it raises, or lacks."""
    (here / "theirs.py").write_text(code, encoding="utf-8")
    with pytest.raises(ConfigError, match=words):
        read_evaluate_suite(here / "theirs.py", gated=False)


def write_ours(folder: Path) -> None:
    """``ours_suite.py``: the suite of ``ours.yaml`` as one of `evaluate`."""
    (folder / "ours_suite.py").write_text(
        "import evaluate\nfrom ftdeploy.evaluation.hf import subtasks\n\n"
        "class Suite(evaluate.EvaluationSuite):\n    def __init__(self, name):\n        super().__init__(name)\n"
        f"        self.suite = subtasks({str(folder / 'ours.yaml')!r})\n",
        encoding="utf-8",
    )


def test_our_cases_run_in_evaluate(here: Path) -> None:
    """A module with `subtasks` is a suite of `evaluate`, copied and imported by it, with the metrics of the report."""
    with (here / "rows.csv").open("w", encoding="utf-8", newline="") as handle:
        named = [(text, LABELS[label]) for text, label in rows(50)]
        csv.writer(handle).writerows([("text", "label"), *named])
    (here / "ours.yaml").write_text(
        "name: ours\nmetrics: [accuracy, macro_f1]\ncases: [{name: films, source: {path: rows.csv}}]\n"
        "gates: []\nresamples: 1000\ntiming_rounds: 5\ntiming_rows: 8\n",
        encoding="utf-8",
    )
    write_ours(here)
    (found,) = plain_evaluate(here / "ours_suite.py")
    suite, read = read_evaluate_suite(here / "ours_suite.py", gated=False)
    assert len(read) == 50
    assert suite.metrics == ("accuracy", "macro_f1")
    report = evaluate_suite(load_suite(here / "ours.yaml"), candidate="model", report=here / "out").report
    for result in report.metrics:
        assert found[result.metric] == pytest.approx(result.candidate.value)


def test_pairs_go_both_ways(here: Path) -> None:
    """A second column of theirs makes pairs here, and pairs of ours a second column there: the same rows, and the
    figures that `evaluate` finds."""
    shutil.rmtree(here / "model")
    write_pair_model(here / "model")
    lines = [f"{text} {n},{WORDS[n % 10]},{LABELS[label]}" for n, (text, label) in enumerate(rows(60))]
    (here / "rows.csv").write_text("\n".join(["claim,proof,label", *lines]) + "\n", encoding="utf-8")
    (here / "ours.yaml").write_text(
        "name: ours\nmetrics: [accuracy]\ngates: []\nresamples: 1000\ntiming_rounds: 5\ntiming_rows: 8\n"
        "cases: [{name: films, source: {path: rows.csv}, columns: {text: claim, text_pair: proof}}]\n",
        encoding="utf-8",
    )
    write_ours(here)
    _, read = read_evaluate_suite(here / "ours_suite.py", gated=False)
    ours = load_suite(here / "ours.yaml")
    assert read.pairs
    assert read.table["text"].to_pylist() == gather(ours.cases, seed=1, task=ours.task).table["text"].to_pylist()
    report = evaluate_suite(ours, candidate="model", report=here / "out").report
    (accuracy,) = (result.candidate.value for result in report.metrics if result.metric == "accuracy")
    (found,) = plain_evaluate(here / "ours_suite.py")
    assert found["accuracy"] == pytest.approx(accuracy)


@pytest.mark.parametrize("numbers", [True, False])
def test_entities_of_theirs(here: Path, numbers: bool) -> None:
    """Words with tags, as names or as numbers with names, joined by what the subtask says; faults have their place."""
    names = ["O", "B-Chemical", "B-Disease", "I-Disease"]
    words, tags = ["Aspirin", "eases", "acute", "headache"], [1, 0, 2, 3]
    told: Any = tags if numbers else [names[tag] for tag in tags]
    inner = f"datasets.ClassLabel(names={names!r})" if numbers else "datasets.Value('string')"
    module = (
        "import datasets, evaluate\nfrom evaluate.evaluation_suite import SubTask\n"
        f"data = datasets.Dataset.from_dict({{'tokens': [{words!r}, ['none']], 'ner_tags': [{told!r}, TAGS]}}, "
        "features=datasets.Features({'tokens': datasets.Sequence(datasets.Value('string')), "
        f"'ner_tags': datasets.Sequence({inner})}}))\n"
        "class Suite(evaluate.EvaluationSuite):\n    def __init__(self, name):\n        super().__init__(name)\n"
        "        self.suite = [SubTask('token-classification', data, args_for_task={'join_by': '_'})]\n"
    )
    good = [0] if numbers else ["O"]
    (here / "theirs.py").write_text(module.replace("TAGS", repr(good)), encoding="utf-8")
    suite, found = read_evaluate_suite(here / "theirs.py", gated=True)
    assert (suite.task, suite.metrics) == ("token-classification", ("entity_f1",))
    assert [gate.kind for gate in suite.gates] == ["non-inferiority"]
    assert found.table.select(["text", "label"]).to_pylist() == [
        {"text": "Aspirin_eases_acute_headache", "label": '[[0,7,"Chemical"],[14,28,"Disease"]]'},
        {"text": "none", "label": "[]"},
    ]
    assert found.names == ("O", "B-Chemical", "I-Chemical", "B-Disease", "I-Disease")
    (here / "theirs.py").write_text(module.replace("TAGS", repr(good * 2)), encoding="utf-8")
    with pytest.raises(DataError, match="2: label does not fit: 1 tokens have 2 tags"):
        read_evaluate_suite(here / "theirs.py", gated=True)


def test_subtasks_of_two_tasks_are_refused(here: Path) -> None:
    """One model is judged."""
    data = hub_folder(here / "data", {"test": 10})
    path = suite_file(here, task(data), task(data, task_type="token-classification"))
    with pytest.raises(ConfigError, match="subtask 2: the task 'token-classification' is another one than"):
        read_evaluate_suite(path, gated=False)


@pytest.mark.parametrize("does", ["multi-label-classification", "token-classification", "text-regression"])
def test_what_evaluate_does_not_judge_stays_here(here: Path, does: str) -> None:
    """Said before a row is read, with what does."""
    (here / "ours.yaml").write_text(f"name: ours\ntask: {does}\ncases: [{{name: c, source: {{path: no.csv}}}}]\n"
                                    "metrics: []\ngates: []\n", encoding="utf-8")  # fmt: skip
    with pytest.raises(ConfigError, match=f"is of {does}, which `evaluate` does not judge") as caught:
        subtasks(str(here / "ours.yaml"))
    assert "`ftdeploy eval`" in caught.value.fix


def test_a_suite_without_cases_has_no_rows_for_evaluate(here: Path) -> None:
    """A run's own rows are not to be had there."""
    (here / "ours.yaml").write_text("name: ours\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="has no cases"):
        subtasks(str(here / "ours.yaml"))
