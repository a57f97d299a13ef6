"""Rows out of a file, whatever its format: one dictionary at a time, with every bad input named by line.

What stands in a text is text: `NA`, `nan`, `null` and `None` are cells like any other. Missing is None, whatever a
format, or a loader's library, has for it: nothing in an Arrow table, NaN where there are numbers, `pandas.NA`.

Nothing here holds more than one row (csv, jsonl, lines, loader), one text (folder), one sentence (conll) or one record
batch (parquet, hub).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ftdeploy.dataset import SplitName
from ftdeploy.errors import DataError
from ftdeploy.origin import Source
from ftdeploy.prepare.conll import read_conll
from ftdeploy.prepare.hub import parquet_names, read_hub
from ftdeploy.prepare.loader import load_rows
from ftdeploy.prepare.plain import read_folder, read_lines
from ftdeploy.prepare.table import read_csv
from ftdeploy.prepare.text import SUFFIXES_PACKED, open_bytes, open_text, refuse_binary

_SUFFIXES = {
    ".csv": "csv", ".tsv": "tsv", ".tab": "tsv",
    ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl",
    ".parquet": "parquet", ".pq": "parquet",
    ".conll": "conll", ".iob": "conll", ".iob2": "conll", ".bio": "conll",
}  # fmt: skip
_SHEETS = (".xlsx", ".xls", ".xlsm", ".ods")
_BATCH_ROWS = 4096
#: JSON has no NaN, and Python and pandas write it for what is missing.
_JSON = json.JSONDecoder(parse_constant=lambda name: None if name == "NaN" else float(name))


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row as it was read.

    Attributes:
        place: line of a text file, else number of the row; from 1, in its source.
        values: by column.
        name: what it is called when no column says so; empty for its place.
        role: the split that its source is for, where the recipe says so.
        source: index of its source among the recipe's.
        origin: name of its source, empty where the recipe has one source only.
    """

    place: int
    values: Mapping[str, Any]
    name: str = ""
    role: SplitName | None = None
    source: int = 0
    origin: str = ""

    @property
    def prefix(self) -> str:
        """What stands before its id, so that ids stay different across sources."""
        return f"{self.origin}:" if self.origin else ""

    @property
    def where(self) -> str:
        """Its place as messages say it: with the source's name, where there are several."""
        return f"{self.prefix}{self.place:,}"


def read_rows(source: Source, path: Path, *, wanted: tuple[str, ...]) -> Iterator[Row]:
    """The rows of a source.

    Args:
        source: how the file is written.
        path: what ``ftdeploy.sources.resolve`` returned.
        wanted: the columns that are needed; others may be left out.

    Raises:
        DataError: the file is not what its format says, a wrong column, a broken line; each with its place.
        SourceError: the loader cannot be found.
    """
    if source.loader is not None:
        return _numbered(map(_present, load_rows(source.loader, path)))
    if source.hub is not None:
        return _numbered(map(_present, read_hub(path, split=source.split, subset=source.subset)))
    kind = file_format(source, path)
    if kind == "parquet":
        return _numbered(_parquet_rows(path, wanted))
    if kind == "folder":
        files = enumerate(read_folder(source, path), start=1)
        return (Row(place=number, values=values, name=str(values["id"])) for number, values in files)
    refuse_binary(path, kind)
    return (Row(place=line, values=values) for line, values in _text_rows(source, path, kind, wanted))


def _text_rows(
    source: Source, path: Path, kind: str, wanted: tuple[str, ...]
) -> Iterator[tuple[int, Mapping[str, Any]]]:
    if kind == "jsonl":
        return _json_rows(source, path)
    if kind == "lines":
        return read_lines(source, path)
    if kind == "conll":
        return read_conll(source, path)
    return read_csv(source, path, tab=kind == "tsv", wanted=wanted)


