"""What an evaluation's statistics say: a metric with its interval, a comparison with its verdict."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Verdict = Literal["pass", "fail", "inconclusive"]


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A metric over some rows.

    Attributes:
        value: the metric.
        lower, upper: ends of its interval; each is one-sided at the stated confidence.
    """

    value: float
    lower: float
    upper: float


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Candidate against baseline on the same rows.

    Attributes:
        metric: its name.
        baseline, candidate: the metric of each.
        difference: candidate - baseline, whichever of the two directions is the better one.
        lower, upper: ends of the interval of the difference; each is one-sided at the stated confidence.
        margin: the loss that is tolerated; negative where a gain is demanded (`superior`).
        rows: how many rows were compared.
        verdict: pass when the interval shows what was asked (of non-inferiority: lower > -margin); fail when the
            difference itself is on the wrong side of the limit (no number of rows would change that, if it stays);
            else inconclusive.
        rows_to_decide: for an inconclusive verdict, about how many rows would give a pass if the difference stays.
        greater_is_better: of the metric; where it is not, a loss is a rise: upper < margin passes.
    """

    metric: str
    baseline: float
    candidate: float
    difference: float
    lower: float
    upper: float
    margin: float
    rows: int
    verdict: Verdict
    rows_to_decide: int | None = None
    greater_is_better: bool = True


def not_worse(found: Estimate, margin: float, *, greater_is_better: bool) -> Verdict:
    """Whether a difference is no loss of ``margin`` or more."""
    lowest = found.lower if greater_is_better else -found.upper
    if lowest > -margin:
        return "pass"
    return "fail" if (found.value if greater_is_better else -found.value) <= -margin else "inconclusive"


def rows_for_a_pass(rows: int, reach: float, width: float, room: float) -> int:
    """Rows at which an interval's half fits between the value and the limit.

    The half-width is taken as a / sqrt(n) + b / n: sampling noise, and the least favourable row.

    Args:
        rows: how many there are.
        reach: the part of the half-width that is sampling noise, now.
        width: the whole half-width, now.
        room: from the value to the limit, positive.
    """
    a = reach * math.sqrt(rows)
    b = max(0.0, width - reach) * rows
    root = (a + math.sqrt(a * a + 4 * room * b)) / (2 * room)
    return max(rows + 1, math.ceil(root * root))
