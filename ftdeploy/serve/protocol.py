"""uvicorn's HTTP protocol with an end to its patience: what no application can do, because it is not asked yet.

uvicorn waits for ever for the headers of a request, takes any amount of them, and waits for ever for a client to read
its answer. Here a connection has ``seconds`` for the headers of a request and `HEAD_BYTES` for them, an answer has
`STALLED_SECONDS` to be read on, and there is a most of connections: one too many ends the one that has waited longest
for its headers, or is refused where none does.
"""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import orjson
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from ftdeploy.serve.cycle import shorten
from ftdeploy.serve.limits import Limits
from ftdeploy.serve.metrics import Connections

#: Most bytes that come without completing headers or being body: request line, headers, trailers, chunk extensions.
HEAD_BYTES = 65_536
#: An answer of which nothing was read for so long is given up, in seconds.
STALLED_SECONDS = 60.0
#: Connections for each request that may be in flight: most of those that are kept alive are idle.
CONNECTIONS_A_REQUEST = 4
#: Files that the process opens beside its connections.
FILES = 100


@dataclass(frozen=True, kw_only=True)
class Guard:
    """What the connections of one process share.

    Attributes:
        seconds: for the headers of a request.
        connections: most at the same time.
        counted: how many connections there are, for the metrics.
        waiting: connections whose headers are awaited, oldest first.
    """

    seconds: float
    connections: int
    counted: Connections
    waiting: dict[GuardedProtocol, None] = field(default_factory=dict)


def guarded(limits: Limits, counted: Connections | None = None) -> Callable[..., GuardedProtocol]:
    """What uvicorn calls for each new connection.

    Args:
        limits: of the service.
        counted: where connections are counted (`Metrics.connections`).
    """
    counted = counted or Connections()
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = limits.max_requests * CONNECTIONS_A_REQUEST
    if files != resource.RLIM_INFINITY:
        most = max(1, min(most, files - FILES))
    counted.limit = most
    return partial(GuardedProtocol, guard=Guard(seconds=limits.body_seconds, connections=most, counted=counted))


class GuardedProtocol(HttpToolsProtocol):
    """One connection."""

    def __init__(self, *args: Any, guard: Guard, **options: Any) -> None:
        super().__init__(*args, **options)
        self._guard = guard
        self._late: asyncio.TimerHandle | None = None
        self._stalled: asyncio.TimerHandle | None = None
        self._barren = 0  # bytes since the last headers or piece of a body were complete
        self._reading = False
        self._begun: tuple[RequestResponseCycle, Any] | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """A client is there: from now on its headers are awaited."""
        super().connection_made(transport)
        guard = self._guard
        guard.counted.open += 1
        if len(self.connections) > guard.connections:
            guard.counted.refused += 1
            if not guard.waiting:
                self._end(b"503 Service Unavailable", "overloaded", "there are too many connections")
                return
            next(iter(guard.waiting)).give_up()
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone: nothing is awaited of it any more."""
        self._head_is_there()
        self.resume_writing()
        self._guard.counted.open -= 1
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bytes came; see afterwards whether they led anywhere."""
        self._barren += len(data)
        self._reading = True
        super().data_received(data)
        self._reading = False
        begun, self._begun = self._begun, None
        if begun is not None and not self.transport.is_closing():
            self._start_asgi_task(*begun)
        if self.transport.is_closing() or self not in self.connections:  # the latter: it speaks WebSocket now
            return
        if self._barren > HEAD_BYTES:
            message = f"request line and headers are larger than {HEAD_BYTES} bytes"
            self._end(b"431 Request Header Fields Too Large", "too_large", message)
        elif self._late is None and self._rests():
            self._await_head()

    def on_headers_complete(self) -> None:
        """A request can be answered."""
        self._barren = 0
        self._head_is_there()
        super().on_headers_complete()

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
        super().on_message_complete()

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

    def _rests(self) -> bool:
        """No request is being answered."""
        return self.cycle is None or self.cycle.response_complete

    def _await_head(self) -> None:
        self._guard.waiting[self] = None
        self._late = self.loop.call_later(self._guard.seconds, self.give_up)

    def _head_is_there(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None
            del self._guard.waiting[self]

    def give_up(self) -> None:
        """Wait for the headers no longer."""
        if self._barren:
            self._end(b"408 Request Timeout", "head_timeout", "the headers were not complete in time")
        else:  # it never began: there is nothing to answer
            self._head_is_there()
            self.transport.close()

    def _end(self, status: bytes, error_type: str, message: str) -> None:
        """Say why, and close."""
        self._guard.counted.ended[error_type] += 1
        self._head_is_there()
        if not self._rests():  # it would stand in the middle of an answer
            self.transport.abort()
            return
        body = orjson.dumps({"error": message, "error_type": error_type})
        length = str(len(body)).encode()
        head = b"\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: "
        self.transport.write(b"HTTP/1.1 " + status + head + length + b"\r\n\r\n" + body)
        self.transport.close()
