"""What is missing and what only looks like it: `NA`, `null` and the like are cells like any other, in every format and
wherever rows are read; nothing, null and NaN are missing, and counted."""

from __future__ import annotations

import csv
import json
import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ftdeploy.dataset import SPLITS, read_split
from ftdeploy.errors import ConfigError, DataError
from ftdeploy.evaluation.cases import gather
from ftdeploy.origin import Source
from ftdeploy.prepare import prepare
from ftdeploy.prepare.read import read_rows
from ftdeploy.recipe import Recipe, load_recipe
from ftdeploy.stage import run_stage
from ftdeploy.starter import write_starter
from ftdeploy.suite import Case
from ftdeploy.tasks import TASKS

#: pandas, with which `datasets` reads CSV, leaves the file to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
#: What tables are full of where nothing was meant, and what people call classes all the same.
NAMES = ("N/A", "NA", "None", "nan", "null")
ROWS = [(f"row {at} is called {name}", name) for at in range(6) for name in NAMES]
EMPTY = [(f"row {at} has no label", None) for at in range(4)]
LOADER = """
import json, math
import numpy as np
import pandas as pd
MISSING = [None, math.nan, np.float32("nan"), pd.NA]
def rows(path):
    for at, (text, label) in enumerate(json.loads(path.read_text())):
        yield {"text": text, "label": MISSING[at % 4] if label is None else label}
"""


def _csv(path: Path, rows: list[Any], **settings: Any) -> dict[str, Any]:
    path.parent.mkdir(exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as handle:
        csv.writer(handle, **settings).writerows([("text", "label"), *rows])
    return {"path": str(path)}


def _jsonl(path: Path, rows: list[Any]) -> dict[str, Any]:
    lines = [{"text": text, "label": math.nan if text.startswith("row 1 ") and label is None else label}
             for text, label in rows]  # fmt: skip
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))  # Python writes NaN
    return {"path": str(path)}


def _parquet(path: Path, rows: list[Any]) -> dict[str, Any]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table(dict(zip(("text", "label"), zip(*rows, strict=True), strict=True))), path)
    return {"path": str(path)}


def _hub(path: Path, rows: list[Any]) -> dict[str, Any]:
    _csv(path / "train.csv", rows)
    return {"hub": str(path)}


def _loader(path: Path, rows: list[Any]) -> dict[str, Any]:
    path.write_text(json.dumps(rows))
    path.with_suffix(".py").write_text(LOADER)
    return {"path": str(path), "loader": f"{path.with_suffix('.py')}:rows"}


FORMATS: dict[str, Callable[[Path, list[Any]], dict[str, Any]]] = {
    "rows.csv": _csv,
    "rows.tsv": lambda path, rows: _csv(path, rows, delimiter="\t"),
    "rows.jsonl": _jsonl,
    "rows.parquet": _parquet,
    "hub": _hub,
    "rows.json": _loader,
}


def _prepared(source: dict[str, Any], out: Path, **sections: Any) -> tuple[Counter[str], dict[str, int]]:
    """Rows of each label, and rows that were set aside, by the reason."""
    document = {"version": 1, "name": "n", "task": "text-classification", "model": {"path": "none"}}
    data = {"source": source, "duplicates": {"near": "ignore"}} | sections.pop("data", {})
    recipe = Recipe.model_validate(document | {"data": data} | sections)
    dataset = run_stage(prepare, recipe, {}, out / "dataset").artifact
    profile = json.loads(dataset.file("profile.json").read_text(encoding="utf-8"))
    labels = Counter(label for name in SPLITS for label in read_split(dataset, name)["label"].to_pylist())
    return labels, {reason: told["rows"] for reason, told in profile["rejected"].items()}


