"""The batcher gathers while the model is busy, waits for nobody, starves nobody, and keeps failures to themselves."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest

from ftdeploy.serve.batcher import Batcher, ForwardError, QueueFullError


@dataclass(frozen=True)
class Text:
    """A row with token ids."""

    ids: tuple[int, ...]


def text(length: int, mark: int = 0) -> Text:
    """A row of that many tokens."""
    return Text((mark,) * length)


class Model:
    """A forward pass that can be held, and that remembers its batches."""

    def __init__(self) -> None:
        self.free = threading.Event()
        self.free.set()
        self.entered = threading.Event()
        self.batches: list[list[Text]] = []

    def __call__(self, rows: Sequence[Text]) -> list[tuple[int, int]]:
        self.batches.append(list(rows))
        self.entered.set()
        assert self.free.wait(20)
        if any(row.ids[0] < 0 for row in rows):
            raise ValueError("poisoned row")
        return [(row.ids[0], len(row.ids)) for row in rows]


def play(scene: Callable[[Model, Batcher[Text, tuple[int, int]]], Coroutine[Any, Any, None]], **options: float) -> None:
    """Run a scene on an event loop with a batcher before a fresh model."""

    async def stage() -> None:
        model = Model()
        batcher = Batcher(model, **{"tokens": 100, **options})  # type: ignore[arg-type]  # numbers of the right kinds
        try:
            await scene(model, batcher)
        finally:
            model.free.set()
            batcher.close()

    asyncio.run(stage())


async def until(condition: Callable[[], bool]) -> None:
    """Wait until something has come about."""
    while not condition():  # noqa: ASYNC110  # lanes set no event
        await asyncio.sleep(0.001)


async def busy(model: Model, batcher: Batcher[Text, tuple[int, int]]) -> asyncio.Task[list[tuple[int, int]]]:
    """Hold the model in a forward pass over one row."""
    model.free.clear()
    model.entered.clear()
    first = asyncio.create_task(batcher.answer([text(1)], timeout=20))
    await asyncio.to_thread(model.entered.wait, 20)
    return first


def test_answers_come_in_the_order_asked_whatever_the_batches() -> None:
    """A request of mixed lengths is cut into several batches and put together again."""

    async def scene(model: Model, batcher: Batcher[Text, tuple[int, int]]) -> None:
        rows = [text(1 + (7 * index) % 90, mark=index) for index in range(40)]
        found = await batcher.answer(rows, timeout=20)
        assert found == [(index, len(row.ids)) for index, row in enumerate(rows)]
        assert len(model.batches) > 1
        for batch in model.batches:
            assert len(batch) == 1 or len(batch) * max(len(row.ids) for row in batch) <= 100

    play(scene)


def test_rows_gather_while_the_model_is_busy_and_a_lone_row_goes_at_once() -> None:
    """The first row is a batch of its own; those that came meanwhile go together, as many as gain by it."""

    async def scene(model: Model, batcher: Batcher[Text, tuple[int, int]]) -> None:
        first = await busy(model, batcher)
        others = [asyncio.create_task(batcher.answer([text(10, mark=index)], timeout=20)) for index in range(8)]
        await asyncio.sleep(0)
        model.free.set()
        await asyncio.gather(first, *others)
        alone, together, *rest = [len(batch) for batch in model.batches]
        assert (alone, together + sum(rest)) == (1, 8)
        assert together > 1

    play(scene)


def test_the_oldest_row_is_never_overtaken_twice() -> None:
    """A long row among a stream of short ones is in the next batch once it is the oldest."""

    async def scene(model: Model, batcher: Batcher[Text, tuple[int, int]]) -> None:
        first = await busy(model, batcher)
        waiting = [asyncio.create_task(batcher.answer([text(length)], timeout=20)) for length in (5, 90, *[5] * 50)]
        await asyncio.sleep(0)
        model.free.set()
        await asyncio.gather(first, *waiting)
        assert [len(batch[0].ids) for batch in model.batches[1:3]] == [5, 90]

    play(scene)


def test_a_failing_forward_pass_fails_its_requests_and_nothing_else() -> None:
    """Requests before and after are answered, and the lane lives on."""

    async def scene(model: Model, batcher: Batcher[Text, tuple[int, int]]) -> None:
        with pytest.raises(ForwardError):
            await batcher.answer([text(3, mark=-1)], timeout=20)
        assert await batcher.answer([text(3)], timeout=20) == [(0, 3)]
        assert batcher.flow.failed == 1
        assert len(model.batches) == 2

    play(scene)


def test_a_full_queue_refuses_with_a_time_to_come_back_and_takes_again_later() -> None:
    """What waits is bounded; what is refused was not queued."""

    async def scene(model: Model, batcher: Batcher[Text, tuple[int, int]]) -> None:
        first = await busy(model, batcher)
        second = asyncio.create_task(batcher.answer([text(2)] * 3, timeout=20))
        await asyncio.sleep(0)
        with pytest.raises(QueueFullError) as caught:
            await batcher.answer([text(2)] * 2, timeout=20)
        assert caught.value.retry_after > 0
        assert batcher.waiting == 3
        model.free.set()
        await asyncio.gather(first, second)
        assert len(await batcher.answer([text(2)] * 2, timeout=20)) == 2

    play(scene, max_queue=4)


def test_a_request_larger_than_the_queue_is_taken_when_nothing_waits() -> None:
    """Otherwise it could never be answered, however often it is tried again."""

    async def scene(model: Model, batcher: Batcher[Text, tuple[int, int]]) -> None:  # noqa: ARG001  # one shape of scene
        assert len(await batcher.answer([text(2)] * 9, timeout=20)) == 9

    play(scene, max_queue=4)


def test_rows_behind_wait_for_others_and_take_no_room() -> None:
    """While others wait, one batch in `BEHIND_SHARE` is theirs; more of them than the queue holds are taken."""

    async def scene(model: Model, batcher: Batcher[Text, tuple[int, int]]) -> None:
        first = await busy(model, batcher)
        behind = asyncio.create_task(batcher.answer([text(9)] * 12, timeout=20, behind=True))
        await asyncio.sleep(0)
        others = [asyncio.create_task(batcher.answer([text(20)], timeout=20)) for _ in range(9)]
        await asyncio.sleep(0)
        assert batcher.waiting == 9
        model.free.set()
        await asyncio.gather(first, behind, *others)
        lengths = [[len(row.ids) for row in batch] for batch in model.batches[1:]]
        assert [row for batch in lengths for row in batch] == [20] * 7 + [9] + [20] * 2 + [9] * 11

    play(scene, max_queue=9, rows=1)


def test_rows_behind_that_are_given_up_hold_nobody() -> None:
    """Their batch would be empty: the others' comes instead."""

    async def scene(model: Model, batcher: Batcher[Text, tuple[int, int]]) -> None:
        first = await busy(model, batcher)
        with pytest.raises(TimeoutError):
            await batcher.answer([text(9)] * 3, timeout=0.01, behind=True)
        other = asyncio.create_task(batcher.answer([text(20)], timeout=20))
        await asyncio.sleep(0)
        model.free.set()
        await asyncio.gather(first, other)
        assert [len(row.ids) for batch in model.batches[1:] for row in batch] == [20]

    play(scene)


