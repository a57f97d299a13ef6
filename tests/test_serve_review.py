"""`/review`: a whole document in, its passages out, with what somebody has to look at."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import orjson
import pytest
from asking import answers, encoded
from jsonschema_rs import Draft202012Validator
from tiny import write_model_folder

from ftdeploy.predictor import Predictor
from ftdeploy.serve.limits import Limits
from ftdeploy.serve.openapi import describe
from ftdeploy.serve.review import CHUNK_ROWS, MOST, parse_review, review
from ftdeploy.serve.wire import Refusal
from ftdeploy.signature import Review, Signature, read_signature, write_signature

LABELS = ("negative", "neutral", "positive")
DOCUMENT = "1. superb great best\n\n2. the film was a film \U0001f600\n(a) awful awful bad\n"


class Engine:
    """Answers as the service's engine does, and remembers what it was asked."""

    def __init__(self, predictor: Predictor) -> None:
        self.predictor, self.signature, self.digest = predictor, predictor.signature, "d" * 64
        self.asked: list[tuple[list[str], Sequence[int]]] = []

    async def ask(
        self, texts: list[str], identity: str, *, subject: str | None = None, lines: Sequence[int] = ()
    ) -> Any:
        assert (identity, subject) == ("r1", "s1")
        self.asked.append((texts, lines))
        found = answers(self.predictor, texts)
        return found.rows, found.scored


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """Answers `other` below 0.9; what is negative has to be looked at, and what is none of the labels."""
    folder = tmp_path_factory.mktemp("model")
    write_model_folder(folder, LABELS)
    told = {"thresholds": dict.fromkeys(LABELS, 0.9), "fallback": "other",
            "review": Review(critical=("negative", "other"))}  # fmt: skip
    write_signature(folder, read_signature(folder).model_copy(update=told))
    return Engine(Predictor(folder))


def read(engine: Engine, text: str) -> Any:
    reply = asyncio.run(review(engine, encoded({"inputs": text}), "r1", "s1"))  # type: ignore[arg-type]  # the part of it
    assert dict(reply.headers)[b"x-request-id"] == b"r1"
    return orjson.loads(reply.body)


def schema(signature: Signature) -> dict[str, Any]:
    found = describe(signature, Limits(), digest="d" * 64, version="1")
    return {"$ref": "#/components/schemas/Reviewed", "components": found["components"]}


def test_a_document_gets_its_passages(engine: Engine) -> None:
    """In order, with offsets in characters; the fallback where the model is not sure enough, and as described."""
    found = read(engine, DOCUMENT)
    texts = [DOCUMENT[one["start"] : one["end"]] for one in found["passages"]]
    assert texts == ["1. superb great best", "2. the film was a film \U0001f600", "(a) awful awful bad"]
    assert [(one["label"], one["critical"]) for one in found["passages"]] == [
        ("positive", False), ("other", True), ("negative", True)
    ]  # fmt: skip
    assert all(0 < one["score"] <= 1 and not one["truncated"] for one in found["passages"])
    assert (found["model_digest"], found["request_id"]) == ("d" * 64, "r1")
    Draft202012Validator(schema(engine.signature)).validate(found)
    assert "/review" in describe(engine.signature, Limits(), digest="d" * 64, version="1")["paths"]


def test_a_passage_is_answered_as_it_is_alone(engine: Engine) -> None:
    """The model sees the passages, and nothing of what stands around them."""
    alone = [
        read(engine, DOCUMENT[one["start"] : one["end"]])["passages"][0] for one in read(engine, DOCUMENT)["passages"]
    ]
    together = read(engine, DOCUMENT)["passages"]
    assert [one["label"] for one in alone] == [one["label"] for one in together]
    assert [one["score"] for one in alone] == pytest.approx([one["score"] for one in together], abs=1e-4)


def test_a_long_document_is_asked_in_groups_behind_others(engine: Engine) -> None:
    """Each passage once, with its index in the document, by which traffic knows it; what was cut says so."""
    engine.asked.clear()
    text = "\n\n".join(f"{number}. {'superb ' * 30 if number == 150 else 'awful.'}" for number in range(1, 151))
    found = read(engine, text)["passages"]
    assert [len(texts) for texts, _ in engine.asked] == [CHUNK_ROWS, CHUNK_ROWS, 150 - 2 * CHUNK_ROWS]
    assert [index for _, lines in engine.asked for index in lines] == list(range(150))
    assert [one["truncated"] for one in found] == [False] * 149 + [True]


def test_a_document_without_a_word_has_no_passage(engine: Engine) -> None:
    """As an empty text is answered, too."""
    assert read(engine, " \n ")["passages"] == []


@pytest.mark.parametrize(
    ("asked", "status", "said"),
    [
        ({}, 422, "inputs wants the text of one document, not null"),
        ({"inputs": ["a"]}, 422, "not a list"),
        ({"inputs": "a", "parameters": {}}, 422, "parameters"),
        ([], 422, "the body wants an object"),
        ({"inputs": "\n\n".join(["Pay. " * 20] * (MOST + 1))}, 413, f"more than the {MOST:,} passages"),
    ],
)
def test_what_is_no_document_is_refused(asked: object, status: int, said: str) -> None:
    """With what would be one."""
    with pytest.raises(Refusal, match=said) as refused:
        parse_review(encoded(asked))
    assert refused.value.status == status


def test_models_that_read_no_documents_do_not_describe_it(engine: Engine) -> None:
    """The recipe decides."""
    plain = engine.signature.model_copy(update={"review": None})
    assert "/review" not in describe(plain, Limits(), digest="d" * 64, version="1")["paths"]
