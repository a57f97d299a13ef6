"""Which parts of the network are trained at a step: gradual unfreezing and freezing.

All of it is a function of the step alone, so a resumed run needs nothing to be remembered.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ftdeploy.errors import TrainingError
from ftdeploy.train.optimizer import depths, group_name, layer_count

if TYPE_CHECKING:
    import torch
    from torch import nn
    from transformers import PreTrainedModel

    from ftdeploy.recipe import TrainSettings
    from ftdeploy.train.cache import ActivationCache


@dataclass(frozen=True, kw_only=True)
class Unfreezing:
    """Which depths are trained when; a depth is as in `depth_of`: 0 the head, ``layers + 1`` the embeddings.

    Attributes:
        layers: how many layers the network has.
        every: steps until the next group joins; 0: all that is ever trained is so from the start.
        group: layers that join together.
        deepest: the deepest that is ever trained in an unbroken line from the head.
        embeddings: whether the embeddings are ever trained.
    """

    layers: int
    every: int
    group: int
    deepest: int
    embeddings: bool

    def trained(self, depth: int, step: int) -> bool:
        """Whether parameters at a depth are trained in the step after ``step`` steps."""
        if depth > self.layers and not self.embeddings:
            return False
        if self.layers >= depth > self.deepest:
            return False
        if self.every == 0:
            return True
        joined = step // self.every
        # The embeddings are a group of their own, after the last of the layers.
        groups_of_layers = -(-self.deepest // self.group)
        return depth <= joined * self.group if depth <= self.layers else joined > groups_of_layers

    def frozen_layers(self, step: int) -> int:
        """How many layers above the embeddings give constant outputs: they and all below them are frozen."""
        if self.trained(self.layers + 1, step):
            return 0
        return sum(not self.trained(depth, step) for depth in range(1, self.layers + 1))

    def frozen(self, step: int) -> tuple[str, ...]:
        """Names of the groups that are not trained, from the top."""
        found = [depth for depth in range(self.layers + 2) if not self.trained(depth, step)]
        return tuple(group_name(depth, layers=self.layers) for depth in found)

    def boundaries(self, steps: int) -> tuple[tuple[int, int], ...]:
        """(first step, frozen layers) wherever the number of frozen layers changes in so many steps."""
        found: list[tuple[int, int]] = []
        for step in range(0, steps, self.every or steps):
            layers = self.frozen_layers(step)
            if not found or found[-1][1] != layers:
                found.append((step, layers))
        return tuple(found)


def plan_unfreezing(network: PreTrainedModel, settings: TrainSettings, *, steps_per_epoch: int) -> Unfreezing | None:
    """What ``train.freeze`` and ``train.unfreeze`` mean for a network; None when all of it is always trained.

    Args:
        network: of which the layers are counted.
        settings: the recipe's ``train`` section.
        steps_per_epoch: optimizer steps.

    Raises:
        TrainingError: more layers are to be frozen than there are, or the network's layers are not numbered.
    """
    if settings.freeze is None and settings.unfreeze is None:
        return None
    layers = layer_count(network)
    known = set(depths(network).values())
    fixed = settings.freeze.layers if settings.freeze else 0
    if not set(range(1, layers + 1)) <= known or fixed > layers:
        raise TrainingError(
            f"train.freeze names {fixed} layers, and of the network {len(known & set(range(1, layers + 1)))} layers "
            "can be told apart",
            cause="the network has fewer layers, or shares the weights of one among all (as ALBERT does)",
            fix="freeze fewer layers, or leave train.freeze and train.unfreeze out",
        )
    every = 0
    if settings.unfreeze is not None:
        every = steps_per_epoch if settings.unfreeze.every == "epoch" else settings.unfreeze.every
    return Unfreezing(
        layers=layers,
        every=every,
        group=settings.unfreeze.layers if settings.unfreeze else 1,
        deepest=layers - fixed,
        embeddings=settings.freeze is None or not settings.freeze.embeddings,
    )


def apply(network: PreTrainedModel, plan: Unfreezing, step: int) -> None:
    """Have exactly the groups of a step ask for gradients."""
    where = depths(network)
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(plan.trained(where[name], step))


def still_modules(network: PreTrainedModel, plan: Unfreezing, step: int) -> list[nn.Module]:
    """The modules whose outputs are constant at a step, and which therefore run without dropout: the embeddings and
    the frozen layers right above them.

    Without that their outputs would be noise around what later layers see when these are trained, and could not be
    computed once for all epochs.
    """
    frozen = plan.frozen_layers(step)
    if frozen == 0 and plan.trained(plan.layers + 1, step):
        return []
    layers = layers_of(network)
    inside = {id(module) for layer in layers for module in layer.modules()}
    embeddings = [
        module for name, module in network.named_modules()
        if id(module) not in inside and "embed" in name.rpartition(".")[2].lower()
    ]  # fmt: skip
    return [*embeddings, *layers[:frozen]]


def layers_of(network: PreTrainedModel) -> list[nn.Module]:
    """The network's layers from the embeddings up; empty when they cannot be told."""
    from torch import nn

    count = layer_count(network)
    for _, module in network.base_model.named_modules():
        if isinstance(module, nn.ModuleList) and len(module) == count:
            return list(module)
    return []


def rates(optimizer: Any, plan: Unfreezing | None, step: int, *, shown: float, layers: int) -> dict[str, float]:
    """The learning rate of each layer group that is trained at a step, by its name; empty when they do not differ.

    Args:
        optimizer: its groups keep their ``depth``.
        plan: None when all is trained.
        step: from 0.
        shown: the rate of the first group; all follow one schedule, each from its own peak.
        layers: how many the network has; the optimizer need not hold the lowest (LoRA leaves the embeddings out).
    """
    groups = {group["depth"]: float(group.get("initial_lr", group["lr"])) for group in optimizer.param_groups}
    first = next(iter(groups.values()))
    found = {
        group_name(depth, layers=layers): shown * peak / first
        for depth, peak in groups.items()
        if plan is None or plan.trained(depth, step)
    }
    return found if len(set(found.values())) > 1 else {}


class Stages:
    """Has the network as a step wants it: what is trained, what runs without dropout, what need not run at all.

    Args:
        network: the network; what is never trained no longer asks for gradients after this.
        plan: when what is trained.
    """

    def __init__(self, network: PreTrainedModel, plan: Unfreezing) -> None:
        self.plan = plan
        self.cache: ActivationCache | None = None
        self._network = network
        self._boundary = 0
        self._frozen: tuple[str, ...] | None = None
        self._still: list[nn.Module] = []
        apply(network, plan, sys.maxsize)

    def begin(self, step: int) -> None:
        """Before a step is made.

        Args:
            step: from 0.
        """
        frozen = self.plan.frozen(step)
        if frozen != self._frozen:
            apply(self._network, self.plan, step)
            self._frozen, self._boundary = frozen, self.plan.frozen_layers(step)
            self._still = still_modules(self._network, self.plan, step)

    @contextmanager
    def running(self, rows: torch.Tensor | None, input_ids: torch.Tensor) -> Iterator[None]:
        """Around a forward pass in training.

        Args:
            rows: int64 (rows,), indices of the batch's rows; None when they are not known.
            input_ids: int64 (rows, longest).
        """
        for module in self._still:
            module.eval()
        if self.cache is None or rows is None or not self.cache.has(self._boundary):
            yield
        else:
            with self.cache.serving(self._boundary, rows, input_ids):
                yield
