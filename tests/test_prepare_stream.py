"""Several sources in one recipe: renamed, weighted, capped, each row knowing where it is from."""

from __future__ import annotations

import csv
import json
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from ftdeploy import progress
from ftdeploy.artifact import Artifact
from ftdeploy.dataset import SPLITS, read_profile, read_split
from ftdeploy.errors import DataError, SourceError
from ftdeploy.prepare import prepare
from ftdeploy.prepare.peek import peek, read_sample
from ftdeploy.prepare.stream import open_sources
from ftdeploy.recipe import DataSettings, Recipe
from ftdeploy.stage import run_stage


def recipe(*sources: dict[str, Any], task: str = "text-classification", **data: Any) -> Recipe:
    sections = {"version": 1, "name": "demo", "task": task, "model": {"path": "none"}}
    return Recipe.model_validate(sections | {"data": {"sources": list(sources)} | data})


def dataset(folder: Path, *sources: dict[str, Any], **data: Any) -> Artifact:
    return run_stage(prepare, recipe(*sources, **data), {}, folder / "out" / "dataset").artifact


def rows(made: Artifact) -> list[dict[str, Any]]:
    return [row | {"split": name} for name in SPLITS for row in read_split(made, name).to_pylist()]


def written(path: Path, words: str, count: int, *, columns: tuple[str, str] = ("text", "label")) -> dict[str, Any]:
    """A CSV file of ``count`` rows about ``words``, labels a and b in turn; its entry in the recipe."""
    with path.open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(columns)
        writer.writerows((f"{words} number {place * 7919}", "ab"[place % 2]) for place in range(count))
    return {"path": str(path)}


def test_real_files_of_different_forms_become_one_data_set(mirror: Path, tmp_path: Path) -> None:
    """Lines in ISO-8859-1, CoNLL, and a table without a header: one label for each makes a classifier of domains."""
    with (mirror / "pricerunner.csv").open(encoding="utf-8") as handle:
        (tmp_path / "retail.csv").write_text("".join(islice(handle, 300)), encoding="utf-8")
    lines = (mirror / "finance-phrasebank.txt").read_bytes().splitlines(keepends=True)[::10]
    (tmp_path / "finance.txt").write_bytes(b"".join(lines))
    names = ["id", "title", "vendor", "cluster", "cluster_label", "category", "category_label"]
    made = dataset(
        tmp_path,
        {"path": str(tmp_path / "finance.txt"), "format": "lines", "delimiter": "@", "encoding": "auto"},
        {"path": str(mirror / "bc5cdr-devel.tsv"), "format": "conll", "label": "medicine", "rows": 300},
        {
            "path": str(tmp_path / "retail.csv"), "header": False, "names": names, "label": "retail",
            "columns": {"text": "title", "id": "id", "group": "cluster"},
        },
        duplicates={"near": "ignore"},
    )  # fmt: skip
    found = rows(made)
    counts = Counter(row["label"] for row in found)
    assert set(counts) == {"positive", "negative", "neutral", "medicine", "retail"}
    assert counts["medicine"] == 300
    assert len({row["id"] for row in found}) == len(found)
    assert {row["id"].partition(":")[0] for row in found} == {"finance", "bc5cdr-devel", "retail"}
    sources = read_profile(made)["sources"]
    assert [source["encoding"] for source in sources][1:] == ["utf-8", "utf-8"]
    texts = b"".join(lines).decode(sources[0]["encoding"])
    assert all(row["text"] in " ".join(texts.split()) for row in found if row["id"].startswith("finance"))
    for source in sources:
        mine = [row for row in found if row["id"].startswith(f"{source['name']}:")]
        assert source["splits"] == {name: sum(row["split"] == name for row in mine) for name in SPLITS}
        assert source["read"] >= len(mine)


