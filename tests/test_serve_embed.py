"""`/embed` in the shape of TEI, `/v1/embeddings` in that of OpenAI: what is understood, refused, and answered."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from asking import encoded, scope
from jsonschema_rs import Draft202012Validator, ValidationError
from tiny import write_source

from ftdeploy.encoded import Encoded
from ftdeploy.serve.answers import Answers
from ftdeploy.serve.app import create_app
from ftdeploy.serve.bulk_lines import answer_line, read_line
from ftdeploy.serve.embed import parse_embed, parse_openai, refused
from ftdeploy.serve.invocations import parse_invocations
from ftdeploy.serve.kserve import metadata, parse_infer
from ftdeploy.serve.limits import Limits
from ftdeploy.serve.model import Scored
from ftdeploy.serve.openapi import describe
from ftdeploy.serve.question import parse_predict
from ftdeploy.serve.wire import RETRY_SOON, Refusal
from ftdeploy.signature import Signature

LIMITS = Limits(max_texts=3, max_chars=100)
SIGNATURE = Signature(name="vectors", task="feature-extraction", labels=(), max_length=8, dimensions=2)
VECTORS = np.array([[0.6, -0.8], [1.0, 0.0]], dtype=np.float32)


def _answers(count: int = 2) -> Answers:
    rows = [Encoded(ids=[1, 2, 3], length=3 + row, unknown=0) for row in range(count)]
    scored = [Scored([], np.zeros(2, dtype=np.float32), vector, ("embedding", 1.0)) for vector in VECTORS[:count]]
    return Answers(rows=rows, scored=scored, identity="r1", digest="d" * 64, signature=SIGNATURE)


def _tei(asked: object) -> Any:
    return orjson.loads(parse_embed(encoded(asked), scope(), LIMITS).render(_answers()).body)


def _openai(asked: object, count: int = 2) -> Any:
    return orjson.loads(parse_openai(SIGNATURE, encoded(asked), scope(), LIMITS).render(_answers(count)).body)


def test_tei_gets_a_list_of_vectors() -> None:
    """For one text as well; numbers are as short as float32 can be told."""
    assert _tei({"inputs": ["a", "b"], "normalize": True, "truncate": True}) == [[0.6, -0.8], [1.0, 0.0]]
    assert parse_embed(encoded({"inputs": "a"}), scope(), LIMITS).texts == ["a"]
    assert parse_embed(encoded({"inputs": "a", "truncate": False}), scope(), LIMITS).whole


def test_openai_gets_objects_and_usage() -> None:
    """With the tokens that were read, not those that were cut; as numbers or as bytes."""
    found = _openai({"input": ["a", "b"], "model": "vectors", "user": "me"})
    assert _openai({"input": ["a", "b"], "user": None}) == _openai({"input": ["a", "b"]})
    assert found == {
        "object": "list",
        "data": [{"object": "embedding", "index": index, "embedding": vector}
                 for index, vector in enumerate([[0.6, -0.8], [1.0, 0.0]])],
        "model": "vectors",
        "usage": {"prompt_tokens": 6, "total_tokens": 6},
    }  # fmt: skip
    (one,) = _openai({"input": "a", "encoding_format": "base64", "dimensions": 2}, 1)["data"]
    assert (np.frombuffer(base64.b64decode(one["embedding"]), dtype="<f4") == VECTORS[0]).all()


@pytest.mark.parametrize(
    ("asked", "status", "words"),
    [
        ({"inputs": "a", "normalize": False}, 422, "length 1"),
        ({"inputs": "a", "truncation_direction": "Left"}, 422, "at the right only"),
        ({"inputs": "a", "prompt_name": "query"}, 422, "unknown"),
        ({"inputs": ["a", 7]}, 422, "inputs[1] wants a text"),
        ({"inputs": []}, 422, "at least one"),
        ({"inputs": ["a"] * 4}, 413, "at most 3"),
        ({"inputs": {"text": "a"}}, 422, "an object"),
        ({"inputs": "a", "truncate": "yes"}, 422, "true or false"),
        ({}, 422, "inputs wants"),
        ([], 422, "an object"),
    ],
)
def test_what_tei_may_not_ask_is_refused(asked: object, status: int, words: str) -> None:
    """With the reason; nothing is ignored."""
    with pytest.raises(Refusal) as caught:
        _tei(asked)
    assert (caught.value.status, words in caught.value.message) == (status, True), caught.value.message


@pytest.mark.parametrize(
    ("asked", "status", "words"),
    [
        ({"input": "a", "model": "text-embedding-3-small"}, 404, "there is no model"),
        ({"input": "a", "model": 7}, 422, "model wants a text"),
        ({"input": "a", "encoding_format": "hex"}, 422, "float, base64"),
        ({"input": "a", "dimensions": 1}, 422, "cannot be cut"),
        ({"input": "a", "user": 7}, 422, "user wants a text"),
        ({"input": [[1, 2]]}, 422, "check_embedding_ctx_length=False"),
        ({"input": [1, 2]}, 422, "holds token ids"),
        ({"input": [["a"]]}, 422, "input[0] wants a text"),
        ({"inputs": "a"}, 422, "did you mean"),
        ({}, 422, "input wants"),
    ],
)
def test_what_openai_may_not_ask_is_refused(asked: object, status: int, words: str) -> None:
    """Tokens instead of texts, other sizes, other models."""
    with pytest.raises(Refusal) as caught:
        _openai(asked)
    assert (caught.value.status, words in caught.value.message) == (status, True), caught.value.message


def test_the_other_protocols_give_vectors_too() -> None:
    """`/predict` a vector for a text; MLflow's forms and CSV; KServe a tensor, as JSON and as bytes."""
    answers = _answers()

    def asked(parse: Any, content: object, **headers: str) -> Any:
        body = content if isinstance(content, bytes) else encoded(content)
        return parse(body, scope(**headers), LIMITS).render(answers)

    assert orjson.loads(asked(parse_predict, {"inputs": "a"}).body) == [0.6, -0.8]
    assert orjson.loads(asked(parse_predict, {"inputs": ["a", "b"]}).body) == [[0.6, -0.8], [1.0, 0.0]]
    told = orjson.loads(asked(parse_invocations, {"instances": ["a", "b"]}).body)
    assert told == {"predictions": [[0.6, -0.8], [1.0, 0.0]]}
    csv = asked(parse_invocations, b"text\na\nb\n", content_type="text/csv").body.decode()
    assert csv.splitlines() == ["0,1", "0.6,-0.8", "1.0,0.0"]
    lines = asked(parse_invocations, b'"a"\n"b"\n', content_type="application/jsonlines").body
    assert lines == b"[0.6,-0.8]\n[1.0,0.0]\n"
    tensor = {"name": "text", "shape": [2], "datatype": "BYTES", "data": ["a", "b"]}
    (output,) = orjson.loads(asked(parse_infer, {"inputs": [tensor]}).body)["outputs"]
    assert output == {"name": "embedding", "datatype": "FP32", "shape": [2, 2], "data": [0.6, -0.8, 1.0, 0.0]}
    binary = {"inputs": [tensor], "outputs": [{"name": "embedding", "parameters": {"binary_data": True}}]}
    assert asked(parse_infer, binary).body.endswith(VECTORS.astype("<f4").tobytes())
    assert metadata(SIGNATURE, version="1", digest="d")["outputs"] == [
        {"name": "embedding", "datatype": "FP32", "shape": [-1, 2]}
    ]