def test_a_late_request_is_given_up_and_its_rows_never_reach_the_model() -> None:
    """Nobody waits for them, so they must not take the place of others."""

    async def scene(model: Model, batcher: Batcher[Text, tuple[int, int]]) -> None:
        first = await busy(model, batcher)
        with pytest.raises(TimeoutError):
            await batcher.answer([text(7)], timeout=0.01)
        model.free.set()
        await first
        await batcher.answer([text(2)], timeout=20)
        assert [len(row.ids) for batch in model.batches for row in batch] == [1, 2]

    play(scene)


def test_a_pass_that_hangs_can_be_seen_from_outside() -> None:
    """`busy_since` tells how long the oldest running pass has been at it; None when all lanes rest."""

    async def scene(model: Model, batcher: Batcher[Text, tuple[int, int]]) -> None:
        assert batcher.busy_since() is None
        first = await busy(model, batcher)
        assert batcher.busy_since() is not None
        model.free.set()
        await first
        assert batcher.busy_since() is None

    play(scene)


def test_two_lanes_run_two_passes_at_the_same_time() -> None:
    """With the first lane held, the second one answers."""

    async def scene(model: Model, batcher: Batcher[Text, tuple[int, int]]) -> None:
        first = await busy(model, batcher)
        model.entered.clear()
        second = asyncio.create_task(batcher.answer([text(2)], timeout=20))
        assert await asyncio.to_thread(model.entered.wait, 20)
        assert not first.done()
        model.free.set()
        await asyncio.gather(first, second)

    play(scene, lanes=2)


