"""Structured pruning by reconstruction: channels and heads go, and what stays takes over their part.

For the linear layer behind the feed-forward channels (and the one behind the attention heads), the inputs that it sees
on training texts are gathered as a covariance. Which inputs go is decided by how much the layer's output would change
*after* the remaining weights are fitted anew by least squares (the optimal brain surgeon: Hassibi & Stork 1993; for
groups of transformers: Kurtic et al. 2023, ZipLM). No gradient is needed, and little is lost before any training.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ftdeploy.batching import by_length, pad
from ftdeploy.compress.checkpoint_shape import blocks, encoder_layers, head_size
from ftdeploy.compress.prune import drop_heads, untouched_generator

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

#: Most channels that go between two looks at what they are worth; towards the end fewer. Two that could stand in for
#: each other look dispensable both, so that few at a time lose less.
AT_ONCE = 16
#: Ridge, as a share of the mean variance of an input: directions that the texts never showed are left alone.
RIDGE = 0.01
#: Padded tokens in a batch.
TOKENS = 4096


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What a linear layer is fed: mean, float64 (inputs,), and covariance, float64 (inputs, inputs)."""

    mean: torch.Tensor
    covariance: torch.Tensor


class _Enough(Exception):  # noqa: N818  # not an error: the rest of a forward pass is not needed
    """Ends a forward pass."""


def narrow(model: PreTrainedModel, rows: Sequence[Sequence[int]], *, channels: int, heads: int, pad_id: int,
           advance: Callable[[int], None], spared: int = 0) -> None:  # fmt: skip
    """Prune the layers of a model in place, first to last; each sees what the pruned ones below it give.

    The configuration is left as it is: it has one width for all layers.

    Args:
        model: in evaluation mode, on the CPU.
        rows: token ids of training rows.
        channels: feed-forward channels that stay in each layer.
        heads: attention heads that stay in each layer.
        pad_id: fills short rows.
        advance: told after each layer.
        spared: how many of the last layers are left whole.

    Raises:
        CompressionError: the architecture is not known, or transformers cannot take heads from it.
    """
    import torch

    flow, size = _Flow(model, rows, pad_id), head_size(model)
    with torch.no_grad():
        layers = list(encoder_layers(model)[1])
        for index, layer in enumerate(layers[: len(layers) - spared]):
            # Looked up anew: taking heads or channels away puts other matrices in their place.
            joined = blocks(model)[index].attention_out
            if heads * size < joined.in_features:
                _narrow_heads(model, index, flow.seen(layer, joined), heads)
            down = blocks(model)[index].down
            if channels < down.in_features:
                _narrow_channels(model, index, flow.seen(layer, down), channels)
            flow.advance(layer)
            advance(1)


