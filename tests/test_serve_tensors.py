"""Tensors as bytes: what is written is read again, and nothing else is."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftdeploy.serve.tensors import TensorError, read_texts, write_numbers, write_texts


@given(texts=st.lists(st.text(max_size=30)))
def test_texts_come_back(texts: list[str]) -> None:
    """Also empty ones, and none at all."""
    assert list(read_texts(write_texts(texts))) == texts


@given(data=st.binary(max_size=40))
def test_any_bytes_are_texts_or_refused(data: bytes) -> None:
    """And what is read says all that was there."""
    try:
        texts = list(read_texts(data))
    except TensorError:
        return
    assert write_texts(texts) == data


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"\x01", "element 0 has no length"),
        (b"\x02\x00\x00\x00a", "a length of 2, and 1 bytes"),
        (b"\xff\xff\xff\xffab", "4294967295"),
        (b"\x01\x00\x00\x00a\x02\x00\x00\x00\xc3\x28", "element 1 is not UTF-8"),
    ],
)
def test_what_is_wrong_is_named(data: bytes, told: str) -> None:
    """With the element's index."""
    with pytest.raises(TensorError, match=told):
        list(read_texts(data))


def test_numbers_are_little_endian_floats() -> None:
    """As the extension has them, whatever the machine."""
    assert write_numbers([1.5, -2.0]) == struct.pack("<2f", 1.5, -2.0)
    assert np.frombuffer(write_numbers([0.1]), dtype="<f4")[0] == np.float32(0.1)
