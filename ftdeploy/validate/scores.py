"""Metrics of both models over all rows or some of them, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial

from ftdeploy.metrics import METRICS, Ids
from ftdeploy.statistics import compare, estimate
from ftdeploy.suite import Suite
from ftdeploy.validate.answers import Answers
from ftdeploy.validate.crosscheck import crosscheck
from ftdeploy.verdict import MetricResult, Scored


def scored(name: str, suite: Suite, answers: Answers, *, rows: Ids | None = None) -> MetricResult:
    """One metric of both models and its difference.

    Args:
        name: of the metric.
        suite: confidence, resamples and seed.
        answers: of both models.
        rows: indices, int64; None is all rows.
    """
    metric, classes = METRICS[name], len(answers.labels)
    every = (answers.references, answers.baseline.predictions, answers.candidate.predictions)
    references, before, after = every if rows is None else (part[rows] for part in every)
    value = partial(estimate, metric, references, classes=classes, confidence=suite.confidence,
                    resamples=suite.resamples, seed=suite.seed)  # fmt: skip
    was, now = value(predictions=before), value(predictions=after)
    difference = compare(metric, references, before, after, classes=classes, margin=0.0,
                         confidence=suite.confidence, resamples=suite.resamples, seed=suite.seed)  # fmt: skip
    return MetricResult(
        metric=name,
        baseline=Scored(**asdict(was)),
        candidate=Scored(**asdict(now)),
        difference=Scored(value=difference.difference, lower=difference.lower, upper=difference.upper),
    )


def crosschecked(metrics: Sequence[MetricResult], answers: Answers) -> None:
    """Compute the metrics once more through `evaluate`.

    Raises:
        DependencyError: one differs.
    """
    before = {found.metric: found.baseline.value for found in metrics}
    crosscheck(before, answers.references, answers.baseline.predictions)
    after = {found.metric: found.candidate.value for found in metrics}
    crosscheck(after, answers.references, answers.candidate.predictions)
