"""Lines cut out of what comes, whatever the pieces; and what each asks."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftdeploy.serve.bulk_lines import Line, Lines, error_line, read_line
from ftdeploy.serve.limits import Limits

MOST = 12
LIMITS = Limits(max_body_bytes=1000, max_chars=20)


@given(body=st.lists(st.sampled_from([b"\n", b"a", b"bcd", b"x" * 9])).map(b"".join), data=st.data())
def test_lines_are_those_of_the_whole_however_it_comes(body: bytes, data: st.DataObject) -> None:
    """Cut at any place; long ones are known to have been there; no more than a line is ever held."""
    wanted = body.split(b"\n")
    if not wanted[-1]:
        wanted.pop()
    cutter = Lines(MOST)
    found: list[bytes | None] = []
    while body:
        size = data.draw(st.integers(1, len(body)))
        found += cutter.feed(body[:size])
        assert len(cutter._held) <= MOST
        body = body[size:]
    found += cutter.rest()
    assert found == [line if len(line) <= MOST else None for line in wanted]


@pytest.mark.parametrize(
    ("line", "texts", "identity"),
    [
        (b'"good"', ["good"], None),
        (b'"good"\r', ["good"], None),
        (b'""', [""], None),
        (b'{"inputs": "good"}', ["good"], None),
        (b'{"inputs": "good", "id": "a"}', ["good"], "a"),
        (b'{"inputs": "good", "id": 7, "parameters": {"top_k": 1}}', ["good"], 7),
        (b'{"inputs": "good", "id": null}', ["good"], None),
    ],
)
def test_a_line_is_a_text_or_a_question_with_an_id(line: bytes, texts: list[str], identity: Any) -> None:
    """What `/predict` takes, for one text."""
    found = read_line(line, 3, LIMITS)
    assert found.refusal is None
    assert found.question is not None
    assert (found.index, found.question.texts, found.id) == (3, texts, identity)


@pytest.mark.parametrize(
    ("line", "error_type", "identity"),
    [
        (None, "too_large", None),
        (b"", "invalid_json", None),
        (b"good", "invalid_json", None),
        (b'"\xff"', "invalid_json", None),
        (b'"\\ud800"', "invalid_json", None),
        (b"3", "validation", None),
        (b'["good"]', "validation", None),
        (b"{}", "validation", None),
        (b'{"inputs": ["good"], "id": "a"}', "validation", "a"),
        (b'{"inputs": 3, "id": "a"}', "validation", "a"),
        (b'{"inputs": "good", "id": true}', "validation", None),
        (b'{"inputs": "good", "id": [1]}', "validation", None),
        (b'{"inputs": "good", "input": "bad"}', "validation", None),
        (b'"' + b"x" * 21 + b'"', "too_large", None),
    ],
)
def test_what_is_wrong_with_a_line_is_its_answer(line: bytes | None, error_type: str, identity: Any) -> None:
    """With its index, and its id where that could be read."""
    found = read_line(line, 3, LIMITS)
    assert found.question is None
    assert found.refusal is not None
    written = json.loads(error_line(found, found.refusal))
    assert written.pop("error")
    assert written == {"index": 3, "error_type": error_type} | ({} if identity is None else {"id": identity})


def test_an_error_is_one_line() -> None:
    """Whatever the client sent that it quotes."""
    line = read_line('{"inputs": "good", "a\\n\u2028b": 1}'.encode(), 0, LIMITS)
    assert isinstance(line, Line)
    assert line.refusal is not None
    assert error_line(line, line.refusal).count(b"\n") == 1
