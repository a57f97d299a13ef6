"""Two texts in one string: joined, taken apart, and read as the tokenizer's own template of pairs has it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from tiny import WORDS, tokenizer_of_tiny_model
from tokenizers import Tokenizer
from tokenizers.processors import BertProcessing, RobertaProcessing

from ftdeploy.pairs import (
    SEPARATOR,
    Pairs,
    as_columns,
    each,
    encode_pairs,
    is_pair,
    join,
    longest_first,
    of_columns,
    parts,
    prepare_pairs,
    shown,
    token_types,
    with_joined_texts,
    with_two_columns,
)


def tokenizer(kind: Any = BertProcessing) -> Tokenizer:
    """The tiny one, with a template of pairs."""
    made = tokenizer_of_tiny_model()
    made.post_processor = kind(*((token, made.token_to_id(token)) for token in ("[SEP]", "[CLS]")))
    return made


def words(draw: np.random.Generator, count: int) -> str:
    return " ".join(draw.choice(WORDS, size=count))


@pytest.mark.parametrize(("one", "other"), [("a b", "c"), ("", ""), ("a", ""), (f"a{SEPARATOR}b", f"{SEPARATOR}c")])
def test_two_texts_come_out_of_a_string_as_they_went_in(one: str, other: str) -> None:
    """But for the separator itself, which is the white space in them that it counts as: so there are two, always."""
    text = join(one, other)
    assert is_pair(text)
    assert parts(text) == (one.replace(SEPARATOR, " "), other.replace(SEPARATOR, " "))
    assert of_columns(as_columns(text)) == text


def test_a_single_text_is_left_alone() -> None:
    """Whatever takes pairs takes it too."""
    assert parts("a b") == ("a b",)
    assert as_columns("a b") == {"text": "a b"} == {"text": of_columns({"text": "a b"})}
    assert each("a b", str.upper) == "A B"
    assert of_columns({}) is None
    assert not is_pair("a b")


def test_a_change_is_made_to_each_text_and_adds_none() -> None:
    """A change that brings a separator of its own does not divide a row anew."""
    assert parts(each(join("a b", "c"), str.title)) == ("A B", "C")
    assert parts(each(join("a", "c"), lambda text: f"{text}{SEPARATOR}x")) == ("a x", "c x")
    assert shown(join("a", "b")) == "a | b"


def test_tables_have_two_columns_on_the_disk_and_one_in_hand() -> None:
    """In the place of the first, with all other columns as they were; batches too, and tables without a row."""
    table = pa.table({"id": ["1", "2"], "text": [join("a", "b"), join("c d", "")], "label": ["x", "y"]})
    for given in (table, table.to_batches()[0], table.slice(0, 0)):
        apart = with_two_columns(given)
        assert apart.schema.names == ["id", "text", "text_pair", "label"]
        assert with_joined_texts(apart).to_pylist() == given.to_pylist()
    assert with_two_columns(table).to_pylist()[1] == {"id": "2", "text": "c d", "text_pair": "", "label": "y"}
    assert with_joined_texts(table) is table


@pytest.mark.parametrize("most", range(3, 14))
def test_the_longer_text_gives_first_as_hugging_faces_tokenizers_have_it(most: int) -> None:
    """For every pair of lengths the same tokens stay as under their `longest_first`; its cost grows with the product
    of the lengths, ours with their sum."""
    ours, theirs = tokenizer(), tokenizer()
    prepare_pairs(ours)
    theirs.enable_truncation(most)
    draw = np.random.default_rng(most)
    for first in range(9):
        for second in range(9):
            pair = words(draw, first), words(draw, second)
            (row,) = encode_pairs(ours, [join(*pair)], unknown=None, most=most)
            assert row.ids == theirs.encode(*pair).ids
            assert row.length == first + second + 3
            assert row.truncated() == (row.length > most)


def test_tokens_are_shared_out_between_the_texts() -> None:
    """The shorter one is whole as long as it takes no more than half."""
    assert longest_first(3, 4, most=7) == (3, 4)
    assert longest_first(3, 40, most=10) == (3, 7)
    assert longest_first(40, 3, most=10) == (7, 3)
    assert longest_first(40, 30, most=11) == (6, 5)


def test_a_long_pair_costs_by_its_length() -> None:
    """The tokenizer alone would keep each combination of what it cut: of 3,000 words each, forty thousand rows."""
    made = tokenizer()
    prepare_pairs(made)
    (row,) = encode_pairs(made, [join("good " * 3000, "bad " * 3000)], unknown=None, most=32)
    assert (len(row.ids), row.length) == (32, 6003)


@pytest.mark.parametrize("kind", [BertProcessing, RobertaProcessing])
def test_rows_are_those_of_the_tokenizers_template(kind: Any) -> None:
    """With all of its special tokens; an unknown word counts, and a single text has the template of one."""
    made = tokenizer(kind)
    plain = Tokenizer.from_str(made.to_str())
    plain.no_truncation()
    prepare_pairs(made)
    unknown = made.token_to_id("[UNK]")
    pair, empty, single = encode_pairs(
        made, [join("good film", "xyzzy bad"), join("good", ""), "good film"], unknown=unknown, most=32
    )
    assert pair.ids == plain.encode("good film", "xyzzy bad").ids
    assert (pair.unknown, pair.text, single.text) == (1, 0, 2)
    assert empty.ids == plain.encode("good", "").ids
    assert single.ids == plain.encode("good film").ids


def test_a_special_tokens_name_is_a_text_like_any_other() -> None:
    """Whoever writes [SEP] into a text does not move the border between the two."""
    made = tokenizer()
    prepare_pairs(made)
    (row,) = encode_pairs(made, [join("good [SEP] film", "bad")], unknown=None, most=32)
    separator = made.token_to_id("[SEP]")
    assert [place for place, token in enumerate(row.ids) if token == separator] == [len(row.ids) - 3, len(row.ids) - 1]


def test_token_types_are_the_tokenizers() -> None:
    """In a batch with padding, for cut rows too: 0 up to the first text's end, 1 behind it, 0 of padding."""
    made = tokenizer()
    prepare_pairs(made)
    draw = np.random.default_rng(5)
    pairs = [(words(draw, one), words(draw, other)) for one, other in draw.integers(0, 7, (50, 2))]
    encodings = [made.encode(*pair) for pair in pairs]
    longest = max(map(len, encodings))
    ids = np.array([one.ids + [0] * (longest - len(one)) for one in encodings])
    mask = np.array([[1] * len(one) + [0] * (longest - len(one)) for one in encodings])
    expected = [one.type_ids + [0] * (longest - len(one)) for one in encodings]
    found = token_types(ids, mask, Pairs(types_after=made.token_to_id("[SEP]")))
    assert found.tolist() == expected
    assert found.dtype == np.int64
    assert not token_types(ids, mask, None).any()
    assert not token_types(ids, mask, Pairs()).any()
