"""uvicorn's HTTP protocol with an end to its patience: what no application can do, because it is not asked yet.

uvicorn waits for ever for the headers of a request, takes any amount of them, and waits for ever for a client to read
its answer. Here a connection has ``seconds`` for the headers of a request and `HEAD_BYTES` for them, an answer has
`STALLED_SECONDS` to be read on, and there is a most of connections: one too many ends the one that has been idle
longest, be it that its headers are awaited or that it rests after an answer, or is refused where none is.

It also drops what follows a request that wishes for another protocol, reads all the requests of a packet before it
answers the first, and says that something is no HTTP before it has answered what was. Here the wish is ignored
(RFC 9110, 7.8), few requests are read before their turn, and no answer is overtaken.
"""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NoReturn

import httptools
import orjson
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from ftdeploy.serve.cycle import reply_at_once, shorten
from ftdeploy.serve.deadlines import Deadlines
from ftdeploy.serve.limits import Limits
from ftdeploy.serve.metrics import Connections
from ftdeploy.serve.reading import HeldFlow, few, wishless_head, with_path
from ftdeploy.serve.tls import Tls, TlsDoor
from ftdeploy.serve.wire import RETRY_SOON, Header, Reply, whole_headers

#: Most bytes that come without completing headers or being body: request line, headers, trailers, chunk extensions.
HEAD_BYTES = 65_536
#: Most headers and trailers of a request: a small one takes thirty times its bytes once it is read.
HEADERS = 200
#: Bytes that are read before headers are counted again.
_COUNTED = 8192
#: An answer of which nothing was read for so long is given up, in seconds.
STALLED_SECONDS = 60.0
#: Connections for each request that may be in flight: most of those that are kept alive are idle.
CONNECTIONS_A_REQUEST = 4
Early = Callable[[Any], Reply | None]
#: Files that the process opens beside its connections.
FILES = 100


@dataclass(frozen=True, kw_only=True)
class Guard:
    """What the connections of one process share.

    Attributes:
        seconds: for the headers of a request.
        connections: most at the same time.
        counted: how many connections there are, for the metrics.
        early: the answer to a request that is there whole and is refused before anything is done for it, or None.
        waiting: connections whose headers are awaited, oldest first.
        resting: those that have their answer and ask nothing.
    """

    seconds: float
    connections: int
    counted: Connections
    early: Early
    waiting: dict[GuardedProtocol, None] = field(default_factory=dict)
    resting: Deadlines[GuardedProtocol] = field(
        default_factory=lambda: Deadlines(GuardedProtocol.timeout_keep_alive_handler)
    )


def guarded(limits: Limits, counted: Connections | None = None, tls: Tls | None = None,
            early: Early = lambda _scope: None) -> Callable[..., asyncio.Protocol]:  # fmt: skip
    """What uvicorn calls for each new connection.

    Args:
        limits: of the service.
        counted: where connections are counted (`Metrics.connections`).
        tls: speak HTTP over TLS; uvicorn itself is told nothing of it.
        early: see `Guard`; `App.refuse_early`.
    """
    counted = counted or Connections()
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = limits.max_requests * CONNECTIONS_A_REQUEST
    if files != resource.RLIM_INFINITY:
        most = max(1, min(most, files - FILES))
    counted.limit = most
    guard = Guard(seconds=limits.body_seconds, connections=most, counted=counted, early=early)
    plain = partial(GuardedProtocol, guard=guard)
    if tls is None:
        return plain
    return lambda *args, **options: TlsDoor(plain(*args, **options), tls.context, seconds=guard.seconds)


class _WrongError(Exception):
    """Raised in a callback of the parser; the connection knows why."""


