"""How an alert leaves the service: to a command, a webhook, the log. Each in bounded time, or by a `HookError`."""

from __future__ import annotations

import http.client
import logging
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import orjson

from ftdeploy.serve.alert_options import AlertOptions

log = logging.getLogger(__name__)

#: An alert as people and programs get it; see `ftdeploy.serve.alerts`.
Alert = Mapping[str, Any]
#: Takes an alert, and raises a `HookError`.
Hook = Callable[[Alert], None]

#: What a command is not told: keys of ours, and whatever else of that name.
_SECRET = ("FTDEPLOY_TRAFFIC_KEY", "FTDEPLOY_ALERT_", "FTDEPLOY_TOKEN", "FTDEPLOY_KEYS", "FTDEPLOY_TLS_")
_LOOK = 0.05
_FINE = range(200, 300)


class HookError(Exception):
    """An alert did not get through; the message quotes neither URL nor key, nor what was answered."""


def hooks_of(options: AlertOptions, stop: threading.Event) -> dict[str, Hook]:
    """The hooks that the options want, by name; the surest first.

    Args:
        options: whom to tell.
        stop: ends a command early.
    """
    found: dict[str, Hook] = {}
    if options.log:
        found["log"] = write_line
    if options.command:
        found["command"] = partial(run_command, options.command, seconds=options.timeout_seconds, stop=stop)
    if options.webhook:
        found["webhook"] = partial(post, options.webhook, options.token, seconds=options.timeout_seconds)
    return found


def write_line(alert: Alert) -> None:
    """A line of the log."""
    log.log(logging.WARNING if alert["event"] == "drift" else logging.INFO, "%s", alert["text"])


def run_command(command: tuple[str, ...], alert: Alert, *, seconds: float, stop: threading.Event) -> None:
    """Run a program with the alert on its standard input; its output is dropped, no shell reads its arguments.

    Args:
        command: program and arguments.
        alert: as JSON, a few hundred bytes, so that a pipe takes it whether it is read or not.
        seconds: after that its processes are killed.
        stop: the service ends; so does the program.

    Raises:
        HookError: it cannot be started, took too long, or ended with another status than 0.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith(_SECRET)}
    try:
        process = subprocess.Popen(  # noqa: S603  # whoever runs the service names it
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env=environment, start_new_session=True,
        )  # fmt: skip
    except (OSError, ValueError) as error:
        raise HookError(f"the command cannot be started: {_kind(error)}") from None
    deadline = time.monotonic() + seconds
    try:
        if process.stdin is not None:
            with suppress(OSError):  # it did not want to know
                process.stdin.write(orjson.dumps(alert))
                process.stdin.close()
        while process.poll() is None and time.monotonic() < deadline and not stop.is_set():
            time.sleep(_LOOK)
    finally:
        late = process.poll() is None
        with suppress(OSError):  # what it started goes with it
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    if late:
        raise HookError(f"the command did not end within {seconds:g} seconds")
    if process.returncode:
        raise HookError(f"the command ended with status {process.returncode}")


def post(url: str, token: str, alert: Alert, *, seconds: float) -> None:
    """POST the alert as JSON; redirects are not followed, proxies not asked.

    Args:
        url: of the webhook.
        token: bearer key; empty sends none.
        alert: what to say.
        seconds: for all of it, however slowly the other side goes on.

    Raises:
        HookError: it cannot be reached, did not answer in time, or with another status than 2xx.
    """
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=seconds)
    headers = {"content-type": "application/json", "user-agent": "ftdeploy", "connection": "close"}
    if token:
        headers["authorization"] = f"Bearer {token}"
    watchdog = threading.Timer(seconds, _cut, [connection])
    watchdog.daemon = True
    watchdog.start()
    try:
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request("POST", path, orjson.dumps(alert), headers)
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise HookError(f"the webhook was not reached: {_kind(error)}") from None
    finally:
        watchdog.cancel()
        connection.close()
    if status not in _FINE:
        raise HookError(f"the webhook answered {status}")


def _cut(connection: http.client.HTTPConnection) -> None:
    with suppress(OSError):
        if connection.sock is not None:
            connection.sock.shutdown(socket.SHUT_RDWR)


def _kind(error: Exception) -> str:
    number = error.errno if isinstance(error, OSError) else None
    return type(error).__name__ if number is None else f"{type(error).__name__} ({os.strerror(number)})"
