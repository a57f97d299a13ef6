"""Two-sample tests: their false alarms, what they see, and that intervals hold the effect."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest

from ftdeploy.monitor.two_sample import MOST_ROWS, classifier_test, mmd, thinned

if TYPE_CHECKING:
    from numpy.typing import NDArray


def sample(rows: int, *, seed: int, away: float = 0.0) -> NDArray[np.float32]:
    found = np.random.default_rng(seed).standard_normal((rows, 32)).astype(np.float32)
    found[:, 0] += away
    return found


@pytest.mark.parametrize("test", [mmd, classifier_test])
def test_false_alarms_are_at_most_nominal(test: object) -> None:
    """On 100 pairs of samples of one distribution at 10%: more than 20 alarms would have a chance of 1 in 1,200."""
    alarms = 0
    for seed in range(100):
        extra = {"permutations": 99} if test is mmd else {}
        found = test(sample(200, seed=2 * seed), sample(60, seed=2 * seed + 1), seed=seed, **extra)  # type: ignore[operator]
        alarms += found.p <= 0.1
    assert alarms <= 20


@pytest.mark.parametrize("test", [mmd, classifier_test])
def test_a_shift_is_seen_and_a_larger_one_is_a_larger_effect(test: object) -> None:
    """Effects are 0 to 1, lie in their intervals, and grow with the shift."""
    there = sample(500, seed=1)
    found = [test(there, sample(300, seed=2, away=away), seed=3) for away in (0.0, 1.0, 4.0)]  # type: ignore[operator]
    assert found[0].p > 0.05
    assert found[1].p < 0.01
    for one, two in pairwise(found):
        assert 0 <= one.lower <= one.effect <= one.upper <= 1
        assert one.effect < two.effect


def test_the_classifier_sees_a_change_of_spread() -> None:
    """Squares are among its features: equal means do not hide a wider distribution."""
    assert classifier_test(sample(500, seed=1), 1.5 * sample(300, seed=2), seed=3).p < 0.001


def test_the_effect_of_the_classifier_is_that_of_its_definition() -> None:
    """2 AUC - 1 of two normal distributions d apart is 2 Phi(d / sqrt 2) - 1 at best; what was fitted comes near."""
    found = classifier_test(sample(2000, seed=1), sample(2000, seed=2, away=1.0), seed=3)
    assert found.effect > 0.45
    assert found.lower < 0.5205


def test_every_row_has_a_score_and_large_windows_are_thinned() -> None:
    """Rows beyond those that are judged are scored, too; thinning keeps the order."""
    many = sample(MOST_ROWS + 500, seed=2, away=3.0)
    assert len(classifier_test(sample(300, seed=1), many, seed=3).scores) == len(many)
    few = thinned(np.arange(MOST_ROWS + 500, dtype=np.float32)[:, None], 3)
    assert len(few) == MOST_ROWS
    assert (np.diff(few[:, 0]) > 0).all()


def test_equal_seeds_give_equal_answers() -> None:
    """Nothing depends on the time or the order of calls."""
    one, two = (classifier_test(sample(100, seed=1), sample(60, seed=2), seed=3) for _ in range(2))
    np.testing.assert_array_equal(one.scores, two.scores)
    assert one.p == two.p
    assert mmd(sample(100, seed=1), sample(60, seed=2), seed=3) == mmd(sample(100, seed=1), sample(60, seed=2), seed=3)


def test_the_discrepancy_is_the_unbiased_one() -> None:
    """Computed by loops from its definition on a few rows."""
    there, here = sample(12, seed=1), sample(8, seed=2, away=2.0)
    both = np.concatenate([there, here]).astype(np.float64)
    squares = ((both[:, None] - both[None]) ** 2).sum(axis=2)
    kernel = np.exp(-squares / np.median(squares[squares > 0]))
    np.fill_diagonal(kernel, 0)
    within = kernel[:12, :12].sum() / (12 * 11)
    squared = within + kernel[12:, 12:].sum() / (8 * 7) - 2 * kernel[:12, 12:].mean()
    assert mmd(there, here, seed=3).effect == pytest.approx(np.sqrt(max(0, squared) / (1 - within)), abs=1e-4)
