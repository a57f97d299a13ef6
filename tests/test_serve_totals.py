"""The metrics of several processes add up, and a counter never falls, whoever ends when."""

from __future__ import annotations

import multiprocessing
from pathlib import Path
from typing import TYPE_CHECKING

from ftdeploy.serve.totals import Totals, fold

if TYPE_CHECKING:
    import pytest

    from ftdeploy.serve.exposition import Snapshot

COUNTER = "ftdeploy_traffic_rows_total"
GAUGE = "ftdeploy_queue_rows"


def metrics(count: int, waiting: int = 0) -> Snapshot:
    return {COUNTER: count, GAUGE: waiting}


def test_who_is_asked_adds_what_the_others_left(tmp_path: Path) -> None:
    """Its own part is as it is now."""
    one, other = Totals(tmp_path, "1-1"), Totals(tmp_path, "1-2")
    other.publish(metrics(5, 2))
    one.publish(metrics(1, 1))
    assert one.of_all(metrics(3, 1)) == metrics(8, 3)
    assert other.of_all(metrics(5, 2)) == metrics(8, 3)


def test_what_an_ended_process_counted_stays_and_its_queue_goes(tmp_path: Path) -> None:
    """However many end; their files go, too."""
    one = Totals(tmp_path, "1-1")
    for number in range(2, 7):
        Totals(tmp_path, f"1-{number}").publish(metrics(10, 4))
        assert fold(tmp_path, f"1-{number}")
        assert one.of_all(metrics(1, 1)) == metrics(1 + 10 * (number - 1), 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1-1.json", "lock", "past"]


def test_a_process_that_left_nothing_is_no_fault(tmp_path: Path) -> None:
    """It ended before its first second."""
    assert fold(tmp_path, "1-1")
    assert Totals(tmp_path, "1-2").of_all(metrics(1)) == metrics(1)


def test_a_process_that_was_folded_is_not_counted_twice(tmp_path: Path) -> None:
    """Its file is still there when the past says that it has it: somebody died between the two."""
    Totals(tmp_path, "1-1").publish(metrics(10))
    kept = (tmp_path / "1-1.json").read_bytes()
    fold(tmp_path, "1-1")
    (tmp_path / "1-1.json").write_bytes(kept)
    assert Totals(tmp_path, "1-2").of_all(metrics(1)) == metrics(11)


def _come_and_go(folder: Path, first: int) -> None:
    for number in range(first, first + 60):
        Totals(folder, f"1-{number}").publish(metrics(1))
        while not fold(folder, f"1-{number}"):
            pass


def test_counters_never_fall_while_processes_come_and_go(tmp_path: Path) -> None:
    """Read while two others publish and fold: each number is at least the one before, and the last one is all."""
    spawn = multiprocessing.get_context("spawn")
    others = [spawn.Process(target=_come_and_go, args=(tmp_path, 100 * number)) for number in (1, 2)]
    for other in others:
        other.start()
    one, before = Totals(tmp_path, "2-1"), 0.0
    while any(other.is_alive() for other in others):
        now = one.of_all(metrics(0))[COUNTER]
        assert now >= before
        before = now
    for other in others:
        other.join()
    assert one.of_all(metrics(0)) == metrics(120)


def test_a_folder_that_cannot_be_written_costs_the_others_numbers_only(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Said once."""
    one = Totals(tmp_path / "gone", "1-1")
    assert [one.of_all(metrics(number)) for number in (1, 2)] == [metrics(1), metrics(2)]
    assert len(caplog.records) == 1
