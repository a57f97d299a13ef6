"""Verdicts on one model's score, and on a candidate against a baseline on the same rows; each with its error rate.

The intervals are paired bootstraps (Efron & Tibshirani 1993, ch. 13 and 16): baseline and candidate answer the same
rows, and the rows are resampled with replacement. `compare` is non-inferiority (Blackwelder 1982), `equivalent` two
one-sided tests (Schuirmann 1987), `superior` the same bound on the other side of zero. A false pass has a probability
of at most 1 - confidence in each.

The plain percentile bootstrap claims too much when few rows flip: it cannot draw what the sample does not hold, and
with no flip at all its interval has no width. Computed exactly, a candidate that is worse by just the margin then
passes up to 13% of the time instead of 5%. So each end is bootstrapped from the sample and *one row more, the least
favourable one that could have come* (for accuracy: a row that the baseline gets right and the candidate wrong): the
rule of succession, on the side where it hurts. For rows without any flip it gives the rule of three (Hanley &
Lippman-Hand 1983): n equal answers show that at most about 3/n of the rows differ. With it the share of false passes
stays below 5% everywhere that was computed (tests/benchmarks/gate_error_rates.py prints it), for 1/n of the width.
"""

from __future__ import annotations

from dataclasses import replace

from scipy.special import ndtri

from ftdeploy.metrics import Floats, Ids, Metric, OwnMetric
from ftdeploy.statistics.result import Comparison, Estimate, not_worse, rows_for_a_pass
from ftdeploy.statistics.sampling import Answered, Sampled, sample


def estimate(metric: Metric | OwnMetric, references: Ids, predictions: Ids, classes: int, *, confidence: float = 0.95,
             resamples: int = 10_000, seed: int = 13, scores: Floats | None = None) -> Estimate:  # fmt: skip
    """A metric with the ends of its interval, each one-sided at ``confidence``.

    Args:
        metric: which one.
        references, predictions: class ids, int64, shape (rows,).
        classes: how many classes there are.
        confidence: of each end.
        resamples: bootstrap resamples.
        seed: of the generator.
        scores: probabilities, float, shape (rows, classes), where the metric needs them.
    """
    found = sample(metric, references, [Answered(predictions, scores)], classes=classes, resamples=resamples, seed=seed)
    return Estimate(value=found.value, lower=found.lower(confidence), upper=found.upper(confidence))


def compare(metric: Metric | OwnMetric, references: Ids, baseline: Ids, candidate: Ids, *, classes: int, margin: float,
            confidence: float = 0.95, resamples: int = 10_000, seed: int = 13, baseline_scores: Floats | None = None,
            candidate_scores: Floats | None = None) -> Comparison:  # fmt: skip
    """Paired non-inferiority of ``candidate`` to ``baseline``.

    Args:
        metric: what is compared. Where lower is better, a loss is a rise.
        references: true class ids, int64, shape (rows,), at least one.
        baseline, candidate: predicted class ids, int64, shape (rows,), in the same order.
        classes: how many classes there are.
        margin: the largest loss that is tolerated, in units of the metric.
        confidence: of each one-sided end.
        resamples: bootstrap resamples.
        seed: of the generator.
        baseline_scores, candidate_scores: probabilities, float, shape (rows, classes), where the metric needs them.
    """
    both = [Answered(baseline, baseline_scores), Answered(candidate, candidate_scores)]
    found = sample(metric, references, both, classes=classes, resamples=resamples, seed=seed)
    return compared(metric, found, rows=len(references), margin=margin, confidence=confidence)


def superior(metric: Metric | OwnMetric, references: Ids, baseline: Ids, candidate: Ids, *, classes: int,
             by: float = 0.0, confidence: float = 0.95, resamples: int = 10_000, seed: int = 13,
             baseline_scores: Floats | None = None, candidate_scores: Floats | None = None) -> Comparison:  # fmt: skip
    """Whether ``candidate`` is better than ``baseline`` by more than ``by``: non-inferiority with a margin of -by.

    Pass when the interval shows such a gain; fail when the gain itself is no more than ``by``, which more rows would
    not change; else inconclusive. A candidate that is no better passes at most 5 times in 100 at a confidence of 0.95.

    Args:
        metric, references, baseline, candidate, classes, confidence, resamples, seed, baseline_scores,
            candidate_scores: as of `compare`.
        by: the gain that is not yet enough, in units of the metric.
    """
    return compare(metric, references, baseline, candidate, classes=classes, margin=-by, confidence=confidence,
                   resamples=resamples, seed=seed, baseline_scores=baseline_scores,
                   candidate_scores=candidate_scores)  # fmt: skip


def equivalent(metric: Metric | OwnMetric, references: Ids, baseline: Ids, candidate: Ids, *, classes: int,
               margin: float, confidence: float = 0.95, resamples: int = 10_000, seed: int = 13,
               baseline_scores: Floats | None = None,
               candidate_scores: Floats | None = None) -> Comparison:  # fmt: skip
    """Whether ``candidate`` is neither worse nor better than ``baseline`` by the margin: two one-sided tests.

    Pass when both ends lie within the margin; fail when the difference itself does not; else inconclusive. Both tests
    have to reject, so neither needs a correction: a candidate that differs by the margin or more passes with a
    probability of at most 1 - confidence (Schuirmann 1987; Berger 1982).

    Args:
        metric, references, baseline, candidate, classes, confidence, resamples, seed, baseline_scores,
            candidate_scores: as of `compare`.
        margin: the difference that is too much, in units of the metric.
    """
    both = [Answered(baseline, baseline_scores), Answered(candidate, candidate_scores)]
    sampled = sample(metric, references, both, classes=classes, resamples=resamples, seed=seed)
    found = compared(metric, sampled, rows=len(references), margin=margin, confidence=confidence)
    if max(found.upper, -found.lower) < margin:
        return replace(found, verdict="pass", rows_to_decide=None)
    if abs(found.difference) >= margin:
        return replace(found, verdict="fail", rows_to_decide=None)
    reach = float(ndtri(confidence)) * sampled.deviation
    needed = max(
        rows_for_a_pass(found.rows, reach, found.difference - found.lower, margin + found.difference),
        rows_for_a_pass(found.rows, reach, found.upper - found.difference, margin - found.difference),
    )
    return replace(found, verdict="inconclusive", rows_to_decide=needed)


def compared(metric: Metric | OwnMetric, found: Sampled, *, rows: int, margin: float, confidence: float) -> Comparison:
    """The verdict of non-inferiority on resampled differences.

    Args:
        metric: of which they are.
        found: of two models.
        rows: that were compared.
        margin: the largest loss that is tolerated.
        confidence: of each one-sided end.
    """
    ends = Estimate(value=found.value, lower=found.lower(confidence), upper=found.upper(confidence))
    verdict = not_worse(ends, margin, greater_is_better=metric.greater_is_better)
    needed = None
    if verdict == "inconclusive":
        up = metric.greater_is_better
        width, room = (
            (ends.value - ends.lower, ends.value + margin) if up else (ends.upper - ends.value, margin - ends.value)
        )
        needed = rows_for_a_pass(rows, float(ndtri(confidence)) * found.deviation, width, room)
    return Comparison(
        metric=metric.name,
        baseline=found.values[0],
        candidate=found.values[1],
        difference=ends.value,
        lower=ends.lower,
        upper=ends.upper,
        margin=margin,
        rows=rows,
        verdict=verdict,
        rows_to_decide=needed,
        greater_is_better=metric.greater_is_better,
    )
