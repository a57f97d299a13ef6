"""What answers a path: one handler for each method, and what is said where there is none."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from ftdeploy.serve.wire import Receive, Refusal, Reply, Scope, Send

Handler = Callable[[Scope, Receive], Awaitable[Reply]]
Handlers = Mapping[str, Handler]


def get(handler: Handler) -> Handlers:
    """A handler for GET, and for HEAD, which is answered without the body."""
    return {"GET": handler, "HEAD": handler}


def always(reply: Reply) -> Handler:
    """A handler that gives the same answer every time."""

    async def answer(scope: Scope, receive: Receive) -> Reply:  # noqa: ARG001  # handlers share one signature
        return reply

    return answer


async def not_http(scope: Scope, send: Send) -> None:
    """Turn away what is no request: only WebSocket has an answer."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})


async def unknown_path(scope: Scope, receive: Receive) -> Reply:  # noqa: ARG001  # handlers share one signature
    """404."""
    raise Refusal(404, "not_found", "nothing is served at this path; /docs.json lists what is", unread=True)


def wrong_method(handlers: Handlers) -> Handler:
    """405, with the methods that there are."""
    allowed = ", ".join(sorted(handlers))

    async def answer(scope: Scope, receive: Receive) -> Reply:  # noqa: ARG001  # handlers share one signature
        message = f"this path answers to {allowed}"
        raise Refusal(405, "method_not_allowed", message, headers=((b"allow", allowed.encode()),), unread=True)

    return answer
