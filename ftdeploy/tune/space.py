"""The space that is searched: keys of the recipe, what they may be, and a trial's choice as settings of the recipe."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import yaml
from pydantic import BaseModel

from ftdeploy.document import fields_at
from ftdeploy.errors import ConfigError, Problem
from ftdeploy.prepare import prepare
from ftdeploy.recipe import Range, Recipe, TuneSettings, load_recipe
from ftdeploy.train import train

if TYPE_CHECKING:
    import optuna

#: A trial prepares and trains; what these two stages do not read cannot change its result.
_SECTIONS = frozenset({*prepare.sections, *train.sections} - {"task", "device"})
_DIGITS = 4
_GIVEN = " (given with --set)"


@dataclass(frozen=True, kw_only=True)
class Dimension:
    """One key of the recipe, and what it may be.

    Attributes:
        key: as ``train.learning_rate``.
        range: for numbers between two ends; None for choices.
        whole: the numbers are integers.
        choices: for choices: as they are shown and stored -> value.
    """

    key: str
    range: Range | None
    whole: bool
    choices: Mapping[str, Any]

    def suggest(self, trial: optuna.trial.BaseTrial) -> Any:
        """The trial's value for this key, as the recipe takes it. Asked again, it is the same."""
        if self.range is None:
            return self.choices[trial.suggest_categorical(self.key, list(self.choices))]
        low, high, step, log = self.range.low, self.range.high, self.range.step, self.range.log
        if self.whole:
            return trial.suggest_int(self.key, int(low), int(high), step=int(step or 1), log=log)
        drawn = trial.suggest_float(self.key, low, high, step=step, log=log)
        return drawn if step else self._rounded(drawn)

    def _rounded(self, value: float) -> float:
        """More digits mean nothing, and a person reads the recipe. Rounding must not leave the range."""
        assert self.range is not None  # noqa: S101  # only numbers are rounded
        return min(max(float(f"{value:.{_DIGITS}g}"), float(self.range.low)), float(self.range.high))

    def values(self) -> list[Any]:
        """Every value of a finite dimension, as Optuna stores it.

        Raises:
            ValueError: the dimension is not finite.
        """
        if self.range is None:
            return list(self.choices)
        step = self.range.step or (1 if self.whole else None)
        if step is None:
            raise ValueError(f"{self.key} has endlessly many values")
        count = math.floor((self.range.high - self.range.low) / step + 1e-9) + 1
        found = [self.range.low + step * number for number in range(count)]
        return [int(value) for value in found] if self.whole else [float(value) for value in found]

    def stored(self, value: Any) -> Any:
        """A value of the recipe as Optuna stores it; None when it lies outside the dimension."""
        if self.range is None:
            return next((text for text, choice in self.choices.items() if choice == value), None)
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not self.range.low <= value <= self.range.high:
            return None
        if self.range.step is not None or self.whole:
            return next((one for one in self.values() if math.isclose(value, one)), None)
        return float(value) if self._rounded(value) == value else None


def settings_of(values: Mapping[str, Any]) -> list[str]:
    """Values of keys as ``section.key=value``, as ``--set`` takes them."""
    return [f"{key}={as_yaml(value)}" for key, value in values.items()]


def as_yaml(value: Any) -> str:
    """A value on one line of YAML, that reads back as the same value."""
    text = yaml.safe_dump(value, default_flow_style=True, width=math.inf, allow_unicode=True)
    return text.removesuffix("\n").removesuffix("\n...")


def read_space(settings: TuneSettings) -> list[Dimension]:
    """The dimensions of a recipe's space, sorted by key."""
    found = []
    for key, one in sorted(settings.space.items()):
        if isinstance(one, Range):
            # Between 0 and 1 a rate may be anything; whether a key is a whole number is for the recipe to say.
            ends = (one.low, one.high, one.step or 1)
            whole = all(float(end).is_integer() for end in ends) and not _takes_fractions(key)
            found.append(Dimension(key=key, range=one, whole=whole, choices={}))
        else:
            choices = {choice if isinstance(choice, str) else json.dumps(_plain(choice)): choice for choice in one}
            found.append(Dimension(key=key, range=None, whole=False, choices=choices))
    return found


