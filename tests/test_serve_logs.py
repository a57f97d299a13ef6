"""The log: a line is what it says it is, nobody waits for it, and nothing that a client sent gets into it."""

from __future__ import annotations

import base64
import contextlib
import json
import logging
import os
import socket
import struct
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from test_serve_service import free_port, running
from tiny import write_bundle, write_source

from ftdeploy.serve import logs
from ftdeploy.serve.log_options import LogOptions
from ftdeploy.serve.logs import Logs, told

ABOUT = {"bundle": "tiny", "digest": "0123456789ab"}


class Sink:
    """A pipe with a `Logs` at one end and a logger that writes to it and to nothing else."""

    def __init__(self, **options: Any) -> None:
        self.read, self.write = os.pipe()
        self.logs = Logs(LogOptions(**options), ABOUT, sink=self.write)
        self.logger = logging.Logger("ftdeploy.serve.test")  # noqa: LOG001  # one of its own, which no other test has
        self.logger.addHandler(self.logs)

    def lines(self) -> list[str]:
        """What was written since the last time; the writing end stays open."""
        self.logs.flush()
        os.set_blocking(self.read, False)
        try:
            return os.read(self.read, 1_000_000).decode().splitlines()
        except BlockingIOError:
            return []

    def close(self) -> None:
        """Let go of the pipe once all is written."""
        self.logs.flush()
        os.close(self.write)
        os.close(self.read)


@pytest.fixture
def sink() -> Iterator[Sink]:
    made = Sink()
    yield made
    made.close()


def failed(action: Callable[[], object]) -> BaseException:
    """The exception that something raises."""
    try:
        action()
    except BaseException as error:  # noqa: BLE001  # whatever it is
        return error
    raise AssertionError("it did not fail")


def test_a_line_is_json_with_time_level_logger_message_and_bundle(sink: Sink) -> None:
    """The time is RFC 3339 in UTC, and now. Where output is no terminal, JSON is the default."""
    sink.logger.warning("a pipe, %d lines", 3, extra={"request_id": "r1", "unknown": "field"})
    (line,) = map(json.loads, sink.lines())
    age = datetime.now(UTC) - datetime.fromisoformat(line.pop("time"))
    assert abs(age.total_seconds()) < 60
    assert line == {
        "level": "warning", "logger": "ftdeploy.serve.test", "message": "a pipe, 3 lines", **ABOUT, "pid": os.getpid(),
        "request_id": "r1",
    }  # fmt: skip


def test_a_terminal_gets_lines_for_people() -> None:
    """Over a pseudo-terminal; a line stays one line, whatever is in it."""
    read, write = os.openpty()
    made = Logs(LogOptions(), ABOUT, sink=write)
    logger = logging.Logger("ftdeploy.serve.test")  # noqa: LOG001  # one of its own
    logger.addHandler(made)
    logger.error("first\nsecond", extra={"request_id": "r1"})
    made.flush()
    shown = os.read(read, 10_000).decode()
    assert shown.endswith("error   serve.test: first second  request_id=r1\r\n")
    assert shown.count("\n") == 1
    os.close(write)
    os.close(read)


@pytest.mark.parametrize("form", ["json", "text"])
def test_an_exception_is_its_type_and_places_and_never_its_message(form: str) -> None:
    """Neither its own message nor that of its cause; the innermost place first."""
    sink = Sink(format=form)

    def inner() -> None:
        raise ValueError("SECRETWORD")

    def outer() -> None:
        try:
            inner()
        except ValueError as error:
            raise RuntimeError(f"because of {error}") from error

    try:
        outer()
    except RuntimeError:
        sink.logger.exception("it failed")
    (line,) = sink.lines()
    sink.close()
    assert "SECRETWORD" not in line
    assert "because of" not in line
    assert "RuntimeError" in line
    assert line.index(" outer") < line.rindex("ValueError") < line.index(" inner")
    assert "tests/test_serve_logs.py:" in line


