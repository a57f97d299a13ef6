"""The gates' statistics: what a verdict is worth."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from ftdeploy.metrics import METRICS, SCORE_METRICS, Floats, Ids
from ftdeploy.statistics import Comparison, compare, equivalent, estimate, superior

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
@settings(max_examples=40)
def test_rows_to_decide_do_decide(rows: int, losses: int, gains: int) -> None:
    """With so many rows and the same shares the verdict is pass; with clearly fewer it is not."""
    found = _compare(rows, losses, gains, margin=0.02)
    if found.rows_to_decide is None or found.rows_to_decide > 200_000:
        assert found.verdict != "inconclusive" or found.difference < -0.017
        return
    for factor, decides in ((1.4, True), (0.7, False)):  # few losses are skewed, and that is not reckoned with
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
@settings(max_examples=60)
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
@settings(max_examples=10)
def test_many_classes(classes: int) -> None:
    """Any number of classes is compared; equal answers differ by nothing."""
    references = np.arange(200, dtype=np.int64) % classes
    found = compare(MACRO_F1, references, references, references, classes=classes, margin=0.5, resamples=1000)
    assert (found.difference, found.verdict) == (0, "pass")


@pytest.mark.parametrize(
    ("losses", "gains", "verdict"),
    [(0, 0, "pass"), (10, 10, "pass"), (10, 30, "inconclusive"), (30, 10, "inconclusive"), (0, 50, "fail"),
     (60, 20, "fail")],
)  # fmt: skip
def test_equivalence_looks_both_ways(losses: int, gains: int, verdict: str) -> None:
    """Of 2,000 rows at a margin of 0.015: equal, as many lost as gained, nearly too good, nearly too bad, too good."""
    found = _decided(2000, losses, gains, equivalent, margin=0.015)
    assert found.verdict == verdict
    assert (found.rows_to_decide is None) == (verdict != "inconclusive")


def test_equivalence_is_decided_by_the_nearer_end() -> None:
    """As many rows are wanted for a gain as for a loss of the same size."""
    worse, better = (_decided(2000, *flips, equivalent, margin=0.015) for flips in ((30, 10), (10, 30)))
    assert worse.rows_to_decide is not None
    assert better.rows_to_decide == pytest.approx(worse.rows_to_decide, rel=0.25)  # ends take steps of a row


@pytest.mark.parametrize(
    ("losses", "gains", "by", "verdict"),
    [(5, 30, 0.0, "pass"), (20, 30, 0.0, "inconclusive"), (10, 10, 0.0, "fail"), (0, 0, 0.0, "fail"),
     (5, 30, 0.01, "inconclusive"), (5, 24, 0.01, "fail"), (5, 80, 0.01, "pass")],
)  # fmt: skip
def test_superiority_has_to_be_shown(losses: int, gains: int, by: float, verdict: str) -> None:
    """Of 2,000 rows: better, perhaps, not at all, not different; and better by more than a point."""
    found = _decided(2000, losses, gains, superior, by=by)
    assert (found.verdict, found.margin) == (verdict, -by)


def _decided(rows: int, losses: int, gains: int, how: Callable[..., Comparison], **limits: float) -> Comparison:
    references = np.zeros(rows, dtype=np.int64)
    baseline, candidate = references.copy(), references.copy()
    baseline[:gains], candidate[gains : gains + losses] = 1, 1
    return how(ACCURACY, references, baseline, candidate, classes=2, resamples=4000, **limits)


def _sure(answers: Ids, probability: float) -> Floats:
    return np.where(np.eye(2)[answers] > 0, probability, 1 - probability)


@pytest.mark.parametrize("name", SCORE_METRICS)
def test_metrics_of_probabilities_are_judged(name: str) -> None:
    """3,000 rows: an equal candidate passes, one that is far off fails, and which way is harm the metric says."""
    random = np.random.default_rng(3)
    references = random.integers(0, 2, 3000)
    baseline = np.where(random.random(3000) < 0.9, references, 1 - references)
    broken = np.where(random.random(3000) < 0.7, references, 1 - references)
    jitter = 0.02 * random.random((3000, 1)) * np.array([1, -1])
    scores, bad = _sure(baseline, 0.9) + jitter, _sure(broken, 0.99) + jitter / 10
    metric = SCORE_METRICS[name]

    def judged(candidate: Ids, candidate_scores: Floats, how: Callable[..., Comparison], **limits: float) -> Comparison:
        return how(metric, references, baseline, candidate, classes=2, resamples=2000, baseline_scores=scores,
                   candidate_scores=candidate_scores, **limits)  # fmt: skip

    same = judged(baseline, scores, compare, margin=0.05)
    assert (same.difference, same.verdict) == (0, "pass")
    assert judged(baseline, scores, equivalent, margin=0.05).verdict == "pass"
    worse = judged(broken, bad, compare, margin=0.05)
    assert worse.verdict == "fail"
    assert (worse.difference < 0) is metric.greater_is_better
    assert worse.lower < worse.difference < worse.upper
    assert judged(broken, bad, superior).verdict == "fail"
    turned = superior(metric, references, broken, baseline, classes=2, resamples=2000, baseline_scores=bad,
                      candidate_scores=scores)  # fmt: skip
    assert turned.verdict == "pass"
    assert turned.difference == pytest.approx(-worse.difference)
    alone = estimate(metric, references, broken, 2, resamples=2000, scores=bad)
    assert alone.value == pytest.approx(worse.candidate)
    assert alone.lower < alone.value < alone.upper


def test_equal_probabilities_on_few_rows_are_no_proof() -> None:
    """A row could come on which the candidate is surely wrong: 50 equal answers do not exclude a rise of 0.02."""
    references = np.arange(50) % 2
    scores = _sure(references, 0.95)
    for name in SCORE_METRICS:
        found = compare(SCORE_METRICS[name], references, references, references, classes=2, margin=0.02,
                        baseline_scores=scores, candidate_scores=scores)  # fmt: skip
        assert (found.difference, found.verdict) == (0, "inconclusive"), name


def test_areas_are_compared_with_delongs_width() -> None:
    """2,000 rows: the half-width is 1.645 standard deviations of DeLong's, and what the least favourable row adds."""
    random = np.random.default_rng(2)
    references = (random.random(2000) < 0.4).astype(np.int64)
    first = references + random.normal(size=2000)
    models = [1 / (1 + np.exp(-one)) for one in (first, first + 0.4 * random.normal(size=2000))]
    scores = [np.stack([1 - one, one], axis=1) for one in models]
    metric = SCORE_METRICS["roc_auc"]
    found = compare(metric, references, references, references, classes=2, margin=0.02, baseline_scores=scores[0],
                    candidate_scores=scores[1])  # fmt: skip
    values = [metric.statistics(references, references, 2, one)[:, 0] for one in scores]
    delong = (values[1] - values[0]).std() / 2000**0.5
    row = 1 / 800  # a positive row that goes from the top to the bottom
    assert 1.645 * delong < found.difference - found.lower < 1.645 * delong + 3 * row
    assert found.upper - found.difference == pytest.approx(found.difference - found.lower, abs=row)
