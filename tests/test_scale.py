"""The seam for an engine: what cross-validation and tuning rely on."""

from __future__ import annotations

import pickle
from functools import partial
from pathlib import Path

import pytest

from ftdeploy.recipe import TuneSettings
from ftdeploy.scale import run_all
from ftdeploy.tune.space import read_space
from ftdeploy.tune.study import Plan
from ftdeploy.tune.trial import run_trial


def test_results_come_in_the_order_of_the_items() -> None:
    """Each item once."""
    assert run_all(lambda number: number * number, range(5)) == [0, 1, 4, 9, 16]


def test_the_first_failure_ends_the_work() -> None:
    """What was done before stays done; what comes after is not begun."""
    done: list[int] = []

    def work(number: int) -> None:
        if number == 2:
            raise ValueError("two")
        done.append(number)

    with pytest.raises(ValueError, match="two"):
        run_all(work, range(5))
    assert done == [0, 1]


def test_a_trial_can_go_to_another_machine() -> None:
    """The function that tuning hands over, with its plan, is plain data for pickle."""
    settings = TuneSettings(space={"train.schedule": ("linear", "cosine")})
    plan = Plan(recipe=Path("r.yaml"), overrides=(), out=Path("run"), home=Path("run/tuning"), settings=settings,
                space=read_space(settings), metric="accuracy", seed=1, epochs=3, key="k", ends=None)  # fmt: skip
    copy = pickle.loads(pickle.dumps(partial(run_trial, plan=plan)))  # noqa: S301  # our own
    assert copy.keywords["plan"] == plan
