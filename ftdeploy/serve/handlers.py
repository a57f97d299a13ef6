"""Handlers that need nothing of the service: fixed answers, and refusals of what nobody answers."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping

from ftdeploy.serve.wire import Header, Receive, Refusal, Reply, Scope, Send

Handler = Callable[[Scope, Receive], Awaitable[Reply]]
Handlers = Mapping[str, Handler]
"""Method -> what answers it."""


def timing(began: float) -> Header:
    """How long the answer took here, which a client's clock does not tell from the way (W3C Server Timing)."""
    return b"server-timing", f"answer;dur={1000 * (time.perf_counter() - began):.2f}".encode()


def get(handler: Handler) -> Handlers:
    """The methods of what is only read."""
    return {"GET": handler, "HEAD": handler}


def always(reply: Reply) -> Handler:
    """The same answer to everybody."""

    async def answer(scope: Scope, receive: Receive) -> Reply:  # noqa: ARG001  # handlers share one signature
        return reply

    return answer


async def not_http(scope: Scope, send: Send) -> None:
    """Refuse what is neither HTTP nor the server's own."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})


async def unknown_path(scope: Scope, receive: Receive) -> Reply:  # noqa: ARG001  # handlers share one signature
    """Nothing is here."""
    raise Refusal(404, "not_found", "nothing is served at this path; /docs.json lists what is", unread=True)


def wrong_method(handlers: Handlers) -> Handler:
    """Something is here, for other methods."""
    allowed = ", ".join(sorted(handlers))

    async def answer(scope: Scope, receive: Receive) -> Reply:  # noqa: ARG001  # handlers share one signature
        message = f"this path answers to {allowed}"
        raise Refusal(405, "method_not_allowed", message, headers=((b"allow", allowed.encode()),), unread=True)

    return answer
