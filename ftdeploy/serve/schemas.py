"""JSON Schemas (2020-12) of what the service takes and gives, for its description at ``/docs.json``.

They are as narrow as the parsers: what they allow is answered, and what they do not allow is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, get_args

from ftdeploy.pairs import TEXT as TEXT_NAME
from ftdeploy.pairs import TEXT_PAIR
from ftdeploy.serve.about import DETECTORS, DriftState, Records
from ftdeploy.serve.embed import FORMATS
from ftdeploy.serve.feedback import MOST
from ftdeploy.serve.kserve import input_names, outputs_of
from ftdeploy.serve.limits import Limits
from ftdeploy.serve.question import FUNCTIONS, MOST_WHOLE
from ftdeploy.serve.request_ids import IDENTITY
from ftdeploy.signature import Signature
from ftdeploy.spans import OUTSIDE
from ftdeploy.tasks import TASKS

Schema = dict[str, Any]

#: Up to so many texts each number of them has a shape of its own in the schema; above, words have to do.
_SHAPES = 16


def schemas(signature: Signature, limits: Limits) -> dict[str, Schema]:
    """All of them, by name.

    Args:
        signature: of the model.
        limits: in force; they become part of the schemas.
    """
    return {
        **_common(),
        **_about(signature),
        **_labels(signature),
        **_predict(signature, limits),
        **_invocations(signature, limits),
        **_infer(signature, limits),
        **_embed(signature, limits),
        **_review(signature),
        **_anomaly(signature, limits),
        **_feedback(signature),
    }


def closed(properties: Mapping[str, Schema], *optional: str) -> Schema:
    """An object of these properties and no others; all but the optional ones are there."""
    required = [name for name in properties if name not in optional]
    return {
        "type": "object",
        "properties": dict(properties),
        "additionalProperties": False,
        **({"required": required} if required else {}),
    }


def array(items: Schema, least: int = 0, most: int | None = None) -> Schema:
    """A list."""
    bounds = {name: value for name, value in (("minItems", least), ("maxItems", most)) if value}
    return {"type": "array", "items": items, **bounds}


def ref(name: str) -> Schema:
    """A schema by its name."""
    return {"$ref": f"#/components/schemas/{name}"}


def _nullable(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def one_key(value: Schema) -> Schema:
    """An object of one key, whatever its name; but for TensorFlow Serving's of bytes."""
    names = {"propertyNames": {"not": {"const": "b64"}}}
    return {"type": "object", "minProperties": 1, "maxProperties": 1, "additionalProperties": value} | names


TEXT: Schema = {"type": "string"}
WHOLE: Schema = {"type": "integer", "minimum": -MOST_WHOLE, "maximum": MOST_WHOLE}
FLAG: Schema = {"type": "boolean"}
STATES: Schema = {"enum": ["loading", "ready", "failed", "stuck", "draining"]}


def _common() -> dict[str, Schema]:
    return {
        "Error": closed({"error": TEXT, "error_type": TEXT}),
        "Live": closed({"live": {"const": True}, "ready": FLAG, "state": STATES}),
        "Ready": closed({"name": TEXT, "live": {"const": True}, "ready": {"const": True}, "state": {"const": "ready"}}),
        "NotReady": closed({
            "name": TEXT, "live": {"const": True}, "ready": {"const": False}, "state": STATES, "error": TEXT,
            "error_type": {"const": "unhealthy"},
        }),
        "Server": closed({"name": {"const": "ftdeploy"}, "version": TEXT, "extensions": array(TEXT)}),
        "Description": {"type": "object", "required": ["openapi", "info", "paths"]},
    }  # fmt: skip


