"""KServe v2, asked: a model by its metadata, one text or two in, scores of its labels or entities out.

Sources: the Open Inference Protocol (github.com/kserve/open-inference-protocol) with the model repository extension.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ftdeploy.errors import SourceError
from ftdeploy.models.client import Client
from ftdeploy.models.shapes import Dialect, Found, Scored, ShapeError, entities_of, is_number, kind_of, shares_in, whole
from ftdeploy.pairs import TEXT, TEXT_PAIR, parts
from ftdeploy.tasks import Task

#: Names that servers give to the output with a probability for each label, the usual one first.
_OUTPUTS = ("scores", "probabilities", "probs", "predictions", "output")
_MATRIX = 2  # dimensions
#: What the output of a model is called that answers with a number; and of one that finds entities, JSON a text.
NUMBER = "score"
ENTITIES = "entities"


def only_model(client: Client, base: str, server: Mapping[str, Any]) -> str | None:
    """The one model of a KServe v2 server; None where the server does not list its models.

    Args:
        client: of the service.
        base: the server's path.
        server: its metadata.

    Raises:
        SourceError: it serves several.
    """
    if server["name"] == "ftdeploy":
        about = client.get(f"{base}/docs.json") or {}
        named = about.get("info", {}).get("title")
        return str(named) if named else None
    index = client.post(f"{base}/v2/repository/index", {}).document
    listed = index if isinstance(index, list) else (client.get(f"{base}/v2/models") or {}).get("models", [])
    names = sorted({str(one.get("name") if isinstance(one, dict) else one) for one in listed})
    if len(names) > 1:
        raise SourceError(
            f"{client.shown} serves {len(names)} models: {', '.join(names[:10])}",
            cause="the URL names the server, and not one of its models",
            fix=f"name one: {client.origin}{base}/v2/models/{names[0]}",
        )
    return names[0] if names else None


def kserve(client: Client, path: str, labels: Sequence[str] | None, choose: Callable[[Any], Task]) -> Dialect:
    """A model of a KServe v2 server, by its metadata.

    Args:
        client: of the service.
        path: the model's.
        labels: class id -> label, where it does not state them.
        choose: the task that the service states, if any -> what is asked of it.

    Raises:
        SourceError: there is no such model, or it has not the inputs and outputs that are wanted.
    """
    about = client.get(path, wanted=True)
    if about is None:
        raise SourceError(
            f"{client.origin}{path} is no model of a KServe v2 service",
            cause="the model's name is wrong, or the model is not loaded",
            fix="correct the name, or name the server alone where it serves one model",
        )
    stated = about.get("parameters") or {}
    task = choose(stated.get("task"))
    inputs = [one for one in about.get("inputs", []) if one.get("datatype") == "BYTES"]
    outputs = {str(one.get("name")): one for one in about.get("outputs", [])}
    output = _entities(outputs) if task.per_token else _scores(outputs)
    two = [one["name"] for one in inputs] == [TEXT, TEXT_PAIR]
    if (len(inputs) != 1 and not two) or output is None:
        wanted = f"`{ENTITIES}`" if task.per_token else "a score for each label"
        raise SourceError(
            f"{client.origin}{path} does not take one text, or `text` and `text_pair`, and give {wanted}: its inputs "
            f"are {_tensors(about.get('inputs', []))}, its outputs {_tensors(outputs.values())}",
            cause="the model wants token ids, gives labels without their scores, or does something else",
            fix=f"deploy it with its tokenizer before it, and an output {ENTITIES} BYTES [-1], a JSON list a text"
            if task.per_token
            else "deploy it with its tokenizer before it, and an output FP32 [-1, labels] with probabilities",
        )
    known = tuple(map(str, stated.get("labels") or labels or (task.head(()) if task.number else ())))
    if not known and not task.per_token:
        raise SourceError(
            f"{client.origin}{path} does not say which labels its scores are of",
            cause="KServe v2 knows tensors, and no labels",
            fix="name the labels in the order of the model's outputs",
        )
    return Dialect(
        name="KServe v2",
        path=f"{path}/infer",
        body=_body(inputs, output),
        read=_entity_reader(output) if task.per_token else _reader(output, known),
        task=task,
        labels=known or None,
        thresholds=shares_in(stated.get("thresholds")),
        digest=str(stated.get("digest") or ""),
        max_length=whole(stated.get("max_length")),
        metadata=about,
        pairs=two,
    )


def _entities(outputs: Mapping[str, Mapping[str, Any]]) -> str | None:
    return ENTITIES if outputs.get(ENTITIES, {}).get("datatype") == "BYTES" else None


def _scores(outputs: Mapping[str, Mapping[str, Any]]) -> str | None:
    """The output with a score for each label."""
    matrices = [
        name
        for name, one in outputs.items()
        if str(one.get("datatype", "")).startswith("FP") and len(one.get("shape", ())) == _MATRIX
    ]
    if not matrices and str(outputs.get(NUMBER, {}).get("datatype", "")).startswith("FP"):
        return NUMBER
    usual = [name for name in _OUTPUTS if name in matrices]
    return usual[0] if usual else matrices[0] if len(matrices) == 1 else None


def _body(tensors: Sequence[Mapping[str, Any]], output: str) -> Callable[[Sequence[str]], Mapping[str, Any]]:
    def given(tensor: Mapping[str, Any], texts: Sequence[str]) -> Mapping[str, Any]:
        column = len(tensor.get("shape", ())) == _MATRIX
        shape = [len(texts), 1] if column else [len(texts)]
        return {"name": tensor["name"], "datatype": "BYTES", "shape": shape, "data": list(texts)}

    def body(texts: Sequence[str]) -> Mapping[str, Any]:
        columns = zip(*map(parts, texts), strict=True) if len(tensors) > 1 else [texts]
        inputs = [given(tensor, column) for tensor, column in zip(tensors, columns, strict=True)]
        return {"inputs": inputs, "outputs": [{"name": output}]}

    return body


def _tensor(document: Any, output: str) -> tuple[Mapping[str, Any], list[Any]]:
    """One output of an answer, and its data."""
    outputs = document.get("outputs") if isinstance(document, dict) else None
    if not isinstance(outputs, list):
        raise ShapeError(f"an object with `outputs` is wanted, not {kind_of(document)}")
    found = next((one for one in outputs if isinstance(one, dict) and one.get("name") == output), None)
    if found is None or not isinstance(found.get("data"), list):
        raise ShapeError(f"the output {output!r} is missing, or has no data as JSON")
    return found, found["data"]


def _reader(output: str, labels: tuple[str, ...]) -> Callable[[Any, int], list[Scored]]:
    def read(document: Any, rows: int) -> list[Scored]:
        found, data = _tensor(document, output)
        flat = [score for row in data for score in row] if data and isinstance(data[0], list) else data
        if not all(is_number(score) for score in flat):
            raise ShapeError(f"the output {output!r} holds what is no number")
        if len(flat) % len(labels):
            raise ShapeError(f"{len(flat)} scores are no whole number of rows of {len(labels)} labels")
        shapes = (None, [len(flat) // len(labels), len(labels)], *([[len(flat)]] if len(labels) == 1 else []))
        if found.get("shape") not in shapes:
            raise ShapeError(
                f"{len(flat)} scores for {rows} texts of shape {found['shape']}, with {len(labels)} labels"
            )
        width = len(labels)
        return [dict(zip(labels, flat[start : start + width], strict=True)) for start in range(0, len(flat), width)]

    return read


def _entity_reader(output: str) -> Callable[[Any, int], list[Found]]:
    def read(document: Any, _rows: int) -> list[Found]:
        _, data = _tensor(document, output)
        flat = [one for row in data for one in row] if data and isinstance(data[0], list) else data
        try:
            return [entities_of(json.loads(one)) for one in flat]
        except (TypeError, ValueError):
            raise ShapeError(f"the output {output!r} holds what is no JSON of a list of entities") from None

    return read


def _tensors(listed: Any) -> str:
    return ", ".join(f"{one.get('name')} {one.get('datatype')} {one.get('shape')}" for one in listed) or "none"
