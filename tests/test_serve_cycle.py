"""The short ways through uvicorn: what they save, and that nobody can tell them from the long ones."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import uvicorn

from ftdeploy.serve.limits import Limits
from ftdeploy.serve.protocol import guarded
from ftdeploy.serve.wire import REPLY, WHOLE_BODY, Receive, Reply, Scope, Send, read_body, send_reply

POST = b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s"


def asked(path: bytes, body: bytes) -> bytes:
    """A request as it goes over the wire."""
    return POST % (path, len(body), body)


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """The body, and whether it was at hand; `/long` goes uvicorn's own way, `/bad` breaks a header."""
    at_hand = b"yes" if WHOLE_BODY in scope else b"no"
    body = await read_body(scope, receive, most=10_000_000, seconds=20)
    headers = ((b"x-at-hand", at_hand), *(((b"x-bad", b"a\r\nx-other: b"),) if scope["path"] == "/bad" else ()))
    closing = ((b"connection", b"close"),) if scope["path"] == "/close" else ()
    await send_reply(
        send, Reply(bytes(body), headers=(*headers, *closing)), scope=None if scope["path"] == "/long" else scope
    )


def exchanged(*pieces: bytes, pause: float = 0.0, app: Any = echo) -> bytes:
    """All that a server says to these bytes, sent piece by piece, until it closes."""

    async def scene() -> bytes:
        options: dict[str, Any] = {"http": guarded(Limits()), "lifespan": "off", "log_config": None}
        server = uvicorn.Server(uvicorn.Config(app, port=0, **options))
        server.config.load()
        server.lifespan = server.config.lifespan_class(server.config)
        await server.startup()
        reader, writer = await asyncio.open_connection("127.0.0.1", server.servers[0].sockets[0].getsockname()[1])
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(pause)
        said = await reader.read()
        writer.close()
        await server.shutdown()
        return said

    return asyncio.run(scene())


def parts(said: bytes) -> tuple[bytes, dict[bytes, bytes], bytes]:
    """Status line, headers, body of one answer."""
    head, _, body = said.partition(b"\r\n\r\n")
    status, *lines = head.split(b"\r\n")
    return status, dict(line.split(b": ", 1) for line in lines), body


CLOSED = asked(b"/close", b"{}")


@pytest.mark.parametrize("path", [b"/", b"/long"])
def test_both_ways_say_the_same(path: bytes) -> None:
    """Status line, headers and body; only the clock may differ."""
    status, headers, body = parts(exchanged(asked(path, b"some text") + CLOSED).partition(b"HTTP/1.1 200 OK")[2])
    assert status == b""
    assert body.startswith(b"some text")
    assert headers[b"content-length"] == b"9"
    assert headers[b"content-type"] == b"application/json"
    assert headers[b"x-content-type-options"] == b"nosniff"


def test_a_body_that_comes_with_its_headers_is_at_hand() -> None:
    """Nothing is waited for."""
    assert b"x-at-hand: yes" in exchanged(asked(b"/close", b"text"))


def test_a_body_that_comes_later_is_read_as_ever() -> None:
    """Headers first, the body in two pieces."""
    request = asked(b"/close", b"some text")
    said = exchanged(request[:-9], request[-9:-4], request[-4:], pause=0.05)
    assert b"x-at-hand: no" in said
    assert said.endswith(b"some text")


def test_a_body_that_waits_for_the_go_ahead_gets_it() -> None:
    """Expect: 100-continue."""
    head = b"POST /close HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n"
    said = exchanged(head, b"text", pause=0.05)
    assert said.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200")
    assert said.endswith(b"text")


@pytest.mark.parametrize("path", [b"/pieces", b"/whole"])
def test_a_client_of_the_former_version_gets_no_chunks_and_no_go_ahead(path: bytes) -> None:
    """HTTP/1.0 knows neither: a body in pieces ends with the connection, one that is whole says how long it is."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        body = bytes(await read_body(scope, receive, most=100, seconds=20))

        async def write(piece: Callable[[bytes], Awaitable[None]]) -> None:
            await piece(body)
            await piece(b", and more")

        await send_reply(send, Reply(body, write=write if scope["path"] == "/pieces" else None))

    head = b"POST %s HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n" % path
    status, headers, body = parts(exchanged(head, b"text", pause=0.05, app=app))
    assert (status, headers[b"connection"]) == (b"HTTP/1.1 200 OK", b"close")
    assert b"transfer-encoding" not in headers
    if path == b"/pieces":
        assert (headers.get(b"content-length"), body) == (None, b"text, and more")
    else:
        assert (headers.get(b"content-length"), body) == (b"4", b"text")


def test_requests_in_one_packet_are_answered_in_their_order() -> None:
    """Each with its own body."""
    said = exchanged(b"".join(asked(b"/", b"text %d" % number) for number in range(20)) + CLOSED)
    places = [said.index(b"\r\n\r\ntext %d" % number) for number in range(20)]
    assert places == sorted(places)
    assert said.count(b"HTTP/1.1 200 OK") == 21


def test_head_sends_no_body_but_its_length() -> None:
    """As the protocol has it."""
    said = exchanged(b"HEAD /close HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\ntext")
    assert b"content-length: 4" in said
    assert said.endswith(b"\r\n\r\n")


@pytest.mark.parametrize("request_", [asked(b"/close", b"a"), asked(b"/", b"a").replace(b"1.1", b"1.0", 1)])
def test_a_connection_that_ends_says_so_once(request_: bytes) -> None:
    """When the application closes it, and where the client's version has no other way."""
    said = exchanged(request_, asked(b"/", b"never answered"))
    assert said.count(b"connection: close") == 1
    assert b"never answered" not in said


def test_bytes_that_are_no_request_after_one_that_is_end_the_connection() -> None:
    """A broken body is not answered as if it had been whole."""
    said = exchanged(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\ntext\r\nzz\r\n")
    assert said.startswith(b"HTTP/1.1 400")
    assert b"x-at-hand" not in said


def test_a_line_break_in_a_header_is_never_sent() -> None:
    """It would begin a header that nobody wrote."""
    assert b"x-other" not in exchanged(asked(b"/bad", b"a"))


def test_the_short_way_leaves_it_to_the_long_one_where_an_answer_has_begun() -> None:
    """It says so and has sent nothing."""
    found = []

    async def app(scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"connection", b"close")]})
        found.append(scope[REPLY](200, [], b"other"))
        await send({"type": "http.response.body", "body": b"this"})

    assert b"other" not in exchanged(asked(b"/", b""), app=app)
    assert found == [False]


def test_a_request_goes_when_it_is_answered_and_not_when_the_collector_comes_by() -> None:
    """Its body would stay meanwhile: a hundred large requests held 20 MB."""
    found: list[Any] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/left":
            found.append(sum(type(one).__name__ == "RequestResponseCycle" for one in gc.get_objects()))
        await echo(scope, receive, send)

    gc.collect()
    gc.disable()
    try:
        pieces = [asked(b"/", b"x" * 100), *[asked(b"/left", b"")] * 5, asked(b"/close", b"")]
        exchanged(*pieces, pause=0.01, app=app)
    finally:
        gc.enable()
    assert found == [found[0]] * 5
