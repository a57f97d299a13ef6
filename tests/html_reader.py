"""Reads a page as a browser without script does."""

from __future__ import annotations

from html.parser import HTMLParser

VOID = {"meta", "input", "br", "link", "img"}


class Reader(HTMLParser):
    """Tags that close, their attributes, the text that is shown, and that of each row of a table."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.rows: list[str] = []
        self.text = ""
        self.feed(source)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note it."""
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note it."""
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        """Every end has its beginning, and nothing overlaps."""
        assert self.open, f"</{tag}> without a beginning"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Text that is shown."""
        if not {"style", "script", "title"} & set(self.open[-1:]):
            self.text += data
            if "tr" in self.open:
                self.rows[-1] += data

    def of(self, tag: str, kind: str | None = None) -> list[dict[str, str]]:
        """Attributes of each such tag; of one class, where it is given."""
        return [found for name, found in self.tags
                if name == tag and (kind is None or kind in found.get("class", "").split())]  # fmt: skip
