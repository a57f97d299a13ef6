"""Rows of tokens and tags in lists, as data sets of the hub have them: every way to write them is one dataset."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ftdeploy.dataset import read_split
from ftdeploy.errors import ConfigError, DataError
from ftdeploy.prepare import prepare
from ftdeploy.recipe import Recipe, load_recipe
from ftdeploy.stage import run_stage

NAMES = ["O", "B-Chemical", "I-Chemical", "B-Disease", "I-Disease"]
COLUMNS = {"text": "tokens", "label": "ner_tags"}
#: Reading CSV files that pandas leaves to the garbage collector is no part of this.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")


def sentences(mirror: Path, count: int = 120) -> list[tuple[list[str], list[str]]]:
    """Real ones (BC5CDR): tokens and tags."""
    blocks = (mirror / "bc5cdr-test.tsv").read_text(encoding="utf-8").strip().split("\n\n")[:count]
    pairs = [[line.split("\t") for line in block.splitlines()] for block in blocks]
    return [([token for token, _ in rows], [tag for _, tag in rows]) for rows in pairs]


def prepared(folder: Path, source: dict[str, Any], columns: dict[str, Any]) -> list[tuple[str, str]]:
    """Texts and labels of all splits, in the order of the rows."""
    recipe = Recipe.model_validate(
        {"version": 1, "name": "n", "task": "token-classification", "model": {"path": str(folder)},
         "data": {"source": source, "columns": columns, "split": {"test": 0.2, "validation": 0.2}}}
    )  # fmt: skip
    dataset = run_stage(prepare, recipe, {}, folder / "out").artifact
    rows = [row for split in ("train", "validation", "test") for row in read_split(dataset, split).to_pylist()]
    return sorted((str(row["text"]), str(row["label"])) for row in rows)


def as_jsonl(path: Path, rows: list[dict[str, Any]]) -> dict[str, Any]:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return {"path": str(path)}


def test_every_way_to_write_tokens_and_tags_is_one_dataset(mirror: Path, tmp_path: Path) -> None:
    """JSON Lines with names or with numbers that the recipe names, Parquet of the `datasets` library and a folder in
    the hub's layout, which name them, one of `save_to_disk`, a column of another name: the rows of the CoNLL file."""
    import datasets

    real = sentences(mirror)
    folders = {name: tmp_path / name for name in ("conll", "names", "numbers", "other", "parquet", "hub", "saved")}
    for folder in folders.values():
        folder.mkdir()
    lines = ["\n".join(f"{token}\t{tag}" for token, tag in zip(*one, strict=True)) for one in real]
    (folders["conll"] / "rows.conll").write_text("\n\n".join(lines) + "\n", encoding="utf-8")
    numbers = [[NAMES.index(tag) for tag in tags] for _, tags in real]
    rows = [{"tokens": tokens, "ner_tags": tags} for (tokens, _), tags in zip(real, numbers, strict=True)]
    tagged = datasets.Features({
        "tokens": datasets.List(datasets.Value("string")), "ner_tags": datasets.List(datasets.ClassLabel(names=NAMES)),
    })  # fmt: skip
    made = datasets.Dataset.from_list(rows, features=tagged)
    made.to_parquet(folders["parquet"] / "rows.parquet")
    made.to_parquet(folders["hub"] / "train.parquet")
    datasets.DatasetDict({"train": made}).save_to_disk(folders["saved"] / "rows")
    expected = prepared(folders["conll"], {"path": str(folders["conll"] / "rows.conll")}, {"label": "tags"})
    assert len(expected) > 100
    assert any(json.loads(label) for _, label in expected)
    named = [{"tokens": tokens, "ner_tags": tags} for tokens, tags in real]
    words = [{"words": tokens, "ner_tags": tags} for tokens, tags in real]
    ways: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
        "names": (as_jsonl(folders["names"] / "rows.jsonl", named), COLUMNS),
        "numbers": (as_jsonl(folders["numbers"] / "rows.jsonl", rows), COLUMNS | {"tag_names": NAMES}),
        "other": (as_jsonl(folders["other"] / "rows.jsonl", words), COLUMNS | {"text": "words"}),
        "parquet": ({"path": str(folders["parquet"] / "rows.parquet")}, COLUMNS),
        "hub": ({"hub": str(folders["hub"])}, COLUMNS),
        "saved": ({"hub": str(folders["saved"] / "rows")}, COLUMNS),
    }
    for name, (source, columns) in ways.items():
        assert prepared(folders[name], source, columns) == expected, name


def test_tokens_in_a_text_of_their_own(tmp_path: Path) -> None:
    """Where a row has its text, too, spans are places in that, whatever stands between the tokens."""
    rows = [{"text": f"Aspirin(c)  eases {n}", "tokens": ["Aspirin", "(c)", "eases", str(n)],
             "tags": ["B-Chemical", "O", "O", "O"]} for n in range(20)]  # fmt: skip
    found = prepared(tmp_path, as_jsonl(tmp_path / "rows.jsonl", rows), {"label": "tags"})
    assert {label for _, label in found} == {'[[0,7,"Chemical"]]'}
    assert found[0][0].startswith("Aspirin(c) eases"), "the text is tidied, and the span stays with its word"


