"""A recipe tried out many times: cross-validation, and the search for better settings. Neither changes what
``ftdeploy run`` makes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, Discriminator, Field, FiniteFloat, Tag, field_validator, model_validator

from ftdeploy.document import Section, fields_at, keys_at
from ftdeploy.errors import did_you_mean
from ftdeploy.tasks import Task

_ENDS = frozenset({"low", "high"})
_FEWEST_CHOICES = 2
#: Keys of `data` that decide which rows there are, or which of them stand together: a split follows from that.
_DRAWS = frozenset({"split", "limit", "source", "columns", "duplicates"})
_POWER = re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+")


class CrossValidationSettings(Section):
    """`ftdeploy cross-validate`: the recipe trained once for each fold, and measured on the rows held out."""

    folds: int = Field(default=5, ge=2, le=100)
    """Parts that the rows are divided into; each is held out once."""
    all: bool = False
    """Divide the test rows, too. They are then no longer unseen: settings chosen by the result fit them."""
    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    """Of the two-sided intervals."""


class Range(Section):
    """Numbers between two ends, both included."""

    low: int | FiniteFloat
    """The smallest."""
    high: int | FiniteFloat
    """The largest."""
    log: bool = False
    """Search evenly over the powers instead of the values: for learning rates and the like."""
    step: int | FiniteFloat | None = Field(default=None, gt=0)
    """Only low, low + step, and so on."""

    @model_validator(mode="after")
    def _has_room(self) -> Self:
        if not self.low < self.high:
            raise ValueError(f"low ({self.low}) must lie below high ({self.high})")
        if self.log and self.low <= 0:
            raise ValueError(f"log wants low above 0, not {self.low}")
        if self.log and self.step is not None:
            raise ValueError("log and step exclude each other; leave one out")
        return self


def _numbers(value: Any) -> Any:
    # YAML 1.1 reads 1e-5, without a point, as text; a recipe's own keys are forgiving, and so are choices.
    return float(value) if isinstance(value, str) and _POWER.fullmatch(value) else value


def _different(value: tuple[Any, ...]) -> tuple[Any, ...]:
    twice = [item for index, item in enumerate(value) if any(item is one or item == one for one in value[:index])]
    if twice:
        raise ValueError(f"{twice[0]!r} stands twice")
    return value


Dimension = Annotated[
    Annotated[Range, Tag("range")] | Annotated[tuple[Any, ...], Field(min_length=_FEWEST_CHOICES), Tag("choices")],
    Discriminator(lambda value: "range" if isinstance(value, Mapping | Range) else "choices"),
]


class TuneSettings(Section):
    """`ftdeploy tune`: Optuna's search for better settings, judged on the validation rows, never on the test rows."""

    space: dict[str, Dimension] = Field(min_length=1)
    """Key of the recipe (`train.learning_rate`) -> `{low: , high: , log: , step: }` or a list of choices. Not `seed`
    nor what decides which rows there are and which are for validation (`split`, `limit`, `source`, `columns` and
    `duplicates` of `data`): trials are compared on the same validation rows."""
    metric: str | None = None
    """What is made better on the validation rows: a metric of the task, or `loss` (which is made smaller). Left out:
    the task's first metric."""
    trials: int = Field(default=20, ge=1, le=100_000)
    """Settings to try. More, later, go on with the study."""
    sampler: Literal["tpe", "random", "grid"] = "tpe"
    """`tpe` learns from the trials before (Bergstra et al. 2011), `random` does not, `grid` tries every combination of
    choices and steps."""
    pruner: Literal["median", "hyperband", "none"] = "median"
    """What ends bad trials early, at an evaluation: `median` those below the median of the trials before at the same
    epoch, `hyperband` those that successive halving drops (Li et al. 2018)."""
    startup_trials: int = Field(default=5, ge=1)
    """Trials before `tpe` begins to learn and `median` to prune."""
    seed: int | None = Field(default=None, ge=0, lt=2**31)
    """Of the sampler; left out: the recipe's."""
    timeout_seconds: float | None = Field(default=None, gt=0)
    """No trial begins later than this after the start."""

    @field_validator("space", mode="before")
    @classmethod
    def _flatten(cls, value: Any) -> Any:
        # `--set tune.space.train.epochs=[1, 2]` makes sections of the parts of the key.
        return _flat(value) if isinstance(value, Mapping) else value

    @field_validator("space")
    @classmethod
    def _no_choice_twice(cls, value: dict[str, Dimension]) -> dict[str, Dimension]:
        for dimension in value.values():
            if isinstance(dimension, tuple):
                _different(dimension)
        return value

    @model_validator(mode="after")
    def _grid_is_finite(self) -> Self:
        endless = [
            key for key, one in self.space.items()
            if isinstance(one, Range) and one.step is None and not isinstance(one.low, int)
        ]  # fmt: skip
        if self.sampler == "grid" and endless:
            raise ValueError(f"sampler grid wants choices or a step for {endless[0]}")
        return self


def wrong_keys(model: type[BaseModel], settings: TuneSettings) -> list[str]:
    """What is wrong with the keys of a space, each as a sentence; empty when all are keys of ``model`` that leave the
    validation rows the same.

    Args:
        model: the recipe's.
        settings: whose ``space`` is looked at.
    """
    wrong = []
    for key in settings.space:
        parts = key.split(".")
        if parts[0] == "seed" or (parts[0] == "data" and (len(parts) == 1 or parts[1] in _DRAWS)):
            wrong.append(f"space: {key!r} decides which rows are for validation, and the easiest would win")
        if fields_at(model, parts):
            continue
        depth = next(end for end in range(1, len(parts) + 1) if not fields_at(model, parts[:end]))
        hint = did_you_mean(parts[depth - 1], keys_at(model, parts[: depth - 1]))
        wrong.append(f"space: {key!r} is no key of a recipe; {hint}".removesuffix("; "))
    return wrong


def unmeasured(settings: TuneSettings, task: Task) -> list[str]:
    """What is wrong with the metric of a search, as a sentence; empty when validation rows are measured by it.

    Args:
        settings: whose ``metric`` is looked at.
        task: of the recipe.
    """
    known = (*task.metrics, "loss")
    if settings.metric is None or settings.metric in known:
        return []
    hint = did_you_mean(settings.metric, known)
    return [f"metric: {settings.metric!r} is not measured on the validation rows; {hint}"]


def _flat(tree: Mapping[Any, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in tree.items():
        nested = isinstance(value, Mapping) and value and not _ENDS & value.keys()
        if nested and all(isinstance(inner, Mapping | list) for inner in value.values()):
            found |= _flat(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = [_numbers(one) for one in value] if isinstance(value, list) else value
    return found
