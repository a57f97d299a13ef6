"""F1 as an `evaluate.Metric` that needs no network.

`evaluate.load("evaluation_suites/metrics/f1.py")` loads it. Written on its own, without ftdeploy and without
scikit-learn, so that it also runs elsewhere, and so that its agreement with the metric that the gates use means
something.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable

import datasets
import evaluate


class F1(evaluate.Metric):  # type: ignore[misc] # evaluate ships no types
    """Harmonic mean of precision and recall."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="Of each class, 2 tp / (2 tp + fp + fn).",
            citation="",
            inputs_description="predictions, references: class ids, one integer a row. average: macro (the default), "
            "micro, weighted, or None for a list, one of each class in the order of the ids. labels: the ids to look "
            "at; those that occur, if not given.",
            features=datasets.Features({"predictions": datasets.Value("int64"), "references": datasets.Value("int64")}),
        )

    def _compute(self, predictions: list[int], references: list[int], average: str | None = "macro",
                 labels: Iterable[int] | None = None) -> dict[str, float | list[float]]:  # fmt: skip
        guessed, true = Counter(predictions), Counter(references)
        hits = Counter(guess for guess, truth in zip(predictions, references, strict=True) if guess == truth)
        classes = sorted(guessed.keys() | true.keys()) if labels is None else list(labels)

        def quotient(over: float, under: float) -> float:
            return over / under if under else 0.0

        each: list[float] = [quotient(2 * hits[c], guessed[c] + true[c]) for c in classes]
        if average is None:
            return {"f1": each}
        if average == "micro":
            return {"f1": quotient(2 * sum(hits[c] for c in classes), sum(guessed[c] + true[c] for c in classes))}
        if average not in ("macro", "weighted"):
            raise ValueError(f"average {average!r} is not micro, macro, weighted or None")
        weights: list[float] = [true[c] if average == "weighted" else 1 for c in classes]
        return {"f1": quotient(math.fsum(w * s for w, s in zip(weights, each, strict=True)), sum(weights))}