@pytest.mark.parametrize(
    ("scheme", "tags"),
    [
        ("auto", ["B-X", "I-X", "B-X", "O"]),
        ("auto", ["B-X", "E-X", "S-X", "O"]),
        ("auto", ["B-X", "L-X", "U-X", "O"]),
        ("iob1", ["I-X", "I-X", "B-X", "O"]),
        ("bioes", ["B-X", "E-X", "S-X", "O"]),
    ],
)
def test_schemes(scheme: str, tags: list[str], tmp_path: Path) -> None:
    """IOB2 and BIOES (BILOU) are told by a row, IOB1 by the recipe: the same spans."""
    rows = [{"tokens": ["a", "b", "c", f"d{n}"], "ner_tags": tags} for n in range(20)]
    source = as_jsonl(tmp_path / "rows.jsonl", rows) | {"scheme": scheme}
    assert {label for _, label in prepared(tmp_path, source, COLUMNS)} == {'[[0,3,"X"],[4,5,"X"]]'}


@pytest.mark.parametrize(
    ("row", "more", "words"),
    [
        ({"ner_tags": ["O"]}, {}, "the row at 2: 2 tokens have 1 tags"),
        ({"ner_tags": ["O", "PER"]}, {}, "the row at 2: 'PER' is not a tag"),
        ({"ner_tags": ["O", None]}, {}, "the row at 2: None is not a tag"),
        ({"ner_tags": ["O", "I-X"]}, {}, "the row at 2: token 2: I-X continues a span of X that has not begun; `sch"),
        ({"ner_tags": ["B-X", "I-Y"]}, {"scheme": "iob2"}, "the row at 2, token 2: I-Y continues a span of Y"),
        ({"ner_tags": ["B-X", "S-X"]}, {}, "the row at 2: token 2: S-X follows B-X, whose span has not ended"),
        ({"ner_tags": [0, 1]}, {}, "the row at 2: the tags are numbers; `columns.tag_names`"),
        ({"ner_tags": [0, 3]}, {"tag_names": ["O", "B-X", "I-X"]}, "the row at 2: 3 is the number of no tag"),
        ({"ner_tags": [0, -100]}, {"tag_names": ["O", "B-X", "I-X"]}, "the row at 2: -100 is the number of no tag"),
        ({"tokens": ["a", " "], "ner_tags": ["O", "O"]}, {}, "the row at 2: token 2 is empty"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_with_its_place(
    row: dict[str, Any], more: dict[str, Any], words: str, tmp_path: Path
) -> None:
    """As in a CoNLL file: nothing is guessed, and no row is set aside for it."""
    good = {"tokens": ["a", "b"], "ner_tags": ["B-X", "O"] if "tag_names" not in more else [1, 0]}
    source = as_jsonl(tmp_path / "rows.jsonl", [good, good | row])
    columns = COLUMNS | {key: value for key, value in more.items() if key == "tag_names"}
    with pytest.raises(DataError) as caught:
        prepared(tmp_path, source | {key: value for key, value in more.items() if key == "scheme"}, columns)
    assert words in caught.value.what


def test_sources_have_tags_of_their_own(tmp_path: Path) -> None:
    """Of several, each may number and mark them in its own way."""
    first = [{"tokens": ["a", f"b{n}"], "ner_tags": [2, 1]} for n in range(10)]
    second = [{"words": ["a", f"c{n}"], "tags": ["I-X", "B-X"]} for n in range(10)]
    sources = [
        as_jsonl(tmp_path / "a.jsonl", first) | {"columns": COLUMNS | {"tag_names": ["O", "I-X", "B-X"]}},
        as_jsonl(tmp_path / "b.jsonl", second) | {"columns": {"text": "words", "label": "tags"}, "scheme": "iob1"},
    ]
    recipe = Recipe.model_validate(
        {"version": 1, "name": "n", "task": "token-classification", "model": {"path": str(tmp_path)},
         "data": {"sources": sources, "split": {"test": 0.2, "validation": 0.2}}}
    )  # fmt: skip
    dataset = run_stage(prepare, recipe, {}, tmp_path / "out").artifact
    rows = [row for split in ("train", "validation", "test") for row in read_split(dataset, split).to_pylist()]
    assert {row["label"] for row in rows if "b" in row["text"]} == {'[[0,4,"X"]]'}
    assert {row["label"] for row in rows if "c" in row["text"]} == {'[[0,1,"X"],[2,4,"X"]]'}


def test_names_of_tags_are_of_tokens(tmp_path: Path) -> None:
    """Another task is told so when its recipe is read."""
    document = {"version": 1, "name": "n", "task": "multi-label-classification", "model": {"path": "m"},
                "data": {"source": {"path": "rows.jsonl"}, "columns": {"tag_names": ["O"]}}}  # fmt: skip
    (tmp_path / "recipe.yaml").write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_recipe(tmp_path / "recipe.yaml")
    assert "`columns.tag_names` are of tokens" in str(caught.value.problems)
