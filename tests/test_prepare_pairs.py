"""Rows of two texts in prepare: tidied each by itself, told apart as pairs, and written in two columns."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from ftdeploy.artifact import Artifact
from ftdeploy.dataset import SPLITS, pair_columns, read_profile, read_split, read_unlabelled
from ftdeploy.errors import DataError
from ftdeploy.pairs import SEPARATOR, join, parts
from ftdeploy.prepare import prepare
from ftdeploy.prepare.preview import as_lines, preview
from ftdeploy.recipe import Recipe, as_text, load_recipe
from ftdeploy.stage import run_stage

COLUMNS = {"text": "clause", "text_pair": "question", "label": "label"}
Row = Mapping[str, Any]


def rows_of(count: int, *, start: int = 0) -> list[dict[str, Any]]:
    """Different pairs, none a near duplicate of another."""
    return [
        {
            "clause": " ".join(f"clause{n * 13 + place}" for place in range(8)),
            "question": f"question {n}?",
            "label": "yes" if n % 2 else "no",
        }
        for n in range(start, start + count)
    ]


def written(path: Path, rows: Sequence[Row]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def recipe(folder: Path, rows: Sequence[Row], *, task: str = "text-classification", **data: Any) -> Recipe:
    sections = {"version": 1, "name": "demo", "task": task, "model": {"path": "none"}}
    source = {} if "sources" in data else {"source": {"path": written(folder / "rows.jsonl", rows)}}
    return Recipe.model_validate(sections | {"data": {**source, "columns": COLUMNS} | data})


def made(folder: Path, rows: Sequence[Row], **data: Any) -> Artifact:
    return run_stage(prepare, recipe(folder, rows, **data), {}, folder / "out" / "dataset").artifact


def texts(dataset: Artifact) -> list[str]:
    return sorted(text for name in SPLITS for text in read_split(dataset, name)["text"].to_pylist())


def test_files_have_two_columns_and_what_reads_them_one(tmp_path: Path) -> None:
    """With the text of both joined, whichever columns are asked for; the profile says how the recipe calls them."""
    dataset = made(tmp_path, rows_of(40))
    on_disk = pq.read_table(dataset.file("train.parquet"))
    assert on_disk.column_names == ["text", "text_pair", "label", "group", "id"]
    first = on_disk.to_pylist()[0]
    table = read_split(dataset, "train", columns=["text", "label"])
    assert table.column_names == ["text", "label"]
    assert parts(table["text"][0].as_py()) == (first["text"], first["text_pair"])
    assert first["text_pair"].startswith("question ")
    assert pair_columns(dataset) == ("clause", "question")
    assert read_profile(dataset)["splits"]["train"]["chars"]["1"] > 60, "the length is that of both"


def test_both_texts_are_tidied(tmp_path: Path) -> None:
    """Each by all rules and limits: what is missing or blank in either sets the row aside, with its reason."""
    odd: list[Row] = [
        {"clause": "a  clause\u0007 of\twords", "question": " e\u0301tat ? ", "label": "yes"},
        {"clause": "no question here", "label": "no"},
        {"clause": "a blank one", "question": "  ", "label": "no"},
        {"clause": None, "question": "no clause?", "label": "no"},
        {"clause": "a list", "question": ["no", "text"], "label": "no"},
        {"clause": "too long a question", "question": "x" * 300, "label": "no"},
    ]
    dataset = made(tmp_path, [*rows_of(40), *odd], clean={"max_chars": 200})
    assert join("a clause of words", "\u00e9tat ?") in texts(dataset)
    rejected = {reason: tally["rows"] for reason, tally in read_profile(dataset)["rejected"].items()}
    assert rejected == {
        "second text is missing": 1,
        "second text is empty": 1,
        "text is missing": 1,
        "second text is a list, not text": 1,
        "second text is longer than max_chars": 1,
    }
    aside = pq.read_table(dataset.file("rejected.parquet"))["text"].to_pylist()
    assert "a blank one |   " in aside


def test_no_text_divides_a_row_anew(tmp_path: Path) -> None:
    """The sign between two texts is white space where it stands in one, even where nothing else is tidied."""
    odd = {"clause": f"one{SEPARATOR}two", "question": f"three{SEPARATOR}", "label": "yes"}
    dataset = made(tmp_path, [*rows_of(40), odd], clean={"normalize": False})
    assert join("one two", "three ") in texts(dataset)


def test_pairs_are_the_same_where_both_texts_are(tmp_path: Path) -> None:
    """Equal first texts with other second ones are no duplicates; nor are the same words divided elsewhere."""
    base = {"clause": "the tenant pays the rent", "question": "who pays?", "label": "yes"}
    same = {**base, "clause": "The TENANT  pays the rent"}
    other = {**base, "question": "when does the tenant pay?", "label": "no"}
    moved = {"clause": "the tenant pays the rent who", "question": "pays?", "label": "no"}
    dataset = made(tmp_path, [*rows_of(40), base, same, other, moved], duplicates={"near": "ignore"})
    assert dataset.facts["duplicates"] == 1
    assert dataset.facts["rows"] == 43


def test_a_contradiction_is_about_the_pair(tmp_path: Path) -> None:
    """Two labels for one pair; the same first text under two labels is what such data is made of."""
    base = {"clause": "the tenant pays the rent", "question": "who pays?", "label": "yes"}
    dataset = made(tmp_path, [*rows_of(40), base, {**base, "label": "no"}], duplicates={"near": "ignore"})
    assert read_profile(dataset)["conflicts"] == 2


def test_near_duplicates_share_most_of_both(tmp_path: Path) -> None:
    """A long first text that recurs ties its rows together, so that it stands on one side of the split."""
    clause = " ".join(f"word{place}" for place in range(60))
    asked = [{"clause": clause, "question": f"q{n}", "label": "yes" if n % 2 else "no"} for n in range(8)]
    dataset = made(tmp_path, [*rows_of(60), *asked])
    homes = {
        name for name in SPLITS for text in read_split(dataset, name)["text"].to_pylist() if text.startswith(clause)
    }
    assert len(homes) == 1
    (example, *_) = read_profile(dataset)["near_duplicates"]["examples"]
    assert SEPARATOR not in "".join(example["texts"])


def test_identifiers_are_looked_for_in_each_text(tmp_path: Path) -> None:
    """Found in both, replaced where they stand, and never made of the end of one and the beginning of the other."""
    rows = [
        *rows_of(40),
        {"clause": "write to ann@example.com", "question": "or to bob@example.org?", "label": "yes"},
        {"clause": "the number is 078-05", "question": "-1120 it says", "label": "no"},
    ]
    dataset = made(tmp_path, rows, privacy={})
    found = texts(dataset)
    assert join("write to [EMAIL]", "or to [EMAIL]?") in found
    assert join("the number is 078-05", "-1120 it says") in found
    assert read_profile(dataset)["privacy"]["types"]["email"]["found"] == 2


def test_the_wrong_column_is_told_at_once(tmp_path: Path) -> None:
    """With those there are."""
    with pytest.raises(DataError, match="there is no column 'questoin'") as caught:
        made(tmp_path, rows_of(40), columns={**COLUMNS, "text_pair": "questoin"})
    assert "did you mean 'question'" in caught.value.fix


def test_several_sources_have_columns_of_their_own(tmp_path: Path) -> None:
    """Under whatever names; the rows are alike then."""
    other = [
        {"premise": row["clause"], "hypothesis": row["question"], "label": row["label"]}
        for row in rows_of(20, start=50)
    ]
    sources = [
        {"path": written(tmp_path / "one.jsonl", rows_of(40)), "columns": COLUMNS},
        {
            "path": written(tmp_path / "two.jsonl", other),
            "columns": {"text": "premise", "text_pair": "hypothesis", "label": "label"},
        },
    ]
    dataset = made(tmp_path, (), sources=sources, columns={})
    assert dataset.facts["rows"] == 60
    assert pair_columns(dataset) == ("text", "text_pair")
    assert all(len(parts(text)) == 2 for text in texts(dataset))


def test_texts_that_only_a_teacher_answers_are_pairs_too(tmp_path: Path) -> None:
    """Held against the rows as pairs."""
    more = [{"clause": row["clause"], "question": row["question"]} for row in rows_of(10, start=100)]
    known = {"clause": rows_of(1)[0]["clause"], "question": "another question?"}
    source = {"path": written(tmp_path / "more.jsonl", [*more, known, rows_of(1)[0]])}
    dataset = made(tmp_path, rows_of(40), unlabelled=[source], duplicates={"near": "ignore"})
    found = read_unlabelled(dataset)
    assert len(found) == 11
    assert join(known["clause"], known["question"]) in found
    assert pq.read_table(dataset.file("unlabelled.parquet")).column_names == ["text", "text_pair", "id"]


def test_a_preview_tells_what_becomes_of_both(tmp_path: Path) -> None:
    """Examples are shown with both texts, and no line has the sign between them."""
    rows = [*rows_of(40), {"clause": "a  clause", "question": " ", "label": "yes"}]
    lines = [line for _, line in as_lines(preview(recipe(tmp_path, rows)))]
    assert any("second text is empty" in line for line in lines)
    assert not any(SEPARATOR in line for line in lines)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"task": "token-classification"}, "token-classification reads single texts"),
        ({"task": "feature-extraction"}, "feature-extraction reads single texts"),
        ({"model": {"path": "none", "windows": {}}}, "`windows` does not go with `data.columns.text_pair`"),
        ({"package": {"review": {}}}, "`review` reads one document passage by passage"),
        ({"data": {"clean": {"length_outliers": {}}}}, "length_outliers does not go with columns.text_pair"),
        ({"data": {"columns": {**COLUMNS, "text_pair": "clause"}}}, "'clause' is the column of the first text"),
        ({"data": {"slices": ["text_pair"]}}, "every row would be a slice of its own"),
        ({"data": {"unlabelled": [{"path": "x", "columns": {"text": "clause"}}]}}, "every source has a second text"),
    ],
)
def test_what_does_not_go_with_two_texts_is_refused(given: dict[str, Any], words: str, tmp_path: Path) -> None:
    """When the recipe is read, with the reason."""
    sections: dict[str, Any] = {
        "version": 1, "name": "demo", "task": "text-classification", "model": {"path": "none"},
    }  # fmt: skip
    data = {"source": {"path": written(tmp_path / "rows.jsonl", rows_of(4))}, "columns": COLUMNS}
    with pytest.raises(ValidationError) as caught:
        Recipe.model_validate({**sections, **given, "data": {**data, **given.get("data", {})}})
    assert words in str(caught.value)


@pytest.mark.parametrize("task", ["text-classification", "multi-label-classification", "text-regression"])
def test_a_second_text_belongs_to_the_tasks_that_read_whole_rows(task: str, tmp_path: Path) -> None:
    """And stays in the recipe as it is written down for an update."""
    found = recipe(tmp_path, rows_of(4), task=task)
    (tmp_path / "again.yaml").write_text(as_text(found), encoding="utf-8")
    assert load_recipe(tmp_path / "again.yaml").data.pairs == ("clause", "question")
