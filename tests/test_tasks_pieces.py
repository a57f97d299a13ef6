"""Texts in pieces: sentences, windows, and words whose characters are exactly those of the text."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import tokenizer_of_tiny_model
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from ftdeploy.encoded import Encoded
from ftdeploy.tasks.pieces import encode_pieces, sentences, windowed

#: Everyday letters, and what breaks offsets: emoji, combining marks, right-to-left, zero width, other scripts' stops.
PARTS = [
    "the film", "was", "good", "Dr.", "A.", "e.g.", ".", "!", " ", "\n", "\u00e9", "e\u0301",
     "\U0001f469\u200d\U0001f52c", "\u05e9\u05dc\u05d5\u05dd", "\u0645\u0631\u062d\u0628\u0627", "\u200b", "\ufeff",
     "\u3002", "\u4f60\u597d", "x" * 30, "\u0130", "\u00df", "\ufb01", "\t", "\u2028", "\x00", "(", '"',
]  # fmt: skip
_PART = st.sampled_from(PARTS)
TEXTS = st.lists(_PART | st.text(max_size=6), max_size=30).map(" ".join) | st.lists(_PART, max_size=40).map("".join)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    """Of words and their pieces, with windows of 12 tokens."""
    made = tokenizer_of_tiny_model()
    windowed(made, 12)
    return made


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two! Three?", ["One.", "Two!", "Three?"]),
        ("Dr. Smith saw J. Doe. He left.", ["Dr. Smith saw J. Doe.", "He left."]),
        ("given 5 mg p.o. daily, i.e. once. Then none.", ["given 5 mg p.o. daily, i.e. once.", "Then none."]),
        ("one line\n\nanother  ", ["one line", "another"]),
        ("a line that goes\non. Heading\nText", ["a line that goes\non.", "Heading\nText"]),
        ('He said "no." Then left.', ['He said "no."', "Then left."]),
        ("version 2.5 of it", ["version 2.5 of it"]),
        ("\u4f60\u597d\u3002\u518d\u89c1\u3002", ["\u4f60\u597d\u3002", "\u518d\u89c1\u3002"]),
        ("in rats . The effect", ["in rats .", "The effect"]),
        ("   ", []),
    ],
)
def test_sentences_end_where_readers_have_them_end(text: str, expected: list[str]) -> None:
    """Titles, initials, abbreviations and single line breaks end none; empty lines always do."""
    assert [text[start:end] for start, end in sentences(text)] == expected


@given(st.lists(TEXTS, min_size=1, max_size=5))
def test_a_sentence_is_the_same_alone_and_in_a_document(texts: list[str]) -> None:
    """What makes answers the same, too: every sentence of a document is one sentence by itself."""
    document = "\n\n".join(texts)
    inside = [document[start:end] for start, end in sentences(document)]
    for one in inside:
        assert [one[start:end] for start, end in sentences(one)] == [one]
    assert inside == [text[start:end] for text in texts for start, end in sentences(text)]


@settings(max_examples=500)
@given(text=TEXTS)
def test_words_are_characters_of_the_text(tokenizer: Tokenizer, text: str) -> None:
    """Each once, in windows or not, none of white space, in an order that leads through the text."""
    rows = encode_pieces(tokenizer, [text], unknown=None)
    words = sorted((word.start, word.end) for row in rows for word in row.words)
    assert all(0 <= start < end <= len(text) for start, end in words)
    assert all(end <= following for (_, end), (following, _) in pairwise(words))
    assert all(len(row.ids) <= 12 and word.token < len(row.ids) for row in rows for word in row.words)


def test_a_long_sentence_is_read_in_windows_that_share_out_its_words(tokenizer: Tokenizer) -> None:
    """Each word where it is farthest from an edge; none twice, none missing."""
    text = " ".join(["the", "film", "was", "good"] * 12)
    rows = encode_pieces(tokenizer, ["a film", text], unknown=None)
    assert [row.text for row in rows[:2]] == [0, 1]
    mine = [row for row in rows if row.text == 1]
    assert len(mine) > 3
    words = [text[word.start : word.end] for row in mine for word in row.words]
    assert words == text.split()
    inner = [word.token for row in mine[1:-1] for word in row.words]
    assert min(inner) > 1, "no word is answered at the edge of a window"


def test_a_text_without_words_is_one_piece(tokenizer: Tokenizer) -> None:
    """So that every text has an answer."""
    found = encode_pieces(tokenizer, ["", " \n "], unknown=None)
    assert [(row.text, row.words) for row in found] == [(0, ()), (1, ())]
    assert isinstance(found[0], Encoded)


def test_words_are_as_people_mark_them() -> None:
    """Neither with the space that SentencePiece counts to a word, nor without the mark that BERT takes off its last
    letter; a mark by itself is none."""
    pieces = Tokenizer(models.Unigram([("<unk>", 0.0), ("\u2581one", -1.0), ("\u2581two", -1.0)], 0))
    pieces.pre_tokenizer = pre_tokenizers.Metaspace()
    words = Tokenizer(models.WordPiece({"[UNK]": 0, "cafe": 1, "one": 2}))
    words.normalizer, words.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    split = Tokenizer(models.WordLevel({"<unk>": 0}))
    split.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Whitespace(), pre_tokenizers.Split("\u0301", "isolated")]
    )
    for tokenizer, text, expected in (
        (pieces, "one two", ["one", "two"]),
        (words, "one cafe\u0301 one", ["one", "cafe\u0301", "one"]),
        (split, "cafe\u0301 one", ["cafe\u0301", "one"]),
    ):
        windowed(tokenizer, 16)
        (row,) = encode_pieces(tokenizer, [text], unknown=None)
        assert [text[word.start : word.end] for word in row.words] == expected
