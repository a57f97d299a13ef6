"""What a request asks, checked by hand: `/predict` in the shape of Hugging Face's pipelines and of TEI.

Sources: the text-classification task of Hugging Face (huggingface.js, tasks/text-classification/spec) and its inference
toolkit, which hands ``parameters`` to a pipeline of transformers; text-embeddings-inference (TEI), docs/openapi.json. A
flat list is a list of texts, as in pipelines; TEI reads one of two texts as a pair, and so does a model that reads
pairs (`ftdeploy.pairs`). Such a model is asked in the shapes of both: ``{"text": ..., "text_pair": ...}`` or a list of
two. A key whose meaning cannot be honoured is refused, not ignored.
"""

from __future__ import annotations

import gc
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, get_args

import orjson

from ftdeploy.errors import LINE, did_you_mean, short
from ftdeploy.pairs import TEXT, TEXT_PAIR, join
from ftdeploy.serve.answers import Answers
from ftdeploy.serve.limits import Limits
from ftdeploy.serve.wire import Refusal, Reply, Scope
from ftdeploy.tasks.said import Function

_KEYS = ("inputs", "parameters", "truncate", "truncation_direction", "raw_scores")
#: `Choice`'s keys, and what `/predict` takes beside them.
CHOICE = ("top_k", "function_to_apply", "thresholds")
_PARAMETERS = (*CHOICE, "details", "truncation")
#: The largest whole number that is taken: up to it, JSON readers agree (RFC 8259, 6).
MOST_WHOLE = 2**53
FUNCTIONS: tuple[Function, ...] = get_args(Function)
#: How the data calls the two texts of a row; None where the model reads single ones.
Names = tuple[str, str] | None
_BOTH = 2
_TWO = 'this model reads two texts: {"text": "...", "text_pair": "..."}, or a list of both'


@dataclass(frozen=True, slots=True)
class Choice:
    """Which labels an answer holds, and what their scores are.

    Attributes:
        top_k: how many labels; None is all.
        function: what makes scores of the logits; None is the task's own.
        thresholds: whether the bundle's fallback stands first where the likeliest label is not sure enough.
    """

    top_k: int | None = None
    function: Function | None = None
    thresholds: bool = True

    def of(self, answers: Answers) -> list[Any]:
        """Each text's labels with scores."""
        return answers.labels(top_k=self.top_k, function=self.function, thresholds=self.thresholds)


#: What is answered where nothing is said about it.
_ANY = Choice()


@dataclass(frozen=True, slots=True)
class Question:
    """Texts to answer.

    Attributes:
        texts: at least one; an empty text is a text.
        single: ``inputs`` was one string, so the answer is one and not a list of answers.
        choice: of labels and scores.
        details: wrap the answers with truncation, token counts, digest and request id.
        whole: refuse a text that would have to be cut.
    """

    texts: list[str]
    single: bool
    choice: Choice
    details: bool = False
    whole: bool = False

    def render(self, answers: Answers) -> Reply:
        """The answer in JSON."""
        labels = self.choice.of(answers)
        found: Any = labels[0] if self.single else labels
        if self.details:
            found = {
                "predictions": labels,
                "truncated": answers.truncated(),
                "tokens": [row.length for row in answers.rows],
                "model_digest": answers.digest,
                "request_id": answers.identity,
            }
        return Reply(orjson.dumps(found, option=orjson.OPT_SERIALIZE_NUMPY))


def parse_json(body: bytes | bytearray) -> Any:
    """The body as JSON.

    Raises:
        Refusal: 400, it is not JSON: not UTF-8, NaN, a lone surrogate, nested too deeply, or no JSON at all.
    """
    # A flood of small lists sets the collector off again and again: 2 MB of `[],` took 120 ms with it, 32 ms without.
    collecting = gc.isenabled()
    gc.disable()
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        what = "the body is empty" if not body.strip() else f"the body is not JSON: {error}"
        raise Refusal(400, "invalid_json", what) from None
    finally:
        if collecting:
            gc.enable()


def parse_predict(body: bytes | bytearray, scope: Scope, limits: Limits, *,  # noqa: ARG001  # as all protocols
                  pairs: Names = None) -> Question:  # fmt: skip
    """Read the body of ``POST /predict``.

    Raises:
        Refusal: 400 not JSON; 422 a wrong key, type or value; 413 too many texts, or one too long.
    """
    return read_question(parse_json(body), limits, pairs=pairs)