class GuardedProtocol(HttpToolsProtocol):
    """One connection."""

    def __init__(self, *args: Any, guard: Guard, **options: Any) -> None:
        super().__init__(*args, **options)
        self.ws_protocol_class = None  # nothing here speaks WebSocket, whatever else is installed
        self._guard = guard
        self._late: asyncio.TimerHandle | None = None
        self._stalled: asyncio.TimerHandle | None = None
        self.idle_since = 0.0  # on the loop's clock, where headers are awaited or it rests
        self._arrived = False  # before `connection_made`
        self._barren = 0  # bytes since the last headers or piece of a body were complete
        self._reading = False
        self._begun: tuple[RequestResponseCycle, Any] | None = None
        self._held = b""  # requests behind those that wait
        self._wrong: tuple[bytes, str, str] | None = None  # what a callback found: status, type, message
        self._last: bytes | None = None  # what is said when all answers are out, before the connection is closed

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """A client is there: from now on its headers are awaited."""
        super().connection_made(transport)
        self.flow = self._flow = HeldFlow(transport)
        if not self._arrived:
            self._take_place()

    def arrive(self, transport: asyncio.Transport) -> None:
        """A client is there and does not speak HTTP yet: it is counted, and has the time of a request's headers.

        `connection_made` follows with another transport, or `leave` does.
        """
        self.transport, self._arrived = transport, True
        self.connections.add(self)
        self._take_place()

    def leave(self) -> None:
        """It went before it spoke HTTP."""
        self._head_is_there()
        if self in self.connections:
            self.connections.discard(self)
            self._guard.counted.open -= 1

    def _take_place(self) -> None:
        guard = self._guard
        guard.counted.open += 1
        if len(self.connections) > guard.connections:
            guard.counted.refused += 1
            idle = [one for one in (next(iter(guard.waiting), None), guard.resting.first()) if one is not None]
            if not idle:
                self._end(b"503 Service Unavailable", "overloaded", "there are too many connections", RETRY_SOON)
                return
            min(idle, key=lambda one: one.idle_since).give_up()
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone: nothing is awaited of it any more."""
        self._head_is_there()
        self.resume_writing()
        self._guard.counted.open -= 1
        self._held = b""
        self._unset_keepalive_if_required()  # uvicorn forgets it after a reset, and this would be held meanwhile
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bytes came; see afterwards whether they led anywhere."""
        if self._last is None:
            self._feed(self._held + data if self._held else data)

    def _feed(self, data: bytes) -> None:
        """Give the parser as much as may be answered soon, and keep the rest."""
        self._unset_keepalive_if_required()
        self._held = b""
        self._reading = True
        at = 0
        while at < len(data) and self._last is None:
            if self.pipeline:
                self._held = data[at:]  # at most what one read brings: no more is read meanwhile
                self.flow.pause_reading()
                break
            end = few(data, at)
            if end - at > _COUNTED and not self._in_body():
                end = at + _COUNTED
            at += self._parse(data[at:end] if at or end < len(data) else data)
            if self._barren > HEAD_BYTES and self._last is None:
                message = f"request line and headers are larger than {HEAD_BYTES} bytes"
                self._end(b"431 Request Header Fields Too Large", "too_large", message)
        self._reading = False
        self._flow.held = bool(self._held)
        begun, self._begun = self._begun, None
        if begun is not None and not self.transport.is_closing() and not self._refused(begun[0]):
            self._start_asgi_task(*begun)
        if (
            self._barren
            and self._late is None
            and self._last is None
            and not self.transport.is_closing()
            and self._rests()
        ):
            self._await_head()

    def _parse(self, data: bytes) -> int:
        """Let the parser call us; how many bytes it has taken."""
        self._barren += len(data)
        try:
            self.parser.feed_data(data)
            if self.headers is not None:
                self._count_headers()
        except httptools.HttpParserUpgrade as wish:
            if self.scope["method"] == "CONNECT":
                self._end(b"405 Method Not Allowed", "not_http", "this is no proxy")
            else:  # this parser would take what follows for no HTTP
                self.parser = httptools.HttpRequestParser(self)
                self._parse(wishless_head(self.scope, self.url, self.headers))
            return int(wish.args[0])
        except (httptools.HttpParserError, _WrongError) as error:
            self._end(*(self._wrong or (b"400 Bad Request", "not_http", f"this is not HTTP/1.1: {error}")))
        return len(data)

    def _refuse(self, status: bytes, error_type: str, message: str) -> NoReturn:
        """End what the parser does, whose own errors say less."""
        self._wrong = (status, error_type, message)
        raise _WrongError

    def _count_headers(self) -> None:
        if len(self.headers) > HEADERS:
            self._refuse(b"431 Request Header Fields Too Large", "too_large", f"there are more than {HEADERS} headers")

    def _in_body(self) -> bool:
        """The request that was read last is still coming."""
        return self.cycle is not None and self.cycle.more_body and not self.cycle.response_complete

    def on_headers_complete(self) -> None:
        """A request can be answered."""
        self._barren = 0
        self._head_is_there()
        self._count_headers()
        version = self.parser.get_http_version()
        if version not in ("1.1", "1.0"):
            self._refuse(b"400 Bad Request", "not_http", f"HTTP/1.1 is spoken here, not HTTP/{version}")
        self._check_head(version)
        if version == "1.0":  # which knows of no go-ahead (RFC 9110, 10.1.1)
            self.expect_100_continue = False
        if self.parser.should_upgrade():
            self.scope["method"] = self.parser.get_method().decode("ascii")
            self.scope["http_version"] = version
        else:
            if not self.url.startswith(b"/"):
                self.url = with_path(self.url)
            super().on_headers_complete()
            # Trailers are counted with the headers, and are none of the request: a key least of all (RFC 9110, 6.5.1).
            self.headers = self.headers.copy()

    def _check_head(self, version: str) -> None:
        """Refuse what may mean one thing to us and another to whoever stands between (RFC 9112, 3.2 and 6.1)."""
        hosts, codings = 0, []
        for name, value in self.headers:
            if name == b"host":
                hosts += 1
            elif name == b"transfer-encoding":
                codings.append(value.strip().lower())
        if hosts > 1 or (hosts == 0 and version == "1.1"):
            self._refuse(b"400 Bad Request", "not_http", f"a request names one host, and this one {hosts or 'none'}")
        if codings not in ([], [b"chunked"]):
            self._refuse(b"400 Bad Request", "not_http", "of transfer codings, only chunked is understood")

    def _refused(self, cycle: RequestResponseCycle) -> bool:
        """Refuse a request where no task has to be begun for it. Those that wait for another one's answer are not asked
        about: the next one's turn would come inside of this one's."""
        if cycle.more_body or cycle.waiting_for_100_continue or self.pipeline:
            return False
        reply = self._guard.early(cycle.scope)
        return reply is not None and reply_at_once(cycle, reply.status, whole_headers(reply), reply.body)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        """Begin to answer; while bytes are being read, when they are: most bodies are complete then."""
        if self._reading:
            self._begun = (cycle, app)
            return
        shorten(cycle)
        super()._start_asgi_task(cycle, app)

    def on_body(self, body: bytes) -> None:
        """A piece of a body; `read_body` sees to its limits."""
        self._barren = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """A request is complete; what follows is the next one's headers."""
        self._barren = 0
        if not self.parser.should_upgrade():
            super().on_message_complete()

    def on_response_complete(self) -> None:
        """An answer is out: the next request's turn, or the end."""
        if self.pipeline and self.pipeline[-1][0].disconnected:  # its body broke off while it waited
            self.pipeline.clear()
            self.cycle.response_complete = True
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
            if self.pipeline or self.transport.is_closing():
                return
        elif self._last is None:
            self.idle_since = self.loop.time()
            self._guard.resting.add(self, self.timeout_keep_alive)
        if self._last is None:
            if self._held:
                self._feed(self._held)
                self.flow.resume_reading()
        elif self._rests():
            self._close(self._last)

    def pause_writing(self) -> None:
        """The client reads more slowly than it is answered; it has `STALLED_SECONDS` to catch up."""
        super().pause_writing()
        if self._stalled is None:
            self._stalled = self.loop.call_later(STALLED_SECONDS, self._abandon)

    def resume_writing(self) -> None:
        """It has caught up."""
        super().resume_writing()
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    def _abandon(self) -> None:
        """Nobody reads the answer."""
        self._guard.counted.ended["stalled"] += 1
        self.transport.abort()

    def _unset_keepalive_if_required(self) -> None:
        """It rests no longer. uvicorn has a timer for each rest."""
        self._guard.resting.discard(self)

    def _rests(self) -> bool:
        """No request is being answered."""
        return self.cycle is None or self.cycle.response_complete

    def _await_head(self) -> None:
        self.idle_since = self.loop.time()
        self._guard.waiting[self] = None
        self._late = self.loop.call_later(self._guard.seconds, self.give_up)

    def _head_is_there(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None
            del self._guard.waiting[self]

    def give_up(self) -> None:
        """Wait for headers, or for another request, no longer."""
        self._unset_keepalive_if_required()
        if self._barren:
            self._end(b"408 Request Timeout", "head_timeout", "the headers were not complete in time")
        else:  # it never began: there is nothing to answer
            self._head_is_there()
            (self.transport.abort if self.flow is None else self.transport.close)()  # a handshake would be waited for

    def _end(self, status: bytes, error_type: str, message: str, *headers: Header) -> None:
        """Say why, after the answers that are due, and close. Nothing is read any more."""
        self._guard.counted.ended[error_type] += 1
        if self.flow is None:  # a handshake is under way: words would not be understood
            self._head_is_there()
            self.transport.abort()
            return
        body = orjson.dumps({"error": message, "error_type": error_type})
        length = str(len(body)).encode()
        head = b"\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: "
        further = b"".join(b"\r\n" + name + b": " + value for name, value in headers)
        self._head_is_there()
        self._last = last = b"HTTP/1.1 " + status + head + length + further + b"\r\n\r\n" + body
        if self._rests():
            self._close(last)
        elif self.cycle.more_body:  # it broke off in the middle of this one, which gets the word for an answer
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            if not self.pipeline:  # no other is before it
                self._close(b"" if self.cycle.response_started else last)

    def _close(self, last: bytes) -> None:
        if last:
            self.transport.write(last)
        self.transport.close()
