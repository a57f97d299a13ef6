"""The prepare stage from file to dataset artifact: what comes out, and that it depends on nothing it should not."""

from __future__ import annotations

import gzip
import json
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ftdeploy.artifact import Artifact
from ftdeploy.dataset import SPLITS, label_names, read_profile, read_split
from ftdeploy.errors import DataError
from ftdeploy.prepare import prepare
from ftdeploy.recipe import Recipe, load_recipe
from ftdeploy.stage import run_stage

ROOT = Path(__file__).parents[1]


def recipe(path: Path, **data: Any) -> Recipe:
    """A recipe over one file; keys of ``source`` as ``source={...}``."""
    source = {"path": str(path)} | data.pop("source", {})
    sections = {"version": 1, "name": "demo", "task": "text-classification", "model": {"path": "none"}}
    return Recipe.model_validate(sections | {"data": {"source": source} | data})


def dataset(path: Path, **data: Any) -> Artifact:
    """Run the stage beside the file."""
    return run_stage(prepare, recipe(path, **data), {}, path.parent / "out" / "dataset").artifact


def rows(artifact: Artifact) -> list[dict[str, Any]]:
    """Every row with its split."""
    return [row | {"split": name} for name in SPLITS for row in read_split(artifact, name).to_pylist()]


def write_jsonl(path: Path, lines: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")
    return path


def many(count: int, *, labels: str = "ab", seed: int = 1) -> list[dict[str, Any]]:
    draw = random.Random(seed)  # noqa: S311 - test data
    return [{"text": f"text number {place}", "label": draw.choice(labels)} for place in range(count)]


def test_sentiment_recipe_gives_balanced_splits_of_the_real_rows(tmp_path: Path) -> None:
    """The shipped recipe on the shipped source: 10,043 clear snippets, two of them duplicates, in shares 70/10/20."""
    made = run_stage(prepare, load_recipe(ROOT / "recipes" / "sentiment.yaml"), {}, tmp_path / "dataset").artifact
    assert read_profile(made)["read"] == 10_043
    assert made.facts["duplicates"] == 2
    assert made.facts["rows"] == made.facts["train"] + made.facts["validation"] + made.facts["test"] == 10_041  # type: ignore[operator]  # facts are numbers here
    assert made.facts["test"] == pytest.approx(0.2 * 10_041, abs=2)
    assert made.facts["validation"] == pytest.approx(0.1 * 10_041, abs=2)
    assert label_names(made) == ("negative", "positive")
    shares = [
        Counter(read_split(made, name)["label"].to_pylist())["positive"] / int(made.facts[name]) for name in SPLITS
    ]
    assert max(shares) - min(shares) < 0.001


def test_rows_have_the_promised_columns(tmp_path: Path) -> None:
    """text, label, group, id and the slices, all strings; a row without an id is named by its place."""
    lines = [{"t": f"text {n}", "l": n % 2, "patient": f"p{n}", "site": "x"} for n in range(30)]
    columns = {"text": "t", "label": "l", "group": "patient"}
    made = dataset(write_jsonl(tmp_path / "rows.jsonl", lines), columns=columns, slices=["site"])
    table = read_split(made, "train")
    assert table.column_names == ["text", "label", "group", "id", "site"]
    assert {str(field.type) for field in table.schema} == {"string"}
    first = next(row for row in rows(made) if row["text"] == "text 0")
    assert {key: first[key] for key in ("label", "group", "id", "site")} == {
        "label": "0", "group": "p0", "id": "row-1", "site": "x",
    }  # fmt: skip


def _as_csv(lines: list[dict[str, Any]], *, end: str = "\n", delimiter: str = ",") -> str:
    body = [f'"{line["text"]}"{delimiter}{line["label"]}{end}' for line in lines]
    return f"text{delimiter}label{end}" + "".join(body)


def _formats(folder: Path, lines: list[dict[str, Any]]) -> Iterator[tuple[Path, dict[str, Any]]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    def file(name: str, content: bytes) -> Path:
        (folder / name).mkdir()
        (folder / name / name).write_bytes(content)
        return folder / name / name

    yield file("a.csv", _as_csv(lines).encode()), {}
    yield file("bom.csv", _as_csv(lines, end="\r\n").encode("utf-8-sig")), {}
    yield file("semicolon.csv", _as_csv(lines, delimiter=";").encode()), {}
    yield file("a.tsv", _as_csv(lines, delimiter="\t").encode()), {}
    yield file("old_mac.csv", _as_csv(lines, end="\r").encode()), {}
    yield file("utf16.csv", _as_csv(lines).encode("utf-16")), {"encoding": "utf-16"}
    yield file("packed.csv.gz", gzip.compress(_as_csv(lines).encode())), {}
    headless = _as_csv(lines).partition("\n")[2].encode()
    yield file("headless.csv", headless), {"header": False, "names": ["text", "label"]}
    yield file("a.jsonl", "\n\n".join(json.dumps(line) for line in lines).encode()), {}
    yield file("named.data", "\n".join(json.dumps(line) for line in lines).encode()), {"format": "jsonl"}
    table = file("a.parquet", b"")
    pq.write_table(pa.Table.from_pylist(lines), table)
    yield table, {}


def test_every_format_gives_the_same_rows(tmp_path: Path) -> None:
    """CSV in its dialects, TSV, JSON Lines, Parquet: the splits have the same texts and labels."""
    lines = [*many(40), {"text": "naïve; two\nlines, \t and a comma", "label": "a"}]
    seen = {}
    for path, source in _formats(tmp_path, lines):
        seen[path.name] = {(row["text"], row["label"], row["split"]) for row in rows(dataset(path, source=source))}
    assert all(len(found) == 41 for found in seen.values()), {name: len(found) for name, found in seen.items()}
    assert all(found == seen["a.csv"] for found in seen.values())


def test_hub_layout_is_read_through_the_datasets_library(tmp_path: Path) -> None:
    """A local folder as the hub has them: README.md and data files by split."""
    folder = tmp_path / "hub" / "data"
    folder.mkdir(parents=True)
    write_jsonl(folder / "train-00000.jsonl", many(30))
    write_jsonl(folder / "test-00000.jsonl", [{"text": "other", "label": "z"}])
    sections = {"version": 1, "name": "demo", "task": "text-classification", "model": {"path": "none"}}
    data = {"source": {"hub": str(tmp_path / "hub")}}
    made = run_stage(prepare, Recipe.model_validate(sections | {"data": data}), {}, tmp_path / "out").artifact
    assert made.facts["rows"] == 30


def test_splits_do_not_depend_on_the_order_of_the_rows(tmp_path: Path) -> None:
    """Shuffled rows land in the same splits; another seed lands elsewhere."""
    lines = many(200, labels="abc")
    first = dataset(write_jsonl(tmp_path / "a.jsonl", lines))
    before = {row["text"]: row["split"] for row in rows(first)}
    random.Random(5).shuffle(lines)  # noqa: S311 - test data
    (tmp_path / "b").mkdir()
    path = write_jsonl(tmp_path / "b" / "b.jsonl", lines)
    assert {row["text"]: row["split"] for row in rows(dataset(path))} == before
    other = recipe(path).model_copy(update={"seed": 14})
    again = run_stage(prepare, other, {}, tmp_path / "c").artifact
    assert {row["text"]: row["split"] for row in rows(again)} != before


def test_same_input_gives_the_same_bytes_and_the_second_run_does_nothing(tmp_path: Path) -> None:
    """The digest is a function of recipe and rows; equal key, nothing to do; changed file, done again."""
    path = write_jsonl(tmp_path / "rows.jsonl", many(50))
    one = run_stage(prepare, recipe(path), {}, tmp_path / "one")
    two = run_stage(prepare, recipe(path), {}, tmp_path / "two")
    assert one.artifact.digest == two.artifact.digest
    assert run_stage(prepare, recipe(path), {}, tmp_path / "one").skipped
    write_jsonl(path, many(51))
    again = run_stage(prepare, recipe(path), {}, tmp_path / "one")
    assert not again.skipped
    assert again.artifact.facts["rows"] == 51


def test_duplicates_are_dropped_and_contradictions_set_aside(tmp_path: Path) -> None:
    """Equal but for case and white space: the first stays; with two labels none stays, and the profile counts both."""
    lines = [*many(40), {"text": "Twice  said", "label": "a"}, {"text": "twice said", "label": "a"}]
    lines += [{"text": "Unclear", "label": "a"}, {"text": " unclear", "label": "b"}, {"text": "UNCLEAR", "label": "a"}]
    made = dataset(write_jsonl(tmp_path / "rows.jsonl", lines))
    texts = [row["text"] for row in rows(made)]
    assert "Twice said" in texts
    assert not {"twice said", "Unclear", "unclear", "UNCLEAR"} & set(texts)
    assert (made.facts["rows"], made.facts["duplicates"], made.facts["rejected"]) == (41, 1, 3)
    assert read_profile(made)["conflicts"] == 3


def test_rows_set_aside_keep_their_reason(tmp_path: Path) -> None:
    """Nothing is lost without a trace: rejected.parquet names place, reason and text."""
    import pyarrow.parquet as pq

    lines: list[dict[str, Any]] = [*many(30), {"text": "", "label": "a"}, {"text": None, "label": "a"}]
    lines += [
        {"text": "no label", "label": None},
        {"text": "blank label", "label": "  "},
        {"text": "x" * 99, "label": "a"},
    ]
    lines += [{"text": ["a", "list"], "label": "a"}, {"text": "an object", "label": {"a": 1}}, {"label": "a"}]
    made = dataset(write_jsonl(tmp_path / "rows.jsonl", lines), clean={"max_chars": 50})
    aside = pq.read_table(made.file("rejected.parquet")).to_pylist()
    assert [(row["place"], row["reason"]) for row in aside] == [
        (31, "text is empty"),
        (32, "text is missing"),
        (33, "label is missing"),
        (34, "label is missing"),
        (35, "text is longer than max_chars"),
        (36, "text is a list, not text"),
        (37, "label is a dict, not text"),
        (38, "text is missing"),
    ]
    profile = read_profile(made)
    assert profile["rejected"]["text is missing"]["rows"] == 2
    assert profile["read"] == 38
    assert made.facts["rejected"] == 8


def test_ten_megabytes_in_one_cell_are_an_error_and_a_long_text_is_set_aside(tmp_path: Path) -> None:
    """A cell of over a million characters is taken for a fault of the file; a text that is only too long is one
    rejected row, and is not copied around."""
    for name in ("rows.csv", "rows.jsonl"):
        (tmp_path / name).mkdir()
        path = tmp_path / name / name
        for words in (1_700_000, 160_000):
            lines = [*many(30), {"text": "giant " * words, "label": "a"}]
            write_jsonl(path, lines) if name.endswith("l") else path.write_text(_as_csv(lines))
            if words > 200_000:
                with pytest.raises(DataError, match="10,200,000 characters"):
                    dataset(path)
        made = dataset(path)
        assert (made.facts["rows"], made.facts["rejected"]) == (30, 1)
        assert made.file("rejected.parquet").stat().st_size < 100_000


def test_cleaning_counts_what_it_changes_and_shows_examples(tmp_path: Path) -> None:
    """Unicode, control characters and white space; the profile says how often and shows up to three."""
    dirty = ["cafe\u0301", "nul\x00 inside", "  too   many  ", "lone \ud83d half", "tab\there"]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"text": text, "label": "a"}) + "\n" for text in dirty) + "".join(
        json.dumps(line) + "\n" for line in many(30)))  # fmt: skip
    made = dataset(path)
    texts = {row["text"] for row in rows(made)}
    assert {"caf\u00e9", "nul inside", "too many", "lone half", "tab here"} <= texts
    changed = read_profile(made)["changed"]
    assert {rule: changed[rule]["rows"] for rule in changed} == {
        "unicode_nfc": 1, "control_characters": 2, "white_space": 3,
    }  # fmt: skip
    assert changed["unicode_nfc"]["examples"] == ["cafe\u0301"]


