"""How services are asked and what they answer: KServe v2, Hugging Face's toolkit and ours, text-embeddings-inference.

Sources: the Open Inference Protocol (github.com/kserve/open-inference-protocol) with the model repository extension;
the text-classification task of Hugging Face's inference toolkit and pipelines (``top_k`` null is all labels);
text-embeddings-inference, router/src/http (TEI; a flat list of two texts there is a pair, so a batch is nested).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ftdeploy.errors import SourceError
from ftdeploy.models.client import Client
from ftdeploy.pairs import TEXT, TEXT_PAIR, parts

#: One row's scores: label -> probability.
Scored = dict[str, float]

_NAMED = re.compile(r"(?P<base>.*)/v2/models/(?P<name>[^/]+)(?P<version>/versions/[^/]+)?(/(infer|ready))?")
#: Names that servers give to the output with a probability for each label, the usual one first.
_OUTPUTS = ("scores", "probabilities", "probs", "predictions", "output")
_MATRIX = 2  # dimensions
#: What the output of a model is called that answers with a number.
NUMBER = "score"


class ShapeError(Exception):
    """An answer that is not of the form that was asked for; says in what."""


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """How a service is asked.

    Attributes:
        name: for people.
        path: where questions are posted.
        body: texts -> what is posted.
        read: (the answer's JSON, texts asked) -> each row's labels with scores.

            Raises `ShapeError`.
        labels: class id -> label, as the service states them; None where it does not.
        digest: of its model, as it states it; empty where it does not.
        max_length: tokens of the longest input, where it says so.
        texts: most in a request, where it says so.
        metadata: what else it says of itself.
        pairs: whether a text is two (`ftdeploy.pairs`); None where it does not say.
    """

    name: str
    path: str
    body: Callable[[Sequence[str]], Mapping[str, Any]]
    read: Callable[[Any, int], list[Scored]]
    labels: tuple[str, ...] | None = None
    digest: str = ""
    max_length: int | None = None
    texts: int | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    pairs: bool | None = None


def dialects(client: Client, labels: Sequence[str] | None) -> Iterator[Dialect]:
    """What a service may speak, the likeliest first; those that state what they are come alone.

    Args:
        client: of the service.
        labels: class id -> label, for a KServe v2 service that does not state them.

    Raises:
        SourceError: it cannot be reached, or it holds no such model, or several.
    """
    named = _NAMED.fullmatch(client.path)
    if named:
        model = f"{named['base']}/v2/models/{named['name']}{named['version'] or ''}"
        yield _kserve(client, model, labels)
        return
    if client.path.endswith("/predict"):
        base, paths = client.path.removesuffix("/predict"), [client.path]
    else:
        base = client.path.removesuffix("/v2")
        server = client.get(f"{base}/v2")
        name = _only_model(client, base, server) if server and "name" in server else None
        if name is not None:
            yield _kserve(client, f"{base}/v2/models/{name}", labels)
            return
        paths = [f"{base}/predict", base or "/"]
    own = client.get(f"{base}/about") or {}
    if own.get("fallback"):
        # One of ours that answers with a label that the model may not have: the model's own are judged.
        yield Dialect(name="Hugging Face", path=paths[0], body=_own_body, read=read_labelled,
                      pairs=bool(own.get("pairs")))  # fmt: skip
        return
    if own.get("pairs"):
        yield Dialect(name="Hugging Face", path=paths[0], body=_hf_body, read=read_labelled, pairs=True)
        return
    about = client.get(f"{base}/info")
    if about and isinstance(about.get("model_type"), dict | str):
        yield _tei(paths[0], about)
        return
    for path in paths:
        yield Dialect(name="Hugging Face", path=path, body=_hf_body, read=read_labelled)
        yield Dialect(name="TEI", path=path, body=_tei_body, read=read_labelled)


def _hf_body(texts: Sequence[str]) -> Mapping[str, Any]:
    return {"inputs": list(map(_input, texts)), "parameters": {"top_k": None}}


def _own_body(texts: Sequence[str]) -> Mapping[str, Any]:
    return {"inputs": list(map(_input, texts)), "parameters": {"top_k": None, "thresholds": False}}


def _input(text: str) -> Any:
    """A text as pipelines of transformers take it; of two, an object."""
    first, *second = parts(text)
    return {TEXT: first, TEXT_PAIR: second[0]} if second else text


def _tei_body(texts: Sequence[str]) -> Mapping[str, Any]:
    return {"inputs": [list(parts(text)) for text in texts], "truncate": True}


def _tei(path: str, about: Mapping[str, Any]) -> Dialect:
    """TEI, which states labels and limits at ``/info``."""
    kind = about["model_type"]
    classifier = kind.get("classifier") if isinstance(kind, dict) else None
    if not isinstance(classifier, dict):
        raise SourceError(
            f"the service serves {kind if isinstance(kind, str) else ', '.join(kind)}, and no classifier",
            cause="another model was deployed there, for embeddings or for ranking",
            fix="name a service that classifies texts",
        )
    named = classifier.get("id2label") or {}
    return Dialect(
        name="TEI",
        path=path,
        body=_tei_body,
        read=read_labelled,
        labels=tuple(str(named[index]) for index in sorted(named, key=int)) or None,
        max_length=_whole(about.get("max_input_length")),
        texts=_whole(about.get("max_client_batch_size")),
        metadata=about,
    )


def read_labelled(document: Any, rows: int) -> list[Scored]:
    """Rows of labels with scores, as pipelines of transformers, TEI and our ``/predict`` give them.

    Raises:
        ShapeError: it is something else, or holds the best label only.
    """
    found = document.get("predictions") if isinstance(document, dict) else document
    if not isinstance(found, list):
        raise ShapeError(f"a list with an answer for each text is wanted, not {_kind(document)}")
    if found and all(isinstance(one, dict) for one in found):
        if rows > 1:
            raise ShapeError("it holds one label for each text, or answers the texts as one; all labels are wanted")
        found = [found]
    return [_labelled(row) for row in found]


def _labelled(row: Any) -> Scored:
    if not isinstance(row, list):
        raise ShapeError(f"a text's answer is a list of labels with scores, not {_kind(row)}")
    scored: Scored = {}
    for one in row:
        if not isinstance(one, dict) or not isinstance(one.get("label"), str) or not _number(one.get("score")):
            raise ShapeError('a label and its score are wanted as {"label": "...", "score": 0.5}')
        scored[one["label"]] = float(one["score"])
    if len(scored) != len(row):
        raise ShapeError("a label stands twice in an answer")
    return scored


def _only_model(client: Client, base: str, server: Mapping[str, Any]) -> str | None:
    """The one model of a KServe v2 server; None where the server does not list its models."""
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


def _kserve(client: Client, path: str, labels: Sequence[str] | None) -> Dialect:
    """A model of a KServe v2 server, by its metadata."""
    about = client.get(path, wanted=True)
    if about is None:
        raise SourceError(
            f"{client.origin}{path} is no model of a KServe v2 service",
            cause="the model's name is wrong, or the model is not loaded",
            fix="correct the name, or name the server alone where it serves one model",
        )
    inputs = [one for one in about.get("inputs", []) if one.get("datatype") == "BYTES"]
    outputs = {str(one.get("name")): one for one in about.get("outputs", [])}
    output = _output(outputs)
    two = [one["name"] for one in inputs] == [TEXT, TEXT_PAIR]
    if (len(inputs) != 1 and not two) or output is None:
        raise SourceError(
            f"{client.origin}{path} does not take one text, or `text` and `text_pair`, and give a score for each "
            f"label: its inputs are {_tensors(about.get('inputs', []))}, its outputs {_tensors(outputs.values())}",
            cause="the model wants token ids, or gives labels without their scores",
            fix="deploy it with its tokenizer before it, and an output FP32 [-1, labels] with probabilities",
        )
    stated = about.get("parameters") or {}
    known = tuple(map(str, stated.get("labels") or labels or ()))
    if not known:
        raise SourceError(
            f"{client.origin}{path} does not say which labels its scores are of",
            cause="KServe v2 knows tensors, and no labels",
            fix="name the labels in the order of the model's outputs",
        )
    return Dialect(
        name="KServe v2",
        path=f"{path}/infer",
        body=_kserve_body(inputs, output),
        read=_kserve_reader(output, known),
        labels=known,
        digest=str(stated.get("digest") or ""),
        max_length=_whole(stated.get("max_length")),
        metadata=about,
        pairs=two,
    )


def _output(outputs: Mapping[str, Mapping[str, Any]]) -> str | None:
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


def _kserve_body(tensors: Sequence[Mapping[str, Any]], output: str) -> Callable[[Sequence[str]], Mapping[str, Any]]:
    def given(tensor: Mapping[str, Any], texts: Sequence[str]) -> Mapping[str, Any]:
        column = len(tensor.get("shape", ())) == _MATRIX
        shape = [len(texts), 1] if column else [len(texts)]
        return {"name": tensor["name"], "datatype": "BYTES", "shape": shape, "data": list(texts)}

    def body(texts: Sequence[str]) -> Mapping[str, Any]:
        columns = zip(*map(parts, texts), strict=True) if len(tensors) > 1 else [texts]
        inputs = [given(tensor, column) for tensor, column in zip(tensors, columns, strict=True)]
        return {"inputs": inputs, "outputs": [{"name": output}]}

    return body


def _kserve_reader(output: str, labels: tuple[str, ...]) -> Callable[[Any, int], list[Scored]]:
    def read(document: Any, rows: int) -> list[Scored]:
        outputs = document.get("outputs") if isinstance(document, dict) else None
        if not isinstance(outputs, list):
            raise ShapeError(f"an object with `outputs` is wanted, not {_kind(document)}")
        found = next((one for one in outputs if isinstance(one, dict) and one.get("name") == output), None)
        if found is None or not isinstance(found.get("data"), list):
            raise ShapeError(f"the output {output!r} is missing, or has no data as JSON")
        data = found["data"]
        flat = [score for row in data for score in row] if data and isinstance(data[0], list) else data
        if not all(_number(score) for score in flat):
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


def _tensors(listed: Any) -> str:
    return ", ".join(f"{one.get('name')} {one.get('datatype')} {one.get('shape')}" for one in listed) or "none"


def _whole(value: Any) -> int | None:
    """A limit that a service states; what is no positive whole number is none."""
    return value if isinstance(value, int) and value > 0 else None


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a text", bool: "a truth value", type(None): "nothing"}
    return names.get(type(value), "a number")
