"""BentoML's own adaptive batching: a batchable endpoint, at BentoML's defaults but for the most rows of a batch.

Usage: ``MODEL=FOLDER bentoml serve bentoml_service:Sentiment``.
"""

from __future__ import annotations

from typing import Any

import bentoml
from plain_model import PlainModel


@bentoml.service(workers=1, traffic={"timeout": 60, "max_concurrency": 2048})
class Sentiment:
    """One model."""

    def __init__(self) -> None:
        self.model = PlainModel()

    @bentoml.api(batchable=True, max_batch_size=32)  # type: ignore[untyped-decorator]  # bentoml is not typed
    def predict(self, texts: list[str]) -> list[list[dict[str, Any]]]:
        """Labels with scores."""
        return self.model.answer(texts)
