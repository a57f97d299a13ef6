"""A number as the label of a row: one string, in the units of the data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Where labels are counted: every number is called alike.
NUMBER = "(number)"
#: Two numbers count as the same answer within this many standard deviations of what is true: where answers are counted
#: that a change has made wrong, and nowhere else.
NEAR = 0.5


def dump(value: float) -> str:
    """The string of a number: nine digits, which tell any two of float32 apart."""
    return f"{value + 0.0:.9g}"  # -0.0 is 0


def parse(cell: Any) -> float:
    """A number of a cell, or of a label, as `dump` or a person wrote it.

    Raises:
        ValueError: it is none, or none that can be learned (infinite, or not a number); with what it is.
    """
    if isinstance(cell, bool) or not isinstance(cell, int | float | str):
        raise ValueError(f"{str(cell)[:60]!r} is no number")  # noqa: TRY004  # what reads a row raises
    try:
        found = float(cell)
    except (ValueError, OverflowError):
        raise ValueError(f"{str(cell)[:60]!r} is no number") from None
    if not math.isfinite(found):
        raise ValueError(f"{str(cell)[:60]!r} is no number that can be learned")
    return found


def is_number(label: str) -> bool:
    """Whether a label can be read as a number."""
    try:
        parse(label)
    except ValueError:
        return False
    return True


def numbers(labels: Sequence[str]) -> NDArray[np.float64]:
    """The numbers of labels: float64, shape (rows,)."""
    return np.array([parse(label) for label in labels], dtype=np.float64)


def tolerance(truths: NDArray[np.float64]) -> float:
    """How far apart two numbers may be that count as the same answer (`NEAR`).

    Args:
        truths: what is true of the rows, shape (rows,).
    """
    return NEAR * float(truths.std()) if len(truths) else 0.0
