"""The Brier score as an `evaluate.Metric` that needs no network.

`evaluate.load("evaluation_suites/metrics/brier_score.py")` loads it. Written on its own, without ftdeploy and without
scikit-learn, so that it also runs elsewhere, and so that its agreement with the metric that the gates use means
something.
"""

from __future__ import annotations

import datasets
import evaluate


class BrierScore(evaluate.Metric):  # type: ignore[misc] # evaluate ships no types
    """Mean squared distance between probabilities and the truth; lower is better."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="Mean over the rows of the sum over the classes of (probability - truth)^2, between 0 and 2. "
            "Of two classes it is twice the score of one of them.",
            citation="Brier (1950). Verification of forecasts expressed in terms of probability.",
            inputs_description="references: class ids, one integer a row. prediction_scores: probabilities of all "
            "classes, a list a row.",
            features=datasets.Features(
                {
                    "references": datasets.Value("int64"),
                    "prediction_scores": datasets.Sequence(datasets.Value("float64")),
                }
            ),
        )

    def _compute(self, references: list[int], prediction_scores: list[list[float]]) -> dict[str, float]:
        total = sum(
            sum((score - (c == truth)) ** 2 for c, score in enumerate(scores))
            for truth, scores in zip(references, prediction_scores, strict=True)
        )
        return {"brier_score": total / len(references)}
