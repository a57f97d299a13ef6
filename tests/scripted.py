"""Answers out of arrays, and a model that answers by a formula: for tests of what is made of answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ftdeploy.encoded import Encoded
from ftdeploy.measure import Opened
from ftdeploy.models.model import Kind, OneLabel, no_advance
from ftdeploy.validate.answers import Answer

Scores = NDArray[np.float32]


def sure(predictions: Sequence[int] | NDArray[np.int64], score: float = 0.9, *, labels: int = 2) -> Answer:
    """Answers that give each predicted label a probability, and the others alike what is left."""
    rows = np.asarray(predictions, dtype=np.int64)
    probabilities = np.full((len(rows), labels), (1 - score) / (labels - 1), dtype=np.float32)
    probabilities[np.arange(len(rows)), rows] = score
    return Answer(probabilities=probabilities)


class ScriptedModel(OneLabel):
    """A `ftdeploy.models.Model` that answers by a formula, and notes how often it is asked.

    Args:
        answer: texts -> probabilities, float32, shape (texts, labels).
        labels: class id -> label.
        name: which makes its digest.
        size: bytes that it claims to have; 0 is not known.
        together: how the answers of several texts come out of one call; for models that mix them up.
    """

    kind: Kind = "service"
    cacheable = False
    max_length = None
    provider = "a formula"
    folder: Path | None = None

    def __init__(self, answer: Callable[[Sequence[str]], Scores], labels: Sequence[str] = ("no", "yes"), *,
                 name: str = "scripted", size: int = 100,
                 together: Callable[[Scores], Scores] = lambda scores: scores) -> None:  # fmt: skip
        self._answer, self._together, self._size = answer, together, size
        self.labels, self.name = tuple(labels), name
        self.about, self.digest = f"formula {name}", name
        self.conditions: Mapping[str, str | int] = {"runtime": name}
        self.asked = 0

    def scores(self, texts: Sequence[str], *, advance: Callable[[float], None] = no_advance) -> Scores:
        """See `ftdeploy.models.Model`."""
        self.asked += len(texts)
        advance(len(texts))
        return self._together(self._answer(texts))

    def alone(self, texts: Sequence[str]) -> Scores:
        """See `ftdeploy.models.Model`."""
        return np.concatenate([self._answer([text]) for text in texts])

    def timed(self) -> Opened:
        """See `ftdeploy.models.Model`."""
        return Opened(runner=_Runner(), lanes=1, size=self._size)

    def close(self) -> None:
        """See `ftdeploy.models.Model`."""


class _Runner:
    """Takes a text's bytes for its tokens, and no time."""

    provider = "a formula"

    def encode(self, texts: Sequence[str]) -> list[Encoded]:
        return [Encoded(ids=list(text.encode()), length=len(text), unknown=0) for text in texts]

    def run(self, rows: Sequence[Sequence[int]]) -> None:
        pass