def test_weights_are_those_of_the_sources_with_a_mean_of_one(tmp_path: Path) -> None:
    """A column of the training rows only; without different weights there is none."""
    one, two = written(tmp_path / "one.csv", "cats", 60), written(tmp_path / "two.csv", "dogs", 120)
    found = [row for row in rows(dataset(tmp_path, one | {"weight": 3.0}, two)) if row["split"] == "train"]
    by_source = {row["id"].partition(":")[0]: row["weight"] for row in found}
    assert by_source["one"] == pytest.approx(3 * by_source["two"])
    assert sum(row["weight"] for row in found) / len(found) == pytest.approx(1)
    plain = dataset(tmp_path / "plain", one | {"weight": 2.0}, two | {"weight": 2.0})
    for made in (plain, dataset(tmp_path / "weighted", one | {"weight": 3.0}, two)):
        assert "weight" not in read_split(made, "validation").column_names
        assert "weight" not in read_split(made, "test").column_names
    assert "weight" not in read_split(plain, "train").column_names


def test_columns_and_labels_are_brought_under_one_name(tmp_path: Path) -> None:
    """Each source has its own columns and label names; null sets a label's rows aside, with the source named."""
    import pyarrow.parquet as pq

    one = written(tmp_path / "one.csv", "cats", 40)
    two = written(tmp_path / "two.csv", "dogs", 40, columns=("title", "kind"))
    made = dataset(
        tmp_path,
        one | {"label_map": {"a": "yes", "b": "no"}},
        two | {"columns": {"text": "title", "label": "kind"}, "label_map": {"a": "yes", "b": None}, "name": "second"},
        slices=["source"],
    )
    assert Counter((row["source"], row["label"]) for row in rows(made)) == {
        ("one", "yes"): 20, ("one", "no"): 20, ("second", "yes"): 20,
    }  # fmt: skip
    aside = pq.read_table(made.file("rejected.parquet")).to_pylist()
    assert Counter((row["source"], row["reason"]) for row in aside) == {("second", "label is null in label_map"): 20}


@pytest.mark.parametrize(
    ("task", "labels", "called", "kept"),
    [
        ("multi-label-classification", [["a", "b"], ["b"], []], {"a": "yes", "b": None}, ['["yes"]', "[]", "[]"]),
        (
            "token-classification",
            [[{"label": "A", "start": 0, "end": 3}, {"label": "B", "start": 4, "end": 7}], []],
            {"A": "Kind", "B": None},
            ['[[0,3,"Kind"]]', "[]"],
        ),
    ],
)
def test_names_in_a_label_are_renamed_one_by_one(task: str, labels: list[list[Any]], called: dict[str, str | None],
                                                 kept: list[str], tmp_path: Path) -> None:  # fmt: skip
    """Of several labels, and of entities: null takes the name out, and its row stays. One that no row has is told."""
    lines = [
        {"text": f"one two {number * 7919}", "label": labels[number % len(labels)]}
        for number in range(30 * len(labels))
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")

    def made_by(names: dict[str, str | None]) -> Artifact:
        sources = [{"path": str(tmp_path / "rows.jsonl"), "label_map": names}]
        sections = {"version": 1, "name": "demo", "task": task, "model": {"path": "none"}}
        return run_stage(
            prepare, Recipe.model_validate(sections | {"data": {"sources": sources}}), {}, tmp_path / "out" / "dataset"
        ).artifact

    assert Counter(row["label"] for row in rows(made_by(called))) == Counter(kept * 30)
    assert json.loads(made_by(called).file("profile.json").read_text(encoding="utf-8"))["read"] == len(lines)
    with pytest.raises(DataError, match="has the label 'c' of its label_map"):
        made_by({"c": "d"})


def test_a_cap_takes_a_seeded_sample_that_does_not_depend_on_order(tmp_path: Path) -> None:
    """`rows` of one source; the others keep theirs."""
    one, two = written(tmp_path / "one.csv", "cats", 50), written(tmp_path / "two.csv", "dogs", 200)
    first = {row["text"] for row in rows(dataset(tmp_path, one, two | {"rows": 30}))}
    assert Counter(text.split()[0] for text in first) == {"cats": 50, "dogs": 30}
    header, *lines = (tmp_path / "two.csv").read_text().splitlines(keepends=True)
    (tmp_path / "two.csv").write_text(header + "".join(reversed(lines)))
    assert {row["text"] for row in rows(dataset(tmp_path / "again", one, two | {"rows": 30}))} == first


def test_a_source_may_be_a_split_of_its_own(tmp_path: Path) -> None:
    """`role: test` keeps all of its rows there, and no other row comes to them."""
    one, two = written(tmp_path / "one.csv", "cats", 100), written(tmp_path / "two.csv", "dogs", 30)
    found = rows(dataset(tmp_path, one, two | {"role": "test"}, duplicates={"near": "ignore"}))
    assert {row["split"] for row in found if row["text"].startswith("dogs")} == {"test"}
    assert {row["split"] for row in found if row["text"].startswith("cats")} == {"train", "validation"}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"columns": {"text": "txt"}}, "source two: there is no column 'txt'; the columns are: text, label"),
        ({"columns": {"id": "key"}}, "source two: there is no column 'key'"),
        ({"label_map": {"c": "a"}}, "source two: no row has the label 'c' of its label_map"),
    ],
)
def test_what_one_source_lacks_is_told_of_that_one(tmp_path: Path, settings: dict[str, Any], words: str) -> None:
    """Even where another source has a column of that name; and `check` tells it before a run."""
    one = written(tmp_path / "one.csv", "cats", 40)
    two = written(tmp_path / "two.csv", "dogs", 40) | settings
    with pytest.raises(DataError, match=words):
        dataset(tmp_path, one, two)
    made = recipe(one, two)
    with pytest.raises(DataError, match=words):
        peek(made.data, open_sources(made.data), task=made.task, seed=1)


