"""The keys in force: looked up by every request, read again when their file changes, their last use kept beside it.

Disk is touched by one background thread alone. A file that is damaged or gone while the service runs changes nothing:
the keys that were read last stay in force, and the log says so.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import math
import secrets
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from ftdeploy.errors import FtdeployError
from ftdeploy.serve.keys import ID_DIGITS, LENGTH, PREFIX, Key, locked, read_keys, readable_by_others, write_beside

log = logging.getLogger(__name__)

#: How often the file is looked at, in seconds: how long a revoked key may still be taken.
TICK = 1.0
#: How often last uses are written, in seconds: the most that a kill -9 loses.
KEEP_SECONDS = 10.0
#: How long the end of the service waits for a disk that hangs.
CLOSE_SECONDS = 5.0

_ID = slice(len(PREFIX), len(PREFIX) + ID_DIGITS)
_NONE = b"-" * LENGTH  # as long as a key, and none


@dataclass(slots=True)
class Use:
    """When a key was last used, unix seconds; 0 is not since the start. Outlives the key's entry when it is read again.

    Attributes:
        at: set by the event loop.
        kept: what of it stands in the file already; set by the background thread.
    """

    at: float = 0.0
    kept: float = 0.0


@dataclass(frozen=True, slots=True)
class Entry:
    """What a request needs of a key."""

    name: str
    digest: bytes = field(repr=False)
    scopes: frozenset[str]
    expires: float
    use: Use


#: Compared against where no key has the id, so that the time taken does not tell whether one has. Nothing hashes to it.
_STRANGER = Entry(name="", digest=secrets.token_bytes(32), scopes=frozenset(), expires=0.0, use=Use())


class KeyRing:
    """The keys of one file, in one process.

    Args:
        path: the keys file.

    Raises:
        KeysError: it is missing, unreadable or damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stamp = _stamp(path)
        self._entries = _table(read_keys(path), {})
        self._unkept = False
        self._mode: str | None = None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def __len__(self) -> int:
        return len(self._entries)

    def start(self) -> None:
        """Say what is in force by now, and begin to watch the file: a forked worker starts long after it was read."""
        self.reload()
        log.info("requests want one of the %d keys of %s", len(self), self.path)
        self._warn_of_mode()
        self._thread = threading.Thread(target=self._work, name="keys", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Keep the last uses, and watch no longer. May wait for the disk."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(CLOSE_SECONDS)

    def find(self, token: bytes) -> Entry | None:
        """The key with this secret, expired or not; in the same steps whether there is such an id or not."""
        if len(token) != LENGTH:
            token = _NONE
        entry = self._entries.get(token[_ID], _STRANGER)
        known = hmac.compare_digest(hashlib.sha256(token).digest(), entry.digest)
        return entry if known else None

    def reload(self) -> None:
        """Read the file again if it is another one than before."""
        stamp = _stamp(self.path)
        if stamp == self._stamp:
            return
        self._stamp = stamp  # what cannot be read is not tried again until it changes
        try:
            found = read_keys(self.path)
        except FtdeployError as error:
            log.error("%s; the %d keys that were read last stay in force. %s", error.what, len(self), error.fix)  # noqa: TRY400  # no traceback: the sentence says it
            return
        self._entries = _table(found, self._entries)
        log.info("read %d keys from %s", len(found), self.path)
        self._warn_of_mode()

    def keep_uses(self) -> None:
        """Write the last uses since the last time; a disk that refuses is told of once, and tried again."""
        fresh = {identity.decode(): entry.use for identity, entry in self._entries.items()}
        times = {identity: use.at for identity, use in fresh.items() if use.at > use.kept}
        if not times:
            return
        try:
            merge_uses(self.path, times)
        except FtdeployError as error:
            if not self._unkept:
                log.warning("when keys were last used is not kept: %s", error.what)
            self._unkept = True
            return
        self._unkept = False
        for identity, at in times.items():
            fresh[identity].kept = at

    def _work(self) -> None:
        kept, over = time.monotonic(), False
        while not over:
            over = self._stop.wait(TICK)
            try:
                self.reload()
                if over or time.monotonic() - kept >= KEEP_SECONDS:
                    kept = time.monotonic()
                    self.keep_uses()
            except Exception:  # the watch must not end, or no key could be revoked any more
                log.exception("watching %s failed", self.path)

    def _warn_of_mode(self) -> None:
        try:
            mode = readable_by_others(self.path)
        except OSError:
            return
        if mode is not None and mode != self._mode:
            log.warning("others may read the keys file %s (mode %s); chmod 600 it", self.path, mode)
        self._mode = mode


def uses_path(path: Path) -> Path:
    """Where the last uses of a keys file's keys are."""
    path = path.resolve()
    return path.with_name(f"{path.name}.used.json")


def read_uses(path: Path) -> dict[str, datetime]:
    """Key id -> when it was last used, as far as that is known; what cannot be read is not.

    Args:
        path: the keys file.
    """
    try:
        found = json.loads(uses_path(path).read_bytes())
        return {identity: _moment(at) for identity, at in found.items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}


def merge_uses(path: Path, times: Mapping[str, float], *, without: Sequence[str] = ()) -> None:
    """Lay uses over those that stand in the file: of two, the later one; other processes' entries stay.

    Args:
        path: the keys file.
        times: key id -> unix seconds.
        without: ids that are dropped.

    Raises:
        StorageError: the disk refuses.
    """
    with locked(path):
        merged = read_uses(path)
        for identity, at in times.items():
            when = datetime.fromtimestamp(math.floor(at), UTC)
            merged[identity] = max(when, merged.get(identity, when))
        lines = {identity: f"{at:%Y-%m-%dT%H:%M:%SZ}" for identity, at in sorted(merged.items())
                 if identity not in without}  # fmt: skip
        write_beside(uses_path(path), json.dumps(lines, indent=1).encode() + b"\n", owner=path)


def _table(keys: Sequence[Key], before: Mapping[bytes, Entry]) -> dict[bytes, Entry]:
    table = {}
    for key in keys:
        identity = key.id.encode()
        table[identity] = Entry(
            name=key.name,
            digest=bytes.fromhex(key.sha256),
            scopes=frozenset(key.scopes),
            expires=math.inf if key.expires is None else key.expires.timestamp(),
            use=before[identity].use if identity in before else Use(),
        )
    return table


def _moment(written: str) -> datetime:
    found = datetime.fromisoformat(written)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _stamp(path: Path) -> tuple[int, ...] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_size
