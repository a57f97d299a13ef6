"""chrF as an `evaluate.Metric` that needs no network.

`evaluate.load("evaluation_suites/metrics/chrf.py")` loads it. Written on its own, without ftdeploy and without
sacrebleu, so that it also runs elsewhere, and so that its agreement with it means something.
"""

from __future__ import annotations

from collections import Counter

import datasets
import evaluate


class ChrF(evaluate.Metric):  # type: ignore[misc] # evaluate ships no types
    """F-score of character n-grams, recall counting twice as much as precision; from 0 to 100."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="Over the n-grams of 1 to 6 characters, white space left out, counted over all texts: mean "
            "precision and mean recall, and their F-score.",
            citation="Popovic (2015). chrF: character n-gram F-score for automatic MT evaluation.",
            inputs_description="predictions, references: texts. order: longest n-gram. beta: weight of recall.",
            features=datasets.Features(dict.fromkeys(("predictions", "references"), datasets.Value("string"))),
        )

    def _compute(self, predictions: list[str], references: list[str], order: int = 6,
                 beta: float = 2.0) -> dict[str, float]:  # fmt: skip
        precisions, recalls = [], []
        for n in range(1, order + 1):
            guessed = true = both = 0
            for guess, truth in zip(predictions, references, strict=True):
                ours, theirs = _ngrams(guess, n), _ngrams(truth, n)
                # A text whose reference is too short for these n-grams is not held to account for its own.
                guessed += ours.total() if theirs else 0
                true += theirs.total()
                both += (ours & theirs).total()
            if guessed and true:
                precisions.append(both / guessed)
                recalls.append(both / true)
        if not any(precisions):
            return {"chrf": 0.0}
        precision, recall = sum(precisions) / len(precisions), sum(recalls) / len(recalls)
        return {"chrf": 100 * (1 + beta**2) * precision * recall / (beta**2 * precision + recall)}


def _ngrams(text: str, n: int) -> Counter[str]:
    joined = "".join(text.split())
    return Counter(joined[at : at + n] for at in range(len(joined) - n + 1))
