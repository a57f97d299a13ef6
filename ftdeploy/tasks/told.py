"""What somebody says is right of a text (`POST /feedback`), as JSON: names of labels, and entities."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from ftdeploy.errors import LINE, did_you_mean, short
from ftdeploy.spans import Span, fitted

#: The largest place in a text that is read from somebody's JSON, whose readers agree up to it (RFC 8259, 6).
MOST_CHARS = 2**53
_ENTITY = ("entity_group", "start", "end", "word", "score")


def known_name(given: Any, known: Sequence[str], where: str = "label") -> str:
    """A name of a label that somebody has sent.

    Args:
        given: of any type.
        known: the names that there are.
        where: it stood, for the message.

    Raises:
        ValueError: it is none of them; with what was probably meant.
    """
    if isinstance(given, str) and given in known:
        return given
    meant, kind = (given, "") if isinstance(given, str) else (short(given).lower(), ", which are texts")  # `true`
    hint = did_you_mean(meant[:LINE], known)
    raise ValueError(f"{where} {short(given)} is none of the model's{kind}; {hint[:300]}")


def read_entities(given: Any, kinds: Sequence[str], text: str | None = None) -> list[Span]:
    """Entities as answers show them, that somebody says are those of a text.

    Args:
        given: a list of objects with ``entity_group``, ``start`` and ``end``; ``word`` and ``score`` may be there.
        kinds: that there are.
        text: what they are in, where it is known; else nothing says where it ends, and white space stays.

    Raises:
        ValueError: what is none, is of no such kind, lies beyond the text, holds white space only or another word than
            it says, or lies across another; with its place in the list.
    """
    if not isinstance(given, list):
        raise ValueError(f"label wants a list of entities, [] for none, not {short(given)}")  # noqa: TRY004  # as above
    read = [_read_entity(one, f"label[{place}]", kinds, text) for place, one in enumerate(given)]
    order = sorted(range(len(read)), key=lambda place: read[place])
    for one, other in pairwise(order):
        if read[other].start < read[one].end:
            places = [f"label[{place}] ({read[place].start}:{read[place].end})" for place in (one, other)]
            raise ValueError(f"{places[0]} and {places[1]} overlap: a character belongs to one entity")
    return [read[place] for place in order]


def _read_entity(one: Any, where: str, kinds: Sequence[str], text: str | None) -> Span:
    if not isinstance(one, dict):
        raise ValueError(f'{where} wants an object like {{"entity_group": "...", "start": 0, "end": 8}}')  # noqa: TRY004  # as above
    for key in one:
        if key not in _ENTITY:
            raise ValueError(f"unknown key {where}.{short(key)}; {did_you_mean(str(key)[:LINE], _ENTITY)}")
    kind, start, end = one.get("entity_group"), one.get("start"), one.get("end")
    if not isinstance(kind, str) or kind not in kinds:
        hint = did_you_mean(kind[:LINE], kinds) if isinstance(kind, str) else ""
        raise ValueError(f"{where}.entity_group {short(kind)} is none of the model's; {hint[:300]}")
    if type(start) is not int or type(end) is not int or not 0 <= start < end <= MOST_CHARS:
        raise ValueError(
            f"{where} wants start and end as characters counted from 0, the end behind the last one, not "
            f"{short(start)} and {short(end)}"
        )
    word = one.get("word")
    if word is not None and (not isinstance(word, str) or len(word) != end - start):
        raise ValueError(f"{where}.word {short(word)} is not as long as from {start} to {end}")
    return Span(start, end, kind) if text is None else _in_text(Span(start, end, kind), where, word, text)


def _in_text(span: Span, where: str, word: str | None, text: str) -> Span:
    start, end = span.start, span.end
    if end > len(text):
        raise ValueError(f"{where} ends at {end}, beyond the text of {len(text)} characters")
    if word is not None and text[start:end] != word:
        there = short(text[start:end])
        raise ValueError(f"{where}.word {short(word)} is not what stands at {start}:{end}, which is {there}")
    place = fitted(text, start, end)
    if place[0] >= place[1]:
        raise ValueError(f"{where} ({start}:{end}) holds white space only")
    return Span(*place, span.kind)
