"""The Open Inference Protocol (KServe v2) over HTTP: one BYTES tensor ``text`` in, labels and scores out. A model that
reads pairs takes two of as many elements: ``text`` and ``text_pair``.

Tensors come and go as JSON or as bytes behind it. Of the parameters that requests may bring, those of the binary tensor
extension are known, and MLServer's ``content_type`` where it is ``str``, which is what ``text`` is; others are refused.

Sources: the Open Inference Protocol, "HTTP/REST" (github.com/kserve/open-inference-protocol, inference_rest.md), and
its extension ``binary_tensor_data`` (Triton Inference Server, docs/protocol/extension_binary_data.md).
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from ftdeploy.encoded import Outputs
from ftdeploy.errors import short
from ftdeploy.pairs import TEXT, TEXT_PAIR, join
from ftdeploy.serve.answers import Answers
from ftdeploy.serve.limits import Limits
from ftdeploy.serve.question import Names, check_keys, check_texts, invalid, parse_json
from ftdeploy.serve.tensors import TensorError, read_texts, write_numbers, write_texts
from ftdeploy.serve.wire import Refusal, Reply, Scope, header
from ftdeploy.signature import Signature
from ftdeploy.tasks import TASKS

#: Of a model with one label a text; and of one that finds entities, a JSON list for each text.
LABEL_OUTPUTS = ("label", "score", "scores")
ENTITY_OUTPUTS = ("entities",)
#: Of a model that gives vectors.
VECTOR_OUTPUTS = ("embedding",)
#: Of a model that answers with a number.
NUMBER_OUTPUTS = ("score",)
OUTPUTS = (*LABEL_OUTPUTS, *ENTITY_OUTPUTS, *VECTOR_OUTPUTS)
#: What the server's metadata list.
EXTENSIONS = ("binary_tensor_data",)
#: The model's version is the beginning of the bundle's digest.
VERSION_CHARS = 12
#: Where the JSON ends and bytes begin, in requests and answers.
JSON_LENGTH = b"inference-header-content-length"
_KEYS = ("inputs", "outputs", "id", "parameters")
_TENSOR_KEYS = ("name", "datatype", "shape", "data", "parameters")
_OUTPUT_KEYS = ("name", "parameters")

Tensor = tuple[str, list[int], Any]
"""Datatype, shape, elements."""


@dataclass(frozen=True, slots=True)
class InferQuestion:
    """A request.

    Attributes:
        texts: to answer.
        id: the client's id for the request.
        outputs: the outputs that it wants, and whether as bytes; empty wants all.
        binary: whether all are wanted as bytes, then.
        whole: never.
    """

    texts: list[str]
    id: str | None
    outputs: Mapping[str, bool]
    binary: bool = False
    whole: bool = False

    def render(self, answers: Answers) -> Reply:
        """The protocol's response, with the bytes of tensors behind it where they were asked for."""
        known = outputs_of(answers.signature)
        odd = next((name for name in self.outputs if name not in known), None)
        if odd is not None:
            raise invalid(f"the model has no output {odd!r}; there are {', '.join(known)}")
        asked = self.outputs or dict.fromkeys(known, self.binary)
        tensors = output_tensors(answers, asked)
        listed: list[dict[str, Any]] = []
        behind: list[bytes] = []
        for name, binary in asked.items():
            datatype, shape, data = tensors[name]
            tensor: dict[str, Any] = {"name": name, "datatype": datatype, "shape": shape}
            if binary:
                behind.append(write_texts(data) if datatype == "BYTES" else write_numbers(data))
                tensor["parameters"] = {"binary_data_size": len(behind[-1])}
            else:
                tensor["data"] = data
            listed.append(tensor)
        document = {
            "model_name": answers.signature.name,
            "model_version": answers.digest[:VERSION_CHARS],
            **({} if self.id is None else {"id": self.id}),
            "parameters": about(answers),
            "outputs": listed,
        }
        said = orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
        if not behind:
            return Reply(said)
        length = (JSON_LENGTH, str(len(said)).encode())
        return Reply(said + b"".join(behind), content_type=b"application/octet-stream", headers=(length,))


