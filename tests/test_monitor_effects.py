"""Effects of single features: shares with ends that promise no more than rows can tell."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import wasserstein_distance

from ftdeploy.monitor.effects import (
    binned,
    compare_counts,
    kolmogorov,
    sizes_of_numbers,
    sizes_of_shares,
    total_variation,
)


def test_distances_are_shares_of_rows() -> None:
    """A tenth of the rows that moves is 0.1 by both; far or near makes no difference."""
    before, after = np.array([0.5, 0.3, 0.2]), np.array([0.4, 0.3, 0.3])
    assert total_variation(before, after) == pytest.approx(0.1)
    assert kolmogorov(before, after) == pytest.approx(0.1)


def test_false_alarms_are_at_most_nominal() -> None:
    """Dealing the rows anew is exact: of 200 windows at 5%, more than 20 alarms have a chance of 1 in 1,000."""
    generator = np.random.default_rng(1)
    shares = np.array([0.6, 0.3, 0.1])
    alarms = 0
    for seed in range(200):
        before, after = generator.multinomial(400, shares), generator.multinomial(50, shares)
        alarms += compare_counts(before, after, kolmogorov, seed=seed).p <= 0.05
    assert alarms <= 20


def test_the_interval_holds_the_true_effect() -> None:
    """Each end misses at most its share of the time: of 200 windows, more than 20 beyond one end are too many."""
    generator = np.random.default_rng(2)
    before, after = np.array([0.6, 0.3, 0.1]), np.array([0.4, 0.3, 0.3])
    below = above = 0
    for seed in range(200):
        found = compare_counts(generator.multinomial(1000, before), generator.multinomial(300, after),
                               total_variation, seed=seed)  # fmt: skip
        below, above = below + (found.upper < 0.2), above + (found.lower > 0.2)
    assert below <= 20
    assert above <= 20


def test_few_rows_rule_out_little() -> None:
    """Thirty rows without a single cut one do not show that cut ones are rare."""
    found = compare_counts(np.array([1000, 0]), np.array([30, 0]), total_variation, seed=1)
    assert found.effect == 0
    assert found.p == 1
    assert found.upper == pytest.approx(0.095, abs=0.001)  # 1 - 0.05 ** (1 / 30)


def test_sizes_of_shares_are_those_of_the_book() -> None:
    """Cohen's h of 0.5 against 0.25 is pi / 6 (Cohen 1988, 6.2); of equal shares it is 0, whatever the rows."""
    assert sizes_of_shares(np.array([50, 50]), np.array([1, 3])) == pytest.approx({"Cohen's h": np.pi / 6})
    assert sizes_of_shares(np.array([10, 30]), np.array([1, 3])) == pytest.approx({"Cohen's h": 0}, abs=1e-9)


def test_sizes_of_numbers_are_those_of_the_rows() -> None:
    """Nearly, as bins are narrow; Cohen's d has a sign, Wasserstein's distance the unit of the feature."""
    generator = np.random.default_rng(4)
    before, after = generator.normal(20, 4, 20_000), generator.normal(23, 4, 5_000)
    edges = np.linspace(0, 45, 181)
    there, here = binned(before, edges), binned(after, edges)
    expected = {"Cohen's d": 0.75, "Wasserstein distance": wasserstein_distance(before, after)}
    assert sizes_of_numbers(there, here, edges) == pytest.approx(expected, abs=0.05)
    assert sizes_of_numbers(here, there, edges)["Cohen's d"] == pytest.approx(-0.75, abs=0.05)
    assert sizes_of_numbers(np.array([9, 0]), np.array([4, 0]), np.arange(3.0)) == {
        "Cohen's d": 0.0, "Wasserstein distance": 0.0,
    }  # fmt: skip


def test_values_outside_the_edges_are_counted() -> None:
    """Every row falls into some bin."""
    assert binned(np.array([-5.0, 0.5, 99.0]), np.array([0.0, 1.0, 2.0])).tolist() == [2, 1]
