"""Ten regressions planted in the real bundle are caught and named by the shipped suite; harmless changes pass it.

What is done, and which gates must say so, stands in ``tests/benchmarks/planted_regressions.py``, which judges each
harmless change by itself, and all on all rows. Here it has to be quick: half of the rows do where an answer is changed
clearly or not at all, a quarter of those that are asked again where much fails, and harmless changes come together.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import plants
import pytest
from benchmarks.planted_regressions import (
    HARMLESS,
    PLANTED,
    Change,
    Run,
    called,
    edited,
    judge,
    open_run,
    shuffled,
    simply,
)

from ftdeploy.suite import Consistency, Robustness

if TYPE_CHECKING:
    from workspace import Workspace

    from ftdeploy.evaluation.cases import Rows

pytestmark = pytest.mark.slow


def _half(rows: Rows) -> Rows:
    """Every second row: they are sorted by their label."""
    return replace(rows, table=rows.table.take(np.arange(0, len(rows), 2)))


def _asked_less(run: Run) -> Run:
    """The run with gates that ask 64 rows again: what is planted changes a third of them, or none."""
    gates = tuple(
        gate.model_copy(update={"rows": 64}) if isinstance(gate, Robustness | Consistency) else gate
        for gate in run.suite.gates
    )
    return replace(run, suite=run.suite.model_copy(update={"gates": gates}))


def _another_export(copy: Path, run: Run) -> None:
    plants.export_again(copy, run.folder / "checkpoint", opset=17)
    plants.optimise_offline(copy)
    plants.rename(copy)
    plants.move_weights_out(copy)


def _written_and_served_otherwise(copy: Path) -> None:
    plants.rename(copy)
    plants.move_weights_out(copy)
    plants.write_anew(copy)
    plants.serve_with(copy, batch_rows=16, batch_tokens=512, threads=1, lanes=1)


#: Those of `HARMLESS` that can be made to one model, made to it.
TOGETHER: tuple[Change, ...] = (
    Change(
        name="another opset, optimised offline, renamed, reordered, weights in a file of their own",
        opened=edited(_another_export, "fp32"),
        against="fp32",
        rows=_half,
    ),
    Change(
        name="renamed, reordered, written anew, other batches, one thread, rows in another order",
        opened=simply(_written_and_served_otherwise),
        rows=lambda rows: shuffled(_half(rows)),
    ),
)
#: Those that stand for themselves, and whether half of the rows do: dynamic int8 changes answers, and takes all.
#: The run has timed such a model already.
ALONE = {"dynamic int8": False, "served over HTTP": True, "in torch instead of ONNX Runtime": True}
#: What changes no label moves the calibration error by less than what half of the rows leave open.
ALL_ROWS = ("overconfident (temperature 0.2)",)


@pytest.fixture(scope="module")
def run(sentiment: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """The run, with a cache of its own, so that the untouched models are asked once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FTDEPLOY_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield open_run(sentiment.run, sentiment.folder / "evaluation_suites" / "sentiment.yaml")


def test_there_are_ten_regressions_and_more_than_ten_harmless_changes() -> None:
    """Each has a name of its own; a regression says which gates must fail, a harmless change none."""
    assert len({change.name for change in PLANTED}) == len(PLANTED) == 10
    assert len({change.name for change in HARMLESS}) == len(HARMLESS) > 10
    assert all(change.fails for change in PLANTED)
    assert not any(change.fails or change.perhaps for change in HARMLESS)
    assert set(ALL_ROWS) <= {change.name for change in PLANTED}
    assert ALONE.keys() <= {change.name for change in HARMLESS}


@pytest.mark.parametrize("change", PLANTED, ids=lambda change: change.name)
def test_a_planted_regression_is_caught_and_named(run: Run, change: Change, tmp_path: Path) -> None:
    """The verdict is fail: by the gates that are there for it, and by no gate that it has nothing to do with."""
    change = change if change.name in ALL_ROWS else replace(change, rows=_half)
    report = judge(change, _asked_less(run), tmp_path)
    assert report.verdict == "fail"
    failed = {called(gate) for gate in report.gates if gate.verdict == "fail"}
    assert change.fails <= failed <= change.fails | change.perhaps
    assert change.names in " ".join(gate.explanation for gate in report.gates if gate.verdict == "fail")


@pytest.mark.parametrize(
    "change",
    [
        *TOGETHER,
        *(replace(one, rows=_half) for one in HARMLESS if ALONE.get(one.name)),
        *(replace(one, costs="size") for one in HARMLESS if ALONE.get(one.name) is False),
    ],
    ids=lambda change: change.name,
)
def test_a_harmless_change_passes(run: Run, change: Change, tmp_path: Path) -> None:
    """Every gate passes; none fails, and none is left open but the floor, which is about the training and not about the
    change: half of the rows cannot show it of every one. The models are no copies that would not be compared."""
    report = judge(change, run, tmp_path)
    left = {called(gate): gate for gate in report.gates if gate.verdict != "pass"}
    floor = left.pop("floor", None)
    assert {name: gate.explanation for name, gate in left.items()} == {}
    assert floor is None or floor.verdict == "inconclusive"
    assert not report.identical
