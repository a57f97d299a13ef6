"""What a suite would do, without running a model: its rows, its gates, and what so many rows can decide."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ftdeploy.evaluation.cases import Rows
from ftdeploy.starter import FLIPS, STEPS
from ftdeploy.suite import (
    Calibration,
    Ceiling,
    Consistency,
    Directional,
    Equivalence,
    Flips,
    Floor,
    Gap,
    Gate,
    NonInferiority,
    Ratio,
    Robustness,
    Slices,
    Suite,
    Superiority,
    WorstSlice,
    wants_baseline,
)
from ftdeploy.tasks import TASKS

#: Normal quantile of a one-sided 95% interval.
_Z = 1.645
#: Share of answers that change, by which two models are alike; fewer are hardly to be had.
_ALIKE = 0.01
_NOT_SAID = frozenset({"kind", "case"})


def plan(suite: Suite, rows: Rows) -> dict[str, Any]:
    """What evaluating the suite on these rows means.

    Args:
        suite: the rules.
        rows: of its cases.

    Returns:
        ``suite``, ``rows``, ``cases`` (``name``, ``rows``, ``labels``, ``digest``, ``source``, ``licence``),
        ``slices``, ``gates`` (``gate``, ``case``, ``baseline``: whether it wants one, ``decides``: what the rows can
        tell, ``enough``: whether they are enough, or None where that is not known), ``golden``, ``notes``.
    """
    by_case = {case.name: case.rows for case in rows.cases}
    cases = [
        {"name": case.name, "rows": case.rows, "labels": dict(rows.labels[case.name]), "digest": case.digest,
         "source": case.source, "licence": case.licence}
        for case in rows.cases
    ]  # fmt: skip
    gates = []
    for gate in suite.gates:
        count = by_case.get(gate.case, len(rows)) if gate.case else len(rows)
        says, enough = decides(gate, count, suite)
        gates.append({"gate": in_words(gate), "case": gate.case, "baseline": wants_baseline(gate), "decides": says,
                      "enough": enough})  # fmt: skip
    columns = [name for name in rows.table.column_names if name not in ("text", "label", "id")]
    return {
        "suite": suite.name,
        "rows": len(rows),
        "cases": cases,
        "slices": ["text length", "label", *columns],
        "gates": gates,
        "golden": len(suite.golden),
        "notes": _notes(suite, rows),
    }


def in_words(gate: Gate) -> str:
    """A gate as its suite says it: ``non-inferiority: metric accuracy, margin 0.015``."""
    said = {
        name: value
        for name, value in gate.model_dump(mode="json").items()
        if name not in _NOT_SAID and value not in (None, [])
    }
    told = ", ".join(f"{name} {_value(value)}" for name, value in said.items())
    return f"{gate.kind}: {told}" + (f" (case {gate.case})" if gate.case else "")


def _value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return " + ".join(map(str, value)) if isinstance(value, list) else str(value)


def decides(gate: Gate, rows: int, suite: Suite) -> tuple[str, bool | None]:
    """What so many rows can tell of a gate, in words, and whether that is enough for it (None: not known beforehand).

    Of metrics other than shares of rows the interval is about as wide; the words are an order of magnitude.

    Args:
        gate: the rule.
        rows: that it is judged on.
        suite: says the rounds of timing and the least rows of a slice.
    """
    if isinstance(gate, NonInferiority | Equivalence):
        changed = _bearable(gate.margin, rows)
        says = f"{rows:,} rows decide where at most about {min(changed, 1):.1%} of the answers change"
        return says, changed >= _ALIKE
    if isinstance(gate, Flips):
        return _share(gate.maximum, rows)
    if isinstance(gate, Robustness | Directional | Consistency) and gate.maximum is not None:
        return _share(gate.maximum, min(gate.rows, rows))
    return _WORDS[type(gate)](gate, rows, suite), None


def _bearable(margin: float, rows: int) -> float:
    """Share of changed answers, as many for the better as for the worse, up to which an equal model passes 19 times in
    20: `ftdeploy.starter.supported_margin` the other way round."""
    return rows * (max(margin - STEPS / max(rows, 1), 0.0) / (2 * _Z)) ** 2


def _superiority(gate: Any, rows: int, _suite: Suite) -> str:
    gain = gate.by + 2 * _Z * math.sqrt(FLIPS / max(rows, 1))
    return f"{rows:,} rows show a gain of {gain:.3f} in 19 of 20 evaluations"


def _minimum(gate: Any, rows: int, _suite: Suite) -> str:
    if not 0 < gate.minimum < 1:
        return f"{rows:,} rows"
    distance = _Z * math.sqrt(gate.minimum * (1 - gate.minimum) / max(rows, 1))
    more = "; in a slice, by more" if isinstance(gate, WorstSlice) else ""
    return f"{rows:,} rows show it where the score is above the minimum by {distance:.3f}{more}"


_WORDS: dict[type[Any], Callable[[Any, int, Suite], str]] = {
    Superiority: _superiority,
    Floor: _minimum,
    WorstSlice: _minimum,
    Ceiling: lambda _gate, rows, _suite: f"{rows:,} rows, by the bootstrap",
    Calibration: lambda _gate, rows, _suite: f"{rows:,} rows, by the bootstrap",
    Slices: lambda _gate, _rows, suite: f"slices from {suite.slice_rows} rows on; a small one must be far worse",
    Gap: lambda _gate, _rows, suite: f"groups from {suite.slice_rows} rows on",
    Robustness: lambda gate, rows, _suite: f"{min(gate.rows, rows):,} rows, asked of both models",
    Ratio: lambda _gate, _rows, suite: f"{suite.timing_rounds} rounds of {suite.timing_rows} rows, side by side",
}


def _share(maximum: float, rows: int) -> tuple[str, bool]:
    """Of a share that may not be over a maximum: how low it must be found to be shown."""
    none = 1 - 0.05 ** (1 / max(rows, 1))  # the upper end when nothing happened (Clopper and Pearson 1934)
    if none > maximum:
        needed = math.ceil(math.log(0.05) / math.log(1 - maximum))
        return f"{rows:,} rows cannot show it even where nothing changes; about {needed:,} would", False
    room = maximum - _Z * math.sqrt(maximum * (1 - maximum) / rows)
    return f"{rows:,} rows show it where the share is at most about {max(room, 0.0):.3f}", True


def _notes(suite: Suite, rows: Rows) -> list[str]:
    """What is odd about labels and cases, told before a model is run."""
    found = {label for counts in rows.labels.values() for label in counts}
    # Elsewhere a golden row says a whole answer, as people read it.
    named = {row.label: "a golden row" for row in suite.golden} if TASKS[suite.task].one_label else {}
    named |= {
        gate.label: f"a {gate.kind} gate"
        for gate in suite.gates
        if isinstance(gate, Directional | Gap) and gate.label is not None
    }
    notes = [f"{who} names the label {label!r}, which no row has" for label, who in named.items() if label not in found]
    for name, counts in rows.labels.items():
        absent = sorted(found - counts.keys())
        if absent:
            notes.append(f"case {name} has no row with the label {', '.join(map(repr, absent))}")
    return notes
