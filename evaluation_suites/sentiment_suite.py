"""The rows of sentiment.yaml for plain `evaluate`, without gates and without a network:

    suite = evaluate.EvaluationSuite.load("evaluation_suites/sentiment_suite.py")
    suite.run(pipeline)  # of transformers, or ftdeploy.models.as_pipeline(model)

Gates, intervals and a report come with `ftdeploy eval sentiment --candidate MODEL`.
"""

from __future__ import annotations

import evaluate

from ftdeploy.evaluation.hf import subtasks


class Suite(evaluate.EvaluationSuite):  # type: ignore[misc] # evaluate ships no types
    """`evaluate` looks for a class of this name."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.suite = subtasks("sentiment")
