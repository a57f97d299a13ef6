"""Deadlines end what is late, once, and nothing else; one timer serves all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from ftdeploy.serve.deadlines import Deadlines


def play(scene: Callable[[Deadlines[str], list[str]], Coroutine[Any, Any, None]]) -> None:
    """Run a scene with deadlines and what has ended by them."""

    async def stage() -> None:
        ended: list[str] = []
        await scene(Deadlines(ended.append), ended)

    asyncio.run(stage())


async def until(condition: Callable[[], bool]) -> None:
    """Wait until something has come about."""
    while not condition():  # noqa: ASYNC110  # nothing sets an event
        await asyncio.sleep(0.005)


def test_the_earlier_ends_first_whatever_the_order_in_which_they_came() -> None:
    """A shorter deadline does not wait for the timer of a longer one that was there before."""

    async def scene(deadlines: Deadlines[str], ended: list[str]) -> None:
        deadlines.add("hour", 3600)
        deadlines.add("later", 0.1)
        deadlines.add("soon", 0.01)
        await until(lambda: len(ended) == 2)
        assert ended == ["soon", "later"]

    play(scene)


def test_what_is_over_in_time_does_not_end_and_what_is_unknown_can_be_over() -> None:
    """Others go on."""

    async def scene(deadlines: Deadlines[str], ended: list[str]) -> None:
        deadlines.add("kept", 0.01)
        deadlines.discard("kept")
        deadlines.discard("never there")
        deadlines.add("late", 0.02)
        await until(lambda: bool(ended))
        assert ended == ["late"]

    play(scene)


def test_a_new_deadline_takes_the_place_of_the_old_one() -> None:
    """Also where it is further away, as that of a connection that asks again and again."""

    async def scene(deadlines: Deadlines[str], ended: list[str]) -> None:
        deadlines.add("again", 0.01)
        deadlines.add("again", 3600)
        deadlines.add("late", 0.05)
        await until(lambda: bool(ended))
        assert ended == ["late"]

    play(scene)


def test_whoever_ends_may_begin_anew() -> None:
    """And ends once a deadline."""
    ended: list[str] = []

    async def scene() -> None:
        def again(one: str) -> None:
            ended.append(one)
            if len(ended) < 3:
                deadlines.add(one, 0.001)

        deadlines: Deadlines[str] = Deadlines(again)
        deadlines.add("again", 0.001)
        await until(lambda: len(ended) == 3)

    asyncio.run(scene())
    assert ended == ["again"] * 3


def test_the_first_is_the_one_that_was_added_longest_ago() -> None:
    """Who is added again stands behind the others."""

    async def scene(deadlines: Deadlines[str], _ended: list[str]) -> None:
        assert deadlines.first() is None
        for one in ("again", "kept", "again"):
            deadlines.add(one, 3600)
        assert deadlines.first() == "kept"

    play(scene)
