"""Ids of requests, under which answers, traffic and log can be brought together."""

from __future__ import annotations

import os
import re
import secrets

from ftdeploy.serve.wire import Scope, header

_FIT = re.compile(rb"[A-Za-z0-9._:-]{1,64}")


def given_id(scope: Scope) -> str | None:
    """The client's ``X-Request-Id``, when it is fit for a log."""
    given = header(scope, b"x-request-id")
    return given.decode() if given and _FIT.fullmatch(given) else None


def log_fields(scope: Scope) -> dict[str, str]:
    """The client's id as a field of the log."""
    given = given_id(scope)
    return {} if given is None else {"request_id": given}


class RequestIds:
    """Ids of requests: the client's own, or the next of a series that starts at random.

    A random one for each request would ask the kernel each time, which costs more than the rest of the answer where
    that is slow (100 microseconds in a virtual machine).
    """

    def __init__(self) -> None:
        self._process = 0
        self._series = ""
        self._next = 0

    def of(self, scope: Scope) -> str:
        """The client's ``X-Request-Id`` when it is fit for a log, else a new one of 32 hexadecimal digits."""
        given = given_id(scope)
        if given is not None:
            return given
        if self._process != os.getpid():  # forked workers do not share a series
            self._process, self._series = os.getpid(), secrets.token_hex(10)
        self._next += 1
        return f"{self._series}{self._next:012x}"
