"""The log loss as an `evaluate.Metric` that needs no network.

`evaluate.load("evaluation_suites/metrics/log_loss.py")` loads it. Written on its own, without ftdeploy and without
scikit-learn, so that it also runs elsewhere, and so that its agreement with the metric that the gates use means
something.
"""

from __future__ import annotations

import math

import datasets
import evaluate


class LogLoss(evaluate.Metric):  # type: ignore[misc] # evaluate ships no types
    """Mean negative log likelihood of the true class; lower is better."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="Mean over the rows of minus the natural logarithm of the true class's probability.",
            citation="",
            inputs_description="references: class ids, one integer a row. prediction_scores: probabilities of all "
            "classes, a list a row. least: what a probability counts as at least.",
            features=datasets.Features(
                {
                    "references": datasets.Value("int64"),
                    "prediction_scores": datasets.Sequence(datasets.Value("float64")),
                }
            ),
        )

    def _compute(self, references: list[int], prediction_scores: list[list[float]],
                 least: float = 2.0**-23) -> dict[str, float]:  # fmt: skip
        rows = zip(references, prediction_scores, strict=True)
        total = -math.fsum(math.log(min(1.0, max(least, scores[truth]))) for truth, scores in rows)
        return {"log_loss": total / len(references)}
