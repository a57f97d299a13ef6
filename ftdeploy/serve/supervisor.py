"""``ftdeploy serve``: holds the port, and keeps a generation of workers behind it running.

Three kinds of processes, for three things that cannot be in one:

- the supervisor has the port, the signals and the process id that others know, so it must outlive every bundle: it
  imports nothing heavy, runs no model, and never forks without exec;
- a zygote (`ftdeploy.serve.zygote`) for each bundle that is served runs that bundle's own code, which may be of another
  version than this one, so it must be a program of its own, and it must have one thread to fork from;
- workers (`ftdeploy.serve.worker`) answer.

While there is nobody to answer (a worker died, all are being replaced), connections wait in the backlog of the port.
"""

from __future__ import annotations

import logging
import os
import selectors
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from ftdeploy.errors import FtdeployError, ServeError
from ftdeploy.hardware import plan_workers
from ftdeploy.serve.channel import error_of
from ftdeploy.serve.generation import Generation, check, signature_of, spawn
from ftdeploy.serve.limits import read_limits
from ftdeploy.serve.listen import listen, url_of
from ftdeploy.serve.shadow_watch import ShadowWatch, challenger_of
from ftdeploy.serve.tls import CERTIFICATE

log = logging.getLogger(__name__)

#: Zygotes that may die in a row without having been ready.
TRIES = 5
#: Seconds until the second try; twice as many for each one after it.
FIRST_DELAY = 0.2
#: A generation that is not ready after so long has failed, in seconds.
START_SECONDS = 600.0
#: Seconds between two looks at where the bundle's path leads.
LOOK = 1.0
#: What a generation has, beside the time that its limits leave it, until it is killed at the end, in seconds.
SPARE = 10.0
STOPPING = (signal.SIGINT, signal.SIGTERM)


