"""Matthews' correlation as an `evaluate.Metric` that needs no network.

`evaluate.load("evaluation_suites/metrics/matthews_correlation.py")` loads it. Written on its own, without ftdeploy and
without scikit-learn, so that it also runs elsewhere, and so that its agreement with the metric that the gates use means
something.
"""

from __future__ import annotations

from collections import Counter

import datasets
import evaluate


class MatthewsCorrelation(evaluate.Metric):  # type: ignore[misc] # evaluate ships no types
    """Correlation between what is predicted and what is true, of any number of classes."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="Correlation of the indicators of the classes, from -1 to 1; 0 where one side is constant.",
            citation="Gorodkin (2004). Comparing two K-category assignments by a K-category correlation coefficient.",
            inputs_description="predictions, references: class ids, one integer a row.",
            features=datasets.Features({"predictions": datasets.Value("int64"), "references": datasets.Value("int64")}),
        )

    def _compute(self, predictions: list[int], references: list[int]) -> dict[str, float]:
        guessed, true, rows = Counter(predictions), Counter(references), len(references)
        right = sum(guess == truth for guess, truth in zip(predictions, references, strict=True))
        together = right * rows - sum(guessed[c] * true[c] for c in true)
        spread = [rows**2 - sum(count**2 for count in counts.values()) for counts in (guessed, true)]
        product = spread[0] * spread[1]
        return {"matthews_correlation": together / product**0.5 if product else 0.0}
