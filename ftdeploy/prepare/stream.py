"""The recipe's sources, opened: found, checked, their encoding settled, and their rows under one set of column names.

With one source, rows pass as they are. With several, the columns of each are renamed to text, label, group and id, and
each row knows its source.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ftdeploy import progress
from ftdeploy.errors import DataError
from ftdeploy.prepare.encoding import find_encoding
from ftdeploy.prepare.faults import no_column
from ftdeploy.prepare.read import Row, file_format, read_rows
from ftdeploy.prepare.tags import settled_tags
from ftdeploy.recipe import Columns, DataSettings, SourceEntry
from ftdeploy.sources import resolve

#: After so many rows a column that was not seen is missing (as for the builder, which sees all sources together).
_SETTLED = 4096
#: What of `Columns` says how a label is written.
FORMS = ("label_separator", "empty_label", "tag_names")
#: What of `Columns` names a column.
_COLUMNS = tuple(name for name in Columns.model_fields if name not in FORMS)
#: Formats that hold text, and so have an encoding.
_OF_TEXT = ("csv", "tsv", "jsonl", "lines", "conll")


@dataclass(kw_only=True)
class Opened:
    """A source that can be read.

    Attributes:
        number: its index among the recipe's sources.
        entry: how it is read; ``encoding`` is no longer ``auto`` (but for a folder, whose files may differ).
        path: the local file or folder.
        read: rows read so far.
        columns: the columns that were seen, where there are several sources.
    """

    number: int
    entry: SourceEntry
    path: Path
    read: int = 0
    columns: dict[str, None] = field(default_factory=dict)


def open_sources(data: DataSettings) -> tuple[Opened, ...]:
    """The recipe's sources in order; what has to be fetched is fetched.

    Raises:
        SourceError: one cannot be had.
        DataError: the format cannot be told, or a packed file is damaged.
    """
    found = []
    for number, entry in enumerate(data.entries):
        path = resolve(entry)
        found.append(Opened(number=number, entry=_settled(entry, path), path=path))
    return tuple(found)


def separators(data: DataSettings) -> tuple[str | None, ...]:
    """What stands between the names of a label, in each source.

    Args:
        data: the recipe's section, as it is written.
    """
    return tuple((entry.columns or data.columns).label_separator for entry in data.entries)


def unified(data: DataSettings) -> DataSettings:
    """The settings under which the rows of `read_source` are cleaned: with several sources, under the names that the
    columns have then."""
    if not data.sources:
        return data
    parts = [entry.columns or data.columns for entry in data.sources]
    named = [name for name in _COLUMNS if any(getattr(columns, name) for columns in parts)]
    return data.model_copy(update={"columns": Columns(**{name: name for name in named})})


def read_source(opened: Opened, data: DataSettings, *, wanted: tuple[str, ...]) -> Iterator[Row]:
    """The rows of one source.

    Args:
        opened: the source; its ``read`` counts on.
        data: the recipe's section, as it is written.
        wanted: the columns that are needed, by the names that `unified` gives them.

    Raises:
        DataError: what ``ftdeploy.prepare.read`` raises; with several sources also a missing column of this one.
    """
    if data.sources:
        yield from _adapted(opened, data, wanted)
        return
    for row in _labelled(opened, data.columns, wanted):
        opened.read += 1
        yield row


def _labelled(opened: Opened, columns: Columns, wanted: tuple[str, ...]) -> Iterator[Row]:
    """The rows as they stand in the source, but for how labels are written there: tags have names and are IOB2 where
    the recipe says how, and an empty cell is a missing label where it says so.

    Raises:
        DataError: all cells with names of labels are empty; tags that do not fit their scheme or names.
    """
    entry, label = opened.entry, columns.label
    rows = read_rows(entry, opened.path, wanted=wanted)
    if label is not None and entry.label is None and columns.label_separator is not None:
        yield from _filled(rows, opened, label, missing=columns.empty_label == "missing")
        return
    settle = None if label is None or _is_conll(opened) else settled_tags(entry.scheme, columns.tag_names)
    if settle is None or label is None:
        yield from rows
        return
    for row in rows:
        where = f"{entry.name}:{row.place:,}" if entry.name else f"{row.place:,}"
        yield replace(row, values={**row.values, label: settle(row.values.get(label), where)})


def _filled(rows: Iterator[Row], opened: Opened, label: str, *, missing: bool) -> Iterator[Row]:
    read = empty = 0
    for row in rows:
        read += 1
        cell = row.values.get(label)
        if isinstance(cell, str) and not cell.strip():
            empty += 1
            yield replace(row, values={**row.values, label: None}) if missing else row
        else:
            yield row
    if read and read == empty:
        raise DataError(
            f"{opened.path.name}: the column {label!r} is empty in all {read:,} rows",
            cause="nobody has labelled them yet, or another column was meant",
            fix="fill it in, with `[]` where no label holds; or leave the file out",
        )


def _is_conll(opened: Opened) -> bool:
    """Whether its tags are IOB2 by themselves."""
    entry = opened.entry
    return entry.loader is None and entry.hub is None and file_format(entry, opened.path) == "conll"


def _adapted(opened: Opened, data: DataSettings, wanted: tuple[str, ...]) -> Iterator[Row]:
    entry = opened.entry
    columns = entry.columns or data.columns
    named = unified(data).columns
    parts = {part: getattr(columns, part) for part in _COLUMNS if getattr(named, part) is not None}
    own = [name for part, name in parts.items() if name is not None and not (part == "label" and entry.label)]
    others = [name for name in wanted if name not in parts and name != "source"]
    for row in _labelled(opened, columns, tuple(dict.fromkeys([*own, *others]))):
        opened.read += 1
        if not opened.columns.keys() >= row.values.keys():
            opened.columns.update(dict.fromkeys(row.values))
        if opened.read == _SETTLED:
            _check_columns(opened, [name for name in own if name in (columns.text, columns.label)])
        renamed = {part: None if name is None else row.values.get(name) for part, name in parts.items()}
        values = {**row.values, **renamed, "source": entry.name}
        values["label"] = values["label"] if entry.label is None else entry.label
        yield replace(row, values=values, role=entry.role, source=opened.number, origin=str(entry.name))
    if opened.read:
        _check_columns(opened, own)


def _check_columns(opened: Opened, names: Sequence[str]) -> None:
    missing = [name for name in names if name not in opened.columns]
    if missing:
        raise no_column(missing, opened.columns, whose=f"source {opened.entry.name}")


def _settled(entry: SourceEntry, path: Path) -> SourceEntry:
    if entry.encoding != "auto" or entry.hub is not None or entry.loader is not None:
        return entry
    kind = file_format(entry, path)
    if kind == "folder":
        return entry
    if kind not in _OF_TEXT:
        return entry.model_copy(update={"encoding": "utf-8"})
    found = find_encoding(path)
    progress.say(f"{path.name} is read as {found.encoding}: {found.reason}")
    return entry.model_copy(update={"encoding": found.encoding})
