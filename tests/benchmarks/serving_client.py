"""A load client of its own process, as cheap as Python allows: prebuilt requests, a protocol of a few lines, uvloop.

Usage: ``python tests/benchmarks/serving_client.py < SPEC``, a `Spec` as JSON; a `Seen` comes back as JSON. In an open
loop requests leave at times that were drawn before (a Poisson process), whether or not answers have come, and an
answer's latency counts from the time at which its request was meant to leave: a service that stalls cannot make the
client stop asking, and what waits in the client is not forgotten ("How NOT to Measure Latency", Gil Tene; wrk2). With a
rate of zero the loop is closed: each connection asks again when it is answered. It asks for short turns on the
processors that it shares with the service, as one on another machine would have them.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import sys
import time
from array import array
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

#: Above this share of a processor the figures are the client's as much as the service's.
BUSY = 0.8


@dataclass(frozen=True, kw_only=True)
class Spec:
    """What to do.

    Attributes:
        port: of the service, on this machine.
        path: asked by POST.
        bodies: a file with a body in each line; taken in an order that the seed decides.
        rate: requests a second; 0 closes the loop.
        seconds: for how long requests leave.
        connections: at the same time; in an open loop at most so many, opened when they are needed.
        seed: of order and times.
        warmup: seconds whose requests are sent but not counted.
    """

    port: int
    path: str
    bodies: str
    rate: float = 0.0
    seconds: float = 10.0
    connections: int = 64
    seed: int = 0
    warmup: float = 0.0


@dataclass
class Seen:
    """What came of it.

    Attributes:
        statuses: status -> answers; ``lost`` are requests whose connection ended without one.
        latencies: quantile -> seconds, of answers with 200.
        refused: the same, of answers with 429 and 503.
        seconds: from the first counted request to the last answer with 200.
        offered: requests that were to leave, a second.
        cpu: share of one processor that the client used.
        lag: by how many seconds the latest hundredth of the requests left too late.
    """

    statuses: dict[str, int] = field(default_factory=dict)
    latencies: dict[str, float] = field(default_factory=dict)
    refused: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    offered: float = 0.0
    cpu: float = 0.0
    lag: float = 0.0

    @property
    def good(self) -> float:
        """Answers with 200, a second."""
        return self.statuses.get("200", 0) / self.seconds if self.seconds else 0.0

    def total(self) -> int:
        """Requests."""
        return sum(self.statuses.values())


class Connection(asyncio.Protocol):
    """Keep-alive, one request at a time."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._received = b""
        self._meant: float | None = None
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It can be used."""
        self.transport = transport  # type: ignore[assignment]  # of TCP
        self._client.rests(self)

    def ask(self, request: bytes, meant: float) -> None:
        """Send a request that was meant to leave at that time."""
        self._meant = meant
        assert self.transport is not None
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        """A status and as many bytes as content-length says are an answer."""
        received = self._received + data if self._received else data
        end = received.find(b"\r\n\r\n")
        if end > 0:
            head = received[:end].lower()
            at = head.find(b"content-length:") + 15
            length = int(head[at : head.find(b"\r", at) if b"\r" in head[at:] else end])
            if len(received) >= end + 4 + length:
                self._received = b""
                meant, self._meant = self._meant, None
                assert meant is not None
                self._client.answered(int(received[9:12]), meant)
                if b"connection: close" in head:
                    assert self.transport is not None
                    self.transport.close()
                else:
                    self._client.rests(self)
                return
        self._received = received

    def connection_lost(self, _error: Exception | None) -> None:
        """Without an answer the request is lost."""
        self._client.gone(self, self._meant)


class Client:
    """All connections of this process."""

    def __init__(self, spec: Spec, requests: Sequence[bytes]) -> None:
        self._spec = spec
        self._requests = itertools.cycle(requests)
        self._loop = asyncio.get_running_loop()
        self._resting: deque[Connection] = deque()
        self._waiting: deque[float] = deque()
        self._open = 0
        self._ends = self._counts = self._last = 0.0
        self._statuses: Counter[str] = Counter()
        self._good, self._shed, self._lags = array("d"), array("d"), array("d")
        self._left = 0

    async def run(self) -> Seen:
        """Ask for the time, wait for the answers that are due, and say what was seen."""
        spec = self._spec
        began = time.perf_counter()
        self._counts, self._ends = began + spec.warmup, began + spec.warmup + spec.seconds
        self._last = self._counts
        cpu = time.process_time()
        if spec.rate:
            await self._open_loop(began)
        else:
            for _ in range(spec.connections):
                self._connect()
            await asyncio.sleep(spec.warmup + spec.seconds)
        used = (time.process_time() - cpu) / (time.perf_counter() - began)
        patience = time.perf_counter() + 60
        while self._left and time.perf_counter() < patience:  # noqa: ASYNC110  # an event would cost each answer
            await asyncio.sleep(0.01)
        self._statuses["lost"] += self._left
        offered = self._statuses.total() / spec.seconds
        lag = _quantile(self._lags, 0.99)
        return Seen(dict(self._statuses), _quantiles(self._good), _quantiles(self._shed), self._last - self._counts,
                    offered, used, lag)  # fmt: skip

    async def _open_loop(self, began: float) -> None:
        draw = random.Random(self._spec.seed)  # noqa: S311  # test data
        for _ in range(min(8, self._spec.connections)):
            self._connect()
        meant = began
        while True:
            meant += draw.expovariate(self._spec.rate)
            if meant >= self._ends:
                return
            wait = meant - time.perf_counter()
            if wait > 0:
                await asyncio.sleep(wait)
            self._left += 1
            if self._resting:
                self._ask(self._resting.popleft(), meant)
            else:
                self._waiting.append(meant)
                if self._open < self._spec.connections:
                    self._connect()

    def _connect(self) -> None:
        self._open += 1
        made = self._loop.create_connection(lambda: Connection(self), "127.0.0.1", self._spec.port)
        task = asyncio.ensure_future(made)
        task.add_done_callback(self._connected)

    def _connected(self, task: asyncio.Task[tuple[asyncio.Transport, Connection]]) -> None:
        if task.exception() is not None:
            self._open -= 1
            self._statuses["unreachable"] += 1
            if self._waiting:
                self._waiting.popleft()
                self._left -= 1

    def _ask(self, connection: Connection, meant: float) -> None:
        self._lags.append(time.perf_counter() - meant)
        connection.ask(next(self._requests), meant)

    def rests(self, connection: Connection) -> None:
        """It is free for another request."""
        if self._waiting:
            self._ask(connection, self._waiting.popleft())
        elif self._spec.rate:
            self._resting.append(connection)
        elif (now := time.perf_counter()) < self._ends:
            self._left += 1
            self._ask(connection, now)

    def answered(self, status: int, meant: float) -> None:
        """An answer is there."""
        now = time.perf_counter()
        self._left -= 1
        if meant < self._counts:
            return
        self._statuses[str(status)] += 1
        if status == 200:
            self._good.append(now - meant)
            self._last = now
        elif status in (429, 503):
            self._shed.append(now - meant)

    def gone(self, connection: Connection, meant: float | None) -> None:
        """It is closed, perhaps in the middle of a request."""
        self._open -= 1
        if connection in self._resting:
            self._resting.remove(connection)
        if meant is not None:
            self._left -= 1
            self._statuses["lost"] += meant >= self._counts
        if (self._waiting or not self._spec.rate) and time.perf_counter() < self._ends:
            self._connect()


def _quantile(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))] if values else 0.0


def _quantiles(values: Sequence[float]) -> dict[str, float]:
    ordered = sorted(values)
    shares = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "max": 1.0}
    return {name: _quantile(ordered, share) for name, share in shares.items()} if ordered else {}


def requests_of(spec: Spec) -> list[bytes]:
    """The requests, whole, in the order in which they are sent."""
    bodies = Path(spec.bodies).read_bytes().splitlines()
    random.Random(spec.seed).shuffle(bodies)  # noqa: S311  # test data
    head = b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    return [head % (spec.path.encode(), len(body)) + body for body in bodies]


async def _main(spec: Spec) -> Seen:
    return await Client(spec, requests_of(spec)).run()


if __name__ == "__main__":
    import uvloop

    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    from ftdeploy.serve.turns import ask_for_short_turns

    ask_for_short_turns()
    sys.stdout.write(json.dumps(asdict(uvloop.run(_main(Spec(**json.load(sys.stdin)))))) + "\n")
