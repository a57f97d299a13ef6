"""What reports and their history draw: intervals on a line, reliability diagrams, rounds of timing, and trends."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median, quantiles
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from ftdeploy.svg import Scale, add, image, markup, scale_for, short, tell, ticks, write
from ftdeploy.verdict import CostResult, GateResult, Overall, Reliability, ReliabilityBin

if TYPE_CHECKING:
    from markupsafe import Markup

#: As Guo et al. (2017) have it.
BINS = 15
_WIDTH = 440
_LEFT, _RIGHT = 48, 14  # pixels beside a plot
_SQUARE, _COUNTS = 300, 60  # pixels that a reliability diagram and its counts are high
_ROW = 34  # pixels for the rounds of one model
_TREND = 240  # pixels that a trend is high
#: Names under a trend, and points from which on marks are small.
_NAMES, _MANY = 3, 40
#: Where the same on both sides is, by the unit of a gate.
_EQUAL = {"difference": 0.0, "ratio": 1.0}
#: Factor and name of what costs are shown in.
_UNITS = {"size": (1e-6, "MB"), "memory": (1e-6, "MB"), "throughput": (1.0, "rows a second")}


@dataclass(frozen=True, kw_only=True)
class Bar:
    """An interval on a line: positions in percent of the width.

    Attributes:
        limits: uprights.
        allowed: (start, width) of the tinted part.
        zero: where both are equal, if that is shown.
    """

    value: float
    lower: float
    upper: float
    limits: tuple[float, ...] = ()
    allowed: tuple[float, float] | None = None
    zero: float | None = None


def gate_bar(gate: GateResult) -> Bar | None:
    """A gate's interval and limit; none of golden rows, which have no interval."""
    if gate.kind == "golden":
        return None
    inside = gate.better == "inside"
    limits = (-abs(gate.limit), abs(gate.limit)) if inside else (gate.limit,)
    zero = 0.0 if inside else _EQUAL.get(gate.unit)
    line = _Line.over([gate.value, gate.lower, gate.upper, *limits, *([] if zero is None else [zero])])
    places = tuple(map(line, limits))
    if inside:
        allowed = (places[0], round(places[1] - places[0], 2))
    else:
        allowed = (places[0], round(100 - places[0], 2)) if gate.better == "higher" else (0.0, places[0])
    return Bar(value=line(gate.value), lower=line(gate.lower), upper=line(gate.upper), limits=places, allowed=allowed,
               zero=None if zero is None else line(zero))  # fmt: skip


def interval_bars(found: Sequence[tuple[float, float, float]], *, zero: float) -> list[Bar]:
    """Intervals that share one scale: (value, lower, upper) each, and what they are seen against."""
    line = _Line.over([zero, *(end for one in found for end in one)])
    return [Bar(value=line(value), lower=line(lower), upper=line(upper), zero=line(zero))
            for value, lower, upper in found]  # fmt: skip


@dataclass(frozen=True)
class _Line:
    low: float
    high: float

    @classmethod
    def over(cls, values: Sequence[float]) -> _Line:
        """A line with room for all values; ends that are not known lie at its own."""
        known = [value for value in values if math.isfinite(value)] or [0.0]
        room = (max(known) - min(known) or 1.0) * 0.12
        return cls(min(known) - room, max(known) + room)

    def __call__(self, value: float) -> float:
        if math.isnan(value):
            value = (self.low + self.high) / 2
        held = min(max(value, self.low), self.high)
        return round(100 * (held - self.low) / (self.high - self.low), 2)


def calibration_error(bins: Sequence[ReliabilityBin]) -> float:
    """Expected calibration error (Guo et al. 2017, equation 3): the mean distance of accuracy and probability, over
    rows."""
    rows = sum(one.rows for one in bins)
    return sum(one.rows * abs(one.accuracy - one.confidence) for one in bins) / rows if rows else 0.0