def select(weight: torch.Tensor, seen: Seen, keep: int, *, group: int = 1) -> tuple[list[int], torch.Tensor]:
    """Which groups of a linear layer's inputs stay.

    Args:
        weight: (outputs, inputs).
        seen: its inputs.
        keep: groups that stay.
        group: neighbouring inputs that go or stay together: 1 for channels, a head's width for heads.

    Returns:
        the groups, ascending, and their inputs, int64 (keep * group,).
    """
    import torch

    rest = weight.double().clone()
    inverse = torch.linalg.inv(seen.covariance + _ridge(seen))
    alive = list(range(weight.shape[1] // group))
    while len(alive) > keep:
        index = torch.tensor(alive)
        # What the output loses when a group goes and the others take over: w (H^-1 of the group)^-1 w'.
        members = index[:, None] * group + torch.arange(group)
        blocks = torch.linalg.inv(inverse[members[:, :, None], members[:, None, :]])
        columns = rest[:, members].permute(1, 0, 2)
        losses = torch.einsum("goi,gij,goj->g", columns, blocks, columns)
        going = min(AT_ONCE, max(1, (len(alive) - keep) // 16)) if group == 1 else 1
        gone = [alive[int(at)] for at in losses.argsort(stable=True)[:going]]
        inputs = torch.tensor([one * group + offset for one in gone for offset in range(group)])
        block, across = torch.linalg.inv(inverse[inputs][:, inputs]), inverse[:, inputs]
        rest -= (rest[:, inputs] @ block) @ across.T
        inverse -= across @ block @ across.T
        alive = [one for one in alive if one not in set(gone)]
    return alive, torch.tensor([one * group + offset for one in alive for offset in range(group)])


def refit(weight: torch.Tensor, bias: torch.Tensor, seen: Seen,
          kept: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
    """Weight and bias over the kept inputs that come closest to the layer's output, by least squares.

    Args:
        weight: (outputs, inputs).
        bias: (outputs,).
        seen: its inputs.
        kept: int64 (kept,).

    Returns:
        float32, (outputs, kept) and (outputs,).
    """
    import torch

    before, ridge = weight.double(), _ridge(seen)
    normal = (seen.covariance + ridge)[kept][:, kept]
    wanted = before @ (seen.covariance + ridge)[:, kept]
    after = torch.linalg.solve(normal, wanted.T).T
    moved = bias.double() + before @ seen.mean - after @ seen.mean[kept]
    return after.float(), moved.float()


def _ridge(seen: Seen) -> torch.Tensor:
    import torch

    return torch.eye(len(seen.mean), dtype=torch.float64) * (RIDGE * seen.covariance.diagonal().mean())


def _narrow_channels(model: PreTrainedModel, index: int, seen: Seen, channels: int) -> None:
    from transformers.pytorch_utils import prune_linear_layer

    block = blocks(model)[index]
    _, kept = select(block.down.weight, seen, channels)
    weight, bias = refit(block.down.weight, block.down.bias, seen, kept)
    with untouched_generator():
        up, down = prune_linear_layer(block.up, kept, dim=0), prune_linear_layer(block.down, kept, dim=1)
    down.weight.copy_(weight)
    down.bias.copy_(bias)
    for old, new in ((block.up, up), (block.down, down)):
        name = next(name for name, module in model.named_modules() if module is old)
        parent, _, attribute = name.rpartition(".")
        setattr(model.get_submodule(parent), attribute, new)


def _narrow_heads(model: PreTrainedModel, index: int, seen: Seen, heads: int) -> None:
    block, size = blocks(model)[index], head_size(model)
    there = block.attention_out.in_features // size
    alive, kept = select(block.attention_out.weight, seen, heads, group=size)
    weight, bias = refit(block.attention_out.weight, block.attention_out.bias, seen, kept)
    drop_heads(model, {block.name: sorted(set(range(there)) - set(alive))})
    joined = blocks(model)[index].attention_out
    joined.weight.copy_(weight)
    joined.bias.copy_(bias)


class _Flow:
    """The hidden states of some texts on their way through the layers, so that each layer is computed once."""

    def __init__(self, model: PreTrainedModel, rows: Sequence[Sequence[int]], pad_id: int) -> None:
        import torch

        self._batches: list[tuple[torch.Tensor, tuple[Any, ...], dict[str, Any], torch.Tensor]] = []
        first = encoder_layers(model)[1][0]
        for ids, mask in _padded(rows, pad_id):
            called: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

            def catch(_module: Any, args: tuple[Any, ...], kwargs: dict[str, Any], into: list[Any] = called) -> None:
                into.append((args, kwargs))
                raise _Enough

            handle = first.register_forward_pre_hook(catch, with_kwargs=True)
            try:
                with torch.no_grad():
                    model(input_ids=ids, attention_mask=mask)
            except _Enough:
                pass
            finally:
                handle.remove()
            args, kwargs = called[0]
            hidden, rest = (args[0], args[1:]) if args else (kwargs.pop("hidden_states"), ())
            self._batches.append((hidden, rest, kwargs, mask.bool()))

    def seen(self, layer: torch.nn.Module, linear: Any) -> Seen:
        """What a linear layer inside of a layer is fed, padding left out."""
        import torch

        width = linear.in_features
        total, outer, count = torch.zeros(width).double(), torch.zeros(width, width).double(), 0
        now: list[torch.Tensor] = []

        def gather(_module: Any, args: tuple[Any, ...]) -> None:
            nonlocal count
            values = args[0][now[0]].float()
            total.add_(values.sum(dim=0).double())
            outer.add_((values.T @ values).double())
            count += len(values)
            raise _Enough

        handle = linear.register_forward_pre_hook(gather)
        try:
            for hidden, rest, kwargs, mask in self._batches:
                now[:] = [mask]
                try:
                    layer(hidden, *rest, **kwargs)
                except _Enough:
                    continue
        finally:
            handle.remove()
        mean = total / count
        return Seen(mean=mean, covariance=outer / count - torch.outer(mean, mean))

    def advance(self, layer: torch.nn.Module) -> None:
        """Go through a layer."""
        for at, (hidden, rest, kwargs, mask) in enumerate(self._batches):
            found = layer(hidden, *rest, **kwargs)
            self._batches[at] = (found[0] if isinstance(found, tuple) else found, rest, kwargs, mask)


def _padded(rows: Sequence[Sequence[int]], pad_id: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    import torch

    for batch in by_length([len(row) for row in rows], tokens=TOKENS, rows=256):
        ids, mask = pad([rows[index] for index in batch], pad_id)
        yield torch.from_numpy(ids), torch.from_numpy(mask)
