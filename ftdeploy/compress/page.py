"""The page of a search: what goes on and why, every candidate with its numbers or its reason, and what it costs."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from ftdeploy.compress.outcome import CandidateResult, Flip, Scored, SearchResult
from ftdeploy.compress.plots import AXES, DEEPEST, MANY, pareto_plot
from ftdeploy.files import write_text
from ftdeploy.page import page_style
from ftdeploy.values import is_number, parse

if TYPE_CHECKING:
    from jinja2 import Template
    from markupsafe import Markup

#: The page, beside ``candidates.json``.
PAGE = "candidates.html"
#: Layers of the sensitivity plot that are shown at once; the others unfold.
_LAYERS = 24
#: A longer text of a flipped row is cut; candidates.json has the whole of it.
_TEXT = 600
#: Steps that leave zeros in matrices of the old shape: N:M patterns, and weights here and there.
_ZEROS = re.compile(r"sparse|sparsity|unstructured|magnitude|\bn:m\b|\d+:\d+|\d+of\d+", re.IGNORECASE)
_NOT_MADE = ("failed", "cut", "skipped")
_ORDER = ("kept", "undecided", "dropped", *_NOT_MADE)


def write_page(result: SearchResult, out: Path) -> None:
    """Write ``candidates.html`` into a folder that exists; it needs nothing else to be read.

    Args:
        result: what the search found.
        out: the folder, that of ``candidates.json``.

    Raises:
        OSError: the folder cannot be written.
    """
    write_text(out / PAGE, page(result))


def page(result: SearchResult) -> str:
    """The page as HTML; every text in it is escaped."""
    numbered = ranked(result)
    winner, fp32 = _named(result, result.winner), result.candidates[0]
    plotted = {number: one for number, one in numbered.items() if one.costs is not None and one.metrics}
    return _template().render(
        result=result,
        style=page_style(),
        sentence=sentence(result),
        proof=proof(result),
        winner=winner,
        fp32=fp32,
        metrics=list(fp32.metrics),
        numbered=numbered,
        bars={number: _bars(one, result) for number, one in numbered.items()},
        plots=_plots(plotted, result),
        plotted=plotted,
        large=len(plotted) > MANY,
        axes=AXES,
        deepest=DEEPEST,
        not_made=_not_made(numbered),
        at_risk=[one for one in numbered.values() if one.invariance and not one.invariance.within_tolerance],
        steady=[one for one in numbered.values() if one.invariance and one.invariance.within_tolerance],
        zeros=[one for one in numbered.values() if any(_ZEROS.search(step) for step in one.steps)],
        flips=[(direction(flip), flip) for flip in result.flips],
        text_length=_TEXT,
        layers=_LAYERS,
        widest=max([1e-12, *(one.logit_error for one in result.sensitivity if math.isfinite(one.logit_error))]),
    )


def sentence(result: SearchResult) -> str:
    """The verdict in one sentence, with the winner's speed, size and score."""
    winner, fp32 = _named(result, result.winner), result.candidates[0]
    same = winner.name == fp32.name
    found = []
    if winner.costs is not None:
        slower = " (slower)" if winner.costs.speedup < 1 else ""
        size = f"{winner.costs.size / 1e6:,.1f} MB"
        speed = f"{winner.costs.speedup:.2f} times the throughput of {fp32.name}{slower}"
        found = [size] if same else [speed, f"{winner.costs.times_smaller:.2f} times smaller ({size})"]
    for name, scored in winner.metrics.items():
        found.append(f"{name} {scored.value:.4f}" + ("" if same else f" ({scored.difference:+.4f})"))
    unproven = f"; {result.rows:,} validation rows are too few to prove that this holds"
    said = f"{fp32.name} stays as it is" if same else f"{winner.name} wins"
    return ": ".join([said, *([", ".join(found)] if found else [])]) + f"{unproven * (result.verdict == 'undecided')}."


def proof(result: SearchResult) -> str:
    """What the sentence rests on, in words."""
    if result.verdict == "pass":
        return f"Non-inferior to {result.candidates[0].name} by the gate, on {result.rows:,} validation rows."
    return result.explanation if result.verdict == "fp32" else _named(result, result.winner).reason


