"""Reports over time: found, ordered, drawn and linked; damaged ones are named."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from html_reader import Reader
from report_samples import alone, answers, gate, metric, report

from ftdeploy.errors import ArtifactError
from ftdeploy.statistics import Verdict
from ftdeploy.validate.history import PAGE, as_lines, read_history, write_history
from ftdeploy.validate.render import write_report

EVIL = "</script><script>alert(1)</script><img src=x onerror='alert(2)'> \" ' & {{ 7 * 7 }}"
VERDICTS: tuple[Verdict, ...] = ("pass", "fail", "inconclusive", "pass")


def put(folder: Path, found: Any) -> Path:
    folder.mkdir(parents=True)
    write_report(found, answers(rows=60, flipped=5), folder)
    return folder / "report.json"


@pytest.fixture
def reports(tmp_path: Path) -> Path:
    """Four reports of one model, in folders whose names are not in the order of time, and one without a time."""
    root = tmp_path / "reports"
    for day, verdict in enumerate(VERDICTS, start=1):
        found = report(
            gate("floor", verdict), created=f"2026-05-0{day}T10:00:00Z",
            metrics=(metric("accuracy", 0.88, 0.88 + day / 1000), metric("macro_f1", 0.87, 0.86)),
        )  # fmt: skip
        put(root / f"{9 - day} of sentiment", found)
    last = put(root / "deep" / "other", alone(name="toxicity", created=None))
    os.utime(last, (0, 1_780_000_000))  # May 2026, after all others
    return root


def test_reports_are_found_and_ordered_by_time(reports: Path) -> None:
    """At any depth; a report that says no time has that of its file."""
    found = read_history(reports)
    assert [one.name for one in found.reports] == ["sentiment"] * 4 + ["toxicity"]
    assert [one.verdict for one in found.reports][:4] == list(VERDICTS)
    assert [entry.stated for entry in found.entries] == [True] * 4 + [False]
    assert found.unread == ()
    assert {name: len(entries) for name, entries in found.by_model().items()} == {"toxicity": 1, "sentiment": 4}


def test_times_of_all_zones_are_put_in_order(tmp_path: Path) -> None:
    """One in UTC, one with another zone, one without; one that is no time has the file's."""
    for name, created in {"a": "2026-05-01T12:00:00+02:00", "b": "2026-05-01T11:00:00Z", "c": "2026-05-01T10:30:00",
                          "d": "yesterday"}.items():  # fmt: skip
        put(tmp_path / name, report(gate(), created=created))
    found = read_history(tmp_path)
    assert [entry.path.parent.name for entry in found.entries] == ["a", "c", "b", "d"]
    assert [entry.stated for entry in found.entries] == [True, True, True, False]


def test_damaged_reports_are_named_and_do_no_harm(reports: Path) -> None:
    """Neither one of another version nor one that is none keeps the others from being read."""
    for name, content in {"old": '{"schema": 1}', "half": '{"schema": 2, "na', "other tool": "[]"}.items():
        (reports / name).mkdir()
        (reports / name / "report.json").write_text(content, encoding="utf-8")
    found = read_history(reports)
    assert len(found.entries) == 5
    assert {path.parent.name for path, _ in found.unread} == {"old", "half", "other tool"}
    assert all("cannot be read as a report" in why for _, why in found.unread)
    text = Reader(write_history(reports).read_text(encoding="utf-8")).text
    assert "Not read" in text
    assert "half/report.json" in text
    assert sum("not read: " in line for line in as_lines(found)) == 3


def test_a_copy_in_a_bundle_counts_once(reports: Path) -> None:
    """The one with a page beside it stays; what is being written or replaced is left alone."""
    original = reports / "5 of sentiment"
    (reports / "1 bundle").mkdir()
    shutil.copy(original / "report.json", reports / "1 bundle" / "report.json")
    shutil.copytree(original, reports / "new.partial")
    shutil.copytree(original, reports / "new.old")
    found = read_history(reports)
    assert len(found.entries) == 5
    assert original / "report.json" in [entry.path for entry in found.entries]


