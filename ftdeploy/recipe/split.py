"""How rows become train, validation and test."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from ftdeploy.document import Section

Fraction = Annotated[float, Field(gt=0, lt=1)]
_MOST_HELD_OUT = 0.9


class Split(Section):
    """How rows are divided. Deterministic given the recipe's seed; independent of the order of the rows."""

    test: Fraction = 0.2
    """Share of the rows for the final verdict; never seen by training or compression."""
    validation: Fraction = 0.1
    """Share of the rows for early stopping and for choosing among compressed candidates."""
    stratify: bool = True
    """Keep the share of every label the same in each split."""

    @model_validator(mode="after")
    def _leaves_train(self) -> Self:
        if self.test + self.validation >= _MOST_HELD_OUT:
            raise ValueError("test and validation together leave less than a tenth for training")
        return self
