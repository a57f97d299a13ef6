"""Documents in passages that are classified one by one: the clauses of a contract, the paragraphs of a report.

A passage is what its author set apart: a paragraph, or a numbered or lettered item at the beginning of a line. A
heading that stands alone belongs to what follows it. A passage that is too long to be one statement is divided between
sentences. Where a passage ends is decided by the characters around that place, so a clause is the same passage in any
contract.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ftdeploy.tasks.pieces import sentences, trimmed

#: Characters of a passage, at most.
LONGEST = 1500
#: A shorter line without a stop at its end, whose long words are capitalised, is a heading.
_HEADING = 80
_LONG_WORD = re.compile("[^\\W\\d_]{4,}")
_STOPS = ".;:,!?\u2026\u3002\uff01\uff1f"
#: What an item begins with: `Section 4`, `4.`, `4.1`, `(a)`, `(iv)`, `B.`, a bullet.
_ITEM = (
    "(?i:article|section|clause|schedule|exhibit|annex|appendix)[^\\S\\n]+[\\dIVXLC]+\\b"
    "|\\d{1,3}(?:\\.\\d{1,3})*[.)](?=\\s)|\\d{1,3}(?:\\.\\d{1,3})+(?=\\s)"
    "|\\([a-zA-Z]{1,4}\\)(?=\\s)|\\(\\d{1,3}\\)(?=\\s)|[A-Z][.)](?=[^\\S\\n])|[\u2022\u25cf\u25aa\u2013*-](?=[^\\S\\n])"
)
_BREAK = re.compile(f"\\n[^\\S\\n]*\\n\\s*|\\f\\s*|\\n(?=[^\\S\\n]*(?:{_ITEM}))")


def passages(text: str) -> Iterator[tuple[int, int]]:
    """(start, end) of the passages of a document, in order, without the white space between them; none is longer than
    `LONGEST`, and every word is in one.

    Args:
        text: the document; lines may be cut at a width.
    """
    last = 0
    heading: int | None = None  # where a heading began that waits for its passage
    for start, end in _blocks(text):
        begun = start if heading is None else heading
        if _is_heading(text[start:end]) and end - begun <= LONGEST:
            heading, last = begun, end
            continue
        heading = None
        yield from _divided(text, begun, end)
    if heading is not None:
        yield heading, last


def _blocks(text: str) -> Iterator[tuple[int, int]]:
    begun = 0
    for stop in _BREAK.finditer(text):
        yield from trimmed(text, begun, stop.start())
        begun = stop.end()
    yield from trimmed(text, begun, len(text))


def _is_heading(block: str) -> bool:
    short = len(block) < _HEADING and "\n" not in block and block[-1] not in _STOPS
    return short and not any(word.islower() for word in _LONG_WORD.findall(block))


def _divided(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """A block as it is, or in groups of its sentences."""
    if end - start <= LONGEST:
        yield start, end
        return
    begun = reached = start
    for left, right in sentences(text[start:end]):
        for first, last in _short(text, start + left, start + right):
            if last - begun > LONGEST:
                yield begun, reached
                begun = first
            reached = last
    yield begun, reached


def _short(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """A sentence, or its parts: cut at white space, where there is some."""
    while end - start > LONGEST:
        cut = max(text.rfind(" ", start, start + LONGEST), text.rfind("\n", start, start + LONGEST))
        cut = cut if cut > start else start + LONGEST
        yield from trimmed(text, start, cut)
        start = end - len(text[cut:end].lstrip())
    yield from trimmed(text, start, end)
