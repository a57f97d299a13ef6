"""The starter recipe: guessed columns, a file that loads, and rows that prepare as it stands."""

from __future__ import annotations

import json
import math
import random
import resource
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from ftdeploy.dataset import label_names, read_profile, read_split
from ftdeploy.errors import ConfigError, DataError, SourceError, StorageError
from ftdeploy.pairs import parts
from ftdeploy.prepare import prepare
from ftdeploy.recipe import ExportSettings, Recipe, load_recipe
from ftdeploy.stage import run_stage
from ftdeploy.starter import MAX_DROP, Starter, supported_margin, write_starter
from ftdeploy.suite import NonInferiority
from ftdeploy.tasks import TASKS

TOPICS = ("the parcel came late", "the lamp was broken", "a friendly shop assistant", "it works as described")


def _lines(count: int = 60) -> list[tuple[str, str]]:
    draw = random.Random(2)  # noqa: S311 - test data
    return [(f"{draw.choice(TOPICS)}, order {n}", ("praise", "complaint")[n % 2]) for n in range(count)]


def _runs(data_file: Path, out: Path, **flags: Any) -> tuple[Starter, set[str]]:
    """Write the starter, load it, prepare its rows; the starter and the texts of the training split."""
    made = write_starter(data_file, out, **flags)
    recipe = load_recipe(out)
    dataset = run_stage(prepare, recipe, {}, out.parent / "dataset").artifact
    assert label_names(dataset) == made.labels
    assert dataset.facts["rows"] == made.rows
    return made, set(read_split(dataset, "train")["text"].to_pylist())


def _csv(rows: list[list[str]], delimiter: str = ",") -> str:
    return "".join(delimiter.join('"' + cell.replace('"', '""') + '"' for cell in row) + "\n" for row in rows)


def test_csv_with_header(tmp_path: Path) -> None:
    """The long column is the text, the one with few values the label; others are mentioned."""
    rows = [["ticket", "Message", "kind"], *([f"T{n}", text, label] for n, (text, label) in enumerate(_lines()))]
    (tmp_path / "Support Tickets 2024.csv").write_text(_csv(rows))
    made, texts = _runs(tmp_path / "Support Tickets 2024.csv", tmp_path / "new" / "recipe.yaml")
    assert (made.text, made.label, made.labels) == ("Message", "kind", ("complaint", "praise"))
    assert len(texts) == 42
    body = made.recipe.read_text()
    assert "name: support-tickets-2024" in body
    assert "the other columns: ticket" in body


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ('say "text": now', "kind: of # it"),
        ("Texte d'été 🙂", "étiquette"),
        ("yes", "null"),
        ("- dash", "{brace}"),
        ("tab\there", "new\nline"),
        ("2024", "1e3"),
        ("back\\slash", "%percent"),
        ("line\u2028separator", "{rows}"),
    ],
)
def test_odd_column_names_survive(tmp_path: Path, text: str, label: str) -> None:
    """Names with colons, quotes, braces, line breaks, Unicode, or that look like other YAML types."""
    lines = [json.dumps({text: line, label: kind, "other: # name\n": n}) for n, (line, kind) in enumerate(_lines())]
    (tmp_path / "rows.jsonl").write_text("\n".join(lines))
    made, texts = _runs(tmp_path / "rows.jsonl", tmp_path / "r.yaml")
    assert (made.text, made.label) == (text, label)
    assert len(texts) == 42


@pytest.mark.parametrize("label", ["yes: no", "1", "1.0", "null", "- x", "naïve 🙂", '"quoted"', "a, b]", "#"])
def test_odd_labels_survive(tmp_path: Path, label: str) -> None:
    """Labels are written so that YAML reads them as the same strings."""
    lines = [json.dumps({"text": text, "label": label if kind == "praise" else "other"}) for text, kind in _lines()]
    (tmp_path / "rows.jsonl").write_text("\n".join(lines))
    made, _ = _runs(tmp_path / "rows.jsonl", tmp_path / "r.yaml")
    assert set(made.labels) == {label, "other"}


