"""Averages of the weights: over the steps (EMA), or over the last evaluations.

What is evaluated, kept as the best and saved is the average; what the optimizer goes on from are the weights
themselves. Both stand in each of the Trainer's checkpoints, so that a resumed run ends in the same average.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch
from safetensors.torch import load_file, save_file
from transformers import TrainerCallback

if TYPE_CHECKING:
    from ftdeploy.recipe import TrainSettings

Weights = dict[str, torch.Tensor]

#: In a checkpoint's folder, beside the weights themselves.
FILE = "average.safetensors"


class Average(Protocol):
    """Weights gathered while training runs."""

    def after_step(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Take note of the weights after an optimizer step."""

    def before_evaluation(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Take note of the weights before they are evaluated; called once for each evaluation."""

    def value(self) -> Weights:
        """The average; empty when nothing was gathered."""

    def state(self) -> Weights:
        """Everything that was gathered, as tensors."""

    def restore(self, state: Weights) -> None:
        """Go on from a ``state``."""


class ExponentialAverage:
    """The mean of the weights after each step, ``decay`` to the power of its age what a step counts.

    This is the moving average that begins at 0, divided by ``1 - decay ** steps`` (Kingma & Ba 2015, section 3, who
    do it to gradients): the weights before training, which the usual average begins with, count nothing.
    """

    def __init__(self, decay: float) -> None:
        self._decay = decay
        self._steps = 0
        self._mean: Weights = {}

    def after_step(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Another step is in the mean."""
        self._steps += 1
        if not self._mean:
            self._mean = {name: weight.detach().clone() for name, weight in weights.items()}
            return
        share = (1 - self._decay) / (1 - self._decay**self._steps)
        for name, weight in weights.items():
            self._mean[name].lerp_(weight.detach(), share)

    def before_evaluation(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Nothing: it goes by steps."""

    def value(self) -> Weights:
        """The bias-corrected average; empty before the first step."""
        return self._mean

    def state(self) -> Weights:
        """The average, and ``steps``."""
        return self._mean | {"steps": torch.tensor(self._steps)}

    def restore(self, state: Weights) -> None:
        """Go on from there."""
        self._steps = int(state["steps"])
        self._mean = {name: weight for name, weight in state.items() if name != "steps"}


class LastAverage:
    """The mean of the weights at the last ``count`` evaluations, or of all while there are fewer."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._kept: list[Weights] = []

    def after_step(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Nothing: it goes by evaluations."""

    def before_evaluation(self, weights: Mapping[str, torch.Tensor]) -> None:
        """These weights push the oldest out."""
        self._kept.append({name: weight.detach().clone() for name, weight in weights.items()})
        self._kept = self._kept[-self._count :]

    def value(self) -> Weights:
        """The mean; empty before the first evaluation."""
        if not self._kept:
            return {}
        return {name: torch.stack([kept[name] for kept in self._kept]).mean(dim=0) for name in self._kept[0]}

    def state(self) -> Weights:
        """``0/name`` is the oldest."""
        return {f"{age}/{name}": weight for age, kept in enumerate(self._kept) for name, weight in kept.items()}

    def restore(self, state: Weights) -> None:
        """Go on from there."""
        self._kept = []
        for age in sorted({int(name.partition("/")[0]) for name in state}):
            prefix = f"{age}/"
            self._kept.append({n.removeprefix(prefix): w for n, w in state.items() if n.startswith(prefix)})


def choose_average(settings: TrainSettings) -> Average | None:
    """The average that a recipe asks for; None is none."""
    if settings.ema is not None:
        return ExponentialAverage(settings.ema.decay)
    return LastAverage(settings.average_last) if settings.average_last > 1 else None


class AverageWeights(TrainerCallback):  # type: ignore[misc]  # transformers ships no types
    """Gathers the average, keeps it in the checkpoints, and leaves the best (or last) one in the network at the end.

    In the list of callbacks it stands before the one that marks a checkpoint as whole.

    Args:
        average: empty.
    """

    def __init__(self, average: Average) -> None:
        self._average = average
        self._training = False

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any, **_: Any) -> None:  # noqa: ARG002
        """Go on from the checkpoint that the run resumes from."""
        self._training = True
        if state.global_step:
            self._restore(Path(args.output_dir) / f"checkpoint-{state.global_step}", model)

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any, **_: Any) -> None:  # noqa: ARG002
        """Once for each optimizer step."""
        self._average.after_step(dict(model.named_parameters()))

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
        """Into the new checkpoint."""
        tensors = {name: tensor.contiguous() for name, tensor in self._average.state().items()}
        save_file(tensors, Path(args.output_dir) / f"checkpoint-{state.global_step}" / FILE)

    def on_train_end(self, args: Any, state: Any, control: Any, model: Any, **_: Any) -> None:  # noqa: ARG002
        """The Trainer has loaded the best checkpoint's weights themselves; its average takes their place."""
        if args.load_best_model_at_end and state.best_model_checkpoint is not None:
            self._restore(Path(state.best_model_checkpoint), model)
        _write(model, self._average.value())
        self._training = False

    @contextmanager
    def evaluated(self, model: Any) -> Iterator[None]:
        """For an evaluation, have the average in the network; afterwards the weights are as they were."""
        if not self._training:
            yield
            return
        weights = dict(model.named_parameters())
        self._average.before_evaluation(weights)
        before = {name: weight.detach().clone() for name, weight in weights.items()}
        _write(model, self._average.value())
        try:
            yield
        finally:
            _write(model, before)

    def _restore(self, checkpoint: Path, model: Any) -> None:
        self._average.restore(load_file(checkpoint / FILE, device=str(next(model.parameters()).device)))


def _write(model: Any, weights: Weights) -> None:
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name in weights:
                parameter.copy_(weights[name])
