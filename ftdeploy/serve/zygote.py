"""One generation of ``ftdeploy serve``: a process with everything imported, from which workers are forked.

It runs the code that its bundle carries, with one thread, answers nothing, and only waits for its workers. Where each
forward pass runs on the thread that asks for it (the usual case on processors: a lane for each), it opens the model
before it forks. Workers then share the weights, prepacked as they are, a dead one is replaced within the time of a
fork, and neither needs the files of the bundle any more. Threads and drivers of GPUs do not live through a fork; where
there are any, each worker opens the model itself, as it does with ``FTDEPLOY_FORK_FIRST=1``.
"""

from __future__ import annotations

import faulthandler
import gc
import json
import logging
import os
import selectors
import shutil
import signal
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from ftdeploy.errors import FtdeployError, ServeError
from ftdeploy.hardware import CPU, CUDA, choose_provider, plan_lanes, plan_workers
from ftdeploy.serve.app import create_app
from ftdeploy.serve.channel import Channel, failed
from ftdeploy.serve.listen import share_of
from ftdeploy.serve.log_options import read_log_options
from ftdeploy.serve.logs import configure_logs, flush_logs
from ftdeploy.serve.tls import open_tls
from ftdeploy.serve.totals import Totals, fold
from ftdeploy.serve.worker import Worker, leave_seconds

log = logging.getLogger("ftdeploy.serve.zygote")  # this module runs as __main__

FORK_FIRST = "FTDEPLOY_FORK_FIRST"
#: What is imported only when it is used, and is shared when that is before the forks.
LATE = ("onnx", "onnxruntime", "tokenizers", "uvicorn.lifespan.on", "uvloop")
#: Workers that may die in a row without having been ready.
TRIES = 5
#: Seconds until the second try; twice as many for each one after it, and `LAST_DELAY` at most.
FIRST_DELAY = 0.1
LAST_DELAY = 30.0
#: A worker that is not ready after so long has failed, in seconds.
START_SECONDS = 300.0
#: Seconds between two looks at the workers.
TICK = 1.0


@dataclass(eq=False, kw_only=True)
class Child:
    """A worker as its zygote sees it.

    Attributes:
        index: which part of the lanes is its.
        name: under which it leaves its metrics.
        silent: ticks since it was heard.
    """

    pid: int
    index: int
    name: str
    channel: Channel
    ready: bool = False
    silent: int = 0


