"""What both models answer to the same rows: everything that gates and reports are computed from.

Texts and columns stay in Arrow: a Python string is made of a row when somebody looks at it, so that a hundred thousand
rows take little more than the table that they came in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, overload

import numpy as np

from ftdeploy.errors import ModelError, did_you_mean
from ftdeploy.metrics import Floats, Ids, Named
from ftdeploy.tasks import TASKS, Said, Task
from ftdeploy.tasks.said import numbered

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    from ftdeploy.models.model import Model

_KNOWN_COLUMNS = ("text", "label", "group", "id")
#: Rows of a column that are Python strings at the same time.
_PIECE = 4096


class Column(Sequence[str]):
    """A column of strings in Arrow; null is an empty string.

    Args:
        values: strings; or of a type that has a string for every value.
    """

    def __init__(self, values: pa.ChunkedArray) -> None:
        import pyarrow as pa

        kinds = pa.types
        plain = kinds.is_string(values.type) or kinds.is_large_string(values.type)
        self._values = values if plain else values.cast(pa.string())

    def __len__(self) -> int:
        return len(self._values)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [_string(value) for value in self._values[index].to_pylist()]
        return _string(self._values[int(index)].as_py())

    def __iter__(self) -> Iterator[str]:
        for start in range(0, len(self), _PIECE):
            yield from self[start : start + _PIECE]

    def lengths(self) -> Ids:
        """Characters of each row: int64, shape (rows,)."""
        import pyarrow.compute as pc

        counts = pc.utf8_length(self._values).fill_null(0)
        return np.asarray(counts.to_numpy(), dtype=np.int64)

    def encoded(self) -> tuple[list[str], Ids]:
        """The distinct values, sorted, and the place of each row's among them: int64, shape (rows,)."""
        found = self._values.combine_chunks().dictionary_encode(null_encoding="encode")
        names = [_string(value) for value in found.dictionary.to_pylist()]
        every = sorted(set(names))
        place = {name: index for index, name in enumerate(every)}
        places = np.array([place[name] for name in names], dtype=np.int64)
        return every, places[np.asarray(found.indices.to_numpy(zero_copy_only=False), dtype=np.int64)]


class Some(Sequence[str]):
    """Some rows of a column, in the order given; nothing is copied.

    Args:
        values: the column.
        rows: indices, int64, shape (rows,).
    """

    def __init__(self, values: Sequence[str], rows: Ids) -> None:
        self.values, self.rows = values, rows

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self.values[row] for row in self.rows[index].tolist()]
        return self.values[int(self.rows[index])]


