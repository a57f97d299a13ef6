"""Gates on shares of rows: flips, answers that change when rows are asked again, golden rows.

The interval of a share is Clopper and Pearson's (1934): exact, so that a share of nothing has an upper end too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ftdeploy.statistics import Estimate, Verdict, compare_accuracy, share
from ftdeploy.suite import Consistency, Directional, Flips, Robustness, Suite
from ftdeploy.validate.answers import flips, mended
from ftdeploy.validate.gates.evidence import IDENTICAL, Evidence, wish
from ftdeploy.validate.robustness import Asked, Flags
from ftdeploy.validate.slices import of_case
from ftdeploy.verdict import GateResult, GoldenResult

#: Rows beyond which nobody would look for more.
_MOST_ROWS = 100_000_000
#: Characters of a text in a line of an example.
_SHOWN = 80


def flip(gate: Flips, suite: Suite, evidence: Evidence) -> GateResult:
    """Passes when the upper end of the share of rows that turned wrong is at most the maximum."""
    some = of_case(suite, evidence.answers, gate.case)
    lost, won = len(flips(some)), mended(some)
    return _at_most(
        gate.maximum,
        hits=lost,
        of=len(some),
        suite=suite,
        what=f"{lost:,} of {len(some):,} rows went from right to wrong, and {won:,} the other way",
        name=f"at most {gate.maximum:.1%} of the rows go from right to wrong",
        kind=gate.kind,
        case=gate.case,
        metric="flips",
        baseline=0.0,
        identical=evidence.identical,
    )


def robustness(gate: Robustness, suite: Suite, evidence: Evidence) -> GateResult:
    """By a maximum: the upper end of the share of changed answers; by a margin: paired, against the baseline's."""
    (asked,) = evidence.asked[gate]
    what = f"{gate.perturbation} change"
    if gate.margin is None:
        return _asked(
            gate.maximum or 0.0, asked.baseline, asked.candidate, suite, asked=(asked,), what=what,
            name=f"{gate.perturbation} change at most {gate.maximum:.1%} of the answers", kind=gate.kind,
            case=gate.case, metric=gate.perturbation,
        )  # fmt: skip
    return _margin(gate, gate.margin, asked, suite, evidence)


def directional(gate: Directional, suite: Suite, evidence: Evidence) -> GateResult:
    """Passes when the upper end of the share of rows that go the wrong way is at most the maximum."""
    (asked,) = evidence.asked[gate]
    return _asked(
        gate.maximum, asked.baseline, asked.candidate, suite, asked=(asked,),
        what=f"{gate.add!r} makes {gate.label} less likely by more than {gate.tolerance:g} in",
        name=f"{gate.add!r} does not speak against {gate.label}", kind=gate.kind, case=gate.case, metric=gate.label,
    )  # fmt: skip


def consistency(gate: Consistency, suite: Suite, evidence: Evidence) -> GateResult:
    """A row counts that is answered otherwise alone, or in another order, or both."""
    tests = evidence.asked[gate]
    before, after = (
        np.logical_or.reduce(found) for found in ([test.baseline for test in tests], [test.candidate for test in tests])
    )
    return _asked(
        gate.maximum, before, after, suite, asked=tests, what="company and order change",
        name=f"answers do not depend on the batch, but for {gate.maximum:.1%}", kind=gate.kind, case=gate.case,
        metric="consistency",
    )  # fmt: skip


def golden(rows: Sequence[GoldenResult]) -> GateResult:
    """Passes when every golden row is answered as it must be."""
    wrong = [row for row in rows if row.candidate != row.label]
    before = sum(row.baseline == row.label for row in rows) / len(rows)
    value = 1 - len(wrong) / len(rows)
    listed = tuple(f"{row.text!r} came out as {row.candidate}, not {row.label}" for row in wrong)
    return GateResult(
        name="golden rows", kind="golden", metric="golden", verdict="fail" if wrong else "pass",
        explanation=f"{len(wrong)} of {len(rows)} changed: {'; '.join(listed)}."
        if wrong
        else f"All {len(rows)} are as stated.",
        baseline=before, candidate=value, difference=value - before, value=value, unit="share", lower=value,
        upper=value, limit=1.0, better="higher", rows=len(rows), details=listed,
    )  # fmt: skip


def _asked(maximum: float, before: Flags, after: Flags, suite: Suite, *, asked: Sequence[Asked], what: str,
           **named: Any) -> GateResult:  # fmt: skip
    """A gate on the candidate's share of rows that were asked again and came out otherwise."""
    rows, hits = len(after), int(after.sum())
    if not rows:
        return _nothing(maximum, **named)
    was = float(before.mean())
    beside = "" if hits == before.sum() else f" ({was:.1%} of the baseline's)"
    return _at_most(
        maximum,
        hits=hits,
        of=rows,
        suite=suite,
        what=f"{what} {hits:,} of {rows:,} answers{beside}",
        baseline=was,
        details=_examples(asked),
        **named,
    )


