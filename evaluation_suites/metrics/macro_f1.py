"""Macro F1 as an `evaluate.Metric` that needs no network: `evaluate.load("evaluation_suites/metrics/macro_f1.py")`.

Written on its own, without ftdeploy and without scikit-learn, so that it also runs elsewhere, and so that its agreement
with the metric that the gates use means something.
"""

from __future__ import annotations

from collections import Counter

import datasets
import evaluate


class MacroF1(evaluate.Metric):  # type: ignore[misc] # evaluate ships no types
    """Mean of the F1 of the classes that occur among references or predictions, each with the same weight."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="Mean over the classes of F1 = 2 tp / (2 tp + fp + fn).",
            citation="",
            inputs_description="predictions, references: class ids, one integer a row.",
            features=datasets.Features({"predictions": datasets.Value("int64"), "references": datasets.Value("int64")}),
        )

    def _compute(self, predictions: list[int], references: list[int]) -> dict[str, float]:
        guessed, true = Counter(predictions), Counter(references)
        hits = Counter(guess for guess, truth in zip(predictions, references, strict=True) if guess == truth)
        classes = guessed.keys() | true.keys()
        return {"macro_f1": sum(2 * hits[c] / (guessed[c] + true[c]) for c in classes) / len(classes)}
