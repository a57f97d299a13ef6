"""Accuracy as an `evaluate.Metric` that needs no network: `evaluate.load("evaluation_suites/metrics/accuracy.py")`.

Written on its own, without ftdeploy and without scikit-learn, so that it also runs elsewhere, and so that its agreement
with the metric that the gates use means something.
"""

from __future__ import annotations

import datasets
import evaluate


class Accuracy(evaluate.Metric):  # type: ignore[misc] # evaluate ships no types
    """Share of rows whose predicted class is the true one."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="Share of rows whose predicted class is the true one.",
            citation="",
            inputs_description="predictions, references: class ids, one integer a row.",
            features=datasets.Features({"predictions": datasets.Value("int64"), "references": datasets.Value("int64")}),
        )

    def _compute(self, predictions: list[int], references: list[int]) -> dict[str, float]:
        right = sum(guess == truth for guess, truth in zip(predictions, references, strict=True))
        return {"accuracy": right / len(references)}
