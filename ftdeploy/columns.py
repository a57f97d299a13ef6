"""Whether the columns that a recipe or a suite names fit its task."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from ftdeploy.tasks import Task


class Parts(Protocol):
    """Which column plays which part, as `columns` of a recipe and of a suite's case have it."""

    @property
    def text_pair(self) -> str | None:
        """The second text."""

    @property
    def label(self) -> str | None:
        """What is to be answered; None in rows without."""

    @property
    def label_separator(self) -> str | None:
        """What stands between labels in one cell."""

    @property
    def tag_names(self) -> tuple[str, ...]:
        """What tags are called that are numbers."""


def unfit(columns: Parts, task: Task) -> Iterator[str]:
    """What does not go with a task, a sentence each.

    Args:
        columns: of a recipe, of one of its sources, or of a suite's case.
        task: what is learned, or judged.
    """
    if columns.text_pair is not None and not task.pairs:
        yield f"`columns.text_pair` is a second text, and {task.name} reads single texts"
    if columns.label is None and not task.vectors:
        yield f"`columns.label` is null, and {task.name} wants labels"
    if columns.label_separator is not None and not task.multi_label:
        yield f"`columns.label_separator` goes with any number of labels, which {task.name} has not"
    if columns.tag_names and not task.per_token:
        yield f"`columns.tag_names` are of tokens, and {task.name} has a label for a text"
