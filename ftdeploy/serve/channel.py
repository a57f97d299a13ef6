"""How the processes of ``ftdeploy serve`` talk to each other: JSON lines over a pair of sockets.

A bundle's zygote may be of another version of ftdeploy than the supervisor that started it, so the words are few and
stay, and what is not known is passed over:

- to zygotes and workers ``{"do": "end"}`` (the service ends) and ``{"do": "retire"}`` (others have taken over);
- from them ``{"ready": {...}}``, ``{"beat": 1}``, and ``{"failed": {"exit_code", "what", "cause", "fix"}}``.

The other side is gone when the socket says so; no signal and no process id is needed for that.
"""

from __future__ import annotations

import json
import socket
from typing import Any

from ftdeploy.errors import EXIT_CODES, FtdeployError, ServeError

_PIECE = 65_536


class Channel:
    """One end of a pair."""

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self._end = end
        self._left = b""

    def fileno(self) -> int:
        """For selectors."""
        return self._end.fileno()

    def send(self, message: dict[str, Any]) -> None:
        """Say something. Who does not listen any more is not told; `receive` says that it is gone."""
        try:
            self._end.send(json.dumps(message).encode() + b"\n")
        except (BlockingIOError, BrokenPipeError, ConnectionResetError):
            return

    def receive(self) -> tuple[list[dict[str, Any]], bool]:
        """What was said since the last time, and whether the other side is still there."""
        there = True
        try:
            while piece := self._end.recv(_PIECE):
                self._left += piece
            there = False
        except BlockingIOError:
            pass
        except ConnectionResetError:
            there = False
        *lines, self._left = self._left.split(b"\n")
        return [json.loads(line) for line in lines], there

    def close(self) -> None:
        """Say and hear nothing more."""
        self._end.close()


def failed(error: FtdeployError) -> dict[str, Any]:
    """The message that something went wrong, with its three parts."""
    return {"failed": {"exit_code": error.exit_code, "what": error.what, "cause": error.cause, "fix": error.fix}}


def error_of(said: dict[str, Any]) -> FtdeployError:
    """The error that a ``failed`` message tells of."""
    kind = EXIT_CODES.get(said["exit_code"], ServeError)
    return kind(said["what"], cause=said["cause"], fix=said["fix"])
