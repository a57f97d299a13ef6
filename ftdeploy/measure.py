"""How fast and how large model folders are, measured side by side in one run.

Two speeds taken at different times on a shared machine cannot be compared: its load changes by more than the models
differ. So all models are open at once and take turns, round by round, in an order that reverses every round; what
is compared is the ratio within a round, and the median over the rounds counts. Memory is taken in processes of its own
(`ftdeploy.memory`), where nothing else is open.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Protocol, get_args

import numpy as np
from scipy.special import bdtr

from ftdeploy import progress
from ftdeploy.batching import SERVED, Batching, by_length
from ftdeploy.encoded import Encoded, by_text
from ftdeploy.hardware import served_lanes
from ftdeploy.memory import peak_memories
from ftdeploy.predictor import Predictor

Cost = Literal["size", "throughput", "latency_p50", "latency_p95", "latency_p99", "memory"]

#: Texts of median length, and as many at each higher percentile, that are answered one by one in a round.
LATENCY_TEXTS = 8
#: How often in a round each of them is.
LATENCY_REPEATS = 2
#: The percentiles of the lengths are taken over at most so many texts, at even distances.
_LENGTH_TEXTS = 1024

#: What a model folder holds that has to be stored and sent; its signature is a few hundred bytes.
MODEL_FILES = ("model.onnx", "model.onnx.data", "tokenizer.json")


class Runner(Protocol):
    """A model that is open, whatever runs it; `Predictor` is one."""

    @property
    def provider(self) -> str:
        """What runs it."""

    def encode(self, texts: Sequence[str]) -> Sequence[Encoded]:
        """Tokenise."""

    def run(self, rows: Sequence[Sequence[int]]) -> object:
        """One forward pass over token ids, padded to the longest row; called by several threads at once."""


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A model that is no model folder, opened by whoever knows how.

    Attributes:
        runner: answers.
        lanes: forward passes at the same time.
        size: bytes that have to be stored and sent.
    """

    runner: Runner
    lanes: int
    size: int


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One model folder as measured. The tuples hold one value a round, in the order of the rounds.

    Attributes:
        throughputs: rows a second, batched as the service batches.
        latencies_p50, latencies_p95: seconds for one text alone, tokenised already, that is as long in tokens as the
            50th and the 95th percentile of the texts; the median over several such texts and repeats.
        size: bytes of model, external data and tokenizer.
        rows: rows in a timing round.
        provider: the execution provider that ran it.
        latencies_p99: the same at the 99th percentile; empty when not asked for.
        memories: peak bytes of each process that was started for it (see `ftdeploy.memory`); empty when not asked for.
    """

    throughputs: tuple[float, ...]
    latencies_p50: tuple[float, ...]
    latencies_p95: tuple[float, ...]
    size: int
    rows: int
    provider: str
    latencies_p99: tuple[float, ...] = ()
    memories: tuple[int, ...] = ()

    @property
    def throughput(self) -> float:
        """Rows a second: the median of the rounds."""
        return float(np.median(self.throughputs))

    @property
    def latency_p50(self) -> float:
        """Seconds for one text of median length: the median of the rounds."""
        return float(np.median(self.latencies_p50))

    @property
    def latency_p95(self) -> float:
        """Seconds for one text at the 95th percentile of the lengths: the median of the rounds."""
        return float(np.median(self.latencies_p95))

    @property
    def memory(self) -> int | None:
        """Peak bytes: the median of the processes; None when it was not measured."""
        return int(np.median(self.memories)) if self.memories else None

    @property
    def noise(self) -> float:
        """Half the interquartile range of the rounds' throughput, relative to the median."""
        return self.noise_of("throughput")

    def rounds_of(self, cost: Cost) -> tuple[float, ...]:
        """A cost round by round, of memory process by process; empty where it was not measured."""
        values: dict[Cost, tuple[float, ...]] = {
            "size": (self.size,), "throughput": self.throughputs, "latency_p50": self.latencies_p50,
            "latency_p95": self.latencies_p95, "latency_p99": self.latencies_p99, "memory": self.memories,
        }  # fmt: skip
        return values[cost]

    def noise_of(self, cost: Cost) -> float:
        """Half the interquartile range of a cost over the rounds, relative to its median; a size has none."""
        low, middle, high = np.quantile(self.rounds_of(cost), [0.25, 0.5, 0.75])
        return float((high - low) / 2 / middle)

    def part(self, first: int, last: int | None = None) -> Measurement:
        """The same over some of its rounds."""
        rounds = slice(first, last)
        return replace(
            self, throughputs=self.throughputs[rounds], latencies_p50=self.latencies_p50[rounds],
            latencies_p95=self.latencies_p95[rounds], latencies_p99=self.latencies_p99[rounds],
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class CostRatio:
    """Candidate / baseline of one cost.

    Attributes:
        cost: which one.
        baseline, candidate: the medians of each.
        ratio: median over the rounds of the ratio within a round (not the ratio of the medians).
        lower, upper: order statistics of the rounds' ratios; each is a one-sided bound of the median ratio at
            ``confidence``, whatever the distribution of the noise (Conover 1999, section 3.2).
        confidence: what these bounds reach; few rounds reach less than was asked for.
    """

    cost: Cost
    baseline: float
    candidate: float
    ratio: float
    lower: float
    upper: float
    confidence: float


def measure(folders: Mapping[str, Path | Opened], texts: Sequence[str], *, rounds: int, rows: int,
            batching: Batching = SERVED, device: str = "auto",
            memory_runs: int = 0, tail: bool = False) -> dict[str, Measurement]:  # fmt: skip
    """Measure model folders side by side, alternating, after a warm-up that does not count.

    Args:
        folders: name -> model folder, or a model that is open already.
        texts: a sample of what is served; taken at even distances, repeated when there are fewer than ``rows``.
        rounds: timing rounds; each holds every model once.
        rows: rows in a timing round.
        batching: how the service runs a model: budget, threads, and passes at the same time.
        device: ``auto``, ``cpu`` or ``cuda``.
        memory_runs: processes for the peak memory of each folder; 0 leaves it out. There is none of what is open
            already.
        tail: measure the latency at the 99th percentile of the lengths too.

    Returns:
        name -> what was measured, in the order of ``folders``.

    Raises:
        ArtifactError: a folder is not a model folder or is damaged.
        ValueError: no folders, no texts, or no rounds.
    """
    if not folders or not texts or rounds < 1 or rows < 1:
        raise ValueError("measure wants at least one folder, one text, one round and one row")
    paths = {name: one for name, one in folders.items() if isinstance(one, Path)}
    memories = peak_memories(paths, memory_runs, batching=batching, device=device)
    models = [
        one if isinstance(one, Opened) else _open(one, batching=batching, device=device) for one in folders.values()
    ]
    # The first one's tokens say which texts are how long: every model answers the same texts.
    sample, alone = spread(texts, rows), typical(models[0].runner, texts, tail=tail)
    probes = [Probe(model, sample, alone, batching=batching) for model in models]
    take_turns(probes, rounds)
    return {
        name: replace(probe.measurement(), memories=memories.get(name, ()))
        for name, probe in zip(folders, probes, strict=True)
    }


def take_turns(probes: Sequence[Probe], rounds: int, *, warm: bool = False) -> None:
    """So many rounds more, each with a turn of every probe, in an order that reverses.

    Args:
        probes: models that are open.
        rounds: how many.
        warm: whether they have run before; without it, each first runs once for nothing.
    """
    with progress.task("measure", total=len(probes) * (rounds + (not warm))) as advance:
        for probe in [] if warm else probes:
            probe.batches()
            probe.alone()
            advance(1)
        for number in range(rounds):
            for probe in probes if number % 2 == 0 else reversed(probes):
                probe.round()
                advance(1)


def measured_costs(*measurements: Measurement) -> tuple[Cost, ...]:
    """The costs that are known of all of them: the size of a service is not, memory is measured on demand and of model
    folders only, and the latency of the longest texts on demand."""
    costs: tuple[Cost, ...] = get_args(Cost)
    return tuple(cost for cost in costs if all(any(one.rounds_of(cost)) for one in measurements))


def folder_size(folder: Path) -> int:
    """Bytes of a model folder that have to be stored and sent: model, external data, tokenizer."""
    return sum((folder / name).stat().st_size for name in MODEL_FILES if (folder / name).is_file())


def cost_ratio(baseline: Measurement, candidate: Measurement, cost: Cost, *, confidence: float = 0.95) -> CostRatio:
    """Candidate / baseline of one cost, with bounds from the rounds.

    Args:
        baseline, candidate: from the same call of `measure`, so that their rounds belong together.
        cost: which one.
        confidence: of each one-sided bound.

    Raises:
        ValueError: it was not measured, or is a size that nobody knows.
    """
    if cost == "size" and baseline.size and candidate.size:
        ratio = candidate.size / baseline.size
        return CostRatio(cost=cost, baseline=baseline.size, candidate=candidate.size, ratio=ratio, lower=ratio,
                         upper=ratio, confidence=1.0)  # fmt: skip
    before, after = baseline.rounds_of(cost), candidate.rounds_of(cost)
    if not (any(before) and any(after)):
        raise ValueError(f"{cost} was not measured")
    ratios = sorted(now / was for was, now in zip(before, after, strict=True))
    # P(the median lies below the k-th smallest of n) = P(Binomial(n, 1/2) < k); bdtr is the distribution function
    cut = max(1, sum(1 for k in range(len(ratios)) if bdtr(k, len(ratios), 0.5) <= 1 - confidence))
    return CostRatio(
        cost=cost, baseline=float(np.median(before)), candidate=float(np.median(after)),
        ratio=float(np.median(ratios)), lower=ratios[cut - 1], upper=ratios[-cut],
        confidence=float(1 - bdtr(cut - 1, len(ratios), 0.5)),
    )  # fmt: skip


def amount(cost: str, value: float) -> str:
    """A cost with its unit, for people."""
    if cost in ("size", "memory"):
        return f"{value / 1e6:,.1f} MB"
    return f"{value:,.0f} rows/s" if cost == "throughput" else f"{value * 1000:.2f} ms"


def typical(model: Runner, texts: Sequence[str], *, tail: bool = False) -> tuple[list[str], ...]:
    """Texts whose length in tokens is nearest to the median of the lengths, and to their 95th percentile.

    Args:
        model: its tokens count.
        texts: a sample of what is served.
        tail: those at the 99th percentile too.
    """
    some = spread(texts, min(len(texts), _LENGTH_TEXTS))
    rows = model.encode(some)
    lengths = np.array([len(row.ids) for row in rows])
    if len(rows) > len(some):  # texts in pieces
        lengths = np.bincount([row.text for row in rows], weights=lengths, minlength=len(some))

    def nearest(quantile: float) -> list[str]:
        order = np.argsort(np.abs(lengths - np.quantile(lengths, quantile)), kind="stable")
        return [some[index] for index in order[:LATENCY_TEXTS]]

    return tuple(nearest(quantile) for quantile in ((0.5, 0.95, 0.99) if tail else (0.5, 0.95)))


def spread(texts: Sequence[str], rows: int) -> list[str]:
    """``rows`` texts at even distances, or all of them over and over."""
    if len(texts) <= rows:
        return [texts[index % len(texts)] for index in range(rows)]
    return [texts[index * len(texts) // rows] for index in range(rows)]


def _open(folder: Path, *, batching: Batching, device: str) -> Opened:
    lanes, threads = served_lanes(batching, device)
    return Opened(runner=Predictor(folder, threads=threads, device=device), lanes=lanes, size=folder_size(folder))


def _passes(model: Runner, texts: Sequence[str], batching: Batching) -> list[list[list[list[int]]]]:
    """For each text the passes that answer it alone: one, or those of its pieces, as token ids."""
    rows = model.encode(texts)
    if len(rows) == len(texts):
        return [[[row.ids]] for row in rows]
    pieces = [[row.ids for row in of] for of in by_text(rows, len(texts))]
    plans = [by_length(list(map(len, ids)), tokens=batching.tokens, rows=batching.rows) for ids in pieces]
    return [[[ids[index] for index in batch] for batch in plan] for ids, plan in zip(pieces, plans, strict=True)]


class Probe:
    """A model that is open and takes its turn in every round."""

    def __init__(self, opened: Opened, sample: Sequence[str], alone: Sequence[list[str]], *,
                 batching: Batching) -> None:  # fmt: skip
        self.predictor, self.lanes, self.size = opened.runner, opened.lanes, opened.size
        # Tokenising is the same work for every model and would hide the difference.
        self.ids = [row.ids for row in self.predictor.encode(sample)]
        self.rows = len(sample)
        plan = by_length([len(ids) for ids in self.ids], tokens=batching.tokens, rows=batching.rows)
        self.plan = list(plan)[::-1]  # the longest first, so that no lane is left with them at the end
        self.typical = tuple(_passes(self.predictor, part, batching) for part in alone)
        self.throughputs: list[float] = []
        #: A list of seconds for each percentile of the lengths, a value a round.
        self.latencies: tuple[list[float], ...] = tuple([] for _ in alone)

    def batches(self) -> float:
        """Rows a second over the sample."""
        began = time.perf_counter()
        with ThreadPoolExecutor(self.lanes) as lanes:
            # ONNX Runtime lets go of the interpreter while it computes.
            list(lanes.map(lambda batch: self.predictor.run([self.ids[index] for index in batch]), self.plan))
        return self.rows / (time.perf_counter() - began)

    def alone(self) -> list[float]:
        """Median seconds for one text, at each percentile of the lengths."""
        medians = []
        for rows in self.typical:
            times = []
            for passes in rows * LATENCY_REPEATS:
                began = time.perf_counter()
                for batch in passes:
                    self.predictor.run(batch)
                times.append(time.perf_counter() - began)
            medians.append(float(np.median(times)))
        return medians

    def round(self) -> None:
        """One turn."""
        self.throughputs.append(self.batches())
        for seconds, found in zip(self.latencies, self.alone(), strict=True):
            seconds.append(found)

    def measurement(self) -> Measurement:
        """What the turns have shown."""
        p50, p95, *tail = map(tuple, self.latencies)
        return Measurement(
            throughputs=tuple(self.throughputs),
            latencies_p50=p50,
            latencies_p95=p95,
            latencies_p99=tail[0] if tail else (),
            size=self.size,
            rows=self.rows,
            provider=self.predictor.provider,
        )
