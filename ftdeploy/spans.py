"""Labelled spans of a text: written down, read, tagged word by word, and found in tags again.

A row's spans are kept as one string, ``[[start, end, "Kind"], ...]`` in JSON: characters of the text, end exclusive, in
the order of the text. So a dataset has the same columns whatever the task, and equal answers are equal strings.
"""

from __future__ import annotations

import json
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from difflib import SequenceMatcher
from itertools import pairwise
from typing import Any, Literal, NamedTuple

Scheme = Literal["iob1", "iob2", "bioes"]
_PREFIXES = {"iob1": "IB", "iob2": "IB", "bioes": "BIESLU"}
#: BILOU's letters in BIOES.
_SAME = {"L": "E", "U": "S"}
#: The tag of a word that belongs to nothing, and what a row without spans is called.
OUTSIDE = "O"
#: Beyond so many characters between the first and the last change, what lies between is taken as one change: comparing
#: takes time by the square.
_COMPARED = 4000


class TagError(ValueError):
    """A tag that is none, or that the scheme does not have there; ``at`` is its place in the sequence, from 0."""

    def __init__(self, why: str, at: int) -> None:
        super().__init__(why)
        self.at = at


class Span(NamedTuple):
    """Characters of a text, end exclusive, and what they are."""

    start: int
    end: int
    kind: str


def dump(spans: Iterable[Span]) -> str:
    """Spans as one string, in the order of the text."""
    return json.dumps([list(span) for span in sorted(spans)], ensure_ascii=False, separators=(",", ":"))


def load(label: str) -> tuple[Span, ...]:
    """The spans of a string that `dump` wrote.

    Raises:
        ValueError: it is no such string.
    """
    try:
        return tuple(Span(int(start), int(end), str(kind)) for start, end, kind in json.loads(label))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{label[:60]!r} is no list of spans [start, end, kind]") from error


def summary(spans: Sequence[Span]) -> str:
    """The kind that most spans have, the first of equally frequent ones; `OUTSIDE` where there are none."""
    counts = Counter(span.kind for span in spans)
    return max(counts, key=lambda kind: counts[kind]) if counts else OUTSIDE


def tags_of(kinds: Sequence[str]) -> tuple[str, ...]:
    """The tags of a scheme in which every span begins with ``B-`` (IOB2; Ratinov and Roth 2009), by class id."""
    return (OUTSIDE, *(f"{prefix}-{kind}" for kind in kinds for prefix in "BI"))


def kinds_of(tags: Sequence[str]) -> tuple[str, ...]:
    """The kinds that tags are about, in their order."""
    return tuple(dict.fromkeys(tag[2:] for tag in tags if tag != OUTSIDE))


def is_tag(tag: str) -> bool:
    """Whether a string is a tag of any scheme: ``O``, or a letter, a dash and a kind."""
    return tag == OUTSIDE or (tag[:1] in tuple("BIESLU") and tag[1:2] == "-" and bool(tag[2:]))


def to_iob2(tags: Sequence[str], scheme: Scheme) -> list[str]:
    """One sentence's tags as IOB2, in which every span begins with ``B-``.

    Args:
        tags: in ``scheme``, each one that `is_tag` knows.
        scheme: how spans are marked (``ftdeploy.prepare.conll`` says more).

    Raises:
        TagError: a sequence that the scheme does not have.
    """
    made = []
    before, kind_before = OUTSIDE, ""
    for at, tag in enumerate(tags):
        prefix, kind = _SAME.get(tag[0], tag[0]), tag[2:]
        inside = before in "BI" and kind_before == kind
        if prefix != OUTSIDE and prefix not in _PREFIXES[scheme]:
            raise TagError(f"{tag} is no tag of {scheme}", at)
        if scheme == "bioes" and before in "BI" and not (prefix in "IE" and inside):
            raise TagError(f"{tag} follows {before}-{kind_before}, whose span has not ended", at)
        if scheme != "iob1" and prefix in "IE" and not inside:
            raise TagError(f"{tag} continues a span of {kind} that has not begun", at)
        begins = prefix in "BS" or (prefix == "I" and not inside)
        made.append(OUTSIDE if prefix == OUTSIDE else f"{'B' if begins else 'I'}-{kind}")
        before, kind_before = prefix, kind
    if scheme == "bioes" and before in "BI":
        raise TagError(f"the sentence ends inside a span of {kind_before}", len(tags) - 1)
    return made


def grouped(tags: Iterable[str]) -> list[tuple[int, int, str]]:
    """(first word, word after the last one, kind) of the spans in IOB2 tags, read as conlleval does.

    A model is free to say ``I-X`` where nothing has begun; a span begins there.
    """
    found: list[tuple[int, int, str]] = []
    begun, kind = 0, ""
    at = -1
    for at, tag in enumerate(tags):  # used below the loop
        here = "" if tag == OUTSIDE else tag[2:]
        if kind and (here != kind or tag[0] == "B"):
            found.append((begun, at, kind))
            kind = ""
        if here and not kind:
            begun, kind = at, here
    if kind:
        found.append((begun, at + 1, kind))
    return found


