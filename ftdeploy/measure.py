"""How fast and how large model folders are, measured side by side in one run.

Two speeds taken at different times on a shared machine cannot be compared: its load changes by more than the models
differ. So all models are open at once and take turns, round by round, in an order that reverses every round; what
is compared is the ratio within a round, and the median over the rounds counts.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from scipy.special import bdtr

from ftdeploy import progress
from ftdeploy.batching import SERVED, Batching, by_length
from ftdeploy.hardware import CPU, choose_provider, plan_lanes
from ftdeploy.predictor import Encoded, Predictor

Cost = Literal["size", "throughput", "latency_p50", "latency_p95"]


#: Texts that are answered one by one in a round, for the latency percentiles.
LATENCY_TEXTS = 32

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
        latencies_p50, latencies_p95: seconds for one text alone, tokenised already.
        size: bytes of model, external data and tokenizer.
        rows: rows in a timing round.
        provider: the execution provider that ran it.
    """

    throughputs: tuple[float, ...]
    latencies_p50: tuple[float, ...]
    latencies_p95: tuple[float, ...]
    size: int
    rows: int
    provider: str

    @property
    def throughput(self) -> float:
        """Rows a second: the median of the rounds."""
        return float(np.median(self.throughputs))

    @property
    def latency_p50(self) -> float:
        """Median seconds for one text: the median of the rounds."""
        return float(np.median(self.latencies_p50))

    @property
    def latency_p95(self) -> float:
        """95th percentile of the seconds for one text: the median of the rounds."""
        return float(np.median(self.latencies_p95))

    @property
    def noise(self) -> float:
        """Half the interquartile range of the rounds' throughput, relative to the median."""
        low, high = np.quantile(self.throughputs, [0.25, 0.75])
        return float((high - low) / 2 / self.throughput)


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
            batching: Batching = SERVED, device: str = "auto") -> dict[str, Measurement]:  # fmt: skip
    """Measure model folders side by side, alternating, after a warm-up that does not count.

    Args:
        folders: name -> model folder, or a model that is open already.
        texts: a sample of what is served; taken at even distances, repeated when there are fewer than ``rows``.
        rounds: timing rounds; each holds every model once.
        rows: rows in a timing round.
        batching: how the service runs a model: budget, threads, and passes at the same time.
        device: ``auto``, ``cpu`` or ``cuda``.

    Returns:
        name -> what was measured, in the order of ``folders``.

    Raises:
        ArtifactError: a folder is not a model folder or is damaged.
        ValueError: no folders, no texts, or no rounds.
    """
    if not folders or not texts or rounds < 1 or rows < 1:
        raise ValueError("measure wants at least one folder, one text, one round and one row")
    sample = _spread(texts, rows)
    probes = [_Probe(folder, sample, batching=batching, device=device) for folder in folders.values()]
    with progress.task("measure", total=len(probes) * (rounds + 1)) as advance:
        for probe in probes:
            probe.batches()
            probe.singles()
            advance(1)
        for number in range(rounds):
            for probe in probes if number % 2 == 0 else reversed(probes):
                probe.round()
                advance(1)
    return {name: probe.measurement() for name, probe in zip(folders, probes, strict=True)}


def folder_size(folder: Path) -> int:
    """Bytes of a model folder that have to be stored and sent: model, external data, tokenizer."""
    return sum((folder / name).stat().st_size for name in MODEL_FILES if (folder / name).is_file())


