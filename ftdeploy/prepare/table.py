"""CSV and TSV with the standard library's reader, and every fault with its line."""

from __future__ import annotations

import csv
import re
import sys
from collections.abc import Iterator, Mapping
from itertools import chain, islice
from pathlib import Path
from typing import Literal

from ftdeploy.errors import DataError, short
from ftdeploy.origin import Source
from ftdeploy.prepare.text import open_text

DELIMITERS = (",", ";", "\t", "|")
#: A first line that tells spreadsheets the delimiter, and is no row.
_DECLARED = re.compile(r"sep=(.)[\r\n]*", re.IGNORECASE)


def read_csv(
    source: Source, path: Path, *, tab: bool, wanted: tuple[str, ...]
) -> Iterator[tuple[int, Mapping[str, str]]]:
    """The rows of a delimited file, each with the line that it ends on.

    Args:
        source: header, names, delimiter, quotes, encoding.
        path: the file.
        tab: the delimiter is a tab unless the source names another.
        wanted: columns that decide which delimiter is meant.

    Raises:
        DataError: a row with more or fewer fields than the header, a quote that is not closed, no header.
    """
    # Process-wide in the standard library; a long cell is set aside later by data.clean.max_chars, with a count.
    csv.field_size_limit(sys.maxsize)
    lines, declared = past_declaration(open_text(path, source.encoding))
    first = next(lines, "")
    delimiter = source.delimiter or declared or ("\t" if tab else find_delimiter(first, source, wanted))
    skipped = int(declared is not None)
    quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if source.quotes else csv.QUOTE_NONE
    reader = csv.reader(chain([first], lines), delimiter=delimiter, quoting=quoting, strict=True)
    try:
        header = [name.strip() for name in (next(reader, []) if source.header else source.names)]
        if not header and not source.header:
            raise _unnamed(path, first, delimiter)
        _check_header(path, header, wanted)
        for fields in reader:
            if fields:
                line = reader.line_num + skipped
                yield line, dict(zip(header, _fitted(fields, header, path, line), strict=True))
    except csv.Error as error:
        raise DataError(
            f"{path.name}, near line {reader.line_num + skipped}: {error}",
            cause='a field that begins with a double quote is not closed, or text follows the closing one ("" is a '
            "quote inside a quoted field)",
            fix="correct that line; where quotes are plain characters, set `data.source.quotes: false`",
        ) from error


def past_declaration(lines: Iterator[str]) -> tuple[Iterator[str], str | None]:
    """The lines without ``sep=;``, with which spreadsheets are told the delimiter; and the delimiter, if there is one.

    Args:
        lines: of a file, from its first.
    """
    first = next(lines, "")
    found = _DECLARED.fullmatch(first)
    return (lines, found[1]) if found else (chain([first], lines), None)


def find_delimiter(line: str, source: Source, wanted: tuple[str, ...]) -> str:
    """The delimiter that makes the first line hold the wanted columns, or as many fields as there are names."""
    best, most = DELIMITERS[0], 1
    for delimiter in DELIMITERS:
        fields = [name.strip() for name in next(csv.reader([line], delimiter=delimiter), [])]
        if source.header and wanted and set(wanted) <= set(fields):
            return delimiter
        if not source.header and len(fields) == len(source.names):
            return delimiter
        if len(fields) > most:
            best, most = delimiter, len(fields)
    return best


def _fitted(fields: list[str], header: list[str], path: Path, line: int) -> list[str]:
    count = len(header)
    if len(fields) == count:
        return fields
    if len(fields) > count and not any(fields[count:]):
        return fields[:count]  # delimiters at the end of the line, as spreadsheets write them
    if count == 1:
        raise DataError(
            f"{path.name}, line {line} has {len(fields)} fields, and the header is one: {short(header[0])}",
            cause="the columns are divided by another sign than the usual ones, or the first line is no header",
            fix="set `data.source.delimiter` to the sign between columns (`ftdeploy init` reads , ; | and tabs), or "
            "`header: false` with `names`",
        )
    raise DataError(
        f"{path.name}, line {line} has {len(fields)} fields where {count} are expected",
        cause="a text holds the delimiter and is not in quotes, or the line was cut off",
        fix="put texts into double quotes (spreadsheets and pandas do), or correct the line",
    )


def _check_header(path: Path, header: list[str], wanted: tuple[str, ...]) -> None:
    twice = sorted({name for name in header if header.count(name) > 1 and name in wanted})
    if twice:
        raise DataError(
            f"{path.name} has two columns named {twice[0]!r}",
            cause="tables were joined, or a header was repeated",
            fix="rename one of them",
        )


def _unnamed(path: Path, first: str, delimiter: str) -> DataError:
    count = len(next(csv.reader([first], delimiter=delimiter), []))
    listed = ", ".join(islice((f"column{number}" for number in range(1, count + 1)), 20))
    return DataError(
        f"{path.name} has no header, and `data.source.names` is empty",
        cause="`header: false` says that the first line is a row",
        fix=f"name the {count} columns in order: `names: [{listed}]`",
    )
