"""Exact match as an `evaluate.Metric` that needs no network.

`evaluate.load("evaluation_suites/metrics/exact_match.py")` loads it. Written on its own, without ftdeploy and without
any other library, so that it also runs elsewhere, and so that its agreement with what others compute means something.
"""

from __future__ import annotations

import datasets
import evaluate


class ExactMatch(evaluate.Metric):  # type: ignore[misc] # evaluate ships no types
    """Share of texts that are the reference, letter by letter."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="Share of predictions that equal their reference.",
            citation="",
            inputs_description="predictions, references: texts. ignore_case: compare in lower case. ignore_space: runs "
            "of white space count as one blank, and none at the ends.",
            features=datasets.Features(dict.fromkeys(("predictions", "references"), datasets.Value("string"))),
        )

    def _compute(self, predictions: list[str], references: list[str], *, ignore_case: bool = False,
                 ignore_space: bool = False) -> dict[str, float]:  # fmt: skip
        def plain(text: str) -> str:
            text = text.lower() if ignore_case else text
            return " ".join(text.split()) if ignore_space else text

        right = sum(plain(guess) == plain(truth) for guess, truth in zip(predictions, references, strict=True))
        return {"exact_match": right / len(references)}
