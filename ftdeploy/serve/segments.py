"""Files of recorded rows: how they are named, written, encrypted, sealed, read, and removed when they are old.

Rows are JSON lines. A file is ``<kind>-<utc>-<pid>-<n>.jsonl.open`` while its writer lives, which holds a lock on it,
and is sealed by renaming it to ``.jsonl``. With a key it is ``.jsonl.enc`` and holds what `ftdeploy.serve.encryption`
describes. Whoever renames, rewrites or removes sealed files holds `locked` on the folder.
"""

from __future__ import annotations

import fcntl
import itertools
import os
import time
from calendar import timegm
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Literal

import orjson

from ftdeploy.serve.encryption import HEADER, KEY, KEY_FILE, LENGTH, MAGIC, Framing, TrafficError, TrafficKey, read_key

#: ``segment``: answered texts; ``feedback``: their true labels.
Kind = Literal["segment", "feedback"]
KINDS: tuple[Kind, ...] = ("segment", "feedback")
#: ``never`` leaves it to the system when rows reach the disk, ``seal`` waits for it when a file is sealed, ``always``
#: after every write of the background thread.
Fsync = Literal["never", "seal", "always"]

OPEN = ".open"
ENCRYPTED = ".enc"
_DAY = 86_400.0


class OpenFile:
    """A file that its living writer adds rows to.

    Args:
        folder: made when missing.
        kind: what its rows are.
        key: encrypts it.

    Attributes:
        rows: in it.
        size: in bytes.
        since: when it was begun, by the monotonic clock.
    """

    def __init__(self, folder: Path, kind: Kind, key: TrafficKey | None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        end = ENCRYPTED if key else ""
        self.rows = self.size = 0
        self.since = time.monotonic()
        with locked(folder):  # between its making and its lock it would look like a dead writer's
            names = (f"{kind}-{stamp}-{os.getpid()}-{number}.jsonl{end}" for number in itertools.count(1))
            name = next(
                name for name in names if not (folder / name).exists() and not (folder / (name + OPEN)).exists()
            )
            self.path = folder / (name + OPEN)
            self._handle = self.path.open("xb", buffering=0)
            fcntl.flock(self._handle, fcntl.LOCK_EX)  # says to other processes that this one is alive
        self._framing = Framing(key) if key else None
        try:
            self._put(self._framing.header if self._framing else b"")
        except OSError:
            self.path.unlink()
            self._handle.close()
            raise

    def write(self, lines: bytes, rows: int, *, fsync: bool) -> None:
        """Add some whole lines.

        Raises:
            OSError: the disk refuses; nothing of them stays. Then no more may be added: a number used twice would be a
                nonce used twice.
        """
        start = self._handle.tell()
        try:
            self._put(self._framing.record(lines) if self._framing else lines)
            if fsync:
                os.fsync(self._handle.fileno())
        except OSError:
            self._handle.truncate(start)  # a half-written line would spoil the file
            raise
        self.rows += rows
        self.size = self._handle.tell()

    def _put(self, content: bytes) -> None:
        left = memoryview(content)
        while left:
            left = left[self._handle.write(left) :]

    def sync(self) -> None:
        """Wait until it is on the disk."""
        os.fsync(self._handle.fileno())

    def close(self) -> None:
        """Let go of it."""
        self._handle.close()


def files(folder: Path, *kinds: Kind, opened: bool = True, sealed: bool = True) -> list[Path]:
    """The files of a folder, by kind and name, which is by the time at which they were begun."""
    found = []
    for kind in kinds or KINDS:
        for path in sorted(folder.glob(f"{kind}-*.jsonl*")):
            name = path.name.removesuffix(OPEN)
            if name.endswith((".jsonl", f".jsonl{ENCRYPTED}")) and (opened if name != path.name else sealed):
                found.append(path)
    return found


def begun(path: Path) -> float:
    """When a file was begun, Unix time, by its name; 0 where that does not say it."""
    try:
        return timegm(time.strptime(path.name.split("-")[1], "%Y%m%dT%H%M%SZ"))
    except (ValueError, IndexError):
        return 0.0


def read_lines(path: Path, key: TrafficKey | None = None) -> Iterator[bytes]:
    """The lines of a file; half a last one, which a crash leaves, ends it.

    Args:
        path: open or sealed, encrypted or not.
        key: None takes `read_key` where the file wants one.

    Raises:
        TrafficError: it wants a key and there is none, or another; or it was changed.
        DependencyError: as `TrafficKey.cipher`.
    """
    with path.open("rb") as handle:
        if path.name.removesuffix(OPEN).endswith(ENCRYPTED):
            yield from _decrypted(handle, path, key)
        else:
            yield from (line for line in handle if line.endswith(b"\n"))


def read_records(path: Path, key: TrafficKey | None = None) -> Iterator[tuple[bytes, dict[str, Any]]]:
    """The lines of a file, each with the row that it holds.

    Args:
        path, key: as `read_lines` has them.

    Raises:
        TrafficError: as `read_lines`; or a line is no row.
    """
    for number, line in enumerate(read_lines(path, key), 1):
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise spoilt(path, f"line {number:,} is no row ({error})") from None
        if not isinstance(row, dict):
            raise spoilt(path, f"line {number:,} is no row")
        yield line, row


def _decrypted(handle: IO[bytes], path: Path, key: TrafficKey | None) -> Iterator[bytes]:
    from_file = handle.read(HEADER.size)
    if len(from_file) < HEADER.size:
        return
    magic, identity, salt = HEADER.unpack(from_file)
    if magic != MAGIC:
        raise spoilt(path, "it does not begin as encrypted traffic of this version does")
    key = read_key() if key is None else key
    if key is None or key.id != identity:
        raise TrafficError(
            f"{path} is encrypted, and " + ("there is no key" if key is None else "the key is another one"),
            cause="the service that wrote it had a key that this command was not given",
            fix=f"set {KEY_FILE} to the file with the key of that service, or {KEY} to the key",
        )
    framing = Framing(key, salt)
    from cryptography.exceptions import InvalidTag

    while len(length := handle.read(LENGTH.size)) == LENGTH.size:
        wanted = LENGTH.unpack(length)[0]
        if wanted > 1 << 30:
            raise spoilt(path, "a record of it has an impossible length")
        sealed = handle.read(wanted)
        if len(sealed) < wanted:
            return
        try:
            yield from framing.open(sealed).splitlines(keepends=True)
        except InvalidTag:
            raise spoilt(path, "a record of it is not what was written") from None


def spoilt(path: Path, why: str) -> TrafficError:
    """The error of a file that holds what no writer of ours has left there."""
    return TrafficError(
        f"{path} was changed: {why}",
        cause="the disk failed, or somebody wrote into it",
        fix="move the file away; the others can be read without it",
    )


def whole_length(path: Path) -> int:
    """How many bytes of a file hold whole lines or records; 0 where there is none. Needs no key."""
    if not path.name.removesuffix(OPEN).endswith(ENCRYPTED):
        return path.read_bytes().rfind(b"\n") + 1
    size = path.stat().st_size
    with path.open("rb") as handle:
        handle.seek(HEADER.size)
        end = 0
        while len(length := handle.read(LENGTH.size)) == LENGTH.size:
            after = handle.tell() + LENGTH.unpack(length)[0]
            if after > size:
                break
            end = handle.seek(after)
    return end


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """While the block runs, no other process seals, rewrites or removes files of the folder."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def keep_within(folder: Path, max_bytes: int, max_days: float | None = None) -> None:
    """Remove sealed files that were begun too long ago, then the oldest until all hold at most ``max_bytes``; the
    newest one stays however large it is.
    """
    if not folder.is_dir():
        return
    with locked(folder):
        sealed = [(path.stat().st_mtime, path.name, path) for path in files(folder, opened=False)]
        left = []
        for one in sorted(sealed):
            if max_days is not None and begun(one[2]) < time.time() - max_days * _DAY:
                one[2].unlink(missing_ok=True)
            else:
                left.append(one[2])
        total = sum(path.stat().st_size for path in left)
        for path in left[:-1]:
            if total <= max_bytes:
                return
            total -= path.stat().st_size
            path.unlink(missing_ok=True)
