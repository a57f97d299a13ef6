"""Documents in passages: every word in one, none too long, and each what its author set apart."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftdeploy.serve.passages import LONGEST, passages

PIECES = st.sampled_from(
    ["A party shall pay. ", "\n", "\n\n", "(a) ", "4.2 ", "4. ", "LIMITS OF LIABILITY", "Section 12", " \t", "\f", "- ",
     "x" * 900, "No such loss is owed; ", "\u3002", "caf\u00e9 \U0001f600", "\u200f\u05d0", "\r\n", "word " * 400]
)  # fmt: skip


def shown(text: str) -> list[str]:
    return [text[start:end] for start, end in passages(text)]


@given(st.one_of(st.text(max_size=300), st.lists(PIECES, max_size=40).map("".join)))
def test_every_word_is_in_one_passage(text: str) -> None:
    """In order, without overlap, trimmed, bounded; between passages there is white space only."""
    reached = 0
    for start, end in passages(text):
        assert reached <= start < end <= reached + len(text)
        assert not text[reached:start].strip()
        assert text[start:end] == text[start:end].strip()
        assert end - start <= LONGEST
        reached = end
    assert not text[reached:].strip()


def test_items_and_paragraphs_are_passages() -> None:
    """A line break alone is none: contracts are cut at a width."""
    text = (
        "LIMITATION OF LIABILITY\n\n10.1 In no event shall either party be\nliable for lost profits.\n"
        "10.2 The cap is $1.5 million (see Section 9.3).\n  (a) Fraud is excepted;\n  (b) so is death.\n\n"
        "This Agreement is governed\nby the laws of Delaware.\nArticle IV\nTerm. It ends in 2.5 years.\n"
    )
    assert shown(text) == [
        "LIMITATION OF LIABILITY\n\n10.1 In no event shall either party be\nliable for lost profits.",
        "10.2 The cap is $1.5 million (see Section 9.3).",
        "(a) Fraud is excepted;",
        "(b) so is death.",
        "This Agreement is governed\nby the laws of Delaware.",
        "Article IV\nTerm. It ends in 2.5 years.",
    ]


def test_a_clause_is_the_same_passage_anywhere() -> None:
    """Whatever stands before and behind it."""
    clause = "12.3 Neither party may assign this Agreement without consent. Any attempt is void."
    for before, after in (
        ("", ""),
        ("Page 3\n\nOther words end here.\n", "\n12.4 More."),
        ("A title\n\nB.\n\n", "\n\nEnd"),
    ):
        assert clause in shown(before + clause + after)


def test_what_is_too_long_is_divided_between_sentences() -> None:
    """And where a sentence itself is too long, at white space; headings never make a passage too long."""
    long = " ".join(f"Sentence number {number} says that a party shall pay what it owes." for number in range(100))
    parts = shown(f"PAYMENT\n\n{long}")
    assert len(parts) == pytest.approx(len(long) / LONGEST, abs=2)
    assert parts[0].startswith("PAYMENT\n\nSentence number 0 ")
    assert all(part.endswith(".") for part in parts)
    endless = "and so forth " * 400
    assert re.sub(r"\s+", " ", " ".join(shown(endless))) == endless.strip()
    assert [len(part) for part in shown("x" * (2 * LONGEST + 5))] == [LONGEST, LONGEST, 5]


@pytest.mark.parametrize("text", ["", " \n\t\n", "\f"])
def test_nothing_has_no_passage(text: str) -> None:
    """And is no error."""
    assert not list(passages(text))
