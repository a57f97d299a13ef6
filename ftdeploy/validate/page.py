"""The report as one HTML page that needs nothing else: the verdict first, then everything that it rests on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftdeploy.measure import amount
from ftdeploy.page import page_style
from ftdeploy.validate import words
from ftdeploy.validate.answers import Answers
from ftdeploy.validate.flipped import Flip, flipped, turned
from ftdeploy.validate.plots import (
    calibration_error,
    gate_bar,
    interval_bars,
    reliability_diagram,
    rounds_plot,
)
from ftdeploy.validate.slices import cuts
from ftdeploy.verdict import Report, RobustnessResult, SliceResult

if TYPE_CHECKING:
    from jinja2 import Template

#: What the page shows of a list that may be long; report.json and flips.csv have all of it.
_SHOWN = {"slices": 20, "gaps": 20, "details": 40, "turned": 8, "tiles": 3, "confusions": 20, "golden": 200}
#: Flipped rows on the page, and those of them that stand there unfolded.
_FLIPS, _FIRST_FLIPS = 1000, 10
#: Characters of a text of the data.
_TEXT = 400
#: With more labels than this the page lists the commonest confusions instead of the matrices.
_MATRIX_LABELS = 10
#: A slice of more parts than this is no choice for people.
_CHOICES = 40


def page(report: Report, answers: Answers) -> str:
    """The report as HTML; every text in it is escaped."""
    rows = list(islice(flipped(answers), _FLIPS))
    reliability = report.reliability if report.reliability and report.reliability.candidate else None
    return _template().render(
        report=report,
        style=style(),
        gates=[(gate, gate_bar(gate)) for gate in words.by_weight(report.gates)],
        open_gates=[gate for gate in words.by_weight(report.gates) if gate.verdict != "pass"],
        tables=_slice_tables(report),
        matrices=_matrices(report) if len(report.confusion.labels) <= _MATRIX_LABELS else None,
        confusions=_confusions(report)[: _SHOWN["confusions"]],
        costs={cost.cost: cost for cost in report.costs},
        rounds=[(words.COSTS.get(cost.cost, cost.cost), chart)
                for cost in report.costs
                if (chart := rounds_plot(cost, words.COSTS.get(cost.cost, cost.cost), absolute=report.absolute))],
        reliability=reliability and reliability_diagram(reliability, absolute=report.absolute),
        bins=reliability and _bins(report),
        errors=reliability and {name: calibration_error(getattr(reliability, name)) for name in _sides(report)},
        again=_by_kind(report.robustness),
        flips=rows,
        more_flips=report.right_to_wrong - len(rows),
        first_flips=_FIRST_FLIPS,
        turned=turned(answers),
        filters=_filters(rows, answers),
        golden=sorted(report.golden, key=lambda row: row.candidate == row.label),
        shown=_SHOWN,
        text_length=_TEXT,
    )  # fmt: skip


def style() -> str:
    """The style sheet of every page, with what reports add to it."""
    return page_style() + Path(__file__).with_name("report.css").read_text(encoding="utf-8")


@cache
def _template() -> Template:
    return template("report.html")


def template(name: str) -> Template:
    """A template of this folder. Texts of the data go onto the pages: everything is escaped but the style sheet, which
    is ours, and charts, whose texts are escaped where they are drawn."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=FileSystemLoader(Path(__file__).parent),
    )
    environment.globals |= {"amount": amount, "words": words}
    return environment.get_template(name)


def _sides(report: Report) -> tuple[str, ...]:
    return ("candidate",) if report.absolute else ("baseline", "candidate")


def _slice_tables(report: Report) -> list[dict[str, Any]]:
    """A table per metric: its slices, the greatest harm first, with bars that share one scale; without a baseline the
    worst first, seen against the score over all rows."""
    overall = {result.metric: result.candidate.value for result in report.metrics}
    errors, tables = words.lower_is_better(report), []
    for metric in dict.fromkeys([*overall, *(part.metric for part in report.slices)]):
        every = words.worst_slices(report, metric)
        parts = every[: _SHOWN["slices"]]
        ends = [part.candidate if report.absolute else part.difference for part in parts]
        bars = interval_bars(
            [(one.value, one.lower, one.upper) for one in ends],
            zero=overall.get(metric, 0.0) if report.absolute else 0.0,
        )
        if parts:
            rows = [(part, bar, _harmed(part, metric in errors)) for part, bar in zip(parts, bars, strict=True)]
            tables.append({"metric": metric, "rows": rows, "more": len(every) - len(parts)})
    return tables


def _harmed(part: SliceResult, error: bool) -> bool:
    """The whole interval of the difference lies on the side of the worse."""
    return part.difference.lower > 0 if error else part.difference.upper < 0


def _matrices(report: Report) -> list[dict[str, Any]]:
    """The confusion matrices with each cell's share of its true label, for the shading."""
    found = []
    for name in _sides(report):
        counts = getattr(report.confusion, name)
        rows = [[(count, count / max(1, sum(row))) for count in row] for row in counts]
        found.append({"name": name, "rows": list(zip(report.confusion.labels, rows, strict=True))})
    return found


def _confusions(report: Report) -> list[tuple[str, str, int, int]]:
    """(true, predicted, baseline's rows, candidate's rows), the candidate's commonest mistakes first."""
    labels, before, after = report.confusion.labels, report.confusion.baseline, report.confusion.candidate
    cells = [
        (labels[i], labels[j], before[i][j], after[i][j])
        for i in range(len(labels))
        for j in range(len(labels))
        if i != j and (before[i][j] or after[i][j])
    ]
    return sorted(cells, key=lambda cell: (-cell[3], -cell[2], cell[:2]))


def _bins(report: Report) -> list[dict[str, Any]]:
    """Each bin with both models' rows, where either has some."""
    found: dict[float, dict[str, Any]] = {}
    for name in _sides(report) if report.reliability else ():
        for one in getattr(report.reliability, name):
            at = found.setdefault(round(one.lower, 6), {"lower": one.lower, "upper": one.upper})
            at[name] = one
    return [found[lower] for lower in sorted(found)]


def _by_kind(results: Sequence[RobustnessResult]) -> dict[str, list[RobustnessResult]]:
    kinds: dict[str, list[RobustnessResult]] = {}
    for result in results:
        kinds.setdefault(result.kind, []).append(result)
    return kinds


@dataclass(frozen=True, kw_only=True)
class Filter:
    """Something to choose flipped rows by.

    Attributes:
        name: for people.
        choices: values, sorted.
        values: of each row that is shown.
    """

    name: str
    choices: Sequence[str]
    values: Sequence[str]


def _filters(rows: Sequence[Flip], answers: Answers) -> list[Filter]:
    """True label, answered label, and whatever rows are cut by and a person can choose from."""
    found: dict[str, list[str]] = {
        "True label": [flip.label for flip in rows],
        "Candidate": [flip.candidate for flip in rows],
    }
    for name, cut in (cuts(answers) if rows else {}).items():
        if name != "label":
            found[name] = [cut.values[cut.codes[flip.row]] for flip in rows]
    filters = [Filter(name=name, choices=sorted(set(values)), values=values) for name, values in found.items()]
    return [one for one in filters if 1 < len(one.choices) <= _CHOICES]
