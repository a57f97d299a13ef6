"""Who may come in: how many requests are in flight at the same time, and how many of them are large.

A body holds memory while it arrives and until its answer is made. Bodies up to `SMALL` count once they are complete, so
that a client which stops in the middle holds no place; larger ones count from there on, and have only a share of the
places, so that they cannot keep the small ones out. Held at most, in bytes: ``places * SMALL`` and
``large places * max_body_bytes``, beside `SMALL` for each connection whose body has not come yet.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from types import TracebackType
from typing import Self

from ftdeploy.serve.wire import RETRY_SOON, Refusal

#: Bytes of a body that the server takes from a connection in any case before it reads no further (uvicorn's mark).
SMALL = 65_536
#: One place in so many may be taken by a large body.
LARGE_SHARE = 8


def too_many(waiting: int, seconds: float) -> Refusal:
    """The refusal of a question that would wait too long.

    Args:
        waiting: texts before it.
        seconds: in which they are answered.
    """
    message = f"{waiting} texts are waiting already; try again in {seconds:.1f} seconds"
    again = str(min(60, math.ceil(seconds) or 1)).encode()
    return Refusal(429, "overloaded", message, headers=((b"retry-after", again),), shed="queue")


class Admission:
    """The places there are. Used by the event loop alone.

    Args:
        most: requests in flight.
        emptied: called when the last large request is over.
    """

    def __init__(self, most: int, emptied: Callable[[], object] = lambda: None) -> None:
        self.most = most
        self.emptied = emptied
        self.most_large = max(1, most // LARGE_SHARE)
        self.held = 0
        self.large = 0

    def request(self) -> Place:
        """The place of one request, not taken yet; a context manager that gives it back."""
        return Place(self)


class Place:
    """One request's place among the others."""

    __slots__ = ("_admission", "_held", "_large")

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self._held = self._large = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:  # fmt: skip
        self._admission.held -= self._held
        if self._large:
            self._admission.large -= 1
            if not self._admission.large:
                self._admission.emptied()

    def grown(self, size: int) -> None:
        """So many bytes of the body are there.

        Raises:
            Refusal: 429, the body is large and there are enough of those.
        """
        if size <= SMALL or self._large:
            return
        if self._admission.large >= self._admission.most_large:
            message = f"{self._admission.large} requests of more than {SMALL} bytes are in flight already"
            raise Refusal(429, "overloaded", message, headers=(RETRY_SOON,), unread=True, shed="large_bodies")
        self._admission.large += 1
        self._large = 1

    def complete(self) -> None:
        """The body is complete, and its answer can be made.

        Raises:
            Refusal: 429, enough are in flight.
        """
        if self._admission.held >= self._admission.most:
            message = f"{self._admission.held} requests are in flight already"
            raise Refusal(429, "overloaded", message, headers=(RETRY_SOON,), shed="requests")
        self._admission.held += 1
        self._held = 1
