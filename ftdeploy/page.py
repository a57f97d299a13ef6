"""One HTML page that needs nothing else: headings, sentences, tables and charts; in light, in dark and in print."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from ftdeploy.svg import STYLE

if TYPE_CHECKING:
    from jinja2 import Template
    from markupsafe import Markup


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows of a table.

    Attributes:
        columns: their names; one that begins with ``#`` holds numbers and is set to the right.
        rows: cells as they are shown.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, kw_only=True)
class Part:
    """One part of a page; what it leaves out is not shown.

    Attributes:
        heading: what it is about.
        text: a sentence or two.
        links: (text, address) of other pages, relative to this one.
        charts: as `ftdeploy.charts` makes them.
        table: below them.
    """

    heading: str
    text: str = ""
    links: Sequence[tuple[str, str]] = ()
    charts: Sequence[Markup] = ()
    table: Table | None = None


@dataclass(frozen=True, kw_only=True)
class Page:
    """A page.

    Attributes:
        title: what it is.
        summary: the answer, in a sentence.
        tiles: (name, value) of the few numbers that matter most.
        parts: in order.
    """

    title: str
    summary: str
    tiles: Sequence[tuple[str, str]]
    parts: Sequence[Part]


def render_page(page: Page) -> str:
    """The page as HTML; every text in it is escaped."""
    return _template().render(page=page, style=page_style())


def page_style() -> str:
    """The style sheet that every page shares, with that of charts."""
    return Path(__file__).with_name("page.css").read_text(encoding="utf-8") + STYLE


@cache
def _template() -> Template:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(Path(__file__).with_name("page.html").read_text(encoding="utf-8"))
