"""Ten regressions planted in a model of a run, and thirteen changes that must not matter, judged by the run's suite.

Usage: ``python tests/benchmarks/planted_regressions.py RUN SUITE [NAME ...]``; RUN holds checkpoint, onnx and bundle of
the sentiment recipe (``runs/sentiment``), SUITE is ``evaluation_suites/sentiment.yaml``. Prints a table: what was
changed, the verdict, whether that is what was expected, the gates that did not pass, and seconds.
``tests/end_to_end/test_regressions.py`` holds the ten, and the harmless ones in fewer goes, to what they expect.

The limits of the suite's cost gates are those of a compressed model against fp32. Here a model is held against itself
before the change, and at a limit of 1 noise alone would decide: see `COSTS`.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "end_to_end"))

import plants
from workspace import serving

from ftdeploy.artifact import MANIFEST
from ftdeploy.evaluation import evaluate_suite
from ftdeploy.evaluation.cases import Rows, rows_of_run
from ftdeploy.predictor import Predictor
from ftdeploy.signature import read_signature
from ftdeploy.suite import Ratio, Suite, load_suite
from ftdeploy.verdict import GateResult, Report

#: By this factor a cost may be worse than before the change.
ROOM = 1.5
#: A size has no noise; exports differ by the names in them.
ROOM_OF_SIZE = 1.05


@dataclass(frozen=True, kw_only=True)
class Run:
    """A finished run of the sentiment recipe.

    Attributes:
        folder: holds checkpoint, onnx and bundle.
        suite: that its models are judged by.
        rows: its test rows.
    """

    folder: Path
    suite: Suite
    rows: Rows

    @property
    def fp32(self) -> Path:
        """The fp32 export."""
        return self.folder / "onnx"

    @property
    def bundle(self) -> Path:
        """The shipped model."""
        return self.folder / "bundle"


def open_run(folder: Path, suite: Path) -> Run:
    """A run's folder and the suite that judges it."""
    return Run(folder=folder, suite=load_suite(suite), rows=rows_of_run(folder, task="text-classification"))


#: Gives, from a run and an empty folder, the place of a model: a path or a URL.
Opened = Callable[[Run, Path], AbstractContextManager[str]]


@dataclass(frozen=True, kw_only=True)
class Change:
    """One change, and what the suite is to say of it.

    Attributes:
        name: what was done, in a few words.
        opened: the changed model.
        against: ``bundle`` or ``fp32``: the untouched model of the run that it is held against.
        fails: the gates that must fail (`called`); none are the changes that must pass.
        perhaps: gates that may fail as well, because the change brings their value near the limit; no others may.
        names: what the explanation of a failed gate must say.
        costs: a key of `COSTS`.
        rows: the rows that both models are judged on, out of the run's.
    """

    name: str
    opened: Opened
    against: str = "bundle"
    fails: frozenset[str] = frozenset()
    perhaps: frozenset[str] = frozenset()
    names: str = ""
    costs: Literal["suite", "room", "size", "none"] = "size"
    rows: Callable[[Rows], Rows] = lambda rows: rows


def called(gate: GateResult) -> str:
    """A gate's kind; with its metric where a suite has several of the kind that mean different things."""
    return f"{gate.kind} {gate.metric}" if gate.kind in ("robustness", "ratio") else gate.kind


def judge(change: Change, run: Run, folder: Path) -> Report:
    """Make the change and hold the changed model against the untouched one.

    Args:
        change: what is done.
        run: to what.
        folder: empty; for the changed model and the report.
    """
    suite = COSTS[change.costs](run.suite)
    baseline = {"bundle": run.bundle, "fp32": run.fp32}[change.against]
    with change.opened(run, folder) as candidate:
        return evaluate_suite(
            suite, candidate=candidate, baseline=str(baseline), rows=change.rows(run.rows), report=folder / "report"
        ).report


def _roomy(suite: Suite) -> Suite:
    """The suite with room in the limits of its cost gates."""

    def relaxed(gate: Ratio) -> Ratio:
        room = ROOM_OF_SIZE if gate.metric == "size" else ROOM
        limit = {"minimum": 1 / room} if gate.minimum is not None else {"maximum": room}
        return gate.model_copy(update=limit)

    gates = tuple(relaxed(gate) if isinstance(gate, Ratio) else gate for gate in suite.gates)
    return suite.model_copy(update={"gates": gates, "timing_rows": 32})  # a factor of two is seen by as few


