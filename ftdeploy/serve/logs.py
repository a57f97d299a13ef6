"""The service's log: one JSON object a line, or a line for people on a terminal. Configured here and nowhere else.

A line holds ``time`` (RFC 3339, UTC), ``level``, ``logger``, ``message``, ``pid``, whatever `configure_logs` was told
of the bundle, ``request_id`` where there is one, and the fields of the access log. It never holds what a client sent:
no text, no header, no path (routes have fixed names). Of an exception only type and places are written, because its
message may quote what it stumbled over.

Nobody waits for the log: lines go through a bounded queue to a thread that formats and writes them. When the sink is
slow or full they are dropped and counted (``ftdeploy_log_dropped_total``). What native libraries write by themselves
to standard error does not come through here.
"""

from __future__ import annotations

import asyncio
import logging
import os
import select
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from queue import SimpleQueue
from types import TracebackType
from typing import Any

import orjson

from ftdeploy.serve.log_options import LogOptions

#: Lines that may wait for the sink.
QUEUE_LINES = 10_000
#: Seconds that a process without a thread for its log waits for the sink to take a piece of a line.
PATIENCE = 0.1
#: Most characters of a message, places of a stack (innermost first), and links of a chain of causes.
MESSAGE = 4000
PLACES = 12
CHAIN = 5
#: Fields that a record may bring in ``extra``.
FIELDS = ("request_id", "route", "method", "status", "seconds")
#: Loggers that bring handlers of their own, and from which level on they are heard. uvicorn warns of every request that
#: is not HTTP, which anybody can send; it is counted in the metrics instead.
_OTHERS = {"bentoml": logging.WARNING, "circus": logging.WARNING, "uvicorn.error": logging.ERROR}

log = logging.getLogger(__name__)


class Logs(logging.Handler):
    """Where every record goes.

    Args:
        options: format and level.
        about: fields of every line, such as the bundle's name.
        sink: file descriptor to write to.
        waits: write each line at once instead, for a process that must have one thread; it waits `PATIENCE` at most.
    """

    def __init__(self, options: LogOptions, about: Mapping[str, str], *, sink: int = 2, waits: bool = False) -> None:
        super().__init__()
        as_json = options.format == "json" or (options.format == "auto" and not os.isatty(sink))
        self.render = render_json if as_json else render_text
        self.dropped = 0
        self._drops = threading.Lock()
        self._about = {**about, "pid": os.getpid()}
        self._sink = sink
        self._queue: SimpleQueue[logging.LogRecord | threading.Event] = SimpleQueue()
        self._waits = waits
        self._thread = threading.Thread(target=self._work, name="log", daemon=True)
        if not waits:
            self._thread.start()

    def handle(self, record: logging.LogRecord) -> bool:
        """Take a record."""
        if self._waits:
            self._write(record)
            return True
        if self._queue.qsize() >= QUEUE_LINES:
            self._drop()
            return False
        self._queue.put(record)
        return True

    def flush(self, timeout: float = 2.0) -> None:
        """Wait until what was logged before is written, or ``timeout`` seconds."""
        if self._thread.is_alive():  # it is not in the child of a fork
            done = threading.Event()
            self._queue.put(done)
            done.wait(timeout)

    def _work(self) -> None:
        while True:
            found = self._queue.get()
            if isinstance(found, threading.Event):
                found.set()
                continue
            self._write(found)

    def _write(self, record: logging.LogRecord) -> None:
        try:
            left = memoryview(self.render(record, self._about))
            while left and self._ready():
                left = left[os.write(self._sink, left[: select.PIPE_BUF] if self._waits else left) :]
            if left:  # nobody reads: what this process is there for goes on
                self._drop()
        except Exception:  # noqa: BLE001  # a full disk, a closed pipe, a record that cannot be rendered: all count
            self._drop()

    def _ready(self) -> bool:
        """Whether the sink takes a piece now; a thread of its own may wait for that as long as it likes."""
        return not self._waits or bool(select.select([], [self._sink], [], PATIENCE)[1])

    def _drop(self) -> None:
        with self._drops:
            self.dropped += 1


_current: Logs | None = None


