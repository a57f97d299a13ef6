"""Two plain ways to write texts and labels: one of each on a line, and a file for a text in a folder for a label."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

from ftdeploy.errors import DataError
from ftdeploy.origin import Source
from ftdeploy.prepare.encoding import find_encoding
from ftdeploy.prepare.text import SUFFIXES_PACKED, open_text, refuse_binary

_COLUMNS = {"last": ("text", "label"), "first": ("label", "text")}
#: A longer text file (characters) is taken for a fault of the folder.
_ABSURD = 50_000_000


def read_lines(source: Source, path: Path) -> Iterator[tuple[int, Mapping[str, str]]]:
    """The rows of a file with a text and a label on each line, each with its line; empty lines are passed over.

    Args:
        source: delimiter, cut, names, encoding.
        path: the file.

    Raises:
        DataError: a line without the delimiter.
    """
    first, second = source.names or _COLUMNS[source.cut]
    delimiter = str(source.delimiter)
    for number, line in enumerate(open_text(path, source.encoding), start=1):
        if not line.strip():
            continue
        bare = line.rstrip("\r\n")
        left, found, right = bare.rpartition(delimiter) if source.cut == "last" else bare.partition(delimiter)
        if not found:
            raise DataError(
                f"{path.name}, line {number} has no {delimiter!r} between text and label",
                cause="the line was cut off or goes on in the next one, or `delimiter` names something else",
                fix="correct that line, or set `delimiter` to what stands between text and label",
            )
        yield number, {first: left.strip(), second: right.strip()}


def read_folder(source: Source, path: Path) -> Iterator[Mapping[str, str | None]]:
    """A row for each text file below a folder, in the order of their names: ``text`` (the whole file), ``label`` (the
    name of the folder that it stands in; None right below ``path``), ``folder`` (that folder's path) and ``id`` (the
    file's path), both relative to ``path``. Files and folders whose names begin with a dot are passed over.

    Args:
        source: files (the pattern), encoding.
        path: the folder.

    Raises:
        DataError: not a folder, no file fits the pattern, or one is not text.
    """
    if not path.is_dir():
        raise DataError(
            f"{path.name} is a file, and format folder wants a folder of text files",
            cause="`path` or `member` names a single file",
            fix="name the folder, or set `format` to what the file is",
        )
    count, others = 0, Counter[str]()
    for file in _walk(path):
        name = PurePosixPath(file.relative_to(path).as_posix())
        if not _fits(name, source.files):
            others[file.suffix or "no suffix"] += 1
            continue
        count += 1
        parent = name.parent
        label = parent.name or None
        yield {"text": _content(source, file), "label": label, "folder": str(parent), "id": str(name)}
    if not count:
        found = ", ".join(f"{suffix} {rows:,}" for suffix, rows in others.most_common(10)) or "none at all"
        raise DataError(
            f"no file below {path} fits {source.files!r}; files by their endings: {found}",
            cause="the texts have other names, or the folder is not the one with the texts",
            fix="set `files` to a pattern that fits them, as '**/*' for all; a table of rows wants `path: FOLDER/FILE`",
        )


def _walk(folder: Path) -> Iterator[Path]:
    """The files below a folder, sorted; one folder's names are held at a time, and links to folders not followed."""
    with os.scandir(folder) as listed:
        entries = sorted((entry for entry in listed if not entry.name.startswith(".")), key=lambda entry: entry.name)
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(Path(entry.path))
        elif entry.is_file():
            yield Path(entry.path)


def _fits(name: PurePosixPath, pattern: str) -> bool:
    bare = name.with_suffix("") if name.suffix.lower() in SUFFIXES_PACKED else name
    # fnmatch's * crosses slashes; `**/` also stands for no folder at all.
    return any(fnmatch(str(one), form) for one in (name, bare) for form in (pattern, pattern.removeprefix("**/")))


def _content(source: Source, file: Path) -> str:
    if not file.stat().st_size:
        return ""
    refuse_binary(file, "text")
    encoding = find_encoding(file).encoding if source.encoding == "auto" else source.encoding
    pieces, size = [], 0
    for line in open_text(file, encoding):
        pieces.append(line)
        size += len(line)
        if size > _ABSURD:
            raise DataError(
                f"{file} has more than {_ABSURD:,} characters",
                cause="it is not one text, but a table or a dump of many",
                fix="move it away, or narrow `files`",
            )
    return "".join(pieces)
