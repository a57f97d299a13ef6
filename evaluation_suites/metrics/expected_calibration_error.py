"""The expected calibration error as an `evaluate.Metric` that needs no network.

`evaluate.load("evaluation_suites/metrics/expected_calibration_error.py")` loads it. Written on its own, without
ftdeploy and without scikit-learn, so that it also runs elsewhere, and so that its agreement with the metric that the
gates use means something.
"""

from __future__ import annotations

import math
from collections import defaultdict

import datasets
import evaluate


class ExpectedCalibrationError(evaluate.Metric):  # type: ignore[misc] # evaluate ships no types
    """How far probabilities are from how often they are right; lower is better."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="Over bins of the first label's probability, the mean of |share that is right - mean "
            "probability|, weighted with the rows.",
            citation="Guo et al. (2017). On calibration of modern neural networks.",
            inputs_description="references: class ids, one integer a row. prediction_scores: probabilities of all "
            "classes, a list a row. bins: how many, of equal width.",
            features=datasets.Features(
                {
                    "references": datasets.Value("int64"),
                    "prediction_scores": datasets.Sequence(datasets.Value("float64")),
                }
            ),
        )

    def _compute(self, references: list[int], prediction_scores: list[list[float]],
                 bins: int = 15) -> dict[str, float]:  # fmt: skip
        members: dict[int, list[float]] = defaultdict(list)
        for truth, scores in zip(references, prediction_scores, strict=True):
            sure = max(scores)
            # A bin holds its upper edge and not its lower one; the first holds 0.
            members[max(1, math.ceil(sure * bins))].append((scores.index(sure) == truth) - sure)
        total = sum(abs(math.fsum(gaps)) for gaps in members.values())
        return {"expected_calibration_error": total / len(references)}
