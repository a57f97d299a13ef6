"""Splits that the data brings along: what stands in two of them is found, told, and removed only when asked."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_prepare import recipe, rows, write_jsonl
from test_prepare_split import index

from ftdeploy.artifact import Artifact
from ftdeploy.dataset import read_profile, read_split
from ftdeploy.errors import DataError
from ftdeploy.prepare import prepare
from ftdeploy.prepare.leakage import find_leaks
from ftdeploy.prepare.near import PERMUTATIONS, estimate, find_pairs, sketch
from ftdeploy.prepare.split import FREE, SAMPLED_OUT, TEST, TRAIN
from ftdeploy.recipe import Recipe
from ftdeploy.stage import run_stage

OWN = {"column": "part"}
SHARED = (
    "a plain sentence of some thirty words and more, long enough that another word at its end leaves it nearly as it "
    "was before, which is what people do to texts that they hand in once again"
)
NEARLY = SHARED.replace("plain sentence", "plain, sentence").replace("again", "more")


def lines(count: int = 90, *, seed: int = 1) -> list[dict[str, Any]]:
    """Rows without any likeness, 60 for train, 15 for validation, 15 for test."""
    draw = random.Random(seed)  # noqa: S311 - test data
    parts = ["train"] * (count * 4 // 6) + ["dev"] * (count // 6) + ["Test"] * (count // 6)
    return [
        {
            "text": " ".join(f"w{draw.randrange(10**6)}" for _ in range(8)),
            "label": "ab"[n % 2],
            "part": part,
            "id": f"r{n}",
        }
        for n, part in enumerate(parts)
    ]


def dataset(path: Path, made: list[dict[str, Any]], **data: Any) -> Artifact:
    """Run the stage over these rows, whose column ``part`` names the split unless told otherwise."""
    data = {"split": OWN, "columns": {"id": "id"}} | data
    return run_stage(prepare, recipe(write_jsonl(path / "rows.jsonl", made), **data), {}, path / "out").artifact


def row(text: str, part: str, *, label: str = "a", name: str = "", group: str | None = None) -> dict[str, Any]:
    return {"text": text, "label": label, "part": part, "id": name or f"{part}-{text[:8]}", "g": group}


def test_rows_stand_where_the_column_says(tmp_path: Path) -> None:
    """In any case and under the usual names; the profile says that the column decided."""
    made = dataset(tmp_path, lines())
    names = {"train": "train", "dev": "validation", "Test": "test"}
    expected = {line["id"]: names[line["part"]] for line in lines()}
    assert {found["id"]: found["split"] for found in rows(made)} == expected
    assert read_profile(made)["split_method"] == {"by": "column", "column": "part"}
    assert "leakage" not in read_profile(made)


def test_values_of_the_column_are_named_by_the_recipe(tmp_path: Path) -> None:
    """Folds by number, say; a value that is not named is an error with its line, and so is an empty one."""
    named = [line | {"part": {"train": 0, "dev": 8, "Test": 9}[line["part"]]} for line in lines()]
    split = OWN | {"values": {"0": "train", "8": "validation", "9": "test"}}
    assert dataset(tmp_path, named, split=split).facts["test"] == 15
    with pytest.raises(DataError, match="row at 91 has '7' in the column 'part'"):
        dataset(tmp_path, [*named, row("x y", "7")], split=split)
    with pytest.raises(DataError, match="row at 91 has 'nothing'"):
        dataset(tmp_path, [*lines(), row("x y", "")])
    with pytest.raises(DataError, match="no column 'part'"):
        dataset(tmp_path, [{"text": line["text"], "label": line["label"], "id": line["id"]} for line in lines()])


@pytest.mark.parametrize(
    ("first", "second", "kind"),
    [
        (row(SHARED, "train", name="one"), row(SHARED.upper(), "test", name="two"), "the same text"),
        (row(SHARED, "train", name="one"), row(SHARED, "test", name="two", label="b"), "the same text"),
        (row(SHARED, "train", name="one"), row(NEARLY, "test", name="two"), "nearly the same text"),
        (row("c d", "train", name="one", group="g"), row("e f", "test", name="two", group="g"), "the same group"),
    ],
)
def test_leakage_is_an_error_that_names_rows(
    tmp_path: Path, first: dict[str, Any], second: dict[str, Any], kind: str
) -> None:
    """Equal text, also with another label; nearly equal text; one group: by default nothing is made, and the rows and
    the ways out are named."""
    with pytest.raises(DataError, match=f"1 rows .*1 with {kind}") as caught:
        dataset(tmp_path, [*lines(), first, second], columns={"id": "id", "group": "g"})
    assert "one (train) and two (test)" in caught.value.what
    assert "leakage: drop" in caught.value.fix
    assert not (tmp_path / "out").exists()
    assert [item.name for item in tmp_path.iterdir()] == ["rows.jsonl"]


def test_leakage_is_dropped_from_the_earlier_split(tmp_path: Path) -> None:
    """`drop` removes from train what validation or test has, and from validation what test has; test stays whole."""
    import pyarrow.parquet as pq

    extra = [row(SHARED, "train", name="t1"), row(SHARED, "dev", name="v1"), row(NEARLY, "Test", name="e1")]
    extra += [row("c d", "train", name="t2", group="g"), row("e f", "dev", name="v2", group="g")]
    made = dataset(tmp_path, [*lines(), *extra], split=OWN | {"leakage": "drop"}, columns={"id": "id", "group": "g"})
    names = {found["id"]: found["split"] for found in rows(made)}
    assert {name: names.get(name) for name in ("t1", "v1", "e1", "t2", "v2")} == {
        "t1": None, "v1": None, "e1": "test", "t2": None, "v2": "validation",
    }  # fmt: skip
    leakage = read_profile(made)["leakage"]
    assert (leakage["rows"], leakage["dropped"], leakage["by_split"]) == (3, 3, {"train": 2, "validation": 1})
    assert leakage["by_kind"] == {"exact": 1, "group": 1, "near": 2}
    assert leakage["examples"]["group"] == [["t2 (train)", "v2 (validation)"]]
    reasons = pq.read_table(made.file("rejected.parquet"))["reason"].to_pylist()
    assert reasons == ["stands in a later split too"] * 3


def test_leakage_is_only_reported_when_asked(tmp_path: Path) -> None:
    """`report` keeps every row where it is, and the profile has the counts."""
    extra = [row(SHARED, "train", name="one"), row(SHARED, "test", name="two")]
    made = dataset(tmp_path, [*lines(), *extra], split=OWN | {"leakage": "report"})
    assert made.facts["rows"] == 92
    assert read_profile(made)["leakage"]["dropped"] == 0
    assert read_profile(made)["leakage"]["examples"] == {"exact": [["one (train)", "two (test)"]]}


def test_without_near_duplicates_only_equal_texts_leak(tmp_path: Path) -> None:
    """`near: ignore` does not look for them."""
    extra = [row(SHARED, "train", name="one"), row(NEARLY, "test", name="two")]
    assert dataset(tmp_path, [*lines(), *extra], duplicates={"near": "ignore"}).facts["rows"] == 92


def test_duplicates_within_a_given_split_are_no_leakage(tmp_path: Path) -> None:
    """They are dropped, as anywhere."""
    made = dataset(tmp_path, [*lines(), row(SHARED, "test", name="one"), row(SHARED, "test", name="two")])
    assert (made.facts["duplicates"], made.facts["test"]) == (1, 16)


@pytest.mark.parametrize("absent", ["dev", "Test"])
def test_a_split_that_no_row_names_is_cut_from_train(tmp_path: Path, absent: str) -> None:
    """At its share of train, with the labels in alike shares; the split that is given stays as it is."""
    given = [line for line in lines() if line["part"] != absent]
    made = dataset(tmp_path, given)
    share = {"dev": 0.1, "Test": 0.2}[absent]
    assert made.facts[{"dev": "validation", "Test": "test"}[absent]] == pytest.approx(60 * share, abs=1)
    assert made.facts["rows"] == 75
    kept = {found["id"]: found["split"] for found in rows(made)}
    other, name = {"dev": ("Test", "test"), "Test": ("dev", "validation")}[absent]
    assert {kept[line["id"]] for line in given if line["part"] == other} == {name}


def several(path: Path, parts: dict[str | None, list[dict[str, Any]]], **data: Any) -> Recipe:
    """A recipe with a source for each role."""
    sources = []
    for number, (role, made) in enumerate(parts.items()):
        write_jsonl(path / f"part{number}.jsonl", made)
        sources.append({"path": str(path / f"part{number}.jsonl")} | ({"role": role} if role else {}))
    sections = {"version": 1, "name": "demo", "task": "text-classification", "model": {"path": "none"}}
    return Recipe.model_validate(sections | {"data": {"sources": sources} | data})


def test_sources_with_a_role_stand_in_their_split(tmp_path: Path) -> None:
    """A test set of its own; validation is cut from the rows without a role, and those that belong together with a row
    of train stay in train."""
    shared = [row(f"{SHARED} {n}", "", group=f"g{n}") for n in range(10)]
    free = [line | {"g": None} for line in lines(60)] + shared
    own = [line | {"g": f"g{n}"} for n, line in enumerate(lines(60, seed=2))]
    held_out = [line | {"g": None} for line in lines(30, seed=3)]
    made = run_stage(
        prepare,
        several(tmp_path, {None: free, "train": own, "test": held_out}, columns={"group": "g"}),
        {},
        tmp_path / "out",
    ).artifact
    assert made.facts["test"] == 30
    assert made.facts["validation"] == pytest.approx(6, abs=1)
    found = rows(made)
    assert {one["split"] for one in found if one["text"].startswith(SHARED)} == {"train"}
    assert {one["split"] for one in found if one["id"].startswith("part2:")} == {"test"}


def test_sources_with_a_role_can_leak(tmp_path: Path) -> None:
    """Between files as between the values of a column."""
    parts: dict[str | None, list[dict[str, Any]]] = {
        None: [*lines(60), row(SHARED, "")],
        "test": [*lines(30, seed=3), row(NEARLY, "")],
    }
    with pytest.raises(DataError, match="1 with nearly the same text"):
        run_stage(prepare, several(tmp_path, parts, duplicates={"near": "report"}), {}, tmp_path / "out")


def test_without_rows_for_train_nothing_is_made(tmp_path: Path) -> None:
    """Every source a test set is a mistake of the recipe."""
    with pytest.raises(DataError, match="no row is left for train"):
        run_stage(prepare, several(tmp_path, {"test": lines()}), {}, tmp_path / "out")


@settings(max_examples=60)
@given(data=st.data())
def test_nothing_leaks_after_dropping(data: st.DataObject) -> None:
    """Whatever the texts, groups and families: without the rows that are named nothing stands in two splits; rows of
    test are never named."""
    count = data.draw(st.integers(10, 60))

    def drawn(most: int) -> list[int]:
        return data.draw(st.lists(st.integers(0, most), min_size=count, max_size=count))

    made = index(drawn(30), [0] * count, drawn(20))
    made = replace(made, fixed=np.full(count, FREE, dtype=np.uint8))
    where = np.array(drawn(2), dtype=np.uint8)
    where[np.array(drawn(9)) == 0] = SAMPLED_OUT
    family = np.array(drawn(12))
    sketches = np.random.default_rng(1).integers(0, 256, size=(13, PERMUTATIONS), dtype=np.uint8)[family]
    made = replace(made, sketch=sketches)
    pairs = find_pairs(sketches, np.arange(count), threshold=0.8)
    leaks = find_leaks(made, where, pairs, threshold=0.8)
    assert not (where[leaks.all] == TEST).any()
    assert (where[leaks.all] <= TEST).all()
    for kind, found in leaks.rows.items():
        assert (where[found] < where[leaks.others[kind]]).all()
    where[leaks.all] = SAMPLED_OUT
    for key in (made.key[:, 0], made.group, family + 1):
        for value in set(key.tolist()) - {0}:
            assert len(set(where[key == value].tolist()) - {SAMPLED_OUT}) <= 1


def test_every_row_of_a_large_family_leaks() -> None:
    """A thousand variants in train of one row in test: all of them are found, though few pairs are looked at."""
    words = [f"word{number}" for number in range(60)]
    folded = [" ".join([*words[:59], f"end{number}"]) for number in range(1001)]
    sketches = sketch(folded, shingles="words", size=2)
    made = replace(index(list(range(1001)), [0] * 1001), sketch=sketches)
    where = np.full(1001, TRAIN, dtype=np.uint8)
    where[500] = TEST
    leaks = find_leaks(made, where, find_pairs(sketches, np.arange(1001), threshold=0.8), threshold=0.8)
    like = estimate(sketches, np.broadcast_to(sketches[500], sketches.shape)) >= 0.8
    assert like.sum() > 990
    assert set(leaks.rows["near"].tolist()) == set(np.flatnonzero(like).tolist()) - {500}


def test_rows_that_are_alike_only_by_way_of_others_do_not_leak() -> None:
    """a like b, b like c, a not like c: of a and b in train and c in test only b leaks."""
    texts = [[f"w{number}" for number in range(start, start + 40)] for start in (0, 3, 6)]
    sketches = sketch([" ".join(text) for text in texts], shingles="words", size=2)
    made = replace(index([1, 2, 3], [0] * 3), sketch=sketches)
    where = np.array([TRAIN, TRAIN, TEST], dtype=np.uint8)
    leaks = find_leaks(made, where, np.array([[0, 1], [1, 2]]), threshold=0.8)
    assert leaks.rows["near"].tolist() == [1]
    assert leaks.others["near"].tolist() == [2]


def test_rows_without_a_split_are_divided_beside_those_with_one(tmp_path: Path) -> None:
    """`others: divide` cuts validation and test from them alone; what is near a row of train stays in train."""
    made = lines(300)
    old, new = [one for one in made if one["part"] == "train"], lines(100, seed=2)
    test = [one for one in made if one["part"] != "train"]
    near = row(NEARLY, "", name="near")
    write_jsonl(tmp_path / "train.jsonl", [*old, row(SHARED, "train", name="shared")])
    write_jsonl(tmp_path / "test.jsonl", test)
    write_jsonl(tmp_path / "new.jsonl", [*new, near])
    sources = [
        {"path": str(tmp_path / "train.jsonl"), "role": "train"},
        {"path": str(tmp_path / "test.jsonl"), "role": "test"},
        {"path": str(tmp_path / "new.jsonl")},
    ]
    split = {"others": "divide", "test": 0.4, "validation": 0.1}
    sections = {"version": 1, "name": "demo", "task": "text-classification", "model": {"path": "none"}}
    data = {"sources": sources, "split": split, "columns": {"id": "id"}}
    made_of = run_stage(prepare, Recipe.model_validate(sections | {"data": data}), {}, tmp_path / "out").artifact
    found = {one["name"]: one["splits"] for one in read_profile(made_of)["sources"]}
    assert found["train"] == {"train": len(old) + 1, "validation": 0, "test": 0}
    assert found["test"]["test"] == len(test)
    assert found["new"] == {"train": 49, "validation": 10, "test": 40}
    assert "new:near" in read_split(made_of, "train")["id"].to_pylist()
