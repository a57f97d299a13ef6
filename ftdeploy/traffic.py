"""Recorded traffic, for whoever runs a service: read with its true labels, listed, exported, deleted.

`ftdeploy.serve.traffic` writes it. What is noted to be deleted is never read, sealed or not.
"""

from __future__ import annotations

import csv
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from ftdeploy.errors import StorageError
from ftdeploy.pairs import TEXT_PAIR
from ftdeploy.serve.deletions import By, Deletion, add_deletions, deletion, read_deletions, rewrite, seal_leftovers
from ftdeploy.serve.encryption import TrafficError, TrafficKey
from ftdeploy.serve.segments import ENCRYPTED, OPEN, Kind, begun, files, locked
from ftdeploy.serve.traffic import read_segment
from ftdeploy.values import is_number

#: Seconds in which a running service seals what it has open once a deletion is noted; it looks five times a second.
PATIENCE = 5.0
#: Columns of an exported CSV before those of the embedding; of a model that reads two texts, one more.
_COLUMNS: tuple[str, ...] = (
    "id", "row", "subject", "time", "digest", "label", "answer", "true_label", "confidence", "tokens", "unknown",
    "language", "truncated", "cached", "text",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Listed:
    """One file of recorded rows.

    Attributes:
        name: of the file.
        kind: answered texts or true labels.
        rows: in it, without those to be deleted; None where it is encrypted and there is no key.
        bytes: on the disk.
        begun: when its writer began it.
        sealed: whether it is written no more.
        encrypted: whether it wants a key.
    """

    name: str
    kind: Kind
    rows: int | None
    bytes: int
    begun: datetime
    sealed: bool
    encrypted: bool


@dataclass(frozen=True, kw_only=True)
class Deleted:
    """What a deletion did.

    Attributes:
        rows: that went from sealed files.
        requests: that they belonged to, and what running services had not sealed.
        sealed: files that running services had open, and have sealed without what has to go.
        pending: open files that a writer has not sealed in time; it will, without what has to go.
    """

    rows: int
    requests: int
    sealed: int
    pending: tuple[str, ...]


def read_traffic(folder: Path, *, key: TrafficKey | None = None) -> Iterator[dict[str, Any]]:
    """Every recorded text, sealed or not, in the order of its file.

    Args:
        folder: of one or several services.
        key: None takes the environment's where a file is encrypted.

    Yields:
        The fields of `ftdeploy.serve.traffic`, ``embedding`` as float16 of shape (size,), and ``true_label``: the last
        that was sent for the text, or None.

    Raises:
        TrafficError: there is no such folder, the key is missing or another one, or a file was changed.
    """
    deleted = _notes(folder)
    labels = read_labels(folder, key=key)
    for path in files(folder, "segment"):
        for row in _rows(path, key, deleted):
            truth = labels.get((row["id"], row["row"]))
            yield {**row, "true_label": truth[0] if truth else None}


def read_labels(folder: Path, *, key: TrafficKey | None = None) -> dict[tuple[str, int], tuple[str, float]]:
    """Request id and index of the text -> its true label, the last one that was sent, and when (Unix time).

    Raises:
        TrafficError: as `read_traffic`.
    """
    deleted = _notes(folder)
    found: dict[tuple[str, int], tuple[str, float]] = {}
    for path in files(folder, "feedback"):
        for row in _rows(path, key, deleted):
            place = row["id"], row["row"]
            if place not in found or found[place][1] <= row["time"]:
                found[place] = row["label"], row["time"]
    return found


def list_traffic(folder: Path, *, key: TrafficKey | None = None) -> list[Listed]:
    """The files of a folder, oldest first.

    Raises:
        TrafficError: there is no such folder, or a file was changed or wants another key.
    """
    deleted = _notes(folder)
    found = []
    for path in sorted(files(folder), key=lambda path: (begun(path), path.name)):
        encrypted = path.name.removesuffix(OPEN).endswith(ENCRYPTED)
        found.append(
            Listed(
                name=path.name,
                kind="feedback" if path.name.startswith("feedback") else "segment",
                rows=None if encrypted and key is None else sum(1 for _ in _rows(path, key, deleted)),
                bytes=path.stat().st_size,
                begun=datetime.fromtimestamp(begun(path), UTC),
                sealed=not path.name.endswith(OPEN),
                encrypted=encrypted,
            )
        )
    return found


def export_traffic(folder: Path, out: Path, *, key: TrafficKey | None = None) -> int:
    """Write what `read_traffic` finds into one file, in one step: JSON lines, or CSV by the name's ending.

    Returns:
        How many rows it has.

    Raises:
        TrafficError: as `read_traffic`.
        StorageError: the disk refuses.
    """
    beside = out.with_name(f".{out.name}.part")
    rows = read_traffic(folder, key=key)
    try:
        try:
            count = _write_csv(rows, beside) if out.suffix.lower() == ".csv" else _write_lines(rows, beside)
            beside.replace(out)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(
            f"{out} cannot be written: {error.strerror or error}",
            cause="no such folder, no permission, or a full or read-only disk",
            fix="name another file with --out, or free space",
        ) from error
    return count


def delete_traffic(folder: Path, *, requests: Sequence[str] = (), subjects: Sequence[str] = (),
                   key: TrafficKey | None = None, patience: float = PATIENCE) -> Deleted:  # fmt: skip
    """Delete what was recorded until now under ids of requests or subjects, true labels with it.

    The note for running services comes first, so that whatever ends this early, repeating it finishes it, and rows that
    are left are read no more. Sealed files are replaced one by one, each in one step.

    Args:
        folder: of one or several services, running or not.
        requests: ids of requests.
        subjects: ids of subjects.
        key: None takes the environment's where a file is encrypted.
        patience: seconds to wait for running services.

    Raises:
        TrafficError: there is no such folder, the key is missing or another one, or a file was changed.
        StorageError: the disk refuses.
    """
    _notes(folder)
    try:
        seal_leftovers(folder, key=key)
        theirs = _requests_of(folder, frozenset(subjects), key)
        now = time.time() + 0.001  # times of rows are rounded to a thousandth
        values: list[tuple[By, str]] = [("subject", one) for one in subjects]
        values += [("id", one) for one in sorted({*requests, *theirs})]
        notes = [deletion(by, value, time=now) for by, value in values]
        with locked(folder):
            add_deletions(folder, notes)
            opened = [path for path in files(folder, sealed=False) if begun(path) <= now]
        rows = sum(_rewritten(folder, path, notes, key) for path in files(folder, opened=False))
    except OSError as error:
        raise StorageError(
            f"{folder} cannot be written: {error.strerror or error}",
            cause="no permission, or a full or read-only disk: a file is written anew before the old one goes",
            fix="run it as the service's user, free space, and run it again",
        ) from error
    until = time.monotonic() + patience
    while (left := [path for path in opened if path.exists()]) and time.monotonic() < until:
        time.sleep(0.05)
    return Deleted(rows=rows, requests=len({*requests, *theirs}), sealed=len(opened) - len(left),
                   pending=tuple(path.name for path in left))  # fmt: skip


def _requests_of(folder: Path, subjects: frozenset[str], key: TrafficKey | None) -> set[str]:
    """The requests about some subjects: what was sent later about their texts goes, too."""
    if not subjects:
        return set()
    return {row["id"] for path in files(folder) for row in _rows(path, key, ()) if row["subject"] in subjects}


def _rewritten(folder: Path, path: Path, notes: Sequence[Deletion], key: TrafficKey | None) -> int:
    with locked(folder):  # for each file anew, so that a service need not wait for all of them
        return max(0, rewrite(path, notes, key=key)) if path.exists() else 0


def _rows(path: Path, key: TrafficKey | None, deleted: Sequence[Deletion]) -> Iterator[dict[str, Any]]:
    """The rows of a file that may be sealed, or removed for its age, at any moment."""
    for place in (path, path.with_suffix("") if path.name.endswith(OPEN) else path):
        try:
            handle = place.open("rb")
        except FileNotFoundError:
            continue
        handle.close()
        yield from read_segment(place, key=key, deleted=deleted)
        return


def _notes(folder: Path) -> list[Deletion]:
    if not folder.is_dir():
        raise TrafficError(
            f"{folder} is no folder with traffic",
            cause="the path is wrong, or the service has recorded nothing yet",
            fix="the service says at its start where traffic goes; FTDEPLOY_TRAFFIC names the folder",
        )
    return read_deletions(folder)


def _write_lines(rows: Iterator[dict[str, Any]], path: Path) -> int:
    count = 0
    with path.open("wb") as handle:
        for row in rows:
            count += 1
            plain = {**row, "embedding": row["embedding"].tolist()}
            handle.write(orjson.dumps(plain, option=orjson.OPT_APPEND_NEWLINE))
    return count


def _write_csv(rows: Iterator[dict[str, Any]], path: Path) -> int:
    count, columns = 0, _COLUMNS
    with path.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle)
        for count, row in enumerate(rows, 1):
            if count == 1:
                columns = (*_COLUMNS, *([TEXT_PAIR] if TEXT_PAIR in row else []))
                writer.writerow([*columns, *(f"embedding_{index}" for index in range(len(row["embedding"])))])
            writer.writerow([*(_cell(row.get(name)) for name in columns), *row["embedding"].tolist()])
    return count


def _cell(value: object) -> object:
    """A value as a cell that no spreadsheet takes for a formula (OWASP, CSV injection); a number is none."""
    formula = isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") and not is_number(value)
    return f"'{value}" if formula else value