def _without(suite: Suite, *, size: bool) -> Suite:
    """The suite without gates on time, and on size where that is said; what no gate asks for is timed shortly."""
    left = tuple(gate for gate in suite.gates if not isinstance(gate, Ratio) or (gate.metric == "size" and not size))
    return suite.model_copy(update={"gates": left, "timing_rounds": 1, "timing_rows": 8})


#: How costs are compared. `suite`: by the suite's own limits; `room`: with limits that an equal model keeps to under
#: noise, and one that costs twice as much does not; `size`: that alone, which has no noise, for changes that touch
#: nothing else; `none`: where runtimes would be compared, or a service whose size nobody knows.
COSTS: dict[str, Callable[[Suite], Suite]] = {
    "suite": lambda suite: suite,
    "room": _roomy,
    "size": lambda suite: _without(_roomy(suite), size=False),
    "none": lambda suite: _without(suite, size=True),
}


# Where the changed model comes from


def edited(change: Callable[[Path, Run], None], of: str = "bundle") -> Opened:
    """A copy of a model folder of the run, changed."""

    def opened(run: Run, folder: Path) -> AbstractContextManager[str]:
        copy = plants.copy_model(run.bundle if of == "bundle" else run.fp32, folder / "model")
        change(copy, run)
        return nullcontext(str(copy))

    return opened


def simply(change: Callable[[Path], None], of: str = "bundle") -> Opened:
    """The same by what needs nothing of the run."""
    return edited(lambda copy, _run: change(copy), of)


@contextmanager
def served(run: Run, folder: Path) -> Iterator[str]:
    """The bundle behind HTTP; a copy, because a service records its traffic beside it."""
    shutil.copytree(run.bundle, folder / "bundle")
    with serving([sys.executable, "-m", "ftdeploy", "serve", str(folder / "bundle")], cwd=folder) as url:
        yield url


@contextmanager
def served_out_of_order(run: Run, folder: Path) -> Iterator[str]:
    """The bundle behind HTTP, behind a proxy that reverses the answers of batches."""
    with served(run, folder) as url, plants.misordered(url) as place:
        yield place


def untouched(run: Run, _folder: Path) -> AbstractContextManager[str]:
    """The bundle itself."""
    return nullcontext(str(run.bundle))


def in_torch(run: Run, folder: Path) -> AbstractContextManager[str]:
    """The checkpoint that the run's models were exported from; a checkpoint has no temperature, so its head does."""
    copy = shutil.copytree(run.folder / "checkpoint", folder / "checkpoint", ignore=shutil.ignore_patterns(MANIFEST))
    plants.temper(copy, read_signature(run.fp32).temperature)
    return nullcontext(str(copy))


def shuffled(rows: Rows) -> Rows:
    """The same rows in another order."""
    order = np.random.default_rng(13).permutation(len(rows))
    return replace(rows, table=rows.table.take(order))


def _break_long_third(copy: Path, run: Run) -> None:
    rows = Predictor(copy).encode(run.rows.table["text"].to_pylist())
    plants.break_long_texts(copy, int(np.quantile([len(row.ids) for row in rows], 2 / 3)))


def _flip_golden(copy: Path, run: Run) -> None:
    (row,) = Predictor(copy).encode([run.suite.golden[0].text])  # a bundle may have a vocabulary of its own
    plants.flip_text(copy, row.ids)


def _export_again(opset: int) -> Opened:
    return edited(lambda copy, run: plants.export_again(copy, run.folder / "checkpoint", opset=opset), "fp32")


#: What fails where a tenth of the rows or more is answered wrongly.
WORSE = frozenset({"non-inferiority", "floor", "slices", "flips"})

