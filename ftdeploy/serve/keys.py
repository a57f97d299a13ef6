"""Bearer keys: what one looks like, and the file that knows them by their hashes.

A key is ``ftd_<id>_<secret>``: a prefix that scanners for leaked secrets can look for, 12 hex digits that say which
one it is and may be shown, and 256 random bits in hex. The file is one JSON document, so that half of one is noticed::

    {"version": 1, "keys": [{"id", "name", "scopes", "created", "expires", "sha256"}]}

SHA-256 of the whole key and no slow password hash: that would only hold up who guesses words, and 256 random bits are
not guessed at any speed; and whoever has no key could keep the processor busy with it. Source: NIST SP 800-63B, 5.1.2.2
(secrets of at least 112 bits of entropy: an approved one-way function; others: salted, with a key derivation function).
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import stat
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, get_args

from pydantic import AwareDatetime, Field, ValidationError

from ftdeploy.document import Section
from ftdeploy.errors import ServeError, StorageError

PREFIX = "ftd_"
ID_DIGITS = 12
SECRET_BYTES = 32
#: Characters of a key.
LENGTH = len(PREFIX) + ID_DIGITS + 1 + 2 * SECRET_BYTES

KeyScope = Literal["predict", "feedback", "admin"]
SCOPES: tuple[KeyScope, ...] = get_args(KeyScope)
#: A key's name stands in logs and lists.
NAME = r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}"

_MOST_BYTES = 16_000_000


class KeysError(ServeError):
    """The keys file cannot be read, or does not allow what was asked."""

    title = "A key, or the file of keys, is not right"


class Key(Section):
    """One key, without its secret."""

    id: str = Field(pattern=rf"^[0-9a-f]{{{ID_DIGITS}}}$")
    """The part of the key that may be shown."""
    name: str = Field(pattern=rf"^{NAME}$")
    """Whose it is."""
    scopes: tuple[KeyScope, ...] = Field(min_length=1)
    """What it may do."""
    created: AwareDatetime
    """When it was made."""
    expires: AwareDatetime | None = None
    """From when on it is refused; null is never."""
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", repr=False)
    """SHA-256 of the whole key, in hex."""


class _Document(Section):
    version: Literal[1]
    keys: tuple[Key, ...]


def make_key(name: str, scopes: Sequence[KeyScope], *, expires: datetime | None = None) -> tuple[Key, str]:
    """A new key, and its secret: the whole of what a client sends, which is kept nowhere."""
    identity = secrets.token_hex(ID_DIGITS // 2)
    secret = f"{PREFIX}{identity}_{secrets.token_hex(SECRET_BYTES)}"
    now = datetime.now(UTC).replace(microsecond=0)
    digest = hashlib.sha256(secret.encode()).hexdigest()
    return Key(id=identity, name=name, scopes=tuple(scopes), created=now, expires=expires, sha256=digest), secret


def read_keys(path: Path) -> tuple[Key, ...]:
    """The keys of a file; none is right, too: then nobody may ask.

    Raises:
        KeysError: it is missing, unreadable, damaged, or a name or an id stands in it twice. Nothing of what stands in
            the file is repeated: somebody may have put a secret there.
    """
    try:
        if not path.is_file():
            raise _unreadable(path, "it is no file" if path.exists() else "there is no such file")
        with path.open("rb") as handle:
            content = handle.read(_MOST_BYTES + 1)
    except OSError as error:
        raise _unreadable(path, error.strerror or str(error)) from error
    try:
        found = _Document.model_validate_json(content).keys
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise _damaged(path, f"{where}: {first['msg']}" if where else first["msg"]) from None
    times = Counter(key.id for key in found) + Counter(key.name for key in found)
    if twice := next((one for one, count in times.items() if count > 1), None):
        raise _damaged(path, f"{twice} stands in it twice")
    return found


def write_keys(path: Path, keys: Sequence[Key]) -> None:
    """Put a new file in the old one's place in one step, readable by its owner alone.

    Raises:
        StorageError: the disk refuses.
    """
    write_beside(path, _Document(version=1, keys=tuple(keys)).model_dump_json(indent=1).encode() + b"\n")


def write_beside(path: Path, content: bytes, *, owner: Path | None = None) -> None:
    """Replace a file in one step, with mode 0600 and the owner that it, or another file, has.

    Args:
        path: replaced; where it is a link, what it points to.
        content: the whole of it.
        owner: whose owner the file gets where it is new: root may write for a service that is not root.

    Raises:
        StorageError: the disk refuses.
    """
    path = path.resolve()
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 0600
        try:
            with os.fdopen(handle, "wb") as made:
                made.write(content)
                made.flush()
                _give_to_owner_of(made.fileno(), path if path.exists() else owner)
                os.fsync(made.fileno())
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise StorageError(
            f"{path} cannot be written: {error.strerror or error}",
            cause="no permission, or a full or read-only disk",
            fix="run it as the user whose file it is, free space, or name another place",
        ) from error


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """While the block runs, no other process changes the keys file or what stands beside it.

    Args:
        path: the keys file; the lock is ``<path>.lock``.

    Raises:
        StorageError: the lock cannot be made there.
    """
    path = path.resolve()
    place = path.with_name(f"{path.name}.lock")
    try:
        handle = os.open(place, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StorageError(
            f"{place} cannot be made: {error.strerror or error}",
            cause="no such folder, no permission, or a full or read-only disk",
            fix="make the folder, or name a place that you may write to",
        ) from error
    try:
        _give_to_owner_of(handle, path if path.exists() else None)
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def readable_by_others(path: Path) -> str | None:
    """The mode of a keys file that others than its owner may read or write, such as ``0644``; else None."""
    mode = stat.S_IMODE(path.stat().st_mode)
    return f"{mode:04o}" if mode & 0o077 else None


def _give_to_owner_of(handle: int, other: Path | None) -> None:
    if other is not None:
        with suppress(OSError):  # only root may, and needs it
            found = other.stat()
            os.fchown(handle, found.st_uid, found.st_gid)


def _unreadable(path: Path, why: str) -> KeysError:
    return KeysError(
        f"the keys file {path} cannot be read: {why}",
        cause="the path is wrong, or this user may not read it",
        fix=f"make it with `ftdeploy keys add NAME --scope predict --file {path}`, or correct FTDEPLOY_KEYS",
    )


def _damaged(path: Path, why: str) -> KeysError:
    return KeysError(
        f"the keys file {path} is damaged: {why}",
        cause="it was edited by hand, cut off, or is no keys file",
        fix="take it from a backup, or delete it and make new keys with `ftdeploy keys add`",
    )
