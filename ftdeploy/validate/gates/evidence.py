"""What gates are judged by, and the words that they share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ftdeploy.measure import Cost, CostRatio
from ftdeploy.suite import Gate
from ftdeploy.validate.answers import Answers
from ftdeploy.validate.robustness import Asked

IDENTICAL = "The candidate is the baseline, byte for byte, so its answers cannot differ."


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """All that gates are judged by.

    Attributes:
        answers: of both models, to the same rows.
        costs: cost -> ratio, measured side by side; those that are known of both models.
        identical: the candidate is the baseline, byte for byte.
        timing_rows: rows in a timing round.
        asked: what came of asking rows again, by the gate that wanted it.
    """

    answers: Answers
    costs: Mapping[Cost, CostRatio]
    identical: bool
    timing_rows: int
    asked: Mapping[Gate, Sequence[Asked]] = field(default_factory=dict)


def change(baseline: float, candidate: float) -> str:
    """How a score moved, as a sentence."""
    if baseline == candidate:
        return f"It stays at {baseline:.4f}."
    verb = "falls" if candidate < baseline else "rises"
    return f"It {verb} by {abs(candidate - baseline):.4f}, from {baseline:.4f} to {candidate:.4f}."


def wish(rows: int | None, stays: str = "it") -> str:
    """How many rows would decide, as a sentence with a blank before it; nothing where that is not known."""
    return f" About {rows:,} rows would do, if {stays} stays." if rows else ""
