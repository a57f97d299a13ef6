"""Whether a suite asks of a task's answers what can be asked of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ftdeploy.errors import Problem, did_you_mean
from ftdeploy.metrics import METRICS, metric_names
from ftdeploy.suite import Calibration, Consistency, Directional, Gap, Ratio, Robustness, Suite
from ftdeploy.tasks import TASKS, Task

#: Metrics of whole answers -> the task whose answers they count.
OF_WHOLE: Mapping[str, Task] = {
    metric: task for task in TASKS.values() for metric in task.measures if metric not in METRICS
}


def misfits(suite: Suite, task: Task) -> list[Problem]:
    """What of a suite is made for another task; paths are the suite's.

    Args:
        suite: of a recipe, or by itself.
        task: of the models that it judges.
    """
    if task.one_label:
        return list(_metrics_of_whole(suite, task))
    return [*_of_labels(suite, task), *_metrics_of_others(suite, task)]


def wanted(task: Task) -> str:
    """What a suite for a task may ask, as advice."""
    if task.one_label:
        return f"use metrics of one label a row, such as {' and '.join(task.metrics)}"
    if task.vectors:
        return (
            f"use {' and '.join(task.measures)}, in gates of the kinds non-inferiority, floor, slices, flips or ratio"
        )
    whole = f"; accuracy is of rows whose {task.unit} are all right" if "accuracy" in task.measures else ""
    return f"use {', '.join(task.measures)}{whole}"


def _metrics_of_whole(suite: Suite, task: Task) -> Iterator[Problem]:
    known = [name for name in metric_names() if name.partition(":")[0] not in OF_WHOLE]
    for path, name in metrics_named(suite):
        kind = name.partition(":")[0]
        if kind in OF_WHOLE:
            made_for = OF_WHOLE[kind]
            message = f"{name!r} is a metric of {made_for.unit} ({made_for.name}), and {task.name} has one label a row"
            yield Problem(path=path, message=message, hint=did_you_mean(name, known))


def _of_labels(suite: Suite, task: Task) -> Iterator[Problem]:
    """Gates, swaps and golden rows that want labels of the network, or rows apart from their neighbours."""
    wanting = Directional | Calibration | Gap | Robustness | Consistency if task.vectors else Directional | Calibration
    why = "looks at labels, and an answer here is a vector" if task.vectors else "wants probabilities of labels"
    for index, gate in enumerate(suite.gates):
        if isinstance(gate, wanting):
            yield Problem(path=f"gates[{index}]", message=f"a {gate.kind} gate {why}")
    for index in range(len(suite.swaps)):
        compared = "labels" if task.vectors else "probabilities of labels"
        yield Problem(path=f"swaps[{index}]", message=f"a swap compares {compared}")
    if task.vectors or task.number:
        what = "vector" if task.vectors else "number"
        for index in range(len(suite.golden)):
            yield Problem(path=f"golden[{index}]", message=f"a golden row has a label, and an answer is a {what}")


def _metrics_of_others(suite: Suite, task: Task) -> Iterator[Problem]:
    for path, name in metrics_named(suite, gaps=not task.vectors):
        if name.partition(":")[0] not in task.measures:
            yield Problem(path=path, message=f"{name!r} is no metric of {task.unit}",
                          hint=did_you_mean(name, task.measures))  # fmt: skip


def metrics_named(suite: Suite, *, gaps: bool = False) -> Iterator[tuple[str, str]]:
    """(path, metric) of what the suite itself names: metrics that it leaves out are the task's own.

    Args:
        suite: of any task.
        gaps: whether what gap gates compare is among them.
    """
    if "metrics" in suite.model_fields_set:
        yield from ((f"metrics[{index}]", name) for index, name in enumerate(suite.metrics))
    for index, gate in enumerate(suite.gates):
        name = getattr(gate, "metric", None)
        if name is not None and not isinstance(gate, Ratio | Calibration) and (gaps or not isinstance(gate, Gap)):
            yield f"gates[{index}].metric", name
