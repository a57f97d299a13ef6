"""The report as a short Markdown text: a comment under a pull request, or the summary of a CI job."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from ftdeploy.measure import amount
from ftdeploy.validate import words
from ftdeploy.verdict import Compared, Report, Scored

#: Rows of each table, and characters of a cell and of a sentence, escaped: GitHub cuts a comment at 65,536 characters.
_GATES, _METRICS, _SLICES, _REASONS, _CASES = 40, 20, 10, 10, 10
_CELL, _REASON = 160, 500
_MARKS = {"pass": "✅", "fail": "❌", "inconclusive": "❔", "measured": "📏"}
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "|": "&#124;", "`": "&#96;"}
_SPECIAL = frozenset("\\*_{}[]()~!#$")
#: What forges make links of: mentions of people, numbers of issues, addresses.
_LINK = frozenset({"@", "#", "gh-", "www", ":/"})
_PIECE = re.compile(r"GH-|www(?=\.)|:/(?=/)|.", re.DOTALL | re.IGNORECASE)
#: Invisible, and keeps two characters from being read as one thing.
_APART = "\u200b"


def summary(report: Report) -> str:
    """Verdict, gates, metrics, the worst slices, flips, and what was compared; fewer than 40,000 characters.

    Texts of the data and names that users chose are escaped: they make no table cell, no markup, no link and no
    mention of a person.
    """
    parts = [
        [f"### {_MARKS[report.verdict]} {plain(words.headline(report))}", ""],
        [f"{plain(words.tally(report), _REASON)} {plain(words.advice(report), _REASON)}", ""],
        _gates(report),
        _metrics(report),
        _costs(report),
        _slices(report),
        _flips(report),
        _compared(report),
    ]
    return "\n".join(line for part in parts for line in part).rstrip("\n") + "\n"


def plain(text: str, longest: int = _CELL) -> str:
    """Text in one line that Markdown shows as it is; of fewer characters than that, escaped."""
    found: list[str] = []
    length = 0
    for piece in _PIECE.findall(" ".join(text.split())):
        escaped = _escaped(piece)
        length += len(escaped)
        if length >= longest:
            return "".join((*found, "…"))
        found.append(escaped)
    return "".join(found)


def _escaped(piece: str) -> str:
    """A character, or what forges make a link of; its first letters are taken apart from the rest."""
    if piece in _ENTITIES:
        return _ENTITIES[piece]
    apart = _APART if piece.lower() in _LINK else ""
    return (f"\\{piece}" if piece in _SPECIAL else piece) + apart


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, more: int = 0) -> Iterator[str]:
    """A table whose cells are Markdown already; a column that begins with ``#`` is set to the right."""
    yield f"| {' | '.join(name.removeprefix('#') for name in columns)} |"
    yield f"|{'|'.join(' ---: ' if name.startswith('#') else ' --- ' for name in columns)}|"
    for row in rows:
        yield f"| {' | '.join(row)} |"
    yield ""
    if more > 0:
        yield f"{more} more in report.json."
        yield ""


def _gates(report: Report) -> Iterator[str]:
    gates = words.by_weight(report.gates)
    if not gates:
        return
    rows = [
        [
            f"{_MARKS[gate.verdict]} {gate.verdict}",
            plain(gate.name) + (f" (case {plain(gate.case)})" if gate.case else ""),
            f"{words.number(gate.value, gate.unit)} ({words.interval(gate)})"
            if gate.lower != gate.upper
            else words.number(gate.value, gate.unit),
            words.limit(gate),
            "" if gate.rows_to_decide is None else f"{gate.rows_to_decide:,}",
        ]
        for gate in gates[:_GATES]
    ]
    columns = ("Verdict", "Gate", "#Value (interval)", "#Limit", "#Rows to decide")
    yield from _table(columns, rows, more=len(gates) - _GATES)
    reasons = [gate for gate in gates if gate.verdict != "pass"][:_REASONS]
    for gate in reasons:
        yield f"- **{plain(gate.name)}**: {plain(gate.explanation, _REASON)}"
    if reasons:
        yield ""


