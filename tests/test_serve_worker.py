"""One worker of the service: what uvicorn is told, and what the worker tells."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from hammer import ask
from tiny import write_source

from ftdeploy.serve.app import create_app
from ftdeploy.serve.channel import Channel
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


_WORKER = """
import socket, sys
from pathlib import Path
from ftdeploy.serve.app import create_app
from ftdeploy.serve.channel import Channel
from ftdeploy.serve.totals import Totals
from ftdeploy.serve.worker import Worker

folder, listening, channel = Path(sys.argv[1]), *map(int, sys.argv[2:])
worker = Worker(create_app(folder / "src"), Channel(socket.socket(fileno=channel)), Totals(folder, "1-1"))
worker.run([socket.socket(fileno=listening)])
"""


def test_a_worker_takes_connections_once_it_can_answer_and_ends_with_who_listens_to_it(tmp_path: Path) -> None:
    """A question that waits in the queue of the port while the model is loaded is answered with 200. The worker says
    that it lives and is ready, leaves its metrics, and ends well when nobody is there any more to hear that."""
    write_source(tmp_path / "src")
    ours, theirs = socket.socketpair()
    heard = Channel(ours)
    with socket.create_server(("127.0.0.1", 0)) as listening, ThreadPoolExecutor(1) as client:
        asked = client.submit(ask, listening.getsockname()[1])
        given = [str(listening.fileno()), str(theirs.fileno())]
        with subprocess.Popen(
            [sys.executable, "-c", _WORKER, str(tmp_path), *given],
            pass_fds=[listening.fileno(), theirs.fileno()],
            env=os.environ | {"FTDEPLOY_TRAFFIC": "off"},
        ) as worker:
            theirs.close()
            assert asked.result()[0] == 200
            messages: list[dict[str, Any]] = []
            while len(messages) < 3:
                time.sleep(0.05)
                messages += heard.receive()[0]
            heard.close()
            assert worker.wait() == 0
    assert messages[:3] == [{"beat": 1}, {"ready": {"provider": "CPUExecutionProvider"}}, {"beat": 1}]
    counted = json.loads((tmp_path / "1-1.json").read_bytes())
    assert counted['ftdeploy_requests_total{route="/predict",status="200"}'] == 1


_BUSY = """
import asyncio, signal, time

start = app.start

def block():
    print("blocked", flush=True)
    time.sleep(2)
    count(8)

def count(turns):
    if turns:
        asyncio.get_running_loop().call_soon(count, turns - 1)
    else:
        print(len(worker._server.server_state.connections), flush=True)

async def started():
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, block)
    await start()

app.start = started
"""


def test_a_burst_of_connections_is_taken_in_a_few_turns_of_the_loop(tmp_path: Path) -> None:
    """Under overload a turn takes long, and whoever is not taken yet is not answered at all, not even about health."""
    write_source(tmp_path / "src")
    ours, theirs = socket.socketpair()
    made, run = _WORKER.replace('Worker(create_app(folder / "src")', 'Worker(app := create_app(folder / "src")').rsplit(
        "worker.run", 1
    )
    with socket.create_server(("127.0.0.1", 0), backlog=200) as listening, ExitStack() as clients:
        port = listening.getsockname()[1]
        given = [str(listening.fileno()), str(theirs.fileno())]
        with subprocess.Popen(
            [sys.executable, "-c", f"{made}{_BUSY}\nworker.run{run}", str(tmp_path), *given],
            pass_fds=[listening.fileno(), theirs.fileno()],
            env=os.environ | {"FTDEPLOY_TRAFFIC": "off"},
            stdout=subprocess.PIPE,
            text=True,
        ) as worker:
            clients.callback(ours.close)
            theirs.close()
            try:
                assert worker.stdout is not None
                assert ask(port)[0] == 200
                worker.send_signal(signal.SIGUSR1)
                assert worker.stdout.readline() == "blocked\n"
                for _ in range(100):
                    clients.enter_context(socket.create_connection(("127.0.0.1", port)))
                assert int(worker.stdout.readline()) >= 100
            finally:
                clients.close()  # nobody listens to the worker any more, so that it ends
