"""What a recogniser is given and what it returns, and the text as it sees it: folded, one character for one."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

from ftdeploy.privacy.kinds import IdentifierType

#: Format characters that split an identifier without being seen: zero-width spaces and joiners, soft hyphens, marks of
#: direction.
_UNSEEN = re.compile("[\u00ad\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff]")
_QUOTES = {ord(mark): "'" for mark in "\u2018\u2019\u02bc\u00b4\u2032"} | {ord(mark): '"' for mark in "\u201c\u201d"}
#: Countries in whose way phone numbers are read, and the least confidence that counts, where nobody says otherwise.
REGIONS = ("US", "GB", "DE", "FR")
LEAST = 0.5


@dataclass(frozen=True, slots=True)
class Span:
    """A finding.

    Attributes:
        start: first character, from 0.
        end: one after the last.
        kind: the type of identifier.
        confidence: 0 to 1. 0.9 and more: a checksum or a form that nothing else has; 0.7 to 0.9: a form, or words
            around it, that seldom mean something else; below 0.5: could well be something else.
    """

    start: int
    end: int
    kind: IdentifierType
    confidence: float


@dataclass(frozen=True, kw_only=True)
class Locale:
    """What recognisers know beside the text.

    Attributes:
        regions: countries in whose way phone numbers are read.
        names: first word of a name, case-folded -> the other words of each name that begins with it.
    """

    regions: tuple[str, ...] = ("US",)
    names: dict[str, tuple[tuple[str, ...], ...]]


class Recogniser(Protocol):
    """Finds identifiers in a folded text, in time linear in its length."""

    def __call__(self, text: str, locale: Locale) -> Iterable[Span]:
        """The findings, in any order; they may overlap."""


class _Folding(dict[int, str | None]):
    """Character -> its plain form, one for one: digits of every script, full-width forms, spaces, dashes, quotes."""

    def __missing__(self, code: int) -> str:
        char = chr(code)
        plain = char
        kind = unicodedata.category(char)
        if kind == "Nd":
            plain = str(unicodedata.digit(char))
        elif kind == "Pd" or char == "\u2212":
            plain = "-"
        elif kind == "Zs":
            plain = " "
        else:
            compatible = unicodedata.normalize("NFKC", char)
            plain = compatible if len(compatible) == 1 and compatible.isascii() else char
        self[code] = plain
        return plain


_FOLDING = _Folding(_QUOTES)


def fold(text: str) -> tuple[str, list[int] | None]:
    """The text as recognisers see it, and where each of its characters stands in the original.

    Returns:
        The folded text, and the places; None where they are the same.
    """
    if text.isascii():
        return text, None
    folded = text.translate(_FOLDING)
    if not _UNSEEN.search(folded):
        return folded, None
    places = [place for place, char in enumerate(folded) if not _UNSEEN.match(char)]
    return "".join(folded[place] for place in places), [*places, len(text)]


def unfold(span: Span, places: list[int] | None) -> Span:
    """The finding in the original text."""
    if places is None:
        return span
    return Span(places[span.start], places[span.end - 1] + 1, span.kind, span.confidence)


_LETTERS = re.compile(r"[^\W\d_]+")


@lru_cache(maxsize=4)
def words(text: str) -> frozenset[str]:
    """The words of a text, case-folded: one look at them spares most recognisers their patterns."""
    return frozenset(_LETTERS.findall(text.casefold()))


def word_set(listed: str) -> frozenset[str]:
    """Words that are written one after the other."""
    return frozenset(listed.split())


def mentions(text: str, cues: frozenset[str]) -> bool:
    """Whether one of the words stands in a text."""
    return not cues.isdisjoint(words(text))


def matches(pattern: re.Pattern[str], text: str, kind: IdentifierType, confidence: float, group: int | str = 0,
            ) -> Iterator[Span]:  # fmt: skip
    """Every match of a pattern (one of its groups) as a finding."""
    for match in pattern.finditer(text):
        yield Span(*match.span(group), kind, confidence)


def digits(text: str) -> str:
    """Its digits."""
    return "".join(char for char in text if char.isdigit())


#: Between a word that announces a number and the number: "MRN: ", "account number is ", "Passport No. #".
LINK = (
    r"(?:[ ]{0,2}(?:\(s\)|'s)?[ ]{0,2}(?:numbers?|num|nos?|nr|n°|id|ids|identifier|code|ref|reference)\b\.?){0,2}"
    r"[ ]{0,2}(?:\([^()\n]{1,24}\))?[ ]{0,2}(?:(?:is|was|are|of|as|reads|ends in|ending in|being)"
    r"\b)?[ ]{0,2}[:#=\-]{0,2}[ ]{0,2}[\"'#(\[]?"
)
#: A number as offices give it: letters and digits, with a digit near its beginning; parts joined by - . or /.
TOKEN = r"(?P<token>(?=[A-Za-z/\-.]{0,8}\d)[A-Za-z0-9]{1,24}(?:[\-./][A-Za-z0-9]{1,16}){0,5})"  # noqa: S105  # no secret: a part of text
_FEWEST_DIGITS = 4


def announced(words: str, *, token: str = TOKEN) -> re.Pattern[str]:
    """A pattern for numbers that follow a word that announces them.

    Args:
        words: alternatives, as a regular expression; matched whole and without case.
        token: the number, with a group named ``token``.
    """
    return re.compile(rf"(?<![\w])(?:{words})(?!\w|-(?!\d)){LINK}{token}(?![\w])", re.IGNORECASE)


def announced_spans(pattern: re.Pattern[str], text: str, kind: IdentifierType, *, confidence: float = 0.85,
                    fewest: int = _FEWEST_DIGITS) -> Iterator[Span]:  # fmt: skip
    """Numbers after the words of ``announced``, where they have enough digits and are no date or amount."""
    for match in pattern.finditer(text):
        token = match["token"]
        ends = _ENDS.search(match[0])
        if len(digits(token)) >= fewest and (ends or not _OTHER.fullmatch(token)):
            yield Span(*match.span("token"), kind, confidence)


#: What may follow the same words and is no identifier: a year, a date, an amount with decimals.
_ENDS = re.compile(r"\bend(?:s|ing)[ ]in\b", re.IGNORECASE)
_OTHER = re.compile(
    r"(?:19|20)\d\d|\d{1,2}[./]\d{1,2}[./]\d{2,4}|\d{1,2}-\d{1,2}-(?:19|20)\d\d|\d{4}-\d\d-\d\d|\d{1,6}\.\d{1,2}"
)
