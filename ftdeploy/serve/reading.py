"""How bytes become requests, beside uvicorn's way: a few at a time, and without wishes that nobody fulfils."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import httptools
from uvicorn.protocols.http.flow_control import FlowControl

from ftdeploy.serve.wire import Header

#: So many requests of one packet are read before the first of them is answered; each takes some 3 KB while it waits.
PIPELINED = 16


class HeldFlow(FlowControl):
    """Reading stays paused while there is something to read already (``held``)."""

    held = False

    def resume_reading(self) -> None:
        """Go on reading, unless something is held."""
        if not self.held:
            super().resume_reading()


def few(data: bytes, start: int) -> int:
    """Where to stop so that at most `PIPELINED` requests begin between here and there: each has one line with HTTP/."""
    at = start
    for _ in range(PIPELINED):
        at = data.find(b"HTTP/", at) + 5
        if at < 5:  # noqa: PLR2004  # not found
            return len(data)
    return at


def wishless_head(scope: Mapping[str, Any], url: bytes, headers: Sequence[Header]) -> bytes:
    """The head of a request as it would be without its wish for another protocol."""
    line = [scope["method"].encode(), b" ", url, b" HTTP/", scope["http_version"].encode(), b"\r\n"]
    kept = [name + b": " + value + b"\r\n" for name, value in headers if name != b"upgrade"]
    return b"".join([*line, *kept, b"\r\n"])


def with_path(url: bytes) -> bytes:
    """What a request asks for, which may be an address whose path is left out: that is ``/`` (RFC 9112, 3.2.2)."""
    parsed = httptools.parse_url(url)
    if parsed.path is not None:
        return url
    return b"/" if parsed.query is None else b"/?" + parsed.query
