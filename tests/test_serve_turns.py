"""Short turns are asked for the calling thread alone, and nothing else of how it is run changes."""

from __future__ import annotations

import os
import platform
import threading
from collections.abc import Callable
from typing import Any

import pytest

from ftdeploy.serve.turns import ask_for_short_turns

pytestmark = pytest.mark.skipif(platform.system() != "Linux", reason="other systems have no slices")


def aside(scene: Callable[[], tuple[Any, ...]]) -> tuple[Any, ...]:
    """What a function gives on a thread of its own, which ends with it."""
    found: list[tuple[Any, ...]] = []
    thread = threading.Thread(target=lambda: found.append(scene()))
    thread.start()
    thread.join()
    return found[0]


def test_policy_and_priority_stay_whatever_the_kernel_says() -> None:
    """A kernel before 6.12 takes it and gives no shorter turns, which is told."""

    def scene() -> tuple[Any, ...]:
        before = os.sched_getscheduler(0), os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
        asked = ask_for_short_turns()
        after = os.sched_getscheduler(0), os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
        return before == after, asked, ask_for_short_turns()

    same, asked, again = aside(scene)
    assert same
    assert asked is again


def test_a_thread_that_runs_when_nothing_else_does_is_left_alone() -> None:
    """Whoever gave it another policy knows why."""

    def scene() -> tuple[Any, ...]:
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        return ask_for_short_turns(), os.sched_getscheduler(0)

    assert aside(scene) == (False, os.SCHED_IDLE)


def test_on_an_unknown_machine_no_number_is_guessed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another system call could be behind it."""
    monkeypatch.setattr("platform.machine", lambda: "pdp11")
    monkeypatch.setattr("ctypes.CDLL", None)
    assert not ask_for_short_turns()