def grid(space: Sequence[Dimension], *, seed: int) -> list[dict[str, Any]]:
    """Every combination of a finite space, as Optuna stores them, in an order that the seed decides."""
    combinations = list(itertools.product(*(one.values() for one in space)))
    order = np.random.default_rng(seed).permutation(len(combinations))
    return [{one.key: value for one, value in zip(space, combinations[n], strict=True)} for n in order]


def current(recipe: Recipe, space: Sequence[Dimension]) -> dict[str, Any] | None:
    """The recipe's own values for the keys of a space, as Optuna stores them; None when one lies outside."""
    found = {one.key: one.stored(_value(recipe, one.key)) for one in space}
    return None if any(value is None for value in found.values()) else found


def check_space(path: Path, overrides: Sequence[str], recipe: Recipe) -> TuneSettings:
    """The recipe's section ``tune``, after every end and every choice was tried on the recipe.

    Args:
        path: the recipe's file.
        overrides: what was given with ``--set``.
        recipe: as it was read from both.

    Raises:
        ConfigError: there is no such section, or something in it cannot be: every problem at once.
    """
    if recipe.tune is None:
        raise ConfigError(
            f"{path} does not say what to search",
            cause="it has no section `tune`",
            fix="add one: tune: {trials: 20, space: {train.learning_rate: {low: 1.0e-5, high: 1.0e-4, log: true}}}",
        )
    problems: list[Problem] = []
    for one in read_space(recipe.tune):
        section = one.key.partition(".")[0]
        if section not in _SECTIONS:
            why = f"a trial ends with the training and does not read {section!r}"
            hint = f"keys of {', '.join(sorted(_SECTIONS))} can be searched"
            problems.append(Problem(path=f"tune.space.{one.key}", message=why, hint=hint))
            continue
        if recipe.tune.sampler == "grid" and one.range is not None and not one.whole and one.range.step is None:
            problems.append(Problem(path=f"tune.space.{one.key}", message="sampler grid wants choices or a step"))
        problems += _value_problems(path, overrides, one)
    if problems:
        raise ConfigError(
            f"{path}: {len(problems)} problem{'s' if len(problems) > 1 else ''} in what is to be searched",
            cause="keys or values that the recipe cannot have",
            fix="correct them; `ftdeploy schema` prints every key with its meaning",
            problems=problems,
        )
    return recipe.tune


def _value_problems(path: Path, overrides: Sequence[str], one: Dimension) -> list[Problem]:
    """What the recipe says to each end and each choice of a dimension by itself."""
    ends = list(one.choices.values())
    if one.range is not None:
        ends = [int(end) if one.whole else float(end) for end in (one.range.low, one.range.high)]
    found = []
    for value in ends:
        try:
            load_recipe(path, overrides=[*overrides, *settings_of({one.key: value})])
        except ConfigError as error:
            found += [
                Problem(path=f"tune.space.{one.key}", message=problem.message.removesuffix(_GIVEN), hint=problem.hint)
                for problem in error.problems
            ]
    return found


def _takes_fractions(key: str) -> bool:
    return any(_holds(info.annotation, float) for info in fields_at(Recipe, key.split(".")))


def _holds(annotation: Any, kind: type) -> bool:
    return annotation is kind or any(_holds(arg, kind) for arg in get_args(annotation))


def _value(recipe: Recipe, key: str) -> Any:
    here: Any = recipe
    for part in key.split("."):
        if isinstance(here, BaseModel):
            names = [name for name, info in type(here).model_fields.items() if part in (name, info.alias)]
            here = getattr(here, names[0]) if names else None
        elif isinstance(here, Mapping):
            here = here.get(part)
        else:
            return None
    return _plain(here)


def _plain(value: Any) -> Any:
    """As YAML has it: a section is a mapping of what was set in it."""
    if isinstance(value, BaseModel):
        return {name: _plain(getattr(value, name)) for name in type(value).model_fields}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value
