"""Average precision as an `evaluate.Metric` that needs no network.

`evaluate.load("evaluation_suites/metrics/average_precision.py")` loads it. Written on its own, without ftdeploy and
without scikit-learn, so that it also runs elsewhere, and so that its agreement with the metric that the gates use means
something.
"""

from __future__ import annotations

from itertools import groupby

import datasets
import evaluate


class AveragePrecision(evaluate.Metric):  # type: ignore[misc] # evaluate ships no types
    """Precision over all thresholds, weighted with the gain in recall."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="Of two classes, the last one's; of more, the mean of each against the rest, over those "
            "that occur.",
            citation="",
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
        classes = range(len(prediction_scores[0]))
        found = [
            value
            for c in (classes[-1:] if len(classes) == 2 else classes)  # noqa: PLR2004 - two classes
            if (value := _precision([truth == c for truth in references], [row[c] for row in prediction_scores]))
            is not None
        ]
        return {"average_precision": sum(found) / len(found) if found else 0.0}


def _precision(positive: list[bool], scores: list[float]) -> float | None:
    """Rows with equal scores share a threshold; None without a positive."""
    if not any(positive):
        return None
    found, hits, above = 0.0, 0, 0
    rows = sorted(zip(scores, positive, strict=True), reverse=True)
    for _, tied in groupby(rows, key=lambda row: row[0]):
        members = [is_positive for _, is_positive in tied]
        hits, above = hits + sum(members), above + len(members)
        found += sum(members) * hits / above
    return found / sum(positive)
