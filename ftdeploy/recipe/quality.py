"""The search for wrong labels."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from ftdeploy.document import Section
from ftdeploy.origin import Origin, RecipePath


class Quality(Section):
    """Rows that are probably labelled wrongly (confident learning), rows that could be either, and rows unlike all
    others; listed in the dataset's `suspects.csv` for review. Wants the extra `data`."""

    out_of_fold: RecipePath | None = None
    """Predictions for rows that the model had not learned from: `out_of_fold.parquet` of `ftdeploy cross-validate`. The
    better the model, the better the list. Without it, quick models are made in passing: logistic regression on TF-IDF
    of words, pairs of words and pieces of words."""
    encoder: Origin | None = None
    """A checkpoint folder (often that of `model`) whose frozen, mean-pooled embeddings make a second quick model; the
    mean of both finds more than either. It costs about as much as a third of an epoch of training."""
    folds: int = Field(default=5, ge=2, le=20)
    """Parts into which the training rows are divided for the quick models: each part is judged by a model of the
    others."""
    action: Literal["report", "drop", "down-weight"] = "report"
    """What becomes of training rows that are probably labelled wrongly: `drop` leaves them out, `down-weight` lets them
    count less in the loss. Rows of the validation and test splits are only ever listed."""
    max_share: float = Field(default=0.03, gt=0, le=0.5)
    """At most this share of the training rows is dropped or down-weighted, the surest first."""
    weight: float = Field(default=0.2, gt=0, lt=1)
    """With `down-weight`: what a suspect counts, where another row counts 1."""
    listed: int = Field(default=1000, ge=1)
    """At most so many rows of each kind are listed."""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if self.out_of_fold is not None and self.encoder is not None:
            raise ValueError("out_of_fold and encoder exclude each other: predictions that there are, or quick ones")
        return self
