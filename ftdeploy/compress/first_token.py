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


def layers_like_bert(model: PreTrainedModel) -> bool:
    """Whether a model's encoder layers are built as BERT's, so that parts of their work can be left out."""
    return model.config.model_type in LIKE_BERT and getattr(model.config, "position_embedding_type", "") == "absolute"


def first_token_only(model: PreTrainedModel, rows: Sequence[Sequence[int]]) -> bool:
    """Let the last layer compute the first token only, in place, where that is proven to change nothing.

    Args:
        model: in evaluation mode, on the CPU, float32.
        rows: token ids of some texts, which it is proven on.

    Returns:
        whether it was done; not for an architecture that is not known, nor for a model that reads other tokens too.
    """
    import torch

    if not layers_like_bert(model):
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


def split_heads(inner: Any, values: torch.Tensor) -> torch.Tensor:
    """(rows, tokens, width) as (rows, heads, tokens, head size); ``inner`` is a layer's self-attention."""
    shaped = values.view(values.shape[0], -1, inner.num_attention_heads, inner.attention_head_size)
    return shaped.transpose(1, 2)


def computed_for(layer: Any, tokens: torch.Tensor, keys: torch.Tensor, values: torch.Tensor,
                 mask: torch.Tensor | None) -> torch.Tensor:  # fmt: skip
    """A layer's output for some tokens, which attend to all.

    Args:
        layer: has the parts of BERT's: ``attention``, ``intermediate``, ``output``.
        tokens: their hidden states, (rows, some tokens, width).
        keys, values: of all tokens, (rows, heads, tokens, head size).
        mask: added to the attention's scores, (rows, 1, 1, tokens); None where all tokens are of the texts.
    """
    import torch

    inner: Any = layer.attention.self
    queries = split_heads(inner, inner.query(tokens))
    mixed = torch.nn.functional.scaled_dot_product_attention(queries, keys, values, attn_mask=mask)
    joined = mixed.transpose(1, 2).reshape(tokens.shape[0], -1, inner.all_head_size)
    attended = layer.attention.output(joined, tokens)
    found: torch.Tensor = layer.output(layer.intermediate(attended), attended)
    return found


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
            keys, values = (split_heads(inner, part(hidden_states)) for part in (inner.key, inner.value))
            mask = None if attention_mask is None else attention_mask[:, :, :1]
            return (computed_for(self, hidden_states[:, :1], keys, values, mask),)

    return FirstTokenLayer()
