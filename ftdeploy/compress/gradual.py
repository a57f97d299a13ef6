"""Pruning while a model trains: Neural Compressor's pruners say which weights become zero, more of them with each step.

A training loop calls three hooks round its optimizer step. Feed-forward channels and attention heads that are zero in
the end are then cut out by `slim`; single weights (`sparsify`) stay where they are, as zeros.

Of Neural Compressor 3.7 are the criterion, the patterns and the masks. Three parts of it are not used, since they were
tried and found wanting: ``parse_auto_slim_config`` ends in a TypeError on DistilBERT and DeBERTa, and on ELECTRA takes
query, key and value for feed-forward layers; ``model_slim`` logs what fails, goes on, and leaves the config as it was;
and the ``cube`` schedule is slow first and fast in the end, the opposite of Zhu & Gupta's.
"""

from __future__ import annotations

import contextlib
import io
import logging
import random
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from ftdeploy.compress.checkpoint_shape import blocks, encoder_layers, head_size, unsupported
from ftdeploy.compress.prune import check_heads, drop_heads, keep_channels
from ftdeploy.errors import CompressionError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

Criterion = Literal["snip_momentum", "snip", "magnitude", "gradient"]
#: ``1x1`` any weight, ``4x1`` four neighbouring outputs at once, ``2:4`` two of any four neighbouring inputs.
Pattern = Literal["1x1", "4x1", "2:4"]


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """When sparsity grows: at step ``first``, then every ``every`` steps until ``last``, counted from 0.

    It grows as Zhu & Gupta 2017 (https://arxiv.org/abs/1710.01878) have it: much while there is much to choose from,
    little in the end, ``target * (1 - (1 - progress) ** 3)``.
    """

    first: int
    last: int
    every: int = 1

    def __post_init__(self) -> None:
        if not (0 <= self.first < self.last and 0 < self.every <= self.last - self.first):
            raise CompressionError(
                f"sparsity cannot grow from step {self.first} to {self.last} every {self.every} steps",
                cause="the training is too short for it, or the numbers are swapped",
                fix="train for more steps, or let sparsity grow in smaller strides",
            )


@dataclass(frozen=True, kw_only=True)
class Hooks:
    """What a training loop calls in every step; one loop, one model, from step 0 on.

    Attributes:
        on_step_begin: before the forward pass.
        before_optimizer_step: when the gradients are there (the criteria read them), scaled and clipped or not.
        after_optimizer_step: what is zero stays zero.
    """

    on_step_begin: Callable[[], None]
    before_optimizer_step: Callable[[], None]
    after_optimizer_step: Callable[[], None]


def prune_ffn(model: PreTrainedModel, width: int, schedule: Schedule, *,
              criterion: Criterion = "snip_momentum") -> Hooks:  # fmt: skip
    """Let training zero feed-forward channels until ``width`` are left in every layer; `slim` cuts them out.

    Args:
        model: of one of `ftdeploy.compress.checkpoint_shape.ENCODERS`.
        width: channels of every layer; multiples of 32 suit the processors' integer instructions.
        schedule: when.
        criterion: Neural Compressor's; ``snip_momentum`` is a running mean of abs(weight * gradient).

    Raises:
        CompressionError: another architecture, a width that is not below what the model has, or what Neural Compressor
            made of it.
    """
    found = blocks(model)
    now = found[0].down.in_features
    names = _names(model, [block.down for block in found])
    settings = {"pattern": "channelx1", "op_names": names}
    share = _share(width, now, "feed-forward channels")
    return _start(model, settings, schedule, target=share, criterion=criterion, expected=names)


def prune_heads(model: PreTrainedModel, heads: int, schedule: Schedule, *,
                criterion: Criterion = "snip_momentum") -> Hooks:  # fmt: skip
    """Let training zero attention heads until ``heads`` are left in every layer; `slim` cuts them out.

    Raises:
        CompressionError: as `prune_ffn`; and DistilBERT, in which Neural Compressor does not find the heads;
            `ftdeploy.compress.prune.narrow_heads` does.
    """
    check_heads(model)
    found = blocks(model)
    outs = _names(model, [block.attention_out for block in found])
    now = found[0].attention_out.in_features // head_size(model)
    share = _share(heads, now, "attention heads")
    return _start(model, {"pattern": "mha"}, schedule, target=share, criterion=criterion, expected=outs)


