"""Gates on the slices of the rows: none may lose by more than a margin, the worst may not score under a minimum."""

from __future__ import annotations

from typing import Any

import numpy as np

from ftdeploy.errors import ConfigError, first_of
from ftdeploy.metrics import Ids
from ftdeploy.statistics import SliceComparison, SlicesResult, Verdict, slices_non_inferior, worst
from ftdeploy.suite import Slices, Suite, WorstSlice
from ftdeploy.validate import slices as cutting
from ftdeploy.validate.answers import Answers
from ftdeploy.validate.gates.evidence import IDENTICAL, Evidence, wish
from ftdeploy.validate.scores import metric_of
from ftdeploy.verdict import GateResult

#: Slices that a gate lists, the worst first.
_LISTED = 10


def slices(gate: Slices, suite: Suite, evidence: Evidence) -> GateResult:
    """Judged by ``ftdeploy.statistics.slices_non_inferior``; what is shown is the slice with the greatest loss."""
    answers = cutting.of_case(suite, evidence.answers, gate.case)
    metric = metric_of(gate.metric, suite, answers.labels)
    higher = metric.greater_is_better
    name = f"{metric.name} at most {gate.margin:g} {'lower' if higher else 'higher'} in every slice"
    limit, better = (-gate.margin, "higher") if higher else (gate.margin, "lower")
    groups = _groups(gate, suite, answers)
    if not groups:
        return _no_slices(gate, suite, name=name, metric=metric.name, limit=limit, better=better, unit="difference")
    found = slices_non_inferior(
        metric, answers.references, answers.baseline.predictions, answers.candidate.predictions, groups,
        classes=len(answers.labels), margin=gate.margin, rule=gate.rule, confidence=suite.confidence,
        resamples=suite.resamples, seed=suite.seed,
        baseline_scores=answers.baseline.wanted(metric),
        candidate_scores=answers.candidate.wanted(metric),
    )  # fmt: skip
    same = evidence.identical
    first = found.slices[0].comparison
    return GateResult(
        name=name,
        kind=gate.kind,
        case=gate.case,
        metric=metric.name,
        verdict="pass" if same else found.verdict,
        explanation=IDENTICAL if same else _words(gate, found, suite.confidence),
        baseline=first.baseline,
        candidate=first.candidate,
        difference=first.difference,
        value=first.difference,
        unit="difference",
        lower=0.0 if same else first.lower,
        upper=0.0 if same else first.upper,
        limit=limit,
        better=better,
        rows=found.pooled.rows,
        rows_to_decide=None if same else found.rows_to_decide,
        details=() if same else tuple(_line(one) for one in found.slices[:_LISTED]),
    )


def _words(gate: Slices, found: SlicesResult, confidence: float) -> str:
    first, count = found.slices[0], len(found.slices)
    moved = f"Of {count} slices {first.name} changes worst, by {first.comparison.difference:+.4f}"
    if found.verdict == "fail":
        bad = [one.name for one in found.slices if one.verdict == "fail"]
        return f"{moved}. Worse by more than {gate.margin:.4f}, also among so many: {first_of(bad, 3)}."
    if found.verdict == "pass" and gate.rule == "all-proven":
        return f"{moved}; with {confidence:.0%} confidence none loses {gate.margin:.4f} or more."
    if found.verdict == "pass":
        return (
            f"{moved}; none is shown to lose more than {gate.margin:.4f}, and with {confidence:.0%} confidence all of "
            "them together do not."
        )
    open_ = "all of them together" if gate.rule == "none-worse" else _open(found)
    return (
        f"{moved}; none is shown to lose more than {gate.margin:.4f}, but the rows cannot exclude it of {open_}."
        + wish(found.rows_to_decide, "the difference")
    )


def _open(found: SlicesResult) -> str:
    left = [one.name for one in found.slices if one.comparison.verdict != "pass"]
    return left[0] if len(left) == 1 else f"{len(left)} of them"


def _line(one: SliceComparison) -> str:
    found = one.comparison
    return (
        f"{one.name}: {found.baseline:.4f} to {found.candidate:.4f}, {found.difference:+.4f} ({found.lower:+.4f} to "
        f"{found.upper:+.4f}), {found.rows:,} rows, p of no such loss {one.adjusted_worse:.3f}, of such a loss "
        f"{one.adjusted_inferior:.3f}, for all slices together (Holm): {one.verdict}"
    )


def worst_slice(gate: WorstSlice, suite: Suite, evidence: Evidence) -> GateResult:
    """Passes when the lower ends of all slices reach the minimum, fails when the score of one does not."""
    answers = cutting.of_case(suite, evidence.answers, gate.case)
    metric = metric_of(gate.metric, suite, answers.labels)
    name = f"{metric.name} at least {gate.minimum:g} in every slice"
    if not metric.greater_is_better:
        raise ConfigError(
            f"suite {suite.name}: a worst-slice gate names {metric.name}, of which lower is better",
            cause="the score of the worst slice is held against a minimum",
            fix="name a metric where higher is better",
        )
    groups = _groups(gate, suite, answers)
    if not groups:
        return _no_slices(gate, suite, name=name, metric=metric.name, limit=gate.minimum, better="higher")
    now, was = (
        worst(metric, answers.references, one.predictions, groups, classes=len(answers.labels),
              confidence=suite.confidence, resamples=suite.resamples, seed=suite.seed,
              scores=one.wanted(metric))
        for one in (answers.candidate, answers.baseline)
    )  # fmt: skip
    verdict: Verdict = "fail" if now.value < gate.minimum else "pass" if now.lower >= gate.minimum else "inconclusive"
    says = {
        "pass": f"with {suite.confidence:.0%} confidence no slice is under {now.lower:.4f}, and {gate.minimum:g} is "
        "wanted.",
        "fail": f"and at least {gate.minimum:g} is wanted.",
        "inconclusive": f"but the rows cannot exclude {now.lower:.4f} of some slice, and {gate.minimum:g} is wanted.",
    }
    return GateResult(
        name=name,
        kind=gate.kind,
        case=gate.case,
        metric=metric.name,
        verdict=verdict,
        explanation=f"Of {len(groups)} slices {now.name} is the worst: {now.value:.4f} over {now.rows:,} rows, "
        + says[verdict],
        baseline=was.value,
        candidate=now.value,
        difference=now.value - was.value,
        value=now.value,
        lower=now.lower,
        upper=now.upper,
        limit=gate.minimum,
        better="higher",
        rows=len(np.unique(np.concatenate(list(groups.values())))),
        details=() if was.name == now.name else (f"the baseline's worst is {was.name}: {was.value:.4f}",),
    )


def _groups(gate: Slices | WorstSlice, suite: Suite, answers: Answers) -> dict[str, Ids]:
    """The rows of each slice that a gate judges. Where all rows have one label, only accuracy says something."""
    for name in gate.slices:
        cutting.check_slice(name, cutting.cuts(answers), suite=suite.name, kind=gate.kind)
    return {
        f"{part.slice} {part.value}": part.rows
        for part in cutting.slices(answers, least=suite.slice_rows, by=gate.slices)
        if gate.metric == "accuracy" or not part.single_class
    }


def _no_slices(gate: Slices | WorstSlice, suite: Suite, **named: Any) -> GateResult:
    return GateResult(
        **named, kind=gate.kind, case=gate.case, verdict="inconclusive",
        explanation=f"No slice has {suite.slice_rows} rows and is not all of them, so that nothing can be judged.",
        baseline=0.0, candidate=0.0, difference=0.0, value=0.0, lower=0.0, upper=0.0, rows=0,
    )  # fmt: skip
