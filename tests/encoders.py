"""Tiny text classifiers of many architectures, their weights from a seed, and a batch of rows for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForSequenceClassification

from ftdeploy.batching import pad

SIZES = {
    "hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 64, "vocab_size": 50,
    "max_position_embeddings": 40, "pad_token_id": 0, "embedding_size": 8,
}  # fmt: skip
DISTILBERT = {"dim": 16, "n_layers": 3, "n_heads": 4, "hidden_dim": 64, "vocab_size": 50, "pad_token_id": 0}
RELATIVE = {"relative_attention": True, "pos_att_type": ["c2p", "p2c"], "position_buckets": 8}


def make(kind: str, **sizes: Any) -> Any:
    """A model of an architecture, its weights from a seed, in evaluation mode."""
    known: dict[str, Any] = DISTILBERT if kind == "distilbert" else SIZES
    relative = RELATIVE if kind.startswith("deberta") else {}
    with torch.random.fork_rng():
        torch.manual_seed(3)
        config = AutoConfig.for_model(kind, **(known | relative | sizes))
        model = AutoModelForSequenceClassification.from_config(config)
        for parameter in model.parameters():  # biases and norms start equal: then nobody would see them mixed up
            parameter.data += 0.1 * torch.randn_like(parameter)
    return model.eval()


def padded(rows: Sequence[Sequence[int]]) -> dict[str, torch.Tensor]:
    """Rows as one batch: ``input_ids`` and ``attention_mask``, int64, (rows, longest)."""
    ids, mask = map(torch.from_numpy, pad(rows, 0))
    return {"input_ids": ids, "attention_mask": mask}