def sparsify(model: PreTrainedModel, pattern: Pattern, sparsity: float, schedule: Schedule, *,
             criterion: Criterion = "snip_momentum") -> Hooks:  # fmt: skip
    """Let training zero weights of the encoder's linear layers; the matrices keep their size.

    The model is no faster for it: ONNX Runtime on a CPU multiplies by zero as by any number. Its file compresses
    better, and hardware for 2:4 sparsity (GPUs from Ampere on) can make use of it in other runtimes.

    Args:
        model: of one of `ftdeploy.compress.checkpoint_shape.ENCODERS`.
        pattern: which weights go together.
        sparsity: share of zeros over all these layers; at most 0.5 for ``2:4``.
        schedule: when.
        criterion: Neural Compressor's.

    Raises:
        CompressionError: another architecture, or what Neural Compressor made of it.
    """
    from torch import nn

    _, layers = encoder_layers(model)
    names = _names(model, [module for module in layers.modules() if isinstance(module, nn.Linear)])
    scope = "local" if ":" in pattern else "global"
    settings = {"pattern": pattern, "op_names": names, "pruning_scope": scope}
    return _start(model, settings, schedule, target=sparsity, criterion=criterion, expected=names)


def sparsity_of(model: PreTrainedModel) -> dict[str, float]:
    """Share of zeros in the weight of each linear layer of the encoder, by the layer's name.

    Raises:
        CompressionError: see `ftdeploy.compress.checkpoint_shape.encoder_layers`.
    """
    from torch import nn

    name, layers = encoder_layers(model)
    return {
        f"{name}.{inner}": float((module.weight == 0).float().mean())
        for inner, module in layers.named_modules()
        if isinstance(module, nn.Linear)
    }


def slim(model: PreTrainedModel, optimizer: torch.optim.Optimizer | None = None) -> PreTrainedModel:
    """Cut out the feed-forward channels and attention heads whose outgoing weights are all zero.

    The model answers as before, with smaller matrices; it is changed and returned. Hooks that were made before know the
    old matrices: call them no more.

    Args:
        model: after training with `prune_ffn` or `prune_heads`.
        optimizer: goes on with the smaller parameters and their share of its state; None where none goes on.

    Raises:
        CompressionError: there is nothing to cut out.
    """
    size = head_size(model)
    channels = {block.name: _alive(block.down, 1) for block in blocks(model)}
    heads = {block.name: _alive(block.attention_out, size) for block in blocks(model)}
    # A channel may be zero by itself: as one config has one width, the fullest layer gives it.
    width = max(int(alive.sum()) for alive in channels.values())
    kept = {name: alive.int().argsort(descending=True, stable=True)[:width].sort().values
            for name, alive in channels.items()}  # fmt: skip
    narrower = any(width < len(alive) for alive in channels.values())
    dropped = {name: (~alive).nonzero().flatten().tolist() for name, alive in heads.items() if not bool(alive.all())}
    if not narrower and not dropped:
        raise CompressionError(
            "no channel and no head of the model is zero, so there is nothing to cut out",
            cause="training ended before the sparsity had grown, or single weights were pruned",
            fix="train past the schedule's last step; use prune_ffn or prune_heads",
        )
    before = dict(model.named_parameters())
    if narrower:
        keep_channels(model, kept)
        before = _follow(optimizer, before, model, kept)
    if dropped:
        drop_heads(model, dropped)
        _follow(optimizer, before, model, {
            name: alive.repeat_interleave(size).nonzero().flatten() for name, alive in heads.items()
        })  # fmt: skip
    return model


def _alive(layer: torch.nn.Linear, group: int) -> torch.Tensor:
    """Which groups of inputs have a weight that is not zero: bool, (inputs / group,)."""
    return layer.weight.detach().abs().amax(0).view(-1, group).amax(1) > 0


