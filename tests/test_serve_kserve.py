"""KServe v2 over HTTP: tensors as JSON and as bytes, and parameters that are known or refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson
import pytest
from asking import answers, encoded, scope
from tiny import MAX_LENGTH, write_model_folder

from ftdeploy.predictor import Predictor
from ftdeploy.serve.kserve import LABEL_OUTPUTS, InferQuestion, parse_infer
from ftdeploy.serve.limits import Limits
from ftdeploy.serve.tensors import read_texts, write_texts
from ftdeploy.serve.wire import Refusal, Reply

LIMITS = Limits(max_texts=3, max_chars=100)
BYTES = write_texts(["good", "bad"])


def tensor(**changes: Any) -> dict[str, Any]:
    return {"name": "text", "shape": [2], "datatype": "BYTES", "data": ["good", "bad"]} | changes


def bare(size: object = len(BYTES), **changes: Any) -> dict[str, Any]:
    """A tensor whose data are bytes."""
    made = tensor(parameters={"binary_data_size": size}, **changes)
    return {key: value for key, value in made.items() if key != "data" or "data" in changes}


def parsed(content: object, behind: bytes = b"", stated: object = None) -> InferQuestion:
    said = encoded(content)
    headers = {}
    if behind or stated is not None:
        headers["inference_header_content_length"] = str(len(said) if stated is None else stated)
    return parse_infer(said + behind, scope(**headers), LIMITS)


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    folder = tmp_path_factory.mktemp("model")
    write_model_folder(folder)
    return Predictor(folder)


def read(reply: Reply) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The JSON of an answer, and the bytes of its tensors by name."""
    length = dict(reply.headers).get(b"inference-header-content-length")
    said = reply.body if length is None else reply.body[: int(length)]
    found, at = orjson.loads(said), len(said)
    tensors = {}
    for one in found["outputs"]:
        size = one.get("parameters", {}).get("binary_data_size")
        if size is not None:
            tensors[one["name"]] = reply.body[at : at + size]
            at += size
    assert at == len(reply.body)
    return found, tensors


@pytest.mark.parametrize("shape", [[2], [2, 1]])
def test_texts_come_as_bytes_behind_the_json(shape: list[int]) -> None:
    """Four bytes of length before each."""
    assert parsed({"inputs": [bare(shape=shape)]}, BYTES).texts == ["good", "bad"]


@pytest.mark.parametrize(
    ("request_parameters", "outputs", "binary"),
    [
        (None, None, {"label": False, "score": False, "scores": False}),
        ({}, [], {"label": False, "score": False, "scores": False}),
        ({"binary_data_output": True}, None, {"label": True, "score": True, "scores": True}),
        ({"binary_data_output": True}, [{"name": "scores"}], {"scores": True}),
        ({"binary_data_output": True}, [{"name": "score", "parameters": {"binary_data": False}}], {"score": False}),
        (None, [{"name": "scores", "parameters": {"binary_data": True}}, {"name": "label"}],
         {"scores": True, "label": False}),
        ({"binary_data_output": None, "content_type": "str"}, None, {"label": False, "score": False, "scores": False}),
    ],
)  # fmt: skip
def test_an_outputs_own_wish_goes_before_that_for_all(
    request_parameters: Any, outputs: Any, binary: dict[str, bool]
) -> None:
    """`binary_data` and `binary_data_output`."""
    found = parsed({"inputs": [tensor()], "outputs": outputs, "parameters": request_parameters})
    assert list((found.outputs or dict.fromkeys(LABEL_OUTPUTS, found.binary)).items()) == list(binary.items())


