"""What a PDF's lines and their distances become."""

from __future__ import annotations

from ftdeploy.serve.pdf_reader import paragraphs


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