def about(answers: Answers) -> dict[str, str]:
    """What every answer says of itself, as parameters: texts, since the protocol knows no lists there."""
    cut = (str(index) for index, yes in enumerate(answers.truncated()) if yes)
    return {"model_digest": answers.digest, "request_id": answers.identity, "truncated": ",".join(cut)}


def output_tensors(answers: Answers, wanted: Collection[str]) -> dict[str, Tensor]:
    """label BYTES [n], score FP32 [n], scores FP32 [n, labels] in the signature's order; those that are wanted. A
    fallback may be the label; the scores are those of the model's own labels. Of a model that finds entities: entities
    BYTES [n], JSON; of one that gives vectors: embedding FP32 [n, dimensions]; of one that gives a number: score."""
    task = TASKS[answers.signature.task]
    if task.vectors:
        vectors = answers.vectors()
        return {"embedding": ("FP32", list(vectors.shape), vectors.ravel())}
    labels = answers.labels()
    if task.number:
        return {"score": ("FP32", [len(labels)], [one[0]["score"] for one in labels])}
    if task.per_token:
        return {"entities": ("BYTES", [len(labels)], [orjson.dumps(one).decode() for one in labels])}
    rows, known = len(labels), answers.signature.labels
    tensors: dict[str, Tensor] = {
        "label": ("BYTES", [rows], [one[0]["label"] for one in labels]),
        "score": ("FP32", [rows], [one[0]["score"] for one in labels]),
    }
    if task.multi_label:  # which of them hold, as the data writes it, and how sure the model is of all of it
        logits = np.stack([one.logits for one in answers.scored])
        said = task.said(Outputs(logits=logits, embedding=logits[:, :0]), answers.signature)
        tensors = {"label": ("BYTES", [rows], said.labels), "score": ("FP32", [rows], said.scores.tolist())}
    if "scores" in wanted:
        by_label = [{item["label"]: item["score"] for item in one} for one in labels]
        tensors["scores"] = ("FP32", [rows, len(known)], [scores[label] for scores in by_label for label in known])
    return tensors


def parse_infer(body: bytes | bytearray, scope: Scope, limits: Limits, *, pairs: Names = None) -> InferQuestion:
    """Read the body of ``POST /v2/models/{name}/infer``.

    Args:
        body: of the request.
        scope: of the request.
        limits: of the service.
        pairs: not None where the model reads two texts.

    Raises:
        Refusal: 400 not JSON, or its length is wrong; 422 not the BYTES tensors of `input_names`, of shape [n] or
            [n, 1], or keys and parameters that are not known; 413 too much of it.
    """
    said, behind = _split(body, header(scope, JSON_LENGTH))
    asked = parse_json(said)
    if not isinstance(asked, dict) or not isinstance(asked.get("inputs"), list):
        raise invalid("an object with a list `inputs` is wanted")
    check_keys(asked, _KEYS, "key")
    names, inputs = input_names(two=pairs is not None), asked["inputs"]
    if len(inputs) != len(names):
        wanted = "exactly one input tensor, `text`, is wanted"
        if pairs is not None:
            wanted = "this model reads two texts: exactly two input tensors, `text` and `text_pair`, are wanted"
        raise invalid(f"{wanted}; {len(inputs)} given")
    columns = _columns(inputs, names, behind, limits)
    texts = columns[TEXT] if pairs is None else list(map(join, columns[TEXT], columns[TEXT_PAIR]))
    identity = asked.get("id")
    if identity is not None and not isinstance(identity, str):
        raise invalid(f"id wants a text, not {short(identity)}")
    parameters = _parameters(asked, "binary_data_output", name="the request's parameters")
    binary = _flag(parameters, "binary_data_output")
    outputs = _wanted(asked.get("outputs"), binary=binary)
    return InferQuestion(texts=texts, id=identity, outputs=outputs, binary=bool(binary))


def input_names(*, two: bool) -> tuple[str, ...]:
    """The names of the input tensors of a model that reads single texts, or two."""
    return (TEXT, TEXT_PAIR) if two else (TEXT,)