def _follow(optimizer: torch.optim.Optimizer | None, before: Mapping[str, torch.nn.Parameter], model: PreTrainedModel,
            kept: Mapping[str, torch.Tensor]) -> dict[str, torch.nn.Parameter]:  # fmt: skip
    """Put the new parameters in the old ones' places in the optimizer, its running means cut as they were.

    Returns:
        The model's parameters by name.
    """
    import torch

    after = dict(model.named_parameters())
    if optimizer is None:
        return after
    new = {before[name]: (name, parameter) for name, parameter in after.items() if before[name] is not parameter}
    for group in optimizer.param_groups:
        group["params"] = [new[old][1] if old in new else old for old in group["params"]]
    for old, (name, parameter) in new.items():
        state = optimizer.state.pop(old, None)
        if state is None:
            continue
        index = next(index for block, index in kept.items() if name.startswith(f"{block}."))
        dims = [dim for dim in range(old.dim()) if old.shape[dim] != parameter.shape[dim]]
        optimizer.state[parameter] = {
            key: value.index_select(dims[0], index) if dims and torch.is_tensor(value) and value.dim() else value
            for key, value in state.items()
        }
    return after


def _share(wanted: int, now: int, what: str) -> float:
    if not 0 < wanted < now:
        raise CompressionError(
            f"{wanted} {what} cannot be kept of {now}",
            cause="the recipe was written for a wider model",
            fix=f"choose a number from 1 to {now - 1}",
        )
    # It rounds share * now down: half a channel more keeps that from being one too few.
    return (now - wanted + 0.5) / now


def _names(model: PreTrainedModel, wanted: Sequence[torch.nn.Module]) -> list[str]:
    known = {id(module) for module in wanted}
    return [name for name, module in model.named_modules() if id(module) in known]


class _ZhuGupta:
    """In the place of Neural Compressor's scheduler, which asks the same of its own."""

    def update_sparsity_ratio(self, target: float, done: int, total: int, *_: Any) -> float:
        return float(target * (1 - (1 - done / total) ** 3))


def _start(model: PreTrainedModel, settings: Mapping[str, Any], schedule: Schedule, *, target: float,
           criterion: Criterion, expected: Sequence[str]) -> Hooks:  # fmt: skip
    """Set Neural Compressor's pruner up, and prove that it found the layers that were meant."""
    strides = (schedule.last - schedule.first) // schedule.every
    with _neural_compressor("set its pruner up"):
        from neural_compressor import WeightPruningConfig
        from neural_compressor.training import prepare_compression

        config = WeightPruningConfig(
            [{"pruning_scope": "local", "criterion_type": criterion, **settings}],
            pruning_type=criterion,
            target_sparsity=target,
            start_step=schedule.first,
            end_step=schedule.first + strides * schedule.every,
            pruning_frequency=schedule.every,
        )
        callbacks = prepare_compression(model, config).callbacks
        pruner = callbacks.callbacks_list[0].pruners[0]
        found = set(getattr(pruner, "linear_layers", None) or pruner.modules)
        pruner.scheduler = _ZhuGupta()
    heads = settings["pattern"] == "mha"
    if not set(expected) <= found or len(found) != len(expected) * (4 if heads else 1):
        raise unsupported(str(model.config.model_type), f"has its {'heads' if heads else 'layers'} elsewhere than "
                          f"Neural Compressor looks for them")  # fmt: skip
    return Hooks(
        on_step_begin=_guarded(lambda: callbacks.on_step_begin(0)),
        before_optimizer_step=_guarded(callbacks.on_before_optimizer_step),
        after_optimizer_step=_guarded(callbacks.on_after_optimizer_step),
    )


def _guarded(step: Callable[[], Any]) -> Callable[[], None]:
    def run() -> None:
        with _neural_compressor("prune"):
            step()

    return run


@contextlib.contextmanager
def _neural_compressor(doing: str) -> Iterator[None]:
    """Let Neural Compressor do something: what it prints, logs and warns of is kept quiet, no generator is moved, and
    whatever ends it, also an exit, is a `CompressionError`. A module that is not installed is told as such."""
    import torch

    state, level = random.getstate(), logging.root.manager.disable
    said = io.StringIO()
    try:
        logging.disable(logging.WARNING)
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with torch.random.fork_rng(devices=[]):
                yield
    except (ModuleNotFoundError, KeyboardInterrupt):
        raise
    except (Exception, SystemExit) as error:
        raise CompressionError(
            f"Neural Compressor could not {doing}: {type(error).__name__}: {str(error)[:300]}",
            cause="an architecture or versions that it does not know",
            fix="install the pinned versions of constraints.txt, or leave this step out",
        ) from error
    finally:
        logging.disable(level)
        random.setstate(state)
        # It takes hold of stderr as it is while being imported: what it says later must not go into a closed hole.
        logging.getLogger("neural_compressor").handlers = [logging.NullHandler()]
