"""A shorter way through uvicorn for requests that come whole and answers that go whole: nearly all of them.

uvicorn begins to answer when the headers are there, so that an application waits for a body that is already in its
buffer; and it checks and writes an answer in two pieces. Here the application begins when the bytes at hand are read,
and an answer is one write. What it finds in its scope for that, under `WHOLE_BODY` and `REPLY`, it may use or not:
without them it is any ASGI application, and under another server it is served as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING
from weakref import ref

from ftdeploy.serve.wire import REPLY, WHOLE_BODY, Header

if TYPE_CHECKING:
    from uvicorn._types import ASGISendEvent
    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

_STATUS: Mapping[int, bytes] = {one.value: f"HTTP/1.1 {one.value} {one.phrase}\r\n".encode() for one in HTTPStatus}


def shorten(cycle: RequestResponseCycle) -> None:
    """Lay the short ways into the scope of a request that is about to be answered."""
    if not cycle.more_body and not cycle.waiting_for_100_continue:
        cycle.scope[WHOLE_BODY] = bytes(cycle.body)  # type: ignore[literal-required]  # an extension of ours
    # A request that was held by its own scope would keep its body until the collector comes by.
    cycle.scope[REPLY] = partial(_reply, ref(cycle))  # type: ignore[literal-required]  # an extension of ours
    if cycle.scope["http_version"] == "1.0":
        cycle.send = partial(_send_unframed, ref(cycle))  # type: ignore[method-assign]  # of this one request


def _reply(asked: ref[RequestResponseCycle], status: int, headers: Sequence[Header], body: bytes) -> bool:
    """As `reply_at_once`, for what is in a scope."""
    cycle = asked()
    return cycle is None or reply_at_once(cycle, status, headers, body)


async def _send_unframed(asked: ref[RequestResponseCycle], message: ASGISendEvent) -> None:
    """As uvicorn's `send`, for a client that knows no chunks: what is of no stated length ends with the connection."""
    cycle = asked()
    if cycle is None:
        return
    if message["type"] == "http.response.start":
        if all(name != b"content-length" for name, _ in message.get("headers", ())):
            cycle.chunked_encoding = False
    elif cycle.chunked_encoding is False and message["type"] == "http.response.body":
        cycle.expected_content_length = len(message.get("body", b""))
    await type(cycle).send(cycle, message)


def reply_at_once(cycle: RequestResponseCycle, status: int, headers: Sequence[Header], body: bytes) -> bool:
    """Write a whole answer; False, with nothing written, where uvicorn's own way is wanted.

    Args:
        cycle: the request's.
        status: HTTP status.
        headers: lower case, content-length among them.
        body: as long as content-length says, also for HEAD, which sends none of it.

    Raises:
        ValueError: the value of a header would begin another one.
    """
    if cycle.disconnected:
        return True  # nobody reads it
    if cycle.response_started or cycle.flow.write_paused or cycle.access_log:
        return False
    parts = [_STATUS[status]]
    for name, value in (*cycle.default_headers, *headers):
        if b"\n" in value or b"\r" in value:
            raise ValueError(f"the header {name.decode()} holds a line break")
        parts += (name, b": ", value, b"\r\n")
        if name == b"connection" and value == b"close":
            cycle.keep_alive = False
    if not cycle.keep_alive and (b"connection", b"close") not in headers:
        parts.append(b"connection: close\r\n")
    parts.append(b"\r\n")
    if cycle.scope["method"] != "HEAD":
        parts.append(body)
    cycle.response_started = cycle.response_complete = True
    cycle.waiting_for_100_continue = False
    cycle.transport.write(b"".join(parts))
    cycle.message_event.set()
    if not cycle.keep_alive:
        cycle.transport.close()
    cycle.on_response()
    return True