def outputs_of(signature: Signature) -> tuple[str, ...]:
    """The names of the output tensors of a model."""
    task = TASKS[signature.task]
    if task.number:
        return NUMBER_OUTPUTS
    return VECTOR_OUTPUTS if task.vectors else ENTITY_OUTPUTS if task.per_token else LABEL_OUTPUTS


def _split(body: bytes | bytearray, stated: bytes | None) -> tuple[bytes | bytearray, memoryview]:
    """The JSON and the bytes behind it."""
    if stated is None:
        return body, memoryview(b"")
    digits = stated.strip()
    if not digits.isdigit() or int(digits[:20]) > len(body):
        message = f"Inference-Header-Content-Length is {short(stated)}, and the body has {len(body)} bytes"
        raise Refusal(400, "validation", message)
    length = int(digits)
    return bytes(body[:length]), memoryview(body)[length:]


def _columns(inputs: list[Any], names: tuple[str, ...], behind: memoryview, limits: Limits) -> dict[str, list[str]]:
    """The texts of each input tensor, by its name; as many of each.

    Args:
        inputs: as many as names, in JSON and in any order.
        names: that they must have.
        behind: the bytes behind the JSON: those of one tensor after the other, in the order of the inputs.
        limits: of the service.
    """
    found: dict[str, list[str]] = {}
    sized = [place for place, tensor in enumerate(inputs) if "binary_data_size" in _stated(tensor)]
    for place, tensor in enumerate(inputs):
        name = tensor.get("name") if isinstance(tensor, dict) else None
        if name not in names or name in found:
            wanted = " and ".join(map(repr, names))
            raise invalid(
                f"the input tensor{'s' * (len(names) > 1)} must be {'an object' if len(names) == 1 else 'objects'} "
                f"with the name{'s' * (len(names) > 1)} {wanted}"
            )
        mine = memoryview(b"")
        if place in sized:
            size = _stated(tensor)["binary_data_size"]
            whole = isinstance(size, int) and not isinstance(size, bool) and 0 <= size <= len(behind)
            mine = behind[:size] if whole and place != sized[-1] else behind
            behind = behind[len(mine) :]
        elif behind and not sized:
            raise invalid(f"{len(behind)} bytes stand behind the JSON, and {name} has no binary_data_size")
        found[name] = _texts(tensor, name, mine, limits)
    counts = {len(texts) for texts in found.values()}
    if len(counts) > 1:
        told = " and ".join(f"{len(texts)} of {name}" for name, texts in found.items())
        raise invalid(f"the tensors want as many texts each, not {told}")
    return found


def _stated(tensor: Any) -> Mapping[str, Any]:
    """The parameters of a tensor before they are checked; none where it has none."""
    parameters = tensor.get("parameters") if isinstance(tensor, dict) else None
    return parameters if isinstance(parameters, dict) else {}


def _texts(tensor: Mapping[str, Any], name: str, behind: memoryview, limits: Limits) -> list[str]:
    """The texts of an input tensor.

    Args:
        tensor: in JSON.
        name: its own.
        behind: its bytes behind the JSON.
        limits: of the service.
    """
    check_keys(tensor, _TENSOR_KEYS, f"key of {name}")
    if tensor.get("datatype") != "BYTES":
        raise invalid(f"{name} wants the datatype 'BYTES', not {short(tensor.get('datatype'))}")
    parameters = _parameters(tensor, "binary_data_size", name=f"{name}'s parameters")
    if "binary_data_size" in parameters:
        texts = _binary(tensor, name, parameters["binary_data_size"], behind, limits)
    else:
        texts = _flat(tensor.get("data"), name)
    check_texts(texts, limits, name=name)
    if tensor.get("shape") not in ([len(texts)], [len(texts), 1]):
        wanted = f"[{len(texts)}] or [{len(texts)}, 1]"
        raise invalid(f"{len(texts)} texts want the shape {wanted}, not {short(tensor.get('shape'))}")
    return texts


