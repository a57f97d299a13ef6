"""Gates on the score of a metric: of the candidate against the baseline's, or on its own."""

from __future__ import annotations

from ftdeploy.metrics import METRICS
from ftdeploy.statistics import Comparison, Verdict, compare, estimate
from ftdeploy.suite import Floor, NonInferiority, Suite
from ftdeploy.validate.gates.evidence import IDENTICAL, Evidence, change
from ftdeploy.verdict import GateResult


def non_inferiority(gate: NonInferiority, suite: Suite, evidence: Evidence) -> GateResult:
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
        seed=suite.seed,
    )
    same = evidence.identical
    return GateResult(
        name=f"{gate.metric} at most {gate.margin:g} lower",
        kind=gate.kind,
        metric=gate.metric,
        verdict="pass" if same else found.verdict,
        explanation=IDENTICAL if same else _non_inferiority_words(found, suite.confidence),
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
    moved = change(found.baseline, found.candidate)
    if found.verdict == "fail":
        return f"{moved} That is more than the tolerated drop of {found.margin:.4f}."
    if found.verdict == "inconclusive":
        return (
            f"{moved} {found.rows:,} rows cannot exclude a drop of {-found.lower:.4f}, and {found.margin:.4f} are "
            f"tolerated. About {found.rows_to_decide or 0:,} rows would do, if the difference stays."
        )
    bound = f"the drop is at most {-found.lower:.4f}" if found.lower < 0 else f"the gain is at least {found.lower:.4f}"
    return f"{moved} With {confidence:.0%} confidence {bound}; {found.margin:.4f} are tolerated."


def floor(gate: Floor, suite: Suite, evidence: Evidence) -> GateResult:
    answers, metric, classes = evidence.answers, METRICS[gate.metric], len(evidence.answers.labels)
    now, was = (
        estimate(metric, answers.references, found.predictions, classes, confidence=suite.confidence,
                 resamples=suite.resamples, seed=suite.seed)
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