def test_semicolons_windows_encoding_and_no_header(tmp_path: Path) -> None:
    """What a spreadsheet writes: found by looking, and stated in the recipe."""
    rows = [[f"{text} für {n} €", label] for n, (text, label) in enumerate(_lines())]
    (tmp_path / "export.csv").write_bytes(_csv(rows, ";").encode("cp1252"))
    made, texts = _runs(tmp_path / "export.csv", tmp_path / "r.yaml")
    source = load_recipe(made.recipe).data.entries[0]
    assert (source.encoding, source.delimiter, source.header, source.names) == (
        "cp1252", ";", False, ("column1", "column2"),
    )  # fmt: skip
    assert any("für" in text and "€" in text for text in texts)
    assert len(texts) == 42


def test_tsv_with_byte_order_mark_and_parquet(tmp_path: Path) -> None:
    """The other formats."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [["text", "label"], *([text, label] for text, label in _lines())]
    (tmp_path / "a.tsv").write_text(_csv(rows, "\t"), encoding="utf-8-sig")
    assert _runs(tmp_path / "a.tsv", tmp_path / "a.yaml")[0].text == "text"
    table = pa.table({"review": [text for text, _ in _lines()], "stars": [n % 5 for n in range(60)]})
    pq.write_table(table, tmp_path / "b.parquet")
    made, _ = _runs(tmp_path / "b.parquet", tmp_path / "b.yaml")
    assert (made.text, made.label, made.labels) == ("review", "stars", ("0", "1", "2", "3", "4"))


def test_columns_that_cannot_be_guessed_are_listed_with_the_flag(tmp_path: Path) -> None:
    """Two columns that could be the label: say which; then it runs."""
    rows = [["note", "shop", "tone"]] + [
        [text, ("north", "south")[n % 3 % 2], kind] for n, (text, kind) in enumerate(_lines())
    ]
    (tmp_path / "a.csv").write_text(_csv(rows))
    with pytest.raises(DataError, match="shop, tone") as caught:
        write_starter(tmp_path / "a.csv", tmp_path / "r.yaml")
    assert "--label" in caught.value.fix
    assert not (tmp_path / "r.yaml").exists()
    assert _runs(tmp_path / "a.csv", tmp_path / "r.yaml", label="tone")[0].label == "tone"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("a,b\n1,2\n3,4\n", "which column holds the text"),
        ("text,other\n" + "".join(f"a b {n},{n}\n" for n in range(50)), "which column holds the label"),
        ("text,label\n", "no rows"),
        ("", "is empty"),
        ('text,label\n"x,1\n', "unexpected end"),
    ],
)
def test_files_that_hold_no_task(tmp_path: Path, content: str, words: str) -> None:
    """Numbers only, no label column, no rows, a broken file: an error and no recipe."""
    (tmp_path / "a.csv").write_text(content)
    with pytest.raises(DataError, match=words):
        write_starter(tmp_path / "a.csv", tmp_path / "r.yaml")
    assert not (tmp_path / "r.yaml").exists()


def test_flags_that_name_no_column_and_files_that_are_not_there(tmp_path: Path) -> None:
    """Did you mean."""
    (tmp_path / "rows.csv").write_text(_csv([["text", "label"], *(list(row) for row in _lines())]))
    with pytest.raises(DataError) as caught:
        write_starter(tmp_path / "rows.csv", tmp_path / "r.yaml", label="lable")
    assert "'label'" in caught.value.fix
    with pytest.raises(SourceError) as missing:
        write_starter(tmp_path / "row.csv", tmp_path / "r.yaml")
    assert "'rows.csv'" in missing.value.fix


def test_a_folder_is_told_to_be_one(tmp_path: Path) -> None:
    """It exists, so nothing else can have been meant."""
    (tmp_path / "reviews").mkdir()
    with pytest.raises(SourceError, match="reviews is a folder, and a file with rows is wanted") as caught:
        write_starter(tmp_path / "reviews", tmp_path / "r.yaml")
    assert "format: folder" in caught.value.fix


def test_an_existing_file_is_never_overwritten(tmp_path: Path) -> None:
    """Whatever stands there stays as it is."""
    (tmp_path / "rows.csv").write_text(_csv([["text", "label"], *(list(row) for row in _lines())]))
    (tmp_path / "r.yaml").write_text("mine")
    with pytest.raises(ConfigError, match="exists already"):
        write_starter(tmp_path / "rows.csv", tmp_path / "r.yaml")
    assert (tmp_path / "r.yaml").read_text() == "mine"


def test_a_full_disk_leaves_nothing_that_blocks_the_next_try(tmp_path: Path) -> None:
    """A file size limit stands in for the disk: an error as of a run, and then the same command writes the recipe."""
    rows, out = tmp_path / "rows.csv", tmp_path / "new" / "r.yaml"
    rows.write_text(_csv([["text", "label"], *(list(row) for row in _lines())]))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(StorageError, match=r"r\.yaml cannot be written: File too large"):
            write_starter(rows, out)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(out.parent.iterdir()) == []
    assert write_starter(rows, out).recipe.stat().st_size > 1000


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    """Below what is no folder, in whatever words the system refuses it."""
    rows = tmp_path / "rows.csv"
    rows.write_text(_csv([["text", "label"], *(list(row) for row in _lines())]))
    for out in (rows / "r.yaml", rows / "new" / "r.yaml"):
        with pytest.raises(StorageError, match=r"r\.yaml cannot be written"):
            write_starter(rows, out)


def _passes(rows: int, margin: float, *, harm: float, gain: float) -> float:
    """The share of drawn samples in which the gate passes, with the bootstrap that it uses.

    Args:
        rows: test rows.
        margin: of the gate.
        harm, gain: shares of the rows that only the baseline, or only the candidate, has right; 12% nobody has.
    """
    import numpy as np

    from ftdeploy.metrics import METRICS
    from ftdeploy.statistics import compare

    draw, passed = np.random.default_rng(0), 0
    for _ in range(60):
        truth, chance = draw.integers(0, 2, rows), draw.random(rows)
        nobody = (chance >= harm + gain) & (chance < harm + gain + 0.12)
        candidate = np.where((chance < harm) | nobody, 1 - truth, truth)
        baseline = np.where(((chance >= harm) & (chance < harm + gain)) | nobody, 1 - truth, truth)
        result = compare(METRICS["accuracy"], truth, baseline, candidate, classes=2, margin=margin, resamples=600)
        passed += result.verdict == "pass"
    return passed / 60


@pytest.mark.parametrize("rows", [40, 140, 400, 2000])
def test_margin_is_one_that_the_test_rows_decide_with_room(rows: int) -> None:
    """An int8 candidate with 4% flips passes nearly always, also when it is worse by the drop that compress lets
    through; with half the margin it does not, so the margin is no wider than it must be."""
    margin = supported_margin(rows)
    assert _passes(rows, margin, harm=0.02, gain=0.02) >= 0.95
    assert _passes(rows, margin, harm=0.025, gain=0.015) >= 0.9
    assert _passes(rows, margin / 2, harm=0.025, gain=0.015) < 0.7


def test_settings_of_the_starter_fit_each_other(tmp_path: Path) -> None:
    """The gate's margin is that of the rows and above what compress may lose, and the rest is as by default."""
    (tmp_path / "rows.csv").write_text(_csv([["text", "label"], *(list(row) for row in _lines(200))]))
    made = write_starter(tmp_path / "rows.csv", tmp_path / "r.yaml")
    recipe = load_recipe(made.recipe)
    gates = recipe.validate_.suite.gates
    assert [gate.margin for gate in gates if isinstance(gate, NonInferiority)] == [supported_margin(40)]
    assert recipe.compress.max_drop == {"accuracy": MAX_DROP}
    assert MAX_DROP < supported_margin(10**6) <= 0.015
    assert recipe.export == ExportSettings()