@pytest.mark.parametrize("name", FORMATS)
def test_a_label_is_what_is_written(tmp_path: Path, name: str) -> None:
    """In a recipe that lists these labels; rows with nothing there are counted as missing. A suite reads the same
    labels, and refuses rows without one."""
    source = FORMATS[name](tmp_path / name, [*ROWS, *EMPTY])
    labels, rejected = _prepared(source, tmp_path, data={"labels": NAMES})
    assert labels == dict.fromkeys(NAMES, 6)
    assert rejected == {"label is missing": 4}
    case = Case(name="c", source=Source.model_validate(FORMATS[name](tmp_path / name, ROWS)))
    assert gather([case], seed=1, task="text-classification").labels == {"c": dict.fromkeys(NAMES, 6)}
    empty = Case(name="c", source=Source.model_validate(FORMATS[name](tmp_path / name, [*ROWS, *EMPTY])))
    with pytest.raises(DataError, match=r"4 fault\(s\) in 34 rows.*label is missing"):
        gather([empty], seed=1, task="text-classification")


def test_a_starter_lists_them_in_quotes(tmp_path: Path) -> None:
    """So that YAML takes them for words, too."""
    _csv(tmp_path / "rows.csv", [*ROWS, *EMPTY])
    made = write_starter(tmp_path / "rows.csv", tmp_path / "r.yaml")
    assert (made.labels, made.rows) == (NAMES, 30)
    assert load_recipe(made.recipe).data.labels == NAMES


def test_null_in_a_recipe_is_told_to_want_quotes(tmp_path: Path) -> None:
    """As a label, or as one that is renamed; nothing behind a key is another fault."""
    source = "{path: a.csv, name: a, label_map: {null: x}}"
    text = "version: 1\nname:\ntask: text-classification\nmodel: {path: m}\ndata:\n  labels: [NA, null]\n"
    (tmp_path / "r.yaml").write_text(f"{text}  sources: [{source}]\n")
    with pytest.raises(ConfigError) as caught:
        load_recipe(tmp_path / "r.yaml")
    hints = {problem.path: problem.hint for problem in caught.value.problems}
    assert "put it in quotes" in hints["data.labels[1]"]
    assert any("put it in quotes" in hint for path, hint in hints.items() if "label_map" in path)
    assert hints["name"] == ""


@pytest.mark.parametrize("task", TASKS)
def test_nan_is_no_label_of_any_task(tmp_path: Path, task: str) -> None:
    """No error of the column, and no class that is called nan."""
    (tmp_path / "rows.jsonl").write_text('{"text": "a film", "label": NaN, "stars": [NaN]}\n')
    source = Source(path=tmp_path / "rows.jsonl")
    (row,) = read_rows(source, tmp_path / "rows.jsonl", wanted=())
    assert row.values == {"text": "a film", "label": None, "stars": [None]}
    text, label = TASKS[task].read(row.values, "text", "label")
    assert (text, label) == ("a film", TASKS[task].read({"text": "a film"}, "text", "label")[1])


def test_numbers_with_gaps_are_rows_with_gaps(tmp_path: Path) -> None:
    """As pandas, polars and Python write them: the rows are set aside; a mark for it stops the run with its place."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    numbers = [math.nan if at % 10 == 0 else at / 7 for at in range(60)]
    table = pa.table({"text": [f"text {at}" for at in range(60)], "label": pa.array(numbers, from_pandas=False)})
    assert table["label"].null_count == 0
    pq.write_table(table, tmp_path / "rows.parquet")
    labels, rejected = _prepared({"path": str(tmp_path / "rows.parquet")}, tmp_path, task="text-regression")
    assert (labels.total(), rejected) == (54, {"label is missing": 6})
    _csv(tmp_path / "rows.csv", [(f"text {at}", "NA" if at == 7 else at) for at in range(60)])
    with pytest.raises(DataError, match="the row at 9: 'NA' is no number") as caught:
        _prepared({"path": str(tmp_path / "rows.csv")}, tmp_path, task="text-regression")
    assert "leave its cell empty" in caught.value.fix


def test_feedback_names_them_as_they_are() -> None:
    """A text is a name; JSON's null is none."""
    task = TASKS["text-classification"]
    assert [task.true_label(name, NAMES) for name in NAMES] == list(NAMES)
    with pytest.raises(ValueError, match="label None is none of the model's"):
        task.true_label(None, NAMES)