def test_causes_are_followed_and_not_for_ever() -> None:
    """Through causes and contexts, not past `from None`, not in a circle; of an OSError the system's words are told."""

    def swallowed() -> None:
        try:
            int("SECRETWORD")
        except ValueError:
            raise FileNotFoundError(2, "SECRETWORD", "SECRETWORD") from None

    ((kind, places),) = told(failed(swallowed))
    assert kind == "FileNotFoundError (No such file or directory)"
    assert places[0].endswith(" swallowed")
    round_about = failed(swallowed)
    round_about.__cause__ = first = ValueError()
    first.__cause__ = round_about
    assert [kind.partition(" ")[0] for kind, _ in told(round_about)] == ["FileNotFoundError", "ValueError"]


def test_a_deep_stack_and_a_long_message_are_cut(sink: Sink) -> None:
    """A line has an end."""

    def deep(left: int) -> None:
        if not left:
            raise ValueError
        deep(left - 1)

    ((_, places),) = told(failed(lambda: deep(200)))
    assert len(places) == logs.PLACES
    sink.logger.info("x" * 100_000)
    sink.logger.warning("x" * 100_000)
    assert len(sink.lines()[0]) < 2 * logs.MESSAGE


def test_a_slow_sink_makes_nobody_wait_and_what_is_lost_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipe that nobody reads: logging goes on at once, and every line is either written or counted."""
    monkeypatch.setattr(logs, "QUEUE_LINES", 50)
    sink = Sink()
    lines = 3000
    for number in range(lines):
        sink.logger.warning("line %d of many that nobody reads, until somebody does", number)
    assert sink.logs.dropped > 0
    found: list[bytes] = []
    reader = threading.Thread(target=lambda: found.extend(iter(lambda: os.read(sink.read, 65_536), b"")))
    reader.start()
    sink.logs.flush(20)
    os.close(sink.write)
    reader.join()
    os.close(sink.read)
    assert b"".join(found).count(b"\n") == lines - sink.logs.dropped


def test_a_sink_that_is_gone_or_full_is_counted(sink: Sink) -> None:
    """The service does not care; when there is room again, lines are written again."""
    full = os.open("/dev/full", os.O_WRONLY)
    sink.logs._sink, kept = full, sink.logs._sink
    for _ in range(3):
        sink.logger.warning("lost")
    sink.logs.flush()
    assert sink.logs.dropped == 3
    sink.logs._sink = kept
    os.close(full)
    sink.logger.warning("found")
    assert "found" in sink.lines()[0]


def test_a_process_with_one_thread_waits_for_a_stuck_sink_a_moment_only() -> None:
    """A pipe that nobody reads: lines are lost and counted, and it goes on; read again, they are whole again."""
    read, write = os.pipe()
    logs = Logs(LogOptions(format="json"), {}, sink=write, waits=True)
    record = logging.LogRecord("ftdeploy", logging.INFO, "here.py", 1, "x" * 3000, None, None)
    for _ in range(30):  # of 64 KiB there is room for less
        logs.handle(record)
    assert 0 < logs.dropped < 30
    lost = logs.dropped
    os.read(read, 1_000_000)
    logs.handle(record)
    assert json.loads(os.read(read, 1_000_000))["message"] == "x" * 3000
    assert logs.dropped == lost
    os.close(read)
    os.close(write)


def test_a_record_that_cannot_be_rendered_is_counted(sink: Sink) -> None:
    """A wrong number of arguments is our mistake, and not the end of the log."""
    sink.logger.warning("%d %d", *[1])
    sink.logger.warning("good")
    assert [json.loads(line)["message"] for line in sink.lines()] == ["good"]
    assert sink.logs.dropped == 1


def run(code: str, *arguments: str, **environment: str) -> tuple[list[dict[str, Any]], str]:
    """Run code in a process of its own: the JSON lines of its log, and everything that it wrote.

    The process ends by its own SIGKILL, after `flush_logs`, so that nothing is written on the way out.
    """
    ended = textwrap.dedent(code) + "\nflush_logs(); os.kill(os.getpid(), 9)\n"
    start = "import logging, os, sys\nfrom ftdeploy.serve.logs import *\nfrom ftdeploy.serve.log_options import *\n"
    done = subprocess.run(
        [sys.executable, "-c", start + ended, *arguments],
        capture_output=True, text=True, check=False, env=os.environ | environment,
    )  # fmt: skip
    assert done.returncode == -9, done.stderr
    return [json.loads(line) for line in done.stderr.splitlines()], done.stdout + done.stderr


def test_everything_in_the_process_goes_one_way() -> None:
    """Other loggers with handlers of their own, warnings, threads that die, what cannot be raised: all are JSON lines,
    and messages of exceptions are in none of them. uvicorn's chatter about bad requests is not heard."""
    lines, everything = run(
        """
        import threading, warnings
        noisy = logging.getLogger("bentoml"); noisy.addHandler(logging.StreamHandler())
        configure_logs(read_log_options(), {"bundle": "tiny"})
        noisy.warning("from another")
        logging.getLogger("uvicorn.error").warning("Invalid HTTP request received.")
        logging.getLogger("uvicorn.error").error("Exception in ASGI application", exc_info=ValueError("SECRETWORD"))
        logging.getLogger("ftdeploy.serve").debug("not at this level")
        logging.getLogger("elsewhere").info("nor this")
        warnings.warn("a warning", stacklevel=1)
        def die(): raise ValueError("SECRETWORD")
        thread = threading.Thread(target=die, name="lane-0"); thread.start(); thread.join()
        class Bad:
            def __del__(self): raise ValueError("SECRETWORD")
        Bad()
        """
    )
    assert "SECRETWORD" not in everything
    messages = [line["message"] for line in lines]
    assert messages[:2] == ["from another", "Exception in ASGI application"]
    assert messages[2].endswith("UserWarning: a warning")
    assert messages[3:] == ["the thread lane-0 ended by an exception", "an exception could not be raised"]
    assert [line["exceptions"][0]["type"] for line in lines if "exceptions" in line] == ["ValueError"] * 3
    assert {line["bundle"] for line in lines} == {"tiny"}