def _about(signature: Signature) -> dict[str, Schema]:
    number, count = {"type": "number"}, {"type": "integer", "minimum": 0}
    verdict = {"enum": ["pass", "fail", "inconclusive"]}
    report = closed({
        "verdict": {"enum": [*verdict["enum"], "measured"]},
        "suite": TEXT,
        "rows": count,
        "confidence": number,
        "metrics": array(closed({"metric": TEXT} | dict.fromkeys(("value", "lower", "upper", "baseline"), number))),
        "gates": array(closed({"name": TEXT, "verdict": verdict, "explanation": TEXT})),
        "counts": closed(dict.fromkeys(verdict["enum"], count)),
    })  # fmt: skip
    drift: Schema = {"enum": list(get_args(DriftState))}
    about = closed({
        "name": {"const": signature.name},
        "task": {"const": signature.task},
        "view": TEXT,
        "labels": {"const": list(signature.labels)},
        "max_length": {"const": signature.max_length},
        "windows": {"const": signature.windows.model_dump() if signature.windows else None},
        "pairs": {"const": list(signature.pairs.columns) if signature.pairs else None}
        | {"description": "How the training rows call the two texts that the model reads; null where it reads one."},
        "fallback": {"const": signature.fallback or None},
        "thresholds": {"type": "object", "additionalProperties": number},
        "review": {"const": signature.review.model_dump(mode="json") if signature.review else None},
        "pdf": FLAG | {"description": "Whether /review takes a PDF: pypdf is installed."},
        "digest": TEXT,
        "version": TEXT,
        "limits": closed(dict.fromkeys(("max_texts", "max_chars", "max_body_bytes"), count)),
        "auth": FLAG,
        "records": {"enum": list(get_args(Records))},
        "report": _nullable(report),
        "state": STATES,
        "drift": closed({"state": drift, "detectors": {
            "type": "object",
            "properties": dict.fromkeys(DETECTORS, drift),
            "additionalProperties": False,
        }}),
    })  # fmt: skip
    return {"About": about}


def _labels(signature: Signature) -> dict[str, Schema]:
    task = TASKS[signature.task]
    score: Schema = {"type": "number"}
    one: Schema | None
    if task.vectors:
        one, answer = None, _vector(signature)
    elif task.per_token:
        kinds = [name for name in task.summaries(signature.labels) if name != OUTSIDE]
        place: Schema = {"type": "integer", "minimum": 0, "description": "Characters; end is exclusive."}
        one = closed({"entity_group": {"enum": kinds}, "score": score, "word": TEXT, "start": place, "end": place})
        answer = array(ref("Score")) | {"description": "In the order of the text."}
    else:
        answers = _answered(signature)
        one = closed({"label": {"enum": answers}, "score": score})
        answer = array(ref("Score"), 1, len(answers)) | {"description": _order(signature)}
    known: dict[str, Schema] = {"index": {"type": "integer", "minimum": 0}, "id": {"anyOf": [TEXT, WHOLE]}}
    return {
        **({} if one is None else {"Score": one}),
        "Answer": answer,
        "Details": closed({
            "predictions": array(ref("Answer"), 1),
            "truncated": array(FLAG, 1),
            "tokens": array({"type": "integer", "minimum": 0}, 1) | {"description": "Before cutting."},
            "model_digest": TEXT,
            "request_id": TEXT,
        }),
        "BulkAnswer": {"anyOf": [
            closed({
                **known, "predictions": ref("Answer"), "truncated": FLAG, "tokens": {"type": "integer", "minimum": 0},
                "model_digest": TEXT, "request_id": TEXT,
            }, "id", "model_digest", "request_id"),
            closed({**known, "error": TEXT, "error_type": TEXT}, "id"),
        ]},
    }  # fmt: skip


def _vector(signature: Signature) -> Schema:
    size = signature.dimensions
    return array({"type": "number"}, size, size) | {"description": "A vector of length 1."}


