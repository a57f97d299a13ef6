"""Fewer tokens from the middle layer on: those that the first token looks at least are not computed any further.

A classifier that reads its first token needs the others only for what that one still takes from them, and by the middle
of the layers most of it has been taken (PoWER-BERT: Goyal et al. 2020, https://arxiv.org/abs/2001.08950). One layer
chooses, by its own attention from the first token, summed over the heads; its keys and values are still those of all
tokens, its queries and what comes after are those of the chosen ones.

How many of a row's tokens go on is counted by that row alone, so that no answer depends on the rows beside it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ftdeploy.compress.checkpoint_shape import encoder_layers, unsupported
from ftdeploy.compress.first_token import computed_for, layers_like_bert, split_heads

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

#: Shares are counted in so many parts: with whole numbers, which torch and the exported graph round alike.
PARTS = 64
#: Above any sum of attention.
FIRST = 1e4


def choosing_layer(layers: int) -> int | None:
    """The layer of so many that chooses, counted from 0: the middle one; None where it would be the last, or first."""
    middle = layers // 2
    return middle if 0 < middle < layers - 1 else None


def goes_on_with_fewer(model: PreTrainedModel) -> bool:
    """Whether `fewer_tokens` knows a model's architecture."""
    return layers_like_bert(model) and choosing_layer(len(encoder_layers(model)[1])) is not None


def fewer_tokens(model: PreTrainedModel, share: float) -> None:
    """Let the middle layer and all after it compute a share of each row's tokens only, in place.

    Args:
        model: reads the first token of its last layer (`first_token.first_token_only` proves it).
        share: of a row's tokens that go on, rounded up, the first one among them.

    Raises:
        CompressionError: the architecture is not known, or has fewer than three layers.
    """
    layers = encoder_layers(model)[1]
    at = choosing_layer(len(layers))
    if at is None or not layers_like_bert(model):
        raise unsupported(str(model.config.model_type), "cannot go on with fewer tokens: that wants three layers and "
                          "more, built as BERT's")  # fmt: skip
    chooser = _choosing(layers[at], max(1, round(share * PARTS)))
    layers[at] = chooser

    def masked(_layer: Any, args: tuple[Any, ...], named: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        if "attention_mask" in named:
            return args, {**named, "attention_mask": chooser.mask}
        return (args[0], chooser.mask, *args[2:]), named

    for later in layers[at + 1 :]:
        later.register_forward_pre_hook(masked, with_kwargs=True)


def chosen_tokens(model: PreTrainedModel) -> tuple[int, torch.Tensor] | None:
    """Which tokens went on in a model's last pass: the index of the layer that chose, and places in the row, int64
    (rows, tokens), the first token first; None where all did."""
    for at, layer in enumerate(encoder_layers(model)[1]):
        chosen: Any = getattr(layer, "chosen", None)
        if chosen is not None:
            return at, chosen
    return None


def _choosing(layer: Any, parts: int) -> Any:
    import torch

    class ChoosingLayer(torch.nn.Module):
        """An encoder layer whose output has fewer positions: (rows, share of the longest row, hidden).

        Attributes:
            chosen: of the last pass, see `chosen_tokens`.
            mask: for the layers after it: 0 where a row has a token, else the lowest number; (rows, 1, 1, tokens).
        """

        def __init__(self) -> None:
            super().__init__()
            # Its parts under their own names, in their own order.
            self.attention, self.intermediate, self.output = layer.attention, layer.intermediate, layer.output
            self.chosen: torch.Tensor | None = None
            self.mask: torch.Tensor | None = None

        def forward(self, hidden_states: torch.Tensor, attention_mask: torch.Tensor | None = None, *_given: Any,
                    **_named: Any) -> tuple[torch.Tensor]:  # fmt: skip
            inner: Any = self.attention.self
            rows, tokens, width = hidden_states.shape
            if attention_mask is None:  # as transformers has it where no row is padded
                attention_mask = hidden_states.new_zeros(rows, 1, 1, tokens)
            keys, values = (split_heads(inner, part(hidden_states)) for part in (inner.key, inner.value))
            mask = attention_mask[:, :, :1].to(keys.dtype)
            with torch.no_grad():
                worth, real = self._worth(hidden_states, keys, mask)
                chosen = worth.topk(_share(tokens, parts), dim=1).indices
                going = torch.arange(chosen.shape[1], device=worth.device) < _share(real.sum(1, keepdim=True), parts)
                self.mask = torch.where(going, 0.0, torch.finfo(keys.dtype).min)[:, None, None].to(keys.dtype)
                self.chosen = chosen
            going_on = hidden_states.gather(1, chosen[:, :, None].expand(-1, -1, width))
            return (computed_for(self, going_on, keys, values, mask),)

        def _worth(self, hidden_states: torch.Tensor, keys: torch.Tensor,
                   mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
            """How much the first token looks at each, (rows, tokens), padding below all and itself above; and which
            are no padding."""
            inner: Any = self.attention.self
            first = split_heads(inner, inner.query(hidden_states[:, :1]))
            looks = (first @ keys.transpose(-1, -2) / inner.attention_head_size**0.5 + mask).softmax(-1)
            real = mask[:, 0, 0] >= 0
            worth = torch.where(real, looks.sum((1, 2)).float(), -1.0)
            return torch.cat([torch.full_like(worth[:, :1], FIRST), worth[:, 1:]], dim=1), real

    return ChoosingLayer()


def _share(tokens: Any, parts: int) -> Any:
    """``parts`` of `PARTS` of so many tokens, rounded up."""
    return (tokens * parts + PARTS - 1) // PARTS
