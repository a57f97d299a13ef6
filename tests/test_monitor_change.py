"""Change points: none where there is none, and near where there is one."""

from __future__ import annotations

import numpy as np

from ftdeploy.monitor.change import LEAST_PART, change_points


def test_false_alarms_are_at_most_nominal() -> None:
    """Of 40 windows without a change at 5%, more than 7 with one have a chance of 1 in 1,000."""
    found = [change_points(np.random.default_rng(seed).standard_normal(150), seed=seed) for seed in range(40)]
    assert sum(bool(one) for one in found) <= 7


def test_a_change_is_found_with_its_interval_and_direction() -> None:
    """Near the true row; the interval holds it; the way back has the other sign."""
    generator = np.random.default_rng(1)
    scores = generator.standard_normal(600)
    scores[200:400] += 2
    first, second = change_points(scores, seed=1)
    assert first.lower <= 200 <= first.upper
    assert second.lower <= 400 <= second.upper
    assert abs(first.row - 200) < 15
    assert first.effect > 0 > second.effect


def test_trifles_and_short_windows_have_none() -> None:
    """A change below the smallest effect is none however sure it is; too few rows have none."""
    generator = np.random.default_rng(1)
    scores = generator.standard_normal(4000)
    scores[2000:] += 0.2
    assert len(change_points(scores, seed=1, least_effect=0.0)) >= 1
    assert change_points(scores, seed=1, least_effect=0.2) == []
    assert change_points(np.arange(2.0 * LEAST_PART - 1), seed=1) == []


def test_long_windows_are_thinned_and_rows_are_those_of_the_window() -> None:
    """Row numbers count the rows that came in."""
    scores = np.random.default_rng(1).standard_normal(20_000)
    scores[15_000:] += 2
    (found,) = change_points(scores, seed=1)
    assert abs(found.row - 15_000) < 100
    assert found.upper < len(scores)
