"""The description of the service at ``/docs.json``: OpenAPI 3.1."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ftdeploy.serve.bulk import NDJSON
from ftdeploy.serve.bulk import PATH as BULK
from ftdeploy.serve.exposition import OPENMETRICS, TEXT
from ftdeploy.serve.invocations import CSV, JSON, LINES
from ftdeploy.serve.kserve import VERSION_CHARS, outputs_of
from ftdeploy.serve.limits import Limits
from ftdeploy.serve.pdf import MEDIA_TYPE as PDF
from ftdeploy.serve.schemas import Schema, ref, schemas
from ftdeploy.signature import Signature
from ftdeploy.tasks import TASKS

_ERRORS = {
    400: "The body is not what its media type says.",
    403: "A browser sent it for a page of another origin, which is not allowed to ask.",
    404: "There is no such model here.",
    406: "None of the media types of an answer is accepted.",
    408: "The body did not arrive in time.",
    409: "The service records nothing, so no labels either.",
    413: "The body, the number of texts or a text is too large, or a text too long where cutting was ruled out.",
    415: "The body is compressed, or of an unknown media type.",
    422: "A wrong key, type or value.",
    429: "Too many texts wait, or too many requests are in flight; try again after Retry-After.",
    503: "Not ready, draining, no answer in time, the model failed, or the disk takes no labels.",
}
_HEADERS = {
    "X-Request-Id": "The request's own, or a new one; traffic is recorded under it.",
    "X-Model-Digest": "Digest of the bundle that answered.",
    "X-Truncated": "Indices of the texts that were cut, separated by commas; absent when none was.",
    "Server-Timing": "How long the answer took here.",
}
_LENGTH = "Inference-Header-Content-Length"
_LENGTH_SAYS = "Where the JSON ends and the bytes of tensors begin; absent when there are none."
_NAMED = ("X-Request-Id", "X-Model-Digest")
_SOMETIMES = ("X-Truncated", _LENGTH)
_OF_A_QUESTION = (400, 403, 408, 413, 415, 422, 429, 503)

#: An example of what a model takes that reads two texts.
_PAIR = {"text": "some text", "text_pair": "its second text"}
#: Where keys are on.
_REFUSED = {
    "401": "No key, or none that is known and has not expired.",
    "403": "The key has not the scope that is named, or a page of another origin asks that is not allowed to.",
}


def describe(signature: Signature, limits: Limits, *, digest: str, version: str) -> dict[str, Any]:
    """The whole document.

    Args:
        signature: of the model.
        limits: in force; they become part of the schemas.
        digest: of the bundle.
        version: of ftdeploy.
    """
    ready = {"get": _ready("Whether questions are answered.")}
    live = {"get": _read("The process is up.", "Live")}
    paths: dict[str, Any] = {
        "/predict": {"post": _predict(signature)},
        BULK: {"post": _bulk()},
        "/invocations": {"post": _invocations(signature)},
        **(_embed() if TASKS[signature.task].vectors else {}),
        **({} if TASKS[signature.task].vectors else {"/feedback": {"post": _feedback(signature)}}),
        **(_review() if signature.review is not None else {}),
        **(_anomaly() if signature.anomaly is not None else {}),
        "/": {"get": _text("A page to try the model.", "text/html; charset=utf-8")},
        "/about": {"get": _read("The bundle, its report in short, and its drift.", "About")},
        "/v2": {"get": _read("The server (Open Inference Protocol).", "Server")},
        "/metrics": {
            "get": _text("Prometheus metrics, in the format that Accept names.", TEXT.decode(), OPENMETRICS.decode())
        },
        "/docs.json": {"get": _read("This document.", "Description")},
        **dict.fromkeys(("/v2/health/live", "/livez", "/healthz"), live),
        **dict.fromkeys(("/v2/health/ready", "/readyz", "/ping", "/health"), ready),
    }
    model = f"/v2/models/{signature.name}"
    for path, suffix in ((model, ""), (f"{model}/versions/{digest[:VERSION_CHARS]}", "OfVersion")):
        paths[path] = {"get": _read("The model's inputs, outputs and digest.", "Model")}
        paths[f"{path}/ready"] = ready
        paths[f"{path}/infer"] = {"post": _infer(signature, f"infer{suffix}")}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": signature.name,
            "version": digest[:VERSION_CHARS],
            "summary": f"{signature.task}, served by ftdeploy {version}",
            "x-model-digest": digest,
        },
        "paths": paths,
        "components": {"schemas": schemas(signature, limits), "responses": _responses(), "headers": _headers()},
    }


def _predict(signature: Signature) -> dict[str, Any]:
    examples: dict[str, Any] = {
        "one": {"inputs": "some text"},
        "several": {"inputs": ["some text", "another"], "parameters": {"details": True}},
    }
    task = TASKS[signature.task]
    if not (task.per_token or task.vectors):
        examples["best"] = {"inputs": ["some text", "another"], "parameters": {"top_k": 1}}
        examples["raw"] = {"inputs": [["some text"]], "raw_scores": True, "truncate": True}
    if signature.pairs:
        examples = {
            "one": {"inputs": _PAIR},
            "several": {"inputs": [_PAIR, ["another", "its second text"]], "parameters": {"details": True}},
            "best": {"inputs": [_PAIR], "parameters": {"top_k": 1}},
            "raw": {"inputs": [["some text", "its second text"]], "raw_scores": True, "truncate": True},
        }
    answer = {"anyOf": [ref("Answer"), {"type": "array", "items": ref("Answer"), "minItems": 1}, ref("Details")]}
    return {
        "operationId": "predict",
        "summary": "Answer one text, or several; the shapes of Hugging Face's pipelines and of TEI.",
        "description": (
            f"{_length(signature)} An empty text is answered like any other. "
            + (
                "The model reads two texts: an object with `text` and `text_pair`, or a list of both, which is one "
                "pair where it stands alone."
                if signature.pairs
                else "A flat list is a list of texts, never a pair."
            )
        ),
        "requestBody": _body({JSON: ref("Question")}, examples),
        "responses": _answers({JSON: answer}, _OF_A_QUESTION),
    }


def _embed() -> dict[str, Any]:
    """The paths of models that answer with vectors; there are no labels that could come back."""
    one, several = {"inputs": "some text"}, {"inputs": ["some text", "another"]}
    openai = {"input": ["some text", "another"], "encoding_format": "float"}
    return {
        "/embed": {
            "post": {
                "operationId": "embed",
                "summary": "A vector for each text, in the shape of TEI.",
                "requestBody": _body({JSON: ref("EmbedQuestion")}, {"one": one, "several": several}),
                "responses": _answers({JSON: ref("Embedded")}, _OF_A_QUESTION),
            }
        },
        "/v1/embeddings": {
            "post": {
                "operationId": "embeddings",
                "summary": "A vector for each text, in the shape of OpenAI.",
                "requestBody": _body({JSON: ref("EmbeddingsQuestion")}, {"several": openai}),
                "responses": _answers({JSON: ref("Embeddings")}, (*_OF_A_QUESTION, 404)),
            }
        },
    }


def _review() -> dict[str, Any]:
    """The path of models that read documents."""
    return {
        "/review": {
            "post": {
                "operationId": "review",
                "summary": "A whole document: its passages, each with its label and its place in the text.",
                "description": (
                    "Offsets count characters. Texts of other requests go first. Of a PDF the text layer is read "
                    "where pypdf is installed."
                ),
                "requestBody": _body(
                    {JSON: ref("Document"), PDF: ref("Pdf")}, {"one": {"inputs": "1. Some clause.\n\n2. Another."}}
                ),
                "responses": _answers({JSON: ref("Reviewed")}, _OF_A_QUESTION, _NAMED),
            }
        }
    }


def _anomaly() -> dict[str, Any]:
    """The path of models that say how unusual a text is."""
    examples = {"known": {"inputs": ["some text"], "label": "some label"}, "unknown": {"inputs": "some text"}}
    return {
        "/anomaly": {
            "post": {
                "operationId": "anomaly",
                "summary": "How unusual each text is beside those of its label: a conformal p-value.",
                "description": (
                    "Without a label a text is held against the rows of all labels. That it is not unusual does not "
                    "say that it is usual."
                ),
                "requestBody": _body({JSON: ref("AnomalyQuestion")}, examples),
                "responses": _answers({JSON: ref("Unusual")}, _OF_A_QUESTION),
            }
        }
    }


def _length(signature: Signature) -> str:
    if TASKS[signature.task].per_token:
        return "Texts may have any length: they are read sentence by sentence. Offsets count characters."
    if signature.windows is not None:
        return (
            f"Texts longer than {signature.max_length} tokens are read in windows of so many that overlap, at most "
            f"{signature.windows.most}; X-Truncated lists those that went on behind the last."
        )
    if signature.pairs:
        return (
            f"Of pairs of more than {signature.max_length} tokens the longer text loses its end; X-Truncated then "
            "lists those that were cut."
        )
    return f"Texts are cut at {signature.max_length} tokens; X-Truncated then lists those that were."


def _bulk() -> dict[str, Any]:
    return {
        "operationId": "bulk",
        "summary": "Any number of texts: a line in, a line out, in the order asked, both at once (NDJSON).",
        "description": (
            "Each item of the arrays is one line (as OpenAPI 3.2 has it for sequential media types). A line that is "
            "wrong gets a line with an error and ends nothing. Answers come while lines are being sent: a client has "
            "to read while it sends. Texts of other requests go first."
        ),
        "requestBody": {
            "required": True,
            "content": {NDJSON: {"schema": {"type": "array", "items": ref("BulkLine")}}},
        },
        "responses": _answers(
            {NDJSON: {"type": "array", "items": ref("BulkAnswer")}}, (403, 408, 415, 422, 429, 503), _NAMED
        ),
    }


def _invocations(signature: Signature) -> dict[str, Any]:
    kinds = {JSON: ref("Invocation"), CSV: ref("Rows"), LINES: ref("Lines")}
    examples: dict[str, Any] = {
        "mlflow": {"dataframe_split": {"columns": ["text"], "data": [["some text"], ["another"]]}},
        "sagemaker": {"inputs": ["some text", "another"], "parameters": {"top_k": 1}},
    }
    header = (
        "CSV has one column. `text/csv; header=present` and `header=absent` say whether its first line is a header "
    )
    header += "(RFC 4180); where neither is said, the first line has to be `text` or `inputs`."
    if signature.pairs:
        examples = {
            "mlflow": {"dataframe_split": {"columns": list(_PAIR), "data": [list(_PAIR.values())]}},
            "records": {"dataframe_records": [dict(zip(signature.pairs.columns, _PAIR.values(), strict=True))]},
            "sagemaker": {"inputs": [_PAIR], "parameters": {"top_k": 1}},
        }
        names = " and ".join(f"`{name}`" for name in signature.pairs.columns)
        header = f"CSV has two columns. Its first line names them, `text` and `text_pair` or {names}, in any order; "
        header += "`text/csv; header=absent` has none, and the first text first."
    answer = {"anyOf": [ref("Predictions"), ref("Answer"), {"type": "array", "items": ref("Answer")}, ref("Details")]}
    return {
        "operationId": "invocations",
        "summary": "What SageMaker and MLflow send, answered in the body's media type or in one that Accept names.",
        "description": (
            f"{header} In JSON, `inputs` with `parameters` beside it, or one text, is answered as /predict answers, "
            "everything else with `predictions`."
        ),
        "requestBody": _body(kinds, examples),
        "responses": _answers({JSON: answer, CSV: ref("Records"), LINES: ref("Records")}, (*_OF_A_QUESTION, 406)),
    }


def _feedback(signature: Signature) -> dict[str, Any]:
    (label,) = TASKS[signature.task].true_label_schema(signature.labels)["examples"]
    one = {"request_id": "0a1b2c3d", "label": label}
    good = {"description": "They will be written.", "content": {JSON: {"schema": ref("Taken")}}}
    errors = sorted((*_OF_A_QUESTION, 409))
    return {
        "operationId": "feedback",
        "summary": "The true labels of texts that were answered, by the X-Request-Id of the answer.",
        "description": (
            "index is the place of the text in its request. Of several labels for one text the last counts. 503 takes "
            "none of a request's labels: send them again after Retry-After."
        ),
        "requestBody": _body({JSON: ref("Labels")}, {"one": one, "several": [one | {"index": 1}]}),
        "responses": {"202": good} | {str(status): {"$ref": f"#/components/responses/{status}"} for status in errors},
    }


def _infer(signature: Signature, operation: str) -> dict[str, Any]:
    tensor = {"name": "text", "shape": [1], "datatype": "BYTES", "data": ["some text"]}
    second = {**tensor, "name": "text_pair", "data": ["its second text"]}
    tensors = [tensor, second] if signature.pairs else [tensor]
    last = outputs_of(signature)[-1]
    examples = {
        "one": {"inputs": tensors},
        "bytes": {
            "inputs": tensors,
            "outputs": [{"name": last, "parameters": {"binary_data": True}}],
        },
    }
    return {
        "operationId": operation,
        "summary": f"Open Inference Protocol (KServe v2): {', '.join(outputs_of(signature))}.",
        "description": (
            "The binary tensor data extension is spoken: `text` may have `binary_data_size` among its parameters in "
            "place of `data`, with so many bytes behind the JSON, whose length Inference-Header-Content-Length says."
            + (" There are two tensors of as many texts, `text` and `text_pair`." if signature.pairs else "")
        ),
        "requestBody": _body({JSON: ref("InferQuestion")}, examples),
        "responses": _answers(
            {JSON: ref("InferAnswer"), "application/octet-stream": {"type": "string", "format": "binary"}},
            _OF_A_QUESTION,
            (*_HEADERS, _LENGTH),
        ),
    }


def _body(kinds: Mapping[str, Schema], examples: Mapping[str, Any]) -> dict[str, Any]:
    content: dict[str, Any] = {kind: {"schema": schema} for kind, schema in kinds.items()}
    content[JSON]["examples"] = {name: {"value": value} for name, value in examples.items()}
    return {"required": True, "content": content}


def _answers(kinds: Mapping[str, Schema], errors: Sequence[int], headers: Iterable[str] = _HEADERS) -> dict[str, Any]:
    good = {
        "description": "Labels with scores, best first; or the entities of the text, or its vector.",
        "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in headers},
        "content": {kind: {"schema": schema} for kind, schema in kinds.items()},
    }
    return {"200": good} | {str(status): {"$ref": f"#/components/responses/{status}"} for status in sorted(errors)}


def _read(summary: str, schema: str) -> dict[str, Any]:
    return {
        "summary": summary,
        "responses": {"200": {"description": summary, "content": {JSON: {"schema": ref(schema)}}}},
    }


def _ready(summary: str) -> dict[str, Any]:
    found = _read(summary, "Ready")
    found["responses"]["503"] = {"description": "Not now.", "content": {JSON: {"schema": ref("NotReady")}}}
    return found


def _text(summary: str, *kinds: str) -> dict[str, Any]:
    content = {kind: {"schema": {"type": "string"}} for kind in kinds}
    return {"summary": summary, "responses": {"200": {"description": summary, "content": content}}}


def _responses() -> dict[str, Any]:
    content = {JSON: {"schema": ref("Error")}}
    return {str(status): {"description": text, "content": content} for status, text in _ERRORS.items()}


def _headers() -> dict[str, Any]:
    return {
        name: {"description": text, "required": name not in _SOMETIMES, "schema": {"type": "string"}}
        for name, text in {**_HEADERS, _LENGTH: _LENGTH_SAYS}.items()
    }


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