def test_the_page_shows_a_trend_of_everything_and_links_to_each_report(reports: Path) -> None:
    """A plot a metric and a cost ratio with a mark for each report; links are relative and lead to the pages."""
    page = write_history(reports)
    assert page == reports / PAGE
    source = page.read_text(encoding="utf-8")
    found = Reader(source)
    titles = [chart["aria-label"].split(".")[0] for chart in found.of("svg", "chart") if "aria-label" in chart]
    costs = len(report().costs)
    assert len(titles) == 3 + 2 + costs, "no ratio of a report without a baseline"
    assert {"accuracy", "macro_f1", "Throughput, times the baseline's"} <= set(titles)
    assert found.of("path", "dot")
    assert len(found.of("path", "dot")) == 3 + 4 * (2 + costs)
    links = [unquote(link["href"]) for link in found.of("a") if not link["href"].startswith("#")]
    assert sorted(links) == sorted(
        f"{path.relative_to(reports).as_posix()}/report.html"
        for path in (e.path.parent for e in read_history(reports).entries)
    )
    assert all((reports / link).is_file() for link in links)
    assert found.text.index("Fail: toxicity must not be released") < found.text.index("sentiment")
    rows = [row for row in found.rows if "of sentiment" in row]
    assert [next(day for day in "1234" if f"2026-05-0{day}" in row) for row in rows] == list("4321"), "latest first"
    for word in ("Pass", "Fail", "Inconclusive"):
        assert any(word in row for row in rows)


def test_a_page_elsewhere_links_to_the_reports(reports: Path, tmp_path: Path) -> None:
    """Links start where the page is; a report without a page has none."""
    (reports / "8 of sentiment" / "report.html").unlink()
    page = write_history(reports, tmp_path / "pages" / "all.html")
    links = [link["href"] for link in Reader(page.read_text(encoding="utf-8")).of("a") if "report.html" in link["href"]]
    assert len(links) == 4
    assert all((page.parent / unquote(link)).is_file() for link in links)


def test_the_page_needs_nothing_else_and_shows_texts_as_texts(tmp_path: Path) -> None:
    """Names of models, suites and metrics come from users."""
    found = report(gate(name=EVIL), name=EVIL, suite=EVIL, metrics=(metric(EVIL, 0.8, 0.9),))
    put(tmp_path / "a & b <i>", found)
    (tmp_path / "<b>").mkdir()
    (tmp_path / "<b>" / "report.json").write_text(EVIL, encoding="utf-8")
    source = write_history(tmp_path).read_text(encoding="utf-8")
    read = Reader(source)
    assert not {"script", "img", "link", "i", "b"} & {tag for tag, _ in read.tags}
    assert not [name for _, attributes in read.tags for name in attributes if name.startswith("on")]
    assert read.text.count(EVIL) >= 5
    assert "http" not in source


def test_many_reports_stay_a_page(tmp_path: Path) -> None:
    """The latest are shown, and how many are not."""
    first = put(tmp_path / "0", report(gate(), created="2026-01-01T00:00:00Z"))
    for number in range(1, 230):
        (tmp_path / str(number)).mkdir()
        text = first.read_text(encoding="utf-8").replace(
            "2026-01-01T00:00", f"2026-01-01T{number // 60:02}:{number % 60:02}"
        )
        (tmp_path / str(number) / "report.json").write_text(text, encoding="utf-8")
    source = write_history(tmp_path).read_text(encoding="utf-8")
    assert "The latest 200 are shown, and 30 older ones are not." in source
    assert len(source) < 2_000_000


def test_lines_for_the_terminal(reports: Path) -> None:
    """One a report, the latest last, with time, verdict, model, scores, ratios and place, in columns."""
    lines = as_lines(read_history(reports))
    assert len(lines) == 5
    assert lines[0].startswith("2026-05-01 10:00")
    for shown in ("pass", "sentiment", "accuracy 0.8810 (+0.0010)", "throughput 2.41", "size 0.26", "8 of sentiment"):
        assert shown in lines[0]
    assert "accuracy 0.8844, macro_f1" in lines[-1]
    assert len({line.index(f"{reports}") for line in lines}) == 1
    assert as_lines(read_history(reports / "deep" / "other"))


def test_nothing_to_show_is_an_error_that_says_why(tmp_path: Path) -> None:
    """No folder, no report, or only damaged ones, which are named; no page is written."""
    with pytest.raises(ArtifactError, match="is no folder"):
        read_history(tmp_path / "missing")
    assert as_lines(read_history(tmp_path)) == []
    with pytest.raises(ArtifactError, match="no report below"):
        write_history(tmp_path)
    (tmp_path / "report.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ArtifactError, match=r"report\.json cannot be read"):
        write_history(tmp_path)
    assert not (tmp_path / PAGE).exists()