@pytest.mark.parametrize("names", [("train", "dev", "test"), ("Train", "Validation", "Test"), ("train", "test")])
def test_a_column_that_says_which_split_a_row_is_for_is_gone_by(tmp_path: Path, names: tuple[str, ...]) -> None:
    """Nobody's own test rows are learned from; the margin is of so many test rows as it names, and it is told."""
    lines = _lines(240)
    told = [(names[-1], names[1], *[names[0]] * 4)[n // 2 % 6] for n in range(240)]
    rows = [["text", "split", "label"], *([text, part, label] for (text, label), part in zip(lines, told, strict=True))]
    (tmp_path / "rows.csv").write_text(_csv(rows))
    made, learned = _runs(tmp_path / "rows.csv", tmp_path / "r.yaml")
    split = load_recipe(made.recipe).data.split
    assert (split.column, split.leakage) == ("split", "drop")
    kept = {text for (text, _), part in zip(lines, told, strict=True) if part == names[0]}
    assert learned <= kept
    assert len(learned) >= 0.8 * len(kept)
    assert made.margin == supported_margin(told.count(names[-1]))
    assert (
        "the column split says which rows are for training and which for the test; the recipe goes by it" in made.notes
    )


@pytest.mark.parametrize("words", [("train", "bus"), ("test", "dev"), ("train", "train"), ("train", "")])
def test_other_words_in_a_column_are_no_splits(tmp_path: Path, words: tuple[str, str]) -> None:
    """Also where some rows have none: the rows are divided as by default."""
    rows = [["text", "part", "label"], *([text, words[n % 2], label] for n, (text, label) in enumerate(_lines(240)))]
    (tmp_path / "rows.csv").write_text(_csv(rows))
    made = write_starter(tmp_path / "rows.csv", tmp_path / "r.yaml", label="label")
    assert load_recipe(made.recipe).data.split.column is None
    assert made.margin == supported_margin(48)


def test_a_second_text_is_named_and_never_guessed(tmp_path: Path) -> None:
    """With its column the recipe is one of pairs, and only rows count that have both; without, a comment says how."""
    rows = [
        ["claim", "evidence", "kind"],
        *([text, f"see page {n}", label] for n, (text, label) in enumerate(_lines())),
    ]
    rows[5][1] = ""
    (tmp_path / "a.csv").write_text(_csv(rows))
    made, texts = _runs(tmp_path / "a.csv", tmp_path / "r.yaml", text="claim", text_pair="evidence")
    assert (made.text, made.text_pair, made.label, made.rows) == ("claim", "evidence", "kind", 59)
    assert load_recipe(made.recipe).data.pairs == ("claim", "evidence")
    assert all(len(parts(text)) == 2 for text in texts)
    plain = write_starter(tmp_path / "a.csv", tmp_path / "plain.yaml", text="claim")
    assert plain.text_pair is None
    assert "# text_pair: COLUMN" in plain.recipe.read_text()
    for flags, words in (
        ({"text_pair": "evidnce"}, "there is no column 'evidnce'"),
        ({"text": "claim", "text_pair": "claim"}, "'claim' is to be two things of a row: --text and --text-pair"),
    ):
        with pytest.raises(DataError, match=words):
            write_starter(tmp_path / "a.csv", tmp_path / "no.yaml", **flags)


def _jsonl(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def _as_it_is(data_file: Path, out: Path, **flags: Any) -> tuple[Starter, Recipe, Mapping[str, Any]]:
    """Write the starter, load it, prepare its rows; the profile with them."""
    made = write_starter(data_file, out, **flags)
    recipe = load_recipe(out)
    assert recipe.task == made.task
    assert recipe.data.labels == (made.labels if len(made.labels) > 1 else ())
    dataset = run_stage(prepare, recipe, {}, out.parent / "dataset").artifact
    assert dataset.facts["rows"] == made.rows
    assert list(recipe.validate_.suite.metrics) == list(TASKS[made.task].metrics)
    (gate,) = recipe.validate_.suite.gates
    assert isinstance(gate, NonInferiority)
    assert {gate.metric} == {*recipe.compress.max_drop} == {TASKS[made.task].metrics[0]}
    return made, recipe, read_profile(dataset)


def test_lists_of_labels_are_a_recipe_for_any_number_of_them(tmp_path: Path) -> None:
    """An empty list is a row, too; that no label holds is none of the labels."""
    rows = [{"text": text, "labels": [label, "order"] if at % 9 else []} for at, (text, label) in enumerate(_lines())]
    made, _, profile = _as_it_is(_jsonl(tmp_path / "rows.jsonl", rows), tmp_path / "r.yaml")
    assert (made.task, made.label, made.rows) == ("multi-label-classification", "labels", 60)
    assert made.labels == ("complaint", "order", "praise")
    assert sum(one["labels"]["(none)"] for one in profile["splits"].values()) == 7


def test_labels_in_one_cell_have_a_separator(tmp_path: Path) -> None:
    """It is named, never guessed, and stands in the recipe."""
    rows = [["text", "topics"], *([text, f"{label} | order"] for text, label in _lines())]
    (tmp_path / "a.csv").write_text(_csv(rows))
    made, recipe, _ = _as_it_is(tmp_path / "a.csv", tmp_path / "r.yaml", separator="|")
    assert (made.labels, recipe.data.columns.label_separator) == (("complaint", "order", "praise"), "|")


def test_labels_that_look_like_several_are_told(tmp_path: Path) -> None:
    """With the option that takes them apart; a comma in a label or two is none of theirs."""
    cells = ["bill ; ship", "ship", "tech", "bill ; ship ; tech", "bill"]
    rows = [["text", "topics"], *([text, cells[n % 5]] for n, (text, _) in enumerate(_lines()))]
    (tmp_path / "a.csv").write_text(_csv(rows))
    (note,) = write_starter(tmp_path / "a.csv", tmp_path / "r.yaml").notes
    assert note.startswith("labels of topics look like several with ';' between")
    assert "--label-separator ';'" in note
    apart = write_starter(tmp_path / "a.csv", tmp_path / "apart.yaml", separator=";")
    assert (apart.labels, apart.notes) == (("bill", "ship", "tech"), ())
    rows = [["text", "topics"], *([text, ("yes, gladly", "no")[n % 2]] for n, (text, _) in enumerate(_lines()))]
    (tmp_path / "b.csv").write_text(_csv(rows))
    assert write_starter(tmp_path / "b.csv", tmp_path / "b.yaml").notes == ()


@pytest.mark.parametrize(
    "flags",
    [
        {"text": "text", "label": "text"},
        {"text_pair": "label", "label": "label"},
        {"text": "text", "text_pair": "text"},
    ],
)
def test_a_column_is_one_thing_only(tmp_path: Path, flags: dict[str, str]) -> None:
    """The answer would stand in the text."""
    (tmp_path / "a.csv").write_text(_csv([["text", "label"], *(list(row) for row in _lines())]))
    with pytest.raises(DataError, match="is to be two things of a row"):
        write_starter(tmp_path / "a.csv", tmp_path / "r.yaml", **flags)
    assert not (tmp_path / "r.yaml").exists()


def test_quotes_in_a_file_with_tabs_are_characters_where_it_cannot_be_read_otherwise(tmp_path: Path) -> None:
    """As corpora have them: the recipe says so, and runs; that there were none in front is told."""
    rows = [f'"{text}\t{label}' if n == 7 else f"{text}\t{label}" for n, (text, label) in enumerate(_lines())]
    (tmp_path / "a.tsv").write_text("\n".join(["text\tlabel", *rows, ""]))
    made, texts = _runs(tmp_path / "a.tsv", tmp_path / "r.yaml")
    assert not load_recipe(made.recipe).data.entries[0].quotes
    assert (made.rows, len(texts)) == (60, 42)
    assert made.notes[0].startswith("double quotes are taken for characters like any other")


@pytest.mark.parametrize(("name", "mark"), [("a.tsv", "\t"), ("a.csv", ",")])
def test_a_broken_quote_among_others_is_told_without_a_recipe(tmp_path: Path, name: str, mark: str) -> None:
    """There is none yet that a key could be set in: the line is to be corrected."""
    rows = _csv([["text", "label"], *(list(row) for row in _lines())], mark)
    (tmp_path / name).write_text(rows + f'"a text that goes on{mark}praise\n')
    with pytest.raises(DataError, match="unexpected end of data") as caught:
        write_starter(tmp_path / name, tmp_path / "r.yaml")
    assert "data.source" not in caught.value.fix
    assert "correct that line" in caught.value.fix


def test_tokens_with_tags_and_spans_are_recipes_for_entities(tmp_path: Path) -> None:
    """As the hub has them; rows without any entity count."""
    tagged = [
        {"id": at, "tokens": ["Ann", *words], "ner_tags": ["B-PER" if at % 5 else "O", *["O"] * len(words)]}
        for at, words in enumerate(text.split() for text, _ in _lines())
    ]
    made, _, profile = _as_it_is(_jsonl(tmp_path / "rows.jsonl", tagged), tmp_path / "r.yaml")
    assert (made.task, made.text, made.label) == ("token-classification", "tokens", "ner_tags")
    assert (made.rows, made.labels) == (60, ("PER",))
    assert profile["labels"] == ["O", "B-PER", "I-PER"]
    spans = [{"text": f"Ann says: {text}", "spans": [{"start": 0, "end": 3, "label": "PER"}]} for text, _ in _lines()]
    (tmp_path / "spans").mkdir()
    made, _, _ = _as_it_is(_jsonl(tmp_path / "spans" / "rows.jsonl", spans), tmp_path / "spans" / "r.yaml")
    assert (made.task, made.label, made.labels) == ("token-classification", "spans", ("PER",))
    titled = _jsonl(tmp_path / "titled.jsonl", [{"title": "A case", **row} for row in spans])
    with pytest.raises(DataError, match="a second text is named: 'text'"):
        write_starter(titled, tmp_path / "no.yaml", text="title", text_pair="text", label="spans")


def test_tags_that_are_numbers_are_told_to_want_names(tmp_path: Path) -> None:
    """Not that the column were no column of labels."""
    rows = [{"tokens": text.split(), "ner_tags": [0] * len(text.split())} for text, _ in _lines()]
    with pytest.raises(DataError, match="a label of token-classification in 'ner_tags'") as caught:
        write_starter(_jsonl(tmp_path / "rows.jsonl", rows), tmp_path / "r.yaml")
    assert "`columns.tag_names` says what they are called" in caught.value.cause
    assert not (tmp_path / "r.yaml").exists()


def _numbers(path: Path, numbers: list[Any], *, column: str = "rating") -> Path:
    rows = [["text", column], *([text, str(one)] for (text, _), one in zip(_lines(len(numbers)), numbers, strict=True))]
    path.write_text(_csv(rows))
    return path


@pytest.mark.parametrize(
    "numbers",
    [
        [at / 7 for at in range(60)],
        [at % 15 / 4 for at in range(60)],  # each in four rows, and more than a scale has steps
        [at % 50 for at in range(60)],  # whole, and some in one row
        [at % 210 for at in range(660)],  # whole, each in three rows, and more than there are labels
        [-at * 1e3 for at in range(60)],
    ],
)
def test_many_different_numbers_are_a_recipe_that_estimates_them(tmp_path: Path, numbers: list[float]) -> None:
    """A row with an empty cell is set aside; the recipe runs as it stands, and a note says what else they could be."""
    data = _numbers(tmp_path / "a.csv", [*numbers, ""])
    made, recipe, profile = _as_it_is(data, tmp_path / "r.yaml")
    assert (made.task, made.label, made.labels, made.rows) == ("text-regression", "rating", (), len(numbers))
    assert made.numbers == (min(numbers), max(numbers))
    assert recipe.data.columns.label == "rating"
    assert sum(split["rows"] for split in profile["splits"].values()) == len(numbers)
    assert "rating is taken for numbers to be estimated; --task text-classification" in made.notes[0]


@pytest.mark.parametrize(
    ("numbers", "labels"),
    [
        ([at % 2 for at in range(60)], ("0", "1")),
        ([at % 5 + 1 for at in range(60)], ("1", "2", "3", "4", "5")),
        ([at % 9 / 2 for at in range(60)], ("0.0", "0.5", "1.0", "1.5", "2.0", "2.5", "3.0", "3.5", "4.0")),
        ([*range(6), *(at % 5 for at in range(60))], ("0", "1", "2", "3", "4", "5")),  # 5 in one row
        ([at % 77 for at in range(300)], tuple(sorted(map(str, range(77))))),  # ids of classes, none of them rare
    ],
)
def test_few_different_numbers_are_labels(tmp_path: Path, numbers: list[float], labels: tuple[str, ...]) -> None:
    """As good as any, and a note says how they are estimated instead; which is no less a recipe."""
    data = _numbers(tmp_path / "a.csv", numbers)
    made = write_starter(data, tmp_path / "r.yaml", label="rating")
    assert (made.task, made.labels, made.numbers) == ("text-classification", labels, None)
    assert "--task text-regression estimates them" in made.notes[0]
    made, _, _ = _as_it_is(data, tmp_path / "n.yaml", task="text-regression")
    assert (made.task, made.rows, made.notes) == ("text-regression", len(numbers), ())


def test_numbers_are_labels_where_that_is_said(tmp_path: Path) -> None:
    """And another task, or labels with a separator between them, is refused."""
    data = _numbers(tmp_path / "a.csv", [at % 20 / 4 for at in range(100)])
    made, _ = _runs(data, tmp_path / "r.yaml", task="text-classification")
    assert (len(made.labels), made.numbers, made.notes) == (20, None, ())
    with pytest.raises(ConfigError, match="cannot be asked for --task token-classification"):
        write_starter(data, tmp_path / "no.yaml", task="token-classification")
    with pytest.raises(ConfigError, match="--label-separator does not go with --task text-regression"):
        write_starter(data, tmp_path / "no.yaml", task="text-regression", separator=";")


def test_marks_among_numbers_are_told(tmp_path: Path) -> None:
    """The recipe is written, as it will stop at the first of them only; a column of words is none of numbers."""
    data = _numbers(tmp_path / "a.csv", [at / 2 if at % 20 else "n/a" for at in range(60)])
    made = write_starter(data, tmp_path / "r.yaml")
    assert (made.task, made.rows) == ("text-regression", 57)
    assert "3 labels cannot be read" in made.notes[1]
    assert "the row at 2: 'n/a' is no number" in made.notes[1]
    words = _numbers(tmp_path / "b.csv", ["good", "bad"] * 30)
    with pytest.raises(DataError, match="and a label of text-regression in 'rating'") as caught:
        write_starter(words, tmp_path / "no.yaml", label="rating", task="text-regression")
    assert caught.value.cause == "the row at 2: 'good' is no number"
    alike = _numbers(tmp_path / "c.csv", [3] * 60)
    with pytest.raises(DataError, match="holds one number only"):
        write_starter(alike, tmp_path / "no.yaml", label="rating", task="text-regression")


@pytest.mark.parametrize("form", ["{},5", "${}.99", "{}%", "1.{:03},50 €", "-{} 000"])
def test_numbers_that_are_not_written_plainly_are_told(tmp_path: Path, form: str) -> None:
    """Sixty of them are no sixty labels."""
    data = _numbers(tmp_path / "a.csv", [form.format(at) for at in range(60)])
    with pytest.raises(DataError, match="60 different numbers that are not written plainly") as caught:
        write_starter(data, tmp_path / "r.yaml", label="rating")
    assert "decimal=','" in caught.value.fix


@pytest.mark.parametrize("cell", [["a", "b"], [{"start": 0, "end": 3, "label": "x"}], [(0, 3, "x")]])
def test_lists_as_python_writes_them_are_told(tmp_path: Path, cell: Any) -> None:
    """pandas does in a CSV file: they were taken for labels of brackets and quotes, or for no column of labels."""
    rows = [["text", "topics"], *([text, str(cell)] for text, _ in _lines())]
    (tmp_path / "a.csv").write_text(_csv(rows))
    with pytest.raises(DataError, match="column 'topics' holds lists as Python writes them") as caught:
        write_starter(tmp_path / "a.csv", tmp_path / "r.yaml")
    assert "json.dumps" in caught.value.fix


def test_labels_that_a_run_stops_at_or_takes_for_others_are_told(tmp_path: Path) -> None:
    """Those of too few rows, and those that differ in case alone."""
    rows = [["text", "label"], *([text, label] for text, label in _lines()), ["a word more", "complaitn"]]
    rows[1:7] = [[text, "Praise"] for text, _ in rows[1:7]]
    (tmp_path / "a.csv").write_text(_csv(rows))
    made = write_starter(tmp_path / "a.csv", tmp_path / "r.yaml")
    few, alike = made.notes
    assert few.startswith("labels with fewer than 3 rows, at which `ftdeploy run` stops: 'complaitn';")
    assert alike == "labels that differ in case alone are different labels: 'Praise', 'praise'"
    with pytest.raises(DataError, match="labels with fewer than 3 rows: 'complaitn'"):
        run_stage(prepare, load_recipe(made.recipe), {}, tmp_path / "dataset")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.csv", "text\n" + "a few words\nand others\n" * 9, "no column beside the text 'text'"),
        ("a.xlsx", "PK", "save the sheet as CSV"),
        ("a.txt", "text\tlabel\n", "give the file such an ending"),
    ],
)
def test_files_that_something_can_be_done_about(tmp_path: Path, name: str, content: str, words: str) -> None:
    """What it is is told."""
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError) as caught:
        write_starter(tmp_path / name, tmp_path / "r.yaml")
    assert words in f"{caught.value.what} {caught.value.fix}"


