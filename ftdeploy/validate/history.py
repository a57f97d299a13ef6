"""Reports over time: which are there, and one page of how metrics, costs and verdicts went."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from ftdeploy.errors import ArtifactError
from ftdeploy.files import write_text
from ftdeploy.validate.page import style, template
from ftdeploy.validate.plots import Point, trend_plot, verdict_shape
from ftdeploy.validate.words import COSTS, MARKS, number
from ftdeploy.verdict import Report, read_report

if TYPE_CHECKING:
    from jinja2 import Template
    from markupsafe import Markup

#: The page, in the folder of the reports.
PAGE = "history.html"
#: The latest reports of each model that the page shows, and metrics in its table.
_SHOWN, _METRICS = 200, 4
#: What reports that are being written or replaced end in.
_PASSING = (".partial", ".old")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A report that could be read.

    Attributes:
        path: its ``report.json``.
        report: what it says.
        when: in UTC.
        stated: whether the report says when; else it is the time of the file.
    """

    path: Path
    report: Report
    when: datetime
    stated: bool


@dataclass(frozen=True, kw_only=True)
class History:
    """All reports below a folder.

    Attributes:
        entries: the oldest first.
        unread: (path, why) of each that is damaged, or of another version.
    """

    entries: tuple[Entry, ...]
    unread: tuple[tuple[Path, str], ...]

    @property
    def reports(self) -> list[Report]:
        """The reports alone, the oldest first."""
        return [entry.report for entry in self.entries]

    def by_model(self) -> dict[str, list[Entry]]:
        """The entries by the name of the model, that of the latest report first."""
        found: dict[str, list[Entry]] = {}
        for entry in reversed(self.entries):
            found.setdefault(entry.report.name, []).insert(0, entry)
        return found


def read_history(folder: Path) -> History:
    """Every ``report.json`` below a folder.

    A copy, as a bundle carries one, counts once: the one with a page beside it. Links to folders are not followed.

    Args:
        folder: where to look.

    Raises:
        ArtifactError: there is no such folder.
    """
    if not folder.is_dir():
        raise ArtifactError(
            f"{folder} is no folder",
            cause="it is misspelt, or no report was written yet",
            fix="name a folder with reports below it",
        )
    entries: dict[str, Entry] = {}
    unread = []
    for path in sorted(_files(folder), key=lambda path: (not path.with_name("report.html").is_file(), path)):
        try:
            report = read_report(path)
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            entries.setdefault(digest, _entry(path, report))
        except (ArtifactError, OSError) as error:
            why = error.what if isinstance(error, ArtifactError) else str(error)
            unread.append((path, why.removeprefix(f"{path} ")))
    order = sorted(entries.values(), key=lambda entry: (entry.when, entry.path))
    return History(entries=tuple(order), unread=tuple(unread))


def _files(folder: Path) -> Iterator[Path]:
    for root, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.endswith(_PASSING))
        if "report.json" in files:
            yield Path(root) / "report.json"


def _entry(path: Path, report: Report) -> Entry:
    try:
        when = datetime.fromisoformat(report.created or "")
        stated = True
    except ValueError:
        when, stated = datetime.fromtimestamp(path.stat().st_mtime, UTC), False
    when = when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)
    return Entry(path=path, report=report, when=when, stated=stated)


def write_history(folder: Path, out: Path | None = None) -> Path:
    """Write a page of all reports below a folder; it needs nothing else, and links to their pages.

    Args:
        folder: where the reports are.
        out: the page's file; without one ``history.html`` in the folder.

    Returns:
        The page's file.

    Raises:
        ArtifactError: there is no such folder, or no report in it that can be read.
        OSError: the page cannot be written.
    """
    found = read_history(folder)
    if not found.entries:
        named = "; ".join(f"{path} {why}" for path, why in found.unread[:3])
        raise ArtifactError(
            f"there is no report below {folder} that can be read" + (f": {named}" if named else ""),
            cause="none was written yet, or all are of another version" if named else "none was written yet",
            fix="evaluate a model with --report below this folder first",
        )
    page = out or folder / PAGE
    write_text(page, history_page(found, page.parent))
    return page


