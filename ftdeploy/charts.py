"""Charts as inline SVG: for pages that need nothing else and are read in light, in dark, in print, and aloud.

Each function returns one ``<svg>`` element as markup that a template may show as it is; every text in it is escaped.
A page that shows charts puts `ftdeploy.svg.STYLE` into its style sheet.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from ftdeploy.svg import Scale, add, cut, image, markup, scale_for, short, tell, ticks, write

if TYPE_CHECKING:
    from markupsafe import Markup

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
    across = scale_for([p[0] for p in points], _LEFT, _WIDTH - _RIGHT, log=log_x)
    if names:
        across = Scale(0.5, len(names) + 0.5, _LEFT, _WIDTH - _RIGHT)
    up = scale_for([p[1] for p in points], _HEIGHT - _BOTTOM, _TOP, log=log_y)
    for tick in ticks(up):
        place = up(tick)
        add(root, "line", "grid", x1=_LEFT, x2=_WIDTH - _RIGHT, y1=place, y2=place)
        write(root, _LEFT - 8, place + 4, short(tick), anchor="end")
    whole = all(float(p[0]).is_integer() for p in points)
    for tick in range(1, len(names) + 1) if names else ticks(across, whole=whole):
        place = across(tick)
        add(root, "line", "axis", x1=place, x2=place, y1=_HEIGHT - _BOTTOM, y2=_HEIGHT - _BOTTOM + 4)
        shown = cut(names[round(tick) - 1], 90 // len(names)) if names else short(tick)
        write(root, place, _HEIGHT - _BOTTOM + 18, shown)
    add(root, "line", "axis", x1=_LEFT, x2=_WIDTH - _RIGHT, y1=_HEIGHT - _BOTTOM, y2=_HEIGHT - _BOTTOM)
    write(root, (_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 8, x)
    name = write(root, 0, 0, y)
    name.set("transform", f"translate(12 {(_TOP + _HEIGHT - _BOTTOM) / 2}) rotate(-90)")
    for number, one in enumerate(series):
        _draw(root, one, number, across, up)
    for row, line in enumerate(legend):
        _legend(root, line, _HEIGHT + 14 + 20 * row)
    return markup(root)


def bar_chart(values: Mapping[str, float], *, title: str, unit: str = "") -> Markup:
    """Horizontal bars from zero, in the order given, each with its name and value.

    Args:
        values: name -> value, zero or more.
        title: what the chart shows.
        unit: written behind each value.
    """
    root = _root(title, ", ".join(f"{name} {short(value)}{unit}" for name, value in values.items()),
                 _BAR * len(values) + 8)  # fmt: skip
    across = Scale(0, max([*values.values(), 1e-12]), _NAMES, _WIDTH - 72)
    for row, (name, value) in enumerate(values.items()):
        top = 4 + _BAR * row
        bar = add(root, "rect", "s0", x=_NAMES, y=top + 4, width=max(1.0, across(value) - _NAMES), height=_BAR - 10,
                   rx=3, fill="currentColor")  # fmt: skip
        tell(bar, f"{name}: {short(value)}{unit}")
        _name(root, name, top + 18)
        write(root, across(value) + 8, top + 18, f"{short(value)}{unit}", anchor="start")
    return markup(root)


def interval_chart(rows: Sequence[tuple[str, float, float, float]], *, title: str, x: str) -> Markup:
    """A dot with its interval for each row, over one axis.

    Args:
        rows: (name, value, lower, upper), at least one.
        title: what the chart shows.
        x: what the axis is.
    """
    height = _BAR * len(rows) + _BOTTOM + 8
    root = _root(title, "; ".join(f"{n} {short(v)} ({short(a)} to {short(b)})" for n, v, a, b in rows), height)
    across = scale_for([number for row in rows for number in row[1:]], _NAMES, _WIDTH - _RIGHT)
    bottom = height - _BOTTOM
    for tick in ticks(across):
        add(root, "line", "grid", x1=across(tick), x2=across(tick), y1=4, y2=bottom)
        write(root, across(tick), bottom + 16, short(tick))
    write(root, (_NAMES + _WIDTH - _RIGHT) / 2, height - 8, x)
    for row, (name, value, lower, upper) in enumerate(rows):
        middle = 4 + _BAR * row + _BAR / 2
        group = add(root, "g", "s0")
        tell(group, f"{name}: {short(value)} ({short(lower)} to {short(upper)})")
        add(group, "line", "range", x1=across(lower), x2=across(upper), y1=middle, y2=middle, stroke="currentColor")
        add(group, "circle", "dot", cx=across(value), cy=middle, r=5, fill="currentColor")
        _name(root, name, middle + 4)
    return markup(root)


def _draw(root: ET.Element, one: Series, number: int, across: Scale, up: Scale) -> None:
    group = add(root, "g", f"s{number % _COLOURS}")
    places = [(across(x), up(y)) for x, y in one.points]
    if one.kind in ("line", "step"):
        if one.kind == "step":
            corners = [(after[0], before[1]) for before, after in pairwise(places)]
            path = [point for pair in zip(places, corners, strict=False) for point in pair] + places[-1:]
        else:
            path = places
        drawn = " ".join(f"{x},{y}" for x, y in path)
        add(group, "polyline", "line", points=drawn, stroke="currentColor", **_dash(number))
    small = one.kind in ("line", "step")
    for index, (x, y) in enumerate(places):
        kind = "dot faded" if one.kind == "faded" else "dot"
        dot = add(group, "circle", kind, cx=x, cy=y, r=2.5 if small else 4.5, fill="currentColor")
        told = one.titles[index] if one.titles else f"{one.name}: {short(one.points[index][1])}"
        tell(dot, told)


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
        group = add(root, "g", f"s{number % _COLOURS}")
        add(group, "line", "range", x1=x, x2=x + 18, y1=y - 4, y2=y - 4, stroke="currentColor", **_dash(number))
        write(root, x + 24, y, name, anchor="start")


def _root(title: str, description: str, height: float) -> ET.Element:
    root = image(title, description, width=_WIDTH, height=height + _HEADING, top=-_HEADING)
    write(root, 4, -10, title, anchor="start").set("class", "name")
    return root


def _name(parent: ET.Element, name: str, y: float) -> None:
    element = write(parent, _NAMES - 10, y, cut(name, 28), anchor="end")
    element.set("class", "name")
    tell(element, name)
