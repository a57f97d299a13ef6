"""What a service was heard to say, as answers: probabilities of labels, labels as the data writes them, or vectors."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ftdeploy.models.shapes import Found, Scored, Vector
from ftdeploy.tasks import Task
from ftdeploy.tasks.said import Said, numbered, said_of_shares
from ftdeploy.values import dump

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

#: How far a row's probabilities may be from a sum of 1, or from 0 and 1: services round.
_ROUNDING = 0.02


class WrongAnswerError(Exception):
    """An answer that cannot be used: what is wrong with it, the likely cause, and what to do."""

    def __init__(self, what: str, *, cause: str, fix: str) -> None:
        super().__init__(what)
        self.what, self.cause, self.fix = what, cause, fix


@dataclass(frozen=True, kw_only=True)
class Hearing:
    """How the answers of a service are taken.

    Attributes:
        task: what it is asked.
        labels: class id -> label, of the answers that come out.
        stated: class id -> label, as the service calls them.
        thresholds: from where on a label holds, as it calls them.
        width: how many numbers an answer has, where it is a vector.
    """

    task: Task
    labels: tuple[str, ...]
    stated: tuple[str, ...]
    thresholds: Mapping[str, float] = field(default_factory=dict)
    width: int = 0

    def vectors(self, rows: Sequence[Vector]) -> NDArray[np.float32]:
        """Vectors as float32, shape (rows, width).

        Raises:
            WrongAnswerError: they are of another width.
        """
        odd = next((len(row) for row in rows if len(row) != self.width), None)
        if odd is not None:
            raise WrongAnswerError(
                f"gave vectors of {self.width} numbers, and gives {odd} now",
                cause="another model was deployed during the evaluation, or several stand behind the address",
                fix="run again when the deployment is through; name the address of one of them",
            )
        return np.array(rows, dtype=np.float32).reshape(-1, self.width)

    def matrix(self, rows: Sequence[Scored]) -> NDArray[np.float32]:
        """Labels' scores as float32, shape (rows, labels), after checking that they are probabilities of all labels, or
        numbers.

        Raises:
            WrongAnswerError: they are not.
        """
        columns = {label: column for column, label in enumerate(self.stated)}
        found = np.empty((len(rows), len(columns)), dtype=np.float32)
        for index, row in enumerate(rows):
            if row.keys() != columns.keys():
                odd = min(row.keys() ^ columns.keys())
                raise WrongAnswerError(
                    f"answers {'with' if odd in row else 'without'} the label {odd!r}",
                    cause="it keeps labels of low score to itself, or has others than it states",
                    fix="let it answer with the scores of all labels",
                )
            for label, score in row.items():
                found[index, columns[label]] = score
        if self.task.multi_label:
            _check_own(found)
        elif not self.task.number and len(columns) > 1:
            _check_shared(found)
        return found

    def said(self, rows: Sequence[Scored] | Sequence[Found], texts: Sequence[str]) -> Said:
        """The answers as the data writes its labels, where these are not one of few.

        Args:
            rows: one a text.
            texts: that they are of.

        Raises:
            WrongAnswerError: they are none of this task.
        """
        if self.task.per_token:
            return self._entities(rows, texts)  # type: ignore[arg-type]  # what the dialect read by the same flag
        found = self.matrix(rows)  # type: ignore[arg-type]
        if self.task.multi_label:
            named = dict(zip(self.stated, self.labels, strict=True))
            least = {named[label]: share for label, share in self.thresholds.items() if label in named}
            return said_of_shares(found, self.labels, least)
        return Said(labels=[dump(value) for value in found[:, 0].tolist()], scores=found[:, 0])

    def figures(self, *answered: Sequence[Any]) -> list[NDArray[np.float32]]:
        """Several lists of answers as numbers that tell them apart, float32, shape (rows, any): entities as they came,
        since those of another text would be fitted to the one that they are held against; vectors by how near they are
        to those of the last list.

        Raises:
            WrongAnswerError: see `matrix`.
        """
        if self.task.vectors:
            found = [self.vectors(rows) for rows in answered]
            unit = [one / np.linalg.norm(one, axis=1, keepdims=True) for one in found]
            return [np.asarray(one @ unit[-1].T, dtype=np.float32) for one in unit]
        if not self.task.per_token:
            return [self.matrix(rows) for rows in answered]
        told = [[json.dumps([{**one, "score": 0} for one in row]) for row in rows] for rows in answered]
        _, ids = numbered(*told)
        return [one[:, None].astype(np.float32) for one in ids]

    def _entities(self, rows: Sequence[Found], texts: Sequence[str]) -> Said:
        """Entities as the task reads those that people send; how sure the service is of a text, the mean over them."""
        outputs = self.labels
        if not outputs:  # it does not state its kinds: all that it says are some
            outputs = self.task.head(sorted({str(one["entity_group"]) for row in rows for one in row}))
        labels = []
        for row, text in zip(rows, texts, strict=True):
            places = [{name: value for name, value in one.items() if name != "score"} for one in row]
            try:
                labels.append(self.task.true_label(places, outputs, text))
            except ValueError as error:
                raise WrongAnswerError(
                    f"answers with entities that are none of the text's: {error}",
                    cause="it counts bytes or tokens and no characters, has kinds that it does not state, or its "
                    "entities overlap",
                    fix="let it answer with entity_group, start and end in characters of the text, the end exclusive",
                ) from error
        sure = [float(np.mean([one["score"] for one in row])) if row else 1.0 for row in rows]
        return Said(labels=labels, scores=np.array(sure, dtype=np.float32))


def _check_shared(found: NDArray[np.float32]) -> None:
    sums = found.sum(axis=1)
    if len(found) and (float(found.min()) < -_ROUNDING or float(np.abs(sums - 1).max()) > _ROUNDING):
        raise WrongAnswerError(
            f"gives scores that are no probabilities: {found[int(np.abs(sums - 1).argmax())].tolist()}",
            cause="it gives logits, or one score for each label on its own (a sigmoid)",
            fix="let it give the softmax over the labels; where any number may hold, say so by the suite's `task`",
        )


def _check_own(found: NDArray[np.float32]) -> None:
    beyond = np.maximum(-found, found - 1)
    if len(found) and float(beyond.max()) > _ROUNDING:
        raise WrongAnswerError(
            f"gives scores that are no probabilities: {found[int(beyond.max(axis=1).argmax())].tolist()}",
            cause="it gives logits",
            fix="let it give each label's own probability (a sigmoid)",
        )