def file_format(source: Source, path: Path) -> str:
    """``csv``, ``tsv``, ``jsonl``, ``parquet``, ``lines``, ``folder`` or ``conll``.

    Raises:
        DataError: a folder, or a name that does not tell.
    """
    if path.is_dir() and source.format != "folder":
        raise DataError(
            f"{path} is a folder, and a file with rows is wanted",
            cause="`path` or `member` names a folder",
            fix="name the file inside it; set `format: folder` when each file is one text and each folder a label; or "
            "give a `loader` that reads the folder",
        )
    if source.format != "auto":
        return source.format
    suffix = path.suffix.lower()
    if suffix in SUFFIXES_PACKED:
        packed, suffix = suffix, Path(path.stem).suffix.lower()
        if packed == ".zip" and suffix not in _SUFFIXES:
            suffix = Path(_only(path)).suffix.lower()
    if suffix not in _SUFFIXES:
        raise DataError(
            f"the format of {path.name} cannot be told from its name",
            cause=f"it ends in {suffix or 'nothing'}; known are {', '.join(_SUFFIXES)}",
            fix="save the sheet as CSV"
            if suffix in _SHEETS
            else "set `data.source.format`, give the file such an ending, or name a `loader` for a format of its own",
        )
    return _SUFFIXES[suffix]


def _only(path: Path) -> str:
    """The name of the one file in a zip archive."""
    with open_bytes(path) as opened:
        return str(opened.name)


def _present(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """A row with None for what is missing."""
    missing = [key for key, value in row.items() if value is not None and not isinstance(value, str) and _is_nan(value)]
    return {**row, **dict.fromkeys(missing)} if missing else row


def _is_nan(value: object) -> bool:
    """Whether a cell is NaN, of whatever library: it alone is not equal to itself."""
    try:
        return bool(value != value)  # noqa: PLR0124  # as said
    except (TypeError, ValueError):  # pandas.NA is neither equal nor unequal; an array is so cell by cell
        return type(value).__name__ == "NAType"


def _numbered(rows: Iterator[Mapping[str, Any]]) -> Iterator[Row]:
    return (Row(place=number, values=values) for number, values in enumerate(rows, start=1))


def _json_rows(source: Source, path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for number, line in enumerate(open_text(path, source.encoding), start=1):
        if not line.strip():
            continue
        if number == 1 and _opens_array(line):
            raise DataError(
                f"{path.name} is one JSON array, and JSON Lines are wanted: an object on each line",
                cause="it was written by a JSON library without lines=True",
                fix='python -c "import json,sys; [print(json.dumps(r)) for r in json.load(sys.stdin)]" '
                f"< {path.name} > rows.jsonl",
            )
        try:
            row = _JSON.decode(line)
        except (ValueError, RecursionError) as error:
            column = f", column {error.colno}: {error.msg}" if isinstance(error, json.JSONDecodeError) else f": {error}"
            raise DataError(
                f"{path.name}, line {number}{column}",
                cause="the line is not valid JSON: cut off, in single quotes, or several objects on a line",
                fix="correct that line; each line must hold one whole object",
            ) from error
        if not isinstance(row, dict):
            raise DataError(
                f"{path.name}, line {number} holds a {type(row).__name__}, and an object is wanted",
                cause="the rows are lists or bare values without column names",
                fix='write each row as an object, as {"text": "...", "label": "..."}',
            )
        yield number, row


def _opens_array(line: str) -> bool:
    """Whether a first line is an array of rows, or begins one; and no row that is a list."""
    if not line.lstrip().startswith("["):
        return False
    try:
        found = _JSON.decode(line)
    except (ValueError, RecursionError):
        return True  # it goes on in the next lines
    return not found or isinstance(found[0], dict)


def _parquet_rows(path: Path, wanted: tuple[str, ...]) -> Iterator[Mapping[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with _arrow_errors(path):
        file = pq.ParquetFile(path, pre_buffer=False)  # else it keeps all that was read
        there = file.schema_arrow.names
        present = [name for name in wanted if name in there]
        # Without one of the wanted columns the caller wants to list those there are.
        columns = present if wanted and len(present) == len(set(wanted)) else None
        if columns is not None and "tokens" in there:  # tags go by them, whatever the recipe names
            columns = list(dict.fromkeys([*columns, "tokens"]))
        names = parquet_names(file.schema_arrow.metadata)
        floats = any(pa.types.is_floating(field.type) for field in file.schema_arrow)
    try:
        with _arrow_errors(path):
            for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=columns):
                rows = batch.to_pylist()
                for key in names.keys() & batch.schema.names:
                    for row in rows:
                        row[key] = names[key](row[key])
                yield from map(_present, rows) if floats else rows
    finally:
        file.close()


@contextmanager
def _arrow_errors(path: Path) -> Iterator[None]:
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"{path.name} cannot be read as parquet: {str(error).splitlines()[0]}",
            cause="the file is cut off, damaged, or not parquet",
            fix="write it again, or set `data.source.format` to what it is",
        ) from error
