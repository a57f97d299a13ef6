"""Token-budget micro-batching: while the model is busy, rows gather; when it is free, the best batch goes at once.

Nothing waits for company that is not there. The oldest row is in every batch (`ftdeploy.batching.with_oldest`), so
long texts are not starved by short ones, and a row is overtaken only by those that came little later. Rows are put in
on the event loop and taken out by lane threads, which run the forward pass; ONNX Runtime lets go of the interpreter
meanwhile.

Rows of work that is in no hurry stand in a queue behind: a batch is made of them when no other row waits, and every
`BEHIND_SHARE`-th time in any case, so that they are never starved either.
"""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from ftdeploy.batching import with_oldest
from ftdeploy.serve.deadlines import Deadlines
from ftdeploy.serve.metrics import Flow

log = logging.getLogger(__name__)

#: Only this many of the oldest rows are looked at for one batch, so that choosing stays cheap in a long queue.
WINDOW = 256
#: And only those that came so soon after the oldest, as a share of the longest wait. In a long queue a row of an
#: unusual length would otherwise wait until it is the oldest: under overload p99 was 2.4 times the median, and is 1.5.
OVERTAKING = 0.25
#: One batch in so many is of the rows behind, also while others wait.
BEHIND_SHARE = 8


class Row(Protocol):
    """What can be batched: something with token ids."""

    @property
    def ids(self) -> Sequence[int]:
        """Token ids."""


In = TypeVar("In", bound=Row)
Out = TypeVar("Out")


class QueueFullError(Exception):
    """More rows would wait than may. ``retry_after`` is the time in seconds that the queue wants to empty itself."""

    def __init__(self, retry_after: float) -> None:
        super().__init__(f"try again in {retry_after:.1f} seconds")
        self.retry_after = retry_after


class ForwardError(Exception):
    """The forward pass that held a request's rows raised an error, which is in the log."""


@dataclass(slots=True, eq=False)
class _Job(Generic[Out]):
    future: asyncio.Future[list[Out]]
    found: list[Out | None]
    left: int
    dead: bool = False


@dataclass(slots=True, eq=False)
class _Waiting(Generic[In, Out]):
    row: In
    job: _Job[Out]
    index: int
    since: float


