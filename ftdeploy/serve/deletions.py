"""Rows that have to go: noted in ``deletions.jsonl``, applied to sealed files at once and to open ones at sealing.

A note holds by what (``id`` of the request or ``subject``), until when, and a salted SHA-256 of the value and not the
value: what is to be forgotten does not stand in a list. Whoever reads traffic leaves noted rows out; whoever seals a
file rewrites it without them. Both happen under `segments.locked`, so each row is seen by the command that deletes or
by the writer that seals after it. A running writer that finds a new note seals its open file within a tick.

A note goes when no row can be left that it is for: a day later, when every file begun before is sealed.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import orjson

from ftdeploy.serve.encryption import Framing, TrafficError, TrafficKey, read_key
from ftdeploy.serve.segments import ENCRYPTED, OPEN, begun, files, locked, read_records, sync_folder, whole_length

NAME = "deletions.jsonl"
By = Literal["id", "subject"]
#: Seconds that a note is kept at least: longer than a row waits on its way into a file.
_KEPT = 86_400.0
_REWRITTEN = ".rewrite"
#: Bytes of lines in a record of a rewritten file.
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Deletion:
    """One note.

    Attributes:
        by: the row's field.
        salt: of the digest, in hex.
        digest: SHA-256 of salt and value, in hex.
        time: rows up to then have to go, Unix time.
    """

    by: By
    salt: str
    digest: str
    time: float

    def covers(self, row: dict[str, Any]) -> bool:
        """Whether a row has to go."""
        value = row.get(self.by)
        return isinstance(value, str) and row["time"] <= self.time and _digest(self.salt, value) == self.digest


def _digest(salt: str, value: str) -> str:
    return hashlib.sha256(bytes.fromhex(salt) + value.encode()).hexdigest()


def deletion(by: By, value: str, *, time: float) -> Deletion:
    """A note that rows with that value have to go."""
    salt = secrets.token_hex(16)
    return Deletion(by=by, salt=salt, digest=_digest(salt, value), time=time)


def read_deletions(folder: Path) -> list[Deletion]:
    """The notes of a folder; half a last line is none."""
    try:
        lines = (folder / NAME).read_bytes().splitlines(keepends=True)
    except FileNotFoundError:
        return []
    return [Deletion(**orjson.loads(line)) for line in lines if line.endswith(b"\n")]


def stamp(folder: Path) -> int:
    """A number that changes when a note is added."""
    try:
        return (folder / NAME).stat().st_mtime_ns
    except OSError:
        return 0


def add_deletions(folder: Path, found: Sequence[Deletion]) -> None:
    """Add notes, and drop those that are no longer needed. The folder is locked by the caller.

    Raises:
        OSError: the disk refuses; the old notes stay.
    """
    opened = [begun(path) for path in files(folder, sealed=False)]
    now = max((one.time for one in found), default=0.0)

    def needed(one: Deletion) -> bool:
        return one.time + _KEPT > now or any(when <= one.time + _KEPT for when in opened)

    kept = [one for one in read_deletions(folder) if needed(one)] + list(found)
    _replace(folder / NAME, b"".join(orjson.dumps(one, option=orjson.OPT_APPEND_NEWLINE) for one in kept))


def seal(path: Path, *, rows: int, key: TrafficKey | None, fsync: bool) -> None:
    """Give an open file its final name, without the rows that have to go; an empty one is removed.

    Raises:
        OSError: the disk refuses; it stays open, and the next `seal_leftovers` takes it up.
    """
    with locked(path.parent):
        _seal(path, rows=rows, key=key, fsync=fsync)


def _seal(path: Path, *, rows: int, key: TrafficKey | None, fsync: bool) -> None:
    deletions = read_deletions(path.parent)
    if rows and deletions and rewrite(path, deletions, key=key, target=path.with_suffix("")) >= 0:
        path.unlink()
    elif rows:
        path.rename(path.with_suffix(""))
    else:
        path.unlink()
    if fsync:
        sync_folder(path.parent)


def seal_leftovers(folder: Path, *, key: TrafficKey | None = None, fsync: bool = True) -> None:
    """Seal the files that a crash left open: a half last line is cut, an empty file goes.

    A living writer's file is left alone. One that is encrypted and has rows to lose waits for the key.
    """
    if not folder.is_dir():
        return
    with locked(folder):
        for path in folder.glob(f".*{_REWRITTEN}"):  # of a deletion that was killed
            path.unlink(missing_ok=True)
        for path in files(folder, sealed=False):
            with path.open("r+b") as handle:
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    continue  # another worker is writing it
                whole = whole_length(path)
                handle.truncate(whole)
                if key is None and path.name.endswith(f"{ENCRYPTED}{OPEN}") and read_deletions(folder):
                    key = read_key()
                    if key is None:
                        continue
                _seal(path, rows=whole, key=key, fsync=fsync)


def rewrite(path: Path, deletions: Sequence[Deletion], *, key: TrafficKey | None, target: Path | None = None) -> int:
    """Write a file once more without the rows that have to go. The folder is locked by the caller.

    Args:
        path: the file.
        deletions: which rows.
        key: of it; None takes the environment's where it is encrypted.
        target: the new file; None replaces it, with its old time, so that it is not kept for longer.

    Returns:
        How many rows went; -1 when there was none, and nothing was written. A file that lost all is removed, or not
        made.
    """
    kept, gone = [], 0
    for line, row in read_records(path, key):
        if any(one.covers(row) for one in deletions):
            gone += 1
        else:
            kept.append(line)
    if not gone:
        return -1
    target = path if target is None else target
    if kept:
        before = path.stat()
        _replace(target, _content(kept, path, key))
        os.utime(target, ns=(before.st_atime_ns, before.st_mtime_ns))
    elif target == path:
        path.unlink()
    return gone


def _content(lines: Sequence[bytes], path: Path, key: TrafficKey | None) -> bytes:
    if not path.name.removesuffix(OPEN).endswith(ENCRYPTED):
        return b"".join(lines)
    if key is None and (key := read_key()) is None:
        raise TrafficError(f"{path} is encrypted, and there is no key", cause="it was unset meanwhile", fix="set it")
    framing = Framing(key)
    content, chunk = [framing.header], b""
    for line in lines:
        chunk += line
        if len(chunk) >= _CHUNK:
            content.append(framing.record(chunk))
            chunk = b""
    return b"".join(content) + (framing.record(chunk) if chunk else b"")


def _replace(path: Path, content: bytes) -> None:
    """Put a file in the place of another in one step."""
    beside = path.with_name(f".{path.name}{_REWRITTEN}")
    try:
        with beside.open("wb") as handle:
            handle.write(content)
            handle.flush()
            os.fsync(handle.fileno())
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)