def cost_ratio(baseline: Measurement, candidate: Measurement, cost: Cost, *, confidence: float = 0.95) -> CostRatio:
    """Candidate / baseline of one cost, with bounds from the rounds.

    Args:
        baseline, candidate: from the same call of `measure`, so that their rounds belong together.
        cost: which one.
        confidence: of each one-sided bound.
    """
    if cost == "size":
        ratio = candidate.size / baseline.size
        return CostRatio(cost=cost, baseline=baseline.size, candidate=candidate.size, ratio=ratio, lower=ratio,
                         upper=ratio, confidence=1.0)  # fmt: skip
    before, after = _rounds(baseline, cost), _rounds(candidate, cost)
    ratios = sorted(now / was for was, now in zip(before, after, strict=True))
    # P(the median lies below the k-th smallest of n) = P(Binomial(n, 1/2) < k); bdtr is the distribution function
    cut = max(1, sum(1 for k in range(len(ratios)) if bdtr(k, len(ratios), 0.5) <= 1 - confidence))
    return CostRatio(
        cost=cost,
        baseline=float(np.median(before)),
        candidate=float(np.median(after)),
        ratio=float(np.median(ratios)),
        lower=ratios[cut - 1],
        upper=ratios[-cut],
        confidence=float(1 - bdtr(cut - 1, len(ratios), 0.5)),
    )


def amount(cost: str, value: float) -> str:
    """A cost with its unit, for people."""
    if cost == "size":
        return f"{value / 1e6:,.1f} MB"
    return f"{value:,.0f} rows/s" if cost == "throughput" else f"{value * 1000:.2f} ms"


def _rounds(measurement: Measurement, cost: Cost) -> tuple[float, ...]:
    if cost == "throughput":
        return measurement.throughputs
    return measurement.latencies_p50 if cost == "latency_p50" else measurement.latencies_p95


def _spread(texts: Sequence[str], rows: int) -> list[str]:
    """``rows`` texts at even distances, or all of them over and over."""
    if len(texts) <= rows:
        return [texts[index % len(texts)] for index in range(rows)]
    return [texts[index * len(texts) // rows] for index in range(rows)]


def _open(folder: Path, *, batching: Batching, device: str) -> Opened:
    on_cpu = choose_provider(device).name == CPU
    lanes, threads = plan_lanes(threads=batching.threads, lanes=batching.lanes, on_cpu=on_cpu)
    runner = Predictor(folder, threads=threads, device=device)
    return Opened(runner=runner, lanes=lanes, size=folder_size(folder))


class _Probe:
    """A model that is open and takes its turn in every round."""

    def __init__(self, folder: Path | Opened, sample: Sequence[str], *, batching: Batching, device: str) -> None:
        opened = folder if isinstance(folder, Opened) else _open(folder, batching=batching, device=device)
        self.predictor, self.lanes, self.size = opened.runner, opened.lanes, opened.size
        # Tokenising is the same work for every model and would hide the difference.
        self.ids = [row.ids for row in self.predictor.encode(sample)]
        plan = by_length([len(ids) for ids in self.ids], tokens=batching.tokens, rows=batching.rows)
        self.plan = list(plan)[::-1]  # the longest first, so that no lane is left with them at the end
        self.alone = [self.ids[int(index)] for index in np.linspace(0, len(self.ids) - 1, LATENCY_TEXTS)]
        self.throughputs: list[float] = []
        self.p50: list[float] = []
        self.p95: list[float] = []

    def batches(self) -> float:
        began = time.perf_counter()
        with ThreadPoolExecutor(self.lanes) as lanes:
            # ONNX Runtime lets go of the interpreter while it computes.
            list(lanes.map(lambda batch: self.predictor.run([self.ids[index] for index in batch]), self.plan))
        return len(self.ids) / (time.perf_counter() - began)

    def singles(self) -> list[float]:
        times = []
        for ids in self.alone:
            began = time.perf_counter()
            self.predictor.run([ids])
            times.append(time.perf_counter() - began)
        return times

    def round(self) -> None:
        self.throughputs.append(self.batches())
        p50, p95 = np.quantile(self.singles(), [0.5, 0.95])
        self.p50.append(float(p50))
        self.p95.append(float(p95))

    def measurement(self) -> Measurement:
        return Measurement(
            throughputs=tuple(self.throughputs),
            latencies_p50=tuple(self.p50),
            latencies_p95=tuple(self.p95),
            size=self.size,
            rows=len(self.ids),
            provider=self.predictor.provider,
        )
