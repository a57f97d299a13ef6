"""Whether the sections of a recipe fit its task: what is made for one label a row is refused where words have labels,
and defaults that name a metric name the task's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ftdeploy.metrics import SPAN_METRICS
from ftdeploy.suite import NonInferiority, Suite
from ftdeploy.tasks import Task

#: Section -> keys that only go with one label a row.
_OF_ROWS = {
    "data": ("quality", "bias", "unlabelled"),
    "train": ("class_weights", "teacher"),
    "package": ("thresholds",),
}
#: What a model may lose by default, and what a suite tolerates by default, of the task's first metric.
_MAX_DROP, _MARGIN = 0.01, 0.02


def fitted(name: str, section: Any, task: Task) -> Any:
    """The section, with defaults of the task's own where it says nothing.

    Args:
        name: of the section.
        section: of a recipe.
        task: of the recipe.

    Raises:
        ValueError: it has what does not go with the task; all of it.
    """
    if not task.per_token:
        wrong = list(_spans_named(name, section))
    else:
        fields = type(section).model_fields
        used = [key for key in _OF_ROWS.get(name, ()) if getattr(section, key) != fields[key].default]
        wrong = [f"`{key}` is made for one label a row, and does not go with {task.name}" for key in used]
        wrong += _rows_named(name, section, task)
    if wrong:
        raise ValueError("; ".join(wrong))
    return _with_defaults(name, section, task)


def _metrics_in(name: str, section: Any) -> Iterator[tuple[str, str]]:
    """(key, metric) of a section that names metrics of predicted answers."""
    if name == "compress":
        yield from ((f"max_drop.{metric}", metric) for metric in section.max_drop)
    if name == "train" and section.early_stopping is not None and section.early_stopping.metric is not None:
        yield "early_stopping.metric", section.early_stopping.metric
    if name == "update" and section.metric is not None:
        yield "metric", section.metric


def _spans_named(name: str, section: Any) -> Iterator[str]:
    for key, metric in _metrics_in(name, section):
        if metric in SPAN_METRICS:
            yield f"`{key}`: {metric} is a metric of spans, and this task has one label a row"


def _rows_named(name: str, section: Any, task: Task) -> Iterator[str]:
    default = name == "compress" and "max_drop" not in section.model_fields_set
    for key, metric in () if default else _metrics_in(name, section):
        # While training nobody has the texts, so whole rows cannot be compared.
        also = () if name == "train" else ("accuracy",)
        if metric not in (*SPAN_METRICS, *also, "loss"):
            yield f"`{key}`: {metric} is no metric of spans; {task.name} has {', '.join((*SPAN_METRICS, *also))}"


def _with_defaults(name: str, section: Any, task: Task) -> Any:
    if task.per_token and name == "compress" and "max_drop" not in section.model_fields_set:
        return section.model_copy(update={"max_drop": {task.metrics[0]: _MAX_DROP}})
    if task.per_token and name == "validate" and "suite" not in section.model_fields_set:
        gate = NonInferiority(kind="non-inferiority", metric=task.metrics[0], margin=_MARGIN)
        return section.model_copy(update={"suite": Suite(metrics=task.metrics, gates=(gate,))})
    return section
