"""Session options: which are tried with a model, and which of them stays.

All that is tried here leaves the answers as they are (or is left out, or marked), so it is tried last, on the few
models that are worth it. Options of one kind are tried together, on top of what won before: successive halving
(Jamieson & Talwalkar 2016) finds the most promising one, with the model as it is beside it in every round, and only
fresh rounds of these two decide: whoever looks best among many looks better than it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ftdeploy import progress
from ftdeploy.batching import SERVED, Batching
from ftdeploy.errors import FtdeployError
from ftdeploy.hardware import CPU, OPENVINO, choose_provider, served_lanes
from ftdeploy.measure import (
    Cost,
    CostRatio,
    Measurement,
    Opened,
    Probe,
    cost_ratio,
    spread,
    take_turns,
    typical,
)
from ftdeploy.predictor import Predictor
from ftdeploy.signature import SessionOptions, read_signature

if TYPE_CHECKING:
    from numpy.typing import NDArray

Goal = Literal["throughput", "latency_p50", "latency_p95"]

#: The options by kind, in the order in which they are tried: name -> what it changes.
KINDS: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "fusions": {
        "no-skip-fusion": {"disabled_optimizers": ("SkipLayerNormFusion",)},
        "no-attention-fusion": {"disabled_optimizers": ("AttentionFusion",)},
        "no-gelu-bias-fusion": {"disabled_optimizers": ("BiasGeluFusion",)},
        "extended": {"graph_optimization": "extended"},
    },
    "memory": {
        "no-arena": {"memory_arena": False},
        "no-pattern": {"memory_pattern": False},
    },
    "threads": {
        "no-spinning": {"spinning": False},
        "small-blocks": {"dynamic_block_base": 4},
    },
    "provider": {
        "openvino": {"provider": OPENVINO},
    },
    "approximate": {
        "gelu-approximation": {"gelu_approximation": True},
    },
}

#: Answers that differ by no more than this (logits) are the same: additions in another order.
SAME_ANSWER = 1e-3
#: What the bound that decides must reach; five rounds do.
_CONFIDENCE = 0.95
#: Texts that the answers are compared on.
_COMPARED = 32


@dataclass(frozen=True, kw_only=True)
class Variant:
    """Options to try: ``options`` is what the model has, with one change."""

    name: str
    options: SessionOptions


@dataclass(frozen=True, kw_only=True)
class SessionTrial:
    """What became of one variant.

    Attributes:
        name: the variant's.
        options: all options that it ran with.
        status: ``kept``: the model goes on with it; ``dropped``: not proven better; ``failed``: it does not run, or
            answers otherwise.
        reason: in words.
        rounds: how many it took part in.
        ratios: variant / the options so far, over the rounds that count: the fresh ones for those that got so far.
        noise: half the interquartile range of its rounds at the goal, relative to the median; None when it did not run.
        logit_difference: largest absolute difference of a logit to the options so far.
    """

    name: str
    options: SessionOptions
    status: Literal["kept", "dropped", "failed"]
    reason: str
    rounds: int = 0
    ratios: tuple[CostRatio, ...] = ()
    noise: float | None = None
    logit_difference: float | None = None


@dataclass(frozen=True, kw_only=True)
class SessionChoice:
    """The options to go on with, and how they were found."""

    options: SessionOptions
    trials: tuple[SessionTrial, ...]


def session_variants(kind: str, now: SessionOptions) -> tuple[Variant, ...]:
    """The variants of one kind of options, each on top of ``now``; those that ``now`` holds already are left out.

    Args:
        kind: a key of `KINDS`.
        now: the options so far.
    """
    found = []
    for name, change in KINDS[kind].items():
        merged = dict(change)
        if "disabled_optimizers" in change:
            both = (*now.disabled_optimizers, *change["disabled_optimizers"])
            merged["disabled_optimizers"] = tuple(dict.fromkeys(both))
        options = now.model_copy(update=merged)
        if options != now:
            found.append(Variant(name=name, options=options))
    return tuple(found)


def kinds_for(*, threads: int, device: str = "auto", available: Sequence[str] | None = None,
              approximate: bool = False) -> tuple[str, ...]:  # fmt: skip
    """The kinds of options that can matter here.

    Args:
        threads: of one lane; a single one has nobody to wait for.
        device: as in the recipe.
        available: providers of the installed onnxruntime; None asks it.
        approximate: also what changes the answers a little; the caller judges them afterwards.
    """
    installed = None if available is None else list(available)
    preferred = choose_provider(device, available=installed, preferred=OPENVINO).name
    left_out = {"threads": threads < 2, "provider": preferred != OPENVINO, "approximate": not approximate}  # noqa: PLR2004  # a pair
    on_cpu = choose_provider(device, available=installed).name == CPU
    return tuple(kind for kind in KINDS if not left_out.get(kind, False) and (on_cpu or kind == "fusions"))


def tune_session(folder: Path, texts: Sequence[str], *, batching: Batching = SERVED, device: str = "auto",
                 rounds: int = 5, rows: int = 64, goal: Goal = "throughput",
                 kinds: Sequence[str] | None = None) -> SessionChoice:  # fmt: skip
    """Find the session options that a model runs best with, measured.

    An option is taken only when the bound of the ratio over ``rounds`` fresh rounds says that it is better
    (`ftdeploy.measure.cost_ratio`): five rounds all on its side are 97% confidence. Else the model stays as it is.

    Args:
        folder: a model folder; its own options are where the search begins.
        texts: a sample of what is served.
        batching: how the service runs a model.
        device: ``auto``, ``cpu`` or ``cuda``.
        rounds: fresh rounds that decide; under 5 no bound reaches 95%.
        rows: rows in a round.
        goal: what has to get better.
        kinds: keys of `KINDS`; None takes those of `kinds_for`.

    Raises:
        ArtifactError: the folder is not a model folder or is damaged.
        ValueError: no texts, no rounds or no rows.
    """
    if not texts or rounds < 1 or rows < 1:
        raise ValueError("tune_session wants at least one text, one round and one row")
    lanes, threads = served_lanes(batching, device)
    best = read_signature(folder).session
    trials: list[SessionTrial] = []
    kinds = kinds_for(threads=threads, device=device) if kinds is None else kinds
    table = _Table(folder=folder, texts=texts, batching=batching, device=device, lanes=lanes, threads=threads,
                   rounds=rounds, rows=rows, goal=goal)  # fmt: skip
    with progress.task("session options", total=len(kinds)) as advance:
        for kind in kinds:
            found = _try_kind(table, best, session_variants(kind, best), approximate=kind == "approximate")
            trials += found
            best = next((trial.options for trial in found if trial.status == "kept"), best)
            advance(1)
    return SessionChoice(options=best, trials=tuple(trials))


@dataclass(frozen=True, kw_only=True)
class _Table:
    """What stays the same over all variants."""

    folder: Path
    texts: Sequence[str]
    batching: Batching
    device: str
    lanes: int
    threads: int
    rounds: int
    rows: int
    goal: Goal

    def open(self, options: SessionOptions) -> tuple[Probe, NDArray[np.float32]]:
        """A model that takes part, and its logits on the texts that are compared."""
        runner = Predictor(self.folder, threads=self.threads, device=self.device, session=options)
        logits = runner.predict(spread(self.texts, _COMPARED), batching=self.batching).logits
        opened = Opened(runner=runner, lanes=self.lanes, size=0)
        sample, lengths = spread(self.texts, self.rows), typical(runner, self.texts)
        return Probe(opened, sample, lengths, batching=self.batching), logits


def _try_kind(table: _Table, now: SessionOptions, variants: Sequence[Variant], *,
              approximate: bool) -> list[SessionTrial]:  # fmt: skip
    incumbent, expected = table.open(now)
    probes: dict[str, Probe] = {}
    trials: dict[str, SessionTrial] = {}
    for variant in variants:
        opened, trial = _open(table, variant, expected, approximate=approximate)
        trials[variant.name] = trial
        if opened is not None:
            probes[variant.name] = opened
    name = _halve(incumbent, probes, table.goal)
    for other in probes.keys() - {name}:
        trials[other] = _figures(trials[other], incumbent, probes[other], table.goal)
    if name is not None:
        before = len(incumbent.throughputs)
        take_turns([incumbent, probes[name]], table.rounds, warm=True)
        trials[name] = _figures(trials[name], incumbent, probes[name], table.goal, since=before, decide=True)
    return list(trials.values())


def _open(table: _Table, variant: Variant, expected: NDArray[np.float32], *,
          approximate: bool) -> tuple[Probe | None, SessionTrial]:  # fmt: skip
    trial = SessionTrial(name=variant.name, options=variant.options, status="failed", reason="")
    try:
        probe, logits = table.open(variant.options)
    except FtdeployError as error:
        return None, replace(trial, reason=error.what)
    except Exception as error:  # noqa: BLE001  # onnxruntime's classes share no public base; it is this variant's reason
        return None, replace(trial, reason=str(error).splitlines()[0][:300])
    apart = float(np.abs(logits - expected).max())
    trial = replace(trial, logit_difference=apart)
    if not np.isfinite(apart) or (apart > SAME_ANSWER and not approximate):
        return None, replace(trial, reason=f"its logits differ by up to {apart:.2g}")
    return probe, replace(trial, status="dropped", reason="another of its kind was ahead after a few rounds")


def _halve(incumbent: Probe, probes: Mapping[str, Probe], goal: Goal) -> str | None:
    """The most promising of the probes, by rounds that double while the field halves; None when there are none."""
    left = list(probes)
    for rung in count():
        if rung and len(left) < 2:  # noqa: PLR2004  # a pair
            return left[0] if left else None
        # The best round is closest to the truth: neighbours on the machine only ever take time away.
        take_turns([incumbent, *(probes[name] for name in left)], 2**rung, warm=rung > 0)
        left.sort(key=lambda name: _best(probes[name].measurement(), goal))
        left = left[: (len(left) + 1) // 2]
    raise AssertionError  # count has no end


def _best(measurement: Measurement, goal: Goal) -> float:
    """The best round; lower is better."""
    if goal == "throughput":
        return -max(measurement.throughputs)
    return min(measurement.latencies_p50 if goal == "latency_p50" else measurement.latencies_p95)


def _figures(trial: SessionTrial, incumbent: Probe, probe: Probe, goal: Goal, *, since: int = 0,
             decide: bool = False) -> SessionTrial:  # fmt: skip
    """The trial with its figures over the rounds from ``since`` on that both took part in."""
    after = probe.measurement().part(since)
    before = incumbent.measurement().part(since, since + len(after.throughputs))
    costs: tuple[Cost, ...] = ("throughput", "latency_p50", "latency_p95")
    ratios = {cost: cost_ratio(before, after, cost) for cost in costs}
    found = tuple(ratios.values())
    trial = replace(trial, rounds=len(probe.throughputs), ratios=found, noise=after.noise_of(goal))
    if not decide:
        return trial
    ratio = ratios[goal]
    better = (ratio.lower > 1 if goal == "throughput" else ratio.upper < 1) and ratio.confidence >= _CONFIDENCE
    bounds = f"between {ratio.lower:.3f} and {ratio.upper:.3f}"
    words = f"{goal} {ratio.ratio:.3f} times, {bounds} over {len(after.throughputs)} rounds"
    if better:
        return replace(trial, status="kept", reason=f"better: {words}")
    return replace(trial, status="dropped", reason=f"not proven better: {words}")
