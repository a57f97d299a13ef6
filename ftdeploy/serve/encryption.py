"""How files of traffic are encrypted: AES-256-GCM, a key of its own for each file. Version 1 of the format::

    header   5 bytes  "FTDT" and the version, 1
             8 bytes  which key: the first of SHA-256("ftdeploy traffic key" + key)
            16 bytes  salt, random for each file
    record   4 bytes  length of what follows, big-endian
             n bytes  AES-256-GCM of some lines, its tag of 16 bytes at the end

The key of a file is HKDF-SHA256(key, salt, "ftdeploy traffic segment 1"); the nonce of a record is its number in the
file, 12 bytes big-endian, and the header is authenticated with each. So no nonce comes twice under one key, records
cannot change places, and whoever may write in the folder can still remove files and cut off their ends.
Sources: NIST SP 800-38D (GCM; 8.2.1: nonces that count), RFC 5869 (HKDF).
"""

from __future__ import annotations

import hashlib
import os
import secrets
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ftdeploy.errors import DependencyError, ServeError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY = "FTDEPLOY_TRAFFIC_KEY"
KEY_FILE = "FTDEPLOY_TRAFFIC_KEY_FILE"
KEY_BYTES = 32

MAGIC = b"FTDT\x01"
HEADER = struct.Struct(">5s8s16s")
LENGTH = struct.Struct(">I")


class TrafficError(ServeError):
    """Recorded traffic cannot be read, or the key for it is not right."""

    title = "Recorded traffic cannot be read or kept"


@dataclass(frozen=True, slots=True)
class TrafficKey:
    """The key that files are encrypted with: 32 bytes."""

    secret: bytes = field(repr=False)

    @property
    def id(self) -> bytes:
        """Eight bytes that tell which key it is, and nothing about it."""
        return hashlib.sha256(b"ftdeploy traffic key" + self.secret).digest()[:8]

    def cipher(self, salt: bytes) -> AESGCM:
        """AES-GCM with the key of one file.

        Raises:
            DependencyError: the package cryptography is not installed.
        """
        try:
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM
            from cryptography.hazmat.primitives.hashes import SHA256
            from cryptography.hazmat.primitives.kdf.hkdf import HKDF
        except ImportError as error:
            raise DependencyError(
                f"traffic cannot be encrypted or decrypted: {error}",
                cause="bundles do not ask for the package cryptography, as only encrypted traffic needs it",
                fix=f"pip install cryptography, or take {KEY} and {KEY_FILE} out of the environment",
            ) from error
        derived = HKDF(algorithm=SHA256(), length=32, salt=salt, info=b"ftdeploy traffic segment 1")
        return AESGCM(derived.derive(self.secret))


def read_key(environment: Mapping[str, str] | None = None) -> TrafficKey | None:
    """The key of ``FTDEPLOY_TRAFFIC_KEY``, or of the file that ``FTDEPLOY_TRAFFIC_KEY_FILE`` names; None without both.

    Args:
        environment: None takes ``os.environ``.

    Raises:
        TrafficError: both are set, the file cannot be read, or it is not 64 hexadecimal digits. The key is not told.
        DependencyError: there is a key, and the package cryptography is not installed.
    """
    environment = os.environ if environment is None else environment
    stated, named = (environment.get(name, "").strip() for name in (KEY, KEY_FILE))
    if stated and named:
        raise TrafficError(
            f"both {KEY} and {KEY_FILE} are set",
            cause="the key was moved into a file, and the variable stayed",
            fix="take one of them out of the environment",
        )
    if not stated and not named:
        return None
    where = KEY if stated else f"the file {named}"
    try:
        text = stated or Path(named).expanduser().read_text(encoding="ascii").strip()
        secret = bytes.fromhex(text)
    except OSError as error:
        raise TrafficError(
            f"the key of the traffic cannot be read: {named}: {error.strerror}",
            cause="the path is wrong, or this user may not read it",
            fix=f"correct {KEY_FILE}",
        ) from None
    except ValueError:
        secret = b""
    if len(secret) != KEY_BYTES:
        raise TrafficError(
            f"{where} holds no key: 64 hexadecimal digits are wanted",
            cause="it was cut off, or is written in another way",
            fix="make one with `openssl rand -hex 32`",
        )
    key = TrafficKey(secret)
    key.cipher(bytes(16))
    return key


class Framing:
    """The records of one encrypted file, in their order.

    Args:
        key: of all files.
        salt: of this one; None makes one.
    """

    def __init__(self, key: TrafficKey, salt: bytes | None = None) -> None:
        salt = secrets.token_bytes(16) if salt is None else salt
        self.header = HEADER.pack(MAGIC, key.id, salt)
        self._cipher = key.cipher(salt)
        self._count = 0

    def record(self, lines: bytes) -> bytes:
        """Some lines, encrypted, with their length before them."""
        sealed = self._cipher.encrypt(self._nonce(), lines, self.header)
        return LENGTH.pack(len(sealed)) + sealed

    def open(self, sealed: bytes) -> bytes:
        """The lines of the next record.

        Raises:
            cryptography.exceptions.InvalidTag: it is not what was written.
        """
        return self._cipher.decrypt(self._nonce(), sealed, self.header)

    def _nonce(self) -> bytes:
        self._count += 1
        return self._count.to_bytes(12, "big")
