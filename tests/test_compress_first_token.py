"""The last layer for the first token alone: only where it is proven to change nothing."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from checkpoints import write_tiny_checkpoint
from encoders import make, padded
from transformers import AutoModelForTokenClassification

from ftdeploy.compress.checkpoint_shape import read_shape
from ftdeploy.compress.first_token import first_token_only

ROWS = [[2, *range(5, 5 + length), 3] for length in (1, 4, 17)]


@pytest.mark.parametrize("kind", ["bert", "roberta", "electra"])
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_batches_with_padding_are_answered_as_before(kind: str, attention: str) -> None:
    """Logits stay within 1e-5 for padded rows of several lengths, the last hidden state has one position, and the parts
    keep their place for whoever reads the model's shape."""
    model = make(kind, hidden_size=32)
    model.config._attn_implementation = attention
    before, shape = copy.deepcopy(model), read_shape(model)
    assert first_token_only(model, ROWS)
    batch = padded([[2, 7, 8, 9, 3], [2, 7, 3], [2, 7, 8, 9, 10, 11, 3]])
    with torch.no_grad():
        was, now = (one(**batch, output_hidden_states=True) for one in (before, model))
    assert float((was.logits - now.logits).abs().max()) < 1e-5
    assert now.hidden_states[-1].shape == (3, 1, 32)
    assert read_shape(model) == shape


def test_models_that_read_more_or_are_built_otherwise_are_left_alone(tmp_path: Path) -> None:
    """A token classifier reads every token, and DistilBERT's layers are others: nothing is replaced."""
    write_tiny_checkpoint(tmp_path)
    tagger = AutoModelForTokenClassification.from_pretrained(tmp_path).eval()
    for model in (tagger, make("distilbert")):
        before = [type(module) for module in model.modules()]
        assert not first_token_only(model, ROWS)
        assert [type(module) for module in model.modules()] == before
