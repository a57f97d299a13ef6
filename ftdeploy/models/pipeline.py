"""A model as a pipeline of transformers, as far as `evaluate` uses one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ftdeploy.models.model import Model

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
            inputs: texts, or objects with ``text``, as `evaluate` makes of a column.
            _options: of transformers' pipeline, for tokenizer and batches, which are the model's own here.

        Raises:
            ValueError: a pair of texts; the models of ftdeploy answer single ones.
        """
        found: list[dict[str, Any]] = []
        piece: list[str] = []
        for one in [inputs] if isinstance(inputs, str) else inputs:
            piece.append(_text(one))
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


def _text(one: str | Mapping[str, str | None]) -> str:
    if isinstance(one, str):
        return one
    if one.get("text_pair") is not None:
        raise ValueError("a pair of texts was given; models of ftdeploy answer single texts")
    return one["text"] or ""


def as_pipeline(model: Model) -> Pipeline:
    """A callable for `evaluate.evaluator("text-classification").compute` and `evaluate.EvaluationSuite.run`.

    Args:
        model: answers; it stays open.
    """
    return Pipeline(model)
