"""The lines of `/predict/bulk`: cut out of what comes, read, and written.

Source: Newline Delimited JSON, github.com/ndjson/ndjson-spec. An empty line is a line that is no JSON, so that lines
out stand beside lines in.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from ftdeploy.errors import short
from ftdeploy.serve.answers import Answers
from ftdeploy.serve.limits import Limits
from ftdeploy.serve.question import Names, Question, invalid, parse_json, read_question, whole_number
from ftdeploy.serve.wire import Refusal


class Lines:
    """Cuts what comes into lines, and never holds more than one line's limit.

    Args:
        most: bytes of a line; of a longer one only that it was there is kept.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._held = bytearray()
        self._skipping = False

    def feed(self, piece: bytes) -> Iterator[bytes | None]:
        """The lines that end in this piece, without their ends; None for one that is too long."""
        *ends, rest = piece.split(b"\n")
        for end in ends:
            yield self._end(end)
        self._keep(rest)

    def rest(self) -> Iterator[bytes | None]:
        """The last line, where it does not end with a line break."""
        if self._held or self._skipping:
            yield self._end(b"")

    def _keep(self, part: bytes) -> None:
        if self._skipping or len(self._held) + len(part) > self._most:
            self._skipping = True
            self._held = bytearray()
        else:
            self._held += part

    def _end(self, part: bytes) -> bytes | None:
        if not self._held and not self._skipping and len(part) <= self._most:
            return part
        self._keep(part)
        line = None if self._skipping else bytes(self._held)
        self._held, self._skipping = bytearray(), False
        return line


@dataclass(frozen=True, slots=True)
class Line:
    """One line: what it asks, or why that cannot be answered."""

    index: int
    id: Any
    question: Question | None
    refusal: Refusal | None


def read_line(line: bytes | None, index: int, limits: Limits, *, pairs: Names = None) -> Line:
    """What a line asks. Never raises: what is wrong with it is its answer.

    Args:
        line: without its end; None is one that was too long.
        index: of the line, from 0.
        limits: of the service.
        pairs: see `read_question`.
    """
    identity: Any = None
    try:
        asked = _parsed(line, limits, pairs)
        identity = _identity(asked)
        question = _question(asked, limits, pairs)
    except Refusal as refusal:
        return Line(index, identity, None, refusal)
    return Line(index, identity, question, None)


def _parsed(line: bytes | None, limits: Limits, pairs: Names) -> dict[str, Any]:
    if line is None:
        raise Refusal(413, "too_large", f"the line is larger than {limits.max_body_bytes} bytes")
    asked = parse_json(line)
    if isinstance(asked, str) or (pairs is not None and isinstance(asked, list)):
        return {"inputs": asked}
    if not isinstance(asked, dict):
        raise invalid('a text, or an object like {"inputs": "some text"}, is wanted')
    return asked


def _identity(asked: dict[str, Any]) -> Any:
    identity = asked.pop("id", None)
    if identity is not None and not isinstance(identity, str) and whole_number(identity) is None:
        raise invalid(f"id wants a text or a whole number, not {short(identity)}")
    return identity


def _question(asked: dict[str, Any], limits: Limits, pairs: Names) -> Question:
    question = read_question(asked, limits, pairs=pairs)
    if not question.single:
        raise invalid("inputs wants one text: there is a line for each")
    return question


def answer_line(line: Line, question: Question, answers: Answers) -> bytes:
    """The answer to a line; or why there is none, where it asks for what this model's answers do not have.

    Args:
        line: what was asked.
        question: in it.
        answers: to it alone.
    """
    try:
        predictions = question.choice.of(answers)[0]
    except Refusal as refusal:
        return error_line(line, refusal)
    found: dict[str, Any] = {"index": line.index}
    if line.id is not None:
        found["id"] = line.id
    found["predictions"] = predictions
    found["truncated"] = answers.rows[0].truncated()
    found["tokens"] = answers.rows[0].length
    if question.details:
        found |= {"model_digest": answers.digest, "request_id": answers.identity}
    return orjson.dumps(found, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_SERIALIZE_NUMPY)


def error_line(line: Line, refusal: Refusal) -> bytes:
    """Why there is no answer to a line."""
    found: dict[str, Any] = {"index": line.index}
    if line.id is not None:
        found["id"] = line.id
    found |= {"error": refusal.message, "error_type": refusal.error_type}
    return orjson.dumps(found, option=orjson.OPT_APPEND_NEWLINE)
