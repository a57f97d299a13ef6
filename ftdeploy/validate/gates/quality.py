"""Gates on the score of a metric: of the candidate against the baseline's, or on its own."""

from __future__ import annotations

from functools import partial
from typing import Any

from ftdeploy.errors import ConfigError
from ftdeploy.statistics import Comparison, Estimate, Verdict, compare_accuracy, equivalent, superior
from ftdeploy.suite import Calibration, Ceiling, Equivalence, Floor, NonInferiority, Suite, Superiority
from ftdeploy.validate.answers import Answers
from ftdeploy.validate.gates.evidence import IDENTICAL, Evidence, change, wish
from ftdeploy.validate.scores import compared, estimated, metric_of
from ftdeploy.validate.slices import of_case
from ftdeploy.verdict import GateResult


def non_inferiority(gate: NonInferiority, suite: Suite, evidence: Evidence) -> GateResult:
    """Passes when the interval of the difference excludes a loss of the margin."""
    answers = of_case(suite, evidence.answers, gate.case)
    if gate.method == "mcnemar":
        found = compare_accuracy(answers.references, answers.baseline.predictions, answers.candidate.predictions,
                                 margin=gate.margin, confidence=suite.confidence)  # fmt: skip
    else:
        found = compared(gate.metric, suite, answers, margin=gate.margin)
    worse = "lower" if found.greater_is_better else "higher"
    return _no_loss(gate, found, suite, evidence, name=f"{found.metric} at most {gate.margin:g} {worse}")


def calibration(gate: Calibration, suite: Suite, evidence: Evidence) -> GateResult:
    """Non-inferiority of an error of the probabilities."""
    found = compared(gate.metric, suite, of_case(suite, evidence.answers, gate.case), margin=gate.margin)
    return _no_loss(gate, found, suite, evidence, name=f"calibration ({gate.metric}) at most {gate.margin:g} higher")


def _no_loss(gate: NonInferiority | Calibration, found: Comparison, suite: Suite, evidence: Evidence, *,
             name: str) -> GateResult:  # fmt: skip
    higher = found.greater_is_better
    return _difference(
        gate,
        found,
        name=name,
        verdict="pass" if evidence.identical else found.verdict,
        explanation=_loss_words(found, suite.confidence),
        limit=-gate.margin if higher else gate.margin,
        better="higher" if higher else "lower",
        identical=evidence.identical,
    )


def _loss_words(found: Comparison, confidence: float) -> str:
    moved = change(found.baseline, found.candidate)
    loss, gain = ("drop", "gain") if found.greater_is_better else ("rise", "fall")
    worst = found.lower if found.greater_is_better else -found.upper
    if found.verdict == "fail":
        return f"{moved} That is more than the tolerated {loss} of {found.margin:.4f}."
    if found.verdict == "inconclusive":
        return (
            f"{moved} {found.rows:,} rows cannot exclude a {loss} of {-worst:.4f}, and {found.margin:.4f} are "
            f"tolerated.{wish(found.rows_to_decide, 'the difference')}"
        )
    bound = f"the {loss} is at most {-worst:.4f}" if worst < 0 else f"the {gain} is at least {worst:.4f}"
    return f"{moved} With {confidence:.0%} confidence {bound}; {found.margin:.4f} are tolerated."


def equivalence(gate: Equivalence, suite: Suite, evidence: Evidence) -> GateResult:
    """Passes when the whole interval of the difference lies within the margin on both sides."""
    answers = of_case(suite, evidence.answers, gate.case)
    found = compared(gate.metric, suite, answers, how=equivalent, margin=gate.margin)
    ends = f"between {found.lower:+.4f} and {found.upper:+.4f}"
    within = f"{gate.margin:.4f} are tolerated either way"
    says = {
        "pass": f"With {suite.confidence:.0%} confidence on each side the difference is {ends}; {within}.",
        "fail": f"That is a difference of {found.difference:+.4f}, and {within}.",
        "inconclusive": f"{found.rows:,} rows cannot exclude differences {ends}, and {within}."
        + wish(found.rows_to_decide, "the difference"),
    }
    return _difference(
        gate,
        found,
        name=f"{found.metric} the same within {gate.margin:g}",
        verdict="pass" if evidence.identical else found.verdict,
        explanation=f"{change(found.baseline, found.candidate)} {says[found.verdict]}",
        limit=gate.margin,
        better="inside",
        identical=evidence.identical,
    )


