"""`/anomaly`: what is understood, what is refused, and what is told of a text."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson
import pytest
from asking import encoded, scope
from jsonschema_rs import Draft202012Validator

from ftdeploy.anomaly import NEAREST, Populations
from ftdeploy.encoded import Encoded
from ftdeploy.serve.anomaly import parse_anomaly
from ftdeploy.serve.answers import Answers
from ftdeploy.serve.limits import Limits
from ftdeploy.serve.model import Scored
from ftdeploy.serve.openapi import describe
from ftdeploy.serve.wire import Refusal
from ftdeploy.signature import Anomaly, Signature

LIMITS = Limits(max_texts=3, max_chars=100)
SETTINGS = Anomaly(level=0.1)
SIGNATURE = Signature(name="v", task="feature-extraction", labels=(), max_length=8, dimensions=2, anomaly=SETTINGS)
_ROWS = np.arange(1, 20, dtype=np.float32) / 100
#: `east` and `north`, with nineteen calibration rows each.
KNOWN = Populations(
    ("east", "north"),
    np.repeat(np.eye(2, dtype=np.float32), NEAREST, axis=0),
    np.repeat(np.arange(2), NEAREST),
    [_ROWS, _ROWS],
    _ROWS,
)
VECTORS = np.array([[1, 0], [-1, 0]], dtype=np.float32)


def _asked(asked: object) -> Any:
    question = parse_anomaly(KNOWN, SETTINGS, encoded(asked), scope(), LIMITS)
    count = len(question.texts)
    rows = [Encoded(ids=[1, 2, 3], length=3, unknown=0)] * count
    scored = [Scored([], np.zeros(2, dtype=np.float32), vector, ("embedding", 1.0)) for vector in VECTORS[:count]]
    answers = Answers(rows=rows, scored=scored, identity="r1", digest="d" * 64, signature=SIGNATURE)
    return orjson.loads(question.render(answers).body)


def test_a_text_is_held_against_its_label() -> None:
    """One text or several; the label may be left out. Which one is nearest is told in any case."""
    assert _asked({"inputs": "a", "label": "north"}) == [{"p_value": 0.05, "unusual": True, "nearest": "east"}]
    assert _asked({"inputs": "a", "label": "east"}) == [{"p_value": 1.0, "unusual": False, "nearest": "east"}]
    assert _asked({"inputs": ["a", "b"], "label": None}) == [
        {"p_value": 1.0, "unusual": False, "nearest": "east"},
        {"p_value": 0.05, "unusual": True, "nearest": "north"},
    ]


def test_answers_are_as_described() -> None:
    """Where the bundle has populations, and else there is no such path."""
    told = describe(SIGNATURE, LIMITS, digest="d" * 64, version="1")
    schema = {"$ref": "#/components/schemas/Unusual", "components": told["components"]}
    Draft202012Validator(schema).validate(_asked({"inputs": ["a", "b"]}))
    assert "/anomaly" in told["paths"]
    plain = SIGNATURE.model_copy(update={"anomaly": None})
    assert "/anomaly" not in describe(plain, LIMITS, digest="d" * 64, version="1")["paths"]


@pytest.mark.parametrize(
    ("asked", "status", "said"),
    [
        ({"inputs": "a", "label": "nort"}, 422, "did you mean 'north'"),
        ({"inputs": "a", "label": 1}, 422, "label wants a text, not a number"),
        ({"inputs": "a", "level": 0.5}, 422, "level"),
        ({"inputs": []}, 422, "at least one text"),
        ({"inputs": ["a"] * 4}, 413, "at most 3"),
        ({"label": "north"}, 422, "inputs wants a text or a list"),
    ],
)
def test_what_cannot_be_held_against_anything_is_refused(asked: object, status: int, said: str) -> None:
    """With what would do."""
    with pytest.raises(Refusal, match=said) as refused:
        parse_anomaly(KNOWN, SETTINGS, encoded(asked), scope(), LIMITS)
    assert refused.value.status == status
