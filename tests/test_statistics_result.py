"""Verdicts out of intervals, and the rows that would decide."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftdeploy.statistics import Estimate, Verdict
from ftdeploy.statistics.result import not_worse, rows_for_a_pass


@pytest.mark.parametrize(
    ("lower", "value", "upper", "verdict"),
    [
        (-0.019, -0.01, 0.0, "pass"),
        (-0.021, -0.01, 0.0, "inconclusive"),
        (-0.02, -0.01, 0.0, "inconclusive"),
        (-0.03, -0.02, 0.0, "fail"),
        (0.01, 0.02, 0.03, "pass"),
    ],
)
def test_verdicts_at_a_margin_of_2_points(lower: float, value: float, upper: float, verdict: Verdict) -> None:
    """An end on the limit is no pass, a value on it a failure; mirrored where lower is better."""
    assert not_worse(Estimate(value=value, lower=lower, upper=upper), 0.02, greater_is_better=True) == verdict
    mirrored = Estimate(value=-value, lower=-upper, upper=-lower)
    assert not_worse(mirrored, 0.02, greater_is_better=False) == verdict


def test_a_negative_margin_demands_a_gain() -> None:
    """By more than a point."""
    for lower, value, verdict in ((0.011, 0.02, "pass"), (0.009, 0.02, "inconclusive"), (0.0, 0.01, "fail")):
        found = Estimate(value=value, lower=lower, upper=0.1)
        assert not_worse(found, -0.01, greater_is_better=True) == verdict


@given(st.integers(10, 10_000), st.floats(1e-4, 0.2), st.floats(0, 0.2), st.floats(1e-3, 0.2))
def test_rows_for_a_pass_are_those_at_which_the_interval_fits(
    rows: int, reach: float, more: float, room: float
) -> None:
    """The half-width at so many rows is the room: noise shrinks with the root of the rows, the one row with the rows.
    Where it fits already, one row more is said."""
    needed = rows_for_a_pass(rows, reach, reach + more, room)
    width = reach * (rows / needed) ** 0.5 + more * rows / needed
    assert width <= room + 1e-9 or needed == rows + 1
    fewer = needed - 1
    if fewer > rows:
        assert reach * (rows / fewer) ** 0.5 + more * rows / fewer > room - 1e-9