def superiority(gate: Superiority, suite: Suite, evidence: Evidence) -> GateResult:
    """Passes when the interval of the difference shows a gain of more than what is asked; the baseline itself fails."""
    found = compared(gate.metric, suite, of_case(suite, evidence.answers, gate.case), how=superior, by=gate.by)
    higher = found.greater_is_better
    least = found.lower if higher else -found.upper
    wanted = f"a gain of more than {gate.by:.4f} is wanted" if gate.by else "a gain is wanted"
    says = {
        "pass": f"With {suite.confidence:.0%} confidence the gain is at least {least:.4f}; {wanted}.",
        "fail": f"But {wanted}.",
        "inconclusive": f"{found.rows:,} rows cannot exclude a {'gain' if least >= 0 else 'loss'} of {abs(least):.4f},"
        f" and {wanted}.{wish(found.rows_to_decide, 'the difference')}",
    }
    return _difference(
        gate,
        found,
        name=f"{found.metric} more than {gate.by:g} better" if gate.by else f"{found.metric} better",
        verdict="fail" if evidence.identical else found.verdict,
        explanation=f"{change(found.baseline, found.candidate)} {says[found.verdict]}",
        limit=gate.by if higher else -gate.by,
        better="higher" if higher else "lower",
        identical=evidence.identical,
    )


def _difference(gate: Any, found: Comparison, *, name: str, verdict: Verdict, explanation: str, limit: float,
                better: Any, identical: bool) -> GateResult:  # fmt: skip
    return GateResult(
        name=name,
        kind=gate.kind,
        case=gate.case,
        metric=found.metric,
        verdict=verdict,
        explanation=IDENTICAL if identical else explanation,
        baseline=found.baseline,
        candidate=found.candidate,
        difference=found.difference,
        value=found.difference,
        unit="difference",
        lower=0.0 if identical else found.lower,
        upper=0.0 if identical else found.upper,
        limit=limit,
        better=better,
        rows=found.rows,
        rows_to_decide=None if identical else found.rows_to_decide,
    )


def floor(gate: Floor, suite: Suite, evidence: Evidence) -> GateResult:
    """Passes when the lower end of the candidate's score reaches the minimum, fails when the score does not."""
    return _absolute(gate, suite, of_case(suite, evidence.answers, gate.case), limit=gate.minimum, higher=True)


def ceiling(gate: Ceiling, suite: Suite, evidence: Evidence) -> GateResult:
    """Passes when the upper end of the candidate's score is at most the maximum, fails when the score is not."""
    return _absolute(gate, suite, of_case(suite, evidence.answers, gate.case), limit=gate.maximum, higher=False)


def _absolute(gate: Floor | Ceiling, suite: Suite, answers: Answers, *, limit: float, higher: bool) -> GateResult:
    metric = metric_of(gate.metric, suite, answers.labels)
    if metric.greater_is_better != higher:
        raise ConfigError(
            f"suite {suite.name}: a {gate.kind} gate names {metric.name}, of which "
            f"{'lower' if higher else 'higher'} is better",
            cause="a floor is for metrics where higher is better, a ceiling for errors",
            fix=f"use a {'ceiling' if higher else 'floor'} gate",
        )
    score = partial(estimated, gate.metric, suite, answers)
    now, was = score(answers.candidate), score(answers.baseline)
    end = now.lower if higher else now.upper
    over = now.value - limit if higher else limit - now.value
    verdict: Verdict = "fail" if over < 0 else "pass" if (end >= limit if higher else end <= limit) else "inconclusive"
    needed = _rows(len(answers), now, end, limit) if verdict == "inconclusive" else None
    bound, wanted = ("at least", "is wanted") if higher else ("at most", "is allowed")
    says = {
        "pass": f"with {suite.confidence:.0%} confidence {bound} {end:.4f}, and {limit:g} {wanted}.",
        "fail": f"and {bound} {limit:g} {wanted}.",
        "inconclusive": f"but {len(answers):,} rows cannot exclude {end:.4f}, and {limit:g} {wanted}." + wish(needed),
    }
    return GateResult(
        name=f"{metric.name} {bound} {limit:g}",
        kind=gate.kind,
        case=gate.case,
        metric=metric.name,
        verdict=verdict,
        explanation=f"It is {now.value:.4f}, {says[verdict]}",
        baseline=was.value,
        candidate=now.value,
        difference=now.value - was.value,
        value=now.value,
        lower=now.lower,
        upper=now.upper,
        limit=limit,
        better="higher" if higher else "lower",
        rows=len(answers),
        rows_to_decide=needed,
    )


def _rows(rows: int, found: Estimate, end: float, limit: float) -> int | None:
    """About how many rows would bring the end of the interval to the limit: its distance falls with the square root."""
    if found.value == limit:
        return None
    return max(rows + 1, round(rows * ((found.value - end) / (found.value - limit)) ** 2))