def test_what_waits_at_close_is_still_answered() -> None:
    """Draining loses nothing."""

    async def scene(model: Model, batcher: Batcher[Text, tuple[int, int]]) -> None:
        first = await busy(model, batcher)
        waiting = [asyncio.create_task(batcher.answer([text(60)], timeout=20)) for _ in range(5)]
        await asyncio.sleep(0)
        batcher.close()
        model.free.set()
        assert len(await asyncio.gather(first, *waiting)) == 6

    play(scene)


def test_who_would_wait_too_long_is_refused_on_arrival_and_is_taken_when_the_queue_is_shorter() -> None:
    """At the pace of late, over all lanes; a request of many rows waits for its own as well, so that where there is
    little room the small ones have it."""

    async def scene(model: Model, batcher: Batcher[Text, tuple[int, int]]) -> None:
        for _ in range(100):
            batcher.flow.note([2], [0.0], 0.5, failed=False)
        assert batcher.delay(4) == pytest.approx(1.0, rel=0.01)
        held = [await busy(model, batcher), asyncio.create_task(batcher.answer([text(2)], timeout=20))]
        await until(lambda: len(model.batches) == 2)
        held += [asyncio.create_task(batcher.answer([text(2)] * 4, timeout=20))]
        await until(lambda: batcher.waiting == 4)
        assert batcher.has_room(1)
        assert not batcher.has_room(2)
        assert not batcher.has_room(1, coming=1)
        with pytest.raises(QueueFullError) as caught:
            await batcher.answer([text(2)] * 2, timeout=20)
        assert caught.value.retry_after == pytest.approx(1.5, rel=0.01)
        model.free.set()
        await asyncio.gather(*held)
        assert len(await batcher.answer([text(2)] * 2, timeout=20)) == 2

    play(scene, lanes=2, max_wait=1.3)


def test_what_the_lanes_can_begin_at_once_is_taken_however_slow_they_are() -> None:
    """Otherwise a slow model would answer nobody, and a large request could never be answered."""

    async def scene(model: Model, batcher: Batcher[Text, tuple[int, int]]) -> None:
        batcher.flow.note([2], [0.0], 1000, failed=False)
        assert batcher.delay(1) > 1
        first = await busy(model, batcher)
        second = asyncio.create_task(batcher.answer([text(2)] * 9, timeout=20))
        await until(lambda: batcher.waiting == 9)
        assert not batcher.has_room(1)
        model.free.set()
        await asyncio.gather(first, second)

    play(scene, max_wait=1.0)


def test_a_row_is_overtaken_only_by_those_that_came_little_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """However well they go together with the oldest: in a long queue an unusual length would wait until it is last."""
    now = 100.0
    monkeypatch.setattr("ftdeploy.serve.batcher.time", SimpleNamespace(monotonic=lambda: now))

    async def scene(model: Model, batcher: Batcher[Text, tuple[int, int]]) -> None:
        nonlocal now
        held = [await busy(model, batcher)]
        for seconds, length in ((0.0, 5), (0.1, 90), (0.2, 5), (5.0, 5), (5.1, 90)):
            now = 100.0 + seconds
            held.append(asyncio.create_task(batcher.answer([text(length)], timeout=20)))
            await until(lambda: batcher.waiting == len(held) - 1)
        model.free.set()
        await asyncio.gather(*held)
        assert [[len(row.ids) for row in batch] for batch in model.batches[1:]] == [[5, 5], [90], [5], [90]]

    play(scene, max_wait=8.0)
