"""Schedules: their shape, each group from its own peak, and a resumed one that goes on at the very rate."""

from __future__ import annotations

import copy
from typing import Any, get_args

import pytest
import torch

from ftdeploy.errors import TrainingError
from ftdeploy.recipe import TrainSettings
from ftdeploy.recipe.train import Schedule
from ftdeploy.train.schedule import build_schedule, plan_steps

STEPS = 40


def make(settings: TrainSettings) -> tuple[Any, Any]:
    weights = [torch.nn.Parameter(torch.ones(1)) for _ in range(2)]
    groups = [{"params": [weights[0]], "lr": 1e-3}, {"params": [weights[1]], "lr": 4e-4}]
    optimizer = torch.optim.AdamW(groups, lr=settings.learning_rate)
    plan = plan_steps(STEPS, settings)
    return optimizer, build_schedule(optimizer, settings, plan, higher_is_better=True)


def step(name: str, optimizer: Any, schedule: Any, at: int) -> list[float]:
    """The rates of one step; a plateau is told of a metric that gets no better from the 10th on."""
    rates = [float(group["lr"]) for group in optimizer.param_groups]
    optimizer.step()
    schedule.step(*([min(at, 10.0)] if name == "reduce_lr_on_plateau" else []))
    return rates


def rates_of(name: str, **options: Any) -> list[list[float]]:
    optimizer, schedule = make(TrainSettings(schedule=name, learning_rate=1e-3, epochs=1, **options))
    return [step(name, optimizer, schedule, at) for at in range(STEPS)]


@pytest.mark.parametrize("name", get_args(Schedule))
def test_every_group_follows_from_its_own_peak(name: str) -> None:
    """The second group's rate is at each step the same share of the first's, and no rate is above its peak."""
    for first, second in rates_of(name, warmup=5):
        assert second == pytest.approx(0.4 * first, rel=1e-3, abs=1e-9)
        assert first <= 1e-3 * (1 + 1e-9)


@pytest.mark.parametrize("name", sorted(set(get_args(Schedule)) - {"constant", "reduce_lr_on_plateau"}))
@pytest.mark.parametrize("warmup", [5, 0.125])
def test_the_rate_rises_for_the_warmup(name: str, warmup: float) -> None:
    """As a number of steps, or as a share of them: up to the peak, and not up again at once."""
    rates = [first for first, _ in rates_of(name, warmup=warmup)]
    peak = rates.index(max(rates))
    assert abs(peak - 5) <= 1
    assert rates[: peak + 1] == sorted(rates[: peak + 1])


def test_where_the_schedules_end() -> None:
    """Cosine and one-cycle end near nothing, polynomial at its share of the peak, inverse square root as its name says,
    restarts begin anew, and a plateau halves."""
    ends = {name: rates_of(name, warmup=4)[-1][0] for name in get_args(Schedule)}
    assert ends["constant"] == ends["constant_with_warmup"] == 1e-3
    assert ends["cosine"] < 1e-5
    assert ends["one_cycle"] < 1e-5
    assert ends["inverse_sqrt"] == pytest.approx(1e-3 * (4 / (STEPS - 1)) ** 0.5)
    assert 0 < ends["reduce_lr_on_plateau"] < 1e-3
    squared = rates_of("polynomial", warmup=0, schedule_options={"power": 2, "end_share": 0.1})
    assert squared[20][0] == pytest.approx(1e-3 * (0.9 * 0.5**2 + 0.1))
    twice = [first for first, _ in rates_of("cosine_with_restarts", warmup=0, schedule_options={"cycles": 2})]
    assert twice[19] < 1e-5
    assert twice[20] == 1e-3


@pytest.mark.parametrize("name", get_args(Schedule))
def test_a_resumed_schedule_goes_on_at_the_very_rate(name: str) -> None:
    """From the saved state of optimizer and schedule, every further rate is equal to the last bit."""
    settings = TrainSettings(schedule=name, learning_rate=1e-3, epochs=1, warmup=5)
    optimizer, schedule = make(settings)
    for at in range(15):
        step(name, optimizer, schedule, at)
    saved = copy.deepcopy((optimizer.state_dict(), schedule.state_dict()))
    expected = [step(name, optimizer, schedule, at) for at in range(15, STEPS)]
    optimizer, schedule = make(settings)
    optimizer.load_state_dict(saved[0])
    schedule.load_state_dict(saved[1])
    assert [step(name, optimizer, schedule, at) for at in range(15, STEPS)] == expected


@pytest.mark.parametrize("steps", [1, 2, 3])
@pytest.mark.parametrize("name", get_args(Schedule))
def test_the_shortest_trainings_have_a_schedule(name: str, steps: int) -> None:
    """One step is enough."""
    settings = TrainSettings(schedule=name, epochs=1)
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.ones(1))], lr=settings.learning_rate)
    schedule = build_schedule(optimizer, settings, plan_steps(steps, settings), higher_is_better=True)
    for at in range(steps):
        assert 0 <= step(name, optimizer, schedule, at)[0] <= settings.learning_rate


def test_steps_are_counted_after_accumulation() -> None:
    """The last, smaller group of an epoch's batches is a step, too."""
    plan = plan_steps(10, TrainSettings(epochs=3, gradient_accumulation=4, warmup=0.5))
    assert (plan.epoch, plan.total, plan.warmup) == (3, 9, 4)


@pytest.mark.parametrize("name", get_args(Schedule))
@pytest.mark.parametrize("steps", [1, 3])
def test_a_share_leaves_a_step_after_the_warmup(name: str, steps: int) -> None:
    """Also where it rounds to all steps of a short training: the last step is made at a rate above zero, and no
    schedule divides by the steps that are left."""
    settings = TrainSettings(schedule=name, epochs=1, warmup=0.9)
    plan = plan_steps(steps, settings)
    assert plan.warmup == steps - 1
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.ones(1))], lr=settings.learning_rate)
    schedule = build_schedule(optimizer, settings, plan, higher_is_better=True)
    assert [step(name, optimizer, schedule, at)[0] for at in range(steps)][-1] > 0


def test_a_warmup_longer_than_the_training_is_refused() -> None:
    """A number of steps that was meant for a larger data set."""
    with pytest.raises(TrainingError, match="takes 500 steps"):
        plan_steps(10, TrainSettings(epochs=3, warmup=500))


@pytest.mark.parametrize(
    ("section", "told"),
    [
        ({"warmup": 1.5}, "whole number of steps"),
        ({"evaluate": 0}, "`epoch`, or a number of steps"),
        ({"unfreeze": {"every": 0}}, "`epoch`, or a number of steps"),
        ({"early_stopping": {"metric": "acuracy"}}, "did you mean 'accuracy'"),
        ({"lora": {}, "freeze": {"layers": 1}}, "lora and freeze exclude each other"),
        ({"schedule": "cosin"}, "cosine"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_recipe(section: dict[str, Any], told: str) -> None:
    """Before anything is read or trained."""
    with pytest.raises(ValueError, match=told):
        TrainSettings(**section)
