"""How a service is best set up for its model on this machine: lanes, and which texts share a forward pass. Measured.

The real batcher is asked by as many callers as there are connections, each with its next text when the last one is
answered (a closed loop). Settings take turns round by round, so that the machine's other work hits all of them, and one
that is not clearly better than what was there before is not taken: two runs on one machine then set up a service alike.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from statistics import median

import numpy as np

from ftdeploy import progress
from ftdeploy.drift import read_reference
from ftdeploy.encoded import Encoded
from ftdeploy.hardware import CPU, choose_provider, plan_lanes, processors
from ftdeploy.predictor import Predictor
from ftdeploy.serve.batcher import Batcher
from ftdeploy.serve.limits import Limits
from ftdeploy.serve.model import forward_of

#: Callers at the same time: a busy service.
CALLERS = 64
#: Settings that are tried beside the one that is there; lanes follow from the processors.
CALL_TOKENS = (4, 8, 16, 32)
#: On a GPU, where a pass costs about as much as hundreds of tokens.
GPU_CALL_TOKENS = (64, 256, 1024)
BATCH_TOKENS = (256, 512, 1024, 2048, 4096)
#: A setting is taken when every round gives more rows than the one before it, and the median so many times more.
CLEARLY = 1.05
#: Made-up texts that are asked for in turn.
_ROWS = 2000


@dataclass(frozen=True, kw_only=True)
class Setup:
    """Limits of the service (`ftdeploy.serve.limits`) that decide its speed.

    Attributes:
        lanes: forward passes at the same time.
        batch_call_tokens: what a forward pass costs beside its tokens, in tokens.
        batch_tokens: budget of padded tokens in one forward pass.
    """

    lanes: int
    batch_call_tokens: int
    batch_tokens: int

    def __str__(self) -> str:
        return ", ".join(f"{one.name} {getattr(self, one.name)}" for one in fields(self))


@dataclass(frozen=True, kw_only=True)
class Tuned:
    """What was found.

    Attributes:
        setup: the best.
        before: what was there.
        measured: each setup that was tried, and its rows a second: the median over the rounds.
        ratio: rows of the best for each row of what was there, in rounds between these two alone; 1 when it stays.
        processors: of this machine that the process may use.
    """

    setup: Setup
    before: Setup
    measured: Mapping[Setup, float]
    ratio: float
    processors: int

    def changed(self) -> dict[str, int]:
        """The limits that are better set otherwise than they were."""
        new, old = vars(self.setup), vars(self.before)
        return {name: value for name, value in new.items() if value != old[name]}


@dataclass
class _Bench:
    """One model folder under several setups; sessions are opened once for each number of threads."""

    folder: Path
    limits: Limits
    device: str
    rounds: int
    seconds: float
    measured: dict[Setup, float] = field(default_factory=dict)
    _opened: dict[int, Predictor] = field(default_factory=dict)
    _rows: list[Encoded] = field(default_factory=list)

    def predictor(self, lanes: int) -> Predictor:
        """The model with the threads that so many lanes leave to each."""
        on_cpu = choose_provider(self.device).name == CPU
        _, threads = plan_lanes(threads=self.limits.threads, lanes=lanes, on_cpu=on_cpu)
        if threads not in self._opened:
            self._opened[threads] = Predictor(self.folder, threads=threads, device=self.device)
        return self._opened[threads]

    def rows(self) -> list[Encoded]:
        """Rows of the lengths that the bundle remembers of its data; a pass takes as long whatever the tokens are."""
        if not self._rows:
            predictor = self.predictor(self.limits.lanes)
            lengths = remembered_lengths(self.folder, _ROWS)
            tokens = np.random.default_rng(0).integers(predictor.tokenizer.get_vocab_size(), size=max(lengths)).tolist()
            longest = predictor.signature.max_length
            self._rows = [Encoded(ids=tokens[: min(one, longest)], length=one, unknown=0) for one in lengths]
        return self._rows

    def best_of(self, setups: Sequence[Setup]) -> tuple[Setup, float]:
        """The best of some setups, and its ratio to the first one, which stays unless another is clearly better."""
        found: dict[Setup, list[float]] = {one: [] for one in setups}
        for number in range(self.rounds):
            for one in setups if number % 2 == 0 else reversed(setups):
                found[one].append(asyncio.run(self._rows_a_second(one)))
        self.measured |= {one: median(values) for one, values in found.items()}
        ratios = {
            one: [new / old for new, old in zip(values, found[setups[0]], strict=True)] for one, values in found.items()
        }
        best = max(setups, key=lambda one: median(ratios[one]))
        better = median(ratios[best])
        # In every round: on a machine with other work a median of few rounds can be anything.
        return (best, better) if better > CLEARLY and min(ratios[best]) > 1 else (setups[0], 1.0)

    async def _rows_a_second(self, setup: Setup) -> float:
        rows, answered = itertools.cycle(self.rows()), 0
        batcher = Batcher(
            forward_of(self.predictor(setup.lanes)),
            tokens=setup.batch_tokens,
            rows=self.limits.batch_rows,
            call=setup.batch_call_tokens,
            lanes=setup.lanes,
            max_queue=CALLERS,
        )

        async def caller() -> None:
            nonlocal answered
            while time.perf_counter() < end:
                await batcher.answer([next(rows)], timeout=self.limits.timeout_seconds)
                answered += 1

        try:
            await batcher.answer(
                [next(rows)], timeout=self.limits.timeout_seconds
            )  # the first pass of a session is slow
            began = time.perf_counter()
            end = began + self.seconds
            await asyncio.gather(*(caller() for _ in range(CALLERS)))
            return answered / (time.perf_counter() - began)
        finally:
            batcher.close()


def remembered_lengths(folder: Path, rows: int) -> list[int]:
    """Lengths in tokens, drawn from the histogram in a model folder's drift reference; the same ones each time."""
    reference = read_reference(folder / "drift_reference.npz")
    counts, edges = reference["length_counts"], reference["length_edges"]
    random = np.random.default_rng(0)
    bins = random.choice(len(counts), size=rows, p=counts / counts.sum())
    return [int(one) for one in random.integers(edges[bins].astype(int), np.maximum(edges[bins] + 1, edges[bins + 1]))]


