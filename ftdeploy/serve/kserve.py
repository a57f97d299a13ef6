"""The Open Inference Protocol (KServe v2) over HTTP: one BYTES tensor ``text`` in, labels and scores out.

Source: the Open Inference Protocol, "HTTP/REST" (github.com/kserve/open-inference-protocol). The binary tensor
extension is not offered.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from ftdeploy.serve.answers import Answers
from ftdeploy.serve.limits import Limits
from ftdeploy.serve.question import check_texts, invalid, parse_json, short
from ftdeploy.serve.wire import Refusal, Reply, Scope, header
from ftdeploy.signature import Signature

OUTPUTS = ("label", "score", "scores")
#: The model's version is the beginning of the bundle's digest.
VERSION_CHARS = 12


@dataclass(frozen=True, slots=True)
class InferQuestion:
    """Texts to answer, the client's id for the request, and the names of the outputs that it wants."""

    texts: list[str]
    id: str | None
    outputs: tuple[str, ...]
    whole: bool = False

    def render(self, answers: Answers) -> Reply:
        """The protocol's response."""
        cut = [index for index, yes in enumerate(answers.truncated()) if yes]
        about = {
            "model_digest": answers.digest,
            "request_id": answers.identity,
            "truncated": ",".join(map(str, cut)),
        }
        version = answers.digest[:VERSION_CHARS]
        found = render_infer(self, answers.labels(), answers.signature, version=version, parameters=about)
        return Reply(orjson.dumps(found))


def parse_infer(body: bytes | bytearray, scope: Scope, limits: Limits) -> InferQuestion:
    """Read the body of ``POST /v2/models/{name}/infer``.

    Raises:
        Refusal: 400 not JSON, or binary tensors; 422 not one BYTES tensor ``text`` of shape [n] or [n, 1]; 413 too much
            of it.
    """
    if header(scope, b"inference-header-content-length") is not None:
        raise Refusal(400, "validation", "the binary tensor extension is not offered; send JSON data")
    asked = parse_json(body)
    if not isinstance(asked, dict) or not isinstance(asked.get("inputs"), list):
        raise invalid("an object with a list `inputs` is wanted")
    if len(asked["inputs"]) != 1:
        raise invalid(f"exactly one input tensor, `text`, is wanted; {len(asked['inputs'])} given")
    tensor = asked["inputs"][0]
    if not isinstance(tensor, dict) or tensor.get("name") != "text":
        raise invalid("the input tensor must be an object with the name 'text'")
    if tensor.get("datatype") != "BYTES":
        raise invalid(f"text wants the datatype 'BYTES', not {short(tensor.get('datatype'))}")
    texts = _flat(tensor.get("data"))
    check_texts(texts, limits, name="text")
    if tensor.get("shape") not in ([len(texts)], [len(texts), 1]):
        wanted = f"[{len(texts)}] or [{len(texts)}, 1]"
        raise invalid(f"{len(texts)} texts want the shape {wanted}, not {short(tensor.get('shape'))}")
    identity = asked.get("id")
    if identity is not None and not isinstance(identity, str):
        raise invalid(f"id wants a text, not {short(identity)}")
    return InferQuestion(texts=texts, id=identity, outputs=_wanted(asked.get("outputs")))


def _flat(data: Any) -> list[Any]:
    """The elements of a tensor whose rows may be nested or flat, as the protocol allows."""
    if not isinstance(data, list):
        raise invalid("text has no list `data`")
    if data and all(isinstance(row, list) for row in data):
        if any(len(row) != 1 for row in data):
            raise invalid("each row of text holds exactly one element")
        return [row[0] for row in data]
    return data


def _wanted(outputs: Any) -> tuple[str, ...]:
    if outputs is None:
        return OUTPUTS
    if not isinstance(outputs, list):
        raise invalid("outputs wants a list")
    names: list[str] = []
    for output in outputs:
        name = output.get("name") if isinstance(output, dict) else None
        if name not in OUTPUTS:
            raise invalid(f"unknown output {short(name)}; there are {', '.join(OUTPUTS)}")
        if (output.get("parameters") or {}) not in ({}, {"binary_data": False}):
            raise invalid("outputs come as JSON, without parameters")
        if name in names:  # each would be rendered again, for a few bytes of the request
            raise invalid(f"outputs names {name!r} twice")
        names.append(name)
    return tuple(names) or OUTPUTS


def render_infer(question: InferQuestion, answers: Sequence[Sequence[dict[str, Any]]], signature: Signature, *,
                 version: str, parameters: dict[str, str]) -> dict[str, Any]:  # fmt: skip
    """The protocol's response: label BYTES [n], score FP32 [n], scores FP32 [n, labels] in the signature's order.

    Args:
        question: what was asked.
        answers: for each text all labels with scores, best first.
        signature: of the model.
        version: of the model.
        parameters: further facts about the answer; the protocol allows texts, numbers and truth values.
    """
    rows = len(answers)
    tensors = {
        "label": ("BYTES", [rows], [answer[0]["label"] for answer in answers]),
        "score": ("FP32", [rows], [answer[0]["score"] for answer in answers]),
    }
    if "scores" in question.outputs:
        by_label = [{item["label"]: item["score"] for item in answer} for answer in answers]
        flat = [scores[label] for scores in by_label for label in signature.labels]
        tensors["scores"] = ("FP32", [rows, len(signature.labels)], flat)
    return {
        "model_name": signature.name,
        "model_version": version,
        **({} if question.id is None else {"id": question.id}),
        "parameters": parameters,
        "outputs": [
            {"name": name, "datatype": tensors[name][0], "shape": tensors[name][1], "data": tensors[name][2]}
            for name in question.outputs
        ],
    }


def metadata(signature: Signature, *, version: str, digest: str) -> dict[str, Any]:
    """The protocol's model metadata, with the bundle's digest beside it."""
    return {
        "name": signature.name,
        "versions": [version],
        "platform": "onnxruntime_onnx",
        "inputs": [{"name": "text", "datatype": "BYTES", "shape": [-1]}],
        "outputs": [
            {"name": "label", "datatype": "BYTES", "shape": [-1]},
            {"name": "score", "datatype": "FP32", "shape": [-1]},
            {"name": "scores", "datatype": "FP32", "shape": [-1, len(signature.labels)]},
        ],
        "parameters": {
            "digest": digest,
            "task": signature.task,
            "labels": list(signature.labels),
            "max_length": signature.max_length,
        },
    }
