"""What a request asks, checked by hand: `/predict` in the shape of Hugging Face's pipelines and of TEI."""

from __future__ import annotations

import gc
import reprlib
from dataclasses import dataclass
from typing import Any

import orjson

from ftdeploy.errors import did_you_mean
from ftdeploy.serve.limits import Limits
from ftdeploy.serve.wire import Refusal

_KEYS = ("inputs", "parameters")
_LINE = 60  # most characters of the client that a message repeats
_PARAMETERS = ("top_k", "details")
#: repr() would write out all of a large value to show its beginning, and would fail on a deeply nested one.
_REPR = reprlib.Repr()
_REPR.maxstring = _REPR.maxother = _LINE


@dataclass(frozen=True, slots=True)
class Question:
    """Texts to answer.

    Attributes:
        texts: at least one; an empty text is a text.
        single: ``inputs`` was one string, so the answer is one and not a list of answers.
        top_k: how many labels an answer holds; None is all.
        details: wrap the answers with truncation, token counts, digest and request id.
    """

    texts: list[str]
    single: bool
    top_k: int | None
    details: bool


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


def parse_predict(body: bytes | bytearray, limits: Limits) -> Question:
    """Read the body of ``POST /predict``.

    Raises:
        Refusal: 400 not JSON; 422 a wrong key, type or value; 413 too many texts, or one too long.
    """
    asked = parse_json(body)
    if not isinstance(asked, dict):
        raise invalid(f'an object like {{"inputs": "some text"}} is wanted, not {_kind(asked)}')
    for key in asked:
        if key not in _KEYS:
            raise invalid(f"unknown key {short(key)}; {_suggest(key, _KEYS)}")
    if "inputs" not in asked:
        raise invalid("inputs is missing: a text, or a list of texts")
    top_k, details = _parameters(asked.get("parameters"))
    inputs = asked["inputs"]
    if not isinstance(inputs, str | list):
        raise invalid(f"inputs wants a text or a list of texts, not {_kind(inputs)}")
    single = isinstance(inputs, str)
    texts: list[Any] = [inputs] if isinstance(inputs, str) else inputs
    check_texts(texts, limits, name="inputs")
    return Question(texts=texts, single=single, top_k=top_k, details=details)


def _parameters(given: Any) -> tuple[int | None, bool]:
    """``top_k`` and ``details``."""
    if given is None:
        return None, False
    if not isinstance(given, dict):
        raise invalid(f"parameters wants an object, not {_kind(given)}")
    for key in given:
        if key not in _PARAMETERS:
            raise invalid(f"unknown parameter {short(key)}; {_suggest(key, _PARAMETERS)}")
    top_k, details = given.get("top_k"), given.get("details", False)
    if top_k is not None and (isinstance(top_k, bool) or not isinstance(top_k, int) or top_k < 1):
        raise invalid(f"parameters.top_k wants a whole number of at least 1, not {short(top_k)}")
    if not isinstance(details, bool):
        raise invalid(f"parameters.details wants true or false, not {_kind(details)}")
    return top_k, details


def check_texts(texts: list[Any], limits: Limits, *, name: str) -> None:
    """Hold texts against the limits.

    Raises:
        Refusal: 422 none at all, or one that is not a text; 413 too many, or one too long.
    """
    if not texts:
        raise Refusal(422, "empty", f"{name} is empty: at least one text is wanted")
    if len(texts) > limits.max_texts:
        raise Refusal(413, "too_large", f"{len(texts)} texts in one request; at most {limits.max_texts} are accepted")
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            raise invalid(f"{name}[{index}] wants a text, not {_kind(text)}")
        if len(text) > limits.max_chars:
            message = f"{name}[{index}] has {len(text)} characters; at most {limits.max_chars} are accepted"
            raise Refusal(413, "too_large", message)


def invalid(message: str) -> Refusal:
    """A 422: the request is understood and wrong."""
    return Refusal(422, "validation", message)


def short(value: object) -> str:
    """A value of the client as it may stand in a message: quoted, and never longer than a line."""
    text = _REPR.repr(value)
    return text if len(text) <= _LINE else f"{text[:_LINE]}..."


def _suggest(key: str, known: tuple[str, ...]) -> str:
    """What was meant instead of a wrong key. Only its beginning is compared: comparing takes time by its length."""
    return did_you_mean(key[:_LINE], known)


def _kind(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "a text", bool: "a truth value", type(None): "null"}
    return names.get(type(value), "a number")