class Batcher(Generic[In, Out]):
    """A queue before ``run`` and the lanes that empty it.

    Args:
        run: one forward pass; called on a lane's thread, gives one result for a row, in order.
        tokens: budget of padded tokens in a batch.
        rows: most rows in a batch.
        call: what a forward pass costs beside its tokens, in tokens (`with_oldest`).
        lanes: forward passes at the same time.
        max_queue: most rows that wait.
        max_wait: seconds that a request may have to wait, at the pace of late.
    """

    def __init__(self, run: Callable[[Sequence[In]], Sequence[Out]], *, tokens: int, rows: int = 64, call: int = 8,
                 lanes: int = 1, max_queue: int = 1024, max_wait: float = math.inf) -> None:  # fmt: skip
        self._run = run
        self._tokens = tokens
        self._rows = rows
        self._call = call
        self._max_queue = max_queue
        self._max_wait = max_wait
        self._waiting: list[_Waiting[In, Out]] = []
        self._behind: list[_Waiting[In, Out]] = []
        self._turn = 0
        self._jobs: Deadlines[_Job[Out]] = Deadlines(_expire)
        self._wake = threading.Condition()
        self._closing = False
        self._loop = asyncio.get_running_loop()
        self.lanes = lanes
        self._begun: list[float | None] = [None] * lanes
        self.flow = Flow()
        self._threads = [
            threading.Thread(target=self._lane, args=(lane,), name=f"lane-{lane}", daemon=True) for lane in range(lanes)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def waiting(self) -> int:
        """Rows in the queue, without those behind."""
        return len(self._waiting)

    def busy_since(self) -> float | None:
        """When the forward pass that runs longest now began, on the monotonic clock; None when all lanes rest."""
        return min([since for since in self._begun if since is not None], default=None)

    def delay(self, rows: int) -> float:
        """Seconds until so many rows have gone through the lanes, at the pace of late."""
        return rows * self.flow.seconds_a_row / self.lanes

    def has_room(self, rows: int, *, coming: int = 0) -> bool:
        """Whether so many more rows may wait: always where the lanes can begin at once, and a request that is larger
        than the whole queue when nothing waits. A large request counts with its own rows, so that where there is little
        room the small ones have it.

        Args:
            rows: of the request.
            coming: rows of other requests that are on their way into the queue.
        """
        before = len(self._waiting) + coming
        if before < self.lanes:
            return not before or before + rows <= self._max_queue
        return before + rows <= self._max_queue and self.delay(before + rows) <= self._max_wait

    def require_room(self, rows: int, *, coming: int = 0) -> None:
        """Go on only when so many more rows may wait.

        Raises:
            QueueFullError: they may not.
        """
        if not self.has_room(rows, coming=coming):
            raise QueueFullError(self.delay(len(self._waiting) + coming + rows))

    async def answer(self, rows: Sequence[In], *, timeout: float,  # noqa: ASYNC109  # rows must leave the queue
                     behind: bool = False) -> list[Out]:  # fmt: skip
        """The results for some rows, in their order. Called on the event loop.

        Args:
            rows: at least one.
            timeout: seconds after which nobody waits any more.
            behind: they are in no hurry; how many of those there are, the caller sees to.

        Raises:
            QueueFullError: too many rows wait already. A request larger than the whole queue is taken when it is empty.
            ForwardError: the forward pass failed.
            TimeoutError: no result in time; rows that still wait are dropped.
        """
        job: _Job[Out] = _Job(self._loop.create_future(), [None] * len(rows), len(rows))
        now = time.monotonic()
        with self._wake:
            if not behind:
                self.require_room(len(rows))
            queue = self._behind if behind else self._waiting
            queue.extend([_Waiting(row, job, index, now) for index, row in enumerate(rows)])
            self._wake.notify(len(rows))
        self._jobs.add(job, timeout)
        try:
            return await job.future
        finally:
            job.dead = True
            self._jobs.discard(job)

    def close(self) -> None:
        """Answer what waits, then end the lanes. A lane that hangs in a forward pass is left behind."""
        with self._wake:
            self._closing = True
            self._wake.notify_all()

    def _lane(self, lane: int) -> None:
        while True:
            with self._wake:
                batch = self._take()
                while not batch:
                    if self._closing:
                        return
                    self._wake.wait()
                    batch = self._take()
            began = self._begun[lane] = time.monotonic()
            try:
                found: Sequence[Out] | None = self._run([one.row for one in batch])
            except Exception:  # whatever ONNX Runtime raises, only the requests of this batch may feel it
                log.exception("a forward pass over %d rows failed", len(batch))
                found = None
            self._begun[lane] = None
            try:
                self._loop.call_soon_threadsafe(self._settle, batch, found, began, time.monotonic() - began)
            except RuntimeError:  # the loop is closed: nobody waits for an answer any more
                return

    def _take(self) -> list[_Waiting[In, Out]]:
        """The next batch; empty when nothing waits. Called with the lock held."""
        if self._behind:
            self._turn += 1
            if self._turn % BEHIND_SHARE == 0 or not self._waiting:
                self._behind, batch = self._chosen(self._behind)
                if batch:
                    return batch
        self._waiting, batch = self._chosen(self._waiting)
        return batch

    def _chosen(self, waiting: list[_Waiting[In, Out]]) -> tuple[list[_Waiting[In, Out]], list[_Waiting[In, Out]]]:
        """What is left of a queue, and a batch of it; empty where nothing in it is awaited any more."""
        if len(waiting) > 1 or (waiting and waiting[0].job.dead):
            waiting = [one for one in waiting if not one.job.dead]
        if len(waiting) <= 1:
            return [], waiting
        latest = waiting[0].since + OVERTAKING * self._max_wait
        window = [one for one in waiting[:WINDOW] if one.since <= latest]
        lengths, jobs = [len(one.row.ids) for one in window], [one.job for one in window]
        chosen = with_oldest(lengths, tokens=self._tokens, rows=self._rows, call=self._call, lanes=self.lanes,
                             requests=jobs)  # fmt: skip
        batch = [waiting[index] for index in chosen]
        for index in sorted(chosen, reverse=True):
            del waiting[index]
        return waiting, batch

    def _settle(self, batch: list[_Waiting[In, Out]], found: Sequence[Out] | None, began: float,
                seconds: float) -> None:  # fmt: skip
        """Hand results to their requests. Runs on the event loop."""
        lengths = [len(one.row.ids) for one in batch]
        self.flow.note(lengths, [began - one.since for one in batch], seconds, failed=found is None)
        for position, one in enumerate(batch):
            job = one.job
            if job.future.done():
                continue
            if found is None:
                job.dead = True
                job.future.set_exception(ForwardError())
                continue
            job.found[one.index] = found[position]
            job.left -= 1
            if not job.left:
                job.future.set_result(job.found)  # type: ignore[arg-type]  # no None is left in it


def _expire(job: _Job[Out]) -> None:
    if not job.future.done():
        job.dead = True
        job.future.set_exception(TimeoutError())
