"""Whether the sections of a recipe fit its task: what is made for one label a row is refused where words have labels or
answers are vectors, and defaults that name a metric name the task's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from ftdeploy.columns import unfit
from ftdeploy.document import MisfitError
from ftdeploy.metrics import is_error, without_bound
from ftdeploy.suite import NonInferiority, Suite
from ftdeploy.suite_fit import OF_WHOLE, misfits
from ftdeploy.tasks import Task

#: Section -> keys that only go with one label a row.
_OF_ROWS: Mapping[str, tuple[str, ...]] = {
    "data": ("quality", "bias", "unlabelled"),
    "train": ("class_weights", "teacher"),
    "package": ("thresholds", "review"),
}
#: Keys of training that count on probabilities of which one is right.
_OF_SOFTMAX = ("label_smoothing", "focal_gamma", "r_drop")
#: What a model may lose by default, and what a suite tolerates by default, of the task's first metric.
_MAX_DROP, _MARGIN = 0.01, 0.02
#: The same of neighbours, of which any rounding changes some: int8 at its best keeps nine of ten.
_MAX_NEIGHBOURS, _NEIGHBOURS_MARGIN = 0.1, 0.12


def fitted(name: str, section: Any, task: Task, *, pairs: bool = False) -> Any:
    """The section, with defaults of the task's own where it says nothing.

    Args:
        name: of the section.
        section: of a recipe.
        task: of the recipe.
        pairs: whether its rows have a second text.

    Raises:
        ValueError: it has what does not go with the task, or with rows of two texts; all of it.
    """
    wrong = [*_keys_named(name, section, task), *(_of_single_texts(name, section) if pairs else [])]
    if name == "data":
        named = filter(None, (section.columns, *(entry.columns for entry in section.sources)))
        wrong += dict.fromkeys(why for columns in named for why in unfit(columns, task))
    if name == "package" and section.anomaly is not None and not task.vectors:
        wrong.append(f"`anomaly` compares vectors, and {task.name} has none")
    wrong += _metrics_named(name, section, task)
    if wrong:
        raise ValueError("; ".join(wrong))
    if name == "validate" and "suite" in section.model_fields_set:
        unfit_suite = misfits(section.suite, task)
        if unfit_suite:
            raise MisfitError(replace(problem, path=f"suite.{problem.path}") for problem in unfit_suite)
    return _with_defaults(name, section, task)


def _of_single_texts(name: str, section: Any) -> Iterator[str]:
    """Keys that are made for rows of one text, where rows have two."""
    if name == "model" and section.windows is not None:
        yield (
            "`windows` does not go with `data.columns.text_pair`: which of the two texts would move on in windows, and "
            "which stays, nothing says; without it, of pairs longer than `max_length` the longer text loses its end"
        )
    if name == "package" and section.review is not None:
        yield "`review` reads one document passage by passage, and the rows of `data.columns.text_pair` are two texts"


def _keys_named(name: str, section: Any, task: Task) -> Iterator[str]:
    """Keys that are set, and are made for another task."""
    fields = type(section).model_fields
    changed = [key for key in fields if getattr(section, key) != fields[key].default]
    if name == "model" and "windows" in changed and not task.windows:
        yield f"`windows` does not go with {task.name}, which has an answer of its own for long texts"
    if task.vectors and name == "train":
        yield from (f"`{key}`: nothing is trained, {task.name} takes the checkpoint as it is" for key in changed)
    elif not task.probabilities and name == "export":
        what = "vectors" if task.vectors else task.unit
        yield from (f"`{key}`: {what} have no probabilities" for key in changed if key == "temperature")
    elif not task.one_label:
        for key in (one for one in _OF_ROWS.get(name, ()) if one in changed):
            yield f"`{key}` is made for one label a row, and does not go with {task.name}"
    if name == "export" and "thresholds" in changed and not task.multi_label:
        yield f"`thresholds` is about any number of labels, and {task.name} has none; see `package.thresholds`"
    if task.number and name == "data" and "labels" in changed:
        yield f"`labels`: the labels of {task.name} are numbers"
    for key in _OF_SOFTMAX if (task.multi_label or task.number) and name == "train" else ():
        if key in changed:
            yield f"`{key}` is made for labels of which one is right, and does not go with {task.name}"


def _metrics_in(name: str, section: Any) -> Iterator[tuple[str, str]]:
    """(key, metric) of a section that names metrics of predicted answers."""
    if name == "compress" and "max_drop" in section.model_fields_set:
        yield from ((f"max_drop.{metric}", metric) for metric in section.max_drop)
    if name == "train" and section.early_stopping is not None and section.early_stopping.metric is not None:
        yield "early_stopping.metric", section.early_stopping.metric
    if name == "update" and section.metric is not None:
        yield "metric", section.metric


def _metrics_named(name: str, section: Any, task: Task) -> Iterator[str]:
    # While training nobody has the texts, so whole rows of spans cannot be compared.
    known = [one for one in task.measures if not (task.per_token and name == "train" and one == "accuracy")]
    if name == "compress":
        for metric, drop in section.max_drop.items():
            if drop >= 1 and not without_bound(metric):
                yield f"`max_drop.{metric}`: input should be less than 1"
    for key, metric in _metrics_in(name, section):
        kind = metric.partition(":")[0]  # of one label, as label_f1:NAME
        if not task.one_label and kind not in (*known, *(() if task.vectors else ("loss",))):
            yield f"`{key}`: {metric} is no metric of {task.unit}; {task.name} has {', '.join(known)}"
        elif name != "compress" and is_error(metric):  # what follows it takes higher for better
            yield f"`{key}`: of {metric} lower is better; name {', '.join(one for one in known if not is_error(one))}"
        elif task.one_label and kind in OF_WHOLE:
            yield f"`{key}`: {metric} is a metric of {OF_WHOLE[kind].unit}, and this task has one label a row"


def _with_defaults(name: str, section: Any, task: Task) -> Any:
    drop, margin = (_MAX_NEIGHBOURS, _NEIGHBOURS_MARGIN) if task.vectors else (_MAX_DROP, _MARGIN)
    if task.one_label:
        return section
    if name == "compress" and "max_drop" not in section.model_fields_set:
        return section.model_copy(update={"max_drop": {task.metrics[0]: drop}})
    if name == "validate" and "suite" not in section.model_fields_set:
        gate = NonInferiority(kind="non-inferiority", metric=task.metrics[0], margin=margin)
        return section.model_copy(update={"suite": Suite(metrics=task.metrics, gates=(gate,))})
    return section