class Zygote:
    """Keeps the workers of one generation running.

    Args:
        source: the bundle's source folder.
        sockets: listening.
        above: to the supervisor.
        totals: the folder of the metrics.
        generation: number of this one.
    """

    def __init__(self, source: Path, sockets: Sequence[socket.socket], above: Channel, totals: Path,
                 generation: int) -> None:  # fmt: skip
        self._source = source
        self._app = create_app(source)
        self._tls = open_tls()
        self._sockets = list(sockets)
        self._above = above
        self._totals = totals
        self._generation = generation
        limits = self._app.engine.limits
        self._hang_ticks = max(1, round(limits.hang_seconds / TICK))
        self._on_cpu = _runs_on_cpu(self._app.engine.signature.session.provider)
        self._workers = plan_workers(limits.workers, threads=limits.threads, on_cpu=self._on_cpu)
        self._children: set[Child] = set()
        self._due: dict[int, float] = {}  # index -> when its next worker is forked
        self._dead: list[str] = []  # names whose metrics are not folded yet
        self._failures = 0  # in a row
        self._why: dict[str, Any] | None = None
        self._forked = 0
        self._provider = ""
        self._told = False
        self._leaving = ""
        self._orphaned = False
        self.dismissed = False  # by a human's SIGTERM: the supervisor sends none
        self._selector = selectors.DefaultSelector()

    def open(self) -> None:
        """Open the model where forked processes can use it.

        Raises:
            ArtifactError: the bundle or its model is unusable.
            DeviceError: a device was forced that is not there.
        """
        limits = self._app.engine.limits
        _, threads = plan_lanes(threads=limits.threads, lanes=limits.lanes, on_cpu=self._on_cpu)
        if not self._on_cpu or threads > 1 or os.environ.get(FORK_FIRST):
            return
        self._app.engine.open()
        if _threads() != 1:  # they would be missing in the workers: begin again without opening it
            log.warning("the model was opened with threads of its own, so each worker opens it by itself")
            os.environ[FORK_FIRST] = "1"
            os.execv(sys.executable, sys.orig_argv)  # noqa: S606  # this very program, no shell
        gc.collect()
        gc.freeze()  # the collector would write to pages that are shared

    def run(self) -> None:
        """Fork the workers and watch them until the last one is gone.

        Raises:
            ServeError: none gets ready.
        """
        self._selector.register(self._above, selectors.EVENT_READ, None)
        self._due = dict.fromkeys(range(self._workers), 0.0)
        next_tick = time.monotonic() + TICK
        while self._children or not self._leaving:
            now = time.monotonic()
            if now >= next_tick:
                next_tick = now + TICK
                self._tick()
            for index, when in list(self._due.items()):
                if when <= now:
                    self._fork(index)
            until = min([next_tick, *self._due.values()])
            for key, _ in self._selector.select(max(0.0, until - time.monotonic())):
                if key.data is None:
                    self._hear_above()
                elif key.data in self._children:
                    self._hear(key.data)
            self._say_ready()
        self._fold()
        if self._orphaned:
            shutil.rmtree(self._totals, ignore_errors=True)

    def leave(self, how: str) -> None:
        """Have every worker answer its clients and end; fork none any more."""
        self._leaving = how
        self._due.clear()
        if how == "end":  # theirs are the last ones: with them, connections are refused
            while self._sockets:
                self._sockets.pop().close()
        for child in self._children:
            child.channel.send({"do": how})

    def _fork(self, index: int) -> None:
        del self._due[index]
        ours, theirs = socket.socketpair()
        self._forked += 1
        name = f"{self._generation}-{self._forked}"
        try:
            pid = os.fork()
        except OSError as error:
            ours.close()
            theirs.close()
            log.error("no worker can be forked: %s", error.strerror)  # noqa: TRY400  # no traceback: the sentence says it
            self._due[index] = time.monotonic() + TICK
            return
        if pid == 0:
            ours.close()
            self._become_worker(index, name, Channel(theirs))
        theirs.close()
        child = Child(pid=pid, index=index, name=name, channel=Channel(ours))
        self._children.add(child)
        self._selector.register(child.channel, selectors.EVENT_READ, child)

    def _become_worker(self, index: int, name: str, channel: Channel) -> NoReturn:
        """What the forked process does: nothing of the zygote's may go on in it."""
        status = 1
        try:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            self._selector.close()
            self._above.close()
            for other in self._children:  # else they would not see the end of the zygote
                other.channel.close()
            sockets = share_of(self._sockets, index, self._workers)
            for one in set(self._sockets) - set(sockets):  # else they would stay open after those who answer there
                one.close()
            app = self._app if self._app.engine.opened else create_app(self._source)
            app.engine.take_part(index, self._workers)
            configure_logs(app.log_options, app.engine.named())
            Worker(app, channel, Totals(self._totals, name), self._tls).run(sockets)
            status = 0
        except SystemExit as ended:  # uvicorn, when the application did not start
            status = ended.code if isinstance(ended.code, int) else 1
        except BaseException:
            log.exception("the worker failed")
        finally:
            flush_logs()
            os._exit(status)

    def _hear_above(self) -> None:
        messages, there = self._above.receive()
        if not there:  # the supervisor is gone: nobody will end this service but we
            self._orphaned = True
            self._selector.unregister(self._above)
            messages.append({"do": "retire"})
        for message in messages:
            if "do" in message:
                self.leave(message["do"])

    def _hear(self, child: Child) -> None:
        messages, there = child.channel.receive()
        child.silent = 0
        for message in messages:
            if "ready" in message:
                child.ready = True
                self._failures = 0
                self._provider = message["ready"]["provider"]
            self._why = message if "failed" in message else self._why
        if not there:
            self._bury(child)

    def _say_ready(self) -> None:
        if not self._told and sum(child.ready for child in self._children) == self._workers:
            self._told = True
            limits = self._app.engine.limits
            about = {
                "workers": self._workers,
                "provider": self._provider,
                "seconds": limits.drain_seconds + leave_seconds(limits),
            }
            self._above.send({"ready": about})

    def _bury(self, child: Child) -> None:
        """It has ended: put another in its place, at once when it had been ready."""
        self._selector.unregister(child.channel)
        child.channel.close()
        self._children.remove(child)
        _, status = os.waitpid(child.pid, 0)
        self._dead.append(child.name)
        self._fold()
        if self._leaving:
            return
        how = how_it_ended(status)
        if child.ready:
            log.log(logging.INFO if status == 0 else logging.ERROR, "worker %d %s: it is replaced", child.pid, how)
            self._due[child.index] = time.monotonic()
            return
        self._failures += 1
        delay = min(LAST_DELAY, FIRST_DELAY * 2 ** (self._failures - 1))
        if self._failures >= TRIES and not any(other.ready for other in self._children):
            self._give_up(how)
        else:
            log.error("worker %d %s before it was ready: another is tried in %.1f s", child.pid, how, delay)
            self._due[child.index] = time.monotonic() + delay

    def _give_up(self, how: str) -> None:
        self._above.send(self._why or failed(ServeError(
            f"{self._failures} workers in a row {how} before they were ready",
            cause="there is not memory enough, or the model ends the process that runs it",
            fix="look at the log above; `ftdeploy verify` tells whether the bundle is whole",
        )))  # fmt: skip
        self.leave("retire")

    def _tick(self) -> None:
        """Kill workers that say nothing; the end of their channel does the rest."""
        if self.dismissed and not self._leaving:
            self.leave("retire")
        for child in self._children:
            child.silent += 1
            if child.silent > (self._hang_ticks if child.ready else START_SECONDS / TICK):
                log.error("worker %d has said nothing for %d s: it is killed", child.pid, child.silent * TICK)
                os.kill(child.pid, signal.SIGKILL)
                child.silent = 0
        self._fold()

    def _fold(self) -> None:
        self._dead = [name for name in self._dead if not fold(self._totals, name)]


