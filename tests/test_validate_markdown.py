"""The summary for a pull request: read as GitHub reads it, by a parser of CommonMark with tables."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from report_samples import KINDS, alone, gate, metric, report, slices

from ftdeploy.validate.markdown import plain, summary
from ftdeploy.verdict import CaseResult

#: GitHub cuts comments here.
GITHUB = 65_536


def tokens(source: str) -> Sequence[Any]:
    return MarkdownIt("commonmark").enable("table").parse(source)


def tables(source: str) -> list[list[list[str]]]:
    """Tables as rows of cells of text."""
    found: list[list[list[str]]] = []
    for token in tokens(source):
        if token.type == "table_open":
            found.append([])
        elif token.type == "tr_open":
            found[-1].append([])
        elif token.type == "inline" and found and found[-1] and token.level > 3:
            found[-1][-1].append("".join(child.content for child in token.children).replace("\u200b", ""))
    return found


@pytest.mark.parametrize("found", [report(), alone(), report(gate())], ids=["full", "alone", "passed"])
def test_tables_are_well_formed(found: Any) -> None:
    """A parser sees as many tables as were meant, each with equal rows, and nothing but headings, text and lists."""
    source = summary(found)
    seen = tables(source)
    assert len(seen) == sum(line.startswith("|") and set(line) <= set("|-: ") for line in source.splitlines())
    assert all(len(row) == len(table[0]) for table in seen for row in table)
    assert "|" not in "".join(token.content for token in tokens(source) if token.type == "inline" and token.level <= 1)


def test_the_verdict_comes_first_and_every_gate_has_a_row() -> None:
    """Verdict, name, value, limit, and the rows that would decide; reasons of what did not pass below."""
    source = summary(report())
    assert source.startswith("### ❌ Fail: sentiment must not be released\n")
    gates = tables(source)[0]
    assert len(gates) == 1 + len(KINDS)
    assert gates[1][:2] == ["❌ fail", "the superiority gate"]
    by_name = {row[1]: row for row in gates}
    assert by_name["the slices gate"][2:] == ["-0.0623 (-0.1101 to -0.0144)", "≥ -0.05", "4,200"]
    assert by_name["the equivalence gate"][3:] == ["±0.01", ""]
    assert by_name["the golden gate"][2:4] == ["75.00%", "≥ 100%"]
    assert "- **the golden gate**: It is 0.7500 and the golden gate says fail." in source
    assert "- **the floor gate**" not in source


def test_metrics_slices_flips_and_digests_are_there() -> None:
    """The worst slice first, only those that lost something, and both models by their digests."""
    source = summary(report())
    _, metrics, costs, parts, compared = tables(source)
    assert metrics[1] == ["accuracy", "0.8886", "0.8844", "-0.0042", "-0.0102 to +0.0018"]
    assert metrics[2][0] == "macro_f1"
    assert costs[1][0] == "Throughput"
    assert [row[0] for row in parts[1:]] == ["source: blog", "text length: 0-40 characters", "label: negative"]
    assert "Of 2,000 rows, 41 went from right to wrong and 22 from wrong to right." in source
    assert [row[0] for row in compared[1:]] == ["Baseline", "Candidate", "Rows", "Case", "Case"]
    assert compared[2][1:] == ["bundle runs/today/bundle, package@2", "c" * 16]


def test_without_a_baseline_nothing_is_compared() -> None:
    """Scores with their intervals, costs as they are, no flips."""
    source = summary(alone())
    assert "Baseline" not in source
    assert "right to wrong" not in source
    assert tables(source)[1][1] == ["accuracy", "0.8844", "0.8744 to 0.8944"]


NASTY = [
    "a | b", "`code`", "``", "<script>alert(1)</script>", "<!-- -->", "![x](http://e.example/y.png)", "[x](y)",
    "@everyone", "org/repo#12", "#12", "GH-12", "www.e.example", "https://e.example", "*bold* __b__ ~~s~~", "\\", "\\|",
    "a\nb", "a\r\n\r\n# heading", "- item", "&lt;", "$x$", "1. one", "|---|", "***", "===",
]  # fmt: skip


@pytest.mark.parametrize("text", NASTY)
def test_hostile_texts_stay_texts(text: str) -> None:
    """In every place that takes a text: no markup, no cell, no link, no mention; and it can be read."""
    _check(text)


@settings(max_examples=60)
@given(st.text(st.characters(exclude_categories=["Cs", "Cc", "Cf"]), min_size=1, max_size=30))
def test_no_text_breaks_a_table(text: str) -> None:
    """Whatever users call their gates, models and slices."""
    if text.strip():
        _check(text)


def _check(text: str) -> None:
    found = report(
        gate("floor", "fail", name=text, explanation=text, case=text), name=text, suite=text,
        metrics=(metric(text, 0.9, 0.8),),
        slices=tuple(part.model_copy(update={"metric": text, "slice": text, "value": text}) for part in slices()[:1]),
        cases=(CaseResult(name=text, rows=3, digest=text),),
    )  # fmt: skip
    source = summary(found)
    seen = tables(source)
    assert [len(table) for table in seen] == [2, 2, 7, 2, 5]
    assert all(len(row) == len(table[0]) for table in seen for row in table)
    shown = " ".join(text.split())
    assert seen[0][1][1] == f"{shown} (case {shown})"
    assert seen[1][1][0] == shown
    assert seen[3][1][0] == f"{shown}: {shown}"
    kinds = {child.type for token in tokens(source) for child in token.children or ()}
    assert kinds <= {"text", "text_special", "strong_open", "strong_close", "softbreak"}, kinds
    read = "".join(child.content for token in tokens(source) for child in token.children or ())
    assert not re.search(r"[@#]\w|https?://|www\.|GH-\d", read)
    assert not re.search(r"(?<!\\)\$", source), "GitHub sets mathematics between dollars"
    assert sum(token.type == "heading_open" for token in tokens(source)) == 1


@pytest.mark.parametrize("letter", ["a", "&", "|", "<", "😀"])
def test_it_fits_into_a_comment(letter: str) -> None:
    """Also with hundreds of gates, metrics, slices and cases with long names, every letter of which is escaped."""
    text = letter * 2000
    found = report(
        *(gate("slices", "fail", name=text, explanation=text, case=text, details=(text,) * 50) for _ in range(300)),
        name=text, suite=text, metrics=tuple(metric(f"{n} {text}", 0.9, 0.8) for n in range(100)),
        slices=tuple(part.model_copy(update={"metric": f"0 {text}", "value": text}) for part in slices() * 50),
        cases=tuple(CaseResult(name=text, rows=3, digest=text) for _ in range(200)),
    )  # fmt: skip
    source = summary(found)
    assert len(source) < 40_000 < GITHUB
    assert "260 more in report.json." in source
    assert all(len(row) == len(table[0]) for table in tables(source) for row in table)


def test_a_long_text_is_cut_before_it_is_escaped() -> None:
    """No half of an entity is left over, and no backslash."""
    assert plain("<" * 200, 10) == "&lt;&lt;…"
    assert plain("*" * 200, 10) == r"\*\*\*\*…"
    assert plain("a" * 9, 10) == "a" * 9
