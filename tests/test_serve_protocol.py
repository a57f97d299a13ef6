"""Connections under a real uvicorn: headers have an end, in time and in size, and so has the number of connections."""

from __future__ import annotations

import asyncio
import gc
import re
import resource
import socket
import struct
import weakref
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn

from ftdeploy.serve import protocol
from ftdeploy.serve.limits import Limits
from ftdeploy.serve.protocol import FILES, HEAD_BYTES, HEADERS, Early, Guard, guarded
from ftdeploy.serve.reading import PIPELINED
from ftdeploy.serve.wire import Receive, Reply, Scope, Send, read_body, send_reply

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


async def answer(scope: Scope, receive: Receive, send: Send) -> None:
    """The size of the body; `/huge` is answered with more than a socket takes."""
    body = await read_body(scope, receive, most=10_000_000, seconds=20)
    await send_reply(send, Reply(b"x" * 50_000_000 if scope["path"] == "/huge" else str(len(body)).encode()))
    if scope["path"] == "/huge":
        await send({"type": "http.response.body", "body": b""})


class Server:
    """uvicorn with our protocol on a free port."""

    def __init__(self, server: uvicorn.Server, guard: Guard) -> None:
        self.server = server
        self.guard = guard
        self.port = server.servers[0].sockets[0].getsockname()[1]

    async def connect(self, *sent: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection over which something is sent."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        for piece in sent:
            writer.write(piece)
            await writer.drain()
        return reader, writer

    async def told(self, *sent: bytes) -> bytes:
        """All that comes back until the server closes."""
        reader, writer = await self.connect(*sent)
        try:
            return await reader.read()
        finally:
            writer.close()


@asynccontextmanager
async def serving(early: Early = lambda _scope: None, **limits: float) -> AsyncIterator[Server]:
    made = guarded(Limits(**limits), early=early)  # type: ignore[arg-type]  # numbers of the right kinds
    options: dict[str, Any] = {"http": made, "lifespan": "off", "log_config": None, "timeout_keep_alive": 20,
                               "access_log": False}  # fmt: skip
    server = uvicorn.Server(uvicorn.Config(answer, port=0, **options))
    server.config.load()
    server.lifespan = server.config.lifespan_class(server.config)
    await server.startup()
    try:
        yield Server(server, made.keywords["guard"])  # type: ignore[attr-defined]  # it is a partial
    finally:
        await server.shutdown()


def play(scene: Callable[[Server], Coroutine[Any, Any, None]], early: Early = lambda _scope: None,
         **limits: float) -> None:  # fmt: skip
    """Run a scene with a server."""

    async def stage() -> None:
        async with serving(early, **limits) as server:
            await scene(server)

    asyncio.run(stage())


async def until(condition: Callable[[], bool]) -> None:
    """Wait until something has come about."""
    while not condition():  # noqa: ASYNC110  # uvicorn sets no event
        await asyncio.sleep(0.01)


def test_headers_that_do_not_come_are_408_and_silence_is_closed() -> None:
    """Half a head, a head that trickles in after an answer, nothing at all: each connection ends by itself."""

    async def scene(server: Server) -> None:
        half, silent = await asyncio.gather(server.told(b"GET / HTTP/1.1\r\nHo"), server.told())
        assert half.startswith(b"HTTP/1.1 408 ")
        assert b'"error_type":"head_timeout"' in half
        assert silent == b""
        reader, writer = await server.connect(GET)
        assert (await reader.readuntil(b"\r\n\r\n0")).startswith(b"HTTP/1.1 200 ")
        writer.write(b"GET /")
        assert (await reader.read()).startswith(b"HTTP/1.1 408 ")
        writer.close()
        assert not server.guard.waiting
        assert server.guard.counted.ended["head_timeout"] == 2
        await until(lambda: server.guard.counted.open == 0)

    play(scene, body_seconds=0.2)


def test_one_connection_may_ask_again_and_again_and_rest_between() -> None:
    """The time for headers does not run while a connection rests after its answer."""

    async def scene(server: Server) -> None:
        reader, writer = await server.connect()
        for _ in range(3):
            writer.write(GET)
            assert (await reader.readuntil(b"\r\n\r\n0")).startswith(b"HTTP/1.1 200 ")
            await asyncio.sleep(0.15)
        writer.close()

    play(scene, body_seconds=0.1)


@pytest.mark.parametrize(
    "begin",
    [b"GET / HTTP/1.1\r\n", GET + b"GET / HTTP/1.1\r\n",
     b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n"],
    ids=["headers", "later-headers", "trailers"],
)  # fmt: skip
def test_headers_without_end_are_refused_and_not_collected(begin: bytes) -> None:
    """uvicorn would keep every one of them."""

    async def scene(server: Server) -> None:
        reader, writer = await server.connect(begin)
        sent = 0
        while not reader.at_eof() and not writer.is_closing() and sent < 100 * HEAD_BYTES:
            writer.write(b"X-Padding: " + b"x" * 1000 + b"\r\n")
            sent += 1013
            await asyncio.sleep(0)
            if reader.exception() is not None or not server.server.server_state.connections:
                break
        assert sent < 100 * HEAD_BYTES
        await until(lambda: not server.server.server_state.connections)
        writer.close()

    play(scene, body_seconds=20)


@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize(
    ("trailers", "says"), [(b"Authorization: Bearer x\r\n\r\n", b"200"), (b"a: b\r\n" * HEADERS, b"431")]
)
def test_trailers_are_no_headers_and_are_counted_with_them(apart: bool, trailers: bytes, says: bytes) -> None:
    """A key, an origin or an id behind a body would hold for some requests and not for others, as the packets fall."""
    head = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n"

    async def scene(server: Server) -> None:
        reader, writer = await server.connect()
        await until(lambda: bool(server.server.server_state.connections))
        (connection,) = server.server.server_state.connections
        for piece in (head, trailers) if apart else (head + trailers,):
            writer.write(piece)
            await until(lambda: connection.cycle is not None)  # type: ignore[union-attr]  # ours have one
        assert await reader.readexactly(12) == b"HTTP/1.1 " + says
        found = connection.cycle.scope["headers"]  # type: ignore[union-attr]  # as above
        assert found == [(b"host", b"x"), (b"transfer-encoding", b"chunked")]
        writer.close()

    play(scene)


def test_a_large_body_is_no_head() -> None:
    """In one piece or in chunks, and twice over one connection."""

    async def scene(server: Server) -> None:
        head = b"POST / HTTP/1.1\r\nHost: x\r\n"
        chunk = b"3e8\r\n" + b"x" * 1000 + b"\r\n"
        plain = head + b"Content-Length: 300000\r\n\r\n" + b"x" * 300_000
        chunked = head + b"Transfer-Encoding: chunked\r\n\r\n" + chunk * 300 + b"0\r\n\r\n"
        reader, writer = await server.connect()
        for request in (plain, chunked, plain):
            writer.write(request)
            assert (await reader.readuntil(b"300000")).startswith(b"HTTP/1.1 200 ")
        writer.close()

    play(scene)


def test_one_connection_too_many_ends_the_oldest_that_has_not_asked() -> None:
    """Half-open connections cannot lock others out; where all are busy, the new one is refused."""

    async def scene(server: Server) -> None:
        idle = [await server.connect(b"GET") for _ in range(4)]
        await until(lambda: len(server.guard.waiting) == 4)
        oldest = next(iter(server.guard.waiting))
        reader, writer = await server.connect(GET)
        assert (await reader.readuntil(b"\r\n\r\n0")).startswith(b"HTTP/1.1 200 ")
        assert oldest not in server.guard.waiting
        assert (await idle[0][0].read()).startswith(b"HTTP/1.1 408 ")
        body = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n"
        busy = [await server.connect(body) for _ in range(4)]
        await until(lambda: not server.guard.waiting and not server.guard.resting.first())
        refused = await server.told()
        assert refused.startswith(b"HTTP/1.1 503 ")
        assert b"\r\nretry-after: 1\r\n" in refused
        counted = server.guard.counted
        assert (counted.limit, counted.refused, counted.ended["overloaded"]) == (4, 6, 1)
        await until(lambda: counted.open == 4)
        for _, one in (*idle, *busy, (reader, writer)):
            one.close()

    play(scene, max_requests=1, body_seconds=20)


def test_connections_that_rest_lock_nobody_out() -> None:
    """Of those and of the ones whose headers are awaited, it is the one that has been idle longest which ends."""

    async def scene(server: Server) -> None:
        resting = []
        for _ in range(4):
            resting.append(await server.connect(GET))
            await resting[-1][0].readuntil(b"\r\n\r\n0")
        waiting = await server.connect()
        assert await resting[0][0].read() == b""
        asking = await server.connect(GET)
        assert (await asking[0].readuntil(b"\r\n\r\n0")).startswith(b"HTTP/1.1 200 ")
        assert await resting[1][0].read() == b""
        for reader, writer in (*resting[2:], waiting):
            writer.write(GET)
            assert (await reader.readuntil(b"\r\n\r\n0")).startswith(b"HTTP/1.1 200 ")
        for _, writer in (*resting, waiting, asking):
            writer.close()

    play(scene, max_requests=1, body_seconds=20)


def test_an_answer_that_is_not_read_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its memory and its place are not held for ever."""
    monkeypatch.setattr(protocol, "STALLED_SECONDS", 0.2)

    async def scene(server: Server) -> None:
        _, writer = await server.connect(b"GET /huge HTTP/1.1\r\nHost: x\r\n\r\n")
        state = server.server.server_state
        await until(lambda: bool(state.tasks))
        await until(lambda: not state.tasks and not state.connections)
        assert server.guard.counted.ended["stalled"] == 1
        writer.close()

    play(scene)


def test_connections_stay_below_the_files_that_may_be_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a file left nobody could connect, a probe of health included."""
    monkeypatch.setattr(resource, "getrlimit", lambda _kind: (1024, 4096))
    assert guarded(Limits(max_requests=9999)).keywords["guard"].connections == 1024 - FILES  # type: ignore[attr-defined]
    assert guarded(Limits(max_requests=2)).keywords["guard"].connections == 8  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("junk", "says"),
    [(b"JUNK\r\n\r\n", b"400 "), (b"\x16\x03\x01\x02\x00", b"400 "), (b"GET / HTTP/2.0\r\n\r\n", b"400 "),
     (b"GET /\r\n\r\n", b"400 "), (b"CONNECT x:1 HTTP/1.1\r\nHost: x:1\r\n\r\n", b"405 "),
     (b"GET / HTTP/1.1\r\n\r\n", b"400 "), (b"GET / HTTP/1.1\r\nHost: x\r\nhost: y\r\n\r\n", b"400 "),
     (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n", b"400 "),
     (b"GET http:// HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n", b"400 "),
     (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n", b"400 "),
     (b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 300 + b"\r\n", b"431 "),
     (b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 9000, b"431 ")],
)  # fmt: skip
def test_what_is_no_http_is_told_so_in_json_after_the_answers_that_are_due(junk: bytes, says: bytes) -> None:
    """uvicorn says it in plain text, and before the answers to what was asked in front of it."""

    async def scene(server: Server) -> None:
        alone = await server.told(junk)
        assert alone.startswith(b"HTTP/1.1 " + says)
        assert b'"error_type":"' in alone
        behind = await server.told(GET + GET + junk)
        assert re.findall(rb"HTTP/1\.1 (\d{3} )", behind) == [b"200 ", b"200 ", says]
        assert behind.endswith(alone.partition(b"\r\n\r\n")[2])
        await until(lambda: not server.server.server_state.connections)

    play(scene)


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [(b"http://x", "/", b""), (b"http://x?a=b", "/", b"a=b"), (b"http://x/p?a=b", "/p", b"a=b"), (b"*", "*", b"")],
)
def test_an_address_may_be_asked_for_whole_and_without_its_path(target: bytes, path: str, query: bytes) -> None:
    """As proxies are asked, with a wish for another protocol beside it or without."""
    asked: list[Scope] = []

    def early(scope: Scope) -> Reply:
        asked.append(scope)
        return Reply(b"")

    async def scene(server: Server) -> None:
        head = b"OPTIONS " + target + b" HTTP/1.1\r\nHost: x\r\n"
        reader, writer = await server.connect(head + b"\r\n")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
        writer.write(head + b"Connection: upgrade\r\nUpgrade: h2c\r\n\r\n")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
        writer.close()
        assert [(scope["path"], scope["query_string"]) for scope in asked] == [(path, query)] * 2

    play(scene, early)


@pytest.mark.parametrize("wish", [b"h2c", b"websocket", b"TLS/1.0"])
def test_another_protocol_is_not_spoken_and_the_request_is_answered(wish: bytes) -> None:
    """Java's client asks for HTTP/2 with its first request: that has its body, and what comes behind is answered."""
    head = b"POST / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: " + wish + b"\r\n"
    plain = head + b"Content-Length: 3\r\n\r\n{ }"
    chunked = head + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"

    async def scene(server: Server) -> None:
        reader, writer = await server.connect(plain + chunked + GET)
        for size in (b"3", b"2", b"0"):
            assert (await reader.readuntil(b"\r\n\r\n" + size)).startswith(b"HTTP/1.1 200 ")
        for piece in (head[:30], head[30:] + b"Content-Length: 1\r\n", b"\r\n", b"1"):
            writer.write(piece)
            await asyncio.sleep(0.01)
        assert (await reader.readuntil(b"\r\n\r\n1")).startswith(b"HTTP/1.1 200 ")
        writer.close()

    play(scene)


def test_a_packet_full_of_requests_is_read_a_few_at_a_time_and_answered_in_order() -> None:
    """Each that is read takes kilobytes; one packet may hold ten thousand."""
    sizes = [number % 7 for number in range(5000)]
    sent = b"".join(
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (size, b"x" * size) for size in sizes
    )
    most = 0

    async def scene(server: Server) -> None:
        async def look() -> None:
            nonlocal most
            while True:
                for one in server.server.server_state.connections:
                    most = max(most, len(one.pipeline))  # type: ignore[union-attr]  # ours have one
                await asyncio.sleep(0)

        looking = asyncio.create_task(look())
        reader, writer = await server.connect()
        sending = asyncio.create_task(_send(writer, sent))
        for size in sizes:
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 ")
            assert await reader.readexactly(1) == b"%d" % size
        await sending
        looking.cancel()
        writer.close()

    play(scene)
    assert 0 < most <= PIPELINED + 1


async def _send(writer: asyncio.StreamWriter, sent: bytes) -> None:
    writer.write(sent)
    await writer.drain()


def test_a_connection_that_was_reset_holds_nothing() -> None:
    """uvicorn's timer for silence would hold it, headers and all."""

    async def scene(server: Server) -> None:
        reader, writer = await server.connect(GET)
        await reader.readuntil(b"\r\n\r\n0")
        kept = weakref.ref(next(iter(server.server.server_state.connections)))
        reset = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
        writer.transport.abort()
        await until(lambda: not server.server.server_state.connections)
        await asyncio.sleep(0.01)
        gc.collect()
        assert kept() is None

    play(scene)


def test_what_is_refused_early_begins_no_task_and_keeps_the_connection() -> None:
    """Where it is there whole and nobody is in front of it; the others go to the application, which may refuse them."""
    asked: list[str] = []

    def early(scope: Scope) -> Reply | None:
        asked.append(scope["path"])
        return Reply(b"busy", status=429) if scope["path"] == "/busy" else None

    async def scene(server: Server) -> None:
        post = b"POST /busy HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n"
        reader, writer = await server.connect(post + b"abc")
        assert (await reader.readuntil(b"\r\n\r\nbusy")).startswith(b"HTTP/1.1 429 ")
        assert not server.server.server_state.tasks
        writer.write(GET + post + b"abc" + post + b"abc")
        for said in (b"0", b"3", b"3"):
            assert (await reader.readuntil(b"\r\n\r\n" + said)).startswith(b"HTTP/1.1 200 ")
        for piece in (post, b"abc"):
            writer.write(piece)
            await asyncio.sleep(0.01)
        assert (await reader.readuntil(b"\r\n\r\n3")).startswith(b"HTTP/1.1 200 ")
        writer.close()
        assert asked == ["/busy"]

    play(scene, early)