def test_a_misspelt_label_of_a_map_is_told_with_the_one_that_was_meant(tmp_path: Path) -> None:
    """Only labels that the map does not have yet can be meant."""
    one = written(tmp_path / "one.csv", "cats", 40)
    two = tmp_path / "two.csv"
    two.write_text("text,label\n" + "".join(f"dog {n},{('invoice', 'parcel')[n % 2]}\n" for n in range(9)))
    with pytest.raises(DataError, match="'invocie' of its label_map") as caught:
        dataset(tmp_path, one, {"path": str(two), "label_map": {"invocie": "a", "parcel": "b"}})
    assert "did you mean 'invoice'" in caught.value.fix


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"split": {"column": "part"}}, "the row at two:4 has 'held-out' in the column 'part'"),
        (
            {"split": {"by": "time"}, "columns": {"time": "day"}},
            r"'1\.5\.' at two:4 is not a time .*neither ISO 8601 nor a number",
        ),
        ({"labels": ["a", "b"]}, r"'c' \(2 rows, first at one:4"),
        ({"privacy": {"policy": "fail"}}, "the row at two:4 holds an identifier of type 'email'"),
    ],
)
def test_a_row_of_several_sources_is_told_with_its_source(tmp_path: Path, data: dict[str, Any], words: str) -> None:
    """Line 4 alone could be line 4 of any of them; a preview's examples say it, too."""
    label = "c" if "labels" in data else "a"
    files = {"one": f"cat,{label},train,2024-05-01", "two": f"jo@example.org,{label},held-out,1.5."}
    for name, bad in files.items():
        good = [f"{name} {place},{'ab'[place % 2]},train,2024-05-0{place + 1}" for place in range(8)]
        lines = ["text,label,part,day", *good[:2], bad, ",a,train,2024-05-01", *good[2:]]
        (tmp_path / f"{name}.csv").write_text("\n".join(lines) + "\n")
    made = recipe(*({"path": str(tmp_path / f"{name}.csv")} for name in files), **data)
    with pytest.raises(DataError, match=words):
        run_stage(prepare, made, {}, tmp_path / "out" / "dataset")
    plain = recipe(*({"path": str(tmp_path / f"{name}.csv")} for name in files))
    sample = read_sample(plain.data, open_sources(plain.data), task=plain.task, seed=1, most=0)
    examples = [before for before, _ in sample.counts.rejected["text is empty"].examples]
    assert examples == ["one:5: ", "two:5: "]


