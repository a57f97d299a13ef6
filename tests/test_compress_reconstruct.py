"""Structured pruning by reconstruction: what goes is what can be made up for."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checkpoints import sentences, write_tiny_checkpoint
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from ftdeploy.compress.checkpoint_shape import read_shape
from ftdeploy.compress.reconstruct import Seen, narrow, refit, select


def _seen(values: torch.Tensor) -> Seen:
    mean = values.mean(dim=0)
    return Seen(mean=mean, covariance=values.T @ values / len(values) - torch.outer(mean, mean))


def _inputs(rows: int = 400) -> torch.Tensor:
    """Six inputs: the last two are a sum and a copy of others."""
    base = torch.from_numpy(np.random.default_rng(5).normal(size=(rows, 4)))
    return torch.cat([base, base[:, :1] + base[:, 1:2], base[:, 2:3]], dim=1)


def test_inputs_that_others_can_replace_go_and_nothing_is_lost() -> None:
    """Two of six inputs follow from the others, so four suffice: after fitting anew the output is the same to a few
    thousandths of its spread (the ridge), although the weights of what went were as large as any."""
    values = _inputs()
    weight, bias = torch.linspace(-1, 1, 18).reshape(3, 6), torch.ones(3)
    seen = _seen(values)
    _, kept = select(weight, seen, 4)
    after, moved = refit(weight, bias, seen, kept)
    wanted = values.float() @ weight.T + bias
    got = values.float()[:, kept] @ after.T + moved
    assert float((got - wanted).square().mean()) < 1e-3 * float(wanted.var())


def test_groups_stay_or_go_together_and_the_least_useful_goes() -> None:
    """Inputs in groups of two, the middle one of which has no weight: that one goes."""
    weight = torch.ones(2, 6)
    weight[:, 2:4] = 1e-3
    groups, kept = select(weight, _seen(torch.from_numpy(np.random.default_rng(1).normal(size=(500, 6)))), 2, group=2)
    assert groups == [0, 2]
    assert kept.tolist() == [0, 1, 4, 5]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, list[list[int]]]:
    """A tiny encoder and its tokens of real texts."""
    folder: Path = tmp_path_factory.mktemp("encoder")
    write_tiny_checkpoint(folder, hidden=64)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    texts = [row["text"] for row in sentences()[::25]]
    return model, tokenizer(texts, truncation=True, max_length=48)["input_ids"]


def _hidden(model: Any, rows: list[list[int]]) -> torch.Tensor:
    with torch.no_grad():
        states = [model(input_ids=torch.tensor([row]), output_hidden_states=True).hidden_states[-1][0] for row in rows]
    return torch.cat(states)


def test_a_pruned_encoder_is_smaller_and_closer_than_one_cut_blindly(
    encoder: tuple[Any, list[list[int]]],
) -> None:
    """Half the channels and one of two heads are physically gone, and on texts that pruning did not see the hidden
    states are closer to the whole model's than with the first channels kept."""
    model, rows = encoder
    seen, unseen = rows[:300], rows[300:]
    student = copy.deepcopy(model)
    told: list[float] = []
    narrow(student, seen, channels=64, heads=1, pad_id=0, advance=told.append)
    shape = read_shape(student)
    assert (set(shape.ffn), set(shape.heads)) == ({64}, {1})
    assert told == [1, 1]
    blind = copy.deepcopy(model)
    for layer in blind.bert.encoder.layer:
        layer.output.dense.weight.data[:, 64:] = 0
        layer.attention.output.dense.weight.data[:, 32:] = 0
    whole = _hidden(model, unseen)
    ours, theirs = (float((_hidden(one, unseen) - whole).square().mean()) for one in (student, blind))
    assert ours < 0.7 * theirs


def test_pruning_the_same_twice_gives_the_same_weights(encoder: tuple[Any, list[list[int]]]) -> None:
    """It draws nothing, and leaves torch's generator where it was."""
    model, rows = encoder
    torch.manual_seed(3)
    twice = []
    for _ in range(2):
        student = copy.deepcopy(model)
        narrow(student, rows[:64], channels=32, heads=2, pad_id=0, advance=lambda _steps: None)
        twice.append(student.state_dict())
    assert all(torch.equal(value, twice[1][name]) for name, value in twice[0].items())
    before = torch.rand(1)
    torch.manual_seed(3)
    assert torch.equal(before, torch.rand(1))
