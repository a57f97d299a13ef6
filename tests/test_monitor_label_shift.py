"""Label shift: true shares from predictions of a model that errs."""

from __future__ import annotations

import numpy as np
import pytest

from ftdeploy.monitor.label_shift import label_shift

CONFUSION = np.array([[450, 50], [100, 400]])


def test_the_true_shares_are_found() -> None:
    """A window of 20% and 80% that errs like the reference: 0.2 * 0.9 + 0.8 * 0.2 of it are answered with the first."""
    found = label_shift(CONFUSION, np.array([3400, 6600]), seed=1)
    assert found.identified
    np.testing.assert_allclose(found.shares, [0.2, 0.8], atol=0.005)
    assert found.lower[0] < 0.2 < found.upper[0]
    np.testing.assert_allclose(found.reference, [0.5, 0.5])


def test_intervals_hold_the_truth() -> None:
    """Both samples vary: of 40 draws, more than 7 beyond one end of 95% are too many."""
    generator = np.random.default_rng(1)
    cells = (CONFUSION / CONFUSION.sum()).ravel()
    missed = np.zeros(2)
    for seed in range(40):
        known = generator.multinomial(1000, cells).reshape(2, 2)
        seen = generator.multinomial(500, [0.2 * 0.9 + 0.8 * 0.2, 0.2 * 0.1 + 0.8 * 0.8])
        found = label_shift(known, seen, seed=seed)
        missed += [found.lower[0] > 0.2, found.upper[0] < 0.2]
    assert (missed <= 7).all()


def test_a_model_that_guesses_is_told() -> None:
    """Predictions that do not depend on the label say nothing; a label without rows does not divide by zero."""
    assert not label_shift(np.array([[250, 250], [250, 250]]), np.array([50, 50]), seed=1).identified
    found = label_shift(np.array([[90, 10, 0], [10, 90, 0], [0, 0, 0]]), np.array([50, 40, 10]), seed=1)
    assert np.isfinite(found.shares).all()
    assert found.shares.sum() == pytest.approx(1)