class Supervisor:
    """Serves what a path leads to, until it is told to end.

    Args:
        bundle: a bundle's folder, or a link to one, which is followed again every second and at SIGHUP.
        about: what `check` said of it.
        sockets: listening.
        totals: a folder for the metrics of the workers.
        environment: of the zygotes.
    """

    def __init__(self, bundle: Path, about: str, sockets: Sequence[socket.socket], totals: Path,
                 environment: Mapping[str, str]) -> None:  # fmt: skip
        self._bundle = bundle
        self._folder = self._seen = real(bundle)  # what is to be served; where the path led when it was last seen
        self._about = about
        self._sockets = list(sockets)
        self._url = url_of(sockets[0], tls=bool(environment.get(CERTIFICATE, "").strip()))
        self._totals = totals
        self._environment = environment
        self._shadow = ShadowWatch(challenger_of(bundle, environment), totals, environment)
        self._started = 0
        self._generations: set[Generation] = set()
        self._serving: Generation | None = None
        self._coming: Generation | None = None
        self._once_more = False  # start anew when the one that is coming has come
        self._failures = 0  # in a row
        self._again = 0.0  # when the next zygote is tried, where one is needed
        self._ends: float | None = None  # when those that are still there are killed
        self._signals: list[int] = []
        self._wakes, self._waker = socket.socketpair()
        self._selector = selectors.DefaultSelector()
        self._terminal = sys.stderr.isatty()

    def run(self) -> int:
        """Serve; gives the exit status: 0, or 1 when it was told twice to end.

        Raises:
            FtdeployError: the bundle cannot be served.
        """
        self._wakes.setblocking(False)
        self._waker.setblocking(False)
        self._selector.register(self._wakes, selectors.EVENT_READ, None)
        before = {number: signal.signal(number, self._note) for number in (*STOPPING, signal.SIGHUP)}
        try:
            while self._ends is None or self._generations:
                if self._heed_signals():
                    return 1
                self._look()
                for key, _ in self._selector.select(LOOK):
                    if key.data is None:
                        self._wakes.recv(4096)
                    else:
                        self._hear(key.data)
                self._reap()
            return 0
        finally:
            for generation in self._generations:
                generation.finish()
            self._shadow.finish()
            for number, handler in before.items():
                signal.signal(number, handler)
            for end in (self._selector, self._wakes, self._waker):
                end.close()

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self._signals.append(number)
        try:
            self._waker.send(b"!")
        except BlockingIOError:
            return

    def _heed_signals(self) -> bool:
        """Do what signals ask for; True when it is the end, at once."""
        while self._signals:
            number = self._signals.pop(0)
            hung_up = number == signal.SIGHUP and self._terminal and not os.isatty(2)
            if number in STOPPING or hung_up:
                if self._ends is not None:
                    log.warning("told to end once more: ending at once")
                    return True
                self._end(signal.Signals(number).name)
            elif self._ends is None:
                log.info("SIGHUP: starting anew")
                self._swap(real(self._bundle))
        return False

    def _end(self, why: str) -> None:
        log.info("%s: no new connections are taken, and what was asked is answered", why)
        while self._sockets:
            self._sockets.pop().close()
        for generation in self._generations:
            generation.leave("end")
        self._shadow.stop()
        self._ends = time.monotonic() + max([one.seconds for one in self._generations], default=0.0) + SPARE

    def _look(self) -> None:
        """See what time asks for: a bundle that is another one now, a zygote that is missing, an end that is due."""
        if self._ends is not None:
            if time.monotonic() > self._ends:
                log.error("some workers do not end: they are killed")
                for generation in self._generations:
                    generation.kill()
            return
        if self._serving is None and time.monotonic() >= self._again:
            self._serving = self._start(self._folder, self._about or check(self._folder))
            self._about = ""
        for waited in (self._serving, self._coming):
            if waited and not waited.ready and time.monotonic() - waited.began > START_SECONDS:
                log.error("%s is not ready after %d s: it is killed", waited.about, START_SECONDS)
                waited.kill()
        target = real(self._bundle)
        changed = target != self._seen and os.path.lexists(self._bundle)  # a link that is replaced is gone for a moment
        if changed or (self._once_more and self._coming is None):
            self._once_more = False
            self._swap(target)
        if self._serving is not None and self._serving.ready:
            self._shadow.look(self._serving.folder)

    def _start(self, folder: Path, about: str) -> Generation:
        self._started += 1
        found = spawn(
            folder,
            about,
            number=self._started,
            sockets=self._sockets,
            totals=self._totals,
            environment=self._environment,
        )
        log.info("%s starts for %s, as process %d", about, self._url, found.process.pid)
        self._generations.add(found)
        self._selector.register(found.channel, selectors.EVENT_READ, found)
        return found

    def _swap(self, target: Path) -> None:
        """Start what the path leads to now beside what serves; keep to the latter when that fails."""
        changed, self._seen = target != self._seen, target
        if self._coming is not None and self._coming.folder == target:
            self._once_more = True  # it may have read already what changed: after it, another one
            return
        if self._coming is not None:
            self._coming.leave("retire")
            self._coming = None
        if changed and self._serving is not None and self._serving.folder == target:
            return  # the path leads back to what serves
        try:
            self._coming = self._start(target, check(target))
        except FtdeployError as error:
            self._keep(target, error)

    def _keep(self, target: Path, error: FtdeployError) -> None:
        kept = self._serving.about if self._serving else "nothing"
        log.error("%s is not served: %s. %s. %s. Still serving %s", target, error.what, error.cause, error.fix, kept)

    def _hear(self, generation: Generation) -> None:
        messages, there = generation.channel.receive()
        for message in messages:
            if "ready" in message:
                self._take_over(generation, message["ready"])
            elif "failed" in message:
                self._fail(generation, error_of(message["failed"]))
        if not there and generation in self._generations:
            generation.ended(os.waitpid(generation.process.pid, 0)[1])
            self._bury(generation)

    def _take_over(self, generation: Generation, about: Mapping[str, Any]) -> None:
        """A generation is ready: if it was waited for, it is the one that serves from now on."""
        generation.ready, generation.seconds = True, about.get("seconds", 0.0)
        seconds = time.monotonic() - generation.began
        log.info("%s is ready at %s on %s with %d worker(s), after %.1f s", generation.about, self._url,
                 about["provider"], about["workers"], seconds)  # fmt: skip
        self._failures = 0
        if generation is self._coming:
            if self._serving is not None:
                self._serving.leave("retire")
            self._serving, self._coming = generation, None

    def _fail(self, generation: Generation, error: FtdeployError) -> None:
        """A generation has given up.

        Raises:
            FtdeployError: it is the one that serves, and no other is coming.
        """
        generation.leaving = True
        if generation is self._coming:
            self._coming = None
            self._keep(generation.folder, error)
        elif generation is self._serving:
            if self._coming is None:
                raise error
            self._serving, self._coming = self._coming, None
            log.error("%s fails: %s. %s. %s", generation.about, error.what, error.cause, error.fix)

    def _reap(self) -> None:
        """Take note of every child that ended, ours or, where this is process 1, somebody's that was left behind."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self._shadow.ended(pid, status)
            for generation in [one for one in self._generations if one.process.pid == pid]:
                generation.ended(status)
                self._generations.discard(generation)
                self._hear(generation)  # its last words
                self._bury(generation)

    def _bury(self, generation: Generation) -> None:
        """A zygote has ended.

        Raises:
            FtdeployError: it is the one that serves, and it is not tried again.
        """
        self._generations.discard(generation)
        self._selector.unregister(generation.channel)
        generation.channel.close()
        if generation.leaving or self._ends is not None:
            return
        error = ServeError(
            f"the zygote of {generation.about} ended with {generation.process.returncode}",
            cause="it was killed, there was not memory enough, or its model ends the process that opens it",
            fix="look at the log above; `ftdeploy verify` tells whether the bundle is whole",
        )
        if generation is not self._serving:
            self._fail(generation, error)
            return
        self._failures += 1
        if self._failures >= TRIES:
            self._fail(generation, error)
            return
        delay = 0.0 if generation.ready else FIRST_DELAY * 2 ** (self._failures - 1)
        log.error("%s: another is started in %.1f s", error.what, delay)
        self._serving, self._folder, self._again = None, generation.folder, time.monotonic() + delay


def supervise(bundle: Path, *, host: str, port: int, environment: Mapping[str, str] | None = None) -> int:
    """Serve a bundle until told to end; gives the exit status: 0, or 1 when it was told twice.

    Args:
        bundle: its folder, or a link to it.
        host: name or address to listen on.
        port: to listen on.
        environment: of the service; None takes this process's.

    Raises:
        FtdeployError: it cannot be served.
    """
    environment = os.environ if environment is None else environment
    folder = real(bundle)
    about = check(folder)
    sockets = listen(host, port, queues=_queues(folder, environment))
    totals = _private_folder()
    try:
        return Supervisor(bundle, about, sockets, totals, environment).run()
    finally:
        shutil.rmtree(totals, ignore_errors=True)
        for one in sockets:
            one.close()


def real(path: Path) -> Path:
    """Where a path leads to, be it there or not."""
    return Path(os.path.realpath(path))  # Path.resolve raises where links lead in a circle


def _queues(folder: Path, environment: Mapping[str, str]) -> int:
    """How many workers there will probably be, each of which has a socket of its own then.

    Raises:
        ServeError: a limit is not a number.
    """
    limits = read_limits(signature_of(folder).get("serve", {}), environment)
    return plan_workers(limits.workers, threads=limits.threads, on_cpu=True)


def _private_folder() -> Path:
    """A folder in memory where there is one: what is written there every second is nothing for a disk."""
    memory = "/dev/shm"  # noqa: S108  # mkdtemp makes a folder of its own in it
    return Path(tempfile.mkdtemp(prefix="ftdeploy-serve-", dir=memory if os.access(memory, os.W_OK) else None))