def test_the_level_is_ours_alone_and_the_access_log_follows_its_own_option() -> None:
    """Debug does not make other libraries talk; a high level does not silence an access log that was asked for."""
    code = """
        configure_logs(read_log_options(), {})
        for name in ("ftdeploy.serve.engine", "httptools", "uvicorn.error"):
            logging.getLogger(name).debug("from %s", name)
        logging.getLogger("ftdeploy.serve.engine").info("loud")
        AccessLog(read_log_options()).note("/predict", "POST", 200, 0.1, "r1")
        """
    debug, _ = run(code, FTDEPLOY_LOG_LEVEL="debug", FTDEPLOY_ACCESS_LOG="all")
    assert [line["message"] for line in debug] == [
        "from ftdeploy.serve.engine",
        "loud",
        "POST /predict 200 100.0 ms r1",
    ]
    quiet, _ = run(code, FTDEPLOY_LOG_LEVEL="error", FTDEPLOY_ACCESS_LOG="all")
    assert [line["message"] for line in quiet] == ["POST /predict 200 100.0 ms r1"]


def test_a_fork_that_configures_again_has_a_log_of_its_own() -> None:
    """A supervisor's children write under their own number; one that does not configure ends without delay."""
    lines, _ = run(
        """
        configure_logs(read_log_options(), {"worker": "0"})
        logging.getLogger("ftdeploy").info("parent")
        flush_logs()
        if os.fork() == 0:
            configure_logs(read_log_options(), {"worker": "1"})
            logging.getLogger("ftdeploy").info("child")
            flush_logs()
            os._exit(0)
        os.wait()
        if os.fork() == 0:
            flush_logs()
            os._exit(0)
        os.wait()
        """
    )
    assert [(line["message"], line["worker"]) for line in lines] == [("parent", "0"), ("child", "1")]
    assert lines[0]["pid"] != lines[1]["pid"]


