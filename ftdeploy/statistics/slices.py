"""Verdicts over many slices of the rows at once.

There are two ways to be wrong, and a release is judged by both. A *false alarm*: no slice is worse, and one looks so by
chance, which among ten is likely. Holm's (1979) procedure keeps the probability of any false alarm at 1 - confidence,
however many slices there are and however they overlap. A *false pass*: a slice is worse by the margin or more, and is
let through. To pass only when every single slice is shown to be fine needs no correction for that: whichever slice is
bad, it passes its own test with a probability of at most 1 - confidence (intersection-union test, Berger 1982).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ftdeploy.metrics import Floats, Ids, Metric, OwnMetric
from ftdeploy.statistics.paired import compared
from ftdeploy.statistics.proportions import compare_accuracy, p_values
from ftdeploy.statistics.result import Comparison, Estimate, Verdict
from ftdeploy.statistics.sampling import Answered, sample

Rule = Literal["none-worse", "all-proven"]


@dataclass(frozen=True, kw_only=True)
class SliceComparison:
    """Both models on the rows of one slice.

    Attributes:
        name: of the slice.
        comparison: on its rows, as if there were no other slice.
        p_inferior: of the hypothesis that it is worse by the margin or more; small: shown not to be.
        p_worse: of the hypothesis that it is not worse by more than the margin; small: shown to be worse.
        adjusted_inferior, adjusted_worse: the same after Holm's correction for all slices.
        verdict: pass or fail where an adjusted p says so; these hold for all slices together. Else inconclusive.
    """

    name: str
    comparison: Comparison
    p_inferior: float
    p_worse: float
    adjusted_inferior: float
    adjusted_worse: float
    verdict: Verdict


@dataclass(frozen=True, kw_only=True)
class SlicesResult:
    """All slices, and what comes of them.

    Attributes:
        rule: which.
        verdict: of the rule.
        slices: those that are hurt most first.
        pooled: both models on the rows of all slices together.
        rows_to_decide: for an inconclusive verdict, about how many rows the slice that needs most of them would need
            (by ``none-worse``: all slices together), where that is known.
    """

    rule: Rule
    verdict: Verdict
    slices: tuple[SliceComparison, ...]
    pooled: Comparison
    rows_to_decide: int | None


@dataclass(frozen=True, kw_only=True)
class WorstSlice(Estimate):
    """The worst score among slices; the ends are those of the worst *true* score, whichever slice has it.

    Attributes:
        name: of the slice with the worst score in the sample.
        rows: that it has.
    """

    name: str
    rows: int


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values, in the same order (Holm 1979).

    Those at or below a level are rejected, and then any false rejection has at most that probability.
    """
    order = np.argsort(p_values, kind="stable")
    steps = np.asarray(p_values)[order] * np.arange(len(order), 0, -1)
    adjusted = np.empty(len(order))
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(steps))
    return [float(value) for value in adjusted]


def p_inferior(metric: Metric | OwnMetric, references: Ids, baseline: Ids, candidate: Ids, *, classes: int,
               margin: float, resamples: int = 10_000, seed: int = 13, baseline_scores: Floats | None = None,
               candidate_scores: Floats | None = None) -> float:  # fmt: skip
    """p-value of the hypothesis that ``candidate`` is worse by the margin or more; small: shown not to be.

    For accuracy from Tango's score (`compare_accuracy`), for other metrics the share of resamples, least favourable row
    included, in which it is. No smaller than 1 / (resamples + 1).

    Args:
        metric, references, baseline, candidate, classes, resamples, seed, baseline_scores, candidate_scores: as of
            `compare`.
        margin: the loss in question, in units of the metric.
    """
    answers = (Answered(baseline, baseline_scores), Answered(candidate, candidate_scores))
    return _judged(metric, references, answers, classes=classes, margin=margin, confidence=0.95, resamples=resamples,
                   seed=seed)[1]  # fmt: skip


def p_worse(metric: Metric | OwnMetric, references: Ids, baseline: Ids, candidate: Ids, *, classes: int,
            margin: float, resamples: int = 10_000, seed: int = 13, baseline_scores: Floats | None = None,
            candidate_scores: Floats | None = None) -> float:  # fmt: skip
    """p-value of the hypothesis that ``candidate`` is not worse by more than the margin; small: shown to be worse.

    Args:
        metric, references, baseline, candidate, classes, margin, resamples, seed, baseline_scores, candidate_scores: as
            of `p_inferior`.
    """
    answers = (Answered(baseline, baseline_scores), Answered(candidate, candidate_scores))
    return _judged(metric, references, answers, classes=classes, margin=margin, confidence=0.95, resamples=resamples,
                   seed=seed)[2]  # fmt: skip


