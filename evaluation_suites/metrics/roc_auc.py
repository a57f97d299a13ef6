"""The area under the ROC curve as an `evaluate.Metric` that needs no network.

`evaluate.load("evaluation_suites/metrics/roc_auc.py")` loads it. Written on its own, without ftdeploy and without
scikit-learn, so that it also runs elsewhere, and so that its agreement with the metric that the gates use means
something.
"""

from __future__ import annotations

from itertools import groupby

import datasets
import evaluate


class RocAuc(evaluate.Metric):  # type: ignore[misc] # evaluate ships no types
    """Probability that a row of a class has a higher score for it than one that is of another."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="Of two classes, the last one's area; of more, the mean of each against the rest, over those "
            "for which there are rows on both sides.",
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
            if (value := _area([truth == c for truth in references], [row[c] for row in prediction_scores])) is not None
        ]
        return {"roc_auc": sum(found) / len(found) if found else 0.5}


def _area(positive: list[bool], scores: list[float]) -> float | None:
    """By the sum of the positives' ranks, ties sharing theirs; None when one side has no row."""
    count, rest = sum(positive), len(positive) - sum(positive)
    if not count or not rest:
        return None
    ranks, below = 0.0, 0
    for _, tied in groupby(sorted(zip(scores, positive, strict=True)), key=lambda row: row[0]):
        members = [is_positive for _, is_positive in tied]
        ranks += sum(members) * (below + (len(members) + 1) / 2)
        below += len(members)
    return (ranks - count * (count + 1) / 2) / (count * rest)