def tune_service(folder: Path, limits: Limits, *, fixed: frozenset[str] = frozenset(), device: str = "auto",
                 rounds: int = 3, seconds: float = 0.4) -> Tuned:  # fmt: skip
    """Find the setup in which a model answers most texts a second.

    One limit after the other: the lanes, then which texts join a pass, then the budget of a pass.

    Args:
        folder: a model folder of a bundle, with its drift reference.
        limits: what is there; what it leaves to the machine is tried as the machine would have it.
        fixed: names of limits that stay as they are.
        device: see `open_session`.
        rounds: in which the settings take turns.
        seconds: for each setting in each round.
    """
    on_cpu = choose_provider(device).name == CPU
    lanes, _ = plan_lanes(threads=limits.threads, lanes=limits.lanes, on_cpu=on_cpu)
    threads = limits.threads or processors()
    now = before = Setup(lanes=lanes, batch_call_tokens=limits.batch_call_tokens, batch_tokens=limits.batch_tokens)
    tried: dict[str, Sequence[int]] = {
        "lanes": sorted({1, max(1, threads // 4), max(1, threads // 2), threads}) if on_cpu else (1, 2),
        "batch_call_tokens": CALL_TOKENS if on_cpu else GPU_CALL_TOKENS,
        "batch_tokens": BATCH_TOKENS,
    }
    bench = _Bench(folder, replace(limits, lanes=lanes), device, rounds, seconds)
    open_ = {name: values for name, values in tried.items() if name not in fixed}
    with progress.task("find the best batching", total=len(open_) + 1) as advance:
        for name, values in open_.items():
            others = dict.fromkeys(replace(now, **{name: value}) for value in values)
            now, _ = bench.best_of([now, *(one for one in others if one != now)])
            advance(1)
        # Fresh rounds: the best of many looks better than it is.
        now, ratio = bench.best_of(list(dict.fromkeys((before, now))))
        advance(1)
    return Tuned(setup=now, before=before, measured=bench.measured, ratio=ratio, processors=processors())