def read_question(asked: Any, limits: Limits, *, pairs: Names = None) -> Question:
    """The question of `/predict` in its JSON.

    Args:
        asked: in JSON.
        limits: of the service.
        pairs: how the data calls the two texts of a row; None where the model reads single ones.

    Raises:
        Refusal: 422 a wrong key, type or value; 413 too many texts, or one too long.
    """
    if not isinstance(asked, dict):
        raise invalid(f'an object like {{"inputs": "some text"}} is wanted, not {kind_of(asked)}')
    if pairs is None and len(asked) == 1 and isinstance(text := asked.get("inputs"), str):  # most are, and it costs
        _check_length(text, limits, "inputs[0]")
        return Question(texts=[text], single=True, choice=_ANY)
    check_keys(asked, _KEYS, "key")
    if "inputs" not in asked:
        raise invalid("inputs is missing: a text, or a list of texts")
    parameters = asked.get("parameters")
    if parameters is None:
        parameters = {}
    check_object(parameters, _PARAMETERS, "parameters")
    choice = read_choice(parameters, "parameters", raw=_flag(asked, "raw_scores"))
    details = _flag(parameters, "details", "parameters.details")
    whole = _whole(asked, parameters)
    texts, single = _inputs(asked["inputs"], limits, pairs)
    return Question(texts=texts, single=single, choice=choice, details=details, whole=whole)


def _inputs(inputs: Any, limits: Limits, pairs: Names) -> tuple[list[str], bool]:
    """The texts that ``inputs`` holds, and whether it is one alone."""
    if pairs is not None:
        if is_one_pair(inputs):
            return [paired(inputs, pairs, limits, name="inputs")], True
        if not isinstance(inputs, list):
            raise invalid(f"inputs is {kind_of(inputs)}; {_TWO}, or a list of such pairs")
        return paired_rows(inputs, pairs, limits, name="inputs"), False
    if not isinstance(inputs, str | list):
        raise invalid(f"inputs wants a text or a list of texts, not {kind_of(inputs)}{_no_pair(inputs)}")
    texts = [inputs] if isinstance(inputs, str) else flat_column(inputs, "inputs")
    check_texts(texts, limits, name="inputs")
    return texts, isinstance(inputs, str)


def read_choice(given: Mapping[str, Any], name: str, *, raw: bool = False) -> Choice:
    """``top_k``, ``function_to_apply`` and ``thresholds`` out of parameters.

    Args:
        given: the parameters.
        name: theirs, for messages.
        raw: TEI's ``raw_scores``: the logits.

    Raises:
        Refusal: 422 a wrong type or value.
    """
    stated, function = given.get("top_k"), given.get("function_to_apply")
    top_k = whole_number(stated)
    if stated is not None and (top_k is None or top_k < 1):
        raise invalid(f"{name}.top_k wants a whole number of at least 1, not {short(stated)}")
    if function is not None and function not in FUNCTIONS:
        raise invalid(f"{name}.function_to_apply wants one of {', '.join(FUNCTIONS)}, not {short(function)}")
    if raw and function not in (None, "none"):
        raise invalid(f"raw_scores and {name}.function_to_apply want different scores")
    thresholds = given.get("thresholds") is None or _flag(given, "thresholds", f"{name}.thresholds")
    return Choice(top_k=top_k, function="none" if raw else function, thresholds=thresholds)


def whole_number(value: Any) -> int | None:
    """A whole number as JSON Schema has it: 2.0 is 2. None where it is none, or above `MOST_WHOLE`."""
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value // 1 or abs(value) > MOST_WHOLE:
        return None
    return int(value)


def _whole(asked: Mapping[str, Any], parameters: Mapping[str, Any]) -> bool:
    """Whether cutting was ruled out: by TEI's ``truncate`` or the pipelines' ``truncation``; null leaves it to us."""
    said = {
        name: value
        for name, value in (
            ("truncate", asked.get("truncate")),
            ("parameters.truncation", parameters.get("truncation")),
        )
        if value is not None
    }
    for name, value in said.items():
        if not isinstance(value, bool):
            raise invalid(f"{name} wants true or false, not {short(value)}")
    if len(set(said.values())) > 1:
        raise invalid("truncate and parameters.truncation want different things")
    direction = asked.get("truncation_direction", "right")
    if direction not in ("right", "Right"):
        raise invalid(f"texts are cut at the right only; truncation_direction is {short(direction)}")
    return False in said.values()


def _flag(given: Mapping[str, Any], key: str, name: str = "") -> bool:
    value = given.get(key, False)
    if not isinstance(value, bool):
        raise invalid(f"{name or key} wants true or false, not {kind_of(value)}")
    return value


def check_keys(given: Mapping[str, Any], known: Collection[str], what: str) -> None:
    """Refuse keys that are not known.

    Args:
        given: of the client.
        known: the keys there are.
        what: what they are called in a message.

    Raises:
        Refusal: 422, with the key that may have been meant.
    """
    for key in given:
        if key not in known:
            # Only the beginning is compared: comparing takes time by length.
            raise invalid(f"unknown {what} {short(key)}; {did_you_mean(key[:LINE], known)}")


