"""`ftdeploy update`: a challenger made of the champion and new rows. `ftdeploy run` does not read it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from ftdeploy.document import Section
from ftdeploy.suite import known_metric

Cost = Literal["size", "latency_p50", "latency_p95", "latency_p99", "memory"]
_MOST_HELD_OUT = 0.9


class UpdateSettings(Section):
    """How `ftdeploy update` makes a challenger of the champion and new labelled rows, and what it must show. On the old
    test rows it has to pass the gates of `validate.suite`, but for those that compare a compressed model with what it
    was made of (`flips`, `equivalence`, `ratio`)."""

    min_rows: int = Field(default=200, ge=20)
    """Fewer new labelled rows are refused; rows that the champion has seen do not count."""
    test: float = Field(default=0.4, gt=0, lt=1)
    """Share of the new rows that the challenger is judged by; they are not learned from."""
    validation: float = Field(default=0.1, gt=0, lt=1)
    """Share of the new rows for early stopping, beside the old validation rows."""
    replay: float = Field(default=1.0, gt=0, le=1)
    """Share of the old training rows that are learned once more, so that they are not forgotten; the others leave the
    dataset."""
    metric: str | None = None
    """What must be better on the new test rows; null takes the task's first metric."""
    by: float = Field(default=0.0, ge=0, lt=1)
    """Better by more than this on the new test rows, in units of the metric."""
    margin: float | None = Field(default=None, gt=0, lt=1)
    """The largest loss that is tolerated on the old test rows, in units of the metric; null keeps to the margins of the
    suite's non-inferiority gates (0.02 where it has none)."""
    budgets: Mapping[Cost, Annotated[float, Field(gt=0)]] = {"size": 1.1, "latency_p95": 1.25}
    """Cost -> the most that it may be, as a multiple of the champion's. That the challenger keeps the limits of
    `validate.suite` beside its own fp32 export is judged as in every run."""
    epochs: int | None = Field(default=None, ge=1, le=1000)
    """Passes over the rows; null is `train.epochs`."""
    learning_rate: float | None = Field(default=None, gt=0, lt=1)
    """Peak learning rate of all layers and the head; null takes half of `train.learning_rate`: the champion has
    learned already, its head, too, and at the whole one it forgot more of the old rows."""

    @field_validator("metric")
    @classmethod
    def _metric_is_known(cls, value: str | None) -> str | None:
        return None if value is None else known_metric(value)

    @model_validator(mode="after")
    def _rows_are_left(self) -> Self:
        if self.test + self.validation >= _MOST_HELD_OUT:
            raise ValueError("test and validation together leave less than a tenth of the new rows for training")
        return self