def test_answers_as_bytes_are_those_in_json(predictor: Predictor) -> None:
    """In the order of the outputs that were asked for, some of each kind."""
    plain = parsed({"inputs": [tensor()]})
    found = answers(predictor, plain.texts)
    wanted = {one["name"]: one for one in read(plain.render(found))[0]["outputs"]}
    outputs = [{"name": "scores"}, {"name": "label"}, {"name": "score", "parameters": {"binary_data": False}}]
    mixed = parsed(
        {"id": "7", "inputs": [bare()], "outputs": outputs, "parameters": {"binary_data_output": True}}, BYTES
    )
    reply = mixed.render(found)
    said, tensors = read(reply)
    assert reply.content_type == b"application/octet-stream"
    assert said["id"] == "7"
    assert [one["name"] for one in said["outputs"]] == ["scores", "label", "score"]
    assert said["outputs"][2] == wanted["score"]
    assert list(read_texts(tensors["label"])) == wanted["label"]["data"] == ["positive", "negative"]
    scores = np.frombuffer(tensors["scores"], dtype="<f4")
    assert scores.tolist() == pytest.approx(wanted["scores"]["data"])
    for one in said["outputs"]:
        assert (one["shape"], one["datatype"]) == (wanted[one["name"]]["shape"], wanted[one["name"]]["datatype"])


def test_json_alone_has_no_length(predictor: Predictor) -> None:
    """The header is there where there are bytes, and only there."""
    asked = parsed({"inputs": [bare()]}, BYTES)
    reply = asked.render(answers(predictor, asked.texts))
    assert reply.headers == ()
    assert reply.content_type == b"application/json"


def test_what_was_cut_is_told_in_the_parameters(predictor: Predictor) -> None:
    """By index, as a text: parameters hold no lists."""
    asked = parsed({"inputs": [tensor(data=["good", "a " * MAX_LENGTH], shape=[2])]})
    said, _ = read(asked.render(answers(predictor, asked.texts)))
    assert said["parameters"] == {"model_digest": "d" * 64, "request_id": "r1", "truncated": "1"}


@pytest.mark.parametrize(
    ("content", "behind", "stated", "status", "told"),
    [
        ({"inputs": [bare()]}, BYTES, "x", 400, "Content-Length is b'x'"),
        ({"inputs": [bare()]}, BYTES, -1, 400, "Content-Length"),
        ({"inputs": [bare()]}, BYTES, 10**30, 400, "Content-Length"),
        ({"inputs": [bare()]}, BYTES, 20, 400, "not JSON"),
        ({"inputs": [bare()]}, b"", None, 422, "0 bytes stand"),
        ({"inputs": [tensor()]}, BYTES, None, 422, "has no binary_data_size"),
        ({"inputs": [bare(data=["good", "bad"])]}, BYTES, None, 422, "one of them"),
        ({"inputs": [bare(size=len(BYTES) - 1)]}, BYTES, None, 422, "binary_data_size is"),
        ({"inputs": [bare(size="15")]}, BYTES, None, 422, "binary_data_size is"),
        ({"inputs": [bare(size=None)]}, BYTES, None, 422, "binary_data_size is"),
        ({"inputs": [bare(size=True, shape=[1])]}, b"x", None, 422, "binary_data_size is"),
        ({"inputs": [bare(size=5)]}, b"\x02\x00\x00\x00a", None, 422, "a length of 2"),
        ({"inputs": [bare(shape=[3])]}, BYTES, None, 422, "the shape [2]"),
        ({"inputs": [bare(size=20, shape=[5])]}, bytes(20), None, 413, "4 texts"),
        ({"inputs": [tensor()], "parameters": {"binary_data_output": "yes"}}, b"", None, 422, "output wants"),
        ({"inputs": [tensor()], "parameters": {"priority": 1}}, b"", None, 422, "'priority'"),
        ({"inputs": [tensor()], "parameters": []}, b"", None, 422, "want an object"),
        ({"inputs": [tensor()], "timeout": 1}, b"", None, 422, "'timeout'"),
        ({"inputs": [tensor(parameters={"content_type": "np"})]}, b"", None, 422, "content_type"),
        ({"inputs": [tensor(strides=[1])]}, b"", None, 422, "'strides'"),
        ({"inputs": [tensor()], "outputs": [{"name": "label", "parameters": {"classification": 2}}]}, b"", None, 422,
         "'classification'"),
        ({"inputs": [tensor()], "outputs": [{"name": "label", "data": []}]}, b"", None, 422, "'data'"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_by_name(
    content: object, behind: bytes, stated: object, status: int, told: str
) -> None:
    """Lengths that lie, and what cannot be honoured."""
    with pytest.raises(Refusal) as caught:
        parsed(content, behind, stated)
    assert caught.value.status == status
    assert told in caught.value.message
