"""A drift is told once by all workers together, again only after a cool-down, and its end when it has settled."""

from __future__ import annotations

import json
import logging
import threading
import time
from pathlib import Path

import pytest

from ftdeploy.serve import alerts
from ftdeploy.serve.about import DETECTORS, DriftState
from ftdeploy.serve.alert_hooks import Alert, HookError
from ftdeploy.serve.alert_options import AlertOptions
from ftdeploy.serve.alerts import Alerter, alert_snapshot
from ftdeploy.serve.exposition import sample

ABOUT = {"name": "sentiment", "digest": "0123456789abcdef", "task": "text-classification"}
QUICK = AlertOptions(clear_seconds=100, cooldown_seconds=1000)


class Detector:
    """Says what it is told to."""

    def __init__(self) -> None:
        self.alarms: set[str] = set()

    def states(self) -> dict[str, DriftState]:
        return {name: "alarm" if name in self.alarms else "none" for name in DETECTORS}

    def evidence(self) -> dict[str, float]:
        return dict.fromkeys(DETECTORS, 1.5)


class Worker:
    """An alerter whose looks are taken by hand, at a time that is set by hand; it tells ``heard``."""

    def __init__(self, folder: Path, clock: dict[str, float], monkeypatch: pytest.MonkeyPatch,
                 options: AlertOptions = QUICK) -> None:  # fmt: skip
        monkeypatch.setattr(alerts, "LOOK", 3600.0)
        monkeypatch.setattr(time, "time", lambda: clock["now"])
        self.detector = Detector()
        self.heard: list[tuple[str, list[str]]] = []
        self.alerter = Alerter(self.detector, options, folder, ABOUT)
        self.alerter._hooks = {"log": lambda alert: self.heard.append((alert["event"], alert["detectors"]))}

    def look(self, *alarms: str) -> None:
        self.detector.alarms = set(alarms)
        self.alerter._look()


@pytest.fixture
def clock() -> dict[str, float]:
    return {"now": 1_000_000.0}


def test_workers_speak_with_one_voice(tmp_path: Path, clock: dict[str, float], monkeypatch: pytest.MonkeyPatch) -> None:
    """What one has told the others do not tell again, whoever has the alarm; another detector's is another alert."""
    one, other = Worker(tmp_path, clock, monkeypatch), Worker(tmp_path, clock, monkeypatch)
    one.look("labels", "length")
    other.look("labels")
    other.look("labels", "embedding")
    one.look("labels", "embedding")
    assert one.heard == [("drift", ["labels", "length"])]
    assert other.heard == [("drift", ["embedding"])]


def test_a_drift_is_over_when_nobody_had_it_for_long(tmp_path: Path, clock: dict[str, float],
                                                     monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    """A pause in between is none (hysteresis); one that begins again soon after is not told (cool-down)."""
    one, other = Worker(tmp_path, clock, monkeypatch), Worker(tmp_path, clock, monkeypatch)
    one.look("labels")
    clock["now"] += 99
    one.look()
    other.look("labels")
    clock["now"] += 99
    one.look()
    assert one.heard == [("drift", ["labels"])]
    clock["now"] += 2
    one.look()
    other.look()
    assert one.heard == [("drift", ["labels"]), ("resolved", ["labels"])]
    one.look("labels")
    clock["now"] += 700
    one.look("labels")
    assert len(one.heard) == 2
    clock["now"] += 101
    one.look("labels")
    assert one.heard[2:] == [("drift", ["labels"])]
    assert other.heard == []


def test_a_worker_takes_up_what_a_dead_one_left(tmp_path: Path, clock: dict[str, float],
                                                monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    """The end of a drift that another process told is told all the same."""
    Worker(tmp_path, clock, monkeypatch).look("length")
    clock["now"] += 101
    next_one = Worker(tmp_path, clock, monkeypatch)
    next_one.look()
    assert next_one.heard == [("resolved", ["length"])]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"labels": {"seen": "x"}}'])
def test_a_damaged_file_or_none_at_all_costs_nothing_but_what_was_in_it(tmp_path: Path, clock: dict[str, float],
        monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:  # fmt: skip
    """Nor does a folder that cannot be written: a process goes by what it remembers."""
    (tmp_path / f"alerts-{ABOUT['digest'][:12]}.json").write_bytes(content)
    for folder in (tmp_path, tmp_path / "missing"):
        worker = Worker(folder, clock, monkeypatch)
        worker.look("labels")
        worker.look("labels")
        assert worker.heard == [("drift", ["labels"])]


def test_a_hook_that_fails_is_tried_again_and_counted(tmp_path: Path, clock: dict[str, float],
        monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:  # fmt: skip
    """Twice; the next hook has its turn all the same."""
    monkeypatch.setattr(alerts, "PAUSES", (0.0, 0.0))
    worker = Worker(tmp_path, clock, monkeypatch)
    tries = []

    def broken(alert: Alert) -> None:
        tries.append(alert)
        raise HookError("the webhook answered 500")

    def late(alert: Alert) -> None:
        tries.append(alert)
        if len(tries) < 5:
            raise HookError("not yet")

    worker.alerter._hooks = {"command": broken, "webhook": late}
    worker.look("labels")
    assert len(tries) == 5
    found = worker.alerter.snapshot()
    assert found[sample("ftdeploy_alerts_total", hook="command", outcome="failed")] == 1
    assert found[sample("ftdeploy_alerts_total", hook="webhook", outcome="sent")] == 1
    assert "answered 500" in caplog.text
    assert alert_snapshot(None) == dict.fromkeys(found, 0)


def test_a_hanging_hook_holds_nobody_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The service ends while a hook hangs; so does one command that is meant to go on."""
    monkeypatch.setattr(alerts, "LOOK", 0.01)
    detector = Detector()
    detector.alarms = {"labels"}
    alerter = Alerter(detector, AlertOptions(log=False, command=("sleep", "600"), timeout_seconds=600), tmp_path, ABOUT)
    hangs, over = threading.Event(), threading.Event()
    sleeping = alerter._hooks["command"]

    def hang(alert: Alert) -> None:
        hangs.set()
        try:
            sleeping(alert)
        finally:
            over.set()

    alerter._hooks["command"] = hang
    assert hangs.wait(20)
    assert not over.is_set()
    alerter.close(20)
    assert over.is_set()
    assert not alerter._thread.is_alive()


def test_an_alert_says_what_and_where_and_holds_no_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                        caplog: pytest.LogCaptureFixture) -> None:  # fmt: skip
    """By the thread that looks, to a program and into the log: names, numbers, one sentence."""
    monkeypatch.setattr(alerts, "LOOK", 0.01)
    detector = Detector()
    detector.alarms = {"unknown_tokens"}
    path = tmp_path / "alert.json"
    options = AlertOptions(command=("sh", "-c", f"cat > {path}.part; mv {path}.part {path}"))
    with caplog.at_level(logging.WARNING):
        alerter = Alerter(detector, options, tmp_path, ABOUT)
        while not path.exists():
            time.sleep(0.01)
        alerter.close()
    found = json.loads(path.read_text())
    sentence = "The traffic of sentiment (0123456789ab) no longer looks like the data that the model was tested on: "
    sentence += "unknown tokens."
    wanted = {"schema", "event", "text", "name", "digest", "time", "host", "detectors", "states", "evidence"}
    assert found.keys() == wanted
    assert (found["event"], found["text"], found["detectors"]) == ("drift", sentence, ["unknown_tokens"])
    assert [record.getMessage() for record in caplog.records] == [sentence]
