"""One worker of ``ftdeploy serve``: the application under uvicorn, on sockets that were bound before it began.

It takes connections only once it can answer; until then they wait in the backlog of the sockets, which the supervisor
holds open. It says every second that it is well, and ends by itself when nobody listens to that any more.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import signal
import socket
import time
from collections.abc import Awaitable, Sequence
from typing import TYPE_CHECKING, Any

import uvicorn

from ftdeploy.serve.channel import Channel, failed
from ftdeploy.serve.listen import BACKLOG, hold_back
from ftdeploy.serve.protocol import Early, guarded
from ftdeploy.serve.shadow_feed import Feed, read_share

if TYPE_CHECKING:
    from ftdeploy.serve.app import App
    from ftdeploy.serve.limits import Limits
    from ftdeploy.serve.metrics import Connections
    from ftdeploy.serve.tls import Tls
    from ftdeploy.serve.totals import Totals
    from ftdeploy.serve.wire import Receive, Scope, Send

log = logging.getLogger(__name__)

#: Times that the event loop listens on each socket. It takes one connection for each in a turn. Under overload turns
#: are long: of 1,500 clients that came at once, hundreds were not heard for fifteen seconds, and health with them.
DOORS = 16
#: Seconds between two signs of life.
BEAT = 1.0
#: A connection that is not used for so long is closed, in seconds.
KEEP_ALIVE = 5
#: What a connection that was taken just before the end has to send its first request in, in seconds.
GRACE = 1.0
#: For the last step of a handshake that had begun when no more connections were let in, in seconds.
HANDSHAKE = 0.1


def server_config(app: Any, limits: Limits, connections: Connections | None = None,
                  tls: Tls | None = None, early: Early = lambda _scope: None) -> uvicorn.Config:  # fmt: skip
    """uvicorn's settings: the one place where they are made.

    Args:
        app: an ASGI application that knows ``lifespan``.
        limits: what a connection may do.
        connections: counts them.
        tls: what they speak; None is plain HTTP.
        early: the answer to a request that is refused before anything is done for it (`App.refuse_early`), or None.
    """
    return uvicorn.Config(
        app,
        interface="asgi3",
        loop="uvloop",
        http=guarded(limits, connections, tls, early),  # type: ignore[arg-type]  # a class does as well as the name of one
        ws="none",
        lifespan="on",
        backlog=BACKLOG,
        log_config=None,
        access_log=False,
        server_header=False,  # no name and version to look up faults by
        proxy_headers=False,  # nobody asks for the client's address, and looking for it costs every request
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=math.ceil(leave_seconds(limits)),
    )


def leave_seconds(limits: Limits) -> float:
    """How long a worker that shall end waits for its clients at most."""
    return KEEP_ALIVE + limits.body_seconds + limits.timeout_seconds


class Worker:
    """The application, its server, and what it says to the process that forked it.

    Args:
        app: its model may be open already.
        channel: to that process.
        totals: where its metrics are left for the other workers.
        tls: what its connections speak; None is plain HTTP.
    """

    def __init__(self, app: App, channel: Channel, totals: Totals, tls: Tls | None = None) -> None:
        self._app = app
        self._channel = channel
        self._totals = totals
        self._tls = tls
        self._refreshing: asyncio.Future[None] | None = None
        limits, connections = app.engine.limits, app.metrics.connections
        self._server = uvicorn.Server(server_config(self._front, limits, connections, tls, app.refuse_early))
        self._sockets: list[socket.socket] = []  # of our own: uvicorn closes those that it is given
        self._leaving: asyncio.Task[None] | None = None
        app.of_all = totals.of_all
        app.engine.feed = self._feed = Feed(totals.folder, app.engine.digest, read_share())

    def run(self, sockets: Sequence[socket.socket]) -> None:
        """Serve until told to end."""
        self._sockets = [one.dup() for one in sockets]
        for one in self._sockets:
            one.setblocking(False)
        self._server.run([door for one in sockets for door in (one, *(one.dup() for _ in range(DOORS - 1)))])

    def _front(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        return self._live(receive, send) if scope["type"] == "lifespan" else self._app(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        """The lifespan of ASGI: uvicorn takes connections between its start and its end."""
        app, loop = self._app, asyncio.get_running_loop()
        await receive()
        loop.add_reader(self._channel.fileno(), self._hear)
        await app.start()
        await app.engine.loaded()
        if app.engine.error is not None:
            self._channel.send(failed(app.engine.error))
        if app.engine.failure is not None:
            await send({"type": "lifespan.startup.failed", "message": app.engine.failure})
            return
        if self._tls is not None:
            self._tls.refresh()  # it was read before the fork, which may be long ago
        loop.add_signal_handler(signal.SIGTERM, self._leave, "retire")  # of a human: the supervisor sends none
        await send({"type": "lifespan.startup.complete"})
        self._beat()
        self._channel.send({"ready": {"provider": app.engine.provider}})
        await receive()
        await app.stop()
        self._totals.publish(app.snapshot())
        await send({"type": "lifespan.shutdown.complete"})

    def _beat(self) -> None:
        """Say that all is well, unless a forward pass hangs."""
        if not self._app.engine.stuck():
            self._channel.send({"beat": 1})
        self._totals.publish(self._app.snapshot())
        self._feed.look()
        loop = asyncio.get_running_loop()
        if self._tls is not None and (self._refreshing is None or self._refreshing.done()):
            self._refreshing = loop.run_in_executor(None, self._tls.refresh)  # a disk that hangs holds up nobody
        loop.call_later(BEAT, self._beat)

    def _hear(self) -> None:
        messages, there = self._channel.receive()
        if not there:
            asyncio.get_running_loop().remove_reader(self._channel.fileno())
            messages.append({"do": "retire"})  # another zygote takes over
        for message in messages:
            if "do" in message:
                self._leave(message["do"])

    def _leave(self, how: str) -> None:
        if not self._server.started:
            os._exit(0)  # it has taken no connection yet
        if self._leaving is None or how == "end":
            self._leaving = asyncio.create_task(self._go(ends=how == "end"))

    async def _go(self, *, ends: bool) -> None:
        """Answer those who are there, and end.

        When the service ends, health says so, connections are taken for another ``drain_seconds``, and those that rest
        are closed. When others have taken over, no more is taken, and a connection that rests may ask once more until
        its time is over, as it might have otherwise. What is a stream by then, and would go on, is ended early enough
        for its last answers.
        """
        app, server, limits = self._app, self._server, self._app.engine.limits
        app.closing = True
        log.info("%s: %d requests in flight", "ending" if ends else "retiring", app.in_flight)
        if ends:
            app.engine.draining = True
            await asyncio.sleep(limits.drain_seconds)
            app.engine.ending = True
            for ours in self._sockets:
                hold_back(ours)
            await asyncio.sleep(HANDSHAKE)
        for listening in server.servers:
            listening.close()
        if ends:
            await self._take_the_rest()
        began = time.monotonic()
        busy = True
        while busy and time.monotonic() - began < leave_seconds(limits):
            await asyncio.sleep(0.02)  # at first, for connections that were taken in this moment
            connections = server.server_state.connections
            if ends:
                fresh = time.monotonic() - began < GRACE and any(
                    getattr(one, "cycle", None) is None for one in connections
                )
                busy = app.in_flight > 0 or fresh
            else:
                busy = bool(connections)
                app.engine.ending = app.engine.ending or time.monotonic() - began > KEEP_ALIVE + limits.body_seconds
        server.should_exit = True

    async def _take_the_rest(self) -> None:
        """Take the connections that wait for it already: whoever closes the port last would reset them."""
        config, server, loop = self._server.config, self._server, asyncio.get_running_loop()

        def protocol() -> Any:
            state = server.lifespan.state
            return config.http_protocol_class(config=config, server_state=server.server_state, app_state=state)  # type: ignore[call-arg]  # as uvicorn calls it

        for listening in self._sockets:
            with listening:
                while True:
                    try:
                        connection, _ = listening.accept()
                    except OSError:
                        break
                    await loop.connect_accepted_socket(protocol, connection)
