"""The first output of a model without a head, what a network of pairs is told, and weights that several nodes share.
Whole exports are in `test_export.py`."""

from __future__ import annotations

import copy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from encoders import make, padded
from tiny import tokenizer_of_tiny_model
from tokenizers.processors import BertProcessing, RobertaProcessing, TemplateProcessing
from transformers import BertConfig, BertForSequenceClassification

from ftdeploy.compress.fewer_tokens import fewer_tokens
from ftdeploy.compress.first_token import first_token_only
from ftdeploy.compress.tools import graph
from ftdeploy.errors import ModelError
from ftdeploy.onnx_export import POOLING_KEY, answer_of, export_onnx, note_pairs, pairs_in, pairs_of, tell_texts_apart
from ftdeploy.pairs import Pairs
from ftdeploy.tasks import TASKS

HIDDEN = torch.tensor([[[3.0, 4.0], [1.0, 0.0], [9.0, 9.0]], [[0.0, 2.0], [0.0, 0.0], [0.0, 0.0]]])
MASK = torch.tensor([[1, 1, 0], [1, 0, 0]])


@pytest.mark.parametrize(
    ("stated", "first"),
    [({}, [0.7071, 0.7071]), ({POOLING_KEY: "mean"}, [0.7071, 0.7071]), ({POOLING_KEY: "cls"}, [0.6, 0.8])],
)
def test_the_vector_is_pooled_of_real_tokens_and_has_length_one(stated: dict[str, str], first: list[float]) -> None:
    """Their mean, or the first one's, as `train` wrote it down; padding has no part in it."""
    model: Any = SimpleNamespace(config=SimpleNamespace(**stated))
    answer = answer_of(model, TASKS["feature-extraction"])
    found = answer(SimpleNamespace(last_hidden_state=HIDDEN), MASK)
    assert found.tolist() == [pytest.approx(first, abs=1e-4), [0.0, 1.0]]
    beside = answer(SimpleNamespace(last_hidden_state=torch.where(MASK[..., None] == 1, HIDDEN, 7.0)), MASK)
    assert (beside == found).all()


def test_a_vector_of_nothing_is_nothing() -> None:
    """And not a division by zero."""
    model: Any = SimpleNamespace(config=SimpleNamespace())
    answer = answer_of(model, TASKS["feature-extraction"])
    assert answer(SimpleNamespace(last_hidden_state=torch.zeros(1, 2, 3)), torch.ones(1, 2)).tolist() == [[0.0] * 3]


def test_a_head_answers_for_itself() -> None:
    """Its logits, as they are."""
    model: Any = SimpleNamespace(config=SimpleNamespace())
    found = SimpleNamespace(logits=torch.tensor([[1.0, 2.0]]))
    assert answer_of(model, TASKS["text-classification"])(found, MASK) is found.logits


# ---- weights that are read more than once

ROWS = [[2, 5, 6, 7, 8, 9, 10, 3], [2, 11, 3]]


@pytest.mark.parametrize("kind", ["bert", "albert"])
def test_a_weight_that_several_products_read_has_one_name(kind: str, tmp_path: Path) -> None:
    """A layer that chooses tokens asks its queries twice, ALBERT's layers are one: every product with weights reads
    them as they are stored, where quantizers look for them. The answers are torch's."""
    model = make(kind, num_hidden_layers=4)
    if kind == "bert":
        first_token_only(model, ROWS)
        fewer_tokens(model, 0.5)
    asked = padded(ROWS)
    with torch.no_grad():
        wanted = model(**asked).logits.numpy()
    export_onnx(model, TASKS["text-classification"], opset=18, embedding_layer=1, out=tmp_path)
    path = tmp_path / "model.onnx"
    exported = onnx.load(path)
    onnx.checker.check_model(exported, full_check=True)
    stored = {tensor.name for tensor in exported.graph.initializer}
    assert not [node.name for node in exported.graph.node if node.op_type == "Identity" and node.input[0] in stored]
    read = [node.input[1] for node in exported.graph.node if node.op_type == "MatMul" and node.input[1] in stored]
    assert len(set(read)) < len(read), "no weight is read twice, so that nothing was to be shown"
    # Scores and weighted sum of each layer, and how much the first token looks at each where one chooses: the others
    # have weights.
    assert len(graph.products(exported)) == 2 * 4 + (kind == "bert")
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = {one.name for one in session.get_inputs()}
    given = {name: values.numpy() for name, values in asked.items()}
    given |= {name: np.zeros_like(given["input_ids"]) for name in names - given.keys()}
    np.testing.assert_allclose(session.run(["logits"], given)[0], wanted, atol=1e-4)


