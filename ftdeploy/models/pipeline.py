"""A model as a pipeline of transformers, as far as `evaluate` uses one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ftdeploy.models.model import Model
from ftdeploy.pairs import join

#: Texts that are held at a time.
_PIECE = 8192


class Pipeline:
    """What `evaluate.evaluator("text-classification")` takes as ``model_or_pipeline``; see `as_pipeline`."""

    task = "text-classification"

    def __init__(self, model: Model) -> None:
        self.model = model

    def __call__(self, inputs: str | Iterable[str | Mapping[str, str | None]],
                 **_options: Any) -> list[dict[str, Any]]:  # fmt: skip
        """The best label of each text with its score.

        Args:
            inputs: texts, or objects with ``text``, and with ``text_pair`` of a model that reads two texts, as
                `evaluate` makes of columns.
            _options: of transformers' pipeline, for tokenizer and batches, which are the model's own here.

        Raises:
            ValueError: a pair of texts for a model that reads single ones, or the other way round.
        """
        found: list[dict[str, Any]] = []
        piece: list[str] = []
        for one in [inputs] if isinstance(inputs, str) else inputs:
            piece.append(self._text(one))
            if len(piece) == _PIECE:
                found += self._best(piece)
                piece = []
        return found + (self._best(piece) if piece else [])

    def _best(self, texts: list[str]) -> list[dict[str, Any]]:
        scores = self.model.scores(texts)
        best = scores.argmax(axis=1).tolist()
        return [
            {"label": self.model.labels[label], "score": float(row[label])}
            for row, label in zip(scores, best, strict=True)
        ]

    def _text(self, one: str | Mapping[str, str | None]) -> str:
        given = {"text": one} if isinstance(one, str) else one
        second = given.get("text_pair")
        if second is not None and self.model.pairs is False:
            raise ValueError("a pair of texts was given; this model reads single texts")
        if second is None and self.model.pairs:
            raise ValueError("a single text was given; this model reads two, `text` and `text_pair`")
        first = given["text"] or ""
        return first if second is None else join(first, second)


def as_pipeline(model: Model) -> Pipeline:
    """A callable for `evaluate.evaluator("text-classification").compute` and `evaluate.EvaluationSuite.run`.

    Args:
        model: answers; it stays open.
    """
    return Pipeline(model)
