"""What protocols get of the model: labels, scores by each function, and what every answer says of itself."""

from __future__ import annotations

import numpy as np
import pytest
from asking import answers, by_label
from tiny import MAX_LENGTH, write_model_folder

from ftdeploy.predictor import Predictor
from ftdeploy.signature import read_signature, write_signature

TEXTS = ["a superb film", "bad", "the film was good, not awful"]


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    folder = tmp_path_factory.mktemp("model")
    write_model_folder(folder, ("negative", "neutral", "positive"))
    write_signature(folder, read_signature(folder).model_copy(update={"temperature": 2.0}))
    return Predictor(folder)


def test_scores_are_the_softmax_the_sigmoid_or_the_logits(predictor: Predictor) -> None:
    """The temperature belongs to the softmax; all three name the labels in the same order."""
    found = answers(predictor, TEXTS)
    logits = predictor.run([row.ids for row in predictor.encode(TEXTS)]).logits.astype(np.float64)
    powers = np.exp(logits / 2.0)
    wanted = {
        "softmax": powers / powers.sum(axis=1, keepdims=True),
        "sigmoid": 1 / (1 + np.exp(-logits)),
        "none": logits,
    }
    labels = predictor.signature.labels
    softmax, sigmoid, none = (found.labels(function=name) for name in ("softmax", "sigmoid", "none"))
    for name, given in zip(wanted, (softmax, sigmoid, none), strict=True):
        for row, answer in enumerate(given):
            assert by_label(answer) == pytest.approx(dict(zip(labels, wanted[name][row], strict=True)), abs=1e-5)
    orders = [[[one["label"] for one in answer] for answer in given] for given in (softmax, sigmoid, none)]
    assert orders[0] == orders[1] == orders[2]


@pytest.mark.parametrize("function", ["softmax", "sigmoid", "none"])
def test_top_k_keeps_the_best(predictor: Predictor, function: str) -> None:
    """The first of all of them, whatever makes the scores."""
    found = answers(predictor, TEXTS)
    every = found.labels(function=function)  # type: ignore[arg-type]  # one of its literals
    assert found.labels(top_k=2, function=function) == [one[:2] for one in every]  # type: ignore[arg-type]


def test_headers_name_the_texts_that_were_cut(predictor: Predictor) -> None:
    """And there is no such header when none was."""
    long = "film " * MAX_LENGTH
    assert dict(answers(predictor, ["good", long, long]).headers()) == {
        b"x-request-id": b"r1", b"x-model-digest": b"d" * 64, b"x-truncated": b"1,2",
    }  # fmt: skip
    assert b"x-truncated" not in dict(answers(predictor, ["good"]).headers())
