"""The plots of a search: what each candidate keeps of a score, against its throughput, its latency or its size."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from ftdeploy.compress.outcome import CandidateResult, Costs, Scored
from ftdeploy.svg import Scale, add, image, markup, scale_for, short, tell, ticks, write

if TYPE_CHECKING:
    from markupsafe import Markup

#: On the plots a drop of more than so many times ``max_drop`` is shown as an arrow at the lower edge: a candidate that
#: lost everything would press the others into one line.
DEEPEST = 2

#: With more candidates than this a plot is larger, and only the front, the winner and fp32 have their lines.
MANY = 20

_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 54, 26, 44  # pixels round the plot
_RADIUS = 5.5
_LETTER, _LINE = 7.6, 14  # pixels of a character and of a line of text
#: Distances at which a label's place is looked for, and the directions, upper right first.
_DISTANCES = (8, 14, 22, 32, 44, 58)
_DIRECTIONS = tuple(math.radians(degrees) for degrees in (-45, 45, 0, -90, 90, -135, 135, 180, -20, 20, -160, 160))
#: Colour and shape of a status: either alone tells them apart.
_SERIES = {"kept": "s0", "undecided": "s3"}

Box = tuple[float, float, float, float]  # left, top, right, bottom


@dataclass(frozen=True, kw_only=True)
class Axis:
    """What a plot has to the right.

    Attributes:
        title: of the plot, behind the metric's name.
        label: of the axis.
        read: value, and the two ends of what is drawn beside it.
        log: whether ratios count rather than differences.
        more: whether more of it is better.
        note: what the two ends are.
        both: whether the ends are drawn for all, and not only for the winner and fp32.
    """

    title: str
    label: str
    read: Callable[[Costs], tuple[float, float, float]]
    log: bool
    more: bool
    note: str
    both: bool = True


def _latency(costs: Costs) -> tuple[float, float, float]:
    middle, high = (1000 * median(found) for found in (costs.latencies_p50, costs.latencies_p95))
    return middle, middle, high


AXES = (
    Axis(
        title="throughput",
        label="times the throughput of fp32 (better →)",
        read=lambda costs: (costs.speedup, costs.speedup_lower, costs.speedup_upper),
        log=False,
        more=True,
        note="The line to the sides is the interval of the speedup.",
    ),
    Axis(
        title="latency",
        label="ms for one text alone (← better)",
        read=_latency,
        log=True,
        more=False,
        note="A text of median length; for the winner and fp32 the line ends at one as long as the 95th percentile.",
        both=False,
    ),
    Axis(
        title="size",
        label="MB on disk (← better)",
        read=lambda costs: (costs.size / 1e6,) * 3,
        log=True,
        more=False,
        note="Model, external data and tokenizer.",
    ),
)


@dataclass(frozen=True)
class _Frame:
    """Size of a plot in pixels, and where its right and lower edges are."""

    width: int
    height: int

    @property
    def right(self) -> int:
        return self.width - _RIGHT

    @property
    def bottom(self) -> int:
        return self.height - _BOTTOM


@dataclass(frozen=True, kw_only=True)
class _Point:
    number: int
    result: CandidateResult
    x: float
    y: float
    below: bool


def pareto_plot(candidates: Mapping[int, CandidateResult], metric: str, axis: Axis, *, margin: float | None,
                winner: str) -> Markup:  # fmt: skip
    """A metric's difference to fp32 against a cost, each candidate under its number.

    Args:
        candidates: by number; those without costs or without this metric are left out, at least one is not.
        metric: which one.
        axis: which cost, one of `AXES`.
        margin: the drop that is tolerated, or None where the recipe says nothing of this metric.
        winner: its name; it gets a ring.
    """
    found = {
        number: (one, one.metrics[metric], one.costs)
        for number, one in candidates.items()
        if one.costs is not None and metric in one.metrics
    }
    reads = {number: tuple(max(end, 1e-9) for end in axis.read(costs)) for number, (_, _, costs) in found.items()}
    frame = _Frame(640, 460) if len(found) > MANY else _Frame(440, 320)
    across = scale_for([n for ends in reads.values() for n in ends], _LEFT, frame.right, log=axis.log)
    up = _up([score for _, score, _ in found.values()], margin, frame)
    described = _described(found.values(), metric)
    root = image(f"{metric} against {axis.title}", described, width=frame.width, height=frame.height)
    base = next(iter(found.values()))[1]
    obstacles = _axes(
        root, frame, across, up, axis=axis, metric=metric, fp32=base.value - base.difference, margin=margin
    )
    points = [
        _Point(number=number, result=one, x=across(reads[number][0]), below=score.difference < up.low,
               y=frame.bottom - 7 if score.difference < up.low else up(score.difference))
        for number, (one, score, _) in found.items()
    ]  # fmt: skip
    _front(root, [point for point in points if point.result.pareto and not point.below], more=axis.more)
    for point in points:
        known = point.result.name == winner or not point.result.steps
        sides = [across(end) for end in reads[point.number][1:]] if axis.both or known else []
        if known or len(found) <= MANY or point.result.pareto:
            _whiskers(root, point, found[point.number][1], up, sides=sides)
        _draw(root, point, found[point.number][1], winner=winner, metric=metric)
    _number(root, frame, points, obstacles, winner=winner)
    return markup(root)


def _up(scores: Iterable[Scored], margin: float | None, frame: _Frame) -> Scale:
    shown = [number for one in scores for number in (one.difference, one.lower, one.upper)] + [0.0]
    if margin is not None:
        shown.append(-margin)
    if margin:
        shown = [max(number, -DEEPEST * margin) for number in shown]
    return scale_for(shown, frame.bottom, _TOP)


def _described(found: Iterable[tuple[CandidateResult, Scored, Costs]], metric: str) -> str:
    return "; ".join(
        f"{one.name}: {metric} {score.value:.4f}, {costs.speedup:.2f} times the throughput, {costs.size / 1e6:.1f} MB"
        for one, score, costs in found
    )


def _axes(root: ET.Element, frame: _Frame, across: Scale, up: Scale, *, axis: Axis, metric: str, fp32: float,
          margin: float | None) -> list[Box]:  # fmt: skip
    """Axes, grid, the tolerated side and its limit; returns where text stands."""
    right, bottom = frame.right, frame.bottom
    if margin is not None:
        add(root, "rect", "allowed", x=_LEFT, y=_TOP, width=right - _LEFT, height=up(-margin) - _TOP)
    for tick in ticks(up):
        add(root, "line", "grid", x1=_LEFT, x2=right, y1=up(tick), y2=up(tick))
        write(root, _LEFT - 6, up(tick) + 4, f"{tick:+.4g}" if tick else "0", anchor="end")
        write(root, right + 6, up(tick) + 4, f"{fp32 + tick:.4f}", anchor="start")
    for tick in ticks(across):
        add(root, "line", "axis", x1=across(tick), x2=across(tick), y1=bottom, y2=bottom + 4)
        write(root, across(tick), bottom + 18, short(tick))
    add(root, "line", "zero", x1=_LEFT, x2=right, y1=up(0), y2=up(0))
    add(root, "line", "axis", x1=_LEFT, x2=right, y1=bottom, y2=bottom)
    write(root, (_LEFT + right) / 2, frame.height - 8, axis.label)
    write(root, 2, 14, f"{metric} - fp32's", anchor="start")
    write(root, frame.width - 2, 14, metric, anchor="end")
    if margin is None:
        return []
    add(root, "line", "limit", x1=_LEFT, x2=right, y1=up(-margin), y2=up(-margin))
    words = f"max_drop {margin:g}"
    write(root, right - 4, up(-margin) + 13, words, anchor="end").set("class", "name")
    return [(right - 4 - _LETTER * len(words), up(-margin), right, up(-margin) + _LINE + 2)]


def _front(root: ET.Element, points: Iterable[_Point], *, more: bool) -> None:
    """The stairs that nothing shown is beyond: from the best cost to the best score."""
    corners: list[tuple[float, float]] = []
    for point in sorted(points, key=lambda point: (-point.x if more else point.x, point.y)):
        if not corners or point.y < corners[-1][1]:
            corners += [(point.x, corners[-1][1])] if corners else []
            corners.append((point.x, point.y))
    if len(corners) > 1:
        add(root, "polyline", "front", points=" ".join(f"{x:g},{y:g}" for x, y in corners))


def _whiskers(root: ET.Element, point: _Point, score: Scored, up: Scale, *, sides: Sequence[float]) -> None:
    group = add(root, "g", _SERIES.get(point.result.status, "s1"))
    high, low = (up(max(end, up.low)) for end in (score.upper, score.lower))
    if not point.below:
        add(group, "line", "whisker", x1=point.x, x2=point.x, y1=low, y2=high)
    if sides and sides[1] - sides[0] > 1:
        add(group, "line", "whisker", x1=sides[0], x2=sides[1], y1=point.y, y2=point.y)
        add(group, "line", "whisker", x1=sides[1], x2=sides[1], y1=point.y - 3, y2=point.y + 3)


def _draw(root: ET.Element, point: _Point, score: Scored, *, winner: str, metric: str) -> None:
    one = point.result
    group = add(root, "g", _SERIES.get(one.status, "s1"))
    if one.name == winner:
        add(group, "circle", "ring", cx=point.x, cy=point.y, r=_RADIUS + 4)
    shape = add(group, "path", "glyph full" if one.pareto else "glyph open", d=_shape(point))
    tell(
        shape,
        f"{point.number} {one.name}: {metric} {score.value:.4f} ({score.difference:+.4f}, from {score.lower:+.4f} to "
        f"{score.upper:+.4f}); {_told(one.costs)}; {one.status}",
    )


def _told(costs: Costs | None) -> str:
    if costs is None:
        return "not measured"
    p50, _, p95 = _latency(costs)
    return f"{costs.speedup:.2f}x the throughput, {p50:.2f} ms (p95 {p95:.2f} ms), {costs.size / 1e6:.1f} MB"


def _shape(point: _Point) -> str:
    """Kept is a circle, undecided a diamond, dropped a square; what lies below the plot an arrow down."""
    x, y, r = point.x, point.y, _RADIUS
    if point.below:
        return f"M{x - r:g} {y - r:g}h{2 * r:g}L{x:g} {y + r:g}z"
    if point.result.status == "kept":
        return f"M{x - r:g} {y:g}a{r} {r} 0 1 0 {2 * r:g} 0a{r} {r} 0 1 0 {-2 * r:g} 0z"
    if point.result.status == "undecided":
        return f"M{x:g} {y - r - 1.5:g}L{x + r + 1.5:g} {y:g}L{x:g} {y + r + 1.5:g}L{x - r - 1.5:g} {y:g}z"
    return f"M{x - r + 0.5:g} {y - r + 0.5:g}h{2 * r - 1:g}v{2 * r - 1:g}h{1 - 2 * r:g}z"


def _number(root: ET.Element, frame: _Frame, points: Iterable[_Point], obstacles: list[Box], *,
            winner: str) -> None:  # fmt: skip
    """Each one's number beside its mark, the winner's and the front's first, where nothing else stands."""
    order = sorted(points, key=lambda point: (point.result.name != winner, not point.result.pareto, point.number))
    reach = _RADIUS + 1
    taken = obstacles + [(p.x - reach, p.y - reach, p.x + reach, p.y + reach) for p in order]
    for point in order:
        text = str(point.number)
        box, distance = _free(_places(frame, point, _LETTER * len(text)), taken)
        taken.append(box)
        middle = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
        if distance > _DISTANCES[0]:
            add(root, "line", "leader", x1=point.x, y1=point.y, x2=middle[0], y2=middle[1])
        label = write(root, middle[0], middle[1] + 4.5, text)
        label.set("class", "number winner" if point.result.name == winner else "number")


def _free(places: Iterable[tuple[Box, float]], taken: list[Box]) -> tuple[Box, float]:
    """The nearest box for a label that overlaps nothing, or the one that overlaps least; and its distance."""
    found = []
    for box, distance in places:
        over = sum(_overlap(box, other) for other in taken)
        if not over:
            return box, distance
        found.append((over, distance, box))
    _, distance, box = min(found)
    return box, distance


def _places(frame: _Frame, point: _Point, width: float) -> Iterator[tuple[Box, float]]:
    for distance in _DISTANCES:
        for angle in _DIRECTIONS:
            x = point.x + math.cos(angle) * (distance + width / 2)
            y = point.y + math.sin(angle) * (distance + _LINE / 2 - 2)
            box = (x - width / 2, y - _LINE / 2, x + width / 2, y + _LINE / 2)
            if box[0] >= _LEFT and box[2] <= frame.right and box[1] >= _TOP - 4 and box[3] <= frame.bottom:
                yield box, distance


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