@pytest.mark.parametrize("parameters", [{"top_k": 1}, {"function_to_apply": "none"}])
def test_what_chooses_labels_is_refused(parameters: dict[str, Any]) -> None:
    """A vector has no labels."""
    with pytest.raises(Refusal, match="do not go with feature-extraction"):
        parse_predict(encoded({"inputs": "a", "parameters": parameters}), scope(), LIMITS).render(_answers())


def test_a_line_of_bulk_that_asks_for_labels_ends_nothing() -> None:
    """It gets a line with an error, as any line that is wrong."""
    for asked, key in (({"inputs": "a", "parameters": {"top_k": 1}}, "error"), ({"inputs": "a"}, "predictions")):
        line = read_line(encoded(asked), 3, LIMITS)
        assert line.question is not None
        found = orjson.loads(answer_line(line, line.question, _answers(1)))
        assert (found["index"], key in found) == (3, True)


def test_a_bundle_with_labels_has_no_such_paths(tmp_path: Path) -> None:
    """404 there, as of anything that is not served."""
    write_source(tmp_path)
    description = orjson.loads(asyncio.run(_get(create_app(tmp_path), "/docs.json"))[1])
    assert not {"/embed", "/v1/embeddings"} & description["paths"].keys()
    for path in ("/embed", "/v1/embeddings"):
        status, body = asyncio.run(_get(create_app(tmp_path), path))
        assert (status, "/docs.json lists what is" in body.decode()) == (404, True)


def test_openai_is_refused_in_its_own_shape(tmp_path: Path) -> None:
    """Its client shows the sentence of an error that is an object, and nothing of one that is a text; what is not there
    is told likewise, be it a model without vectors. Other paths keep to theirs."""
    write_source(tmp_path)
    app = create_app(tmp_path)
    said = orjson.loads(asyncio.run(_get(app, "/embed"))[1])
    of_openai = {"error": {"message": said["error"], "type": said["error_type"]}, "error_type": said["error_type"]}
    for path in ("/v1/embeddings", "/v1/models"):
        assert orjson.loads(asyncio.run(_get(app, path))[1]) == of_openai
    reply = refused(Refusal(429, "overloaded", "too many", headers=(RETRY_SOON,)), "/v1/embeddings")
    assert (reply.status, reply.headers) == (429, (RETRY_SOON,))
    document = describe(SIGNATURE, LIMITS, digest="d" * 64, version="1")
    schema = {"$ref": "#/components/schemas/Error", "components": document["components"]}
    for one in (said, of_openai, orjson.loads(reply.body)):
        Draft202012Validator(schema).validate(one)


async def _get(app: Any, path: str) -> tuple[int, bytes]:
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await app(scope() | {"path": path, "method": "GET", "query_string": b""}, receive, send)
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent)


def test_the_description_has_both_and_no_feedback() -> None:
    """Only of such a model; its schemas fit what is answered."""
    document = describe(SIGNATURE, LIMITS, digest="d" * 64, version="1")
    assert {"/embed", "/v1/embeddings"} <= document["paths"].keys()
    assert "/feedback" not in document["paths"]
    other = SIGNATURE.model_copy(update={"task": "text-classification", "labels": ("a", "b")})
    assert "/embed" not in describe(other, LIMITS, digest="d" * 64, version="1")["paths"]

    def fits(name: str, value: object) -> None:
        schema = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
        Draft202012Validator(schema).validate(value)

    fits("EmbedQuestion", {"inputs": ["a", "b"], "normalize": True})
    fits("Embedded", _tei({"inputs": ["a", "b"]}))
    fits("EmbeddingsQuestion", {"input": "a", "model": "vectors", "encoding_format": "base64", "dimensions": 2})
    fits("Embeddings", _openai({"input": ["a", "b"]}))
    fits("Embeddings", _openai({"input": ["a", "b"], "encoding_format": "base64"}))
    with pytest.raises(ValidationError):
        fits("EmbeddingsQuestion", {"input": "a", "dimensions": 1})
