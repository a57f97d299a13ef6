"""TLS: what cannot be served is told before the port is opened, and handshakes are held to the limits of all."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import uvicorn
import uvloop
from certificates import make_certificate

from ftdeploy.errors import ServeError
from ftdeploy.serve.limits import Limits
from ftdeploy.serve.metrics import Connections
from ftdeploy.serve.protocol import guarded
from ftdeploy.serve.tls import Tls, open_tls
from ftdeploy.serve.wire import Receive, Reply, Scope, Send, read_body, send_reply

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
HUGE = 3_000_000

# The certificate


def test_a_good_certificate_says_until_when(tmp_path: Path) -> None:
    """TLS 1.2 is the least, and HTTP/1.1 what is spoken."""
    found = Tls(*make_certificate(tmp_path, ends=90))
    assert found.context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert found.ends == pytest.approx(time.time() + 90 * 86_400, abs=600)
    assert not found.ends_soon
    assert "server.crt, valid until 2" in str(found)
    assert Tls(*make_certificate(tmp_path, ends=5)).ends_soon


def told(certificate: Path, key: Path) -> str:
    """What is said of a pair that cannot be served."""
    with pytest.raises(ServeError) as caught:
        Tls(certificate, key)
    assert caught.value.cause
    assert caught.value.fix
    return caught.value.what


def test_each_fault_is_told_by_its_name(tmp_path: Path) -> None:
    """Before the port is opened; a client would only say that something is wrong."""
    certificate, key = make_certificate(tmp_path)
    _, other = make_certificate(tmp_path, "other")
    junk = tmp_path / "junk"
    junk.write_text("junk", encoding="utf-8")
    assert "missing.crt cannot be read: No such file" in told(tmp_path / "missing.crt", key)
    assert "missing.key cannot be read: No such file" in told(certificate, tmp_path / "missing.key")
    assert "cannot be read: Is a directory" in told(tmp_path, key)
    assert "key values mismatch" in told(certificate, other)
    assert "cannot be used" in told(junk, key)
    assert "cannot be used" in told(certificate, junk)
    assert "cannot be used" in told(key, certificate)
    assert "server.key is encrypted" in told(*make_certificate(tmp_path, password=b"hush"))
    assert "unsuitable certificate purpose" in told(*make_certificate(tmp_path, for_servers=False))


def test_a_certificate_out_of_its_time_is_told_with_its_date(tmp_path: Path) -> None:
    """The commonest fault of all."""
    assert "expired 20" in told(*make_certificate(tmp_path, starts=-20, ends=-10))
    assert "is not valid before 20" in told(*make_certificate(tmp_path, starts=1))


def test_both_files_are_named_or_none(tmp_path: Path) -> None:
    """One without the other would be served as nobody meant it."""
    certificate, key = (str(path) for path in make_certificate(tmp_path))
    assert open_tls({}) is None
    assert open_tls({"FTDEPLOY_TLS_CERT": "", "FTDEPLOY_TLS_KEY": " "}) is None
    assert open_tls({"FTDEPLOY_TLS_CERT": certificate, "FTDEPLOY_TLS_KEY": key}) is not None
    for name, value, missing in (("CERT", certificate, "only the certificate"), ("KEY", key, "only the key")):
        with pytest.raises(ServeError, match=missing):
            open_tls({f"FTDEPLOY_TLS_{name}": value})


def test_a_renewed_certificate_is_taken_and_a_wrong_one_is_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Without a restart, for connections from then on; the log says what was done, once."""
    tls = Tls(*make_certificate(tmp_path, ends=5))
    first = tls.context
    tls.refresh()
    assert tls.context is first
    make_certificate(tmp_path, ends=90)
    with caplog.at_level(logging.INFO):
        tls.refresh()
    second = tls.context
    assert second is not first
    assert not tls.ends_soon
    assert "from now on TLS with" in caplog.text
    caplog.clear()
    make_certificate(tmp_path, starts=-20, ends=-10)
    tls.refresh()
    tls.key.unlink()
    for _ in range(3):
        tls.refresh()
    assert tls.context is second
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]
    assert "expired" in caplog.records[0].message
    assert "server.key cannot be read" in caplog.records[1].message


