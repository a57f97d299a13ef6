"""What a checkpoint of transformers can be asked for, by its config.json: its head, its outputs, its problem type."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ftdeploy.errors import ModelError
from ftdeploy.models.model import label_order
from ftdeploy.models.shapes import ONE_LABEL
from ftdeploy.tasks import TASKS, Task

#: What the names of classes with a head end in, as ``architectures`` has them.
_HEADS = {task.auto_class.removeprefix("AutoModel") for task in TASKS.values()} - {""}


def task_of(folder: Path, config: Mapping[str, Any], asked: Task | None, stated: str = "") -> Task:
    """What a checkpoint is opened for. Where its config leaves that open, it is what is asked for.

    Args:
        folder: the checkpoint's, for messages.
        config: its ``config.json``.
        asked: what it should do; None takes what it says of itself, else one label a text.
        stated: the name of its task, as the artifact around it says it; empty where nothing does.

    Raises:
        ModelError: it is a checkpoint of another task.
    """
    known = TASKS.get(stated)
    task = asked or known or _only(config)
    other = f"does {known.name}" if known is not None and known is not task else why_not(config, task)
    if other:
        raise ModelError(
            f"{folder} {other}, and {task.name} is asked of it",
            cause="it was fine-tuned for another task, or the suite does not say its `task`",
            fix=f"name a checkpoint for {task.name}; or set the suite's `task`, with metrics of that task",
        )
    return task


def _only(config: Mapping[str, Any]) -> Task:
    """One label a text, unless a checkpoint can do one other thing only."""
    possible = [task for task in TASKS.values() if not task.vectors and not why_not(config, task)]
    return possible[0] if len(possible) == 1 else ONE_LABEL


def why_not(config: Mapping[str, Any], task: Task) -> str:
    """Why a checkpoint cannot do a task; empty where nothing speaks against it. One with a head was fine-tuned for it,
    and vectors are asked of those without.

    Args:
        config: its ``config.json``.
        task: what it should do.
    """
    wanted = task.auto_class.removeprefix("AutoModel")
    heads = [str(name) for name in config.get("architectures") or () if str(name).endswith(tuple(_HEADS))]
    if heads and (task.vectors or not any(name.endswith(wanted) for name in heads)):
        return f"is a {heads[0]} (architectures in its config.json)"
    if task.per_token or task.vectors:
        return ""
    problem = config.get("problem_type")
    if problem and problem != task.problem_type:
        return f"is for {str(problem).replace('_', ' ')} (problem_type in its config.json)"
    outputs = len(config.get("id2label") or (0, 1))  # transformers has two by itself
    if task.one_label and outputs == 1:
        return "has one output only"
    return f"has {outputs} outputs" if task.number and outputs != 1 else ""


def outputs_of(task: Task, named: Mapping[int, str], labels: Sequence[str] | None, *, name: str) -> tuple[str, ...]:
    """Class id -> label, as the task has them.

    Args:
        task: of the checkpoint.
        named: ``id2label`` of its config.
        labels: that are wanted of it; None takes what it has.
        name: of the model, for messages.

    Raises:
        ModelError: it has others, or tokens have labels that are no tags of IOB2.
    """
    if task.number or task.vectors:  # what the one output is called has no say
        return tuple(labels or task.head(()))
    found = label_order([named[index] for index in sorted(named)], labels, name=name)
    odd = sorted(set(found) - set(task.head(task.known_names(found))))
    if odd:
        raise ModelError(
            f"{name} has the label {odd[0]!r}, which is no tag of IOB2",
            cause="it was trained on tags of another scheme (BIOES, or kinds alone), or does not name its labels",
            fix="name the labels in its config.json (id2label): O, and B- and I- before each kind",
        )
    return found