def tagged(words: Sequence[tuple[int, int]], spans: Sequence[Span]) -> list[str]:
    """The IOB2 tag of each word: of the span in which it lies, at least in part; of several the first.

    Args:
        words: (start, end) in characters, in the order of the text.
        spans: in the order of the text, none inside another.
    """
    found, at, before = [], 0, -1
    for start, end in words:
        while at < len(spans) and spans[at].end <= start:
            at += 1
        if at == len(spans) or spans[at].start >= end:
            found.append(OUTSIDE)
            continue
        found.append(f"{'I' if before == at else 'B'}-{spans[at].kind}")
        before = at
    return found


def from_tags(tokens: Sequence[str], tags: Sequence[str], starts: Sequence[int]) -> list[Span]:
    """The spans of tokens with IOB2 tags.

    Args:
        tokens: as they stand in the text.
        tags: of one length with them.
        starts: where each begins in the text.
    """
    return [Span(starts[first], starts[last - 1] + len(tokens[last - 1]), kind) for first, last, kind in grouped(tags)]


def fitted(text: str, start: int, end: int) -> tuple[int, int]:
    """A span without white space at its ends and with the marks that belong to its last character."""
    while end < len(text) and unicodedata.combining(text[end]):
        end += 1
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return start, end


def moved(spans: Sequence[Span], before: str, after: str) -> list[Span] | None:
    """The same spans in a text that was changed; None where nothing is left of one.

    What was changed at a span's end counts with the span: where ``before`` says `<b>Aspirin</b>` and ``after``
    `Aspirin`, a span over the letters stays one over the letters, and one over a name one over what stands for it.

    Args:
        spans: in ``before``.
        before, after: the text.
    """
    if before == after:
        return list(spans)
    pieces = list(_unchanged(before, after))
    found = []
    for span in spans:
        start, end = fitted(after, _start(span.start, pieces), _end(span.end, pieces))
        if start >= end:
            return None
        found.append(Span(start, end, span.kind))
    return found


def _unchanged(before: str, after: str) -> Iterable[tuple[int, int, int]]:
    """(place before, place after, characters) of what stayed, in order, with an empty piece at each end."""
    limit = min(len(before), len(after))
    head = next((at for at in range(limit) if before[at] != after[at]), limit)
    tail = next((at for at in range(limit - head) if before[-1 - at] != after[-1 - at]), limit - head)
    yield 0, 0, head
    middle, other = before[head : len(before) - tail], after[head : len(after) - tail]
    if max(len(middle), len(other)) <= _COMPARED:
        for block in SequenceMatcher(None, middle, other, autojunk=False).get_matching_blocks():
            if block.size:
                yield head + block.a, head + block.b, block.size
    yield len(before) - tail, len(after) - tail, tail


def _start(at: int, pieces: Iterable[tuple[int, int, int]]) -> int:
    """Where a span that begins at a place begins now; inside a change, where that begins."""
    ended = 0
    for old, new, size in pieces:
        if at < old:
            break
        if at < old + size:
            return new + at - old
        ended = new + size
    return ended


def _end(at: int, pieces: Iterable[tuple[int, int, int]]) -> int:
    """Where a span that ends at a place ends now; inside a change, where that ends."""
    new = size = 0
    for old, new, size in pieces:  # the last ones are used below
        if at <= old:
            return new
        if at <= old + size:
            return new + at - old
    return new + size


def read_spans(cell: Any, text: str) -> list[Span]:
    """Spans as people write them down: objects with ``start``, ``end`` and ``label``, or lists of the three.

    Args:
        cell: a list, or JSON of one.
        text: what they are in.

    Raises:
        ValueError: no spans, beyond the text, empty, or one across another.
    """
    if isinstance(cell, str):
        try:
            cell = json.loads(cell)
        except ValueError:
            raise ValueError(
                f"{cell[:60]!r} is no JSON of a list of spans; Python's own way to write lists is none: use json.dumps"
            ) from None
    if not isinstance(cell, list | tuple):
        raise ValueError(f"spans are a list, not a {type(cell).__name__}")  # noqa: TRY004  # what callers look out for
    found = sorted(_read_span(one, text) for one in cell)
    for one, other in pairwise(found):
        if other.start < one.end:
            raise ValueError(f"the spans {list(one)} and {list(other)} overlap")
    return found


def _read_span(one: Any, text: str) -> Span:
    given = (
        [one.get("start"), one.get("end"), one.get("label", one.get("entity_group"))]
        if isinstance(one, Mapping)
        else one
    )
    if not isinstance(given, list | tuple) or len(given) != 3:  # noqa: PLR2004 - start, end, kind
        raise ValueError(f"{str(one)[:60]} is no span with start, end and label")
    start, end, kind = given
    if type(start) is not int or type(end) is not int or not isinstance(kind, str) or not kind.strip():
        raise ValueError(f"{str(one)[:60]} is no span with two whole numbers and a label")
    if not 0 <= start < end <= len(text):
        raise ValueError(f"the span {start}:{end} does not lie in the text of {len(text)} characters")
    place = fitted(text, start, end)
    if place[0] >= place[1]:
        raise ValueError(f"the span {start}:{end} holds white space only")
    return Span(*place, kind.strip())
