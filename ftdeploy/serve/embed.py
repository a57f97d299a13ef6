"""``POST /embed`` in the shape of TEI and ``POST /v1/embeddings`` in that of OpenAI, where answers are vectors.

Sources: text-embeddings-inference (TEI), docs/openapi.json; OpenAI, "Create embeddings" of the API reference, and its
Python client, which asks for ``base64`` unless told otherwise: little-endian float32. A key whose meaning cannot be
honoured is refused, not ignored.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

import orjson

from ftdeploy.errors import short
from ftdeploy.serve.answers import Answers
from ftdeploy.serve.limits import Limits
from ftdeploy.serve.question import check_object, check_texts, invalid, kind_of, parse_json, whole_number
from ftdeploy.serve.wire import Refusal, Reply, Scope
from ftdeploy.signature import Signature

#: Where the paths of OpenAI's protocol begin, be there one or not.
OPENAI = "/v1/"
_TEI = ("inputs", "normalize", "truncate", "truncation_direction")
_OPENAI = ("input", "model", "encoding_format", "dimensions", "user")
FORMATS = ("float", "base64")


@dataclass(frozen=True, slots=True)
class Embed:
    """A request of TEI.

    Attributes:
        texts: at least one.
        whole: refuse a text that would have to be cut.
    """

    texts: list[str]
    whole: bool = False

    def render(self, answers: Answers) -> Reply:
        """A list with a vector for each text."""
        return Reply(orjson.dumps(answers.vectors(), option=orjson.OPT_SERIALIZE_NUMPY))


@dataclass(frozen=True, slots=True)
class Embeddings:
    """A request of OpenAI.

    Attributes:
        texts: at least one.
        base64: vectors as bytes in base64, and not as numbers.
        whole: never.
    """

    texts: list[str]
    base64: bool = False
    whole: bool = False

    def render(self, answers: Answers) -> Reply:
        """A list of objects, one for each text, with the tokens that were read."""
        vectors = answers.vectors()
        shown: Any = [base64.b64encode(one.astype("<f4")).decode() for one in vectors] if self.base64 else vectors
        tokens = sum(row.kept for row in answers.rows)
        found = {
            "object": "list",
            "data": [{"object": "embedding", "index": index, "embedding": one} for index, one in enumerate(shown)],
            "model": answers.signature.name,
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        }
        return Reply(orjson.dumps(found, option=orjson.OPT_SERIALIZE_NUMPY))


def parse_embed(body: bytes | bytearray, scope: Scope, limits: Limits) -> Embed:  # noqa: ARG001  # as all protocols
    """Read the body of ``POST /embed``.

    Raises:
        Refusal: 400 not JSON; 422 a wrong key, type or value; 413 too many texts, or one too long.
    """
    asked = parse_json(body)
    check_object(asked, _TEI, "the body")
    if _flag(asked, "normalize") is False:
        raise invalid("vectors come with length 1; normalize cannot be false")
    if asked.get("truncation_direction", "right") not in ("right", "Right"):
        raise invalid(
            f"texts are cut at the right only; truncation_direction is {short(asked['truncation_direction'])}"
        )
    return Embed(texts=texts_of(asked, "inputs", limits), whole=_flag(asked, "truncate") is False)


def parse_openai(signature: Signature, body: bytes | bytearray, scope: Scope,  # noqa: ARG001  # as all protocols
                 limits: Limits) -> Embeddings:  # fmt: skip
    """Read the body of ``POST /v1/embeddings``.

    Args:
        signature: of the model that is served.
        body: of the request.
        scope: of the request.
        limits: of the service.

    Raises:
        Refusal: 400 not JSON; 404 another model; 422 a wrong key, type or value; 413 too many texts, or one too long.
    """
    asked = parse_json(body)
    check_object(asked, _OPENAI, "the body")
    model = asked.get("model", signature.name)
    if not isinstance(model, str):
        raise invalid(f"model wants a text, not {kind_of(model)}")
    if model != signature.name:
        raise Refusal(404, "not_found", f"there is no model {short(model)} here; it is {signature.name!r}")
    form = asked.get("encoding_format")
    if form is not None and form not in FORMATS:
        raise invalid(f"encoding_format wants one of {', '.join(FORMATS)}, not {short(form)}")
    dimensions = asked.get("dimensions")
    if dimensions is not None and whole_number(dimensions) != signature.dimensions:
        raise invalid(f"vectors have {signature.dimensions} dimensions and cannot be cut, so not {short(dimensions)}")
    if not isinstance(asked.get("user"), str | None):  # its client sends null for what is not said
        raise invalid(f"user wants a text, not {kind_of(asked['user'])}")
    if _tokens(asked.get("input")):
        raise invalid(
            "input holds token ids, which mean something to one tokenizer only; send texts "
            "(LangChain's OpenAIEmbeddings: check_embedding_ctx_length=False)"
        )
    return Embeddings(texts=texts_of(asked, "input", limits), base64=form == "base64")


def _tokens(given: Any) -> bool:
    """Whether it begins with token ids, of one text or of several, as OpenAI takes them beside texts."""
    first = given[0] if isinstance(given, list) and given else None
    return type(first[0] if isinstance(first, list) and first else first) is int


def texts_of(asked: dict[str, Any], key: str, limits: Limits) -> list[str]:
    """One text, or a list of texts.

    Raises:
        Refusal: 422 another type, or none; 413 too many texts, or one too long.
    """
    given = asked.get(key)
    if not isinstance(given, str | list):
        raise invalid(f"{key} wants a text or a list of texts, not {kind_of(given)}")
    texts = [given] if isinstance(given, str) else given
    check_texts(texts, limits, name=key)
    return texts


def refused(refusal: Refusal, path: str) -> Reply:
    """A refusal as an answer, on OpenAI's paths in its shape: of an error that is no object, its client keeps the
    sentence to itself and says "Error code: 422" alone."""
    if not path.startswith(OPENAI):
        return refusal.reply()
    error = {"message": refusal.message, "type": refusal.error_type}
    body = orjson.dumps({"error": error, "error_type": refusal.error_type})
    return Reply(body, status=refusal.status, headers=refusal.headers)


def _flag(asked: dict[str, Any], key: str) -> bool | None:
    value = asked.get(key)
    if value is not None and not isinstance(value, bool):
        raise invalid(f"{key} wants true or false, not {kind_of(value)}")
    return value