def _string(value: object) -> str:
    return "" if value is None else str(value)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One model's answers to all rows: as probabilities of labels, or as the labels themselves.

    Attributes:
        probabilities: of each label, float32, shape (rows, labels); none where a row's label is not one of few.
        given: in that case the class ids, int64, shape (rows,), and how sure the model is, float32, shape (rows,).
    """

    probabilities: NDArray[np.float32] = field(default_factory=lambda: np.empty((0, 0), dtype=np.float32))
    given: tuple[Ids, NDArray[np.float32]] | None = None

    @cached_property
    def predictions(self) -> Ids:
        """Class ids of the likeliest labels, int64, shape (rows,); of equal ones the first."""
        if self.given is not None:
            return self.given[0]
        return np.asarray(self.probabilities.argmax(axis=1), dtype=np.int64)

    @cached_property
    def scores(self) -> NDArray[np.float32]:
        """Probability of the predicted label, float32, shape (rows,)."""
        return self.given[1] if self.given is not None else np.asarray(self.probabilities.max(axis=1, initial=0.0))

    def wanted(self, metric: Named) -> Floats | None:
        """The probabilities as float64 where a metric is computed from them."""
        return self.probabilities.astype(np.float64) if metric.needs_scores else None

    def take(self, rows: Ids) -> Answer:
        """The answers to some of the rows."""
        if self.given is not None:
            return Answer(given=(self.given[0][rows], self.given[1][rows]))
        return Answer(probabilities=self.probabilities[rows])


@dataclass(frozen=True, kw_only=True)
class Answers:
    """The rows, what is true, and what each model says.

    Attributes:
        ids, texts: of the rows.
        columns: further columns to cut the rows by: name -> one value a row.
        labels: class id -> label, in the candidate's order.
        references: true class ids, int64, shape (rows,).
        baseline, candidate: the answers, both in the order of ``labels``.
        task: says what a label is.
    """

    ids: Sequence[str]
    texts: Sequence[str]
    columns: Mapping[str, Sequence[str]]
    labels: Sequence[str]
    references: Ids
    baseline: Answer
    candidate: Answer
    task: Task = TASKS["text-classification"]

    def __len__(self) -> int:
        return len(self.references)

    def take(self, rows: Ids) -> Answers:
        """Some of the rows, in the order given; one model stays one."""
        now, same = self.candidate.take(rows), self.baseline is self.candidate
        return Answers(
            ids=Some(self.ids, rows),
            texts=Some(self.texts, rows),
            columns={name: Some(values, rows) for name, values in self.columns.items()},
            labels=self.labels,
            references=self.references[rows],
            baseline=now if same else self.baseline.take(rows),
            candidate=now,
            task=self.task,
        )

    def right(self, answer: Answer) -> NDArray[np.bool_]:
        """Which rows a model answers rightly, shape (rows,)."""
        return self.task.right(self.labels, self.references, answer.predictions)

    def shown(self, label: int, text: str) -> str:
        """A class id as people read it beside the text of a row."""
        return self.task.show(self.labels[label], text)

    def said(self, answer: Answer, rows: Ids) -> Said:
        """What a model says of some rows."""
        some = answer.take(rows)
        labels = [self.labels[label] for label in some.predictions.tolist()]
        shares = some.probabilities if some.given is None else None
        return Said(labels=labels, scores=some.scores, probabilities=shares)


def encoded(values: Sequence[str]) -> tuple[list[str], Ids]:
    """The distinct values, sorted, and the place of each row's among them: int64, shape (rows,)."""
    if isinstance(values, Column):
        return values.encoded()
    if isinstance(values, Some):
        names, codes = encoded(values.values)
        left, codes = np.unique(codes[values.rows], return_inverse=True)
        return [names[place] for place in left.tolist()], codes.astype(np.int64)
    every = sorted(set(values))
    place = {name: index for index, name in enumerate(every)}
    return every, np.array([place[value] for value in values], dtype=np.int64)


def lengths(texts: Sequence[str]) -> Ids:
    """Characters of each text: int64, shape (rows,)."""
    if isinstance(texts, Column):
        return texts.lengths()
    if isinstance(texts, Some):
        return lengths(texts.values)[texts.rows]
    return np.array([len(text) for text in texts], dtype=np.int64)


