"""Deadlines of which nearly all are met, with one timer of the event loop for all of them.

A timer for each of them would be set and cancelled for each request, which costs ten times as much as an entry in a
dict. They are looked through when the first may be over, and then not before `STEP` seconds have gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

#: So much later than its time an end may come, in seconds.
STEP = 0.05

One = TypeVar("One", bound=Hashable)


class Deadlines(Generic[One]):
    """What ends at its time unless it is over before. Used by one event loop alone.

    Args:
        ended: called with what was not over in time, once.
    """

    def __init__(self, ended: Callable[[One], object]) -> None:
        self._ended = ended
        self._due: dict[One, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def add(self, one: One, seconds: float) -> None:
        """Let it end after so many seconds; a deadline that it had before is forgotten."""
        loop = asyncio.get_running_loop()
        self._due.pop(one, None)  # it stands behind the others now
        due = self._due[one] = loop.time() + seconds
        if self._timer is None or due < self._timer.when():
            self._look_at(due)

    def discard(self, one: One) -> None:
        """It is over, or had no deadline."""
        self._due.pop(one, None)

    def first(self) -> One | None:
        """What has waited for its end longest, if there is anything."""
        return next(iter(self._due), None)

    def _look_at(self, due: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_at(due, self._look)

    def _look(self) -> None:
        self._timer = None
        now = asyncio.get_running_loop().time()
        late = [one for one, due in self._due.items() if due <= now]
        for one in late:
            del self._due[one]
        if self._due:
            self._look_at(max(min(self._due.values()), now + STEP))
        for one in late:
            self._ended(one)
