"""Charts as inline SVG: for pages that need nothing else and are read in light, in dark, in print, and aloud.

Each function returns one ``<svg>`` element as markup that a template may show as it is; every text in it is escaped.
A page that shows charts puts `STYLE` into its style sheet.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

if TYPE_CHECKING:
    from markupsafe import Markup

#: Colours of Okabe and Ito (2008), told apart by colour-blind people, dark enough on white; lighter ones in the dark.
STYLE = """
.chart { --c0: #0072b2; --c1: #b85000; --c2: #007a5a; --c3: #a3457f; --c4: #6b6b00; --c5: #444c56;
  width: 100%; max-width: 720px; height: auto; display: block; overflow: visible; font: 12px system-ui, sans-serif; }
.chart text { fill: var(--soft, #5a6675); } .chart .name { fill: var(--ink, #16202c); }
.chart .grid { stroke: var(--line, #dfe4ea); } .chart .axis { stroke: var(--soft, #5a6675); }
.chart .line { fill: none; stroke-width: 2; } .chart .range { stroke-width: 3; stroke-linecap: round; }
.chart .dot { stroke: var(--card, #fff); stroke-width: 1; } .chart .faded { opacity: .4; }
.chart .s0 { color: var(--c0); } .chart .s1 { color: var(--c1); } .chart .s2 { color: var(--c2); }
.chart .s3 { color: var(--c3); } .chart .s4 { color: var(--c4); } .chart .s5 { color: var(--c5); }
@media (prefers-color-scheme: dark) {
  .chart { --c0: #56b4e9; --c1: #ff9d4d; --c2: #35c79b; --c3: #e79ac5; --c4: #d9d95a; --c5: #c3cad2; }
}
"""

_COLOURS = 6
_DASHES = ("", "6 3", "2 3", "8 3 2 3")
_WIDTH, _HEIGHT = 640, 280
_LEFT, _RIGHT, _TOP, _BOTTOM = 72, 16, 12, 44
_HEADING = 26  # pixels above everything, for the title
_BAR = 28
_NAMES = 200  # pixels for the names of bars


@dataclass(frozen=True, kw_only=True)
class Series:
    """Points that belong together.

    Attributes:
        name: shown in the legend.
        points: (x, y), finite; for a log scale above zero.
        titles: what is told of each point when it is pointed at; empty tells x and y.
        kind: ``line`` (in the order given), ``step`` (a line that goes on level and then jumps), ``dots`` or ``faded``
            (dots that step back).
    """

    name: str
    points: Sequence[tuple[float, float]]
    titles: Sequence[str] = ()
    kind: str = "line"


@dataclass(frozen=True)
class _Scale:
    """From values to pixels."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        low, high, here = (math.log(n) if self.log else n for n in (self.low, self.high, value))
        return round(self.start + (self.end - self.start) * (here - low) / (high - low), 2)


def xy_chart(series: Sequence[Series], *, title: str, x: str, y: str, log_x: bool = False, log_y: bool = False,
             names: Sequence[str] = ()) -> Markup:  # fmt: skip
    """Lines and dots over two axes, with a legend when there are several.

    Args:
        series: at least one point in all.
        title: what the chart shows.
        x, y: what the axes are, with units.
        log_x, log_y: logarithmic axes.
        names: what x = 1, 2 and so on stand for, where x is no number.
    """
    points = [point for one in series for point in one.points]
    legend = _legend_rows(series)
    height = _HEIGHT + 20 * len(legend)
    root = _root(title, f"{y} against {x}: {', '.join(one.name for one in series)}", height)
    across = _scale([p[0] for p in points], _LEFT, _WIDTH - _RIGHT, log=log_x)
    if names:
        across = _Scale(0.5, len(names) + 0.5, _LEFT, _WIDTH - _RIGHT)
    up = _scale([p[1] for p in points], _HEIGHT - _BOTTOM, _TOP, log=log_y)
    for tick in _ticks(up):
        place = up(tick)
        _add(root, "line", "grid", x1=_LEFT, x2=_WIDTH - _RIGHT, y1=place, y2=place)
        _text(root, _LEFT - 8, place + 4, _short(tick), anchor="end")
    whole = all(float(p[0]).is_integer() for p in points)
    for tick in range(1, len(names) + 1) if names else _ticks(across, whole=whole):
        place = across(tick)
        _add(root, "line", "axis", x1=place, x2=place, y1=_HEIGHT - _BOTTOM, y2=_HEIGHT - _BOTTOM + 4)
        shown = _cut(names[round(tick) - 1], 90 // len(names)) if names else _short(tick)
        _text(root, place, _HEIGHT - _BOTTOM + 18, shown)
    _add(root, "line", "axis", x1=_LEFT, x2=_WIDTH - _RIGHT, y1=_HEIGHT - _BOTTOM, y2=_HEIGHT - _BOTTOM)
    _text(root, (_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 8, x)
    name = _text(root, 0, 0, y)
    name.set("transform", f"translate(12 {(_TOP + _HEIGHT - _BOTTOM) / 2}) rotate(-90)")
    for number, one in enumerate(series):
        _draw(root, one, number, across, up)
    for row, line in enumerate(legend):
        _legend(root, line, _HEIGHT + 14 + 20 * row)
    return _markup(root)


def bar_chart(values: Mapping[str, float], *, title: str, unit: str = "") -> Markup:
    """Horizontal bars from zero, in the order given, each with its name and value.

    Args:
        values: name -> value, zero or more.
        title: what the chart shows.
        unit: written behind each value.
    """
    root = _root(title, ", ".join(f"{name} {_short(value)}{unit}" for name, value in values.items()),
                 _BAR * len(values) + 8)  # fmt: skip
    across = _Scale(0, max([*values.values(), 1e-12]), _NAMES, _WIDTH - 72)
    for row, (name, value) in enumerate(values.items()):
        top = 4 + _BAR * row
        bar = _add(root, "rect", "s0", x=_NAMES, y=top + 4, width=max(1.0, across(value) - _NAMES), height=_BAR - 10,
                   rx=3, fill="currentColor")  # fmt: skip
        _title(bar, f"{name}: {_short(value)}{unit}")
        _name(root, name, top + 18)
        _text(root, across(value) + 8, top + 18, f"{_short(value)}{unit}", anchor="start")
    return _markup(root)


def interval_chart(rows: Sequence[tuple[str, float, float, float]], *, title: str, x: str) -> Markup:
    """A dot with its interval for each row, over one axis.

    Args:
        rows: (name, value, lower, upper), at least one.
        title: what the chart shows.
        x: what the axis is.
    """
    height = _BAR * len(rows) + _BOTTOM + 8
    root = _root(title, "; ".join(f"{n} {_short(v)} ({_short(a)} to {_short(b)})" for n, v, a, b in rows), height)
    across = _scale([number for row in rows for number in row[1:]], _NAMES, _WIDTH - _RIGHT)
    bottom = height - _BOTTOM
    for tick in _ticks(across):
        _add(root, "line", "grid", x1=across(tick), x2=across(tick), y1=4, y2=bottom)
        _text(root, across(tick), bottom + 16, _short(tick))
    _text(root, (_NAMES + _WIDTH - _RIGHT) / 2, height - 8, x)
    for row, (name, value, lower, upper) in enumerate(rows):
        middle = 4 + _BAR * row + _BAR / 2
        group = _add(root, "g", "s0")
        _title(group, f"{name}: {_short(value)} ({_short(lower)} to {_short(upper)})")
        _add(group, "line", "range", x1=across(lower), x2=across(upper), y1=middle, y2=middle, stroke="currentColor")
        _add(group, "circle", "dot", cx=across(value), cy=middle, r=5, fill="currentColor")
        _name(root, name, middle + 4)
    return _markup(root)


def _draw(root: ET.Element, one: Series, number: int, across: _Scale, up: _Scale) -> None:
    group = _add(root, "g", f"s{number % _COLOURS}")
    places = [(across(x), up(y)) for x, y in one.points]
    if one.kind in ("line", "step"):
        if one.kind == "step":
            corners = [(after[0], before[1]) for before, after in pairwise(places)]
            path = [point for pair in zip(places, corners, strict=False) for point in pair] + places[-1:]
        else:
            path = places
        drawn = " ".join(f"{x},{y}" for x, y in path)
        _add(group, "polyline", "line", points=drawn, stroke="currentColor", **_dash(number))
    small = one.kind in ("line", "step")
    for index, (x, y) in enumerate(places):
        kind = "dot faded" if one.kind == "faded" else "dot"
        dot = _add(group, "circle", kind, cx=x, cy=y, r=2.5 if small else 4.5, fill="currentColor")
        told = one.titles[index] if one.titles else f"{one.name}: {_short(one.points[index][1])}"
        _title(dot, told)


def _dash(number: int) -> dict[str, str]:
    """Colour alone does not tell lines apart for everybody."""
    dash = _DASHES[number % len(_DASHES)]
    return {"stroke-dasharray": dash} if dash else {}


def _legend_rows(series: Sequence[Series]) -> list[list[tuple[int, str, float]]]:
    """(number of the series, its name, where it begins), row by row; none for a single series."""
    rows: list[list[tuple[int, str, float]]] = []
    place = float(_WIDTH)
    for number, one in enumerate(series if len(series) > 1 else ()):
        width = 34 + 7 * len(one.name)
        if place + width > _WIDTH - _RIGHT:
            rows.append([])
            place = _LEFT
        rows[-1].append((number, one.name, place))
        place += width
    return rows


def _legend(root: ET.Element, entries: Sequence[tuple[int, str, float]], y: float) -> None:
    for number, name, x in entries:
        group = _add(root, "g", f"s{number % _COLOURS}")
        _add(group, "line", "range", x1=x, x2=x + 18, y1=y - 4, y2=y - 4, stroke="currentColor", **_dash(number))
        _text(root, x + 24, y, name, anchor="start")


def _scale(values: Sequence[float], start: float, end: float, *, log: bool = False) -> _Scale:
    low, high = min(values), max(values)
    if log:
        low, high = (low / 2, high * 2) if low == high else (low / 1.15, high * 1.15)
        return _Scale(low, high, start, end, log=True)
    room = (high - low) * 0.06 or abs(high) * 0.1 or 1.0
    return _Scale(low - room, high + room, start, end)


def _ticks(scale: _Scale, *, whole: bool = False) -> list[float]:
    """Round numbers inside the scale, about five; only integers where the values are."""
    if scale.log:
        powers = range(math.floor(math.log10(scale.low)), math.ceil(math.log10(scale.high)) + 1)
        for steps in ((1,), (1, 3), (1, 2, 5)):
            found = [step * 10.0**power for power in powers for step in steps]
            inside = [tick for tick in found if scale.low <= tick <= scale.high]
            if len(inside) >= 3:  # noqa: PLR2004  # fewer do not show a scale
                return inside
    raw = (scale.high - scale.low) / 5
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(size * power for size in (1, 2, 5, 10) if size * power >= raw)
    step = max(step, 1.0) if whole else step
    first = math.ceil(scale.low / step)
    return [round(step * n, 12) for n in range(first, math.floor(scale.high / step) + 1)]


def _short(value: float) -> str:
    return f"{value:.4g}"


def _root(title: str, description: str, height: float) -> ET.Element:
    root = ET.Element(
        "svg", {"class": "chart", "viewBox": f"0 {-_HEADING} {_WIDTH} {height + _HEADING:g}", "role": "img"}
    )
    root.set("aria-label", f"{title}. {description}")
    _text(root, 4, -10, title, anchor="start").set("class", "name")
    return root


def _add(parent: ET.Element, tag: str, kind: str, **attributes: float | str) -> ET.Element:
    return ET.SubElement(parent, tag, {"class": kind} | {name: str(value) for name, value in attributes.items()})


def _text(parent: ET.Element, x: float, y: float, text: str, *, anchor: str = "middle") -> ET.Element:
    element = ET.SubElement(parent, "text", {"x": f"{x:g}", "y": f"{y:g}", "text-anchor": anchor})
    element.text = text
    return element


def _name(parent: ET.Element, name: str, y: float) -> None:
    element = _text(parent, _NAMES - 10, y, _cut(name, 28), anchor="end")
    element.set("class", "name")
    _title(element, name)


def _cut(name: str, longest: int) -> str:
    """A name of as many characters as fit."""
    return name if len(name) <= longest else name[: longest - 1] + "…"


def _title(element: ET.Element, text: str) -> None:
    title = ET.SubElement(element, "title")
    title.text = text


def _markup(root: ET.Element) -> Markup:
    from markupsafe import Markup

    # ElementTree escapes every text and attribute.
    return Markup(ET.tostring(root, encoding="unicode"))  # noqa: S704
