"""One worker of the service: what uvicorn is told."""

from __future__ import annotations

import socket
import threading
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from tiny import write_source

from ftdeploy.serve.app import create_app
from ftdeploy.serve.protocol import GuardedProtocol
from ftdeploy.serve.worker import server_config


def test_the_application_answers_under_uvicorn_with_our_protocol(tmp_path: Path) -> None:
    """One real request, on a socket that was bound before, over uvloop and the guarded protocol."""
    write_source(tmp_path / "src")
    app = create_app(tmp_path / "src")

    async def front(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
        else:
            found = {type(one) for one in server.server_state.connections}
            assert found == {GuardedProtocol}
            await app(scope, receive, send)

    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    server = uvicorn.Server(server_config(front, app.engine.limits))
    thread = threading.Thread(target=server.run, args=([listening],))
    thread.start()
    try:
        answer = httpx.get(f"http://127.0.0.1:{port}/livez")
    finally:
        server.should_exit = True
        thread.join()
    assert (answer.status_code, answer.json()["live"]) == (200, True)
