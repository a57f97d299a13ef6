"""Gates: each rule of the suite held against the answers and the measurements, with a verdict in plain words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ftdeploy.measure import Cost, CostRatio, amount
from ftdeploy.metrics import METRICS
from ftdeploy.statistics import Comparison, Verdict, compare, estimate
from ftdeploy.suite import Floor, Gap, Gate, NonInferiority, Ratio, Suite
from ftdeploy.validate.answers import Answers
from ftdeploy.validate.bias import judge_gap
from ftdeploy.verdict import GateResult, GoldenResult

_IDENTICAL = "The candidate is the baseline, byte for byte, so its answers cannot differ."


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """All that gates are judged by.

    Attributes:
        answers: of both models, to the same rows.
        costs: cost -> ratio, measured side by side.
        identical: the candidate is the baseline, byte for byte.
        timing_rows: rows in a timing round.
        seed: of every resampling.
    """

    answers: Answers
    costs: Mapping[Cost, CostRatio]
    identical: bool
    timing_rows: int
    seed: int


def judge(suite: Suite, evidence: Evidence, golden: Sequence[GoldenResult]) -> list[GateResult]:
    """A result for every gate of the suite, and one for its golden rows where it has any."""
    results = [_judge(gate, suite, evidence) for gate in suite.gates]
    return [*results, _golden(golden)] if golden else results


def overall(results: Sequence[GateResult]) -> Verdict:
    """fail when a gate failed, else inconclusive when one could not tell, else pass."""
    found = {result.verdict for result in results}
    return "fail" if "fail" in found else "inconclusive" if "inconclusive" in found else "pass"


def _judge(gate: Gate, suite: Suite, evidence: Evidence) -> GateResult:
    if isinstance(gate, NonInferiority):
        return _non_inferiority(gate, suite, evidence)
    if isinstance(gate, Floor):
        return _floor(gate, suite, evidence)
    if isinstance(gate, Gap):
        return judge_gap(gate, suite, evidence.answers)
    return _ratio(gate, evidence)


def _non_inferiority(gate: NonInferiority, suite: Suite, evidence: Evidence) -> GateResult:
    answers = evidence.answers
    found = compare(
        METRICS[gate.metric],
        answers.references,
        answers.baseline.predictions,
        answers.candidate.predictions,
        classes=len(answers.labels),
        margin=gate.margin,
        confidence=suite.confidence,
        resamples=suite.resamples,
        seed=evidence.seed,
    )
    same = evidence.identical
    return GateResult(
        name=f"{gate.metric} at most {gate.margin:g} lower",
        kind=gate.kind,
        metric=gate.metric,
        verdict="pass" if same else found.verdict,
        explanation=_IDENTICAL if same else _non_inferiority_words(found, suite.confidence),
        baseline=found.baseline,
        candidate=found.candidate,
        difference=found.difference,
        value=found.difference,
        lower=0.0 if same else found.lower,
        upper=0.0 if same else found.upper,
        limit=-gate.margin,
        better="higher",
        rows=found.rows,
        rows_to_decide=None if same else found.rows_to_decide,
    )


def _non_inferiority_words(found: Comparison, confidence: float) -> str:
    moved = _change(found.baseline, found.candidate)
    if found.verdict == "fail":
        return f"{moved} That is more than the tolerated drop of {found.margin:.4f}."
    if found.verdict == "inconclusive":
        return (
            f"{moved} {found.rows:,} rows cannot exclude a drop of {-found.lower:.4f}, and {found.margin:.4f} are "
            f"tolerated. About {found.rows_to_decide or 0:,} rows would do, if the difference stays."
        )
    bound = f"the drop is at most {-found.lower:.4f}" if found.lower < 0 else f"the gain is at least {found.lower:.4f}"
    return f"{moved} With {confidence:.0%} confidence {bound}; {found.margin:.4f} are tolerated."


def _change(baseline: float, candidate: float) -> str:
    if baseline == candidate:
        return f"It stays at {baseline:.4f}."
    verb = "falls" if candidate < baseline else "rises"
    return f"It {verb} by {abs(candidate - baseline):.4f}, from {baseline:.4f} to {candidate:.4f}."


def _floor(gate: Floor, suite: Suite, evidence: Evidence) -> GateResult:
    answers, metric, classes = evidence.answers, METRICS[gate.metric], len(evidence.answers.labels)
    now, was = (
        estimate(metric, answers.references, found.predictions, classes, confidence=suite.confidence,
                 resamples=suite.resamples, seed=evidence.seed)
        for found in (answers.candidate, answers.baseline)
    )  # fmt: skip
    verdict: Verdict = "pass" if now.lower >= gate.minimum else "fail" if now.value < gate.minimum else "inconclusive"
    needed = _floor_rows(len(answers), now.value, now.lower, gate.minimum) if verdict == "inconclusive" else None
    says = {
        "pass": f"with {suite.confidence:.0%} confidence at least {now.lower:.4f}, and {gate.minimum:g} is wanted.",
        "fail": f"and at least {gate.minimum:g} is wanted.",
        "inconclusive": f"but {len(answers):,} rows cannot exclude {now.lower:.4f}, and {gate.minimum:g} is wanted."
        + (f" About {needed:,} rows would do, if it stays." if needed else ""),
    }
    return GateResult(
        name=f"{gate.metric} at least {gate.minimum:g}",
        kind=gate.kind,
        metric=gate.metric,
        verdict=verdict,
        explanation=f"It is {now.value:.4f}, {says[verdict]}",
        baseline=was.value,
        candidate=now.value,
        difference=now.value - was.value,
        value=now.value,
        lower=now.lower,
        upper=now.upper,
        limit=gate.minimum,
        better="higher",
        rows=len(answers),
        rows_to_decide=needed,
    )


def _floor_rows(rows: int, value: float, lower: float, minimum: float) -> int | None:
    """About how many rows would lift the lower end to the minimum: its distance falls with the square root."""
    return None if value == minimum else max(rows + 1, round(rows * ((value - lower) / (value - minimum)) ** 2))


def _ratio(gate: Ratio, evidence: Evidence) -> GateResult:
    cost = evidence.costs[gate.metric]
    higher = gate.minimum is not None
    limit = gate.minimum if gate.minimum is not None else gate.maximum or 0.0
    good_end, bad_end = (cost.lower, cost.ratio) if higher else (-cost.upper, -cost.ratio)
    signed = limit if higher else -limit
    verdict: Verdict = "pass" if good_end >= signed else "fail" if bad_end < signed else "inconclusive"
    bound = "at least" if higher else "at most"
    now, was = amount(cost.cost, cost.candidate), amount(cost.cost, cost.baseline)
    says = f"{cost.ratio:.2f} times the baseline's ({now} against {was})"
    wanted = f"{bound} {limit:g} is wanted"
    if verdict == "pass" and cost.lower == cost.upper:
        explanation = f"It is {says}; {wanted}."
    elif verdict == "pass":
        edge = cost.lower if higher else cost.upper
        explanation = f"It is {says}; with {cost.confidence:.0%} confidence {bound} {edge:.2f} times, and {wanted}."
    elif verdict == "fail":
        explanation = f"It is {says}, and {wanted}."
    else:
        explanation = f"It is {says}, but the rounds lie between {cost.lower:.2f} and {cost.upper:.2f}, and {wanted}."
    return GateResult(
        name=f"{gate.metric} {bound} {limit:g} times the baseline's",
        kind=gate.kind,
        metric=gate.metric,
        verdict=verdict,
        explanation=_IDENTICAL if evidence.identical else explanation,
        baseline=cost.baseline,
        candidate=cost.candidate,
        difference=cost.candidate - cost.baseline,
        value=cost.ratio,
        lower=cost.lower,
        upper=cost.upper,
        limit=limit,
        better="higher" if higher else "lower",
        rows=evidence.timing_rows,
    )


def _golden(golden: Sequence[GoldenResult]) -> GateResult:
    wrong = [row for row in golden if row.candidate != row.label]
    before = sum(row.baseline == row.label for row in golden) / len(golden)
    share = 1 - len(wrong) / len(golden)
    listed = "; ".join(f"{row.text!r} came out as {row.candidate}, not {row.label}" for row in wrong)
    return GateResult(
        name="golden rows",
        kind="golden",
        metric="golden",
        verdict="fail" if wrong else "pass",
        explanation=f"{len(wrong)} of {len(golden)} changed: {listed}."
        if wrong
        else f"All {len(golden)} are as stated.",
        baseline=before,
        candidate=share,
        difference=share - before,
        value=share,
        lower=share,
        upper=share,
        limit=1.0,
        better="higher",
        rows=len(golden),
    )
