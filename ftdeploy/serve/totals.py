"""The metrics of all processes of a service: each leaves its own in a file of a private folder, who is asked adds up.

Counters never go back. What a process shows is first written into its file, and the counters of a process that ended
are folded into one file of the past. No lock stands in the way of a reader: it reads the past, then every file that is
not folded into it, and all once more if the past was replaced meanwhile.
"""

from __future__ import annotations

import fcntl
import logging
from pathlib import Path

import orjson

from ftdeploy.serve.exposition import Snapshot, accumulated, added

log = logging.getLogger(__name__)

_PAST = "past"
_LOCK = "lock"
_SUFFIX = ".json"
#: Times that a reader begins again: the past is replaced only when a process has ended.
_TRIES = 100

_Mark = tuple[int, int] | None


class Totals:
    """The part of one process.

    Args:
        folder: shared by all processes of the service.
        name: this process's, never used twice.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._path = folder / f"{name}{_SUFFIX}"
        self._complained = False

    @property
    def folder(self) -> Path:
        """Where all of them are."""
        return self._folder

    def publish(self, own: Snapshot) -> None:
        """Leave this process's metrics for the others. A disk that is full is told of once."""
        fresh = self._path.with_suffix(".new")
        try:
            fresh.write_bytes(orjson.dumps(own))
            fresh.replace(self._path)
        except OSError as error:
            if not self._complained:
                log.error("metrics cannot be shared in %s: %s", self._folder, error)  # noqa: TRY400  # no traceback: the sentence says it
            self._complained = True

    def of_all(self, own: Snapshot) -> Snapshot:
        """The metrics of all processes, this one's as they are now; where the folder cannot be read, only these."""
        self.publish(own)
        try:
            return added([own, *self._others()])
        except (OSError, ValueError):
            return own

    def _others(self) -> list[Snapshot]:
        for _ in range(_TRIES):
            folded, past, mark = _read_past(self._folder)
            try:
                found = [
                    orjson.loads(path.read_bytes())
                    for path in sorted(self._folder.glob(f"*{_SUFFIX}"))
                    if path.stem not in folded and path != self._path
                ]
            except FileNotFoundError:  # it was folded after it was listed
                continue
            if _mark(self._folder) == mark:
                return [*found, past]
        return []


def fold(folder: Path, name: str) -> bool:
    """Put the counters of a process that ended into the past; False when another process does so right now."""
    path = folder / f"{name}{_SUFFIX}"
    try:
        with (folder / _LOCK).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            folded, past, _ = _read_past(folder)
            counted = added([past, accumulated(orjson.loads(path.read_bytes()))])
            names = [one for one in folded if (folder / f"{one}{_SUFFIX}").exists()]
            fresh = folder / f"{_PAST}.new"
            fresh.write_bytes(orjson.dumps({"folded": [*names, name], "counted": counted}))
            fresh.replace(folder / _PAST)
            path.unlink()
    except BlockingIOError:
        return False
    except (OSError, ValueError) as error:  # it had nothing to leave, or the disk is full: its file goes on counting
        log.debug("the metrics of %s stay as they are: %s", name, error)
    return True


def _mark(folder: Path) -> _Mark:
    """What tells one past from the next."""
    try:
        found = (folder / _PAST).stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns


def _read_past(folder: Path) -> tuple[frozenset[str], Snapshot, _Mark]:
    """Names that are folded, their counters, and the mark."""
    mark = _mark(folder)
    if mark is None:
        return frozenset(), {}, None
    found = orjson.loads((folder / _PAST).read_bytes())
    return frozenset(found["folded"]), found["counted"], mark