PLANTED: tuple[Change, ...] = (
    Change(
        name="static int8, calibrated on padding",
        opened=edited(lambda copy, run: plants.calibrate_on_padding(copy, run.fp32), "fp32"),
        against="fp32",
        fails=frozenset({"non-inferiority", "slices"}),
        perhaps=frozenset({"floor", "flips", "calibration", "golden"}),
    ),
    Change(
        name="labels swapped",
        opened=simply(plants.swap_labels),
        fails=WORSE | {"calibration", "golden"},
        names="'one of the best movies of the year' came out as negative",
    ),
    Change(
        name="cut after 16 tokens",
        opened=simply(partial(plants.truncate, tokens=16)),
        fails=frozenset({"non-inferiority", "slices", "flips"}),
        perhaps=frozenset({"floor", "calibration"}),
        names="characters and more",
    ),
    Change(
        name="case kept by the tokenizer",
        opened=simply(plants.keep_case),
        fails=frozenset({"robustness case"}),
        perhaps=WORSE,
        names="Case change",
    ),
    Change(
        name="the longest third answered wrongly",
        opened=edited(_break_long_third),
        fails=WORSE | {"calibration"},
        names="characters and more",
    ),
    Change(
        name="overconfident (temperature 0.2)",
        opened=simply(partial(plants.exaggerate, temperature=0.2)),
        fails=frozenset({"calibration"}),
    ),
    Change(
        name="every pass made twice",
        opened=simply(plants.work_twice),
        costs="room",
        fails=frozenset({"ratio throughput", "ratio latency_p95"}),
    ),
    Change(name="twice as large", opened=simply(plants.pad_to), fails=frozenset({"ratio size"}), names="2.00 times"),
    Change(
        name="one golden row flipped",
        opened=edited(_flip_golden),
        fails=frozenset({"golden"}),
        names="1 of 4 changed: 'a wonderful, moving film with superb performances' came out as negative",
    ),
    Change(
        name="a service that answers batches in the wrong order",
        opened=served_out_of_order,
        costs="none",
        # Most neighbours among the rows have one label, so that accuracy hardly shows it.
        fails=frozenset({"consistency", "flips"}),
        perhaps=WORSE | {"calibration", "robustness case", "robustness whitespace", "robustness typos"},
        names="Company and order change",
    ),
)

HARMLESS: tuple[Change, ...] = (
    Change(name="exported again", opened=_export_again(18), against="fp32"),
    Change(name="exported with opset 17", opened=_export_again(17), against="fp32"),
    Change(name="exported with opset 19", opened=_export_again(19), against="fp32"),
    Change(name="batches of 16 rows", opened=simply(partial(plants.serve_with, batch_rows=16))),
    Change(
        name="one thread, one lane, batches of 512 tokens",
        opened=simply(partial(plants.serve_with, threads=1, lanes=1, batch_tokens=512)),
    ),
    Change(
        name="rows in another order, held against fp32", opened=untouched, against="fp32", costs="suite", rows=shuffled
    ),
    Change(
        name="dynamic int8",
        opened=edited(lambda copy, run: plants.quantize_dynamically(copy, run.fp32), "fp32"),
        against="fp32",
        costs="suite",
    ),
    Change(name="weights in a file of their own", opened=simply(plants.move_weights_out)),
    Change(name="everything renamed, weights reordered", opened=simply(plants.rename)),
    Change(name="optimised offline by ONNX Runtime", opened=simply(plants.optimise_offline, "fp32"), against="fp32"),
    Change(name="tokenizer and signature written anew", opened=simply(plants.write_anew)),
    Change(name="served over HTTP", opened=served, costs="none"),
    Change(name="in torch instead of ONNX Runtime", opened=in_torch, against="fp32", costs="none"),
)


def main(say: Callable[[str], None], arguments: Sequence[str]) -> None:
    """Print the table."""
    run = open_run(Path(arguments[0]), Path(arguments[1]))
    say("| change | verdict | as expected | gates that did not pass | seconds | of processors |")
    say("|---|---|---|---|---|---|")
    for change in (*PLANTED, *HARMLESS):
        if arguments[2:] and change.name not in arguments[2:]:
            continue
        with tempfile.TemporaryDirectory() as folder:
            began, used = time.perf_counter(), time.process_time()
            report = judge(change, run, Path(folder))
            seconds, of_processors = time.perf_counter() - began, time.process_time() - used
        failed = {called(gate) for gate in report.gates if gate.verdict == "fail"}
        named = change.fails <= failed <= change.fails | change.perhaps
        expected = named and report.verdict == ("fail" if change.fails else "pass")
        told = [f"{called(gate)} {gate.value:.4g} ({gate.verdict})" for gate in report.gates if gate.verdict != "pass"]
        answer = "yes" if expected else "NO"
        say(
            f"| {change.name} | {report.verdict} | {answer} | {', '.join(told)} | {seconds:.0f} | {of_processors:.0f} |"
        )


if __name__ == "__main__":
    main(lambda line: print(line, flush=True), sys.argv[1:])  # noqa: T201 - printing is what it is for
