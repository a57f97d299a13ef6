"""Requests as a protocol's parser gets them, and answers of a tiny model: for tests of protocols without a server."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ftdeploy.predictor import Predictor
from ftdeploy.serve.answers import Answers
from ftdeploy.serve.model import forward_of


def scope(**headers: str) -> dict[str, Any]:
    """The scope of a request with some headers; underscores in their names are dashes."""
    named = [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()]
    return {"type": "http", "headers": named}


def encoded(content: object) -> bytes:
    """A body in JSON."""
    return json.dumps(content).encode()


def answers(predictor: Predictor, texts: Sequence[str]) -> Answers:
    """What the model says, as the engine hands it over."""
    rows = predictor.encode(texts)
    scored = forward_of(predictor)(rows)
    return Answers(rows=rows, scored=scored, identity="r1", digest="d" * 64, signature=predictor.signature)


def by_label(answer: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Label -> score."""
    return {one["label"]: one["score"] for one in answer}
