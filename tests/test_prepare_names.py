"""Labels of several names in prepare: rows of each name are counted, not of a row's first one."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from ftdeploy.dataset import SPLITS, read_profile, read_split
from ftdeploy.errors import DataError
from ftdeploy.overview_data import data_parts
from ftdeploy.prepare import prepare
from ftdeploy.prepare.peek import peek
from ftdeploy.prepare.preview import preview
from ftdeploy.prepare.stream import open_sources
from ftdeploy.recipe import Recipe
from ftdeploy.stage import run_stage

TOPICS = ["billing", "refund", "zone"]


def _rows(count: int = 200) -> list[dict[str, Any]]:
    """Topics by number of the row: `zone` in every third, and nearly never alone."""
    draw = random.Random(3)  # noqa: S311 - test data
    words = [f"word{number}" for number in range(400)]
    return [
        {"text": " ".join(draw.choices(words, k=12)),
         "label": [*(["billing"] if n % 2 else ["refund"]), *(["zone"] if n % 3 == 0 else [])] if n % 20 else []}
        for n in range(count)
    ]  # fmt: skip


def _recipe(folder: Path, rows: list[dict[str, Any]], task: str = "multi-label-classification") -> Recipe:
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return Recipe.model_validate({"version": 1, "name": "n", "task": task, "model": {"path": str(folder)},
                                  "data": {"source": {"path": str(folder / "rows.jsonl")}}})  # fmt: skip


def test_every_name_of_a_row_is_counted(tmp_path: Path) -> None:
    """By check, preview, profile and the run's page alike; rows without any stand beside them."""
    recipe = _recipe(tmp_path, _rows())
    truth = Counter(name for row in _rows() for name in (row["label"] or ["(none)"]))
    assert truth["zone"] > 50
    assert peek(recipe.data, open_sources(recipe.data), task=recipe.task, seed=recipe.seed).labels == truth
    assert preview(recipe)["labels"] == truth
    dataset = run_stage(prepare, recipe, {}, tmp_path / "out").artifact
    assert dataset.facts["labels"] == 3
    profile = read_profile(dataset)
    for split in SPLITS:
        labels = [json.loads(label) or ["(none)"] for label in read_split(dataset, split)["label"].to_pylist()]
        assert profile["splits"][split]["labels"] == Counter(name for names in labels for name in names)
    assert profile["balance"]["shares"]["zone"] == pytest.approx(truth["zone"] / 200)
    table = next(part.table for part in data_parts(dataset) if part.heading == "Data")
    assert table is not None
    assert table.columns == ("split", "#rows", "#billing", "#refund", "#zone", "#(none)")
    assert sum(int(row[4]) for row in table.rows) == truth["zone"]


def test_a_name_that_hardly_ever_stands_first_is_learned_all_the_same(tmp_path: Path) -> None:
    """One row of sixty is of it alone: nothing is missing in a split."""
    rows = _rows()
    rows[1]["label"] = ["zone"]
    dataset = run_stage(prepare, _recipe(tmp_path, rows), {}, tmp_path / "out").artifact
    assert dataset.facts["rows"] == 200
    assert all(read_profile(dataset)["splits"][split]["labels"]["zone"] > 1 for split in SPLITS)


def test_equal_texts_contradict_each_other_where_any_name_differs(tmp_path: Path) -> None:
    """A text with one label, and again with a further one, is no duplicate of which the first is kept."""
    rows = _rows()
    rows += [{"text": "the very same text", "label": label} for label in (["billing"], ["billing", "zone"])]
    rows += [{"text": "another text twice", "label": label} for label in (["zone", "billing"], ["billing", "zone"])]
    profile = read_profile(run_stage(prepare, _recipe(tmp_path, rows), {}, tmp_path / "out").artifact)
    assert (profile["conflicts"], profile["duplicates"]) == (2, 1)


def _entities(rarely: int) -> list[dict[str, Any]]:
    """Sentences with two people; `rarely` of them have a date beside these, and so never most of it."""
    draw = random.Random(4)  # noqa: S311 - test data
    names = ["Ann", "Bob", "Cleo", "Dan"]
    made = []
    for number in range(60):
        words = [*draw.choices([f"word{n}" for n in range(300)], k=8), draw.choice(names), "met", draw.choice(names)]
        tags = ["O"] * 8 + ["B-PER", "O", "B-PER"]
        if number < rarely:
            words, tags = [*words, "today"], [*tags, "B-DATE"]
        if number % 10 == 9:
            words, tags = words[:8], tags[:8]
        made.append({"text": words, "label": tags})
    return made


def test_a_kind_that_never_prevails_is_learned_all_the_same(tmp_path: Path) -> None:
    """It is in a third of the rows, beside more of another kind; the page counts rows with each."""
    dataset = run_stage(prepare, _recipe(tmp_path, _entities(20), "token-classification"), {}, tmp_path / "o").artifact
    assert dataset.facts["labels"] == 2
    table = next(part.table for part in data_parts(dataset) if part.heading == "Data")
    assert table is not None
    assert table.columns == ("split", "#rows", "#O", "#DATE", "#PER")
    assert [sum(int(row[place]) for row in table.rows) for place in (1, 2, 3, 4)] == [60, 6, 18, 54]


def test_a_kind_in_two_rows_is_refused(tmp_path: Path) -> None:
    """As a label is: not every split could have one."""
    with pytest.raises(DataError, match=r"kinds of spans in fewer than 3 rows: 'DATE' \(2\)"):
        run_stage(prepare, _recipe(tmp_path, _entities(2), "token-classification"), {}, tmp_path / "out")


def test_numbers_are_no_labels_to_be_counted(tmp_path: Path) -> None:
    """The fifths by which they are divided are nobody's labels; preview and check show them."""
    rows = [{**row, "label": at / 7} for at, row in enumerate(_rows(60))]
    recipe = _recipe(tmp_path, rows, "text-regression")
    assert "labels" not in run_stage(prepare, recipe, {}, tmp_path / "out").artifact.facts
    found = peek(recipe.data, open_sources(recipe.data), task=recipe.task, seed=recipe.seed)
    assert (found.kept, sum(found.labels.values()), len(found.labels)) == (60, 60, 5)
    assert preview(recipe)["labels"] == found.labels
