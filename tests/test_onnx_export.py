"""The first output of a model without a head: one vector of the tokens'. Whole exports are in `test_export.py`."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from ftdeploy.onnx_export import POOLING_KEY, answer_of
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
