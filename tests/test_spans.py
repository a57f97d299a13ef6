"""Labelled spans: as strings, as tags, in changed texts, and as people write them down."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from seqeval.metrics.sequence_labeling import get_entities

from ftdeploy.spans import (
    OUTSIDE,
    Span,
    dump,
    fitted,
    from_tags,
    grouped,
    kinds_of,
    load,
    moved,
    read_spans,
    summary,
    tagged,
    tags_of,
)

TEXT = "Naloxone reverses the effect of clonidine ."
SPANS = [Span(0, 8, "Chemical"), Span(32, 41, "Chemical")]


def test_spans_are_written_in_the_order_of_the_text_and_read_again() -> None:
    """Equal answers are equal strings, in whatever order they were found."""
    assert dump(reversed(SPANS)) == dump(SPANS) == '[[0,8,"Chemical"],[32,41,"Chemical"]]'
    assert load(dump(SPANS)) == tuple(SPANS)
    with pytest.raises(ValueError, match="no list of spans"):
        load("positive")


def test_a_row_counts_as_the_kind_that_prevails() -> None:
    """The first of equally frequent ones; a row without spans has a name of its own."""
    assert summary(()) == OUTSIDE
    assert summary([Span(0, 1, "B"), Span(2, 3, "A"), Span(4, 5, "A")]) == "A"
    assert summary([Span(0, 1, "B"), Span(2, 3, "A")]) == "B"


def test_tags_are_made_of_kinds_and_kinds_of_tags() -> None:
    """In their order, `O` first."""
    assert tags_of(("Chemical", "Disease")) == ("O", "B-Chemical", "I-Chemical", "B-Disease", "I-Disease")
    assert kinds_of(tags_of(("Chemical", "Disease"))) == ("Chemical", "Disease")


@given(st.lists(st.sampled_from(["O", "B-A", "I-A", "B-B", "I-B"]), max_size=12))
def test_groups_are_those_of_seqeval(tags: list[str]) -> None:
    """Whatever a model says, spans begin where seqeval (and conlleval) has them begin."""
    ours = [(kind, first, last - 1) for first, last, kind in grouped(tags)]
    assert ours == [tuple(entity) for entity in get_entities(tags)]


@given(st.lists(st.tuples(st.integers(1, 4), st.sampled_from([None, "A", "B"])), max_size=8))
def test_words_get_the_tags_of_their_spans_and_give_them_back(parts: list[tuple[int, str | None]]) -> None:
    """Spans -> tags of words -> spans."""
    words, spans, at = [], [], 0
    for count, kind in parts:
        first = at
        for _ in range(count):
            words.append((at, at + 3))
            at += 4
        if kind is not None:
            spans.append(Span(first, at - 1, kind))
    tags = tagged(words, spans)
    assert from_tags(["abc"] * len(words), tags, [start for start, _ in words]) == spans


def test_a_word_that_a_span_only_touches_belongs_to_it() -> None:
    """A span of the data may begin inside what a tokenizer takes for one word."""
    assert tagged([(0, 4), (5, 9)], [Span(2, 4, "A")]) == ["B-A", "O"]


@pytest.mark.parametrize(
    ("before", "after", "span", "expected"),
    [
        ("a  b", "a b", (3, 4), "b"),
        ("<b>Aspirin</b> helps", "Aspirin helps", (3, 10), "Aspirin"),
        ("<b>Aspirin</b> helps", "Aspirin helps", (0, 14), "Aspirin"),
        ("give John Smith aspirin", "give [NAME] aspirin", (5, 15), "[NAME]"),
        ("give John Smith aspirin", "give [NAME] aspirin", (16, 23), "aspirin"),
        ("cafe\u0301 au lait", "caf\u00e9 au lait", (0, 5), "caf\u00e9"),
        ("x", "> x", (0, 1), "x"),
    ],
)
def test_spans_follow_a_text_that_is_cleaned(before: str, after: str, span: tuple[int, int], expected: str) -> None:
    """What was changed at an end of a span counts with it; what stands for a name is a span of its own."""
    found = moved([Span(*span, "A")], before, after)
    assert found is not None
    assert after[found[0].start : found[0].end] == expected


def test_a_span_of_which_nothing_is_left_is_told() -> None:
    """The row cannot be kept as if it were right."""
    assert moved([Span(0, 3, "A")], "<b> x", "x") is None


@given(st.text(max_size=40), st.data())
def test_spans_of_an_unchanged_part_keep_their_words(text: str, data: st.DataObject) -> None:
    """Whatever was put before and behind."""
    word = "clonidine"
    at = data.draw(st.integers(0, len(text)))
    whole = f"{text[:at]} {word} {text[at:]}"
    place = at + 1
    found = moved([Span(place, place + len(word), "A")], whole, f"new {whole} end")
    assert found is not None
    assert f"new {whole} end"[found[0].start : found[0].end] == word


def test_ends_of_spans_fit() -> None:
    """No white space at the ends, and no mark without its letter."""
    assert fitted(" ab ", 0, 4) == (1, 3)
    assert fitted("e\u0301x", 0, 1) == (0, 2)


@pytest.mark.parametrize(
    "cell",
    [
        [[0, 8, "Chemical"], [32, 41, "Chemical"]],
        [{"start": 32, "end": 41, "label": "Chemical"}, {"start": 0, "end": 8, "entity_group": "Chemical"}],
        '[[0, 9, "Chemical"], [32, 41, "Chemical"]]',
    ],
)
def test_spans_are_read_as_people_write_them(cell: Any) -> None:
    """Lists, objects, JSON; a span's white space is no part of it."""
    assert read_spans(cell, TEXT) == SPANS


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ("Chemical", "no JSON"),
        (7, "not a int"),
        ([[0, 8]], "no span with start, end and label"),
        ([[0, 8.0, "A"]], "two whole numbers"),
        ([[0, True, "A"]], "two whole numbers"),
        ([[0, 8, ""]], "two whole numbers and a label"),
        ([[40, 99, "A"]], "does not lie in the text of 43 characters"),
        ([[5, 5, "A"]], "does not lie"),
        ([[-3, 5, "A"]], "does not lie"),
        ([[8, 9, "A"]], "white space only"),
        ([[0, 8, "A"], [4, 12, "A"]], "overlap"),
    ],
)
def test_spans_that_are_none_say_why(cell: Any, reason: str) -> None:
    """Offsets beyond the text, one span across another, and what is no span."""
    with pytest.raises(ValueError, match=reason):
        read_spans(cell, TEXT)