def how_it_ended(status: int) -> str:
    """A wait status in words."""
    code = os.waitstatus_to_exitcode(status)
    return f"died of {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"


def _runs_on_cpu(preferred: str) -> bool:
    """Whether the model will run on ONNX Runtime's own provider for processors; asks no driver, which a fork breaks."""
    import onnxruntime

    if CUDA in onnxruntime.get_available_providers() and os.environ.get("FTDEPLOY_DEVICE") != "cpu":
        return False
    return choose_provider(preferred=preferred).name == CPU


def _threads() -> int:
    """Threads of this process; 0 where nobody tells."""
    try:
        return len(os.listdir("/proc/self/task"))  # noqa: PTH208  # only counted
    except OSError:
        return 0


def main() -> None:
    """Run as ``python -m ftdeploy.serve.zygote ORDER``; ORDER is what the supervisor writes as JSON."""
    configure_logs(read_log_options(), {}, waits=True)  # a thread would be missing in the workers
    faulthandler.enable()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    order = json.loads(sys.argv[1])
    above = Channel(socket.socket(fileno=order["control"]))
    try:
        for module in LATE:
            import_module(module)
        zygote = Zygote(
            Path(__file__).resolve().parents[2],
            [socket.socket(fileno=number) for number in order["sockets"]],
            above,
            Path(order["totals"]),
            order["generation"],
        )
        signal.signal(signal.SIGTERM, lambda _number, _frame: setattr(zygote, "dismissed", True))
        zygote.open()
        zygote.run()
    except FtdeployError as error:
        above.send(failed(error))
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