def test_the_last_line_accounts_for_every_row(tmp_path: Path) -> None:
    """What a cap on a source leaves out is said beside what was set aside."""
    one, two = written(tmp_path / "one.csv", "cats", 40), written(tmp_path / "two.csv", "dogs", 40)
    said: list[str] = []

    class Listening(progress._Silent):
        def say(self, message: str) -> None:
            said.append(message)

    with progress.reporting(Listening()):
        dataset(tmp_path, one, two | {"rows": 15})
    assert said[-1].startswith("55 of 80 rows: ")
    assert said[-1].endswith("0 set aside, 0 duplicates dropped, 25 not in the sample")


def test_check_looks_at_the_beginning_of_each_source(tmp_path: Path) -> None:
    """The first file is long; the second is read all the same."""
    one, two = written(tmp_path / "one.csv", "cats", 500), written(tmp_path / "two.csv", "dogs", 20)
    made = recipe(one, two | {"label": "c"})
    found = peek(made.data, open_sources(made.data), task=made.task, seed=1, most=100)
    assert (found.read, found.whole) == (70, False)
    assert dict(found.labels) == {"a": 25, "b": 25, "c": 20}


def test_a_changed_file_of_any_source_makes_the_stage_run_again(tmp_path: Path) -> None:
    """The key of the stage holds what each source's bytes are."""
    entries = [written(tmp_path / "one.csv", "cats", 40), written(tmp_path / "two.csv", "dogs", 40)]
    settings = recipe(*entries)
    run_stage(prepare, settings, {}, tmp_path / "out")
    assert run_stage(prepare, settings, {}, tmp_path / "out").skipped
    written(tmp_path / "two.csv", "dogs", 41)
    assert not run_stage(prepare, settings, {}, tmp_path / "out").skipped
    (tmp_path / "one.csv").unlink()
    with pytest.raises(SourceError, match=r"one\.csv does not exist"):
        run_stage(prepare, settings, {}, tmp_path / "out")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({}, "exactly one of source and sources is wanted; neither is given"),
        ({"source": {"path": "a"}, "sources": [{"path": "b"}]}, "exactly one .* both are given"),
        ({"sources": [{"path": "a", "name": "x"}, {"path": "b", "name": "x"}]}, "two sources are named 'x'"),
        ({"sources": [{"path": "a", "label": "x", "label_map": {"y": "z"}}]}, "exclude each other"),
        ({"sources": [{"path": "a", "weight": 0}]}, "greater than 0"),
        ({"sources": [{"path": "a", "weight": 2, "role": "test"}]}, "a weight counts in training only"),
    ],
)
def test_sources_that_cannot_be_meant(data: dict[str, Any], words: str) -> None:
    """Refused with the recipe, before anything is read."""
    with pytest.raises(ValidationError, match=words):
        DataSettings.model_validate(data)


def test_names_are_the_files_and_different() -> None:
    """A given name is kept, and whoever would have the same one gets its position."""
    files = [{"path": "a/x.csv.gz"}, {"path": "b/x.csv"}, {"path": "c.csv", "name": "d"}, {"path": "d.jsonl"}]
    entries = DataSettings.model_validate({"sources": files}).entries
    assert [entry.name for entry in entries] == ["x", "x-2", "d", "d-4"]


def test_an_encoding_that_was_found_is_reported(tmp_path: Path) -> None:
    """For a single source, too: in the profile, and said while it runs."""
    from contextlib import nullcontext

    from ftdeploy import progress

    said: list[str] = []

    class Listening:
        def task(self, name: str, total: float | None) -> Any:  # noqa: ARG002 - a Reporter
            return nullcontext(lambda _steps: None)

        def say(self, message: str) -> None:
            said.append(message)

    path = tmp_path / "rows.jsonl"
    lines = [json.dumps({"text": f"schöne Grüße {n}", "label": "ab"[n % 2]}, ensure_ascii=False) for n in range(30)]
    path.write_text("\n".join(lines), encoding="cp1252")
    sections = {"version": 1, "name": "demo", "task": "text-classification", "model": {"path": "none"}}
    source = {"path": str(path), "encoding": "auto", "licence": "CC0-1.0", "citation": "Nobody (2026)"}
    settings = Recipe.model_validate(sections | {"data": {"source": source}})
    with progress.reporting(Listening()):
        made = run_stage(prepare, settings, {}, tmp_path / "out").artifact
    profile = read_profile(made)
    assert profile["encoding"] == "cp1252"
    assert (profile["licence"], profile["citation"]) == ("CC0-1.0", "Nobody (2026)")
    assert "schöne Grüße 1" in {row["text"] for row in rows(made)}
    assert any("rows.jsonl is read as cp1252" in line for line in said)
    assert any("CC0-1.0; Nobody (2026)" in line for line in said)