def test_without_normalising_texts_stay_as_they_are(tmp_path: Path) -> None:
    """`normalize: false` keeps white space and composition; only what UTF-8 cannot hold is replaced."""
    path = tmp_path / "rows.jsonl"
    lines = [*many(30), {"text": "  cafe\u0301\x07 ", "label": "a"}, {"text": "half \ud83d", "label": "a"}]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    texts = {row["text"] for row in rows(dataset(path, clean={"normalize": False}))}
    assert {"  cafe\u0301\x07 ", "half \ufffd"} <= texts


def test_labels_that_are_not_strings_become_strings(tmp_path: Path) -> None:
    """1, 1.0 and true as values; 1.0 is 1, because tables with gaps turn integers into floats."""
    lines = [{"text": f"t{n}", "label": [0, 1.0, True, 1, 2.5][n % 5]} for n in range(50)]
    made = dataset(write_jsonl(tmp_path / "rows.jsonl", lines))
    assert label_names(made) == ("0", "1", "2.5", "true")


def test_named_labels_keep_their_order(tmp_path: Path) -> None:
    """`labels` decides the ids; otherwise they are sorted."""
    path = write_jsonl(tmp_path / "rows.jsonl", many(30, labels="abc"))
    assert label_names(dataset(path)) == ("a", "b", "c")
    assert label_names(dataset(path, labels=["c", "a", "b"])) == ("c", "a", "b")


