"""The page of a report: everything that was found stands on it, as text, and it needs nothing else."""

from __future__ import annotations

import dataclasses
import html
import re
from typing import Any, get_args

import pytest
from html_reader import Reader
from hypothesis import given, settings
from hypothesis import strategies as st
from report_samples import KINDS, alone, answers, bins, gate, metric, report, scored, slices

from ftdeploy.statistics import Verdict
from ftdeploy.validate.page import page
from ftdeploy.verdict import Confusion, Example, GoldenResult, Reliability, Report, RobustnessResult

EVIL = "</script><script>alert(1)</script><img src=x onerror='alert(2)'> \" ' & {{ 7 * 7 }}"
#: Things that a page could load, and ways to run something.
FOREIGN = re.compile(r"https?://|src=|@import|url\(|<link|<iframe")


def read(found: Report, rows: Any = None) -> Reader:
    return Reader(page(found, rows or answers()))


@pytest.mark.parametrize("verdict", get_args(Verdict))
def test_the_page_begins_with_the_verdict(verdict: Verdict) -> None:
    """The title and the first heading say it, in one sentence with what to do; then what did not pass, with links."""
    source = page(report(gate("floor", verdict, name="my gate"), verdict=verdict), answers())
    assert f"<title>{verdict.capitalize()}: sentiment" in source
    assert f"<h1>{verdict.capitalize()}:" in source
    assert source.index("<h1>") < source.index('class="tiles"')
    assert ('<a href="#gate-1">my gate</a>' in source) == (verdict != "pass")


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_gate_is_shown(kind: Any) -> None:
    """With badge, name, words, value, limit, rows, and a bar, but for golden rows."""
    one = gate(kind, case="reviews", details=("first detail", "second detail"))
    found = read(report(one, slices=()))
    (article,) = found.of("article")
    assert one.verdict in article["class"]
    for shown in (one.name, one.explanation, f"case {one.case}", f"{one.rows:,} rows", "first detail", "second detail"):
        assert shown in found.text
    assert [bar["class"] for bar in found.of("svg", "bar")] == [f"bar {one.verdict}"] * (kind != "golden")
    assert ("wanted" in found.text) == (kind != "golden")
    assert found.text.count("would decide") == (one.rows_to_decide is not None)


def test_all_sections_are_there() -> None:
    """Everything that the report has: numbers, slices, groups, calibration, rows asked again, rounds, cases."""
    text = read(report()).text
    for shown in (
        "0.8886", "0.8844", "-0.0102 to +0.0018",  # metrics
        "source: blog", "-0.0623",  # slices
        "terms:origin: named", "gender",  # groups
        "ECE 0.0100", "ECE 0.0600",  # calibration
        "I lvoed every minute of it.", "3.10%", "4.30%",  # robustness
        "I loved it.", "alone",  # directional, consistency
        "412 rows/s", "Latency, 99th percentile of length", "310.0 MB",  # costs
        "Not bad at all.",  # golden
        "reviews.csv", "CC BY 4.0", "not stated", "1" * 64,  # cases
        "onnx runs/today/onnx", "b" * 64, "c" * 64, "d" * 64, "10,000 resamples", "CPUExecutionProvider",
        "2026-05-01T12:30:00Z",
    ):  # fmt: skip
        assert shown in text, shown
    charts = read(report()).of("svg", "chart")
    assert len(charts) == 1 + sum(bool(cost.candidate_rounds) for cost in report().costs)
    assert all(chart["aria-label"] for chart in charts)


def test_slices_stand_by_harm() -> None:
    """The greatest first, in red when the whole interval lies on the worse side, which for errors is above zero."""
    source = page(report(), answers())
    table = source[source.index("Slices by accuracy") : source.index("Slices by macro_f1")]
    order = [html.unescape(found) for found in re.findall(r'<span class="soft">[^<]*</span> ([^<]*)</th>', table)]
    assert order == ["blog", "0-40 characters", "negative", "paper", "121 characters and more"]
    assert table.count('class="bar fail"') == 1
    worse = tuple(part.model_copy(update={"metric": "brier", "difference": scored(0.05)}) for part in slices()[:1])
    errors = page(report(slices=worse, metrics=(metric("brier", 0.1, 0.15),)), answers())
    assert errors[errors.index("Slices by brier") :].count('class="bar fail"') == 1