def test_each_source_says_what_stands_between_the_names_of_its_labels(tmp_path: Path) -> None:
    """Where a row may have several; it is no column, and a source that says nothing has lists. A look at the beginning
    reads them alike."""
    found = []
    for name, between, cell in (("one", "|", "a|b"), ("two", ";", "b; c"), ("three", None, '["c"]')):
        path = tmp_path / f"{name}.csv"
        with path.open("w", encoding="utf-8", newline="") as handle:
            csv.writer(handle).writerows([("text", "label"), *((f"{name} {place}", cell) for place in range(12))])
        found.append({"path": str(path), "name": name, "columns": {"label_separator": between}})
    made = recipe(*found, task="multi-label-classification")
    dataset_ = run_stage(prepare, made, {}, tmp_path / "out" / "dataset").artifact
    assert {(row["id"].split(":")[0], row["label"]) for row in rows(dataset_)} == {
        ("one", '["a", "b"]'), ("two", '["b", "c"]'), ("three", '["c"]'),
    }  # fmt: skip
    sample = read_sample(made.data, open_sources(made.data), task=made.task, seed=1, most=0, visit=len)
    assert (len(sample.rows), sorted(sample.builder.classes)) == (36, ["a", "b", "c"])


@pytest.mark.parametrize(
    ("empty", "expected"), [("none", {'["a"]': 12, "[]": 24}), ("missing", {'["a"]': 12, "[]": 12})]
)
def test_a_recipe_says_what_an_empty_cell_means(tmp_path: Path, empty: str, expected: dict[str, int]) -> None:
    """No label, or none yet: then `[]` says that none holds, and the row is set aside and counted."""
    cells = ("a", "[]", "")
    lines = [f"text {place},{cells[place % 3]}" for place in range(36)]
    (tmp_path / "rows.csv").write_text("\n".join(["text,label", *lines]) + "\n", encoding="utf-8")
    columns = {"label_separator": "|", "empty_label": empty}
    made = recipe({"path": str(tmp_path / "rows.csv"), "columns": columns}, task="multi-label-classification")
    dataset_ = run_stage(prepare, made, {}, tmp_path / "out" / "dataset").artifact
    assert Counter(row["label"] for row in rows(dataset_)) == expected
    rejected = read_profile(dataset_)["rejected"]
    assert rejected.get("label is missing", {}).get("rows", 0) == (12 if empty == "missing" else 0)


def test_labels_that_nobody_has_filled_in_are_refused(tmp_path: Path) -> None:
    """Of one source among several, too: else every text of it would be taught to have no label."""
    for name, cell in (("one", "a|b"), ("two", "")):
        lines = "".join(f"{name} {place},{cell}\n" for place in range(12))
        (tmp_path / f"{name}.csv").write_text(f"text,label\n{lines}", encoding="utf-8")
    columns = {"label_separator": "|"}
    entries = [{"path": str(tmp_path / f"{name}.csv"), "columns": columns} for name in ("one", "two")]
    for number, sources in enumerate((entries, entries[1:])):
        labelled = recipe(*sources, task="multi-label-classification")
        with pytest.raises(DataError, match=r"two\.csv: the column 'label' is empty in all 12 rows"):
            run_stage(prepare, labelled, {}, tmp_path / f"out{number}" / "dataset")