def _metrics(report: Report) -> Iterator[str]:
    def ends(scored: Scored, unit: str) -> str:
        return f"{words.number(scored.lower, unit)} to {words.number(scored.upper, unit)}"

    shown = report.metrics[:_METRICS]
    if not shown:
        return
    if report.absolute:
        columns: tuple[str, ...] = ("Metric", "#Score", "#Interval")
        rows = [[plain(one.metric), f"{one.candidate.value:.4f}", ends(one.candidate, "score")] for one in shown]
    else:
        columns = ("Metric", "#Baseline", "#Candidate", "#Difference", "#Interval")
        rows = [
            [plain(one.metric), f"{one.baseline.value:.4f}", f"{one.candidate.value:.4f}",
             f"{one.difference.value:+.4f}", ends(one.difference, "difference")]
            for one in shown
        ]  # fmt: skip
    yield from _table(columns, rows, more=len(report.metrics) - _METRICS)


def _costs(report: Report) -> Iterator[str]:
    if not report.costs:
        return
    names = [words.COSTS.get(cost.cost, plain(cost.cost)) for cost in report.costs]
    if report.absolute:
        rows = [[name, amount(cost.cost, cost.candidate)] for name, cost in zip(names, report.costs, strict=True)]
        yield from _table(("Cost", "#Candidate"), rows)
        return
    rows = [
        [name, amount(cost.cost, cost.baseline), amount(cost.cost, cost.candidate), words.number(cost.ratio, "ratio")]
        for name, cost in zip(names, report.costs, strict=True)
    ]
    yield from _table(("Cost", "#Baseline", "#Candidate", "#Ratio"), rows)


def _slices(report: Report) -> Iterator[str]:
    """The slices of the first metric that lost most; without a baseline those with the worst scores."""
    metric = next(iter(report.metrics), None)
    parts = words.worst_slices(report, metric.metric) if metric else []
    if metric and not report.absolute:
        sign = -1 if metric.metric in words.lower_is_better(report) else 1
        parts = [part for part in parts if sign * part.difference.value < 0]
    if not parts or metric is None:
        return
    what = "the worst" if report.absolute else "the greatest change for the worse in"
    yield f"Slices with {what} {plain(metric.metric)}:"
    yield ""
    rows = [
        [plain(f"{part.slice.strip()}: {part.value}"), f"{part.rows:,}", f"{part.candidate.value:.4f}"]
        + ([] if report.absolute else [f"{part.difference.value:+.4f}"])
        for part in parts[:_SLICES]
    ]
    columns = ("Slice", "#Rows", "#Candidate") if report.absolute else ("Slice", "#Rows", "#Candidate", "#Difference")
    yield from _table(columns, rows, more=len(parts) - _SLICES)


def _flips(report: Report) -> Iterator[str]:
    if not report.absolute:
        yield (
            f"Of {report.rows:,} rows, {report.right_to_wrong:,} went from right to wrong and "
            f"{report.wrong_to_right:,} from wrong to right."
        )
        yield ""


def _compared(report: Report) -> Iterator[str]:
    sides = [] if report.absolute else [("Baseline", report.baseline)]
    sides += [("Candidate", report.candidate), ("Rows", report.dataset)]
    rows = [[name, _named(one), plain(one.digest[:16])] for name, one in sides]
    rows += [
        ["Case", plain(f"{case.name}, {case.rows:,} rows"), plain(case.digest[:16])] for case in report.cases[:_CASES]
    ]
    yield from _table(("Compared", "What", "Digest"), rows, more=len(report.cases) - _CASES)


def _named(one: Compared) -> str:
    return plain(", ".join(part for part in (f"{one.kind} {one.name}".strip(), one.made_by) if part))
