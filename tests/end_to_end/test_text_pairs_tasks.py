"""Rows of two texts where the answer is a number, or any number of labels."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import httpx
import pytest
from tiny_multi_label import write_tiny_labels
from tiny_pairs import COLUMNS, with_template, write_pairs
from tiny_regression import write_tiny_numbers
from tiny_run import TinyRun, ftdeploy, run_to_the_end
from workspace import serving

from ftdeploy.verdict import read_report

LONG = "a superb and touching film that nobody should miss, with a cast that gives all it has to every single scene"
SHORT = "it was fine"


def run_of_pairs(folder: Path, write: Callable[..., Path], columns: Mapping[str, str],
                 told: Callable[[str, str], object]) -> TinyRun:  # fmt: skip
    """The tiny recipe of a task, on pairs, to the end."""
    named = {**dict(zip(("text", "text_pair"), COLUMNS, strict=True)), **columns}
    recipe = write(folder, sections={"data": {"columns": named}, "train": {"epochs": 8}})
    with_template(folder / "model" / "tokenizer.json")
    write_pairs(folder / "rows.csv", 400, column=columns["label"], told=told)
    return run_to_the_end(recipe)


def judged(run: TinyRun, candidate: str | Path, metric: str, folder: Path) -> None:
    """By `ftdeploy eval`, a candidate against the export, on rows that are read from two columns."""
    recipe = json.loads(run.recipe.read_text(encoding="utf-8"))
    cases = [{"name": "rows", "source": {"path": str(run.recipe.parent / "rows.csv")}, "limit": 60,
              "columns": recipe["data"]["columns"]}]  # fmt: skip
    gates = [{"kind": "non-inferiority", "metric": metric, "margin": 0.1}]
    wanted = {"name": "own", "task": recipe["task"], "metrics": [metric], "gates": gates, "resamples": 1000,
              "timing_rows": 8, "timing_rounds": 5, "cases": cases}  # fmt: skip
    (folder / "suite.yaml").write_text(json.dumps(wanted), encoding="utf-8")
    found = ftdeploy("eval", folder / "suite.yaml", "--candidate", candidate, "--baseline", run.run / "onnx",
                     "--report", folder / "report")  # fmt: skip
    assert found.returncode == 0, found.stderr


def served(run: TinyRun) -> list[str]:
    """The command."""
    return [sys.executable, "-m", "ftdeploy", "serve", str(run.run / "bundle")]


def test_a_number_is_of_both_texts(tmp_path: Path) -> None:
    """How many words the first one has more: it grows with the first and falls with the second."""
    run = run_of_pairs(tmp_path / "made", write_tiny_numbers, {"label": "rating"},
                       lambda first, second: 100 + len(first.split()) - len(second.split()))  # fmt: skip
    report = read_report(run.run / "report" / "report.json")
    by_name = {metric.metric: metric.candidate.value for metric in report.metrics}
    assert by_name["spearman"] > 0.4, "the tiny model has learned nothing, and nothing here is proven"
    with serving(served(run), cwd=tmp_path) as url:
        inputs = [{"text": LONG, "text_pair": SHORT}, [SHORT, LONG]]
        (one,), (other,) = httpx.post(f"{url}/predict", json={"inputs": inputs}).json()
        assert one["score"] > other["score"]
        tensors = [{"name": name, "shape": [1], "datatype": "BYTES", "data": [text]}
                   for name, text in (("text", LONG), ("text_pair", SHORT))]  # fmt: skip
        infer = httpx.post(f"{url}/v2/models/tiny/infer", json={"inputs": tensors}).json()
        assert infer["outputs"][0]["data"] == [pytest.approx(one["score"], abs=0.5)]
        judged(run, url, "spearman", tmp_path)


def test_any_number_of_labels_are_of_both_texts(tmp_path: Path) -> None:
    """One for each that is long."""

    def told(*texts: str) -> str:
        names = zip(("long", "second_long"), texts, strict=True)
        return "|".join(name for name, text in names if len(text.split()) > 15) or "|"

    run = run_of_pairs(tmp_path / "made", write_tiny_labels, {"label": "labels", "label_separator": "|"}, told)
    with serving(served(run), cwd=tmp_path) as url:
        inputs = [{"text": LONG, "text_pair": SHORT}, [SHORT, LONG]]
        answers = httpx.post(f"{url}/predict", json={"inputs": inputs}).json()
        first, second = ({one["label"]: one["score"] for one in answer} for answer in answers)
        assert first["long"] > second["long"]
        assert first["second_long"] < second["second_long"]
