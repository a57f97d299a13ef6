"""What was answered for what: a matrix of labels, of kinds of spans, of names, or of the labels of neighbours."""

from __future__ import annotations

import numpy as np

from ftdeploy.metrics import Ids
from ftdeploy.neighbours import load as load_neighbours
from ftdeploy.spans import OUTSIDE, load
from ftdeploy.validate.answers import Answers, confusion
from ftdeploy.verdict import Confusion

#: More labels make no matrix that anybody reads.
_MOST_CONFUSED = 200


def confused(answers: Answers) -> Confusion:
    """How often each label, kind or name was answered with which: rows, spans or names by [true][answered]."""
    if answers.task.number:
        return Confusion(labels=(), baseline=(), candidate=())
    if answers.task.per_token:
        return _span_confusion(answers)
    if answers.task.multi_label:
        return _set_confusion(answers)
    if answers.task.vectors:
        return _nearest_confusion(answers)
    classes = len(answers.labels)
    return Confusion(
        labels=tuple(answers.labels),
        baseline=confusion(answers.references, answers.baseline.predictions, classes),
        candidate=confusion(answers.references, answers.candidate.predictions, classes),
    )


def _nearest_confusion(answers: Answers) -> Confusion:
    """Rows by their own label and that of the nearest row; nothing where there are no labels, or very many."""
    names = [load_neighbours(label).label for label in answers.labels]
    known = tuple(sorted(set(names)))
    if known == ("",) or len(known) > _MOST_CONFUSED:
        return Confusion(labels=(), baseline=(), candidate=())
    place = np.array([known.index(name) for name in names], dtype=np.int64)
    before, after = (
        confusion(place[answers.references], place[answer.predictions], len(known))
        for answer in (answers.baseline, answers.candidate)
    )
    return Confusion(labels=known, baseline=before, candidate=after)


def _set_confusion(answers: Answers) -> Confusion:
    """Names that are true and said by themselves; what only one side has stands against `O`."""
    sets = [frozenset(answers.task.names(label)) for label in answers.labels]
    names = (*sorted({name for one in sets for name in one}), OUTSIDE)
    place = {name: index for index, name in enumerate(names)}

    def counted(predictions: Ids) -> tuple[tuple[int, ...], ...]:
        found = [[0] * len(names) for _ in names]
        for true, said in zip(answers.references.tolist(), predictions.tolist(), strict=True):
            for name in sets[true] | sets[said]:
                row, column = (place[name if name in one else OUTSIDE] for one in (sets[true], sets[said]))
                found[row][column] += 1
        return tuple(map(tuple, found))

    return Confusion(labels=names, baseline=counted(answers.baseline.predictions),
                     candidate=counted(answers.candidate.predictions))  # fmt: skip


def _span_confusion(answers: Answers) -> Confusion:
    """Spans by true and answered kind, of those whose boundaries are exactly right; what only one side has is `O`."""
    spans = [{span[:2]: span.kind for span in load(label)} for label in answers.labels]
    kinds = (*sorted({kind for one in spans for kind in one.values()}), OUTSIDE)
    place = {kind: index for index, kind in enumerate(kinds)}

    def counted(predictions: Ids) -> tuple[tuple[int, ...], ...]:
        found = [[0] * len(kinds) for _ in kinds]
        for true, said in zip(answers.references.tolist(), predictions.tolist(), strict=True):
            for where in spans[true].keys() | spans[said].keys():
                found[place[spans[true].get(where, OUTSIDE)]][place[spans[said].get(where, OUTSIDE)]] += 1
        return tuple(map(tuple, found))

    return Confusion(labels=kinds, baseline=counted(answers.baseline.predictions),
                     candidate=counted(answers.candidate.predictions))  # fmt: skip
