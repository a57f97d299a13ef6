"""Who may ask for what: a route wants a scope or none, and a request brings a key: ``Authorization: Bearer <key>``.

Sources: RFC 6750 (bearer tokens: 2.1 the header, 3 the challenge and its errors), RFC 9110, 11.6.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping
from pathlib import Path

from ftdeploy.serve.keyring import KeyRing
from ftdeploy.serve.keys import KeyScope
from ftdeploy.serve.wire import Refusal, Scope

log = logging.getLogger(__name__)

#: The keys file; empty or not set leaves the service open.
VARIABLE = "FTDEPLOY_KEYS"

#: Route -> the scope that it wants; None is open to all. A route that is not here wants `_OTHERWISE`.
ROUTES: Mapping[str, KeyScope | None] = {
    "/": None,
    "/about": None,
    "/docs.json": None,
    "/livez": None,
    "/readyz": None,
    "/healthz": None,
    "/health": None,
    "/ping": None,
    "/v2": None,
    "/v2/health/live": None,
    "/v2/health/ready": None,
    "/v2/models/{name}": None,
    "/v2/models/{name}/ready": None,
    "preflight": None,  # browsers ask without a key whether they may ask with one
    "other": None,  # unknown paths are 404 for all; /docs.json says what there is
    "/predict": "predict",
    "/predict/bulk": "predict",
    "/review": "predict",
    "/embed": "predict",
    "/anomaly": "predict",
    "/v1/embeddings": "predict",
    "/v2/models/{name}/infer": "predict",
    "/invocations": "predict",
    "/feedback": "feedback",
    "/metrics": "admin",
}
_OTHERWISE: KeyScope = "admin"
_BEARER = b"bearer "
_CHALLENGE = b'Bearer realm="ftdeploy"'


def needed(route: str) -> KeyScope | None:
    """The scope that a route wants where keys are on; None is none."""
    return ROUTES.get(route, _OTHERWISE)


class Access:
    """The door of the service.

    Args:
        keys: in force; None lets everybody in.
    """

    def __init__(self, keys: KeyRing | None) -> None:
        self._keys = keys
        self._told: set[tuple[str, str]] = set()

    @property
    def closed(self) -> bool:
        """Whether keys are wanted at all."""
        return self._keys is not None

    def start(self) -> None:
        """Say who may come in, and begin to watch the keys file."""
        if self._keys is None:
            log.info("no keys: whoever reaches the port may ask (%s names a file of keys)", VARIABLE)
        else:
            self._keys.start()

    def close(self) -> None:
        """Keep the last uses. May wait for the disk."""
        if self._keys is not None:
            self._keys.close()

    def admit(self, route: str, scope: Scope) -> None:
        """Let a request go on whose key has the scope that its route wants.

        Raises:
            Refusal: 401 no key, or none that is known and has not expired; 403 it has not the scope. The body was not
                read.
        """
        if self._keys is None:
            return
        wanted = needed(route)
        if wanted is None:
            return
        entry = self._keys.find(_token(scope))
        if entry is None:
            raise _unknown()
        now = time.time()
        if now >= entry.expires:  # who knows the secret may know this
            raise _unknown("the key has expired")
        if wanted not in entry.scopes:
            if (entry.name, wanted) not in self._told:  # once: it may ask a thousand times a second
                self._told.add((entry.name, wanted))
                log.warning("the key %s asked for %s and has not the scope %s", entry.name, route, wanted)
            raise _out_of_scope(wanted)
        entry.use.at = now


def open_access(environment: Mapping[str, str] | None = None) -> Access:
    """The door with the keys of the file that ``FTDEPLOY_KEYS`` names; an open one where it names none.

    Args:
        environment: None takes ``os.environ``.

    Raises:
        KeysError: the file is missing, unreadable or damaged.
    """
    named = (os.environ if environment is None else environment).get(VARIABLE, "").strip()
    return Access(KeyRing(Path(named).expanduser().absolute()) if named else None)


def _token(scope: Scope) -> bytes:
    """What the request brings.

    Raises:
        Refusal: 401, it brings nothing, more than one thing, or another scheme.
    """
    given = [value for name, value in scope["headers"] if name == b"authorization"]
    if len(given) != 1 or given[0][: len(_BEARER)].lower() != _BEARER:
        message = "a key is wanted: send the header `Authorization: Bearer <key>`, once"
        raise Refusal(401, "unauthorized", message, headers=((b"www-authenticate", _CHALLENGE),), unread=True)
    return bytes(given[0][len(_BEARER) :]).strip()


def _unknown(message: str = "the key is not known here, or it was revoked") -> Refusal:
    challenge = _CHALLENGE + b', error="invalid_token"'
    return Refusal(401, "unauthorized", message, headers=((b"www-authenticate", challenge),), unread=True)


def _out_of_scope(wanted: KeyScope) -> Refusal:
    challenge = _CHALLENGE + b', error="insufficient_scope", scope="' + wanted.encode() + b'"'
    message = f"the key has not the scope {wanted!r}, which this path wants"
    return Refusal(403, "forbidden", message, headers=((b"www-authenticate", challenge),), unread=True)
