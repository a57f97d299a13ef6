"""A report's numbers and verdict in the words that its page, its summary and its history share."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ftdeploy.metrics import METRICS, SCORE_METRICS
from ftdeploy.statistics import Verdict
from ftdeploy.verdict import GateResult, Overall, Report, SliceResult

WORDS: dict[Overall, str] = {"pass": "Pass", "fail": "Fail", "inconclusive": "Inconclusive", "measured": "Measured"}
#: Beside the words: colour alone does not tell verdicts apart for everybody.
MARKS: dict[Overall, str] = {"pass": "✓", "fail": "✕", "inconclusive": "?", "measured": "–"}  # noqa: RUF001  # a dash
COSTS = {
    "throughput": "Throughput",
    "latency_p50": "Latency, median length",
    "latency_p95": "Latency, 95th percentile of length",
    "latency_p99": "Latency, 99th percentile of length",
    "size": "Size",
    "memory": "Peak memory",
}
#: The sign, which looks like an x.
_TIMES = "\u00d7"
_ORDER: tuple[Verdict, ...] = ("fail", "inconclusive", "pass")
#: A ratio under this has two digits wherever they are.
_SMALL = 0.1


def number(value: float, unit: str) -> str:
    """A measured number, with as many digits as its unit wants: ``score``, ``difference``, ``ratio`` or ``share``."""
    if not math.isfinite(value):
        return "not known"
    if unit == "ratio":
        return (f"{value:.2f}" if abs(value) >= _SMALL or not value else f"{value:.2g}") + _TIMES
    if unit == "share":
        return f"{100 * value:.2f}%"
    return f"{value:+.4f}" if unit == "difference" else f"{value:.4f}"


def limit(gate: GateResult) -> str:
    """What a gate's value is held against, as the suite says it."""
    signed = f"{gate.limit:+g}" if gate.limit else "0"
    at = {"ratio": f"{gate.limit:g}{_TIMES}", "share": f"{100 * gate.limit:g}%", "difference": signed}
    said = at.get(gate.unit, f"{gate.limit:g}")
    if gate.better == "inside":
        return f"±{said.lstrip('+-')}"
    return f"{'≥' if gate.better == 'higher' else '≤'} {said}"


def interval(gate: GateResult) -> str:
    """Both ends of a gate's interval; its value where they are one."""
    if gate.lower == gate.upper:
        return number(gate.value, gate.unit)
    return f"{number(gate.lower, gate.unit)} to {number(gate.upper, gate.unit)}"


def headline(report: Report) -> str:
    """The verdict in a few words."""
    if not report.gates:
        return f"{WORDS[report.verdict]}: no gate was asked of {report.name}"
    if report.verdict == "pass":
        return f"Pass: {report.name} may be released"
    if report.verdict == "fail":
        return f"Fail: {report.name} must not be released"
    return f"Inconclusive: not enough evidence to release {report.name}"


def tally(report: Report) -> str:
    """How many gates say what, and over how many rows."""
    found = [gate.verdict for gate in report.gates]
    rows = f"on {report.rows:,} rows"
    if not found:
        return f"The suite {report.suite} has no gate that could be asked, {rows}."
    if found.count("pass") == len(found):
        if len(found) == 1:
            return f"The only gate of the suite {report.suite} passes, {rows}."
        return f"All {len(found)} gates of the suite {report.suite} pass, {rows}."
    counts = ", ".join(
        f"{found.count(one)} {word}"
        for one, word in (("fail", "failed"), ("inconclusive", "cannot tell"), ("pass", "passed"))
        if one in found
    )
    return f"Of the {_count(len(found))} of the suite {report.suite}, {counts}, {rows}."


def advice(report: Report) -> str:
    """What to do now."""
    if not report.gates:
        return "Nothing was decided: give the suite gates, or a baseline."
    if report.verdict == "pass":
        return "Nothing is left to do."
    if report.verdict == "fail":
        return (
            "Look at what failed; then try another candidate or more training data, or change the suite's limits "
            "knowingly."
        )
    rows = max((gate.rows_to_decide or 0 for gate in report.gates if gate.verdict == "inconclusive"), default=0)
    more = f"Evaluate on about {rows:,} rows" if rows else "Measure on a quieter machine or with more rounds"
    return f"{more}, or change the suite's limits knowingly."


def by_weight(gates: Sequence[GateResult]) -> list[GateResult]:
    """What failed first, then what could not tell; else in the suite's order."""
    return sorted(gates, key=lambda gate: _ORDER.index(gate.verdict))


def lower_is_better(report: Report) -> frozenset[str]:
    """Metrics of the report that are errors: known as such, or of the user's own and held under a ceiling."""
    known = {**METRICS, **SCORE_METRICS}
    held = {gate.metric for gate in report.gates if gate.kind == "ceiling"} - known.keys()
    return frozenset(held | {name for name, metric in known.items() if not metric.greater_is_better})


def worst_slices(report: Report, metric: str) -> list[SliceResult]:
    """The slices of a metric, the greatest harm first; without a baseline the worst score first."""
    sign = -1 if metric in lower_is_better(report) else 1

    def harm(part: SliceResult) -> float:
        return sign * (part.candidate if report.absolute else part.difference).value

    return sorted((part for part in report.slices if part.metric == metric), key=harm)


def _count(gates: int) -> str:
    return "1 gate" if gates == 1 else f"{gates} gates"