def test_limit_is_a_seeded_sample_that_does_not_depend_on_order(tmp_path: Path) -> None:
    """`limit` takes that many rows, the same ones in any order."""
    lines = many(500)
    first = {row["text"] for row in rows(dataset(write_jsonl(tmp_path / "a.jsonl", lines), limit=60))}
    (tmp_path / "b").mkdir()
    second = dataset(write_jsonl(tmp_path / "b" / "b.jsonl", lines[::-1]), limit=60)
    assert len(first) == 60
    assert {row["text"] for row in rows(second)} == first
    assert read_profile(second)["sampled_out"] == 440


def test_groups_and_kept_duplicates_never_stand_on_both_sides(tmp_path: Path) -> None:
    """A group is in one split; two groups that share a text are too, however long the chain."""
    draw = random.Random(3)  # noqa: S311 - test data
    lines = [
        {"text": f"t{draw.randrange(400)}", "label": draw.choice("ab"), "g": f"g{draw.randrange(120)}"}
        for _ in range(600)
    ]
    path = write_jsonl(tmp_path / "rows.jsonl", lines)
    columns = {"group": "g"}
    dropped = rows(dataset(path, columns=columns))
    kept = rows(dataset(write_jsonl(tmp_path / "k.jsonl", lines[:150]), columns=columns, duplicates={"exact": "keep"}))
    assert len(kept) == 150
    for made, keys in ((dropped, ("group",)), (kept, ("group", "text"))):
        for key in keys:
            places: dict[str, set[str]] = {}
            for row in made:
                places.setdefault(row[key], set()).add(row["split"])
            assert all(len(splits) == 1 for splits in places.values())


