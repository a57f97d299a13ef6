"""Which candidate goes on: a rule on what was measured, so that equal measurements give an equal choice."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ftdeploy.compress.outcome import CandidateResult, Costs
from ftdeploy.recipe import CompressSettings, Goal

#: Those that may be shipped.
GOOD = ("kept", "undecided")
#: What fp32 gains is nothing, and less than this is rounding.
_SOMETHING = 1e-9


def goal(settings: CompressSettings) -> Goal:
    """The objective as weights."""
    if isinstance(settings.objective, Goal):
        return settings.objective
    return Goal(throughput=1.0) if settings.objective == "fastest" else Goal(throughput=0.0, size=1.0)


def choose(results: Sequence[CandidateResult], settings: CompressSettings) -> CandidateResult:
    """The best of the measured candidates that may be shipped; the first one is fp32.

    Better is what gains more by the objective. Whoever is within ``min_gain`` of the best counts as equal to it, since
    noise of a few percent must not choose the model; among those, the ones within ``min_gain`` of the smallest stay,
    and then what is proven before what is likely, and the higher score, decide. fp32 is left only for something that
    gains at least ``min_gain``, and never for something slower, unless the recipe allows that.

    Speed is judged by each one's best round. Neighbours on the machine only ever take time away, and from int8 more
    than from fp32 (its operators are short and wait for one another), so the best rounds are closest to the truth.
    """
    base = results[0]
    costs = _costs(base)
    gained = {
        one.name: gain(costs, one.costs, goal(settings))
        for one in results
        if one.costs is not None and one.status in GOOD and (settings.allow_slower or speed(costs, one.costs) >= 1)
    }
    best = max(gained.values())
    margin = math.log(settings.min_gain)
    if best < max(margin, _SOMETHING):
        return base
    equal = [one for one in results if gained.get(one.name, -math.inf) >= max(best - margin, _SOMETHING)]
    smallest = min(_costs(one).size for one in equal)
    small = [one for one in equal if _costs(one).size <= smallest * settings.min_gain]
    return max(small, key=lambda one: (one.status == "kept", [scored.good for scored in one.metrics.values()]))


def gain(base: Costs, now: Costs, weights: Goal) -> float:
    """Weighted sum of the logarithms of how many times better each cost is."""
    return (
        weights.throughput * math.log(speed(base, now))
        + weights.latency * math.log(min(base.latencies_p50) / min(now.latencies_p50))
        + weights.size * math.log(base.size / now.size)
    )


def speed(base: Costs, now: Costs) -> float:
    """Throughput over the base's, each in its best round."""
    return max(now.throughputs) / max(base.throughputs)


def pareto(results: Sequence[CandidateResult]) -> frozenset[str]:
    """Names of the measured candidates that no other one beats: at least as good in score, throughput and size, and
    better in one of them. The score is the first metric."""
    points = {
        one.name: (next(iter(one.metrics.values())).good, one.costs.speedup, -one.costs.size)
        for one in results
        if one.costs is not None and one.metrics
    }
    return frozenset(
        name
        for name, point in points.items()
        if not any(
            other != point and all(theirs >= ours for theirs, ours in zip(other, point, strict=True))
            for other in points.values()
        )
    )


def _costs(one: CandidateResult) -> Costs:
    if one.costs is None:
        raise ValueError(f"{one.name} was not measured")
    return one.costs
