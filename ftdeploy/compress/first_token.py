"""The last layer for the first token alone: a classifier that looks at nothing else answers the same for less.

BERT and its kin classify by the first token's last hidden state. What the last layer computes for all other tokens,
queries, attention output and feed-forward part, is thrown away; only their keys and values are needed. Leaving it out
changes no answer, and is a sixth of the work of six layers but for these. (Training is spared it, too.)
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ftdeploy.compress.checkpoint_shape import encoder_layers

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

#: Architectures whose encoder layers are built as BERT's.
LIKE_BERT = frozenset({"bert", "roberta", "xlm-roberta", "camembert", "electra"})
#: Answers within this are the same: additions in another order.
SAME = 1e-4


def first_token_only(model: PreTrainedModel, rows: Sequence[Sequence[int]]) -> bool:
    """Let the last layer compute the first token only, in place, where that is proven to change nothing.

    Args:
        model: in evaluation mode, on the CPU, float32.
        rows: token ids of some texts, which it is proven on.

    Returns:
        whether it was done; not for an architecture that is not known, nor for a model that reads other tokens too.
    """
    import torch

    if model.config.model_type not in LIKE_BERT or getattr(model.config, "position_embedding_type", "") != "absolute":
        return False
    trial = copy.deepcopy(model)
    _replace_last(trial)
    with torch.no_grad():
        for row in rows:
            ids = torch.tensor([list(row)])
            asked = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
            try:
                apart = model(**asked).logits - trial(**asked).logits
            except (RuntimeError, IndexError):
                return False  # it reads tokens that are not there
            if not bool((apart.abs() <= SAME).all()):
                return False
    _replace_last(model)
    return True


def _replace_last(model: PreTrainedModel) -> None:
    layers = encoder_layers(model)[1]
    layers[-1] = _first_token_layer(layers[-1])


def _first_token_layer(layer: Any) -> torch.nn.Module:
    import torch

    class FirstTokenLayer(torch.nn.Module):
        """An encoder layer whose output has one position: (batch, 1, hidden)."""

        def __init__(self) -> None:
            super().__init__()
            # Its parts under their own names, in their own order.
            self.attention, self.intermediate, self.output = layer.attention, layer.intermediate, layer.output

        def forward(self, hidden_states: torch.Tensor, attention_mask: torch.Tensor | None = None, *_given: Any,
                    **_named: Any) -> tuple[torch.Tensor]:  # fmt: skip
            inner: Any = self.attention.self
            first = hidden_states[:, :1]

            def heads(values: torch.Tensor) -> torch.Tensor:
                shaped = values.view(values.shape[0], -1, inner.num_attention_heads, inner.attention_head_size)
                return shaped.transpose(1, 2)

            mask = None if attention_mask is None else attention_mask[:, :, :1]
            mixed = torch.nn.functional.scaled_dot_product_attention(
                heads(inner.query(first)), heads(inner.key(hidden_states)), heads(inner.value(hidden_states)),
                attn_mask=mask,
            )  # fmt: skip
            joined = mixed.transpose(1, 2).reshape(first.shape[0], 1, inner.all_head_size)
            attended = self.attention.output(joined, first)
            return (self.output(self.intermediate(attended), attended),)

    return FirstTokenLayer()