def history_page(history: History, beside: Path) -> str:
    """The page as HTML; every text in it is escaped.

    Args:
        history: with at least one entry.
        beside: the folder that the page is for; links start there.
    """
    return _template().render(
        style=style(),
        latest=history.entries[-1],
        total=len(history.entries),
        models=[_model(name, entries, beside) for name, entries in history.by_model().items()],
        unread=[(os.path.relpath(path, beside), why) for path, why in history.unread],
        date=_date,
        shape=verdict_shape,
    )


@cache
def _template() -> Template:
    return template("history.html")


def _model(name: str, entries: Sequence[Entry], beside: Path) -> dict[str, Any]:
    """What the page shows of one model."""
    latest = entries[-_SHOWN:]
    metrics = list(dict.fromkeys(one.metric for entry in reversed(latest) for one in entry.report.metrics))
    return {
        "name": name,
        "charts": list(_charts(latest, metrics)),
        "metrics": metrics[:_METRICS],
        "rows": [_row(entry, metrics[:_METRICS], beside) for entry in reversed(latest)],
        "older": len(entries) - len(latest),
    }


def _charts(entries: Sequence[Entry], metrics: Sequence[str]) -> Iterator[tuple[str, Markup]]:
    """(title, trend) of each metric, and of each cost that was compared with a baseline's."""
    names = _short_dates(entries)
    for metric in metrics:
        points = [
            Point(name=name, value=one.candidate.value, lower=one.candidate.lower, upper=one.candidate.upper,
                  even=None if entry.report.absolute else one.baseline.value, verdict=entry.report.verdict)
            for entry, name in zip(entries, names, strict=True)
            for one in entry.report.metrics
            if one.metric == metric and math.isfinite(one.candidate.value)
        ]  # fmt: skip
        if points:
            yield metric, trend_plot(points, title=metric)
    costs = dict.fromkeys(cost.cost for entry in entries for cost in entry.report.costs)
    for cost in sorted(costs, key=lambda cost: [*COSTS, cost].index(cost)):
        points = [
            Point(name=name, value=one.ratio, lower=one.lower, upper=one.upper, even=1.0, verdict=entry.report.verdict)
            for entry, name in zip(entries, names, strict=True)
            for one in entry.report.costs
            if one.cost == cost and not entry.report.absolute and math.isfinite(one.ratio)
        ]
        if points:
            title = f"{COSTS.get(cost, cost)}, times the baseline's"
            yield title, trend_plot(points, title=title)


def _short_dates(entries: Sequence[Entry]) -> list[str]:
    """Days, or the times of the one day."""
    form = "%H:%M" if len({entry.when.date() for entry in entries}) == 1 else "%Y-%m-%d"
    return [f"{entry.when:{form}}" for entry in entries]


def _row(entry: Entry, metrics: Sequence[str], beside: Path) -> dict[str, Any]:
    report = entry.report
    scores = {one.metric: one for one in report.metrics}
    page = entry.path.with_name("report.html")
    link = Path(os.path.relpath(page, beside)).as_posix() if page.is_file() else ""
    verdicts = [gate.verdict for gate in report.gates]
    return {
        "entry": entry,
        "where": Path(os.path.relpath(entry.path.parent, beside)).as_posix(),
        "link": quote(link),
        "scores": [scores.get(name) for name in metrics],
        "gates": " ".join(f"{verdicts.count(one)}{mark}" for one, mark in MARKS.items() if one in verdicts) or "none",
    }


def _date(entry: Entry) -> str:
    return f"{entry.when:%Y-%m-%d %H:%M}" + ("" if entry.stated else " (file's time)")


def as_lines(history: History) -> list[str]:
    """A line a report for a terminal, the latest last, and one for each that could not be read."""
    rows = [
        (
            _date(entry),
            entry.report.verdict,
            entry.report.name,
            ", ".join(
                f"{one.metric} {one.candidate.value:.4f}"
                + ("" if entry.report.absolute else f" ({one.difference.value:+.4f})")
                for one in entry.report.metrics[:2]
            ),
            ", ".join(
                f"{cost.cost} {number(cost.ratio, 'ratio')}"
                for cost in entry.report.costs
                if cost.cost in ("throughput", "size") and not entry.report.absolute
            ),
            str(entry.path.parent),
        )
        for entry in history.entries
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return [*lines, *(f"not read: {path} {why}" for path, why in history.unread)]
