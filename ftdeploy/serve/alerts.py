"""Tells of drift: once when it begins, once when it is over, whatever happens to whom it is told to.

A thread of its own looks at the detector every second. What stands is kept in a small file of the bundle in the folder
of the traffic, so that several workers, and the one that takes a dead one's place, speak with one voice: an alarm that
any of them has opens the drift of that detector, and it is over when none had it for ``clear_seconds`` (hysteresis,
beside the texts for which an alarm stands). Between two openings of one detector lie at least ``cooldown_seconds``.
Where the folder cannot be written, a process goes by what it remembers itself. A hook that fails is tried again twice;
nothing waits for it but the next hook.
"""

from __future__ import annotations

import fcntl
import logging
import os
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import orjson

from ftdeploy.serve.about import DriftState
from ftdeploy.serve.alert_hooks import Alert, Hook, HookError, hooks_of
from ftdeploy.serve.alert_options import AlertOptions
from ftdeploy.serve.exposition import Snapshot, sample

log = logging.getLogger(__name__)

#: Names of hooks in the metrics.
HOOKS = ("log", "command", "webhook")
#: Seconds between two looks, and between two at what others left.
LOOK = 1.0
OTHERS = 15.0
#: Seconds before a hook is tried again.
PAUSES = (1.0, 10.0)

#: By detector: when it last had an alarm, when that was last told, and whether it is open.
_Known = dict[str, dict[str, float]]


class Detector(Protocol):
    """What is looked at."""

    def states(self) -> dict[str, DriftState]:
        """What each detector says."""

    def evidence(self) -> dict[str, float]:
        """Of each."""


class Alerter:
    """Looks at one process's detector and tells; beside others in the same folder.

    Args:
        detector: what to look at.
        options: whom to tell, and how often.
        folder: of the traffic.
        about: ``name`` and ``digest`` of the bundle.
    """

    def __init__(self, detector: Detector, options: AlertOptions, folder: Path, about: Mapping[str, str]) -> None:
        self._detector = detector
        self._options = options
        self._path = folder / f"alerts-{about['digest'][:12]}.json"
        self._about = {name: about[name] for name in ("name", "digest")}
        self._stop = threading.Event()
        self._hooks: dict[str, Hook] = hooks_of(options, self._stop)
        self._known: _Known = {}
        self._others = 0.0
        self._sent: Counter[str] = Counter()
        self._failed: Counter[str] = Counter()
        self._thread = threading.Thread(target=self._work, name="alerts", daemon=True)
        if self._hooks:
            self._thread.start()

    def close(self, timeout: float = 2.0) -> None:
        """End; a hook that does not come back within ``timeout`` seconds is left behind."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout)

    def snapshot(self) -> Snapshot:
        """Alerts that got through, and those that did not, by hook."""
        return _snapshot(self._sent, self._failed)

    def _work(self) -> None:
        while not self._stop.wait(LOOK):
            try:
                self._look()
            except Exception:
                log.exception("alerts of drift are not told at the moment")

    def _look(self) -> None:
        active = {name for name, state in self._detector.states().items() if state == "alarm"}
        now = time.time()
        mine = active or any(one["open"] for one in self._known.values())
        if not mine and 0 <= now - self._others < OTHERS:
            return
        self._others = now
        with self._shared() as known:
            if known is None:  # another process has it in hand, and this one comes again
                return
            for name in active:
                one = known.setdefault(name, {"seen": 0.0, "told": 0.0, "open": 0.0})
                one["seen"] = now
            began = sorted(name for name in active if self._may_open(known[name], now))
            over = sorted(name for name, one in known.items() if one["open"] and self._is_over(one, now))
            for name in began:
                known[name] |= {"open": 1.0, "told": now}
            for name in over:
                known[name]["open"] = 0.0
        if began:
            self._tell("drift", began)
        if over:
            self._tell("resolved", over)

    def _may_open(self, one: Mapping[str, float], now: float) -> bool:
        return not one["open"] and not 0 <= now - one["told"] < self._options.cooldown_seconds

    def _is_over(self, one: Mapping[str, float], now: float) -> bool:
        return not 0 <= now - one["seen"] < self._options.clear_seconds

    @contextmanager
    def _shared(self) -> Iterator[_Known | None]:
        """What all processes know, locked, and written back; None while another one has it."""
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError:
            yield self._known
            return
        with os.fdopen(descriptor, "r+b") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield None
                return
            self._known = self._read(handle.read())
            yield self._known
            try:
                handle.seek(0)
                handle.write(orjson.dumps(self._known))
                handle.truncate()
                handle.flush()
            except OSError as error:
                log.debug("%s is not written: %s", self._path, error)

    def _read(self, found: bytes) -> _Known:
        try:
            body = orjson.loads(found)
            return {name: {key: float(one[key]) for key in ("seen", "told", "open")} for name, one in body.items()}
        except (ValueError, KeyError, TypeError, AttributeError):
            return {} if not found else self._known  # half written: what this process remembers is as good

    def _tell(self, event: str, names: list[str]) -> None:
        alert = self._alert(event, names)
        for hook, send in self._hooks.items():
            for pause in (*PAUSES, None):
                try:
                    send(alert)
                    self._sent[hook] += 1
                    break
                except HookError as error:
                    if pause is None or self._stop.is_set():
                        self._failed[hook] += 1
                        log.error("an alert of drift did not get through: %s", error)  # noqa: TRY400  # no traceback: the sentence says it
                        break
                    self._stop.wait(pause)

    def _alert(self, event: str, names: list[str]) -> Alert:
        """Numbers and names; of texts there is nothing in it."""
        what = "no longer looks" if event == "drift" else "looks again"
        name, digest = self._about["name"], self._about["digest"]
        listed = ", ".join(one.replace("_", " ") for one in names)
        found: dict[str, Any] = {
            "schema": 1,
            "event": event,
            "text": f"The traffic of {name} ({digest[:12]}) {what} like the data that the model was tested on: "
            f"{listed}.",
            **self._about,
            "time": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
            "host": socket.gethostname(),
            "detectors": names,
            "states": self._detector.states(),
            "evidence": {name: round(value, 3) for name, value in self._detector.evidence().items()},
        }
        return found


def alert_snapshot(alerter: Alerter | None) -> Snapshot:
    """What goes into the metrics, whether or not anybody is told."""
    return alerter.snapshot() if alerter else _snapshot(Counter(), Counter())


def _snapshot(sent: Counter[str], failed: Counter[str]) -> Snapshot:
    return {
        sample("ftdeploy_alerts_total", hook=hook, outcome=outcome): counts[hook]
        for hook in HOOKS
        for outcome, counts in (("sent", sent), ("failed", failed))
    }