def configure_logs(options: LogOptions, about: Mapping[str, str], *, sink: int = 2, waits: bool = False) -> Logs:
    """Send the log of this process through `Logs`; called again, also after a fork, it takes the place of what was.

    Args:
        options: what to write, and how.
        about: fields of every line.
        sink: file descriptor to write to.
        waits: write each line at once, without a thread.
    """
    global _current  # noqa: PLW0603  # logging is one for a process
    made = _current = Logs(options, about, sink=sink, waits=waits)
    root = logging.getLogger()
    root.handlers = [made]
    root.setLevel(logging.WARNING)
    for name, level in _OTHERS.items():
        other = logging.getLogger(name)
        other.handlers, other.propagate = [], True
        other.setLevel(max(level, options.number))
    logging.getLogger("uvicorn.access").propagate = False  # without a handler uvicorn does not build its lines
    logging.getLogger("ftdeploy").setLevel(options.number)
    logging.getLogger("ftdeploy.access").setLevel(logging.INFO)  # who asks for it gets it
    logging.captureWarnings(capture=True)
    threading.excepthook = _thread_failed
    sys.unraisablehook = _unraisable
    return made


def flush_logs() -> None:
    """Have everything written that was logged so far: for a process that a signal ends. Others do so by themselves."""
    if _current is not None:
        _current.flush()


def dropped_lines() -> int:
    """Lines that were not written since `configure_logs`."""
    return 0 if _current is None else _current.dropped


def render_json(record: logging.LogRecord, about: Mapping[str, Any]) -> bytes:
    """A record as a line of JSON."""
    line: dict[str, Any] = {
        "time": _time(record),
        "level": record.levelname.lower(),
        "logger": record.name,
        "message": _message(record),
        **about,
        **_fields(record),
    }
    if record.exc_info and record.exc_info[1] is not None:
        line["exceptions"] = [{"type": kind, "at": places} for kind, places in told(record.exc_info[1])]
    return orjson.dumps(line, default=str, option=orjson.OPT_APPEND_NEWLINE)


def render_text(record: logging.LogRecord, about: Mapping[str, Any]) -> bytes:  # noqa: ARG001  # one signature for both
    """A record as a line for people; the bundle's name and the like are left out."""
    parts = [
        f"{_time(record)} {record.levelname.lower():7} {record.name.removeprefix('ftdeploy.')}: {_message(record)}"
    ]
    if record.name != "ftdeploy.access":  # its message has them
        parts += [f"{key}={value}" for key, value in _fields(record).items()]
    if record.exc_info and record.exc_info[1] is not None:
        parts += [f"{kind} at {' < '.join(places) or 'no place'}" for kind, places in told(record.exc_info[1])]
    return ("  ".join(parts).replace("\r", " ").replace("\n", " ") + "\n").encode(errors="backslashreplace")


def told(error: BaseException) -> Iterator[tuple[str, list[str]]]:
    """An exception and those behind it as (type, places), places innermost first; never a message.

    The number of an OSError is one of the system's, and is told.
    """
    seen: set[int] = set()
    found: BaseException | None = error
    while found is not None and id(found) not in seen and len(seen) < CHAIN:
        seen.add(id(found))
        kind = type(found)
        name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
        if isinstance(found, OSError) and found.errno is not None:
            name += f" ({os.strerror(found.errno)})"
        yield name, _places(found.__traceback__)
        found = found.__cause__ or (None if found.__suppress_context__ else found.__context__)


def loop_failed(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:  # noqa: ARG001  # asyncio's signature
    """What asyncio calls when nobody else takes an exception; its own words would quote callbacks and results."""
    error = context.get("exception")
    log.error("a task or callback failed and nobody asked for it", exc_info=_exc_info(error))


def _thread_failed(args: threading.ExceptHookArgs) -> None:
    name = args.thread.name if args.thread else "unknown"
    log.error("the thread %s ended by an exception", name, exc_info=_exc_info(args.exc_value))


def _unraisable(args: Any) -> None:
    log.error("an exception could not be raised", exc_info=_exc_info(args.exc_value))


def _exc_info(error: BaseException | None) -> tuple[type[BaseException], BaseException, TracebackType | None] | None:
    return None if error is None else (type(error), error, error.__traceback__)


def _places(trace: TracebackType | None) -> list[str]:
    places: list[str] = []
    while trace is not None:
        code = trace.tb_frame.f_code
        places.append(f"{'/'.join(code.co_filename.split('/')[-3:])}:{trace.tb_lineno} {code.co_name}")
        trace = trace.tb_next
    return places[: -PLACES - 1 : -1]


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    return {name: getattr(record, name) for name in FIELDS if hasattr(record, name)}


def _message(record: logging.LogRecord) -> str:
    message = record.getMessage()
    if record.name in ("asyncio", "py.warnings"):  # further lines quote values, and the line of source
        message = message.partition("\n")[0]
    return message.strip() if len(message) <= MESSAGE else f"{message[:MESSAGE]}..."


def _time(record: logging.LogRecord) -> str:
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
    return f"{stamp}.{int(record.msecs):03d}Z"
