"""The description of the service at ``/docs.json``: OpenAPI 3.1."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from ftdeploy.serve.about import DriftState
from ftdeploy.serve.kserve import OUTPUTS
from ftdeploy.serve.limits import Limits
from ftdeploy.signature import Signature

_ERRORS = {
    400: "The body is not JSON.",
    405: "Another method is wanted; see Allow.",
    408: "The body did not arrive in time.",
    413: "The body, the number of texts or a text is too large.",
    415: "The body is compressed.",
    422: "A wrong key, type or value.",
    429: "Too many texts wait, or too many requests are in flight; try again after Retry-After.",
    503: "Not ready, draining, no answer in time, or the model failed.",
}

#: Where keys are on.
_REFUSED = {
    "401": "No key, or none that is known and has not expired.",
    "403": "The key has not the scope that is named.",
}


def describe(signature: Signature, limits: Limits, *, digest: str, version: str) -> dict[str, Any]:
    """The whole document.

    Args:
        signature: of the model.
        limits: in force; they become part of the schemas.
        digest: of the bundle.
        version: of ftdeploy.
    """
    model = f"/v2/models/{signature.name}"
    ready = {"get": _read("Whether questions are answered.", "Health", also_503=True)}
    live = {"get": _read("The process is up.", "Health")}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": signature.name,
            "version": digest[:12],
            "summary": f"{signature.task}, served by ftdeploy {version}",
            "x-model-digest": digest,
        },
        "paths": {
            "/predict": {"post": _predict(signature)},
            "/": {"get": _text("A page to try the model.", "text/html")},
            "/about": {"get": _read("The bundle, its report in short, and its drift.", "About")},
            "/v2": {"get": _read("The server (Open Inference Protocol).", "Object")},
            "/v2/health/live": live,
            "/v2/health/ready": ready,
            model: {"get": _read("The model's inputs, outputs and digest.", "Object")},
            f"{model}/ready": ready,
            f"{model}/infer": {"post": _infer(signature)},
            "/livez": live,
            "/healthz": live,
            "/readyz": ready,
            "/metrics": {"get": _text("Prometheus metrics.", "text/plain")},
            "/docs.json": {"get": _read("This document.", "Object")},
        },
        "components": {"schemas": _schemas(signature, limits), "responses": _responses(), "headers": _headers()},
    }


def _schemas(signature: Signature, limits: Limits) -> dict[str, Any]:
    text = {"type": "string", "maxLength": limits.max_chars}
    texts = {"type": "array", "items": text, "minItems": 1, "maxItems": limits.max_texts}
    label = {"type": "string", "enum": list(signature.labels)}
    score = {"type": "number", "minimum": 0, "maximum": 1}
    answer = _array({"$ref": "#/components/schemas/Score"})
    return {
        "Object": {"type": "object"},
        "Error": _object({"error": {"type": "string"}, "error_type": {"type": "string"}}),
        "Health": _object(
            {"live": {"type": "boolean"}, "ready": {"type": "boolean"}, "state": {"type": "string"}}, closed=False
        ),
        "About": _about(),
        "Score": _object({"label": label, "score": score}),
        "Answer": answer,
        "Question": {
            "type": "object",
            "required": ["inputs"],
            "additionalProperties": False,
            "properties": {
                "inputs": {"anyOf": [text, texts]},
                "parameters": {
                    "type": ["object", "null"],
                    "additionalProperties": False,
                    "properties": {
                        "top_k": {"type": ["integer", "null"], "minimum": 1},
                        "details": {"type": "boolean", "default": False},
                    },
                },
            },
        },
        "Details": _object(
            {
                "predictions": _array(answer),
                "truncated": _array({"type": "boolean"}),
                "tokens": _array({"type": "integer"}),
                "model_digest": {"type": "string"},
                "request_id": {"type": "string"},
            }
        ),
        "InferQuestion": _infer_question(text, limits),
    }


def _about() -> dict[str, Any]:
    words = {"type": "string"}
    number = {"type": "number"}
    count = {"type": "integer"}
    verdict = {"enum": ["pass", "fail", "inconclusive"]}
    metric = _object({"metric": words} | dict.fromkeys(("value", "lower", "upper", "baseline"), number))
    gate = _object({"name": words, "verdict": verdict, "explanation": words})
    report = _object(
        {
            "verdict": verdict,
            "suite": words,
            "rows": count,
            "confidence": number,
            "metrics": _array(metric),
            "gates": _array(gate),
            "counts": _object(dict.fromkeys(verdict["enum"], count)),
        }
    )
    limits = dict.fromkeys(("max_texts", "max_chars", "max_body_bytes"), count)
    return _object(
        {
            **dict.fromkeys(("name", "task", "view", "digest", "version", "state"), words),
            "labels": _array(words),
            "max_length": count,
            "limits": _object(limits),
            "auth": {"type": "boolean"},
            "report": {"anyOf": [report, {"type": "null"}]},
            "drift": _object({"state": {"enum": list(get_args(DriftState))}}),
        }
    )


def _infer_question(text: dict[str, Any], limits: Limits) -> dict[str, Any]:
    element = {"anyOf": [text, _array(text)]}
    tensor = _object({
        "name": {"const": "text"},
        "datatype": {"const": "BYTES"},
        "shape": {"type": "array", "items": {"type": "integer"}, "minItems": 1, "maxItems": 2},
        "data": {"type": "array", "minItems": 1, "maxItems": limits.max_texts, "items": element},
    }, closed=False)  # fmt: skip
    question = _object({"inputs": {"type": "array", "items": tensor, "minItems": 1, "maxItems": 1}}, closed=False)
    question["properties"]["id"] = {"type": ["string", "null"]}
    output = _object({"name": {"enum": list(OUTPUTS)}}, closed=False)
    question["properties"]["outputs"] = _array(output) | {"type": ["array", "null"], "maxItems": len(OUTPUTS)}
    return question


def _predict(signature: Signature) -> dict[str, Any]:
    examples = {
        "one": {"value": {"inputs": "some text"}},
        "several": {"value": {"inputs": ["some text", "another"], "parameters": {"top_k": 1}}},
    }
    answers = {
        "anyOf": [
            {"$ref": "#/components/schemas/Answer"},
            _array({"$ref": "#/components/schemas/Answer"}),
            {"$ref": "#/components/schemas/Details"},
        ]
    }
    return {
        "operationId": "predict",
        "summary": "Answer one text, or several; the shapes of Hugging Face's pipelines and of TEI.",
        "description": (
            f"Texts are cut at {signature.max_length} tokens; X-Truncated then lists the rows that were. An empty text "
            "is answered like any other."
        ),
        "requestBody": _body("Question", examples),
        "responses": _answers(answers),
    }


def _infer(signature: Signature) -> dict[str, Any]:
    tensor = {"name": "text", "shape": [1], "datatype": "BYTES", "data": ["some text"]}
    return {
        "operationId": "infer",
        "summary": f"Open Inference Protocol (KServe v2): label, score and the {len(signature.labels)} scores.",
        "requestBody": _body("InferQuestion", {"one": {"value": {"inputs": [tensor]}}}),
        "responses": _answers({"$ref": "#/components/schemas/Object"}),
    }


def _body(schema: str, examples: dict[str, Any]) -> dict[str, Any]:
    content = {"schema": {"$ref": f"#/components/schemas/{schema}"}, "examples": examples}
    return {"required": True, "content": {"application/json": content}}


def _answers(schema: dict[str, Any]) -> dict[str, Any]:
    names = ("X-Request-Id", "X-Model-Digest", "X-Truncated")
    good = {
        "description": "Labels with scores, best first.",
        "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in names},
        "content": {"application/json": {"schema": schema}},
    }
    return {"200": good} | {str(status): {"$ref": f"#/components/responses/{status}"} for status in _ERRORS}


def _read(summary: str, schema: str, *, also_503: bool = False) -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
    responses = {"200": {"description": summary, "content": content}}
    if also_503:
        responses["503"] = {"description": "Not now.", "content": content}
    return {"summary": summary, "responses": responses}


def _text(summary: str, kind: str) -> dict[str, Any]:
    content = {kind: {"schema": {"type": "string"}}}
    return {"summary": summary, "responses": {"200": {"description": summary, "content": content}}}


def _responses() -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    return {str(status): {"description": text, "content": content} for status, text in _ERRORS.items()}


def _headers() -> dict[str, Any]:
    texts = {
        "X-Request-Id": "The request's own, or a new one; traffic is recorded under it.",
        "X-Model-Digest": "Digest of the bundle that answered.",
        "X-Truncated": "Indices of the texts that were cut, separated by commas; absent when none was.",
    }
    return {name: {"description": text, "schema": {"type": "string"}} for name, text in texts.items()}


def _object(properties: dict[str, Any], *, closed: bool = True) -> dict[str, Any]:
    return {
        "type": "object",
        "required": list(properties),
        "properties": properties,
        "additionalProperties": not closed,
    }


def _array(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


def with_keys(document: dict[str, Any], needed: Mapping[str, str | None]) -> dict[str, Any]:
    """The description of a service that wants keys: where which scope is wanted, and what a request without it gets.

    Args:
        document: of the open service.
        needed: path -> the scope that it wants; None for none.
    """
    error = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    challenge = {"description": "RFC 6750, section 3.", "schema": {"type": "string"}}
    refused = {
        status: {"description": text, "headers": {"WWW-Authenticate": challenge}, "content": error}
        for status, text in _REFUSED.items()
    }
    components = document["components"]
    bearer = {"type": "http", "scheme": "bearer", "description": "A key that `ftdeploy keys add` made."}
    responses = {**components["responses"], **refused}
    references = {status: {"$ref": f"#/components/responses/{status}"} for status in refused}

    def guarded(operation: dict[str, Any], scope: str) -> dict[str, Any]:
        return {**operation, "security": [{"key": [scope]}], "responses": {**operation["responses"], **references}}

    paths = {
        path: {method: guarded(one, scope) for method, one in item.items()} if (scope := needed.get(path)) else item
        for path, item in document["paths"].items()
    }
    components = {**components, "securitySchemes": {"key": bearer}, "responses": responses}
    return {**document, "paths": paths, "components": components}
