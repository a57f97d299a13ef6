"""The last layer for the first token alone: only where it is proven to change nothing."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoints import write_tiny_checkpoint
from transformers import (
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    ElectraConfig,
    ElectraForSequenceClassification,
    RobertaConfig,
    RobertaForSequenceClassification,
)

from ftdeploy.compress.checkpoint_shape import read_shape
from ftdeploy.compress.first_token import first_token_only

ROWS = [[2, *range(5, 5 + length), 3] for length in (1, 4, 17)]
SIZE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64,
        "vocab_size": 60}  # fmt: skip


def _bert(folder: Path) -> Any:
    write_tiny_checkpoint(folder)
    return AutoModelForSequenceClassification.from_pretrained(folder)


@pytest.mark.parametrize("kind", ["bert", "roberta", "electra"])
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_batches_with_padding_are_answered_as_before(tmp_path: Path, kind: str, attention: str) -> None:
    """Logits stay within 1e-5 for padded rows of several lengths, the last hidden state has one position, and the parts
    keep their place for whoever reads the model's shape."""
    makers: dict[str, Callable[[], Any]] = {
        "bert": lambda: _bert(tmp_path),
        "roberta": lambda: RobertaForSequenceClassification(RobertaConfig(**SIZE)),
        "electra": lambda: ElectraForSequenceClassification(ElectraConfig(**SIZE, embedding_size=32)),
    }
    model: Any = makers[kind]().eval()
    model.config._attn_implementation = attention
    before, shape = copy.deepcopy(model), read_shape(model)
    assert first_token_only(model, ROWS)
    ids = torch.tensor([[2, 7, 8, 9, 3, 0, 0], [2, 7, 3, 0, 0, 0, 0], [2, 7, 8, 9, 10, 11, 3]])
    mask = (torch.arange(7) < torch.tensor([[5], [3], [7]])).long()
    with torch.no_grad():
        was, now = (one(input_ids=ids, attention_mask=mask, output_hidden_states=True) for one in (before, model))
    assert float((was.logits - now.logits).abs().max()) < 1e-5
    assert now.hidden_states[-1].shape == (3, 1, 32)
    assert read_shape(model) == shape


def test_models_that_read_more_or_are_built_otherwise_are_left_alone(tmp_path: Path) -> None:
    """A token classifier reads every token, and DistilBERT's layers are others: nothing is replaced."""
    write_tiny_checkpoint(tmp_path)
    tagger = AutoModelForTokenClassification.from_pretrained(tmp_path).eval()
    other: Any = DistilBertForSequenceClassification(
        DistilBertConfig(dim=32, n_layers=2, n_heads=2, hidden_dim=64, vocab_size=60)
    )
    other.eval()
    for model in (tagger, other):
        before = [type(module) for module in model.modules()]
        assert not first_token_only(model, ROWS)
        assert [type(module) for module in model.modules()] == before