def check_object(given: Any, known: Collection[str], name: str) -> None:
    """Hold a group of parameters against the keys there are.

    Raises:
        Refusal: 422 it is no object, or has others.
    """
    if not isinstance(given, dict):
        raise invalid(f"{name} wants an object, not {kind_of(given)}")
    check_keys(given, known, "parameter")


def flat_column(rows: list[Any], name: str) -> list[Any]:
    """The texts of a list of texts, or of a list of lists of one text each.

    Raises:
        Refusal: 422 a list holds another number of texts.
    """
    if not rows or not isinstance(rows[0], list):
        return rows
    for index, row in enumerate(rows):
        if not isinstance(row, list):
            raise invalid(f"{name}[{index}] wants a list of one text, as the first, not {kind_of(row)}")
        if len(row) != 1:
            raise invalid(f"{name}[{index}] holds {len(row)} elements; one text is classified at a time, no pairs")
    return [row[0] for row in rows]


def check_texts(texts: list[Any], limits: Limits, *, name: str) -> None:
    """Hold texts against the limits.

    Raises:
        Refusal: 422 none at all, or one that is not a text; 413 too many, or one too long.
    """
    _check_count(texts, limits, name)
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            raise invalid(f"{name}[{index}] wants a text, not {kind_of(text)}{_no_pair(text)}")
        _check_length(text, limits, f"{name}[{index}]")


def _check_count(rows: list[Any], limits: Limits, name: str) -> None:
    if not rows:
        raise Refusal(422, "empty", f"{name} is empty: at least one text is wanted")
    if len(rows) > limits.max_texts:
        raise Refusal(413, "too_large", f"{len(rows)} texts in one request; at most {limits.max_texts} are accepted")


def _check_length(text: str, limits: Limits, name: str) -> None:
    if len(text) > limits.max_chars:
        message = f"{name} has {len(text)} characters; at most {limits.max_chars} are accepted"
        raise Refusal(413, "too_large", message)


def _no_pair(given: Any) -> str:
    """What a message says behind a pair that a model was sent which reads single texts."""
    return "; this model reads single texts, no pairs" if isinstance(given, dict) and TEXT_PAIR in given else ""


def is_one_pair(given: Any) -> bool:
    """Whether it has the form of one pair, and not of a list of pairs: an object, or a list of two texts (TEI)."""
    if isinstance(given, list):
        return len(given) == _BOTH and all(isinstance(one, str) for one in given)
    return isinstance(given, dict)


def paired_rows(rows: list[Any], columns: tuple[str, str], limits: Limits, *, name: str) -> list[str]:
    """Pairs as the strings that the model takes (`ftdeploy.pairs`), held against the limits, which hold for each text.

    Args:
        rows: what should be pairs.
        columns: how the data calls the two texts; beside ``text`` and ``text_pair``, keys of an object.
        limits: of the service.
        name: of the rows, for messages.

    Raises:
        Refusal: 422 none at all, or one that is no pair; 413 too many, or a text that is too long.
    """
    _check_count(rows, limits, name)
    return [paired(row, columns, limits, name=f"{name}[{index}]") for index, row in enumerate(rows)]


def paired(row: Any, columns: tuple[str, str], limits: Limits, *, name: str) -> str:
    """One pair as `paired_rows` takes them."""
    keys: tuple[str, ...] = (TEXT, TEXT_PAIR)
    if isinstance(row, dict):
        keys = next((names for names in (keys, columns) if row.keys() <= set(names)), keys)
        missing = [key for key in keys if key not in row]
        if missing:
            raise invalid(f"{name} has no {missing[0]}; {_TWO}")
        check_keys(row, keys, f"key of {name}")
        row = [row[key] for key in keys]
    if not isinstance(row, list):
        raise invalid(f"{name} is {kind_of(row)}; {_TWO}")
    if len(row) != _BOTH:
        raise invalid(f"{name} holds {len(row)} elements; {_TWO}")
    for key, text in zip(keys, row, strict=True):
        if not isinstance(text, str):
            raise invalid(f"{key} of {name} wants a text, not {kind_of(text)}; {_TWO}")
        _check_length(text, limits, f"{key} of {name}")
    return join(*row)


def invalid(message: str) -> Refusal:
    """A 422: the request is understood and wrong."""
    return Refusal(422, "validation", message)


def kind_of(value: object) -> str:
    """What JSON calls a value, for a message."""
    names = {dict: "an object", list: "a list", str: "a text", bool: "a truth value", type(None): "null"}
    return names.get(type(value), "a number")
