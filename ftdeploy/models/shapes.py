"""What services answer, read out of their JSON: labels with scores, entities, and vectors; and how a service is asked
for it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ftdeploy.tasks import TASKS, Task

#: One row's scores: label -> probability.
Scored = dict[str, float]
#: One row's entities, as far as they are read: ``entity_group``, ``start``, ``end`` and ``score``.
Found = list[dict[str, Any]]
#: One row's vector.
Vector = list[float]
#: What is asked where nobody says what else.
ONE_LABEL = TASKS["text-classification"]
_PLACE = ("entity_group", "start", "end")


class ShapeError(Exception):
    """An answer that is not of the form that was asked for; says in what."""


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """How a service is asked.

    Attributes:
        name: for people.
        path: where questions are posted.
        body: texts -> what is posted.
        read: (the answer's JSON, texts asked) -> each row's labels with scores, `Scored`; or its entities, `Found`,
            where each token is labelled; or its `Vector`.

            Raises `ShapeError`.
        task: what is asked of it.
        labels: class id -> label, as the service states them; None where it does not.
        thresholds: from where on labels hold, as it states it, where any number of them are an answer.
        digest: of its model, as it states it; empty where it does not.
        max_length: tokens of the longest input, where it says so.
        texts: most in a request, where it says so.
        metadata: what else it says of itself.
        pairs: whether a text is two (`ftdeploy.pairs`); None where it does not say.
    """

    name: str
    path: str
    body: Callable[[Sequence[str]], Mapping[str, Any]]
    read: Callable[[Any, int], list[Any]]
    task: Task = ONE_LABEL
    labels: tuple[str, ...] | None = None
    thresholds: Mapping[str, float] = field(default_factory=dict)
    digest: str = ""
    max_length: int | None = None
    texts: int | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    pairs: bool | None = None


def read_labelled(document: Any, rows: int) -> list[Scored]:
    """Rows of labels with scores, as pipelines of transformers, TEI and our ``/predict`` give them.

    Raises:
        ShapeError: it is something else, or holds the best label only.
    """
    found = _answers(document)
    if found and all(isinstance(one, dict) for one in found):
        if rows > 1:
            raise ShapeError("it holds one label for each text, or answers the texts as one; all labels are wanted")
        found = [found]
    return [_labelled(row) for row in found]


def read_found(document: Any, rows: int) -> list[Found]:
    """Rows of entities, as pipelines of transformers with an aggregation and our ``/predict`` give them.

    Raises:
        ShapeError: it is something else, or holds tokens and their tags.
    """
    found = _answers(document)
    if rows == 1 and all(isinstance(one, dict) for one in found):  # bare; or one text without any, which looks so
        found = [found]
    return [entities_of(row) for row in found]


def entities_of(row: Any) -> Found:
    """The entities of one text, without their words, which tokenizers may write in another way.

    Raises:
        ShapeError: it is something else.
    """
    if not isinstance(row, list):
        raise ShapeError(f"a text's answer is a list of entities, not {kind_of(row)}")
    for one in row:
        if isinstance(one, dict) and "entity" in one:
            raise ShapeError("it holds the tag of each token; entities are wanted, as an aggregation makes them")
        if not isinstance(one, dict) or not all(name in one for name in _PLACE) or not is_number(one.get("score", 1)):
            raise ShapeError('an entity is wanted as {"entity_group": "...", "start": 0, "end": 8, "score": 0.9}')
    return [{name: one[name] for name in _PLACE} | {"score": float(one.get("score", 1))} for one in row]


def read_vectors(document: Any, rows: int) -> list[Vector]:  # noqa: ARG001  # as all readers
    """A vector for each text, as TEI and our ``/embed`` give them.

    Raises:
        ShapeError: it is something else, or holds a vector for each token.
    """
    found = _answers(document)
    for row in found:
        if isinstance(row, list) and row and isinstance(row[0], list):
            raise ShapeError("it holds a vector for each token; one for each text is wanted")
        if not isinstance(row, list):
            raise ShapeError(f"a text's answer is a list of numbers, not {kind_of(row)}")
        if not all(map(is_number, row)):
            raise ShapeError("a vector holds what is no number")
        if not any(row):
            raise ShapeError("a vector is empty, or holds zeros only, which is near to nothing")
    if len(set(map(len, found))) > 1:
        raise ShapeError(f"vectors of {' and '.join(map(str, sorted(set(map(len, found)))))} numbers are in one answer")
    return found


def _answers(document: Any) -> list[Any]:
    found = document.get("predictions") if isinstance(document, dict) else document
    if not isinstance(found, list):
        raise ShapeError(f"a list with an answer for each text is wanted, not {kind_of(document)}")
    return found


def _labelled(row: Any) -> Scored:
    if not isinstance(row, list):
        raise ShapeError(f"a text's answer is a list of labels with scores, not {kind_of(row)}")
    scored: Scored = {}
    for one in row:
        if not isinstance(one, dict) or not isinstance(one.get("label"), str) or not is_number(one.get("score")):
            raise ShapeError('a label and its score are wanted as {"label": "...", "score": 0.5}')
        scored[one["label"]] = float(one["score"])
    if len(scored) != len(row):
        raise ShapeError("a label stands twice in an answer")
    return scored


def whole(value: Any) -> int | None:
    """A limit that a service states; what is no positive whole number is none."""
    return value if isinstance(value, int) and value > 0 else None


def shares_in(value: Any) -> dict[str, float]:
    """Thresholds that a service states; what is no share of a label is none."""
    given = value if isinstance(value, dict) else {}
    return {str(label): float(least) for label, least in given.items() if is_number(least)}


def is_number(value: Any) -> bool:
    """Whether a value of JSON is a number, and a finite one."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def kind_of(value: Any) -> str:
    """What a value of JSON is, for messages."""
    names = {dict: "an object", list: "a list", str: "a text", bool: "a truth value", type(None): "nothing"}
    return names.get(type(value), "a number")
