"""The gate's statistics: what a verdict is worth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, ks_2samp

from ftdeploy.metrics import METRICS, Floats, Ids
from ftdeploy.statistics import Comparison, compare, estimate, resample

ACCURACY = METRICS["accuracy"]
MACRO_F1 = METRICS["macro_f1"]


def _flipped(rows: int, losses: int, gains: int) -> Comparison:
    """Accuracy of a candidate that loses and gains so many rows against a baseline of 90%; margin 0.02."""
    return _compare(rows, losses, gains, margin=0.02)


def _compare(rows: int, losses: int, gains: int, *, margin: float, resamples: int = 4000) -> Comparison:
    references = np.zeros(rows, dtype=np.int64)
    baseline, candidate = references.copy(), references.copy()
    wrong = max(gains, rows // 10)
    baseline[:wrong] = candidate[:wrong] = 1
    candidate[:gains] = 0
    candidate[wrong : wrong + losses] = 1
    return compare(ACCURACY, references, baseline, candidate, classes=2, margin=margin, resamples=resamples)


def test_multinomial_resampling_is_row_resampling() -> None:
    """Sums over multinomial counts of the distinct rows have the distribution of sums over rows drawn singly."""
    random = np.random.default_rng(1)
    references, predictions = random.integers(0, 3, 150), random.integers(0, 3, 150)
    statistics = MACRO_F1.statistics(references, predictions, 3)
    drawn = statistics[random.integers(0, 150, (4000, 150))].sum(axis=1)
    ours = resample(statistics, resamples=4000, seed=2)
    assert ks_2samp(MACRO_F1.value(drawn), MACRO_F1.value(ours)).pvalue > 0.01
    assert np.cov(ours.T) == pytest.approx(np.cov(drawn.T), abs=0.1 * np.cov(drawn.T).max())


def test_resamples_have_as_many_rows_as_the_sample() -> None:
    """A resample has the sample's size, with one row more to draw from as well, and in pieces as well."""
    statistics = np.stack([np.arange(500.0), np.ones(500)], axis=1)  # every row is a cell of its own
    extra = np.array([1000.0, 1.0])
    assert (resample(statistics, resamples=50, seed=3)[:, 1] == 500).all()
    assert (resample(statistics, resamples=50, seed=3, extra=extra)[:, 1] == 500).all()
    pieces = resample(np.stack([np.arange(30_000.0), np.ones(30_000)], axis=1), resamples=700, seed=3)
    assert (pieces[:, 1] == 30_000).all()
    assert len(np.unique(pieces[:, 0])) > 690  # the second piece is not the first again


def test_order_of_rows_does_not_matter() -> None:
    """Shuffled rows give the same comparison, to the digit."""
    random = np.random.default_rng(4)
    rows = random.integers(0, 3, (3, 400))
    shuffled = rows[:, random.permutation(400)]
    first, second = (compare(MACRO_F1, *part, classes=3, margin=0.02, resamples=1000) for part in (rows, shuffled))
    assert first == second


def test_no_flip_shows_what_the_rule_of_three_says() -> None:
    """Equal answers on n rows exclude a drop of about 3/n, and no less: 200 rows pass at 0.02, 100 cannot."""
    many, few = _flipped(200, 0, 0), _flipped(100, 0, 0)
    assert many.difference == few.difference == 0
    assert many.lower == pytest.approx(-3 / 200)
    assert (many.verdict, few.verdict) == ("pass", "inconclusive")
    assert few.rows_to_decide == pytest.approx(150, abs=2)


@pytest.mark.parametrize(
    ("losses", "gains", "verdict"),
    [(0, 20, "pass"), (10, 10, "pass"), (30, 10, "inconclusive"), (60, 20, "fail"), (100, 20, "fail")],
)
def test_verdicts(losses: int, gains: int, verdict: str) -> None:
    """Of 2,000 rows at a margin of 0.02: clear passes, a difference of a point too near, the margin itself fails."""
    found = _compare(2000, losses, gains, margin=0.0125 if verdict == "inconclusive" else 0.02)
    assert found.verdict == verdict
    assert found.difference == pytest.approx((gains - losses) / 2000)
    assert found.lower < found.difference < found.upper


@given(st.integers(100, 600), st.integers(0, 12), st.integers(0, 12))
@settings(deadline=None, max_examples=40)
def test_rows_to_decide_do_decide(rows: int, losses: int, gains: int) -> None:
    """With so many rows and the same shares the verdict is pass; with clearly fewer it is not."""
    found = _compare(rows, losses, gains, margin=0.02)
    if found.rows_to_decide is None or found.rows_to_decide > 200_000:
        assert found.verdict != "inconclusive" or found.difference < -0.017
        return
    for factor, decides in ((1.25, True), (0.7, False)):
        scale = factor * found.rows_to_decide / rows
        again = _compare(round(rows * scale), round(losses * scale), round(gains * scale), margin=0.02)
        # Rounding moves the difference a little; it must not be what decides.
        if scale >= 1 and abs(again.difference - found.difference) < 1e-3:
            assert (again.verdict == "pass") is decides