def test_profile_describes_each_split(tmp_path: Path) -> None:
    """Rows, label counts, groups, lengths and slices add up."""
    lines = [row | {"site": "xy"[n % 2], "g": n // 2} for n, row in enumerate(many(100))]
    made = dataset(write_jsonl(tmp_path / "rows.jsonl", lines), columns={"group": "g"}, slices=["site"])
    profile = read_profile(made)
    for name in SPLITS:
        split, table = profile["splits"][name], read_split(made, name)
        assert split["rows"] == table.num_rows == sum(split["labels"].values()) == sum(split["slices"]["site"].values())
        assert split["labels"] == dict(sorted(Counter(table["label"].to_pylist()).items()))
        assert split["groups"] == len(set(table["group"].to_pylist()))
        lengths = sorted(len(text) for text in table["text"].to_pylist())
        assert (split["chars"]["0"], split["chars"]["1"]) == (lengths[0], lengths[-1])
    assert profile["source"] == "file rows.jsonl"


def test_nothing_is_left_behind_when_the_rows_are_bad(tmp_path: Path) -> None:
    """An error in the last row leaves no artifact and no temporary file, and the older artifact as it was."""
    path = write_jsonl(tmp_path / "rows.jsonl", many(40))
    made = dataset(path)
    with path.open("a") as handle:
        handle.write("{broken")
    with pytest.raises(DataError, match="line 41"):
        dataset(path)
    assert [item.name for item in (tmp_path / "out").iterdir()] == ["dataset"]
    assert len(rows(made)) == 40
