"""Metrics of single-label classification, by name.

``accuracy`` and the like are computed from predicted classes, ``f1:LABEL`` of one class; `SCORE_METRICS` from the
probabilities of all classes. `metric.py` says what a metric is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches

from ftdeploy.metrics import counts, entities, label_sets, neighbourhoods, numbers, ranks, scored
from ftdeploy.metrics.counts import Accuracy, FromCounts, MacroF1
from ftdeploy.metrics.entities import Entities
from ftdeploy.metrics.label_sets import LabelSets
from ftdeploy.metrics.metric import Floats, Ids, Metric, Named, OwnMetric
from ftdeploy.metrics.neighbourhoods import Neighbours
from ftdeploy.metrics.numbers import Numbers
from ftdeploy.metrics.ranks import Ranking
from ftdeploy.metrics.scored import CalibrationError, MeanLoss

__all__ = [
    "CLASS_METRICS", "METRICS", "NEIGHBOUR_METRICS", "NUMBER_METRICS", "SCORE_METRICS", "SPAN_METRICS", "Accuracy",
    "Floats", "Ids", "MacroF1", "Metric", "Named", "OwnMetric", "is_error", "is_metric_name", "is_of_answers",
    "metric_names", "resolve", "score", "without_bound",
]  # fmt: skip

#: Computed from predicted classes alone; higher is better in all of them.
METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        Accuracy(),
        MacroF1(),
        Accuracy("micro_f1"),
        FromCounts("weighted_f1", counts.weighted_f1),
        FromCounts("macro_precision", counts.macro_precision),
        FromCounts("macro_recall", counts.macro_recall),
        FromCounts("mcc", counts.matthews),
    )
}
#: Computed from probabilities.
SCORE_METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        MeanLoss("brier", scored.brier),
        MeanLoss("log_loss", scored.log_loss),
        CalibrationError(),
        Ranking("roc_auc", ranks.roc_auc, undefined=0.5),
        Ranking("average_precision", ranks.average_precision, undefined=0.0),
    )
}
#: Of one class, as ``f1:LABEL``.
CLASS_METRICS = {"f1": counts.f1, "precision": counts.precision, "recall": counts.recall}
_EVERY: Mapping[str, Metric] = {**METRICS, **SCORE_METRICS}
#: Of the spans of a row; ``entity_f1:KIND`` counts those of one kind.
SPAN_METRICS = tuple(entities.FUNCTIONS)
#: Of rows with any number of labels; ``label_f1:NAME`` counts one of them.
LABEL_SET_METRICS = label_sets.NAMES
#: Of what lies near a row, where an answer is a vector.
NEIGHBOUR_METRICS = tuple(neighbourhoods.FUNCTIONS)
#: Of numbers.
NUMBER_METRICS = numbers.NAMES
_OF_ANSWERS = (*SPAN_METRICS, *LABEL_SET_METRICS, *NEIGHBOUR_METRICS, *NUMBER_METRICS)


def is_metric_name(name: str) -> bool:
    """Whether some model has a metric of that name: for where the labels are not known yet."""
    kind, colon, label = name.partition(":")
    named = kind in (*CLASS_METRICS, *SPAN_METRICS, *LABEL_SET_METRICS)
    return name in (*_EVERY, *_OF_ANSWERS) or bool(colon and label and named)


def is_of_answers(name: str) -> bool:
    """Whether some model has a metric of that name that looks at predicted answers alone, and not at probabilities."""
    return is_metric_name(name) and name not in SCORE_METRICS


def metric_names() -> list[str]:
    """All names, those of one class with ``LABEL`` in the place of the label: for hints."""
    of_one = (*CLASS_METRICS, *SPAN_METRICS, *LABEL_SET_METRICS)
    return [*_EVERY, *_OF_ANSWERS, *(f"{kind}:LABEL" for kind in of_one)]


def is_error(name: str) -> bool:
    """Whether a metric of ftdeploy is one where lower is better."""
    return name in numbers.ERRORS or (name in _EVERY and not _EVERY[name].greater_is_better)


def without_bound(name: str) -> bool:
    """Whether a metric is in the units of the data, so that a difference may be any number."""
    return name in numbers.ERRORS


def resolve(name: str, labels: Sequence[str], *, names: Sequence[str] = ()) -> Metric:
    """The metric of a name.

    Args:
        name: ``macro_f1``, ``brier``, ``recall:LABEL``, or ``entity_f1``.
        labels: class id -> label.
        names: where a label is a whole answer, the labels or kinds that it is made of; none are not asked for. A metric
            of one that the model does not have would be 0 of every model, and no difference fails no gate.

    Raises:
        ValueError: there is no such metric, or the model has no such label, with what was probably meant; or the metric
            wants labels of rows, and there are none.
    """
    kind, colon, label = name.partition(":")
    if kind in (*SPAN_METRICS, *LABEL_SET_METRICS) and label and names:
        _check_label(name, label, names)
    if kind in SPAN_METRICS:
        return Entities(name, labels, kind=label or None)
    if kind in LABEL_SET_METRICS:
        return LabelSets(name, labels, only=label or None)
    if name in NEIGHBOUR_METRICS:
        if name == neighbourhoods.OF_LABELS and not neighbourhoods.labelled(labels):
            raise ValueError(f"{name} compares labels of rows, and none of these has one; use {NEIGHBOUR_METRICS[0]}")
        return Neighbours(name, labels)
    if name in NUMBER_METRICS:
        return Numbers(name, labels)
    if name in _EVERY:
        return _EVERY[name]
    if not colon or kind not in CLASS_METRICS:
        raise ValueError(f"{name!r} is not a metric; {_hint(name, metric_names())}")
    _check_label(name, label, labels)
    return FromCounts(name, CLASS_METRICS[kind], index=list(labels).index(label))


def _check_label(name: str, label: str, labels: Sequence[str]) -> None:
    if label not in labels:
        raise ValueError(f"{name!r} names the label {label!r}, which the model does not have; {_hint(label, labels)}")


def score(metric: Metric, references: Ids, predictions: Ids, classes: int, scores: Floats | None = None) -> float:
    """A metric over all rows, as one number.

    Args:
        metric: which one.
        references, predictions: class ids, int64, shape (rows,).
        classes: how many classes there are.
        scores: probabilities, float, shape (rows, classes), where the metric needs them.
    """
    return float(metric.value(metric.statistics(references, predictions, classes, scores).sum(axis=0)))


def _hint(word: str, known: Sequence[str]) -> str:
    # Not errors.did_you_mean: this part stands below all others.
    close = get_close_matches(word, known, n=1, cutoff=0.6)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known)}"
