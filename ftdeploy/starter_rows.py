"""What somebody's own file of rows holds: its format, encoding and columns, found by looking; for starter files."""

from __future__ import annotations

import math
import os
import re
import shlex
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from ftdeploy.errors import ConfigError, DataError, SourceError, did_you_mean, first_of
from ftdeploy.starter_columns import (
    MAX_LABELS,
    STEPS,
    Column,
    check_lists,
    given,
    guess_label,
    guess_text,
    well_known,
)

if TYPE_CHECKING:
    from ftdeploy.tasks import Task

#: What a column of numbers can be the labels of.
EITHER = ("text-classification", "text-regression")

#: What people write between the labels of a cell.
_BETWEEN = (";", "|", ",")

#: A number with a comma, signs for thousands, a currency or a percent sign.
_DRESSED = re.compile(r"[-+]?[^\w\s]?\s?\d[\d.,' ]*[^\w\s]?")


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a file holds.

    Attributes:
        source: how it is read (an `ftdeploy.origin.Source`).
        columns: by name.
        text, label: the columns that play these parts.
        text_pair: the column with a second text, where rows have one.
        counts: label, or name in labels, -> rows with a text.
        rows: with a text and a label.
        task: what is learned from such labels.
        separator: between the names of a label, where they are one string.
        misfits: rows whose label cannot be read as one of the task.
        fault: the first of them, and what is wrong with it.
    """

    source: Any
    columns: Mapping[str, Column]
    text: str
    label: str
    counts: Counter[str]
    rows: int
    task: Task
    text_pair: str | None = None
    separator: str | None = None
    split: str | None = None
    misfits: int = 0
    fault: str = ""


def look_at(data_file: Path, *, text: str | None = None, label: str | None = None, text_pair: str | None = None,
            separator: str | None = None, task: str | None = None) -> Found:  # fmt: skip
    """Read a CSV, TSV, JSON Lines or Parquet file, and tell its columns.

    Args:
        data_file: the user's rows.
        text: the column with the text; guessed (long, mostly different values) when None.
        label: the column with the label; guessed (few different values) when None.
        text_pair: the column with a second text; never guessed.
        separator: what stands between labels in a cell, where a text has any number of them; never guessed.
        task: what is learned, one of `EITHER`, where a column of numbers may be labels as well; guessed when None.

    Raises:
        SourceError: there is no such file.
        DataError: the file cannot be read, or the columns cannot be guessed; it lists those there are.
        ConfigError: ``task`` is another one, or does not go with ``separator``.
    """
    from ftdeploy.tasks import TASKS

    _check_task(task, separator)
    _check_parts({"text": text, "text-pair": text_pair, "label": label})
    if data_file.is_dir():
        raise SourceError(
            f"{data_file} is a folder, and a file with rows is wanted",
            cause="a starter is written from the columns of one file",
            fix="name a file in it; for a text in each file, write it by hand with `format: folder`",
        )
    if not data_file.is_file():
        siblings = [item.name for item in data_file.parent.iterdir()] if data_file.parent.is_dir() else []
        hint = did_you_mean(data_file.name, siblings)
        raise SourceError(
            f"{data_file} does not exist",
            cause="the path is wrong",
            fix=hint if hint.startswith("did you mean") else "name a CSV, TSV, JSON Lines or Parquet file",
        )
    named = {name for name in (text, label, text_pair) if name is not None}
    source = _describe_file(data_file, named)
    source, columns = _survey_as_it_is(source)
    second = given("text-pair", text_pair, columns)
    split = _split_column(columns, (text, label, second))
    others = {name: column for name, column in columns.items() if name not in (second, split)}
    text_column = given("text", text, columns) or guess_text(others, label)
    numbers = None if task is None else TASKS[task].number
    label_column = given("label", label, columns) or guess_label(others, text_column, numbers=numbers)
    check_lists(label_column, columns[label_column])
    learned = TASKS[task] if task is not None else _task_of(columns[text_column], columns[label_column], separator)
    counts, rows, misfits, fault = _read_labels(source, (text_column, second), label_column, task=learned,
                                                separator=separator)  # fmt: skip
    _check_counts(counts, label_column, columns[label_column], task=learned)
    return Found(source=source, columns=columns, text=text_column, label=label_column, counts=counts, rows=rows,
                 task=learned, text_pair=second, separator=separator, split=split, misfits=misfits,
                 fault=fault)  # fmt: skip


def _split_column(columns: Mapping[str, Column], named: Sequence[str | None]) -> str | None:
    """The column that says of every row which split it is for, in words that `prepare` knows: train, and another one.

    Args:
        columns: by name.
        named: those that the user has given a part.
    """
    from ftdeploy.prepare.leakage import part_named
    from ftdeploy.prepare.split import TRAIN

    rows = max((column.filled for column in columns.values()), default=0)
    for name, column in columns.items():
        parts = {part_named(value) for value in column.values}
        if name not in named and column.filled == rows and TRAIN in parts and len(parts) > 1 and None not in parts:
            return name
    return None


def _check_parts(columns: Mapping[str, str | None]) -> None:
    """Refuse a column that is to be two things of a row at once."""
    for (one, column), (other, same) in combinations(columns.items(), 2):
        if column is not None and column == same:
            raise DataError(
                f"column {column!r} is to be two things of a row: --{one} and --{other}",
                cause="the same column is named for both",
                fix=f"name another column with --{other}",
            )


def _check_task(task: str | None, separator: str | None) -> None:
    if task is not None and task not in EITHER:
        raise ConfigError(
            f"a starter cannot be asked for --task {task}",
            cause="lists of labels, spans and tags are seen in the file; only what a column of numbers is can be said",
            fix=f"leave --task out, or name one of: {', '.join(EITHER)}",
        )
    if task is not None and separator is not None:
        raise ConfigError(
            f"--label-separator does not go with --task {task}",
            cause="a separator stands between any number of labels, and that task has one answer a text",
            fix="leave one of them out",
        )


def check_pairs(found: Found) -> None:
    """Refuse a second text beside labels that are of one.

    Raises:
        DataError: the task reads single texts.
    """
    if found.text_pair is not None and not found.task.pairs:
        raise DataError(
            f"column {found.label!r} holds entities, and a second text is named: {found.text_pair!r}",
            cause=f"{found.task.name} reads single texts",
            fix="leave --text-pair out, or name another column with --label",
        )


def _task_of(text: Column, label: Column, separator: str | None) -> Task:
    """What labels like these are of: lists of names for a text, tags for its tokens, or spans in it; a number, or else
    one label."""
    from ftdeploy.tasks import TASKS

    lists = 2 * (label.names + label.others) > label.filled
    if separator is not None or (lists and not label.others and not text.names):
        return TASKS["multi-label-classification"]
    if label.measured and not lists:
        return TASKS["text-regression"]
    return TASKS["token-classification" if lists else "text-classification"]


def _describe_file(path: Path, named: AbstractSet[str]) -> Any:
    """A `Source` for the file: format by name, encoding and header by looking."""
    from ftdeploy.origin import Source
    from ftdeploy.prepare.read import file_format
    from ftdeploy.prepare.text import refuse_binary

    plain = Source(path=path.resolve())
    kind = file_format(plain, path)
    if kind == "parquet":
        return plain
    refuse_binary(path, kind)
    encoded = Source(path=path.resolve(), encoding=_find_encoding(path))
    if kind == "jsonl":
        return encoded
    return _look_for_header(encoded, path, tab=kind == "tsv", named=named)


def _find_encoding(path: Path) -> str:
    """The first encoding in which the whole file can be read."""
    from ftdeploy.prepare.text import guess_encoding, open_text, read_bytes

    first = guess_encoding(read_bytes(path, 1 << 20))
    for encoding in (first, "utf-8", "cp1252"):
        try:
            for _ in open_text(path, encoding or "utf-8"):
                pass
        except DataError:
            continue
        return encoding or "utf-8"
    return "iso-8859-1"  # every byte is a character in it


def _look_for_header(source: Any, path: Path, *, tab: bool, named: AbstractSet[str]) -> Any:
    """Settle the delimiter, and whether the first line names columns or is a row: it is one where a cell recurs below
    or beside it, or is a number, unless names stand in it that were given, or that texts and labels usually have."""
    import csv
    from itertools import chain, islice

    from ftdeploy.prepare.table import find_delimiter, past_declaration
    from ftdeploy.prepare.text import open_text

    rows, declared = past_declaration(open_text(path, source.encoding))
    first = next(rows, "")
    delimiter = declared or ("\t" if tab else find_delimiter(first, source, ()))
    settled = {} if delimiter == ("\t" if tab else ",") else {"delimiter": delimiter}
    csv.field_size_limit(sys.maxsize)
    try:
        lines = list(islice(csv.reader(chain([first], rows), delimiter=delimiter), 500))
    except csv.Error:
        return source.model_copy(update=settled)  # reading it in earnest says what is wrong, with the line
    head = [cell.strip() for cell in lines[0]] if lines else []
    counted = head == [str(number) for number in range(len(head))]  # pandas names columns 0, 1, 2
    recurs = any(len(row) > place and row[place].strip() == cell for row in lines[1:]
                 for place, cell in enumerate(head) if cell)  # fmt: skip
    numbers = any(re.fullmatch(r"[-+]?\d+(\.\d+)?", cell) for cell in head)
    filled = [cell for cell in head if cell]  # spreadsheets leave names out, and append empty columns
    names_columns = counted or not named.isdisjoint(head) or well_known(head)
    if names_columns or not (recurs or numbers or len(set(filled)) < len(filled)):
        return source.model_copy(update=settled)
    names = tuple(f"column{number}" for number in range(1, len(head) + 1))
    return source.model_copy(update=settled | {"header": False, "names": names})


def _survey_as_it_is(source: Any) -> tuple[Any, dict[str, Column]]:
    """The columns; and the source, in which quotes are plain characters where a file with tabs can be read so only."""
    import csv

    from ftdeploy.prepare.read import file_format

    try:
        return source, _survey(source)
    except DataError as error:
        if not isinstance(error.__cause__, csv.Error):
            raise
        told = error
    plain = source.model_copy(update={"quotes": False})
    tabs = source.delimiter == "\t" or file_format(source, source.path) == "tsv"
    with suppress(DataError):
        columns = _survey(plain) if tabs else {}
        if columns and not any(
            name.startswith('"') for name in columns
        ):  # else fields are in quotes, and one is broken
            return plain, columns
    raise DataError(
        told.what,
        cause=told.cause,
        fix="correct that line, and write quotes inside of a quoted field twice; spreadsheets and pandas do so",
    ) from told


def _survey(source: Any) -> dict[str, Column]:
    from ftdeploy.prepare.clean import as_text
    from ftdeploy.prepare.faults import no_rows
    from ftdeploy.prepare.read import read_rows

    columns: dict[str, Column] = {}
    for row in read_rows(source, source.path, wanted=()):
        for name, value in row.values.items():
            if name == "":
                continue  # no recipe can name it
            column = columns.setdefault(str(name), Column())
            column.look(value)
            cell = as_text(value)
            if isinstance(cell, str) and cell.strip():
                column.add(cell.strip())
    if not columns:
        raise no_rows(source.path.name)
    return columns


def _read_labels(source: Any, texts: tuple[str, str | None], label: str, *, task: Task,
                 separator: str | None) -> tuple[Counter[str], int, int, str]:  # fmt: skip
    """Rows of each label, or of each name in labels, after cleaning, as `prepare` will see them; all of them; those
    whose label cannot be read, and what is wrong with the first."""
    from ftdeploy.prepare.clean import NOTHING, Counts, Rejected, clean_label, make_cleaner
    from ftdeploy.prepare.read import read_rows
    from ftdeploy.recipe import Clean
    from ftdeploy.tasks import parts_of

    counts: Counter[str] = Counter()
    rows, misfits, fault, odd = 0, 0, "", ""
    tidy = make_cleaner(Clean(), NOTHING)
    first, second = texts
    for row in read_rows(source, source.path, wanted=tuple(name for name in (*texts, label) if name is not None)):
        try:
            text, told = task.read(row.values, first, label, separator)
        except ValueError as error:
            misfits, odd = misfits + 1, odd or f"the row at {row.place}: {error}"
            continue  # whoever reads the rows in earnest says what is wrong, with its place
        found = clean_label(told)
        cells = [text] if second is None else [text, row.values.get(second)]
        tidied = (found, *(tidy(cell, Counts()) for cell in cells))
        refused = [one.reason for one in tidied if isinstance(one, Rejected)]
        if not isinstance(found, Rejected):
            counts.update(dict.fromkeys(parts_of(task, found), int(not refused)))
            rows += not refused
        fault = fault or next((f"the row at {row.place}: {why}" for why in refused if why.endswith("not text")), "")
    if (odd or fault) and not rows:
        raise DataError(
            f"no row has a text in {first!r} and a label of {task.name} in {label!r}",
            cause=odd or fault,
            fix="name other columns with --text and --label, or make a column of what is in them; or write the recipe "
            f"by hand, with `task: {task.name}` and what that wants, or with a `loader`",
        )
    return Counter({name: count for name, count in counts.items() if count}), rows, misfits, odd


def _check_counts(counts: Mapping[str, int], label: str, column: Column, *, task: Task) -> None:
    """Refuse a column of which nothing can be learned."""
    if task.number:
        if counts and column.low < column.high:
            return
        raise DataError(
            f"column {label!r} holds one number only, or none beside a text",
            cause="it is not the column with the numbers, or most of its cells are empty",
            fix="name another one: --label COLUMN",
        )
    if task.one_label and len(counts) > STEPS and not column.numeric and all(map(_DRESSED.fullmatch, counts)):
        raise DataError(
            f"column {label!r} holds {len(counts):,} different numbers that are not written plainly: {min(counts)}",
            cause="they have a comma, a unit or a sign for thousands; numbers to be estimated are read as 3.5 or 1e3",
            fix="write them plainly (in pandas: `read_csv(..., decimal=',', thousands='.')`, or `str.strip('$%')`, and "
            "`to_csv`)",
        )
    if len(counts) < 2 - task.per_token or len(counts) > MAX_LABELS:  # a choice wants two
        raise DataError(
            f"column {label!r} holds {len(counts):,} different labels beside a text",
            cause="it is not a label column, or most of its cells are empty",
            fix="name another one: --label COLUMN"
            + ("; numbers are estimated with --task text-regression" if column.numeric else ""),
        )


def reading_notes(found: Found) -> Iterator[str]:
    """What may have been meant otherwise about how the rows are read, a sentence each."""
    if not found.source.quotes:
        yield "double quotes are taken for characters like any other, as the file cannot be read otherwise"
    sign = _separator_in(found.counts) if found.task.one_label else None
    if sign is not None:
        yield (
            f"labels of {found.label} look like several with {sign!r} between, and each combination is taken for a "
            f"label of its own; --label-separator {shlex.quote(sign)} takes them apart"
        )
    if not found.source.header:
        yield (
            f"the first line is taken for a row, and the columns are called {first_of(found.source.names, 5)}; "
            "where its cells are names of columns, give two of them as --text and --label"
        )


def _separator_in(labels: Iterable[str]) -> str | None:
    """A sign that labels look joined by: taken apart, they are no more names than there are labels, as the same names
    stand in several."""
    known = set(labels)
    for sign in _BETWEEN:
        names = {name.strip() for label in known for name in label.split(sign)} - {""}
        if any(sign in label for label in known) and len(names) <= len(known):
            return sign
    return None


def pair_line(text_pair: str | None) -> str:
    """The line of YAML that names the column of the second text; or, as a comment, that it could."""
    if text_pair is not None:
        return f"text_pair: {scalar(text_pair)}"
    return (
        "# text_pair: COLUMN         # a second text, where rows have two: premise and hypothesis, query and document"
    )


def source_lines(source: Any, data_file: Path, out: Path) -> list[str]:
    """The lines of YAML that say how the file is read.

    Args:
        source: of `Found`.
        data_file: the file.
        out: the YAML file; the path is written relative to it.
    """
    path = Path(os.path.relpath(data_file.resolve(), out.parent.resolve())).as_posix()
    lines = [f"path: {scalar(path if path.startswith('../') else f'./{path}')}   # relative to this file"]
    if source.encoding != "utf-8":
        lines.append(f"encoding: {scalar(source.encoding)}   # found by looking; check that accents read well")
    if source.delimiter:
        lines.append(f"delimiter: {scalar(source.delimiter)}   # the character between columns")
    if not source.quotes:
        lines.append("quotes: false                 # a double quote is a character like any other")
    if not source.header:
        lines.append("header: false                 # the first line is a row")
        lines.append(
            f"names: [{', '.join(scalar(name) for name in source.names)}]   # so the columns are named here, in order"
        )
    return lines


def one_line(text: str) -> str:
    """Text that is safe in a comment: what YAML takes for a line break would end it."""
    return "".join(char if char.isprintable() else "?" for char in text)


def slug(name: str) -> str:
    """A name as recipes and services have them: small letters, digits and dashes, a letter first."""
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:60].strip("-")
    return slug if re.match("[a-z]", slug) else f"model-{slug}".strip("-")


def scalar(value: str) -> str:
    """A string as YAML: plain where nothing can be misread, else in double quotes."""
    if re.fullmatch(r"[A-Za-z./][\w./-]*", value, re.ASCII) and yaml.safe_load(value) == value:
        return value
    return str(yaml.safe_dump(value, default_style='"', allow_unicode=True, width=math.inf)).strip()
