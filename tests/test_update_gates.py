"""The gates between challenger and champion, on models that answer by a table of words."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import numpy_helper
from test_prepare import write_jsonl
from tiny import WORDS, write_bundle, write_model_folder

from ftdeploy.errors import DataError
from ftdeploy.label_sets import dump
from ftdeploy.metrics import resolve
from ftdeploy.prepare import prepare
from ftdeploy.recipe import Recipe
from ftdeploy.stage import run_stage
from ftdeploy.statistics import superior
from ftdeploy.suite import NonInferiority, Superiority
from ftdeploy.tasks import TASKS
from ftdeploy.tasks.said import numbered
from ftdeploy.update.gates import challenger_suite, judge

#: Words that the champion does not know, one of each label.
STRANGE = ("worst", "best")


def model(folder: Path, *, without: Sequence[str] = (), flipped: Sequence[str] = ()) -> bytes:
    """The ONNX file of the tiny model, to which some words mean nothing and others the opposite."""
    write_model_folder(folder)
    made = onnx.load(str(folder / "model.onnx"))
    vocabulary = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
    for tensor in made.graph.initializer:
        if tensor.name == "table":
            table = numpy_helper.to_array(tensor).copy()
            for word in without:
                table[vocabulary[word]] = 0
            for word in flipped:
                table[vocabulary[word]] *= -1
            tensor.CopyFrom(numpy_helper.from_array(table, "table"))
    content: bytes = made.SerializeToString()
    return content


def texts(count: int, words: Sequence[str], seed: int) -> list[dict[str, str]]:
    """Texts of neutral words around one that tells the label."""
    draw = random.Random(seed)  # noqa: S311 - test data
    found = []
    for number in range(count):
        word = words[number % len(words)]
        about = " ".join(f"w{draw.randrange(10**6)}" for _ in range(4))
        label = "positive" if WORDS.index(word) >= len(WORDS) // 2 else "negative"
        found.append({"text": f"the film was {word} {about}", "label": label})
    return found


def recipe(sources: list[dict[str, str]], **sections: Any) -> Recipe:
    gates = [
        {"kind": "non-inferiority", "metric": "accuracy", "margin": 0.05},
        {"kind": "floor", "metric": "accuracy", "minimum": 0.5},
        {"kind": "flips", "maximum": 0.01},
        {"kind": "ratio", "metric": "size", "maximum": 0.5},
    ]
    golden = [{"text": "a lovely film", "label": "positive"}]
    suite = {"name": "own", "gates": gates, "golden": golden, "resamples": 1000, "timing_rows": 8, "timing_rounds": 5}
    body = {"version": 1, "name": "tiny", "task": "text-classification", "model": {"path": "none"},
            "data": {"sources": sources, "split": {"others": "divide", "test": 0.5, "leakage": "drop"}},
            "validate": {"suite": suite}, "update": {"budgets": {"size": 1.1}}}  # fmt: skip
    return Recipe.model_validate(body | sections)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A champion's and a challenger's datasets; new texts are about words that are strange to the champion."""
    return datasets(tmp_path_factory.mktemp("rows"), texts(120, STRANGE, 9))


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same with labels that have nothing to do with the words: three in four are positive."""
    labels = ["positive"] * 90 + ["negative"] * 30
    random.Random(4).shuffle(labels)  # noqa: S311 - test data
    new = [row | {"label": label} for row, label in zip(texts(120, STRANGE, 9), labels, strict=True)]
    return datasets(tmp_path_factory.mktemp("mixed"), new)


def datasets(folder: Path, fresh: list[dict[str, str]]) -> dict[str, Path]:
    """Of a champion, and of a challenger with new rows."""
    known = [word for word in WORDS if word not in STRANGE]
    sources = [{"path": str(write_jsonl(folder / f"old-{role}.jsonl", texts(80, known, seed))), "role": role}
               for seed, role in enumerate(("train", "validation", "test"))]  # fmt: skip
    new = {"path": str(write_jsonl(folder / "new.jsonl", fresh)), "name": "new"}
    for name, parts in (("champion", sources), ("challenger", [*sources, new])):
        run_stage(prepare, recipe(parts), {}, folder / name / "dataset")
    return {name: folder / name / "dataset" for name in ("champion", "challenger")}


def versions(folder: Path, rows: dict[str, Path], **challenger: Sequence[str]) -> dict[str, Path]:
    """Folders of runs with those datasets and bundles around models."""
    found = {}
    both: dict[str, dict[str, Sequence[str]]] = {"champion": {"without": STRANGE}, "challenger": challenger}
    for name, words in both.items():
        write_bundle(folder / name / "bundle", replaced={"model/model.onnx": model(folder / f"{name}-model", **words)})
        (folder / name / "dataset").symlink_to(rows[name])
        found[name] = folder / name
    return found


def verdicts(folder: Path, rows: dict[str, Path], **words: Sequence[str]) -> tuple[str, dict[str, str]]:
    """The whole verdict, and those of the gates by kind and case."""
    found = judge(recipe([{"path": "x"}]), **versions(folder, rows, **words), report=folder / "report").report
    named = ("superiority", "non-inferiority", "floor")
    return found.verdict, {
        f"{gate.metric if gate.kind in named else ''} {gate.kind} {gate.case}".strip(): gate.verdict
        for gate in found.gates
    }


def test_better_on_new_rows_and_no_worse_on_old_ones_passes(tmp_path: Path, rows: dict[str, Path]) -> None:
    """By these gates and no others: those about compression are left out, the budget is asked."""
    verdict, gates = verdicts(tmp_path, rows)
    assert verdict == "pass"
    wanted = ("accuracy superiority new", "mcc superiority new", "accuracy non-inferiority old", "accuracy floor old",
              "ratio", "golden")  # fmt: skip
    assert gates == dict.fromkeys(wanted, "pass")
    assert json.loads((tmp_path / "report" / "report.json").read_text(encoding="utf-8"))["suite"] == "own-update"


def test_what_forgets_old_rows_fails(tmp_path: Path, rows: dict[str, Path]) -> None:
    """However well it does on the new ones."""
    verdict, gates = verdicts(tmp_path, rows, flipped=["awful", "great"])
    assert verdict == "fail"
    assert (gates["accuracy superiority new"], gates["accuracy non-inferiority old"]) == ("pass", "fail")


def test_what_learns_nothing_fails(tmp_path: Path, rows: dict[str, Path]) -> None:
    """A champion that answers alike is no worse, and has the place already."""
    verdict, gates = verdicts(tmp_path, rows, without=STRANGE)
    assert verdict == "fail"
    assert (gates["accuracy superiority new"], gates["accuracy non-inferiority old"]) == ("fail", "pass")


def test_what_learns_how_frequent_labels_are_does_not_pass(tmp_path: Path, mixed: dict[str, Path]) -> None:
    """Of labels that were mixed up three in four say the same, and a challenger that always says that is right more
    often; it tells nothing by the texts, though, and that is asked, too."""
    verdict, gates = verdicts(tmp_path, mixed, flipped=["worst"])
    assert (gates["accuracy superiority new"], gates["accuracy non-inferiority old"]) == ("pass", "pass")
    assert gates["mcc superiority new"] != "pass"
    assert verdict != "pass"


def test_a_golden_row_is_kept(tmp_path: Path, rows: dict[str, Path]) -> None:
    """One text that must not change is enough to refuse."""
    verdict, gates = verdicts(tmp_path, rows, flipped=["lovely"])
    assert verdict == "fail"
    assert gates["golden"] == "fail"


def test_without_new_test_rows_nothing_can_be_told(tmp_path: Path, rows: dict[str, Path]) -> None:
    """The champion's own dataset has none."""
    found = versions(tmp_path, rows)
    with pytest.raises(DataError, match="none of the new rows is a test row"):
        judge(recipe([{"path": "x"}]), champion=found["champion"], challenger=found["champion"], report=tmp_path / "r")