@pytest.mark.parametrize(
    ("columns", "guessed"),
    [
        ({"id": range(60), "rating": [at / 7 for at in range(60)]}, "rating"),  # no decimals: may be anything
        ({"weight": [at / 3 for at in range(60)], "score": [at / 7 for at in range(60)]}, "score"),  # a known name
        ({"kind": ["a", "b"] * 30, "score": [at / 7 for at in range(60)]}, "kind"),  # a choice comes first
        ({"kind": ["a", "b"] * 30, "label": [at / 7 for at in range(60)]}, "label"),  # but not before that name
        ({"user": [at % 40 for at in range(60)]}, None),
        ({"weight": [at / 3 for at in range(60)], "length": [at / 7 for at in range(60)]}, None),
    ],
)
def test_a_column_of_numbers_is_guessed(tmp_path: Path, columns: dict[str, Any], guessed: str | None) -> None:
    """Where it alone can be the label, or has a name as labels have."""
    lines = [dict(zip(columns, cells, strict=True)) for cells in zip(*columns.values(), strict=True)]
    rows = [{"text": text} | cells for (text, _), cells in zip(_lines(), lines, strict=True)]
    data = _jsonl(tmp_path / "rows.jsonl", rows)
    if guessed is not None:
        assert write_starter(data, tmp_path / "r.yaml").label == guessed
        return
    with pytest.raises(DataError, match="which column holds the label"):
        write_starter(data, tmp_path / "r.yaml")