def _binary(tensor: Mapping[str, Any], name: str, size: Any, behind: memoryview, limits: Limits) -> list[str]:
    if "data" in tensor:
        raise invalid(f"{name} has data and a binary_data_size: one of them is wanted")
    if isinstance(size, bool) or not isinstance(size, int) or size != len(behind):
        raise invalid(f"{name}'s binary_data_size is {short(size)}, and {len(behind)} bytes stand behind the JSON")
    try:
        return list(itertools.islice(read_texts(behind), limits.max_texts + 1))
    except TensorError as error:
        raise invalid(f"{name}: {error}") from None


def _flat(data: Any, name: str) -> list[Any]:
    """The elements of a tensor whose rows may be nested or flat, as the protocol allows."""
    if not isinstance(data, list):
        raise invalid(f"{name} has no list `data`")
    if data and all(isinstance(row, list) for row in data):
        if any(len(row) != 1 for row in data):
            raise invalid(f"each row of {name} holds exactly one element")
        return [row[0] for row in data]
    return data


def _parameters(given: Mapping[str, Any], known: str, *, name: str) -> Mapping[str, Any]:
    """Parameters of the request, a tensor or an output: one of the extension, and the content type, which is known."""
    parameters = given.get("parameters")
    if parameters is None:
        return {}
    if not isinstance(parameters, dict):
        raise invalid(f"{name} want an object, not {short(parameters)}")
    check_keys(parameters, (known, "content_type"), "parameter")
    if parameters.get("content_type", "str") != "str":
        raise invalid(f"the content_type of {name} is {short(parameters['content_type'])}; it is 'str'")
    return parameters


def _flag(parameters: Mapping[str, Any], key: str) -> bool | None:
    value = parameters.get(key)
    if value is not None and not isinstance(value, bool):
        raise invalid(f"{key} wants true or false, not {short(value)}")
    return value


def _wanted(outputs: Any, *, binary: bool | None) -> dict[str, bool]:
    """The outputs in their order, and whether as bytes."""
    if outputs is not None and not isinstance(outputs, list):
        raise invalid("outputs wants a list")
    wanted: dict[str, bool] = {}
    for output in outputs or ():
        name = output.get("name") if isinstance(output, dict) else None
        if name not in OUTPUTS:
            raise invalid(f"unknown output {short(name)}; there are {', '.join(OUTPUTS)}")
        check_keys(output, _OUTPUT_KEYS, f"key of {name}")
        if name in wanted:  # each would be rendered again, for a few bytes of the request
            raise invalid(f"outputs names {name!r} twice")
        own = _flag(_parameters(output, "binary_data", name=f"{name}'s parameters"), "binary_data")
        wanted[name] = bool(binary if own is None else own)
    return wanted


def metadata(signature: Signature, *, version: str, digest: str) -> dict[str, Any]:
    """The protocol's model metadata, with the bundle's digest beside it."""
    fallback: dict[str, Any] = {"fallback": signature.fallback} if signature.fallback else {}
    if signature.fallback or signature.thresholds:  # without a fallback, from where on labels hold
        fallback |= {"thresholds": dict(signature.thresholds)}
    kinds = {"label": ("BYTES", [-1]), "score": ("FP32", [-1]), "scores": ("FP32", [-1, len(signature.labels)]),
             "entities": ("BYTES", [-1]), "embedding": ("FP32", [-1, signature.dimensions])}  # fmt: skip
    return {
        "name": signature.name,
        "versions": [version],
        "platform": "onnxruntime_onnx",
        "inputs": [
            {"name": name, "datatype": "BYTES", "shape": [-1]} for name in input_names(two=signature.pairs is not None)
        ],
        "outputs": [
            {"name": name, "datatype": kinds[name][0], "shape": kinds[name][1]} for name in outputs_of(signature)
        ],
        "parameters": {
            "digest": digest,
            "task": signature.task,
            "labels": list(signature.labels),
            "max_length": signature.max_length,
            **({"windows": signature.windows.model_dump()} if signature.windows else {}),
            **({"pairs": list(signature.pairs.columns)} if signature.pairs else {}),
            **fallback,
        },
    }
