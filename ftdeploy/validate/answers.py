"""What both models answer to the same rows: everything that gates and reports are computed from.

Texts and columns stay in Arrow: a Python string is made of a row when somebody looks at it, so that a hundred thousand
rows take little more than the table that they came in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, overload

import numpy as np

from ftdeploy.errors import ModelError, did_you_mean
from ftdeploy.metrics import Floats, Ids, Named
from ftdeploy.tasks import Task

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
    """One model's answers to all rows.

    Attributes:
        probabilities: of each label, float32, shape (rows, labels).
    """

    probabilities: NDArray[np.float32]

    @cached_property
    def predictions(self) -> Ids:
        """Class ids of the likeliest labels, int64, shape (rows,); of equal ones the first."""
        return np.asarray(self.probabilities.argmax(axis=1), dtype=np.int64)

    @cached_property
    def scores(self) -> NDArray[np.float32]:
        """Probability of the predicted label, float32, shape (rows,)."""
        return np.asarray(self.probabilities.max(axis=1, initial=0.0))

    def wanted(self, metric: Named) -> Floats | None:
        """The probabilities as float64 where a metric is computed from them."""
        return self.probabilities.astype(np.float64) if metric.needs_scores else None


@dataclass(frozen=True, kw_only=True)
class Answers:
    """The rows, what is true, and what each model says.

    Attributes:
        ids, texts: of the rows.
        columns: further columns to cut the rows by: name -> one value a row.
        labels: class id -> label, in the candidate's order.
        references: true class ids, int64, shape (rows,).
        baseline, candidate: the answers, both in the order of ``labels``.
    """

    ids: Sequence[str]
    texts: Sequence[str]
    columns: Mapping[str, Sequence[str]]
    labels: Sequence[str]
    references: Ids
    baseline: Answer
    candidate: Answer

    def __len__(self) -> int:
        return len(self.references)

    def take(self, rows: Ids) -> Answers:
        """Some of the rows, in the order given; one model stays one."""
        now = Answer(probabilities=self.candidate.probabilities[rows])
        same = self.baseline is self.candidate
        return Answers(
            ids=Some(self.ids, rows),
            texts=Some(self.texts, rows),
            columns={name: Some(values, rows) for name, values in self.columns.items()},
            labels=self.labels,
            references=self.references[rows],
            baseline=now if same else Answer(probabilities=self.baseline.probabilities[rows]),
            candidate=now,
        )


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
    """

    def __init__(self, model: Model, labels: Sequence[str]) -> None:
        self.model = model
        same = tuple(model.labels) == tuple(labels)
        self._order = None if same else [model.labels.index(label) for label in labels]

    def aligned(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probabilities of the model, float32, shape (rows, labels), in the evaluation's order."""
        return scores if self._order is None else scores[:, self._order]

    def scores(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Probabilities, batched as the model is served: float32, shape (texts, labels)."""
        return self.aligned(self.model.scores(texts))

    def alone(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Probabilities of each text without batch-mates: float32, shape (texts, labels)."""
        return self.aligned(self.model.alone(texts))


def subjects(baseline: Model, candidate: Model) -> tuple[Subject, Subject]:
    """Both models in the order of the candidate's labels: brought together by name, never by place.

    Raises:
        ModelError: a label that only one of them has.
    """
    odd = sorted(set(baseline.labels) ^ set(candidate.labels))
    if odd:
        has, lacks = (baseline, candidate) if odd[0] in baseline.labels else (candidate, baseline)
        raise ModelError(
            f"{has.name} has the label {odd[0]!r}, and {lacks.name} does not",
            cause="they were trained on other labels, or name them otherwise; a label's place in the list says nothing",
            fix=did_you_mean(odd[0], lacks.labels) or "compare models that answer the same question",
        )
    after = Subject(candidate, candidate.labels)
    return (after if baseline is candidate else Subject(baseline, candidate.labels)), after


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
    labels = candidate.model.labels
    known, codes = Column(table["label"]).encoded()
    references = task.targets(known, labels)[codes]
    now = Answer(probabilities=candidate.aligned(ask(candidate.model)))
    was = now if baseline is candidate else Answer(probabilities=baseline.aligned(ask(baseline.model)))
    return Answers(
        ids=Column(table["id"]),
        texts=Column(table["text"]),
        columns={name: Column(table[name]) for name in table.column_names if name not in _KNOWN_COLUMNS},
        labels=labels,
        references=references,
        baseline=was,
        candidate=now,
    )


def confusion(references: Ids, predictions: Ids, classes: int) -> tuple[tuple[int, ...], ...]:
    """Rows by [true][predicted] class id."""
    counts = np.bincount(references * classes + predictions, minlength=classes * classes)
    return tuple(tuple(row) for row in counts.reshape(classes, classes).tolist())


def flips(answers: Answers) -> list[int]:
    """Rows that the baseline has right and the candidate wrong, the surest mistakes first."""
    was, now = answers.baseline.predictions, answers.candidate.predictions
    lost = np.flatnonzero((was == answers.references) & (now != answers.references))
    order = np.lexsort((lost, -answers.candidate.scores[lost]))
    return [int(row) for row in lost[order]]


def mended(answers: Answers) -> int:
    """How many rows the baseline has wrong and the candidate right."""
    was, now = answers.baseline.predictions, answers.candidate.predictions
    return int(((was != answers.references) & (now == answers.references)).sum())