def ranked(result: SearchResult) -> dict[int, CandidateResult]:
    """The candidates by the number that page and plots give them: the winner, then the measured ones from the fastest,
    then those that only have a score from the best, then the others as they came."""

    def rank(one: CandidateResult) -> tuple[float, ...]:
        best = max((-scored.loss for scored in one.metrics.values()), default=-math.inf)
        return (
            one.name != result.winner,
            one.costs is None,
            -one.costs.speedup if one.costs is not None else _ORDER.index(one.status),
            -best,
        )

    return dict(enumerate(sorted(result.candidates, key=rank), start=1))


def direction(flip: Flip) -> str:
    """``right to wrong`` or ``wrong to right``, seen from fp32."""
    if all(map(is_number, (flip.label, flip.fp32, flip.winner))):
        label, fp32, winner = map(parse, (flip.label, flip.fp32, flip.winner))
        return "right to wrong" if abs(fp32 - label) < abs(winner - label) else "wrong to right"
    return "right to wrong" if flip.fp32 == flip.label else "wrong to right"


def duration(seconds: float) -> str:
    """Seconds as people say them."""
    if seconds < 60:  # noqa: PLR2004  # a minute
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"  # noqa: PLR2004
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:,} h {minutes} min" if hours else f"{minutes} min {rest} s"


@cache
def _template() -> Template:
    from jinja2 import Environment, StrictUndefined

    # Names of layers, reasons of tools and texts of the data go onto the page: everything is escaped.
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.globals |= {"median": median, "duration": duration}
    return environment.from_string(Path(__file__).with_name("candidates.html").read_text(encoding="utf-8"))


def _named(result: SearchResult, name: str) -> CandidateResult:
    return next(one for one in result.candidates if one.name == name)


def _plots(plotted: Mapping[int, CandidateResult], result: SearchResult) -> dict[str, list[Markup]]:
    """By metric, a plot an axis; none where there is only one candidate to show."""
    found = {}
    for metric, scored in result.candidates[0].metrics.items():
        if not scored.greater_is_better:  # up is better in a plot; those have a column of the table
            continue
        shown = {number: one for number, one in plotted.items() if metric in one.metrics}
        if len(shown) > 1:
            margin = result.max_drop.get(metric)
            found[metric] = [pareto_plot(shown, metric, axis, margin=margin, winner=result.winner) for axis in AXES]
    return found


@dataclass(frozen=True, kw_only=True)
class Bar:
    """An interval on a line: positions in percent of the width; ``below`` is further left than the line goes."""

    value: float
    lower: float
    upper: float
    zero: float
    limit: float | None
    below: bool


def _bars(one: CandidateResult, result: SearchResult) -> dict[str, Bar]:
    return {metric: _bar(scored, metric, result) for metric, scored in one.metrics.items()}


def _bar(scored: Scored, metric: str, result: SearchResult) -> Bar:
    """One scale for all candidates of a metric, which ends where the plots end."""
    margin = result.max_drop.get(metric)
    everyone = [one.metrics[metric] for one in result.candidates if metric in one.metrics]
    worse = -1 if scored.greater_is_better else 1
    floor = -DEEPEST * margin if margin and worse < 0 else -math.inf
    shown = [0.0, *(max(floor, end) for one in everyone for end in (one.difference, one.lower, one.upper))]
    low, high = min(*shown, worse * (margin or 0)), max(*shown, worse * (margin or 0))
    room = (high - low or 1.0) * 0.06

    def place(number: float) -> float:
        return round(100 * (max(number, low) - low + room) / (high - low + 2 * room), 2)

    return Bar(value=place(scored.difference), lower=place(scored.lower), upper=place(scored.upper), zero=place(0.0),
               limit=None if margin is None else place(worse * margin), below=scored.difference < low)  # fmt: skip


def _not_made(numbered: Mapping[int, CandidateResult]) -> Sequence[dict[str, Any]]:
    """What failed, was cut or was skipped, each reason once with everyone it holds for."""
    groups: dict[tuple[str, str], list[tuple[int, CandidateResult]]] = {}
    for number, one in numbered.items():
        if one.status in _NOT_MADE:
            groups.setdefault((one.status, one.reason), []).append((number, one))
    return [
        {"status": status, "reason": reason, "members": members}
        for (status, reason), members in sorted(groups.items(), key=lambda group: _NOT_MADE.index(group[0][0]))
    ]