def _false_passes(rows: int, margin: float, gains: float) -> float:
    """The exact probability that a candidate worse by just the margin passes: a sum over all outcomes."""
    losses = margin + gains
    total = 0.0
    for lost in range(int(binom.ppf(1 - 1e-5, rows, losses)) + 1):
        chance = binom.pmf(lost, rows, losses)
        share = gains / (1 - losses)
        for gained in range(int(binom.ppf(1 - 1e-5, rows - lost, share)) + 1 if gains else 1):
            if _compare(rows, lost, gained, margin=margin, resamples=2000).verdict == "pass":
                total += chance * binom.pmf(gained, rows - lost, share)
    return total


@pytest.mark.parametrize(
    ("rows", "margin", "gains"),
    [(100, 0.05, 0.0), (200, 0.01, 0.0), (200, 0.02, 0.0), (200, 0.02, 0.01), (500, 0.01, 0.005), (1000, 0.01, 0.0)],
)
def test_a_candidate_worse_by_the_margin_passes_at_most_5_times_in_100(rows: int, margin: float, gains: float) -> None:
    """The error rate that the gate promises, computed exactly where flips are rare and the plain bootstrap fails."""
    assert _false_passes(rows, margin, gains) <= 0.05


def _population(share: float, errors: tuple[float, float], losses: tuple[float, float]) -> tuple[Ids, Floats]:
    """Cells (true, baseline, candidate) of two classes and their probabilities; errors and losses by class."""
    cells, weights = [], []
    for truth, weight in ((0, share), (1, 1 - share)):
        wrong, lost = errors[truth], losses[truth]
        cells += [(truth, truth, truth), (truth, truth, 1 - truth), (truth, 1 - truth, 1 - truth)]
        weights += [weight * (1 - wrong - lost), weight * lost, weight * wrong]
    return np.array(cells, dtype=np.int64), np.array(weights)


def test_macro_f1_keeps_its_error_rate_when_a_rare_class_is_hurt() -> None:
    """Simulated: one class of 8% loses rows so that macro F1 drops by just the margin; at most 5% pass, and noise."""
    cells, weights = _population(0.92, (0.05, 0.2), (0.0, 0.1))
    exact = (1e6 * weights).round().astype(int)
    rows = np.repeat(cells, exact, axis=0).T
    before, after = (float(MACRO_F1.value(MACRO_F1.statistics(rows[0], guess, 2).sum(axis=0))) for guess in rows[1:])
    random = np.random.default_rng(5)
    tries, passed = 400, 0
    for _ in range(tries):
        sample = np.repeat(cells, random.multinomial(400, weights), axis=0).T
        found = compare(MACRO_F1, *sample, classes=2, margin=before - after, resamples=1000)
        passed += found.verdict == "pass"
    assert passed / tries <= 0.05 + 3 * (0.05 * 0.95 / tries) ** 0.5


def test_an_equal_candidate_of_enough_rows_passes_nearly_always() -> None:
    """Power: with 3% flips, as many to the good as to the bad, and 2,000 rows, a margin of 0.015 is decided."""
    random = np.random.default_rng(6)
    passed = sum(
        _compare(2000, *random.multinomial(2000, [0.015, 0.015, 0.97])[:2], margin=0.015, resamples=1000).verdict
        == "pass"
        for _ in range(100)
    )
    assert passed > 90


@given(st.lists(st.tuples(*[st.integers(0, 2)] * 3), min_size=1, max_size=12))
@settings(deadline=None, max_examples=60)
def test_tiny_samples_give_an_answer(rows: list[tuple[int, int, int]]) -> None:
    """One row, one class, all wrong: intervals hold the value, and few rows never pass a margin of 0.02."""
    references, baseline, candidate = np.array(rows, dtype=np.int64).T
    for metric in METRICS.values():
        found = compare(metric, references, baseline, candidate, classes=3, margin=0.02, resamples=1000)
        assert found.lower <= found.difference + 1e-12
        assert found.upper >= found.difference - 1e-12
        alone = estimate(metric, references, candidate, 3, resamples=1000)
        assert (-1 if metric.name == "mcc" else 0) - 1e-12 <= alone.lower <= alone.value + 1e-12
        assert alone.value - 1e-12 <= alone.upper <= 1 + 1e-12


def test_a_perfect_score_is_not_certain() -> None:
    """All of 60 rows right: the interval ends at one, and begins where the rule of three puts it."""
    references = np.arange(60, dtype=np.int64) % 2
    found = estimate(ACCURACY, references, references, 2)
    assert (found.value, found.upper) == (1, 1)
    assert found.lower == pytest.approx(1 - 3 / 60)


@given(st.integers(2, 40))
@settings(deadline=None, max_examples=10)
def test_many_classes(classes: int) -> None:
    """Any number of classes is compared; equal answers differ by nothing."""
    references = np.arange(200, dtype=np.int64) % classes
    found = compare(MACRO_F1, references, references, references, classes=classes, margin=0.5, resamples=1000)
    assert (found.difference, found.verdict) == (0, "pass")
