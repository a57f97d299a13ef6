"""The calibration error's difference: ends that hold where the plain bootstrap's do not."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit

from ftdeploy.metrics import SCORE_METRICS, Floats, Ids, score
from ftdeploy.statistics import compare, estimate
from ftdeploy.statistics.calibration import honest, plain
from ftdeploy.statistics.resampling import resample

ECE = SCORE_METRICS["ece"]


def models(random: np.random.Generator, rows: int, *scales: float) -> tuple[Ids, list[Floats]]:
    """References, and probabilities by models that scale the true log odds; 1 is calibrated."""
    odds = random.normal(1.5, 2.0, rows) * random.choice([-1, 1], rows)
    references = (random.random(rows) < expit(odds)).astype(np.int64)
    return references, [np.stack([expit(-scale * odds), expit(scale * odds)], axis=1) for scale in scales]


@pytest.mark.parametrize("gap", [0.0, 0.5, 1.0, 2.0, 5.0])
def test_one_estimate_is_not_below_the_truth_and_one_not_above(gap: float) -> None:
    """On average over samples, of one bin whose sum is off by so many standard deviations; without error exactly 0."""
    sums = np.stack([np.random.default_rng(1).normal(gap, 1.0, 200_000), np.ones(200_000)], axis=1)
    noise = 4 / 200_000**0.5
    least, most = honest(sums, np.array([1.0, 0.0])).mean(), plain(sums).mean()
    assert least <= gap + noise
    assert most >= gap - noise
    if gap in (0.0, 5.0):
        assert least == pytest.approx(gap, abs=noise)


def _false_passes(rows: int, tries: int) -> tuple[float, float]:
    """How often a candidate passes that is less calibrated by just the margin; and by the plain percentile."""
    references, both = models(np.random.default_rng(1), 400_000, 1.0, 1.4)
    before, after = (score(ECE, references, one.argmax(axis=1), 2, one) for one in both)
    margin, random = after - before, np.random.default_rng(2)
    passed, percentile = 0, 0
    for _ in range(tries):
        references, both = models(random, rows, 1.0, 1.4)
        guesses = both[0].argmax(axis=1)
        found = compare(ECE, references, guesses, guesses, classes=2, margin=margin, resamples=400,
                        baseline_scores=both[0], candidate_scores=both[1])  # fmt: skip
        passed += found.verdict == "pass"
        parts = np.concatenate([ECE.statistics(references, guesses, 2, one) for one in both], axis=1)
        first, second = np.split(resample(parts, resamples=400, seed=13), 2, axis=1)
        percentile += np.quantile(ECE.value(second) - ECE.value(first), 0.95) < margin
    return passed / tries, percentile / tries


def test_a_candidate_less_calibrated_by_the_margin_passes_at_most_5_times_in_100() -> None:
    """Against a calibrated baseline, whose bins are off by chance alone; the plain bootstrap lets most of them pass."""
    ours, theirs = _false_passes(300, tries=60)
    assert ours <= 0.05
    assert theirs > 0.3


def test_models_that_hardly_differ_are_told_to() -> None:
    """Of 5,000 rows a candidate whose probabilities are a little off passes at a margin of 0.02."""
    random = np.random.default_rng(3)
    references, both = models(random, 5000, 1.0, 1.02)
    guesses = both[0].argmax(axis=1)
    found = compare(ECE, references, guesses, guesses, classes=2, margin=0.02, baseline_scores=both[0],
                    candidate_scores=both[1])  # fmt: skip
    assert found.verdict == "pass"
    assert found.lower < found.difference < found.upper < 0.02


def test_the_interval_of_a_calibrated_model_holds_zero() -> None:
    """Though its estimate is always above: 40 samples of 500 rows."""
    random = np.random.default_rng(4)
    held = 0
    for _ in range(40):
        references, (scores,) = models(random, 500, 1.0)
        found = estimate(ECE, references, scores.argmax(axis=1), 2, resamples=400, scores=scores)
        assert 0 < found.value < found.upper
        held += found.lower <= 0
    assert held >= 36


def test_a_bin_whose_sums_never_differ_is_all_error() -> None:
    """A model that is always as sure as another (deviation 0) has the error that its bins show, without a warning."""
    sums = np.array([[-3.0, 0.5, 0.0, 10.0]])
    assert honest(sums, np.array([0.0, 0.0, 0.0, 0.0])) == pytest.approx([0.35])
    assert honest(sums, np.array([5e-324, 0.0, 0.0, 0.0])) == pytest.approx([0.35])
