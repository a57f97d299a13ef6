"""Taking layers, feed-forward channels and attention heads out of a torch model: smaller matrices, no zeros.

What stays is saved and loaded by transformers as any checkpoint, because the config says it: fewer layers, one width
for the feed-forward blocks of all layers, and the heads that are gone (``pruned_heads``).

Which channels go is decided at once, by what they do on rows of the training split; `ftdeploy.compress.gradual` decides
it during training.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ftdeploy.compress.checkpoint_shape import blocks, encoder_layers, head_size, set_ffn_width, unsupported
from ftdeploy.errors import CompressionError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

#: Keyword arguments of a model's forward: ``input_ids`` and ``attention_mask``, int64, (batch, sequence).
Batch = Mapping[str, "torch.Tensor"]

#: transformers refuses to take heads out of DeBERTa, and MPNet's position bias stays as many heads wide as it was.
_WHOLE_HEADS = frozenset({"deberta", "deberta-v2", "mpnet"})


def keep_layers(model: PreTrainedModel, layers: Sequence[int]) -> PreTrainedModel:
    """Keep these encoder layers only, in the order given; the model is changed and returned.

    Starting a student from every second layer of its teacher is DistilBERT's way (Sanh et al. 2019,
    https://arxiv.org/abs/1910.01108).

    Args:
        model: of one of `ftdeploy.compress.checkpoint_shape.ENCODERS`.
        layers: numbers from 0, rising.

    Raises:
        CompressionError: another architecture, or layers that the model does not have.
    """
    from torch import nn

    name, found = encoder_layers(model)
    kept = list(layers)
    if not kept or kept != sorted(set(kept)) or kept[0] < 0 or kept[-1] >= len(found):
        raise CompressionError(
            f"layers {kept} cannot be kept of a model that has {len(found)}",
            cause="the numbers start at 0 and must rise",
            fix=f"name numbers from 0 to {len(found) - 1}, in rising order",
        )
    parent, _, attribute = name.rpartition(".")
    setattr(model.get_submodule(parent), attribute, nn.ModuleList([found[index] for index in kept]))
    gone = dict(model.config.pruned_heads or {})
    model.config.pruned_heads = {new: gone[old] for new, old in enumerate(kept) if old in gone}
    model.config.num_hidden_layers = len(kept)
    for index, layer in enumerate(encoder_layers(model)[1]):
        for module in layer.modules():
            if hasattr(module, "layer_idx"):
                module.layer_idx = index  # type: ignore[assignment]  # torch types attributes as modules
    return model


def narrow_ffn(model: PreTrainedModel, width: int, batches: Iterable[Batch]) -> PreTrainedModel:
    """Keep the ``width`` feed-forward channels of each layer that matter most; the model is changed and returned.

    A channel matters by its mean absolute activation times the norm of its outgoing weights, which is how much of the
    layer's output it makes (Wanda's score, summed over a column: Sun et al. 2023, https://arxiv.org/abs/2306.11695).

    Args:
        model: of one of `ftdeploy.compress.checkpoint_shape.ENCODERS`.
        width: channels of every layer; multiples of 32 suit the processors' integer instructions.
        batches: rows of the training split; about a thousand rows are enough.

    Raises:
        CompressionError: another architecture, or a width that is not below what the model has.
    """
    found = blocks(model)
    _check_smaller("feed-forward channels", width, min(block.up.out_features for block in found))
    importance = _importance(model, {block.name: block.down for block in found}, batches)
    keep_channels(model, {name: _largest(scores, width) for name, scores in importance.items()})
    return model


def narrow_heads(model: PreTrainedModel, heads: int, batches: Iterable[Batch]) -> PreTrainedModel:
    """Keep the ``heads`` attention heads of each layer that matter most; the model is changed and returned.

    As `narrow_ffn`, with the importance of a head's channels summed.

    Raises:
        CompressionError: another architecture, one that transformers cannot take heads from (DeBERTa, MPNet), or a
            number that is not below what the model has.
    """
    check_heads(model)
    found = blocks(model)
    size = head_size(model)
    _check_smaller("attention heads", heads, min(block.attention_out.in_features for block in found) // size)
    importance = _importance(model, {block.name: block.attention_out for block in found}, batches)
    drop_heads(model, {
        name: _all_but(_largest(scores.view(-1, size).sum(1), heads), len(scores) // size)
        for name, scores in importance.items()
    })  # fmt: skip
    return model


def keep_channels(model: PreTrainedModel, kept: Mapping[str, torch.Tensor]) -> None:
    """Keep these feed-forward channels, and write their number into the config.

    Args:
        model: changed.
        kept: by `Block.name`, the channels that stay; int64, rising, equally many in every layer.
    """
    from transformers.pytorch_utils import prune_linear_layer

    widths = {len(channels) for channels in kept.values()}
    found = blocks(model)
    if len(widths) != 1 or len(kept) != len(found):
        raise ValueError("every layer keeps equally many channels: a config has one width for all")
    with untouched_generator():
        for block in found:
            _replace(model, block.up, prune_linear_layer(block.up, kept[block.name], dim=0))
            _replace(model, block.down, prune_linear_layer(block.down, kept[block.name], dim=1))
    set_ffn_width(model.config, widths.pop())


def drop_heads(model: PreTrainedModel, dropped: Mapping[str, Sequence[int]]) -> None:
    """Take attention heads out, with transformers' own ``prune_heads``; layers may keep different numbers.

    Args:
        model: changed.
        dropped: by `Block.name`, heads counted among those that the layer still has.

    Raises:
        CompressionError: transformers cannot take heads from this architecture.
    """
    check_heads(model)
    size = head_size(model)
    before = int(model.config.num_attention_heads)
    wanted: dict[int, list[int]] = {}
    for index, block in enumerate(blocks(model)):
        gone = set((model.config.pruned_heads or {}).get(index, ()))
        # Its numbers are those of the model as it was before any head went.
        left = [head for head in range(before) if head not in gone]
        if len(left) * size != block.attention_out.in_features:
            raise ValueError(f"config.pruned_heads and the matrices of {block.name} contradict each other")
        if heads := [left[head] for head in dropped.get(block.name, ())]:
            wanted[index] = heads
    with untouched_generator():
        model.prune_heads(wanted)


def check_heads(model: PreTrainedModel) -> None:
    """Refuse an architecture that transformers cannot take heads from.

    Raises:
        CompressionError: it is one.
    """
    if model.config.model_type in _WHOLE_HEADS:
        raise unsupported(str(model.config.model_type), "cannot lose attention heads in transformers")


@contextmanager
def untouched_generator() -> Iterator[None]:
    """transformers draws weights for a new layer before it copies the old ones in: nobody's seed must notice."""
    import torch

    with torch.random.fork_rng(devices=[]):
        yield