def test_without_a_baseline_there_is_no_trace_of_one() -> None:
    """No empty columns, no flips, no ratios; the candidate's own intervals instead."""
    found = Reader(page(alone(), answers(flipped=0)))
    assert "There was no baseline" in found.text
    text = found.text.replace("There was no baseline", "")
    assert "aseline" not in text
    assert "Flipped rows" not in text
    assert "0.8744 to 0.8944" in text
    assert len(found.of("div", "matrix")) == 1
    assert not found.of("script")
    assert not [tag for tag, attributes in found.tags if "aseline" in " ".join(attributes.values())]


def test_flips_can_be_filtered() -> None:
    """By true label, by answered label, by whatever rows are cut by, and by text; hidden without script, and then all
    rows are there. Each row says what it is by each filter."""
    found = read(report())
    (form,) = found.of("form")
    assert "hidden" in form
    names = [attributes["name"] for tag, attributes in found.tags if tag == "select"]
    assert names == ["f0", "f1", "f2", "f3"]
    assert "True label" in found.text
    assert "text length" in found.text
    options = {option["value"] for option in found.of("option")}
    assert {"=blog", "=paper", "=(none)", "=negative", "=neutral", "=positive"} <= options
    rows = found.of("tr", "flip")
    assert len(rows) == 41
    for row in rows:
        assert {f"data-{name}" for name in names} <= row.keys()
        assert all(row[f"data-{name}"] in options for name in names)
        assert "hidden" not in row
    assert "The commonest: negative answered as positive, 14 of 41." in found.text


def test_no_flips_need_no_filter_and_no_script() -> None:
    """It says so in words."""
    found = read(report(right_to_wrong=0), answers(flipped=0))
    assert "every row that the baseline has right, the candidate has right" in found.text
    assert not found.of("form")
    assert not found.of("script")


def test_the_page_stays_small_with_much_to_show() -> None:
    """A hundred thousand rows with five thousand flips, eighty labels, long texts: the first of them, cut, and how many
    more there are."""
    labels = [f"label {number}" for number in range(80)]
    counts = tuple(tuple(10 * (i == j) + j for j in range(80)) for i in range(80))
    columns = {"source": ["web"] * 100_000, "user": [f"user {row}" for row in range(100_000)]}
    rows = answers(rows=100_000, flipped=5000, labels=labels, texts=["word " * 1000] * 100_000, columns=columns)
    many = tuple(
        GoldenResult(text="word " * 1000, label="a", baseline="a", candidate="ab"[n % 7 == 6]) for n in range(3000)
    )
    found = report(
        *(gate("slices", details=("word " * 200,) * 500) for _ in range(5)),
        confusion=Confusion(labels=tuple(labels), baseline=counts, candidate=counts), right_to_wrong=5000,
        slices=slices() * 200, golden=many,
    )  # fmt: skip
    source = page(found, rows)
    assert len(source) < 2_000_000
    assert "commonest mistakes" in source
    assert "The first 1,000 are here; 4,000 more in flips.csv" in source
    assert "460 more in report.json" in source
    assert "2800 more in report.json" in source
    assert source.count('class="flip"') == 1000
    assert "user 1" in source
    assert "user" not in Reader(source).text.split("Show all")[0].split("Text holds")[0].split("True label")[-1], (
        "nobody can choose from so many"
    )


def test_golden_rows_that_changed_come_first() -> None:
    """They are what somebody must look at."""
    text = read(report()).text
    assert text.index("Not bad at all.") < text.index("The best film.")