@pytest.mark.parametrize(("margin", "expected"), [(None, 0.05), (0.1, 0.1)])
def test_the_margin_of_update_takes_the_place_of_the_suites(margin: float | None, expected: float) -> None:
    """And a suite that compares no scores gets a gate that does."""
    stated = recipe([{"path": "x"}], update={"margin": margin, "by": 0.03, "budgets": {}})
    first, _, second = challenger_suite(stated, []).gates[:3]
    assert isinstance(first, Superiority)
    assert (first.by, first.case) == (0.03, "new")
    assert isinstance(second, NonInferiority)
    assert second.margin == expected
    without = stated.model_copy(update={"validate_": stated.validate_.model_copy(
        update={"suite": stated.validate_.suite.model_copy(update={"gates": ()})})})  # fmt: skip
    added = challenger_suite(without, []).gates[2]
    assert isinstance(added, NonInferiority)
    assert added.margin == (margin or 0.02)


@pytest.mark.parametrize(
    ("task", "metrics"),
    [
        ("text-classification", ["accuracy", "mcc"]),
        ("multi-label-classification", ["label_f1", "label_mcc"]),
        ("token-classification", ["entity_f1"]),
        ("text-regression", ["r2", "spearman"]),
    ],
)
def test_what_must_be_better_on_new_rows_is_the_tasks(task: str, metrics: list[str]) -> None:
    """Its deciding metric, and one that is not gained of labels that were mixed up; nothing of it is about classes."""
    stated = recipe([{"path": "x"}], task=task, validate={}, update={"budgets": {}})
    gates = challenger_suite(stated, []).gates
    assert [gate.metric for gate in gates if isinstance(gate, Superiority)] == metrics
    assert next((one.metric, one.case) for one in gates if isinstance(one, NonInferiority)) == (metrics[0], "old")


@pytest.mark.parametrize(
    ("task", "truths", "champion", "challenger"),
    [
        # Nearly all new rows hold the same: said of all of them, that is often right.
        ("multi-label-classification", [dump(["a"])] * 70 + [dump([])] * 30, [dump([])] * 100, [dump(["a"])] * 100),
        # New numbers are higher; the challenger has learned by how much, and no more.
        ("text-regression", [str(90 + place) for place in range(100)], [str(place) for place in range(100)],
         [str(139 + place % 2) for place in range(100)]),
    ],
)  # fmt: skip
def test_mixed_up_labels_are_seen_through(task: str, truths: list[str], champion: list[str],
                                          challenger: list[str]) -> None:  # fmt: skip
    """What they teach is how frequent labels are, or what numbers are on average: better by the deciding metric, and
    not by the other."""
    table, (references, before, after) = numbered(truths, champion, challenger)
    verdicts = [
        superior(resolve(name, table), references, before, after, classes=len(table), resamples=1000).verdict
        for name in (TASKS[task].metrics[0], str(TASKS[task].beyond_chance))
    ]
    assert verdicts[0] == "pass"
    assert verdicts[1] != "pass"