# Connections


async def answer(scope: Scope, receive: Receive, send: Send) -> None:
    """Scheme and size of the body; `/huge` is answered with more than a socket takes."""
    body = await read_body(scope, receive, most=10_000_000, seconds=20)
    found = b"x" * HUGE if scope["path"] == "/huge" else f"{scope['scheme']} {len(body)}!".encode()
    await send_reply(send, Reply(found))


class Server:
    """uvicorn with our protocol behind TLS, on a free port."""

    def __init__(self, server: uvicorn.Server, counted: Connections, trusted: Path) -> None:
        self.server = server
        self.counted = counted
        self.port = server.servers[0].sockets[0].getsockname()[1]
        self.context = ssl.create_default_context(cafile=trusted)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection that has shaken hands."""
        return await asyncio.open_connection("127.0.0.1", self.port, ssl=self.context, server_hostname="localhost")

    async def bare(self, *sent: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection without TLS, over which something is sent."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        for piece in sent:
            writer.write(piece)
        return reader, writer

    async def good(self) -> bytes:
        """What a good client is answered."""
        reader, writer = await self.connect()
        writer.write(GET)
        found = await reader.readuntil(b"!")
        writer.close()
        return found


@pytest.fixture(params=["uvloop", "asyncio"])
def play(request: pytest.FixtureRequest, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Iterator[Any]:
    """Runs a scene with a server on either loop; afterwards nobody is connected and no loop has complained."""
    certificate, key = make_certificate(tmp_path)

    @asynccontextmanager
    async def serving(**limits: float) -> AsyncIterator[Server]:
        counted = Connections()
        made = guarded(Limits(**limits), counted, Tls(certificate, key))  # type: ignore[arg-type]  # numbers of the right kinds
        options: dict[str, Any] = {"http": made, "lifespan": "off", "log_config": None, "timeout_keep_alive": 20}
        server = uvicorn.Server(uvicorn.Config(answer, port=0, **options))
        server.config.load()
        server.lifespan = server.config.lifespan_class(server.config)
        await server.startup()
        try:
            yield Server(server, counted, certificate)
            await until(lambda: not counted.open)
            assert not server.server_state.connections
        finally:
            await server.shutdown()

    def run(scene: Callable[[Server], Coroutine[Any, Any, None]], **limits: float) -> None:
        async def stage() -> None:
            async with serving(**limits) as server:
                await scene(server)

        factory = uvloop.new_event_loop if request.param == "uvloop" else asyncio.new_event_loop
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(stage())

    with caplog.at_level(logging.WARNING):
        yield run
    assert [record.message for record in caplog.records if record.name.startswith("asyncio")] == []


async def until(condition: Callable[[], bool]) -> None:
    """Wait until something has come about."""
    while not condition():  # noqa: ASYNC110  # uvicorn sets no event
        await asyncio.sleep(0.01)


def test_requests_are_answered_over_tls(play: Any) -> None:
    """Several on one connection, with bodies and answers larger than a record; the application sees https."""

    async def scene(server: Server) -> None:
        reader, writer = await server.connect()
        for size in (0, 1, 300_000):
            writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size)
            assert (await reader.readuntil(b"!")).endswith(f"https {size}!".encode())
            head = GET.replace(b"/ ", b"/huge ")
            writer.write(head)
            await reader.readuntil(b"\r\n\r\n")
            assert len(await reader.readexactly(HUGE)) == HUGE
        writer.close()
        await asyncio.gather(*(server.good() for _ in range(20)))

    play(scene)


def test_a_handshake_without_end_is_ended(play: Any) -> None:
    """Silence, half a hello, a hello and silence after it: like half-sent headers; others are answered meanwhile."""

    async def scene(server: Server) -> None:
        hello = client_hello()
        ends = [(await server.bare(*sent)) for sent in ((), (hello[:50],), (hello,), (hello[:1], hello[1:40]))]
        assert (await server.good()).endswith(b"https 0!")
        assert server.counted.open >= len(ends)
        for reader, writer in ends:
            assert not (await left_of(reader)).startswith(b"HTTP")
            writer.close()

    play(scene, body_seconds=0.3)


def test_headers_without_end_are_408_over_tls_too(play: Any) -> None:
    """The time for them began with the connection."""

    async def scene(server: Server) -> None:
        reader, writer = await server.connect()
        writer.write(b"GET / HTTP/1.1\r\nHo")
        found = await reader.read()
        assert found.startswith(b"HTTP/1.1 408 ")
        assert b'"error_type":"head_timeout"' in found
        writer.close()
        reader, writer = await server.connect()
        assert await reader.read() == b""
        writer.close()

    play(scene, body_seconds=0.4)


def test_what_is_no_tls_is_let_go_and_nobody_else_minds(play: Any) -> None:
    """Plain HTTP, nonsense, a client that trusts another certificate, one that goes in the middle."""

    async def scene(server: Server) -> None:
        for sent in (GET, b"\x00" * 500, b"\x16\x03\x01\xff\xff" + b"x" * 70_000):
            reader, writer = await server.bare(sent)
            assert not (await left_of(reader)).startswith(b"HTTP")
            writer.close()
        with pytest.raises(ssl.SSLCertVerificationError):
            await asyncio.open_connection("127.0.0.1", server.port, ssl=ssl.create_default_context())
        for begun in (b"", client_hello()[:60], client_hello()):
            _, writer = await server.bare(begun)
            writer.transport.abort()
        assert (await server.good()).endswith(b"https 0!")

    play(scene, body_seconds=20)


def test_one_connection_too_many_ends_the_oldest_that_shakes_hands(play: Any) -> None:
    """Handshakes that are never ended cannot lock others out."""

    async def scene(server: Server) -> None:
        shaking = [await server.bare(client_hello()) for _ in range(2)]
        silent = [await server.bare() for _ in range(2)]
        await until(lambda: server.counted.open == 4)
        for number in range(1, 4):
            assert (await server.good()).endswith(b"https 0!")
            assert server.counted.refused == number
            await until(lambda: server.counted.open <= 4 - 1)
            silent.append(await server.bare())
            await until(lambda: server.counted.open == 4)
        for reader, writer in shaking:
            await left_of(reader)
            writer.close()
        for _, writer in silent:
            writer.close()

    play(scene, max_requests=1, body_seconds=20)


def test_a_question_that_comes_with_the_end_of_the_handshake_is_answered(play: Any) -> None:
    """A client may send both in one packet; and the hello may come byte by byte."""

    async def scene(server: Server) -> None:
        for pieces in (1, 400):
            found = await asyncio.to_thread(ask_at_once, server, pieces)
            assert found.endswith(b"https 0!")

    play(scene)


def test_the_end_of_the_service_does_not_wait_for_handshakes(play: Any) -> None:
    """uvicorn closes what rests; a handshake is no answer that somebody waits for."""

    async def scene(server: Server) -> None:
        _, shaking = await server.bare(client_hello())
        _, silent = await server.bare()
        await until(lambda: server.counted.open == 2)
        await server.server.shutdown()
        shaking.close()
        silent.close()

    play(scene, body_seconds=20)


async def left_of(reader: asyncio.StreamReader) -> bytes:
    """What comes until the server closes or resets the connection."""
    found = b""
    with suppress(ConnectionResetError):
        while piece := await reader.read(65_536):
            found += piece
    return found


def client_hello() -> bytes:
    """What a client begins with."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(down, up, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return up.read()


def ask_at_once(server: Server, pieces: int) -> bytes:
    """Shake hands by hand, the hello in so many pieces, and send a request together with the last of the handshake."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = server.context.wrap_bio(down, up, server_hostname="localhost")
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.settimeout(20)
        with pytest.raises(ssl.SSLWantReadError):
            client.do_handshake()
        hello = up.read()
        size = -(-len(hello) // pieces)
        for start in range(0, len(hello), size):
            connection.sendall(hello[start : start + size])
        while True:
            try:
                client.do_handshake()
                break
            except ssl.SSLWantReadError:
                down.write(connection.recv(65_536))
        client.write(GET)
        connection.sendall(up.read())
        found = b""
        while not found.endswith(b"!"):
            down.write(connection.recv(65_536))
            try:
                while piece := client.read(65_536):
                    found += piece
            except ssl.SSLWantReadError:
                pass
        return found
