"""Nearest neighbours of vectors among themselves, and how they are written down.

What a vector is of is told by what lies near it. So the answer to a row is the rows nearest to it, and a row's label is
one string here too: ``["label", row, row, ...]`` in JSON. The label is the row's own, or of an answer that of the
nearest row; it is empty where rows have none. The rows are those nearest, by their index, in ascending order.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: How many neighbours of a row are compared.
NEIGHBOURS = 10
#: Similarities that are in memory at a time: 64 MB of float32, whatever the rows.
_HELD = 1 << 24


class Neighbourhood(NamedTuple):
    """What is near a row: a label, and the nearest rows, in ascending order."""

    label: str = ""
    rows: tuple[int, ...] = ()


def dump(label: str, rows: Sequence[int] = ()) -> str:
    """A neighbourhood as one string."""
    return json.dumps([label, *rows], ensure_ascii=False, separators=(",", ":"))


def load(label: str) -> Neighbourhood:
    """The neighbourhood of a string that `dump` wrote.

    Raises:
        ValueError: it is no such string.
    """
    try:
        name, *rows = json.loads(label)
        return Neighbourhood(str(name), tuple(map(int, rows)))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{label[:60]!r} is no neighbourhood [label, row, row, ...]") from error


def label_in(label: str) -> str:
    """The label in a string that `dump` wrote; rows that were not prepared have a label as it is."""
    try:
        return load(label).label
    except ValueError:
        return label


def nearest(vectors: NDArray[np.float32], count: int = NEIGHBOURS) -> NDArray[np.int64]:
    """The rows nearest to each row by cosine similarity, the row itself left out: exact, in blocks.

    It takes time by the square of the rows (under two seconds of one core for 6,000 of 384 numbers), and no memory
    beside the vectors and the answer that grows with them.

    Args:
        vectors: shape (rows, width).
        count: of neighbours; fewer where there are fewer rows.

    Returns:
        int64, shape (rows, min(count, rows - 1)), the nearest first; of equally near ones the first row.
    """
    rows = len(vectors)
    kept = min(count, rows - 1)
    if kept < 1:
        return np.empty((rows, 0), dtype=np.int64)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = np.asarray(vectors / np.maximum(lengths, 1e-12), dtype=np.float32)
    found = [_of_block(block, unit, start, kept) for start, block in _blocks(unit)]
    return np.concatenate(found)


def _blocks(unit: NDArray[np.float32]) -> Iterator[tuple[int, NDArray[np.float32]]]:
    step = max(1, _HELD // len(unit))
    for start in range(0, len(unit), step):
        yield start, unit[start : start + step]


def _of_block(block: NDArray[np.float32], unit: NDArray[np.float32], start: int, kept: int) -> NDArray[np.int64]:
    apart = -block @ unit.T
    own = np.arange(len(block))
    apart[own, start + own] = np.inf
    rows = np.sort(np.argpartition(apart, kept - 1, axis=1)[:, :kept], axis=1)
    order = np.argsort(np.take_along_axis(apart, rows, axis=1), axis=1, kind="stable")
    return np.take_along_axis(rows, order, axis=1).astype(np.int64)
