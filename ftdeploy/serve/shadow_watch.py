"""The challenger as the supervisor sees it: started, stopped and started again beside the bundle that answers."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from ftdeploy.errors import FtdeployError, ServeError
from ftdeploy.serve.generation import ONE_THREAD, check
from ftdeploy.serve.shadow_feed import SOCKET
from ftdeploy.serve.totals import fold
from ftdeploy.signature import Signature, read_signature
from ftdeploy.tasks import TASKS

log = logging.getLogger(__name__)

#: Names the challenger's bundle, or a link to it.
SHADOW = "FTDEPLOY_SHADOW"
#: In the source folder of every bundle that can be a challenger.
_MODULE = "ftdeploy/serve/shadow.py"
#: Seconds until a challenger that ended is started again; twice as many each time, and `_LAST_DELAY` at most.
_FIRST_DELAY = 1.0
_LAST_DELAY = 300.0
#: What it has to write down what it counted when it is told to end, in seconds.
_PATIENCE = 5.0


def challenger_of(bundle: Path, environment: Mapping[str, str]) -> Path | None:
    """Where the challenger is looked for: `FTDEPLOY_SHADOW` (``off`` is nowhere), else what a registry's pointer says.

    Args:
        bundle: the path that is served.
        environment: of the service.
    """
    named = environment.get(SHADOW, "").strip()
    if named:
        return None if named.lower() == "off" else Path(named)
    if bundle.name == "bundle" and bundle.parent.name == "champion" and bundle.parent.is_symlink():
        return bundle.parent.with_name("shadow") / "bundle"
    return None


class ShadowWatch:
    """Keeps one challenger running, where there is one; its ends are told and harm nobody.

    Args:
        path: of its bundle, or a link, which is followed again every second; None is none.
        totals: the private folder of the service.
        environment: of the service.
    """

    def __init__(self, path: Path | None, totals: Path, environment: Mapping[str, str]) -> None:
        self._path = path
        self._totals = totals
        self._environment = environment
        self._wanted: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._leaving = False
        self._started = 0
        self._failures = 0  # since the pointer changed
        self._again = 0.0
        self._dead: list[str] = []  # names whose metrics are not folded yet

    @property
    def _name(self) -> str:
        return f"shadow-{self._started}"

    def look(self, serving: Path | None) -> None:
        """See whether there is another challenger, none any more, or one that is to be started again.

        Args:
            serving: the folder of the bundle that answers, which is no challenger to itself.
        """
        if self._path is None:
            return
        self._dead = [name for name in self._dead if not fold(self._totals, name)]
        target = Path(os.path.realpath(self._path))
        wanted = target if os.path.lexists(self._path) and target != serving else None
        if wanted != self._wanted:
            self._wanted, self._failures, self._again = wanted, 0, 0.0
            self.stop()
        if wanted is not None and self._process is None and time.monotonic() >= self._again:
            self._start(wanted, serving)

    def _start(self, folder: Path, serving: Path | None) -> None:
        self._again = float("inf")  # what cannot be started is tried again when the pointer changes
        try:
            about = check(folder)
            if not (folder / "src" / _MODULE).is_file():
                raise ServeError(
                    f"the bundle in {folder} has no {_MODULE}",
                    cause="it was made by an older ftdeploy",
                    fix="make it again",
                )
            signature = read_signature(folder / "src" / "model")
            task = TASKS[signature.task]
            if not task.probabilities:
                raise ServeError(
                    f"a challenger of {task.name} has nothing to show yet",
                    cause="answers are compared by their label and how sure it is, and vectors and numbers have none",
                    fix="compare the two with `ftdeploy eval`",
                )
            if serving is not None:
                _check_texts(signature, read_signature(serving / "src" / "model"))
            self._started += 1
            self._process = self._spawn(folder)
        except FtdeployError as error:
            log.error("%s is no challenger: %s. %s. %s", folder, error.what, error.cause, error.fix)  # noqa: TRY400  # three parts say more than a traceback
            return
        except OSError as error:
            log.error("no process can be started for the challenger: %s", error.strerror)  # noqa: TRY400  # no traceback: the sentence says it
            return
        self._leaving = False
        log.info("%s starts as a challenger, as process %d", about, self._process.pid)

    def _spawn(self, folder: Path) -> subprocess.Popen[bytes]:
        order = {"totals": os.fspath(self._totals), "name": self._name, "state": os.fspath(folder.parent / "shadow")}
        paths = [os.fspath(folder / "src"), *filter(None, [self._environment.get("PYTHONPATH")])]
        settings = {"PYTHONPATH": os.pathsep.join(paths), "FTDEPLOY_DEVICE": "cpu", "OMP_NUM_THREADS": "1"}
        return subprocess.Popen(  # noqa: S603  # a fixed program, no shell
            [sys.executable, "-P", "-m", "ftdeploy.serve.shadow", json.dumps(order)],
            env=dict(self._environment) | ONE_THREAD | settings,
            stdin=subprocess.PIPE,  # its end is how it is told to end, also by a supervisor that was killed
            process_group=0,
        )

    def ended(self, pid: int, status: int) -> None:
        """Take note of a child's end, if it is the challenger's."""
        process = self._process
        if process is None or process.pid != pid:
            return
        process.returncode = code = os.waitstatus_to_exitcode(status)
        self._forget(process)
        if self._leaving or code == 0:
            return
        delay = min(_LAST_DELAY, _FIRST_DELAY * 2**self._failures)
        self._failures += 1
        self._again = time.monotonic() + delay
        log.error("the challenger ended with %d: it is started again in %d s; answers go on", code, delay)

    def _forget(self, process: subprocess.Popen[bytes]) -> None:
        if process.stdin is not None:
            process.stdin.close()
        self._process = None
        self._again = 0.0
        self._dead.append(self._name)
        (self._totals / SOCKET).unlink(missing_ok=True)

    def stop(self) -> None:
        """Have it end, if it runs."""
        if self._process is not None and self._process.stdin is not None:
            self._leaving = True
            self._process.stdin.close()

    def finish(self) -> None:
        """Have it end, and wait until it is gone."""
        self.stop()
        if (process := self._process) is None:
            return
        try:
            process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self._forget(process)


def _check_texts(challenger: Signature, champion: Signature) -> None:
    """A challenger answers what the champion is asked.

    Raises:
        ServeError: one reads two texts a row, the other one.
    """
    theirs, ours = ("two texts" if one.pairs else "one text" for one in (challenger, champion))
    if theirs != ours:
        raise ServeError(
            f"it reads {theirs} a row, and the bundle that answers {ours}",
            cause="`data.columns.text_pair` is in the recipe of one of them only",
            fix="make a challenger from rows of the same columns, or serve it by itself",
        )