class Subject:
    """A model that answers in the order of an evaluation's labels.

    Args:
        model: answers.
        labels: class id -> label, of the evaluation.
        task: what it does.
    """

    def __init__(self, model: Model, labels: Sequence[str], task: Task = TASKS["text-classification"]) -> None:
        self.model, self.labels, self.task = model, tuple(labels), task
        self._whole = not task.one_label
        same = self._whole or tuple(model.labels) == tuple(labels)
        self._order = None if same else [model.labels.index(label) for label in labels]

    def aligned(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probabilities of the model, float32, shape (rows, labels), in the evaluation's order."""
        return scores if self._order is None else scores[:, self._order]

    def said(self, texts: Sequence[str]) -> Said:
        """The answers, batched as the model is served."""
        return self.model.said(texts) if self._whole else self._said(self.model.scores(texts))

    def alone(self, texts: Sequence[str]) -> Said:
        """The answers to each text without batch-mates."""
        return self.model.said_alone(texts) if self._whole else self._said(self.model.alone(texts))

    def _said(self, scores: NDArray[np.float32]) -> Said:
        found = self.aligned(scores)
        labels = [self.labels[label] for label in found.argmax(axis=1).tolist()]
        return Said(labels=labels, scores=found.max(axis=1, initial=0.0), probabilities=found)


def chances(said: Said) -> NDArray[np.float32]:
    """The probabilities of all labels, float32, shape (rows, labels).

    Raises:
        ValueError: there are none; suites are checked for that beforehand.
    """
    if said.probabilities is None:
        raise ValueError("these answers have no probabilities of labels")
    return said.probabilities


def subjects(baseline: Model, candidate: Model, task: Task = TASKS["text-classification"]) -> tuple[Subject, Subject]:
    """Both models in the order of the candidate's labels: brought together by name, never by place.

    Raises:
        ModelError: a label that only one of them has. Of a service that does not state its own nothing is known.
    """
    before, after = (set(task.known_names(model.labels)) for model in (baseline, candidate))
    odd = sorted(before ^ after) if baseline.labels and candidate.labels else []
    if odd:
        has, lacks = (baseline, candidate) if odd[0] in before else (candidate, baseline)
        raise ModelError(
            f"{has.name} has the label {odd[0]!r}, and {lacks.name} does not",
            cause="they were trained on other labels, or name them otherwise; a label's place in the list says nothing",
            fix=did_you_mean(odd[0], task.known_names(lacks.labels)) or "compare models that answer the same question",
        )
    judged = Subject(candidate, candidate.labels, task)
    return (judged if baseline is candidate else Subject(baseline, candidate.labels, task)), judged


def answer(table: pa.Table, baseline: Subject, candidate: Subject, *, task: Task,
           ask: Callable[[Model], NDArray[np.float32]]) -> Answers:  # fmt: skip
    """Both models' answers to the rows of a split.

    Args:
        table: the rows: ``text``, ``label``, ``id``, and further columns to cut them by.
        baseline, candidate: the models; the same one twice is asked once.
        task: what they do.
        ask: a model's probabilities for the rows: float32, shape (rows, labels), in the order of its own labels.

    Raises:
        DataError: a row with a label that the models do not have.
    """
    if not task.one_label:
        return _strings(table, baseline, candidate, task)
    labels = candidate.model.labels
    known, codes = Column(table["label"]).encoded()
    references = task.targets(known, labels)[codes]
    now = Answer(probabilities=candidate.aligned(ask(candidate.model)))
    was = now if baseline is candidate else Answer(probabilities=baseline.aligned(ask(baseline.model)))
    return Answers(
        ids=Column(table["id"]),
        texts=Column(table["text"]),
        columns=_columns(table),
        labels=labels,
        references=references,
        baseline=was,
        candidate=now,
    )


def _strings(table: pa.Table, baseline: Subject, candidate: Subject, task: Task) -> Answers:
    """The answers where a row's label is all its spans, several names, or what lies near it: class ids are those
    of the labels that occur."""
    texts = Column(table["text"])
    now = candidate.said(texts)
    was = now if baseline is candidate else baseline.said(texts)
    labels, (references, before, after) = numbered(*task.compared(Column(table["label"]), [was.labels, now.labels]))
    answered = Answer(given=(after, now.scores))
    return Answers(
        ids=Column(table["id"]),
        texts=texts,
        columns=_columns(table),
        labels=labels,
        references=references,
        baseline=answered if baseline is candidate else Answer(given=(before, was.scores)),
        candidate=answered,
        task=task,
    )


def _columns(table: pa.Table) -> dict[str, Column]:
    return {name: Column(table[name]) for name in table.column_names if name not in _KNOWN_COLUMNS}


def confusion(references: Ids, predictions: Ids, classes: int) -> tuple[tuple[int, ...], ...]:
    """Rows by [true][predicted] class id."""
    counts = np.bincount(references * classes + predictions, minlength=classes * classes)
    return tuple(tuple(row) for row in counts.reshape(classes, classes).tolist())


def flips(answers: Answers) -> list[int]:
    """Rows that the baseline has right and the candidate wrong, the surest mistakes first."""
    lost = np.flatnonzero(answers.right(answers.baseline) & ~answers.right(answers.candidate))
    order = np.lexsort((lost, -answers.candidate.scores[lost]))
    return [int(row) for row in lost[order]]


def mended(answers: Answers) -> int:
    """How many rows the baseline has wrong and the candidate right."""
    return int((~answers.right(answers.baseline) & answers.right(answers.candidate)).sum())
