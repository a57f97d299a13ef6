"""What both models answer to the same rows: everything that gates and reports are computed from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ftdeploy import progress
from ftdeploy.batching import Batching
from ftdeploy.metrics import Ids
from ftdeploy.predictor import Predictor

if TYPE_CHECKING:
    import pyarrow as pa

_KNOWN_COLUMNS = ("text", "label", "group", "id")


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One model's answers to all rows.

    Attributes:
        predictions: class ids, int64, shape (rows,).
        scores: the score of the predicted label, one a row.
    """

    predictions: Ids
    scores: Sequence[float]


@dataclass(frozen=True, kw_only=True)
class Answers:
    """The rows, what is true, and what each model says.

    Attributes:
        ids, texts: of the rows.
        columns: further columns to cut the rows by: name -> one value a row.
        labels: class id -> label.
        references: true class ids, int64, shape (rows,).
        baseline, candidate: the answers.
    """

    ids: Sequence[str]
    texts: Sequence[str]
    columns: Mapping[str, Sequence[str]]
    labels: Sequence[str]
    references: Ids
    baseline: Answer
    candidate: Answer

    def __len__(self) -> int:
        return len(self.texts)


def answer(table: pa.Table, baseline: Predictor, candidate: Predictor, *, batching: Batching) -> Answers:
    """Both models' answers to the rows of a split.

    Args:
        table: the rows, as ``read_split`` gives them.
        baseline, candidate: the models.
        batching: how the service runs a model.

    Raises:
        DataError: a label that the baseline does not know.
    """
    texts = _strings(table, "text")
    labels = baseline.signature.labels
    with progress.task("predict", total=2 * len(texts)) as advance:
        answers = [_answer(model, texts, batching, advance) for model in (baseline, candidate)]
    return Answers(
        ids=_strings(table, "id"),
        texts=texts,
        columns={name: _strings(table, name) for name in table.column_names if name not in _KNOWN_COLUMNS},
        labels=labels,
        references=baseline.task.targets(_strings(table, "label"), labels),
        baseline=answers[0],
        candidate=answers[1],
    )


def _answer(model: Predictor, texts: Sequence[str], batching: Batching, advance: progress.Advance) -> Answer:
    logits = model.predict(texts, batching=batching, advance=advance).logits
    first = [row[0] for row in model.task.decode(logits, model.signature, top_k=1)]
    return Answer(predictions=model.task.predictions(logits), scores=[found["score"] for found in first])


def _strings(table: pa.Table, name: str) -> list[str]:
    return ["" if value is None else str(value) for value in table.column(name).to_pylist()]


def confusion(references: Ids, predictions: Ids, classes: int) -> tuple[tuple[int, ...], ...]:
    """Rows by [true][predicted] class id."""
    counts = np.bincount(references * classes + predictions, minlength=classes * classes)
    return tuple(tuple(row) for row in counts.reshape(classes, classes).tolist())


def flips(answers: Answers) -> list[int]:
    """Rows that the baseline has right and the candidate wrong, the surest mistakes first."""
    was, now = answers.baseline.predictions, answers.candidate.predictions
    lost = np.flatnonzero((was == answers.references) & (now != answers.references))
    return sorted(lost.tolist(), key=lambda row: (-answers.candidate.scores[row], row))


def mended(answers: Answers) -> int:
    """How many rows the baseline has wrong and the candidate right."""
    was, now = answers.baseline.predictions, answers.candidate.predictions
    return int(((was != answers.references) & (now == answers.references)).sum())
