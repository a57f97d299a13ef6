"""What is said where nothing answers, and the handlers that always say the same."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from ftdeploy.serve.handlers import always, get, not_http, unknown_path, wrong_method
from ftdeploy.serve.wire import Message, Refusal, Reply


async def receive() -> Message:
    """Nothing comes."""
    raise AssertionError


def test_a_fixed_answer_is_for_get_and_head() -> None:
    """The same object each time: nothing is rendered again."""
    reply = Reply(b"{}")
    handlers = get(always(reply))
    assert set(handlers) == {"GET", "HEAD"}
    assert asyncio.run(handlers["HEAD"]({}, receive)) is reply  # type: ignore[arg-type]  # a coroutine is awaitable


@pytest.mark.parametrize(
    ("status", "handler", "headers"),
    [
        (404, unknown_path, ()),
        (405, wrong_method({"POST": unknown_path, "GET": unknown_path}), ((b"allow", b"GET, POST"),)),
    ],
)
def test_nothing_there_is_a_refusal_before_the_body_is_read(status: int, handler: Any, headers: Any) -> None:
    """So that nobody sends megabytes to a path that does not exist."""
    with pytest.raises(Refusal) as caught:
        asyncio.run(handler({}, receive))
    assert (caught.value.status, caught.value.headers, caught.value.unread) == (status, headers, True)


def test_a_websocket_is_closed_and_other_things_are_left_alone() -> None:
    """Under a server that offers them."""
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(not_http({"type": "lifespan"}, send))
    asyncio.run(not_http({"type": "websocket"}, send))
    assert sent == [{"type": "websocket.close", "code": 1008}]