def _importance(model: PreTrainedModel, layers: Mapping[str, torch.nn.Linear],
                batches: Iterable[Batch]) -> dict[str, torch.Tensor]:  # fmt: skip
    """Mean absolute input, over the tokens that are no padding, times the norm of the outgoing column: (inputs,)."""
    import torch

    sums = {name: torch.zeros_like(layer.weight[0], dtype=torch.float32) for name, layer in layers.items()}
    mask = torch.empty(0)
    training = model.training

    def watch(name: str) -> Any:
        def hook(_: Any, inputs: tuple[torch.Tensor, ...]) -> None:
            sums[name] += (inputs[0].float().abs() * mask.unsqueeze(-1)).sum((0, 1))

        return hook

    handles = [layer.register_forward_pre_hook(watch(name)) for name, layer in layers.items()]
    try:
        with torch.no_grad():
            model.eval()
            for batch in batches:
                mask = batch["attention_mask"].float()
                model(**batch)
    finally:
        for handle in handles:
            handle.remove()
        model.train(training)
    if not all(bool(total.any()) for total in sums.values()):
        raise CompressionError(
            "no activation was seen, so nothing tells which channels matter",
            cause="no training rows were given, or the model answers zeros",
            fix="give rows of the training split",
        )
    return {name: sums[name] * layer.weight.detach().norm(dim=0) for name, layer in layers.items()}


def _largest(scores: torch.Tensor, count: int) -> torch.Tensor:
    """Indices of the ``count`` largest, rising; of equal ones the first."""
    return scores.argsort(descending=True, stable=True)[:count].sort().values


def _all_but(kept: torch.Tensor, count: int) -> list[int]:
    return sorted(set(range(count)) - set(kept.tolist()))


def _replace(model: PreTrainedModel, old: torch.nn.Linear, new: torch.nn.Linear) -> None:
    name = next(name for name, module in model.named_modules() if module is old)
    parent, _, attribute = name.rpartition(".")
    setattr(model.get_submodule(parent), attribute, new)


def _check_smaller(what: str, wanted: int, now: int) -> None:
    if not 0 < wanted < now:
        raise CompressionError(
            f"{wanted} {what} cannot be kept of {now}",
            cause="the recipe was written for a wider model",
            fix=f"choose a number from 1 to {now - 1}",
        )