def reliability_diagram(found: Reliability, *, absolute: bool) -> Markup:
    """Accuracy against probability, bin by bin, above how many rows each bin has.

    Args:
        found: of both models; the candidate has at least one bin.
        absolute: leaves the baseline out.
    """
    models = {"candidate": found.candidate} if absolute else {"baseline": found.baseline, "candidate": found.candidate}
    said = "; ".join(f"{name}: calibration error {calibration_error(bins):.4f}" for name, bins in models.items())
    bottom = 10 + _SQUARE
    height = bottom + 34 + _COUNTS + 40
    root = image("Reliability diagram", said, width=_WIDTH, height=height)
    across, up = Scale(0, 1, _LEFT, _WIDTH - _RIGHT), Scale(0, 1, bottom, 10)
    for tick in (0, 0.2, 0.4, 0.6, 0.8, 1):
        add(root, "line", "grid", x1=_LEFT, x2=_WIDTH - _RIGHT, y1=up(tick), y2=up(tick))
        write(root, _LEFT - 6, up(tick) + 4, short(tick), anchor="end")
        add(root, "line", "axis", x1=across(tick), x2=across(tick), y1=height - 40, y2=height - 36)
        write(root, across(tick), height - 22, short(tick))
    add(root, "line", "axis", x1=_LEFT, x2=_WIDTH - _RIGHT, y1=bottom, y2=bottom)
    add(root, "line", "ideal", x1=across(0), x2=across(1), y1=up(0), y2=up(1))
    write(root, (_LEFT + _WIDTH - _RIGHT) / 2, height - 4, "probability of the answered label")
    _sideways(root, "share that is right", (10 + bottom) / 2)
    highest = max(one.rows for bins in models.values() for one in bins)
    counts = Scale(0, highest, height - 40, height - 40 - _COUNTS)
    add(root, "line", "axis", x1=_LEFT, x2=_WIDTH - _RIGHT, y1=height - 40, y2=height - 40)
    write(root, _LEFT - 6, counts(highest) + 4, f"{highest:,}", anchor="end")
    _sideways(root, "rows", height - 40 - _COUNTS / 2)
    for place, (name, bins) in enumerate(models.items()):
        group = add(root, "g", "s0" if name == "candidate" else "s1")
        points = " ".join(f"{across(one.confidence)},{up(one.accuracy)}" for one in bins)
        add(group, "polyline", f"line {name}", points=points, stroke="currentColor")
        width = (across(1 / BINS) - across(0) - 4) / len(models)
        for one in bins:
            told = (
                f"{name}, {one.lower:.2f} to {one.upper:.2f}: {one.rows:,} rows, probability {one.confidence:.3f}, "
                f"right {one.accuracy:.3f}"
            )
            tell(_mark(group, name, across(one.confidence), up(one.accuracy)), told)
            top = counts(one.rows)
            bar = add(group, "rect", f"count {name}", x=round(across(one.lower) + 2 + place * width, 2), y=top,
                      width=round(width, 2), height=round(height - 40 - top, 2), fill="currentColor")  # fmt: skip
            tell(bar, told)
    return markup(root)


def rounds_plot(cost: CostResult, name: str, *, absolute: bool) -> Markup | None:
    """Each round's value as a dot, above the middle half of them and their median; None where there are no rounds.

    Args:
        cost: with its rounds.
        name: of the cost.
        absolute: leaves the baseline out.
    """
    factor, unit = _UNITS.get(cost.cost, (1000.0, "ms"))
    rounds = {} if absolute else {"baseline": cost.baseline_rounds}
    rounds |= {"candidate": cost.candidate_rounds}
    shown = {side: [factor * value for value in values] for side, values in rounds.items() if values}
    if not shown:
        return None
    said = "; ".join(f"{side}: median {short(median(values))} {unit}, {len(values)} rounds"
                     for side, values in shown.items())  # fmt: skip
    bottom = 4 + _ROW * len(shown)
    root = image(f"{name} over the rounds", said, width=_WIDTH, height=bottom + 38)
    left = 74
    across = scale_for([value for values in shown.values() for value in values], left, _WIDTH - _RIGHT)
    for tick in ticks(across):
        add(root, "line", "grid", x1=across(tick), x2=across(tick), y1=4, y2=bottom)
        write(root, across(tick), bottom + 16, f"{tick:,.6g}")
    write(root, (left + _WIDTH - _RIGHT) / 2, bottom + 34, unit)
    for row, (side, values) in enumerate(shown.items()):
        middle = 4 + _ROW * (row + 0.5)
        write(root, left - 8, middle + 4, side, anchor="end").set("class", "name")
        group = add(root, "g", "s0" if side == "candidate" else "s1")
        _box(group, values, across, middle)
        for number, value in enumerate(values, start=1):
            dot = add(group, "circle", "round", cx=across(value), cy=middle, r=4, fill="currentColor")
            tell(dot, f"{side}, round {number}: {short(value)} {unit}")
    return markup(root)


@dataclass(frozen=True, kw_only=True)
class Point:
    """One report on a trend.

    Attributes:
        name: shown at the axis.
        value, lower, upper: of the candidate.
        even: what it is seen against: the baseline's score; None where there was no baseline.
        verdict: of the report.
    """

    name: str
    value: float
    lower: float
    upper: float
    even: float | None
    verdict: Overall


