"""Metrics of both models over all rows or some of them, with intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from ftdeploy.errors import ConfigError
from ftdeploy.metrics import METRICS, Metric, OwnMetric, resolve
from ftdeploy.statistics import Comparison, Estimate, compare, estimate
from ftdeploy.suite import Suite
from ftdeploy.validate.answers import Answer, Answers
from ftdeploy.validate.crosscheck import crosscheck
from ftdeploy.validate.own_metric import own_metric
from ftdeploy.verdict import MetricResult, Scored


def metric_of(name: str, suite: Suite, labels: Sequence[str]) -> Metric | OwnMetric:
    """The metric that a suite names: by its name, or a metric of the user's own by its path.

    Raises:
        ConfigError: the model has no such label, there is no such metric, or the file holds none.
    """
    if name.endswith(".py"):
        return own_metric(Path(name))
    try:
        return resolve(name, labels)
    except ValueError as error:
        raise ConfigError(
            f"suite {suite.name}: {error}",
            cause="the suite was written for another model, or the name is misspelt",
            fix="correct the suite's metric",
        ) from error


def estimated(name: str, suite: Suite, answers: Answers, answer: Answer) -> Estimate:
    """A metric of one model with its interval.

    Args:
        name: of the metric.
        suite: confidence, resamples and seed.
        answers: what is true.
        answer: of the model.
    """
    metric = metric_of(name, suite, answers.labels)
    return estimate(
        metric,
        answers.references,
        answer.predictions,
        len(answers.labels),
        confidence=suite.confidence,
        resamples=suite.resamples,
        seed=suite.seed,
        scores=answer.wanted(metric),
    )


def compared(name: str, suite: Suite, answers: Answers, *, how: Callable[..., Comparison] = compare,
             **limits: float) -> Comparison:  # fmt: skip
    """A metric of the candidate against the baseline's.

    Args:
        name: of the metric.
        suite: confidence, resamples and seed.
        answers: of both models.
        how: `compare`, `equivalent` or `superior`.
        limits: what it is held against.
    """
    metric = metric_of(name, suite, answers.labels)
    return how(
        metric,
        answers.references,
        answers.baseline.predictions,
        answers.candidate.predictions,
        classes=len(answers.labels),
        confidence=suite.confidence,
        resamples=suite.resamples,
        seed=suite.seed,
        baseline_scores=answers.baseline.wanted(metric),
        candidate_scores=answers.candidate.wanted(metric),
        **limits,
    )


def scored(name: str, suite: Suite, answers: Answers) -> MetricResult:
    """One metric of both models and its difference, with intervals.

    Args:
        name: of the metric.
        suite: confidence, resamples and seed.
        answers: of both models.
    """
    now = estimated(name, suite, answers, answers.candidate)
    was = now if answers.baseline is answers.candidate else estimated(name, suite, answers, answers.baseline)
    difference = compared(name, suite, answers, margin=0.0)
    return MetricResult(
        metric=difference.metric,
        baseline=Scored(**asdict(was)),
        candidate=Scored(**asdict(now)),
        difference=Scored(value=difference.difference, lower=difference.lower, upper=difference.upper),
    )


def crosschecked(metrics: Sequence[MetricResult], answers: Answers) -> None:
    """Compute the metrics of predicted classes once more through `evaluate`. Those of probabilities are left out: they
    would become Python numbers, as many as rows times labels.

    Raises:
        DependencyError: a metric differs.
    """
    known = [found for found in metrics if found.metric in METRICS or ":" in found.metric]
    models = [answers.candidate] if answers.baseline is answers.candidate else [answers.baseline, answers.candidate]
    for answer in models:
        values = {
            found.metric: (found.candidate if answer is answers.candidate else found.baseline).value for found in known
        }
        crosscheck(values, answers.references, answer.predictions, labels=answers.labels)
