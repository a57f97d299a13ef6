"""What a PDF's lines and their distances become."""

from __future__ import annotations

from ftdeploy.serve.pdf_reader import completed, paragraphs


def test_white_space_of_the_layout_goes() -> None:
    """What set a line in from the left, what stood between columns, the empty end of a page."""
    assert paragraphs(["\n   1. Term.   Two years.\n\n\n  2. Law.\n\n\n\n"]) == ["1. Term. Two years.\n\n2. Law."]


def test_double_spaced_lines_are_one_paragraph() -> None:
    """What is usual after a full line is no end of a paragraph; one that is larger is."""
    full = "the parties agree as follows in consideration of the covenants"
    page = f"{full}\n\n{full}\n\nherein.\n\n\n{full}\n\nend."
    assert paragraphs([page]) == [f"{full}\n{full}\nherein.\n\n{full}\nend."]


def test_short_lines_are_paragraphs_of_their_own() -> None:
    """Where a line goes on without a distance, and where none does."""
    assert paragraphs(["Alpha\n\nBeta\n\n(a) gamma"]) == ["Alpha\n\nBeta\n\n(a) gamma"]
    full = "the parties agree as follows in consideration of the covenants"
    assert paragraphs([f"{full}\n{full}\n\nAlpha\n\nBeta"]) == [f"{full}\n{full}\n\nAlpha\n\nBeta"]


def test_characters_of_the_font_become_letters() -> None:
    """Ligatures, which no tokenizer knows, and halves of pairs, which no JSON holds."""
    assert paragraphs(["the \ufb01rst o\ufb03ce \ud800"]) == ["the first office \ufffd"]
    assert paragraphs(["", "\n\n"]) == ["", ""]


def test_missing_lines_follow_the_layout() -> None:
    """In their order; a line that stands in both readings once, and one that is there twice and missing once. A line
    that ends a sentence ends a paragraph: how far the next one is from it is not known."""
    layout = "The parties agree.\n\n\nPage 1"
    plain = "The parties agree.\nNobody may\nassign this.\nPage 1\nPage 1"
    told = "The parties agree.\n\nPage 1\n\nNobody may\nassign this.\n\nPage 1"
    assert paragraphs([completed(layout, plain)]) == [told]


def test_spaces_and_signs_are_not_missing() -> None:
    """Two readings differ in those, and in how a ligature is written."""
    layout = "The  \ufb01rst   clause \u2014 it"
    assert completed(layout, "The first\nclause - it") == layout


def test_missing_words_within_a_line_cost_the_distances() -> None:
    """Which words those are is not known, and none may be lost: the plain reading is taken."""
    plain = "The parties agree. Nobody may\nassign. \nThe end."
    found = completed("The parties agree.\n\n\nassign.\n\n\nThe end.", plain)
    assert paragraphs([found]) == ["The parties agree. Nobody may\nassign.\n\nThe end."]