def _at_most(maximum: float, *, hits: int, of: int, suite: Suite, what: str, baseline: float, identical: bool = False,
             details: tuple[str, ...] = (), **named: Any) -> GateResult:  # fmt: skip
    found = share(hits, of, confidence=suite.confidence)
    if identical:
        found = Estimate(value=0.0, lower=0.0, upper=0.0)
    verdict: Verdict = "pass" if found.upper <= maximum else "fail" if found.value > maximum else "inconclusive"
    needed = _rows_to_decide(hits, of, maximum, suite.confidence) if verdict == "inconclusive" else None
    says = {
        "pass": f"with {suite.confidence:.0%} confidence at most {found.upper:.2%}, and {maximum:.2%} are allowed.",
        "fail": f"and {maximum:.2%} are allowed.",
        "inconclusive": f"but {of:,} rows cannot exclude {found.upper:.2%}, and {maximum:.2%} are allowed."
        + wish(needed, "the share"),
    }
    shown = what[:1].upper() + what[1:]
    return GateResult(
        **named,
        verdict=verdict,
        explanation=IDENTICAL if identical else f"{shown}, {found.value:.2%}, {says[verdict]}",
        baseline=baseline,
        candidate=found.value,
        difference=found.value - baseline,
        value=found.value,
        unit="share",
        lower=found.lower,
        upper=found.upper,
        limit=maximum,
        better="lower",
        rows=of,
        rows_to_decide=needed,
        details=details,
    )


def _margin(gate: Robustness, margin: float, asked: Asked, suite: Suite, evidence: Evidence) -> GateResult:
    name = f"{gate.perturbation} change at most {margin:.1%} more answers than the baseline's"
    named = {"name": name, "kind": gate.kind, "case": gate.case, "metric": gate.perturbation}
    if not len(asked):
        return _nothing(margin, **named)
    # An answer that stays is what is right here, so that the rise of changed answers is a drop of right ones.
    stays = np.zeros(len(asked), dtype=np.int64)
    found = compare_accuracy(
        stays, asked.baseline.astype(np.int64), asked.candidate.astype(np.int64), margin=margin,
        confidence=suite.confidence,
    )  # fmt: skip
    same = evidence.identical
    was, now = 1 - found.baseline, 1 - found.candidate
    verdict: Verdict = "pass" if same else found.verdict
    rise, worst = now - was, -found.lower
    says = {
        "pass": f"with {suite.confidence:.0%} confidence the rise is at most {worst:.2%}, and {margin:.2%} are "
        "tolerated.",
        "fail": f"and a rise of {margin:.2%} is tolerated.",
        "inconclusive": f"but {len(asked):,} rows cannot exclude a rise of {worst:.2%}, and {margin:.2%} are tolerated."
        + wish(found.rows_to_decide, "the difference"),
    }
    explanation = f"{gate.perturbation.capitalize()} change {now:.2%} of the answers ({was:.2%} of the baseline's), "
    return GateResult(
        **named,
        verdict=verdict,
        explanation=IDENTICAL if same else explanation + says[verdict],
        baseline=was,
        candidate=now,
        difference=rise,
        value=rise,
        unit="difference",
        lower=0.0 if same else -found.upper,
        upper=0.0 if same else worst,
        limit=margin,
        better="lower",
        rows=len(asked),
        rows_to_decide=None if same else found.rows_to_decide,
        details=_examples((asked,)),
    )


def _nothing(limit: float, **named: Any) -> GateResult:
    return GateResult(
        **named, verdict="inconclusive", explanation="There is no row that could be asked again: the change leaves "
        "every text as it is, or the case has no rows.", baseline=0.0, candidate=0.0, difference=0.0, value=0.0,
        unit="share", lower=0.0, upper=1.0, limit=limit, better="lower", rows=0,
    )  # fmt: skip


def _examples(asked: Sequence[Asked]) -> tuple[str, ...]:
    return tuple(
        f"{test.name}: {one.before[:_SHOWN]!r} was {one.answer_before}, {one.after[:_SHOWN]!r} is {one.answer_after}"
        for test in asked
        for one in test.examples
    )


def _rows_to_decide(hits: int, of: int, maximum: float, confidence: float) -> int | None:
    """About how many rows would bring the upper end under the maximum, if the share stays."""
    if hits >= maximum * of:
        return None

    def decides(rows: int) -> bool:
        return share(round(hits * rows / of), rows, confidence=confidence).upper <= maximum

    enough = of
    while not decides(enough):
        enough *= 2
        if enough > _MOST_ROWS:
            return None
    least = enough // 2
    while enough - least > max(1, enough // 1000):
        middle = (least + enough) // 2
        least, enough = (least, middle) if decides(middle) else (middle, enough)
    return enough