def test_a_process_that_must_have_one_thread_writes_at_once() -> None:
    """Nothing of its log is missing after a fork, and no thread of it."""
    lines, _ = run(
        """
        configure_logs(read_log_options(), {}, waits=True)
        logging.getLogger("ftdeploy").info("%d thread", threading.active_count())
        os.kill(os.getpid(), 9)
        """
    )
    assert [line["message"] for line in lines] == ["1 thread"]


# No text, no header, no secret

_LEAKS = """
import asyncio, gc
sys.path.insert(0, sys.argv[1])
import httpx
import service
from ftdeploy.serve.batcher import ForwardError
MARK, app = "zyxSECRETzyx", service.app
configure_logs(app.log_options, app.engine.named())

async def main():
    await app.start()
    await app.engine.loaded()
    client = httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://here",
                               headers={"Authorization": f"Bearer {MARK}", "Cookie": MARK})
    codes = []
    async def ask(**change):
        options = {"method": "POST", "url": "/predict", "json": {"inputs": [MARK, "good"]}} | change
        if "content" in options: options.pop("json")
        codes.append((await client.request(**options)).status_code)
    good, engine = app.engine.ask, app.engine
    await ask()
    await ask(json={"inputs": MARK, MARK: MARK}); await ask(json={"inputs": [MARK, 1]}); await ask(json={"inputs": []})
    await ask(content=('{"inputs": "' + MARK).encode()); await ask(content=MARK.encode() + b"\\xff")
    await ask(json={"inputs": MARK * 20000}); await ask(json={"inputs": [MARK] * 5000})
    await ask(url=f"/{MARK}?{MARK}={MARK}"); await ask(method="BREW", url=f"/predict?{MARK}")
    await ask(url=f"/v2/models/{engine.signature.name}/infer", json={"inputs": [{"name": MARK, "data": [MARK]}]})
    await ask(headers={"X-Request-Id": f"not fit {MARK}"}); await ask(headers={"Content-Encoding": MARK})
    class Panic(BaseException): pass
    def fail(kind):
        def failing(texts, *rest): raise kind(f"could not read {texts!r}")
        return failing
    predictor, batcher = engine._predictor, engine.batcher
    for kind in (ValueError, Panic, RecursionError, UnicodeError):  # the tokenizer, on the loop and beside it
        predictor.encode = fail(kind)
        await ask(); await ask(json={"inputs": [MARK * 1000]})
    del predictor.encode
    run = batcher._run
    batcher._run = lambda rows: fail(RuntimeError)([MARK] * len(rows))  # the model
    await ask()
    batcher._run = run
    def odd(texts, identity): return texts, texts  # what is rendered of a wrong answer
    async def wrong(texts, identity): return texts, texts
    engine.ask = wrong; await ask(); engine.ask = good
    if engine.recorder: engine.recorder._queue.append(MARK)  # the recorder, which must go on
    loop = asyncio.get_running_loop()
    loop.call_soon(fail(KeyError), MARK)  # a callback, and a task that nobody waits for
    async def lost(): fail(LookupError)(MARK)
    loop.create_task(lost()); await asyncio.sleep(0.3); gc.collect(); await asyncio.sleep(0)
    await ask()
    await app.stop()
    logging.getLogger("ftdeploy").info("codes %s", codes)

asyncio.run(main())
"""