def _review(signature: Signature) -> dict[str, Schema]:
    """Of `ftdeploy.serve.review`, where documents are read."""
    if signature.review is None:
        return {}
    place = {"type": "integer", "minimum": 0}
    known = sorted({*signature.labels, *filter(None, [signature.fallback])})
    passage = closed({
        "label": {"enum": known},
        "score": {"type": "number", "minimum": 0, "maximum": 1},
        "start": place | {"description": "Characters before it."},
        "end": place,
        "critical": FLAG,
        "truncated": FLAG | {"description": "The model has read its beginning only."},
        "page": {"type": "integer", "minimum": 1, "description": "Of a PDF."},
    }, "page")  # fmt: skip
    count = {"type": "integer", "minimum": 1}
    of_pdf = {
        "text": TEXT | {"description": "Of a PDF, in which the passages have their places."},
        "pages": count,
        "pages_without_text": array(count) | {"description": "Pictures, which nobody has read."},
    }
    return {
        "Document": closed({"inputs": TEXT | {"description": "The text of one document."}}),
        "Reviewed": closed({"passages": array(passage), "model_digest": TEXT, "request_id": TEXT} | of_pdf, *of_pdf),
        "Pdf": {"type": "string", "format": "binary"},
    }


def _anomaly(signature: Signature, limits: Limits) -> dict[str, Schema]:
    """Of `ftdeploy.serve.anomaly`, where texts are held against those of a label."""
    if signature.anomaly is None:
        return {}
    texts: Schema = {"anyOf": [ref("Text"), array(ref("Text"), 1, limits.max_texts)]}
    told = {
        "p_value": {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
        "unusual": FLAG | {"description": f"The p-value is at most {signature.anomaly.level:g}."},
        "nearest": TEXT | {"description": "The label whose rows are nearest, whatever was asked."},
    }
    return {
        "AnomalyQuestion": closed({"inputs": texts, "label": {"type": ["string", "null"]}}, "label"),
        "Unusual": array(closed(told), 1),
    }


def _embed(signature: Signature, limits: Limits) -> dict[str, Schema]:
    """Of `ftdeploy.serve.embed`, where answers are vectors."""
    if not TASKS[signature.task].vectors:
        return {}
    texts: Schema = {"anyOf": [ref("Text"), array(ref("Text"), 1, limits.max_texts)]}
    size, count = signature.dimensions, {"type": "integer", "minimum": 0}
    tei = {
        "inputs": texts,
        "normalize": {"enum": [True, None]},
        "truncate": {"type": ["boolean", "null"], "description": "false refuses texts that would have to be cut."},
        "truncation_direction": {"enum": ["right", "Right"]},
    }
    openai = {
        "input": texts,
        "model": {"const": signature.name},
        "encoding_format": {"enum": [*FORMATS, None], "description": "base64: of little-endian float32."},
        "dimensions": {"enum": [size, None]},
        "user": TEXT,
    }
    one = closed({"object": {"const": "embedding"}, "index": count, "embedding": {"anyOf": [ref("Answer"), TEXT]}})
    return {
        "EmbedQuestion": closed(tei, "normalize", "truncate", "truncation_direction"),
        "Embedded": array(ref("Answer"), 1),
        "EmbeddingsQuestion": closed(openai, "model", "encoding_format", "dimensions", "user"),
        "Embeddings": closed({
            "object": {"const": "list"},
            "data": array(one, 1),
            "model": {"const": signature.name},
            "usage": closed({"prompt_tokens": count, "total_tokens": count}),
        }),
        "Error": closed({"error": {"anyOf": [TEXT, closed({"message": TEXT, "type": TEXT})]}, "error_type": TEXT}),
    }  # fmt: skip


def _answered(signature: Signature) -> list[str]:
    """What an answer may name: the model's labels, and a fallback that is none of them."""
    return list(dict.fromkeys([*signature.labels, *([signature.fallback] if signature.fallback else [])]))


def _order(signature: Signature) -> str:
    if not signature.fallback:
        return "Best label first."
    return f"Best label first; before it {signature.fallback!r}, where the best label's score is below its threshold."


def _feedback(signature: Signature) -> dict[str, Schema]:
    task = TASKS[signature.task]
    text: dict[str, Schema] = {
        "text": {"type": ["string", "null"], "description": "What the places are in; it is not kept."}
    }
    one = closed({
        "request_id": {"type": "string", "pattern": f"^{IDENTITY.pattern}$"},
        "label": task.true_label_schema(signature.labels),
        "index": {"type": "integer", "minimum": 0, "maximum": MOST_WHOLE},
        **(text if task.per_token else {}),
    }, "index", "text")  # fmt: skip
    return {"Labels": {"anyOf": [one, array(one, 1, MOST)]}, "Taken": closed({"accepted": {"type": "integer"}})}


def _texts(limits: Limits) -> tuple[Schema, Schema]:
    """Of a list of texts, and of a list of lists of one."""
    return array(ref("Text"), 1, limits.max_texts), array(array(ref("Text"), 1, 1), 1, limits.max_texts)


def _names(signature: Signature) -> list[tuple[str, str]]:
    """How the two texts of a row may be called; empty where the model reads single ones."""
    return list(dict.fromkeys([(TEXT_NAME, TEXT_PAIR), signature.pairs.columns])) if signature.pairs else []


def _pair(signature: Signature) -> Schema:
    named = [closed(dict.fromkeys(names, ref("Text"))) for names in _names(signature)]
    return {
        "anyOf": [*named, array(ref("Text"), 2, 2)],
        "description": "Two texts: an object, or a list with the first one first.",
    }


def _predict(signature: Signature, limits: Limits) -> dict[str, Schema]:
    flat, nested = _texts(limits)
    one: Schema = ref("Text")
    inputs = [one, flat, nested]
    if signature.pairs:
        one = ref("Pair")
        inputs = [one, array(one, 1, limits.max_texts)]
    task = TASKS[signature.task]
    functions = [name for name in FUNCTIONS if not (task.multi_label and name == "softmax")]
    if task.number:
        functions = [task.function]
    choice: dict[str, Schema] = {
        "top_k": {"type": ["integer", "null"], "minimum": 1, "maximum": MOST_WHOLE, "description": "null is all."},
        "function_to_apply": {
            "enum": [*functions, None],
            "description": f"What makes scores of the logits; null is {task.function}.",
        },
        "thresholds": {
            "type": ["boolean", "null"],
            "description": "false leaves out the bundle's fallback; scores of other functions than softmax have none.",
        },
    }
    raw: Schema = {"type": "boolean", "default": False, "description": "The logits; as function_to_apply none."}
    if task.per_token or task.vectors:  # which are chosen by neither
        choice |= {"top_k": {"type": "null"}, "function_to_apply": {"enum": ["softmax", None]}}
        raw = {"const": False}
    parameters: dict[str, Schema] = {
        **choice,
        "details": {"type": "boolean", "default": False, "description": "Wrap the answers with what is known of them."},
        "truncation": {"type": ["boolean", "null"], "description": "As truncate."},
    }
    beside: dict[str, Schema] = {
        "parameters": _nullable(ref("Parameters")),
        "truncate": {"type": ["boolean", "null"], "description": "false refuses texts that would have to be cut."},
        "truncation_direction": {"enum": ["right", "Right"]},
        "raw_scores": raw,
    }
    question = closed({"inputs": {"anyOf": inputs}, **beside}, *beside)
    line = closed({"inputs": one, "id": {"anyOf": [TEXT, WHOLE, {"type": "null"}]}, **beside}, "id", *beside)
    return {
        "Text": {"type": "string", "maxLength": limits.max_chars},
        **({"Pair": _pair(signature)} if signature.pairs else {}),
        "Parameters": closed(parameters, *parameters),
        "Choice": closed(choice, *choice),
        "Question": question | {"allOf": _CONFLICTS},
        "BulkLine": {
            "anyOf": [array(ref("Text"), 2, 2) if signature.pairs else one, line | {"allOf": _CONFLICTS}],
        },
    }


def _both(*conditions: Schema) -> Schema:
    return {"not": {"allOf": list(conditions)}}


def _parameter(name: str, schema: Schema) -> Schema:
    inner = {"type": "object", "required": [name], "properties": {name: schema}}
    return {"required": ["parameters"], "properties": {"parameters": inner}}


def _key(name: str, schema: Schema) -> Schema:
    return {"required": [name], "properties": {name: schema}}


#: Keys that say opposite things.
_CONFLICTS = [
    _both(_key("raw_scores", {"const": True}), _parameter("function_to_apply", {"enum": ["softmax", "sigmoid"]})),
    _both(_key("truncate", {"const": True}), _parameter("truncation", {"const": False})),
    _both(_key("truncate", {"const": False}), _parameter("truncation", {"const": True})),
]


def _invocations(signature: Signature, limits: Limits) -> dict[str, Schema]:
    flat, nested = _texts(limits)
    objects = array(one_key(ref("Text")), 1, limits.max_texts)
    rows = objects | {"description": "The same key in all."}
    params = _nullable(ref("Choice"))
    parameters = _nullable(ref("Parameters"))
    split = closed(
        {"columns": {"type": ["array", "null"], "minItems": 1, "maxItems": 1}, "data": nested, "index": {}},
        "columns",
        "index",
    )
    task = TASKS[signature.task]
    whole = not (task.one_label or task.number)
    record: Schema = ref("Answer") if whole else {"anyOf": [ref("Score"), ref("Answer")]}
    forms: dict[str, Schema] = {
        "inputs": {"anyOf": [flat, nested, one_key({"anyOf": [flat, nested]})]},
        "instances": {"anyOf": [flat, nested, rows]},
        "dataframe_split": split,
        "dataframe_records": rows,
    }
    text: Schema = ref("Text")
    several: Schema = {"anyOf": [flat, nested]}
    table: Schema = closed({"text": text})
    if signature.pairs:
        text, several = ref("Pair"), array(ref("Pair"), 1, limits.max_texts)
        forms = _pair_forms(signature, limits)
        table = closed(dict.fromkeys((TEXT_NAME, TEXT_PAIR), ref("Text")))
    return {
        "Invocation": {
            "anyOf": [
                *(closed({name: form, "params": params}, "params") for name, form in forms.items()),
                closed({"inputs": text, "parameters": parameters}, "parameters"),
                closed({"inputs": several, "parameters": parameters}),
            ]
        },
        "Predictions": closed({"predictions": array(record, 1)}),
        "Records": array(record, 1) | {"description": "One a line; CSV has lists as rows, with their text's `row`."},
        "Rows": array(table, 1, limits.max_texts) | {"description": "CSV with a header."},
        "Lines": several | {"description": "One a line."}
        if signature.pairs
        else {"anyOf": [flat, objects], "description": "One a line: a text, or an object with one key."},
    }


def _pair_forms(signature: Signature, limits: Limits) -> dict[str, Schema]:
    """The forms of MLflow, of a model that reads two texts."""
    flat, _ = _texts(limits)
    several = array(ref("Pair"), 1, limits.max_texts)
    lists = [flat]  # words have to say that both are as long, where those are too many lengths
    if limits.max_texts <= _SHAPES:
        lists = [array(ref("Text"), n, n) for n in range(1, limits.max_texts + 1)]
    columns = [closed(dict.fromkeys(names, column)) for names in _names(signature) for column in lists]
    orders = [list(order) for names in _names(signature) for order in (names, names[::-1])]
    data = array(array(ref("Text"), 2, 2), 1, limits.max_texts)
    return {
        "inputs": {"anyOf": [several, *columns], "description": "Columns are of the same length."},
        "instances": several,
        "dataframe_split": closed({"columns": {"enum": [*orders, None]}, "data": data, "index": {}},
                                  "columns", "index"),
        "dataframe_records": several,
    }  # fmt: skip


def _each_once(names: Sequence[str]) -> list[Schema]:
    """Of a list of objects with names."""
    return [
        {"contains": {"properties": {"name": {"const": name}}}, "minContains": 1, "maxContains": 1} for name in names
    ]


def _infer(signature: Signature, limits: Limits) -> dict[str, Schema]:
    flat, nested = _texts(limits)
    kind: Schema = {"const": "str"}
    names = input_names(two=signature.pairs is not None)
    tensor = closed({
        "name": {"const": names[0]} if len(names) == 1 else {"enum": list(names)},
        "datatype": {"const": "BYTES"},
        "shape": array({"type": "integer", "minimum": 1}, 1, 2) | {"description": "[n] or [n, 1]."},
        "data": {"anyOf": [flat, nested]},
        "parameters": _nullable(closed({"content_type": kind}, "content_type")),
    }, "parameters")  # fmt: skip
    inputs = array(tensor, 1, 1)
    if len(names) > 1:
        inputs = array(tensor, len(names), len(names)) | {"allOf": _each_once(names)}
        inputs["description"] = "As many texts in each."
    if limits.max_texts <= _SHAPES:
        sized = [
            {"properties": {"shape": {"enum": [[n], [n, 1]]}, "data": {"minItems": n, "maxItems": n}}}
            for n in range(1, limits.max_texts + 1)
        ]
        if len(names) > 1:
            inputs["anyOf"] = [{"items": one} for one in sized]
        else:
            tensor["anyOf"] = sized
    binary: Schema = {"type": ["boolean", "null"], "description": "As bytes behind the JSON."}
    own = closed({"binary_data": binary, "content_type": kind}, "binary_data", "content_type")
    outputs = outputs_of(signature)
    output = closed({"name": {"enum": list(outputs)}, "parameters": _nullable(own)}, "parameters")
    once = [
        {"contains": {"properties": {"name": {"const": name}}}, "minContains": 0, "maxContains": 1} for name in outputs
    ]
    given = {
        "name": {"enum": list(outputs)},
        "datatype": {"enum": ["BYTES", "FP32"]},
        "shape": array({"type": "integer", "minimum": 1}, 1, 2),
    }
    data = array({"type": ["string", "number"]}, 1)
    size = closed({"binary_data_size": {"type": "integer", "minimum": 1}})
    described = closed({"name": TEXT, "datatype": TEXT, "shape": array({"type": "integer"}, 1)})
    return {
        "InferQuestion": closed({
            "inputs": inputs,
            "outputs": _nullable(array(output, 0, len(outputs)) | {"allOf": once}),
            "id": {"type": ["string", "null"]},
            "parameters": _nullable(closed({"binary_data_output": binary, "content_type": kind},
                                           "binary_data_output", "content_type")),
        }, "outputs", "id", "parameters"),
        "InferAnswer": closed({
            "model_name": {"const": signature.name},
            "model_version": TEXT,
            "id": TEXT,
            "parameters": closed({"model_digest": TEXT, "request_id": TEXT, "truncated": TEXT}),
            "outputs": array({"anyOf": [closed({**given, "data": data}), closed({**given, "parameters": size})]}, 1),
        }, "id"),
        "Model": closed({
            "name": {"const": signature.name},
            "versions": array(TEXT, 1, 1),
            "platform": TEXT,
            "inputs": array(described, len(names), len(names)),
            "outputs": array(described, len(outputs), len(outputs)),
            "parameters": closed({
                "digest": TEXT,
                "task": {"const": signature.task},
                "labels": {"const": list(signature.labels)},
                "max_length": {"const": signature.max_length},
                **({"windows": {"const": signature.windows.model_dump()}} if signature.windows else {}),
                **({"pairs": {"const": list(signature.pairs.columns)}} if signature.pairs else {}),
                "fallback": {"const": signature.fallback},
                "thresholds": {"type": "object", "additionalProperties": {"type": "number"}},
            }, *(("fallback", "thresholds") if not signature.fallback else ())),
        }),
    }  # fmt: skip
