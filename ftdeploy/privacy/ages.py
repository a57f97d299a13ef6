"""Ages over 89, which Safe Harbor wants gathered into one class of 90 and over."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ftdeploy.privacy.span import Locale, Span

_UNITS = "one|two|three|four|five|six|seven|eight|nine"
_WORD = (
    rf"ninety(?:[- ](?:{_UNITS}))?|(?:one|a)[- ]hundred(?:[- ](?:and[- ])?(?:{_UNITS}|ten|eleven|twelve|thirteen|"
    rf"fourteen|fifteen))?"
)
_AGE = rf"(?P<age>9\d|1[01]\d|12[0-5]|{_WORD})"
_YEARS = r"[- ]?(?:years?|yrs?\.?|y)"
_AFTER = re.compile(
    rf"(?<![\w.,$€£/-]){_AGE}(?:{_YEARS}[- ]?(?:olds?|of[ ]age|o)\b|[ ]?y/?o\b|[ ]?y\.o\.|{_YEARS}[ ]young\b|"
    rf"[- ](?:jährig\w*|Jahre[ ]alt|ans\b|años\b|anni\b|jaar\b)|-?year-old|(?:st|nd|rd|th)[ ](?:birthday|"
    rf"year[ ]of[ ]life))",
    re.IGNORECASE,
)
_BEFORE = re.compile(
    rf"(?<!\w)(?:aged?(?:[ ]?/[ ]?(?:sex|gender))?|turn(?:ed|ing|s)?|age[ ]of|at[ ]the[ ]age[ ]of|Alter|âgée?[ ]de|"
    rf"edad)(?:[ ](?:is|was|about|around|over|approximately|now))?[ ]?[:=]?[ ]?{_AGE}(?![\w%]|[.,:/-]\d|[ ]?(?:%|"
    rf"percent|days|months|weeks|hours|minutes|million))",
    re.IGNORECASE,
)
_IS = re.compile(
    rf"\b(?:he|she|I|mother|father|grandmother|grandfather|patient|wife|husband|who)(?:'s|'m|[ ](?:is|was|am|"
    rf"will[ ]be))(?:[ ](?:now|about|almost|nearly|already|only|currently))?[ ]{_AGE}(?=[ ]?(?:[.,;!?]|and\b|now\b|"
    rf"but\b|$))(?![.,]\d)",
    re.IGNORECASE,
)
_SEXED = re.compile(
    rf"(?<![\w.,$€£/-]){_AGE}[ -]?(?:M|F(?=[ ](?:with|who|presents?|presenting|c/o|s/p|h/o|admitted|here|complain\w*)"
    rf")|yoM|yoF|yom|yof|(?:year[- ])?(?:male|female|woman|man|lady|gentleman))\b"
)
_NINETIES = re.compile(
    r"\b(?:in|into)[ ](?:his|her|their|my)[ ](?:(?:early|mid|late)[- ])?(?P<age>nineties|90'?s)\b", re.IGNORECASE
)
_CHEAP = re.compile(r"9\d|1[012]\d|ninet|hundred", re.IGNORECASE)


def age(text: str, locale: Locale) -> Iterator[Span]:  # noqa: ARG001  # the same everywhere
    """The number (or its words) of an age from 90 to 125; a younger age is no identifier."""
    if not _CHEAP.search(text):
        return
    for pattern, confidence in ((_AFTER, 0.9), (_BEFORE, 0.85), (_IS, 0.7), (_SEXED, 0.75), (_NINETIES, 0.8)):
        for match in pattern.finditer(text):
            yield Span(*match.span("age"), "age", confidence)
