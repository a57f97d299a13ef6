"""How rows become train, validation and test."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from ftdeploy.document import Section

Fraction = Annotated[float, Field(gt=0, lt=1)]
_MOST_HELD_OUT = 0.9
_UNITS = ("auto", "seconds", "milliseconds")


class Split(Section):
    """How rows are divided. Deterministic given the recipe's seed; independent of the order of the rows."""

    by: Literal["chance", "time"] = "chance"
    """`time` takes the oldest rows for train and the newest for test, by `data.columns.time`. Rows of one time, of one
    group and near duplicates stay together, where the newest of them stands."""
    test: Fraction = 0.2
    """Share of the rows for the final verdict; never seen by training or compression."""
    validation: Fraction = 0.1
    """Share of the rows for early stopping and for choosing among compressed candidates."""
    stratify: bool = True
    """Keep the share of every label the same in each split. With `by: time` always off: the times decide."""
    column: str | None = None
    """A column that says which split a row belongs to. A split that no row names is cut from train, at its share."""
    values: Mapping[str, Literal["train", "validation", "test"]] = {}
    """With `column`: what its values stand for. Without it train, training, validation, valid, val, dev, devel,
    development, test and testing are known, in any case."""
    leakage: Literal["error", "drop", "report"] = "error"
    """Where `column`, or a source's `role`, decides the split: what to do when a text, a near duplicate or a group
    stands in two splits. `drop` removes it from train (and from validation, when it is in test)."""
    others: Literal["fill", "divide"] = "fill"
    """Where a source's `role` decides the split of some rows: what becomes of the others. `fill` cuts only splits that
    no row names; `divide` divides them at the shares of `test` and `validation`, whatever is named. Those that belong
    together with a row of train stay in train either way."""
    time_format: str = "auto"
    """How `data.columns.time` is written: `auto` is ISO 8601 or seconds since 1970, one of both for all rows; or
    `seconds`, `milliseconds`, or strptime's codes, as `%d.%m.%Y %H:%M`. Times without a zone are in UTC."""
    gap_days: float = Field(default=0, ge=0)
    """With `by: time`: rows so close before the next split's beginning are left out, for labels that are known late."""

    @model_validator(mode="before")
    @classmethod
    def _times_decide(cls, value: Any) -> Any:
        if isinstance(value, Mapping) and value.get("by") == "time" and "stratify" not in value:
            return {**value, "stratify": False}
        return value

    @model_validator(mode="after")
    def _go_together(self) -> Self:
        if self.test + self.validation >= _MOST_HELD_OUT:
            raise ValueError("test and validation together leave less than a tenth for training")
        if self.by == "time" and self.stratify:
            raise ValueError("by: time and stratify: true exclude each other: the times decide; remove stratify")
        if self.by == "time" and self.column is not None:
            raise ValueError("by: time and column exclude each other: the column says where each row belongs")
        if self.values and self.column is None:
            raise ValueError("values says what the values of a column stand for; name the column beside it")
        if self.by != "time" and (self.gap_days or self.time_format != "auto"):
            raise ValueError("gap_days and time_format go with by: time")
        if self.time_format not in _UNITS and "%" not in self.time_format:
            raise ValueError(f"time_format wants {', '.join(_UNITS)} or strptime's codes, as %d.%m.%Y")
        return self
