"""Fewer tokens from the middle layer on: the ones that the first token looks at, counted by each row alone."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from encoders import make, padded

from ftdeploy.compress.checkpoint_shape import read_shape
from ftdeploy.compress.distil import _apart
from ftdeploy.compress.fewer_tokens import choosing_layer, chosen_tokens, fewer_tokens
from ftdeploy.compress.first_token import first_token_only
from ftdeploy.errors import CompressionError

LENGTHS = (1, 2, 7, 12)
ROWS = [[2, *range(5, 5 + length), 3] for length in LENGTHS]
LAYERS = 4
KINDS = ("bert", "roberta", "electra")


def _model(kind: str = "bert", *, layers: int = LAYERS, attention: str = "sdpa") -> Any:
    # A wide spread of the weights, so that attention is no mean over all tokens and a choice matters.
    made = make(kind, num_hidden_layers=layers, initializer_range=0.3)
    made.config._attn_implementation = attention
    return made


def _ask(model: Any, rows: list[list[int]], **named: bool) -> Any:
    """One padded batch."""
    with torch.no_grad():
        return model(**padded(rows), **named)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("share", [0.3, 0.5, 0.9])
def test_a_row_is_answered_alike_alone_and_beside_longer_ones(kind: str, attention: str, share: float) -> None:
    """It goes on with the share of its own tokens, whatever padding stands behind them."""
    model = _model(kind, attention=attention)
    first_token_only(model, ROWS)
    fewer_tokens(model, share)
    together = _ask(model, ROWS).logits
    for at, row in enumerate(ROWS):
        alone = _ask(model, [row]).logits[0]
        assert float((alone - together[at]).abs().max()) < 1e-4, row


def test_a_share_is_rounded_up_and_the_first_token_comes_first() -> None:
    """Of 3, 4, 9 and 14 tokens half: 2, 2, 5 and 7; what is behind a row's own is masked in the layers after."""
    model = _model()
    fewer_tokens(model, 0.5)
    found = _ask(model, ROWS, output_hidden_states=True)
    assert [states.shape[1] for states in found.hidden_states] == [14, 14, 14, 7, 7]
    chosen = chosen_tokens(model)
    assert chosen is not None
    at, places = chosen
    assert at == LAYERS // 2
    assert places[:, 0].tolist() == [0] * len(ROWS)
    mask: Any = model.bert.encoder.layer[at].mask
    assert (mask[:, 0, 0] == 0).sum(1).tolist() == [2, 2, 5, 7]
    for row, some, own in zip(ROWS, places.tolist(), (2, 2, 5, 7), strict=True):
        assert len(set(some)) == len(some)
        assert max(some[:own]) < len(row)


def test_those_go_on_that_the_first_token_looks_at_most() -> None:
    """By the choosing layer's own attention, summed over the heads, as the whole model gives it out."""
    model = _model(attention="eager")
    attention = _ask(model, [ROWS[-1]], output_attentions=True).attentions[LAYERS // 2][0, :, 0].sum(0)
    fewer_tokens(model, 0.5)
    _ask(model, [ROWS[-1]])
    chosen = chosen_tokens(model)
    assert chosen is not None
    others = attention[1:].topk(6).indices + 1
    assert sorted(chosen[1][0, 1:].tolist()) == sorted(others.tolist())


@pytest.mark.parametrize("kind", KINDS)
def test_all_tokens_in_another_order_change_nothing(kind: str) -> None:
    """With a share of 1 the answers are the whole model's, the parts keep their place for whoever reads the shape, and
    a student that is its teacher is not apart from it in any layer."""
    model = _model(kind)
    whole = copy.deepcopy(model)
    fewer_tokens(model, 1.0)
    wanted, found = (_ask(one, ROWS, output_hidden_states=True) for one in (whole, model))
    assert float((wanted.logits - found.logits).abs().max()) < 1e-4
    assert read_shape(model) == read_shape(whole)
    mask = padded(ROWS)["attention_mask"]
    assert float(_apart(found.hidden_states, wanted.hidden_states, range(LAYERS), mask, chosen_tokens(model))) < 1e-9
    assert float(_apart(found.hidden_states, wanted.hidden_states, range(LAYERS), mask, None)) > 1e-3


@pytest.mark.parametrize("rows", [ROWS, ROWS[:1], ROWS[:2]])
def test_a_last_layer_of_one_token_is_held_against_the_teachers_first(rows: list[list[int]]) -> None:
    """As it is for both in a search, with texts so short that one token goes on, too."""
    model = _model()
    whole = copy.deepcopy(model)
    for one in (model, whole):
        first_token_only(one, ROWS)
    fewer_tokens(model, 0.3)
    wanted, found = (_ask(one, rows, output_hidden_states=True) for one in (whole, model))
    mask, chosen = padded(rows)["attention_mask"], chosen_tokens(model)
    # The layers up to the choice are the same, and the chooser's own tokens are what the whole layer makes of them.
    assert float(_apart(found.hidden_states, wanted.hidden_states, range(3), mask, chosen)) < 1e-9
    assert 0 < float(_apart(found.hidden_states, wanted.hidden_states, range(LAYERS), mask, chosen)) < 1


def test_a_student_learns_through_the_choice() -> None:
    """Every layer gets a gradient, those before the choice too."""
    model = _model().train()
    fewer_tokens(model, 0.5)
    model(**padded([ROWS[-1]])).logits.square().sum().backward()
    layers = model.bert.encoder.layer
    assert all(float(layer.output.dense.weight.grad.abs().sum()) > 0 for layer in layers)


def test_other_architectures_and_two_layers_are_refused() -> None:
    """DistilBERT's layers are built otherwise; of two layers the middle one is the last."""
    for model in (make("distilbert"), _model(layers=2)):
        with pytest.raises(CompressionError, match="cannot go on with fewer tokens"):
            fewer_tokens(model, 0.5)
    assert [choosing_layer(layers) for layers in (1, 2, 3, 6, 12)] == [None, None, 1, 3, 6]