@pytest.mark.parametrize("environment", [{}, {"FTDEPLOY_LOG_FORMAT": "text"}], ids=["json", "text"])
def test_no_text_and_no_header_gets_into_the_log(tmp_path: Path, environment: dict[str, str]) -> None:
    """Marked texts, keys, headers, paths and queries through every way to fail: refusals, the tokenizer, the model, the
    recorder, callbacks and tasks, at level debug with every request logged; the mark is nowhere, however written."""
    write_source(tmp_path / "src")
    settings = {
        "FTDEPLOY_LOG_LEVEL": "debug",
        "FTDEPLOY_ACCESS_LOG": "all",
        "FTDEPLOY_TRAFFIC": str(tmp_path / "traffic"),
    }
    code = _LEAKS + "\nflush_logs(); os._exit(0)\n"
    start = "import logging, os, sys\nfrom ftdeploy.serve.logs import *\n"
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-c", start + code, str(tmp_path / "src")],
        capture_output=True, check=False, env=os.environ | settings | environment,
    )  # fmt: skip
    everything = done.stdout + done.stderr + b"".join(path.read_bytes() for path in (tmp_path / "traffic").rglob("*"))
    text = everything.decode()
    assert done.returncode == 0, text
    assert text.count("could not read") == 0
    mark = "SECRET"
    for written in (mark, mark.lower(), mark.encode().hex(), base64.b64encode(b"xyz" + mark.encode()).decode()[4:]):
        assert written not in text, text
    codes = json.loads(text.rpartition("codes ")[2].partition("]")[0] + "]")
    assert codes.count(500) == 9
    assert codes.count(503) == 1
    assert {200, 400, 404, 405, 413, 415, 422} <= set(codes)
    for kind in ("ValueError", "Panic", "RecursionError", "UnicodeError", "KeyError", "LookupError", "RuntimeError"):
        assert kind in text
    assert codes[0] == codes[-1] == 200


def test_no_text_and_no_header_of_a_connection_gets_into_the_log(tmp_path: Path) -> None:
    """The same under a real server: bytes that are no HTTP, broken chunks and bodies, endless headers, other protocols,
    a client that leaves, one that is too slow; whatever they hold, none of it is in what the process writes."""
    bundle, port, log = write_bundle(tmp_path / "bundle"), free_port(), tmp_path / "log"
    mark = b"SECRETWORD"
    host = b"Host: x\r\nAuthorization: Bearer " + mark + b"\r\n"
    post = b"POST /predict?" + mark + b" HTTP/1.1\r\n" + host
    wrong = b'{"inputs": "%b", "%b": 1}' % (mark, mark)
    pieces = [
        mark * 10 + b"\r\n\r\n", mark + b" / HTTP/1.1\r\n\r\n", b"GET /" + mark + b" HTP/9\r\n\r\n",
        post + b"Content-Length: " + mark + b"\r\n\r\n", post + b"Content-Length: 9\r\n\r\n" + mark,
        post + b"Transfer-Encoding: chunked\r\n\r\n" + mark + b"\r\n", post + b"Content-Length: 99\r\n\r\n" + mark,
        post + b"X-" + mark + b": " + mark * 10_000 + b"\r\n\r\n", post + mark + b" no colon\r\n\r\n",
        post + b"Connection: Upgrade\r\nUpgrade: " + mark + b"\r\nContent-Length: 0\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + host + b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: " + mark
        + b"\r\nSec-WebSocket-Version: 13\r\n\r\n",
        post + b"Content-Length: %d\r\n\r\n%b" % (len(wrong), wrong),
    ]  # fmt: skip
    command = [sys.executable, "-m", "bentoml", "serve", str(bundle.path), "--host", "127.0.0.1", "--port", str(port)]
    settings = {"FTDEPLOY_LOG_LEVEL": "debug", "FTDEPLOY_ACCESS_LOG": "all", "FTDEPLOY_BODY_SECONDS": "0.5"}
    with running(command, port, log, **settings) as server:
        for piece in pieces:
            with socket.create_connection(("127.0.0.1", port)) as connection:
                connection.sendall(piece)
                connection.settimeout(10)
                with contextlib.suppress(ConnectionResetError):
                    connection.recv(65_536)
            with socket.create_connection(("127.0.0.1", port)) as connection:  # and gone, without a look at the answer
                connection.sendall(piece)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        answered = httpx.post(f"{server.url}/predict", json={"inputs": mark.decode()})
        assert answered.status_code == 200
    written = log.read_text(encoding="utf-8")
    assert "SECRET" not in written.upper()
    lines = [json.loads(line) for line in written.splitlines() if line.startswith("{")]
    statuses = {line["status"] for line in lines if line["logger"] == "ftdeploy.access"}
    assert {200, 408, 422} <= statuses
    assert answered.headers["x-request-id"] in {line.get("request_id") for line in lines}