def evil(text: str) -> tuple[Report, Any]:
    """A report whose every text is this one."""
    one = Example(before=text, after=text, answer_before=text, answer_after=f"{text}!")
    plain = report()
    labels = (text, f"{text} 2", "third")
    found = report(
        gate("slices", "fail", name=text, explanation=text, case=text, metric=text, details=(text,)),
        name=text, suite=text, task=text, provider=text, created=text,
        metrics=(metric(text, 0.9, 0.8),), confusion=plain.confusion.model_copy(update={"labels": labels}),
        slices=tuple(p.model_copy(update={"metric": text, "slice": text, "value": text}) for p in plain.slices[:1]),
        gaps=tuple(g.model_copy(update={"label": text, "slice": text, "value": text}) for g in plain.gaps),
        swaps=tuple(swap.model_copy(update={"name": text}) for swap in plain.swaps),
        robustness=(RobustnessResult(name=text, kind="directional", rows=9, baseline=scored(0), candidate=scored(0),
                                     examples=(one,)),),
        cases=tuple(case.model_copy(update={"name": text, "source": text, "licence": text}) for case in plain.cases),
        golden=(GoldenResult(text=text, label=text, baseline=text, candidate=text),),
        baseline=plain.baseline.model_copy(update={"name": text, "made_by": text}),
    )  # fmt: skip
    rows = answers(rows=60, flipped=20, labels=labels, columns={text: [text, f"{text} 2"] * 30})
    return found, dataclasses.replace(rows, ids=[text] * 60, texts=[text] * 60)


def test_hostile_texts_stay_texts() -> None:
    """Names, explanations, labels, columns, rows, examples: nothing breaks out, and everything can be read."""
    found = Reader(page(*evil(EVIL)))
    assert len(found.of("script")) == 1
    assert not found.of("img")
    assert not [name for _, attributes in found.tags for name in attributes if name.startswith("on")]
    assert found.text.count(EVIL) > 60
    assert "49" not in found.text.split(EVIL)[1][:5]


_TAGS = [tag for tag, _ in Reader(page(*evil("plain"))).tags]


@settings(max_examples=25)
@given(st.text(max_size=20), st.sampled_from(["<script>", "'\"><svg onload=x>", "&lt;", "]]>", "-->", "\0"]))
def test_no_text_changes_what_the_page_is_made_of(text: str, evil_text: str) -> None:
    """Whatever the data say, the tags are those of harmless texts."""
    assert [tag for tag, _ in Reader(page(*evil(f"a{text}{evil_text}"))).tags] == _TAGS


@pytest.mark.parametrize("found", [report(), alone(), report(gate())], ids=["full", "alone", "passed"])
def test_it_needs_nothing_else(found: Report) -> None:
    """One file that loads nothing, with a language, a title and headings, a name for every picture, a place for every
    link, and tables that can be scrolled by keyboard."""
    source = page(found, answers(flipped=0 if found.absolute else 41))
    assert not FOREIGN.search(source)
    read_ = Reader(source)
    assert read_.of("html")[0]["lang"] == "en"
    assert len(read_.of("h1")) == 1
    ids = [attributes["id"] for _, attributes in read_.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert all(link["href"].removeprefix("#") in ids for link in read_.of("a"))
    assert all(svg.get("aria-label") or svg.get("aria-hidden") for svg in read_.of("svg"))
    assert all(box.get("tabindex") == "0" and box.get("aria-label") for box in read_.of("div", "scroll"))


def test_what_was_not_found_has_no_section() -> None:
    """A report without slices, costs, calibration and further tests says what it has, and shows no empty tables."""
    bare = report(gate(), slices=(), costs=(), reliability=None, robustness=(), cases=(), gaps=(), swaps=(), golden=(),
                  metrics=())  # fmt: skip
    found = read(bare)
    assert "No slice has enough rows" in found.text
    for missing in ("Speed and size", "Calibration", "Rows asked again", "Groups of rows", "Golden rows"):
        assert missing not in found.text
    assert all(row.strip() for row in found.rows)
    empty = report(gate(), reliability=Reliability(baseline=(), candidate=()))
    assert "Calibration" not in read(empty).text
    one_sided = report(gate(), reliability=Reliability(baseline=bins(0.01)[:2], candidate=bins(0.01)[4:]))
    assert "0.40 to 0.47" in read(one_sided).text


def test_many_labels_without_mistakes_are_no_empty_table() -> None:
    """All right is said in words."""
    labels = tuple(f"label {number}" for number in range(12))
    right = tuple(tuple(5 * (i == j) for j in range(12)) for i in range(12))
    found = read(report(gate(), confusion=Confusion(labels=labels, baseline=right, candidate=right)))
    assert "No mistakes." in found.text
