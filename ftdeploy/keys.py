"""Bearer keys of a service, for whoever runs it: made, listed, revoked. The file itself is `ftdeploy.serve.keys`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ftdeploy.errors import did_you_mean
from ftdeploy.serve.keyring import merge_uses, read_uses
from ftdeploy.serve.keys import NAME, SCOPES, Key, KeysError, locked, make_key, read_keys, write_keys

_UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}
_SPAN = re.compile(r"([0-9]{1,5})([hdw])")


@dataclass(frozen=True, kw_only=True)
class Added:
    """A key that was made.

    Attributes:
        key: as it stands in the file.
        secret: what a client sends; shown once, and kept nowhere.
    """

    key: Key
    secret: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Listed:
    """A key of the file.

    Attributes:
        key: as it stands in the file.
        used: when it was last used, as far as a service has written that down (every ten seconds, and at its end).
        expired: whether it is refused for its age.
    """

    key: Key
    used: datetime | None
    expired: bool


def add_key(path: Path, name: str, scopes: Sequence[str], *, expires: str | None = None) -> Added:
    """Make a key and write its hash into the file, which is made when missing.

    Args:
        path: the keys file.
        name: whose key it is: letters, digits and ``._@-``.
        scopes: of `SCOPES`.
        expires: a span such as ``90d`` (h, d, w), or a date; None is never.

    Raises:
        KeysError: a name, a scope or a date that is none, a name that is taken, or a file that is damaged.
        StorageError: the disk refuses.
    """
    if not re.fullmatch(NAME, name):
        raise KeysError(
            f"{name!r} is no name for a key",
            cause="a name stands in logs: letters, digits and . _ @ - are taken, 64 at most, a letter or digit first",
            fix="choose another, such as `web-shop`",
        )
    wrong = next((scope for scope in scopes if scope not in SCOPES), None)
    if wrong is not None or not scopes:
        raise KeysError(
            "a key wants a scope" if wrong is None else f"there is no scope {wrong!r}",
            cause="it would open nothing" if wrong is None else "a typing error",
            fix=did_you_mean(wrong or "", SCOPES),
        )
    until = None if expires is None else read_expiry(expires)
    with locked(path):
        keys = read_keys(path) if path.exists() else ()
        if name in (key.name for key in keys):
            raise KeysError(
                f"there is a key {name!r} in {path} already",
                cause="it was made before",
                fix=f"choose another name, or revoke that one first: ftdeploy keys revoke {name} --file {path}",
            )
        key, secret = make_key(name, [scope for scope in SCOPES if scope in scopes], expires=until)
        write_keys(path, (*keys, key))
    return Added(key=key, secret=secret)


def list_keys(path: Path) -> list[Listed]:
    """Every key of the file, in the order in which they were made.

    Raises:
        KeysError: the file is missing, unreadable or damaged.
    """
    uses, now = read_uses(path), datetime.now(UTC)
    return [
        Listed(key=key, used=uses.get(key.id), expired=key.expires is not None and key.expires <= now)
        for key in read_keys(path)
    ]


def revoke_key(path: Path, name: str) -> Key:
    """Take a key out of the file; running services refuse it a second later.

    Args:
        path: the keys file.
        name: of the key, or its id.

    Raises:
        KeysError: there is no such key, or the file is missing, unreadable or damaged.
        StorageError: the disk refuses.
    """
    keys = read_keys(path)  # before the lock is made beside a file that is not there
    with locked(path):
        keys = read_keys(path)
        found = next((key for key in keys if name in {key.name, key.id}), None)
        if found is None:
            raise KeysError(
                f"there is no key {name!r} in {path}",
                cause="a typing error, or it was revoked already",
                fix=did_you_mean(name, [key.name for key in keys]) or "the file has no keys",
            )
        write_keys(path, [key for key in keys if key is not found])
    if found.id in read_uses(path):
        merge_uses(path, {}, without=[found.id])
    return found


def read_expiry(text: str, *, now: datetime | None = None) -> datetime:
    """When a key ends: a span from now (``12h``, ``90d``, ``8w``), or a date or time (``2030-01-31``, UTC).

    Args:
        text: the span, date or time.
        now: None takes the clock's.

    Raises:
        KeysError: it is neither, or has passed already.
    """
    now = now or datetime.now(UTC).replace(microsecond=0)
    span = _SPAN.fullmatch(text)
    try:
        until = now + int(span[1]) * _UNITS[span[2]] if span else datetime.fromisoformat(text)
    except (ValueError, OverflowError) as error:
        raise KeysError(
            f"{text!r} is no span and no date",
            cause="a typing error",
            fix="write a span such as 12h, 90d or 8w, or a date such as 2030-01-31",
        ) from error
    until = until if until.tzinfo else until.replace(tzinfo=UTC)
    if until <= now:
        raise KeysError(f"{text} has passed already", cause="a typing error", fix="name a time that is to come")
    return until