# ---- two texts


def network(types: int = 2) -> BertForSequenceClassification:
    torch.manual_seed(3)
    return BertForSequenceClassification(
        BertConfig(vocab_size=40, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16,
                   max_position_embeddings=32, type_vocab_size=types)
    ).eval()  # fmt: skip


def test_a_network_of_pairs_tells_itself_which_text_a_token_is_of() -> None:
    """Whoever calls it with ids and mask gets what the tokenizer's token types would have given; also of a copy, and
    where types are given they stand. One that reads single texts is left alone."""
    ids = torch.tensor([[2, 7, 8, 3, 9, 3], [2, 7, 3, 8, 3, 0]])
    mask = (ids > 0).long()
    types = torch.tensor([[0, 0, 0, 0, 1, 1], [0, 0, 0, 1, 1, 0]])
    model = network()
    with torch.no_grad():
        plain, told = model(ids, mask).logits, model(ids, mask, token_type_ids=types).logits
        tell_texts_apart(model)
        assert torch.equal(model(ids, mask).logits, plain), "nobody has said that it reads pairs"
        note_pairs(model.config, Pairs(types_after=3))
        tell_texts_apart(model)
        copied = copy.deepcopy(model)
        for one in (model, copied):
            torch.testing.assert_close(one(input_ids=ids, attention_mask=mask).logits, told)
            torch.testing.assert_close(one(ids, mask, token_type_ids=torch.zeros_like(ids)).logits, plain)
    assert not torch.allclose(plain, told)
    assert pairs_of(model.config) == Pairs(types_after=3)
    note_pairs(model.config, None)
    assert pairs_of(model.config) is None


def wrapped(processor: Any) -> Any:
    """A tokenizer as transformers has it."""
    made = tokenizer_of_tiny_model()
    if processor is not None:
        made.post_processor = processor(*((token, made.token_to_id(token)) for token in ("[SEP]", "[CLS]")))
    return SimpleNamespace(backend_tokenizer=made)


@pytest.mark.parametrize(
    ("processor", "types", "after"), [(BertProcessing, 2, 3), (BertProcessing, 1, None), (RobertaProcessing, 2, None)]
)
def test_how_texts_are_told_apart_is_seen_from_the_tokenizer(processor: Any, types: int, after: int | None) -> None:
    """By token types where both the tokenizer gives them and the network has them; by special tokens alone else."""
    found = pairs_in(wrapped(processor), network(types).config, ("a", "b"))
    assert found == Pairs(columns=("a", "b"), types_after=after)


def test_a_tokenizer_of_single_texts_is_refused() -> None:
    """Two texts without anything between them are one."""
    with pytest.raises(ModelError, match="puts nothing between the two texts"):
        pairs_in(wrapped(None), network().config, ("a", "b"))


def test_token_types_of_another_kind_are_refused() -> None:
    """They would be others in the service than in training."""
    tokenizer = wrapped(None)
    ends = [(token, tokenizer.backend_tokenizer.token_to_id(token)) for token in ("[CLS]", "[SEP]")]
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS]:1 $A:1 [SEP]:1 $B:0 [SEP]:0", special_tokens=ends
    )
    with pytest.raises(ModelError, match="token types that are not 0 up to the first text's end"):
        pairs_in(tokenizer, network().config, ("a", "b"))
