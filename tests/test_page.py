"""The page around tables and charts: it needs nothing else, and shows texts as texts."""

from __future__ import annotations

from html.parser import HTMLParser

from ftdeploy.charts import bar_chart
from ftdeploy.page import Page, Part, Table, render_page

EVIL = "<img src=x onerror=alert(1)>"


class Tags(HTMLParser):
    """Notes every tag with its attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note it."""
        self.found.append((tag, dict(attrs)))


def rendered() -> str:
    table = Table(columns=("name", "#value"), rows=[(EVIL, "1")])
    part = Part(heading=EVIL, text=EVIL, charts=[bar_chart({EVIL: 1.0}, title=EVIL)], table=table)
    return render_page(Page(title=EVIL, summary=EVIL, tiles=[(EVIL, EVIL)], parts=[part, Part(heading="empty")]))


def test_a_page_holds_everything_and_loads_nothing() -> None:
    """One chart, one table, no script, and no address of anything else."""
    tags = Tags()
    tags.feed(rendered())
    names = [name for name, _ in tags.found]
    assert names.count("svg") == names.count("table") == 1
    assert not {"script", "link", "img", "iframe"} & set(names)
    assert not [one for _, attributes in tags.found for one in attributes if one in ("src", "href", "onerror")]


def test_texts_are_escaped() -> None:
    """In the heading, the tiles, the table and the chart."""
    assert EVIL not in rendered()
    assert rendered().count("&lt;img src=x") >= 7


def test_numbers_stand_to_the_right() -> None:
    """A column that begins with # is of numbers, and its name is shown without it."""
    page = rendered()
    assert '<th scope="col" class="number">value</th>' in page
    assert '<td class="number">1</td>' in page
