"""What charts are drawn with: scales, ticks, and elements of an SVG image whose texts cannot break out of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Scale:
    """From values to pixels; a logarithmic one takes values above zero."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        low, high, here = (math.log(n) if self.log else n for n in (self.low, self.high, value))
        return round(self.start + (self.end - self.start) * (here - low) / (high - low), 2)


def scale_for(values: Sequence[float], start: float, end: float, *, log: bool = False) -> Scale:
    """A scale that holds the values, with some room at both ends; never of no width."""
    low, high = min(values), max(values)
    if log:
        low, high = (low / 2, high * 2) if low == high else (low / 1.15, high * 1.15)
        return Scale(low, high, start, end, log=True)
    room = (high - low) * 0.06 or abs(high) * 0.1 or 1.0
    return Scale(low - room, high + room, start, end)


def ticks(scale: Scale, *, whole: bool = False) -> list[float]:
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


def short(value: float) -> str:
    """Four digits of it."""
    return f"{value:.4g}"


def cut(name: str, longest: int) -> str:
    """A name of as many characters as fit."""
    return name if len(name) <= longest else name[: longest - 1] + "…"


def image(title: str, description: str, *, width: float, height: float, top: float = 0) -> ET.Element:
    """An empty chart that is told to people who cannot see it; y counts from ``top`` downwards."""
    root = ET.Element("svg", {"class": "chart", "viewBox": f"0 {top:g} {width:g} {height:g}", "role": "img"})
    root.set("aria-label", f"{title}. {description}")
    return root


def add(parent: ET.Element, tag: str, kind: str, **attributes: float | str) -> ET.Element:
    """An element of a class; returns it."""
    return ET.SubElement(parent, tag, {"class": kind} | {name: str(value) for name, value in attributes.items()})


def write(parent: ET.Element, x: float, y: float, text: str, *, anchor: str = "middle") -> ET.Element:
    """A text at a place; returns its element."""
    element = ET.SubElement(parent, "text", {"x": f"{x:g}", "y": f"{y:g}", "text-anchor": anchor})
    element.text = text
    return element


def tell(element: ET.Element, text: str) -> None:
    """What is shown of an element when it is pointed at."""
    title = ET.SubElement(element, "title")
    title.text = text


def markup(root: ET.Element) -> Markup:
    """The image as markup that a template may show as it is."""
    from markupsafe import Markup

    # ElementTree escapes every text and attribute.
    return Markup(ET.tostring(root, encoding="unicode"))  # noqa: S704
