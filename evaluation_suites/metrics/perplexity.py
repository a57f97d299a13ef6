"""Perplexity as an `evaluate.Metric` that needs no network.

`evaluate.load("evaluation_suites/metrics/perplexity.py")` loads it. Written on its own, without ftdeploy and without
any other library, so that it also runs elsewhere, and so that its agreement with what others compute means something.
"""

from __future__ import annotations

import math

import datasets
import evaluate


class Perplexity(evaluate.Metric):  # type: ignore[misc] # evaluate ships no types
    """How many tokens a language model hesitates between, from the likelihoods that it gave; no model is loaded."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="exp of the mean negative log likelihood of a token: over all tokens (perplexity), and as the "
            "mean of the texts' own (mean_perplexity). Lower is better.",
            citation="",
            inputs_description="predictions: the natural logarithm of each token's likelihood, a list a text; texts "
            "without a token are left out.",
            features=datasets.Features({"predictions": datasets.Sequence(datasets.Value("float64"))}),
        )

    def _compute(self, predictions: list[list[float]]) -> dict[str, float | list[float]]:
        texts = [tokens for tokens in predictions if len(tokens)]
        each = [math.exp(-math.fsum(tokens) / len(tokens)) for tokens in texts]
        total = math.fsum(value for tokens in texts for value in tokens)
        return {
            "perplexity": math.exp(-total / sum(map(len, texts))),
            "mean_perplexity": sum(each) / len(each),
            "perplexities": each,
        }
