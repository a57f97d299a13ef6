"""An alert reaches a real program and a real server on the loopback, in bounded time, or the error says why not."""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from ftdeploy.serve.alert_hooks import HookError, hooks_of, post, run_command
from ftdeploy.serve.alert_options import AlertOptions

ALERT = {"event": "drift", "text": "It moved."}
#: Copies its standard input and its environment into files.
COPY = ("import json, os, sys; open(sys.argv[1], 'w').write(sys.stdin.read()); "
        "json.dump(dict(os.environ), open(sys.argv[2], 'w'))")  # fmt: skip


class Server(HTTPServer):
    """Remembers what was posted; answers with ``status``."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.posted: list[tuple[str, dict[str, str], Any]] = []
        self.status = 204

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.posted.append((self.path, {key.lower(): value for key, value in self.headers.items()}, body))
        self.send_response(self.server.status)
        self.send_header("location", "/elsewhere")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as made:
        thread = threading.Thread(target=made.serve_forever, args=(0.02,))
        thread.start()
        yield made
        made.shutdown()
        thread.join()


def run(command: tuple[str, ...], seconds: float = 20.0, stop: threading.Event | None = None) -> None:
    run_command(command, ALERT, seconds=seconds, stop=stop or threading.Event())


def test_a_command_gets_the_alert_and_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On standard input, as JSON; what else the service's environment holds is there, keys of the service are not."""
    monkeypatch.setenv("FTDEPLOY_TRAFFIC_KEY", "secret")
    monkeypatch.setenv("FTDEPLOY_ALERT_TOKEN", "secret")
    monkeypatch.setenv("TEAM", "red")
    run((sys.executable, "-c", COPY, str(tmp_path / "in"), str(tmp_path / "environment")))
    assert json.loads((tmp_path / "in").read_text()) == ALERT
    found = json.loads((tmp_path / "environment").read_text())
    assert found["TEAM"] == "red"
    assert "secret" not in found.values()


def test_a_command_that_fails_says_how() -> None:
    """Missing, or with another status than 0; one that does not read what it is told is no failure."""
    with pytest.raises(HookError, match="cannot be started: FileNotFoundError"):
        run(("no-such-program",))
    with pytest.raises(HookError, match="status 3"):
        run(("sh", "-c", "exit 3"))
    run(("true",))


def test_a_command_that_hangs_is_killed_with_what_it_started(tmp_path: Path) -> None:
    """Whether its time is over or the service ends."""
    child = tmp_path / "child"
    script = f"sleep 600 & echo $! > {child}.part; mv {child}.part {child}; wait"
    with pytest.raises(HookError, match=r"did not end within 0\.5 seconds"):
        run(("sh", "-c", script), seconds=0.5)
    number = int(child.read_text())
    while Path(f"/proc/{number}").exists() and "Z" not in Path(f"/proc/{number}/stat").read_text().split(")")[1][:3]:
        time.sleep(0.01)
    stop = threading.Event()
    stop.set()
    with pytest.raises(HookError, match="did not end"):
        run(("sleep", "600"), seconds=600, stop=stop)


def test_a_webhook_gets_the_alert(server: Server) -> None:
    """By POST, as JSON, with the key as a bearer's, at the path and query that were named."""
    post(f"{server.url}/hook?a=1", "key", ALERT, seconds=20)
    post(server.url, "", ALERT, seconds=20)
    (path, headers, body), (root, bare, _) = server.posted
    assert (path, root, body) == ("/hook?a=1", "/", ALERT)
    assert headers["content-type"] == "application/json"
    assert headers["authorization"] == "Bearer key"
    assert "authorization" not in bare


@pytest.mark.parametrize("status", [302, 403, 500])
def test_what_a_webhook_refuses_did_not_get_through(server: Server, status: int) -> None:
    """A redirect is not followed: it could lead the key anywhere. Neither URL nor key is in the error."""
    server.status = status
    with pytest.raises(HookError, match=f"answered {status}") as caught:
        post(f"{server.url}/s3cret", "s3cret", ALERT, seconds=20)
    assert "s3cret" not in str(caught.value)
    assert len(server.posted) == 1


def test_a_webhook_that_is_not_there_or_never_ends_is_given_up() -> None:
    """Also one that sends a byte now and then, which no timeout of a socket would end."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/s3cret"
        with pytest.raises(HookError, match="ConnectionRefusedError") as caught:
            post(url, "s3cret", ALERT, seconds=20)
        listening.listen()
        over = threading.Event()

        def drip() -> None:
            connection, _ = listening.accept()
            with connection:
                while not over.wait(0.02):
                    try:
                        connection.send(b"H")
                    except OSError:
                        return

        thread = threading.Thread(target=drip)
        thread.start()
        try:
            with pytest.raises(HookError, match="not reached"):
                post(url, "s3cret", ALERT, seconds=0.3)
        finally:
            over.set()
            thread.join()
    assert "s3cret" not in str(caught.value)


def test_hooks_are_those_that_are_wanted() -> None:
    """The log by itself; nothing where nothing is wanted."""
    stop = threading.Event()
    assert list(hooks_of(AlertOptions(), stop)) == ["log"]
    assert list(hooks_of(AlertOptions(log=False), stop)) == []
    everything = AlertOptions(command=("true",), webhook="http://127.0.0.1/")
    assert list(hooks_of(everything, stop)) == ["log", "command", "webhook"]
    assert os.environ.get("FTDEPLOY_ALERT_WEBHOOK") is None
