"""The matrix of what was answered for what, where an answer is no single label."""

from __future__ import annotations

import numpy as np

from ftdeploy.label_sets import dump
from ftdeploy.spans import Span
from ftdeploy.spans import dump as dump_spans
from ftdeploy.tasks import TASKS, Task
from ftdeploy.tasks.said import numbered
from ftdeploy.validate.answers import Answer, Answers
from ftdeploy.validate.confused import confused


def _answers(task: Task, true: list[str], said: list[str]) -> Answers:
    labels, (references, predictions) = numbered(true, said)
    answer = Answer(given=(predictions, np.ones(len(said), dtype=np.float32)))
    names = [str(index) for index in range(len(true))]
    return Answers(ids=names, texts=names, columns={}, labels=labels, references=references, baseline=answer,
                   candidate=answer, task=task)  # fmt: skip


def test_names_stand_against_themselves_or_none() -> None:
    """Of any number of labels none is taken for another: it holds, is missed, or is one too many."""
    task = TASKS["multi-label-classification"]
    found = confused(_answers(task, [dump(["a", "b"]), dump([])], [dump(["a"]), dump(["b"])]))
    assert found.labels == ("a", "b", "O")
    assert found.candidate == ((1, 0, 0), (0, 0, 1), (0, 1, 0))


def test_spans_stand_against_those_with_their_boundaries() -> None:
    """A kind is taken for another only where the words are the same."""
    task = TASKS["token-classification"]
    true = dump_spans([Span(0, 3, "x"), Span(5, 9, "y")])
    said = dump_spans([Span(0, 3, "y"), Span(5, 8, "y")])
    found = confused(_answers(task, [true], [said]))
    assert found.labels == ("x", "y", "O")
    assert found.candidate == ((0, 1, 0), (0, 0, 1), (0, 1, 0))
