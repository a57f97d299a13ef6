"""Accuracy without labels, when it may be relied on, and accuracy with labels."""

from __future__ import annotations

import numpy as np
import pytest
from monitor_samples import features, reference

from ftdeploy.monitor.accuracy import ESTIMATORS, estimate_accuracy, estimates, prequential, wilson


def test_estimates_follow_the_confidence() -> None:
    """Where confidence says how often rows are right, calibrated confidence and difference are near the truth; the
    threshold, which knows a row only as above or below, goes the same way."""
    there = reference(4000)
    low, high = (features(4000, seed=5, accuracy=mean) for mean in (0.8, 0.9))
    for found, truths in (low, high):
        np.testing.assert_allclose(estimates(there, found)[[0, 2]], (found.labels == truths).mean(), atol=0.03)
    assert (estimates(there, low[0]) < estimates(there, high[0])).all()


def test_the_estimator_that_erred_least_is_taken_and_bounds_grow_with_the_shift() -> None:
    """Of the made shifts the first erred least; a larger shift has a wider interval, and beyond a bound no validity."""
    there, (found, _) = reference(), features(500, seed=5)
    near, far, beyond = (estimate_accuracy(there, found, magnitude=size, tolerance=0.05) for size in (0.1, 0.7, 0.9))
    assert near is not None
    assert far is not None
    assert beyond is not None
    assert near.estimator == ESTIMATORS[0]
    assert set(near.others) == set(ESTIMATORS[1:])
    assert near.error_bound < far.error_bound < beyond.error_bound
    assert near.upper - near.lower < far.upper - far.lower
    assert near.valid
    assert not far.valid
    assert "tolerated" in far.reason
    assert not beyond.valid
    assert "larger than any" in beyond.reason


def test_nothing_is_claimed_without_true_labels_or_shifts() -> None:
    """A reference of format 1 gives no estimate; one without shifts gives one that is not valid."""
    there, (found, _) = reference(), features(100, seed=5)
    old = {name: values for name, values in there.items() if name != "confusion"}
    assert estimate_accuracy(old, found, magnitude=0.1, tolerance=0.05) is None
    none = there | {"shift_magnitude": np.empty(0), "shift_error": np.empty((0, 3))}
    blind = estimate_accuracy(none, found, magnitude=0.1, tolerance=0.05)
    assert blind is not None
    assert not blind.valid
    assert (blind.lower, blind.upper) == (0.0, 1.0)


def test_wilson_is_that_of_the_book() -> None:
    """81 of 263 at 95% two-sided: 0.2553 to 0.3662 (Newcombe 1998, table I); no row says nothing."""
    assert wilson(81, 263, 0.975) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert wilson(0, 0) == (0.0, 1.0)
    assert wilson(20, 20)[1] == 1


def test_prequential_accuracy_forgets() -> None:
    """After a change it goes to the new accuracy; the first value is the first row's."""
    curve = prequential(np.repeat([True, False], [500, 500]))
    assert curve[0] == 1
    assert curve[499] == pytest.approx(1)
    assert curve[-1] < 0.01