def trend_plot(points: Sequence[Point], *, title: str) -> Markup:
    """Values in their order, with intervals, coloured and shaped by the verdict of their report, and what they are seen
    against as steps.

    Args:
        points: at least one, the oldest first; values are finite.
        title: of the plot.
    """
    last = points[-1]
    root = image(
        title, f"{len(points)} reports; the last {last.value:.4f}, {last.verdict}", width=_WIDTH, height=_TREND
    )
    bottom, left = _TREND - 30, 58
    shown = [end for one in points for end in (one.value, one.lower, one.upper, one.even)]
    up = scale_for([end for end in shown if end is not None and math.isfinite(end)], bottom, 8)
    across = Scale(0.5, len(points) + 0.5, left, _WIDTH - _RIGHT)
    for tick in ticks(up):
        add(root, "line", "grid", x1=left, x2=_WIDTH - _RIGHT, y1=up(tick), y2=up(tick))
        write(root, left - 6, up(tick) + 4, short(tick), anchor="end")
    for place in _some(len(points), _NAMES):
        x = across(place + 1)
        add(root, "line", "axis", x1=x, x2=x, y1=bottom, y2=bottom + 4)
        write(root, min(max(x, left + 20), _WIDTH - 44), bottom + 20, points[place].name)
    add(root, "line", "axis", x1=left, x2=_WIDTH - _RIGHT, y1=bottom, y2=bottom)
    for place, one in enumerate(points, start=1):
        if one.even is not None:
            at = up(one.even)
            add(root, "line", "even", x1=across(place - 0.5), x2=across(place + 0.5), y1=at, y2=at)
    path = " ".join(f"{across(place)},{up(one.value)}" for place, one in enumerate(points, start=1))
    add(root, "polyline", "path", points=path)
    radius = 5 if len(points) <= _MANY else 3
    for place, one in enumerate(points, start=1):
        group = add(root, "g", one.verdict)
        x, y = across(place), up(one.value)
        if math.isfinite(one.lower) and math.isfinite(one.upper):
            add(group, "line", "whisker", x1=x, x2=x, y1=up(one.lower), y2=up(one.upper))
        seen = "" if one.even is None else f", against {one.even:.4f}"
        told = f"{one.name}: {one.value:.4f} ({one.lower:.4f} to {one.upper:.4f}){seen}; {one.verdict}"
        tell(add(group, "path", "dot", d=verdict_shape(one.verdict, x, y, radius), fill="currentColor"), told)
    return markup(root)


def verdict_shape(verdict: Overall, x: float, y: float, r: float) -> str:
    """A circle passes, a diamond cannot tell, a square fails, a dash was not asked: told apart without colour."""
    if verdict == "measured":
        return f"M{x - r:g} {y - r / 3:g}h{2 * r:g}v{2 * r / 3:g}h{-2 * r:g}z"
    if verdict == "pass":
        return f"M{x - r:g} {y:g}a{r:g} {r:g} 0 1 0 {2 * r:g} 0a{r:g} {r:g} 0 1 0 {-2 * r:g} 0z"
    if verdict == "inconclusive":
        return f"M{x:g} {y - r - 1.5:g}L{x + r + 1.5:g} {y:g}L{x:g} {y + r + 1.5:g}L{x - r - 1.5:g} {y:g}z"
    return f"M{x - r + 0.5:g} {y - r + 0.5:g}h{2 * r - 1:g}v{2 * r - 1:g}h{1 - 2 * r:g}z"


def _some(count: int, most: int) -> list[int]:
    """At most so many places of ``count``, at even distances, with the first and the last."""
    if count <= most:
        return list(range(count))
    return [round(step * (count - 1) / (most - 1)) for step in range(most)]


def _box(group: ET.Element, values: Sequence[float], across: Scale, middle: float) -> None:
    low, _, high = quantiles(values, n=4, method="inclusive") if len(values) > 1 else [values[0]] * 3
    width = round(max(1.0, across(high) - across(low)), 2)
    add(group, "rect", "box", x=across(low), y=middle - 10, width=width, height=20, rx=3, stroke="currentColor")
    at = across(median(values))
    add(group, "line", "range", x1=at, x2=at, y1=middle - 10, y2=middle + 10, stroke="currentColor")


def _mark(group: ET.Element, name: str, x: float, y: float) -> ET.Element:
    """A circle for the candidate, a square for the baseline: either tells them apart without colour."""
    if name == "candidate":
        return add(group, "circle", "dot", cx=x, cy=y, r=5, fill="currentColor")
    return add(group, "rect", "dot", x=round(x - 4.5, 2), y=round(y - 4.5, 2), width=9, height=9, fill="currentColor")


def _sideways(root: ET.Element, text: str, y: float) -> None:
    write(root, 0, 0, text).set("transform", f"translate(12 {y:g}) rotate(-90)")
