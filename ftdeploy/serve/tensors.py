"""Tensors as bytes, as the binary tensor data extension of the Open Inference Protocol has them.

Elements stand one behind the other in little-endian order; one of BYTES is its length in four bytes and then itself.
Source: Triton Inference Server, docs/protocol/extension_binary_data.md; the gRPC form's ``raw_input_contents`` are the
same bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

_LENGTH = struct.Struct("<I")


class TensorError(ValueError):
    """Bytes that are no such tensor; says why."""


def read_texts(data: bytes | memoryview) -> Iterator[str]:
    """The elements of a BYTES tensor that are texts in UTF-8.

    Raises:
        TensorError: a length leads beyond the end, or an element is not UTF-8.
    """
    at = index = 0
    while at < len(data):
        if at + _LENGTH.size > len(data):
            raise TensorError(f"element {index} has no length of four bytes")
        (size,) = _LENGTH.unpack_from(data, at)
        at += _LENGTH.size
        if size > len(data) - at:
            raise TensorError(f"element {index} has a length of {size}, and {len(data) - at} bytes are left")
        try:
            yield str(data[at : at + size], "utf-8")
        except UnicodeDecodeError as error:
            raise TensorError(f"element {index} is not UTF-8: {error.reason}") from None
        at += size
        index += 1


def write_texts(texts: Iterable[str]) -> bytes:
    """A BYTES tensor of texts."""
    return b"".join(_LENGTH.pack(len(raw)) + raw for raw in map(str.encode, texts))


def write_numbers(numbers: Sequence[float]) -> bytes:
    """An FP32 tensor."""
    return np.asarray(numbers, dtype="<f4").tobytes()
