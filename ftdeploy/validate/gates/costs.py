"""The gate on ratios of costs: size, speed, memory."""

from __future__ import annotations

from ftdeploy.measure import CostRatio, amount
from ftdeploy.statistics import Verdict
from ftdeploy.suite import Ratio, RatioName, Suite
from ftdeploy.validate.gates.evidence import IDENTICAL, Evidence
from ftdeploy.verdict import GateResult

#: Why a cost is not known, where it is not.
_UNKNOWN: dict[RatioName, str] = {
    "size": "The size of a service is not known to whoever asks it.",
    "memory": "Memory is taken in processes that are started for it, which takes the model folders of both models.",
}


def ratio(gate: Ratio, suite: Suite, evidence: Evidence) -> GateResult:  # noqa: ARG001  # as all gates are called
    """Passes when the whole interval of the ratio is on the right side of the limit, fails when the median is not."""
    cost = evidence.costs.get(gate.metric)
    higher = gate.minimum is not None
    limit = gate.minimum if gate.minimum is not None else gate.maximum or 0.0
    bound = "at least" if higher else "at most"
    name = f"{gate.metric} {bound} {limit:g} times the baseline's"
    if cost is None:
        return GateResult(
            name=name, kind=gate.kind, case=gate.case, metric=gate.metric, verdict="inconclusive",
            explanation=_UNKNOWN.get(gate.metric, f"{gate.metric} was not measured of both models."), baseline=0.0,
            candidate=0.0, difference=0.0, value=0.0, unit="ratio", lower=0.0, upper=0.0, limit=limit,
            better="higher" if higher else "lower", rows=0,
        )  # fmt: skip
    good_end, bad_end = (cost.lower, cost.ratio) if higher else (-cost.upper, -cost.ratio)
    signed = limit if higher else -limit
    verdict: Verdict = "pass" if good_end >= signed else "fail" if bad_end < signed else "inconclusive"
    return GateResult(
        name=name,
        kind=gate.kind,
        case=gate.case,
        metric=gate.metric,
        verdict=verdict,
        explanation=IDENTICAL if evidence.identical else _words(cost, verdict, bound=bound, limit=limit),
        baseline=cost.baseline,
        candidate=cost.candidate,
        difference=cost.candidate - cost.baseline,
        value=cost.ratio,
        unit="ratio",
        lower=cost.lower,
        upper=cost.upper,
        limit=limit,
        better="higher" if higher else "lower",
        rows=evidence.timing_rows,
    )


def _words(cost: CostRatio, verdict: Verdict, *, bound: str, limit: float) -> str:
    now, was = amount(cost.cost, cost.candidate), amount(cost.cost, cost.baseline)
    says = f"It is {cost.ratio:.2f} times the baseline's ({now} against {was})"
    wanted = f"{bound} {limit:g} is wanted"
    if verdict == "pass" and cost.lower == cost.upper:
        return f"{says}; {wanted}."
    if verdict == "pass":
        edge = cost.lower if bound == "at least" else cost.upper
        return f"{says}; with {cost.confidence:.0%} confidence {bound} {edge:.2f} times, and {wanted}."
    if verdict == "fail":
        return f"{says}, and {wanted}."
    return f"{says}, but the rounds lie between {cost.lower:.2f} and {cost.upper:.2f}, and {wanted}."