@pytest.mark.parametrize("rows", [40, 140, 400])
def test_margin_of_numbers_is_one_that_the_test_rows_decide(rows: int) -> None:
    """A candidate whose numbers are a tenth of a standard deviation off, a true drop of r2 of 0.01, passes nearly
    always."""
    import numpy as np

    from ftdeploy.metrics import resolve
    from ftdeploy.statistics import compare

    draw, passed = np.random.default_rng(0), 0
    places = np.arange(3 * rows)
    for _ in range(40):
        fp32 = draw.normal(size=rows) * math.sqrt(0.5)
        truth = fp32 + draw.normal(size=rows) * math.sqrt(0.5)
        numbers = np.concatenate([truth, fp32, fp32 + draw.normal(size=rows) * 0.1])
        metric = resolve("r2", [f"{number:.9g}" for number in numbers.tolist()])
        result = compare(
            metric, *np.split(places, 3), classes=len(places), margin=supported_margin(rows), resamples=600
        )
        passed += result.verdict == "pass"
    assert passed >= 36


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"text": "a text", "label": {"name": "x"}}, "the row at 1: label is a dict, not text"),
        ({"text": {"body": "a text"}, "label": "x"}, "the row at 1: text is a dict, not text"),
    ],
)
def test_cells_that_hold_more_than_a_text_are_told(tmp_path: Path, row: dict[str, Any], told: str) -> None:
    """Not that they were empty."""
    data = _jsonl(tmp_path / "rows.jsonl", [row] * 9)
    with pytest.raises(DataError, match="no row has a text in 'text' and a label of text-classification") as caught:
        write_starter(data, tmp_path / "r.yaml", text="text", label="label")
    assert caught.value.cause == told
    assert "`loader`" in caught.value.fix


@pytest.mark.parametrize("sign", [";", "\t", "|"])
def test_a_line_that_tells_spreadsheets_the_delimiter_is_no_row(tmp_path: Path, sign: str) -> None:
    """`sep=;` before the header, as exports for spreadsheets have it."""
    rows = [["text", "label"], *([text, label] for text, label in _lines())]
    (tmp_path / "a.csv").write_text(f"sep={sign}\r\n" + _csv(rows, sign), encoding="utf-8-sig")
    made, texts = _runs(tmp_path / "a.csv", tmp_path / "r.yaml")
    assert (made.text, made.label, made.rows, made.labels) == ("text", "label", 60, ("complaint", "praise"))
    assert len(texts) == 42
