"""Ids of requests, under which answers, traffic and log can be brought together, and of whom they are about."""

from __future__ import annotations

import os
import re
import secrets

from ftdeploy.serve.wire import Refusal, Scope, header

#: What an id may be made of, so that it is fit for logs and files.
IDENTITY = re.compile(r"[A-Za-z0-9._:-]{1,64}")
_FIT = re.compile(IDENTITY.pattern.encode())


def given_id(scope: Scope) -> str | None:
    """The client's ``X-Request-Id``, when it is fit for a log."""
    given = header(scope, b"x-request-id")
    return given.decode() if given and _FIT.fullmatch(given) else None


def log_fields(scope: Scope) -> dict[str, str]:
    """The client's id as a field of the log."""
    given = given_id(scope)
    return {} if given is None else {"request_id": given}


def subject_of(scope: Scope) -> str | None:
    """The client's ``X-Subject-Id``, whom the texts are about: what they are recorded under, and can be deleted by.

    Raises:
        Refusal: 422, it is not fit for a file. To leave it out would be to record what nobody finds again.
    """
    given = header(scope, b"x-subject-id")
    if given is None:
        return None
    if not _FIT.fullmatch(given):
        message = "X-Subject-Id wants 1 to 64 letters, digits or one of ._:- (a pseudonym rather than a name)"
        raise Refusal(422, "validation", message)
    return given.decode()


class RequestIds:
    """Ids of requests: the client's own, or the next of a series that starts at random.

    A random one for each request would ask the kernel each time. That takes a microsecond, but it lets go of the
    interpreter, and beside lanes that want it too the event loop gets it back late (some 100 microseconds, profiled).
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
