"""The secret of an environment variable, and what is made with it: stand-ins, hashes, offsets of dates, a fingerprint.

All of it is HMAC-SHA-256 (RFC 2104): whoever has the secret can tell whether a value is behind a stand-in, and nobody
else can try values out.
"""

from __future__ import annotations

import hashlib
import hmac
import os

from ftdeploy.errors import ConfigError
from ftdeploy.recipe.privacy import Privacy

_FEWEST = 16  # characters
#: No vowels, so that no word appears; no digits, so that no recogniser takes a stand-in for an identifier.
_LETTERS = "bcdfghjklmnpqrstvwxz"


def read_key(rules: Privacy) -> bytes | None:
    """The secret; None where nothing is made with it.

    Raises:
        ConfigError: the variable is not set, or what it holds is too short.
    """
    if not rules.needs_key or rules.key is None:
        return None
    secret = os.environ.get(rules.key, "")
    if len(secret) < _FEWEST:
        raise ConfigError(
            f"the environment variable {rules.key} {'is too short' if secret else 'is not set'}",
            cause=f"`data.privacy.key` names it for pseudonyms, a secret of {_FEWEST} characters or more",
            fix=f"export {rules.key}=... with the same secret in every run (a new one: `openssl rand -hex 32`)",
        )
    return secret.encode("utf-8", "surrogateescape")


def _mac(key: bytes, *parts: str) -> int:
    message = "\0".join(parts).encode("utf-8", "surrogatepass")
    return int.from_bytes(hmac.digest(key, message, hashlib.sha256), "big")


def letters(key: bytes, *parts: str, count: int) -> str:
    """So many letters for a value, 4.3 bits each."""
    number, made = _mac(key, *parts), ""
    for _ in range(count):
        number, rest = divmod(number, len(_LETTERS))
        made += _LETTERS[rest]
    return made


def offset(key: bytes, group: str, most: int) -> int:
    """Days by which the dates of a group move: from -most to most, never 0."""
    days = _mac(key, "days", group) % (2 * most) - most
    return days if days < 0 else days + 1


def key_fingerprint(key: bytes) -> str:
    """What may be written of a secret: it tells whether two runs had the same one."""
    return f"{_mac(key, 'fingerprint of the key'):064x}"[:16]
