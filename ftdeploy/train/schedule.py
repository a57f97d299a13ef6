"""How the learning rate moves: transformers' schedules by their own names, and torch's one-cycle policy.

Each is made from the number of steps that the training has when nothing stops it, which is known beforehand, and its
state is part of a checkpoint: a resumed run goes on at the very rate.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ftdeploy.errors import TrainingError

if TYPE_CHECKING:
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler

    from ftdeploy.recipe import TrainSettings


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How many optimizer steps there are.

    Attributes:
        epoch: steps in an epoch.
        total: steps in all epochs.
        warmup: steps in which the rate rises.
    """

    epoch: int
    total: int
    warmup: int


def plan_steps(batches: int, settings: TrainSettings) -> Plan:
    """The steps of a training.

    Args:
        batches: in an epoch.
        settings: the recipe's ``train`` section.

    Raises:
        TrainingError: the warm-up is as long as the training, or longer.
    """
    epoch = math.ceil(batches / settings.gradient_accumulation)
    total = epoch * settings.epochs
    # A share rounds to the whole of a short training; then there would be no step at the peak, nor any way to fall.
    warmup = min(round(settings.warmup * total), total - 1) if settings.warmup < 1 else int(settings.warmup)
    if warmup >= total:
        raise TrainingError(
            f"the warm-up takes {warmup} steps, and the whole training has {total}",
            cause="train.warmup from 1 on is a number of steps, below 1 a share",
            fix="shorten train.warmup, or write it as a share (0.06)",
        )
    return Plan(epoch=epoch, total=total, warmup=warmup)


def build_schedule(optimizer: Optimizer, settings: TrainSettings, plan: Plan, *, higher_is_better: bool) -> LRScheduler:
    """The schedule of a recipe; every group of parameters follows it from its own peak.

    Args:
        optimizer: with the peak rate of each group as its ``lr``.
        settings: the recipe's ``train`` section.
        plan: how many steps there are.
        higher_is_better: of the metric that ``reduce_lr_on_plateau`` follows.
    """
    if settings.schedule == "one_cycle":
        return _one_cycle(optimizer, plan)
    import transformers

    specific = _SPECIFIC.get(settings.schedule)
    schedule: LRScheduler = transformers.get_scheduler(
        settings.schedule,
        optimizer,
        num_warmup_steps=plan.warmup,
        num_training_steps=plan.total,
        scheduler_specific_kwargs=specific(settings, higher_is_better) if specific else {},
    )
    return schedule


#: What transformers' schedules take beside the steps.
_SPECIFIC: Mapping[str, Callable[[TrainSettings, bool], dict[str, Any]]] = {
    "cosine": lambda settings, _: {"num_cycles": settings.schedule_options.cycles},
    "cosine_with_restarts": lambda settings, _: {"num_cycles": math.ceil(settings.schedule_options.cycles)},
    "polynomial": lambda settings, _: {
        "power": settings.schedule_options.power,
        "lr_end": settings.learning_rate * settings.schedule_options.end_share,
    },
    "inverse_sqrt": lambda settings, _: {"timescale": settings.schedule_options.timescale},
    "reduce_lr_on_plateau": lambda settings, higher: {
        "mode": "max" if higher else "min",
        "factor": settings.schedule_options.factor,
        "patience": settings.schedule_options.patience,
        "threshold": 0.0,  # any improvement is one, as for the weights that are kept
    },
}


def _one_cycle(optimizer: Optimizer, plan: Plan) -> LRScheduler:
    """The rate rises for the warm-up and falls for the rest, while AdamW's beta1 goes the other way (Smith 2018)."""
    from torch.optim.lr_scheduler import OneCycleLR

    # It divides by the length of each of its two phases, so neither may be empty, however short the training.
    steps = plan.total + 1
    return OneCycleLR(
        optimizer,
        max_lr=[group["lr"] for group in optimizer.param_groups],
        total_steps=steps,
        pct_start=min(max(plan.warmup, 2), max(plan.total, 2)) / steps,
    )
