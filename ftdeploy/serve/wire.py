"""HTTP over bare ASGI: reading a body within its limits, sending an answer, refusing in JSON."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import orjson

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Header = tuple[bytes, bytes]

#: How much of a refused body is read and thrown away, so that a client that first sends and then reads gets its answer.
LINGER_BYTES = 64_000_000
LINGER_SECONDS = 5.0

#: For what may well be over in a moment.
RETRY_SOON: Header = (b"retry-after", b"1")
#: With every answer: it is what it says it is, and pages of other origins cannot embed it.
_ALWAYS: tuple[Header, ...] = (
    (b"x-content-type-options", b"nosniff"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
_NO_CONTENT = 204
#: What our own HTTP protocol lays into a scope (`ftdeploy.serve.cycle`): the body, where all of it is there already...
WHOLE_BODY = "ftdeploy.body"
#: ...and a function of status, headers and body that sends an answer at once, or gives False and has sent nothing.
REPLY = "ftdeploy.reply"


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer: status, body, further headers; with ``write``, a body in pieces, each sent by what it is given."""

    body: bytes
    status: int = 200
    content_type: bytes = b"application/json"
    headers: tuple[Header, ...] = ()
    write: Callable[[Callable[[bytes], Awaitable[None]]], Awaitable[None]] | None = None

    def with_headers(self, *further: Header) -> Reply:
        """The same answer with more headers."""
        # By hand: `dataclasses.replace` takes four times as long, for every answer.
        return Reply(self.body, self.status, self.content_type, (*self.headers, *further), self.write)


class Refusal(Exception):  # noqa: N818  # an answer, not a fault
    """A request that is answered with an error, as ``{"error", "error_type"}``.

    Args:
        status: HTTP status, 4xx or 503.
        error_type: a word for programs.
        message: a sentence for people.
        headers: such as Retry-After or Allow.
        unread: the body was not read to its end.
        shed: which limit it met (one of `metrics.SHED`), where the reason is that too much is in hand.
    """

    def __init__(self, status: int, error_type: str, message: str, *, headers: tuple[Header, ...] = (),
                 unread: bool = False, shed: str = "") -> None:  # fmt: skip
        super().__init__(message)
        self.status = status
        self.error_type = error_type
        self.message = message
        self.headers = headers
        self.unread = unread
        self.shed = shed

    def reply(self) -> Reply:
        """The refusal as an answer."""
        body = orjson.dumps({"error": self.message, "error_type": self.error_type})
        return Reply(body, status=self.status, headers=self.headers)


class GoneError(Exception):
    """The client went away before its body was complete; nobody is there to answer."""


def header(scope: Scope, name: bytes) -> bytes | None:
    """The first header of that name (lower case), or None."""
    for key, value in scope["headers"]:
        if key == name:
            return bytes(value)
    return None


def media_type(scope: Scope) -> tuple[str, Mapping[str, str]]:
    """The body's media type and its parameters, all in lower case; empty where nothing is said."""
    kind, *rest = (header(scope, b"content-type") or b"").decode("latin-1").lower().split(";")
    pairs = (part.partition("=") for part in rest)
    return kind.strip(), {name.strip(): value.strip().strip('"') for name, _, value in pairs}


def has_body(scope: Scope) -> bool:
    """Whether the request says that it brings a body."""
    return header(scope, b"content-length") not in (None, b"0") or header(scope, b"transfer-encoding") is not None


async def read_body(scope: Scope, receive: Receive, *, most: int, seconds: float,
                    grown: Callable[[int], None] = lambda _size: None) -> bytes | bytearray:  # fmt: skip
    """The whole body, never holding more than ``most`` bytes of it.

    Args:
        scope: of the request.
        receive: of the request.
        most: bytes that are accepted.
        seconds: in which it has to be complete.
        grown: told the bytes held after each piece; may raise a Refusal.

    Raises:
        Refusal: 413 larger than ``most``; 408 not complete after ``seconds``; 415 compressed.
        GoneError: the client went away.
    """
    encoding = header(scope, b"content-encoding")
    if encoding is not None and encoding.lower() != b"identity":
        raise Refusal(415, "validation", "compressed bodies are not accepted; send plain JSON", unread=True)
    stated = header(scope, b"content-length")
    if stated is not None and stated.isdigit() and int(stated[:20]) > most:
        raise _too_large(most)
    whole = scope.get(WHOLE_BODY)
    if whole is not None:
        _hold(len(whole), most, grown, more=False)
        return bytes(whole)
    held = bytearray()  # and no list of pieces: pieces of one byte would hold many times what they bring
    try:
        async with asyncio.timeout(seconds):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise GoneError
                part = message.get("body", b"")
                more = message.get("more_body", False)
                _hold(len(held) + len(part), most, grown, more=more)
                if not more:
                    return held + part if held else bytes(part)
                held += part
    except TimeoutError:
        closing: tuple[Header, ...] = ((b"connection", b"close"),)
        message_text = f"the body was not complete after {seconds:g} seconds"
        raise Refusal(408, "body_timeout", message_text, headers=closing) from None


def _hold(size: int, most: int, grown: Callable[[int], None], *, more: bool) -> None:
    """So many bytes of a body are there; raises a Refusal where they are too many."""
    try:
        if size > most:
            raise _too_large(most)
        grown(size)
    except Refusal as refusal:
        refusal.unread = more  # behind the last piece nothing comes that could be waited for
        raise


def _too_large(most: int) -> Refusal:
    return Refusal(413, "too_large", f"the body is larger than {most} bytes", unread=True)


def whole_headers(reply: Reply) -> list[Header]:
    """The headers of an answer that is sent whole, lower case."""
    headers = [*_ALWAYS, *reply.headers]
    if reply.status != _NO_CONTENT:  # which has neither (RFC 9110, 8.6)
        headers[:0] = (b"content-type", reply.content_type), (b"content-length", str(len(reply.body)).encode())
    return headers


async def send_reply(send: Send, reply: Reply, *, scope: Scope | None = None, more: bool = False) -> None:
    """Send an answer.

    Args:
        send: of the request.
        reply: what to send.
        scope: of the request, which may hold a shorter way.
        more: the last (empty) piece of the body is left to the caller.
    """
    if reply.write is not None:
        headers = [(b"content-type", reply.content_type), *_ALWAYS, *reply.headers]
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        await reply.write(lambda piece: send({"type": "http.response.body", "body": piece, "more_body": True}))
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        return
    headers = whole_headers(reply)
    at_once = scope.get(REPLY) if scope is not None else None
    if at_once is not None and at_once(reply.status, headers, reply.body):
        return
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body, "more_body": more})


async def linger(receive: Receive) -> None:
    """Read on a while, and throw away what comes."""
    left = LINGER_BYTES
    with suppress(TimeoutError):
        async with asyncio.timeout(LINGER_SECONDS):
            while left > 0:
                message = await receive()
                left -= len(message.get("body", b""))
                if message["type"] == "http.disconnect" or not message.get("more_body", False):
                    break


async def send_early(scope: Scope, receive: Receive, send: Send, reply: Reply) -> None:
    """Answer while the client is still sending, then read on a while and close.

    Closing at once would reset the connection, and the client would see that instead of its answer.
    """
    closing = reply.with_headers((b"connection", b"close"))
    if header(scope, b"expect") is not None:  # it waits for a go-ahead, which it does not get
        await send_reply(send, closing)
        return
    await send_reply(send, closing, more=True)
    await linger(receive)
    await send({"type": "http.response.body", "body": b"", "more_body": False})