def slices_non_inferior(metric: Metric | OwnMetric, references: Ids, baseline: Ids, candidate: Ids,
                        groups: Mapping[str, Ids], *, classes: int, margin: float, rule: Rule = "all-proven",
                        confidence: float = 0.95, resamples: int = 10_000, seed: int = 13,
                        baseline_scores: Floats | None = None,
                        candidate_scores: Floats | None = None) -> SlicesResult:  # fmt: skip
    """Whether ``candidate`` is worse than ``baseline`` by the margin in some slice.

    By both rules it fails when a slice is shown to be worse by more than the margin, after Holm's correction: where no
    slice is, this has a probability of at most 1 - confidence. They differ in when it passes:

    - ``all-proven``, the default: when every slice is shown not to be. A candidate that is worse by the margin in any
      slice passes with a probability of at most 1 - confidence. It takes rows: with 200 in each of ten slices and 4%
      of the answers changed, a candidate that is no worse passes at a margin of 0.06 three times in four.
    - ``none-worse``: when no slice is shown to be worse, and all their rows together are shown not to be. It is an
      alarm. A slice that is worse, but not clearly, does pass, so that the bound on false passes is on all slices
      together only; without it, slices too small to show anything would always pass.

    Args:
        metric, references, baseline, candidate, classes, confidence, resamples, seed, baseline_scores,
            candidate_scores: as of `compare`; accuracy is judged by `compare_accuracy`.
        groups: name of a slice -> its rows, int64, at least one; they may overlap.
        margin: the loss that is too much in a slice, in units of the metric.
        rule: when it passes.

    Raises:
        ValueError: there is no slice.
    """
    if not groups:
        raise ValueError("there is no slice to judge")
    models = (Answered(baseline, baseline_scores), Answered(candidate, candidate_scores))

    def judged(rows: Ids) -> tuple[Comparison, float, float]:
        return _judged(metric, references[rows], tuple(one.of(rows) for one in models), classes=classes, margin=margin,
                       confidence=confidence, resamples=resamples, seed=seed)  # fmt: skip

    each = {name: judged(rows) for name, rows in groups.items()}
    pooled, *_ = judged(np.unique(np.concatenate(list(groups.values()))))
    fine = holm([inferior for _, inferior, _ in each.values()])
    bad = holm([worse for *_, worse in each.values()])
    level = 1 - confidence
    slices = [
        SliceComparison(name=name, comparison=one, p_inferior=inferior, p_worse=worse, adjusted_inferior=adjusted,
                        adjusted_worse=alarm,
                        verdict="fail" if alarm <= level else "pass" if adjusted <= level else "inconclusive")
        for (name, (one, inferior, worse)), adjusted, alarm in zip(each.items(), fine, bad, strict=True)
    ]  # fmt: skip
    asked = [found.comparison for found in slices] if rule == "all-proven" else [pooled]
    verdict: Verdict = (
        "fail" if min(bad) <= level
        else "pass" if all(one.verdict == "pass" for one in asked)
        else "inconclusive"
    )  # fmt: skip
    needed = [one.rows_to_decide for one in asked if one.verdict != "pass"]
    known = [rows for rows in needed if rows is not None]
    sign = 1 if metric.greater_is_better else -1
    return SlicesResult(
        rule=rule,
        verdict=verdict,
        slices=tuple(sorted(slices, key=lambda found: sign * found.comparison.difference)),
        pooled=pooled,
        # A slice whose drop is beyond the margin does not pass with more rows, if the drop stays.
        rows_to_decide=max(known) if verdict == "inconclusive" and known and len(known) == len(needed) else None,
    )


def worst(metric: Metric | OwnMetric, references: Ids, predictions: Ids, groups: Mapping[str, Ids], *, classes: int,
          confidence: float = 0.95, resamples: int = 10_000, seed: int = 13,
          scores: Floats | None = None) -> WorstSlice:  # fmt: skip
    """The worst score among slices, with ends for the worst true score.

    The end on the worse side is the worst of the slices' ends: it holds at ``confidence`` without a correction, because
    that of the truly worst slice does. The end on the better side is corrected for the number of slices (Bonferroni):
    the worst of many noisy scores is low where all are alike.

    Args:
        metric: which one; where lower is better, the worst score is the highest.
        references, predictions: class ids, int64, shape (rows,).
        groups: name of a slice -> its rows, int64, at least one.
        classes: how many classes there are.
        confidence: of each end.
        resamples: bootstrap resamples.
        seed: of the generator.
        scores: probabilities, float, shape (rows, classes), where the metric needs them.

    Raises:
        ValueError: there is no slice.
    """
    if not groups:
        raise ValueError("there is no slice to judge")
    strict = 1 - (1 - confidence) / len(groups)
    up = metric.greater_is_better
    found = {}
    for name, rows in groups.items():
        own = [Answered(predictions, scores).of(rows)]
        one = sample(metric, references[rows], own, classes=classes, resamples=resamples, seed=seed)
        found[name] = Estimate(
            value=one.value,
            lower=one.lower(confidence if up else strict),
            upper=one.upper(strict if up else confidence),
        )
    pick = min if up else max
    name = pick(found, key=lambda name: found[name].value)
    return WorstSlice(
        name=name,
        rows=len(groups[name]),
        value=found[name].value,
        lower=pick(one.lower for one in found.values()),
        upper=pick(one.upper for one in found.values()),
    )


def _judged(metric: Metric | OwnMetric, references: Ids, answers: Sequence[Answered], *, classes: int, margin: float,
            confidence: float, resamples: int, seed: int) -> tuple[Comparison, float, float]:  # fmt: skip
    """The comparison, p of being worse by the margin or more, p of not being worse by more than it."""
    baseline, candidate = (one.predictions for one in answers)
    if metric.name == "accuracy":
        was, now = baseline == references, candidate == references
        ps = p_values(int((was & ~now).sum()), int((~was & now).sum()), len(references), margin)
        return compare_accuracy(references, baseline, candidate, margin=margin, confidence=confidence), *ps
    found = sample(metric, references, answers, classes=classes, resamples=resamples, seed=seed)
    up = metric.greater_is_better
    # Losses are below -margin, or above it where lower is better; each hypothesis has its own least favourable row.
    losses, gains = (found.below, found.above) if up else (-found.above, -found.below)
    inferior, worse = (int(mask.sum()) + 1 for mask in (losses <= -margin, gains >= -margin))
    total = len(losses) + 1
    return (
        compared(metric, found, rows=len(references), margin=margin, confidence=confidence),
        inferior / total,
        worse / total,
    )
