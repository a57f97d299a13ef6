"""Dates with a day or a month (years alone may stay under Safe Harbor), and how to move one and keep its form."""

from __future__ import annotations

import calendar
import re
from collections.abc import Iterator
from datetime import date as Date  # noqa: N812  # beside a recogniser named date
from datetime import timedelta

from ftdeploy.privacy.span import Locale, Span, mentions

#: Names of months in the languages of the larger European states; a number for each, in order of the year.
_MONTHS = {
    "en": "january february march april may june july august september october november december",
    "short": "jan feb mar apr may jun jul aug sep oct nov dec",
    "de": "januar februar märz april mai juni juli august september oktober november dezember",
    "at": "jänner feber maerz . . . . . . okt . dez",
    "fr": "janvier février mars avril mai juin juillet août septembre octobre novembre décembre",
    "es": "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre",
    "it": "gennaio febbraio marzo aprile maggio giugno luglio agosto settembre ottobre novembre dicembre",
    "nl": "januari februari maart april mei juni juli augustus september oktober november december",
    "pt": "janeiro fevereiro março abril maio junho julho agosto setembro outubro novembro dezembro",
    "other": ". . mär . . . . . sept . . .",
}
MONTHS = {
    name: number
    for names in _MONTHS.values()
    for number, name in enumerate(names.split(), start=1)
    if name != "."
}  # fmt: skip
_WRITTEN = (
    "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth fifteenth "
    "sixteenth seventeenth eighteenth nineteenth twentieth twenty-first twenty-second twenty-third twenty-fourth "
    "twenty-fifth twenty-sixth twenty-seventh twenty-eighth twenty-ninth thirtieth thirty-first"
)
_ORDINALS = {name: number for number, name in enumerate(_WRITTEN.split(), start=1)}
_MONTH = "|".join(sorted(MONTHS, key=len, reverse=True))
_ORDINAL = "|".join(sorted(_ORDINALS, key=len, reverse=True)).replace("-", "[- ]")
_DAY = rf"(?:(?:0?[1-9]|[12]\d|3[01])(?:[ ]?(?:st|nd|rd|th|er|º|°)\b)?|{_ORDINAL})"
_YEAR = r"(?:(?:1[6-9]|20)\d\d(?!\d)|['\u2019]\d\d(?!\d))"
_WEEKDAY = r"(?:(?:Mon|Tues?|Wed(?:nes)?|Thu(?:rs)?|Fri|Sat(?:ur)?|Sun)(?:day)?\.?,?[ ](?:the[ ])?)?"
_MONTH_WORD = rf"(?P<month>(?:{_MONTH})(?![^\W\d_]))\.?"
_OF = r"(?:[ ]?[-/.,]?[ ]?|[ ](?:of|de|del|d[ei])[ ]|[ ]day[ ]of[ ]|\.[ ]?)"

_MONTH_FIRST = re.compile(
    rf"(?<![\w-]){_WEEKDAY}{_MONTH_WORD}[ ]?[-/]?[ ]?(?:the[ ])?(?P<day>{_DAY})(?![\w%]|[.,:]\d|[ ]?(?:%|percent|mg|"
    rf"ml|mm|cm))(?:(?:[ ]?,?[ ]?|[-/]|[ ]of[ ]|\.[ ])(?P<year>{_YEAR}))?",
    re.IGNORECASE,
)
_DAY_FIRST = re.compile(
    rf"(?<![\w.,-]){_WEEKDAY}(?P<day>{_DAY})\.?{_OF}{_MONTH_WORD}(?:(?:,?[ ]?|[-/.]|[ ](?:of|de|del)[ ])"
    rf"(?P<year>{_YEAR}|\d\d(?![\w.,%]\d|\w)))?(?!\w)",
    re.IGNORECASE,
)
_MONTH_YEAR = re.compile(
    rf"(?<![\w-]){_MONTH_WORD}(?:,?[ ]|[-/]|[ ](?:of|de|del|in)[ ])(?P<year>{_YEAR})(?![-\w])", re.IGNORECASE
)
_YEAR_FIRST = re.compile(
    rf"(?<!\w)(?P<year>{_YEAR})(?:,?[ ]|[-/.])(?:{_MONTH_WORD})(?:[ ]|[-/.])(?P<day>{_DAY})(?!\w)", re.IGNORECASE
)
_NUMERIC = re.compile(
    r"(?<![\w/.-])(?<!\d,)(?:(?P<y>(?:1[6-9]|20)\d\d)(?P<a>[-/.])(?P<m>\d{1,2})(?P=a)(?P<d>\d{1,2})"
    r"|(?P<p>\d{1,2})(?P<b>[-/.]|[ ]?[/.][ ]|[ ][-/][ ])(?P<q>\d{1,2})(?P=b)(?P<z>(?:1[6-9]|20)?\d\d))"
    r"(?P<time>[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?(?:Z|[+-]\d\d:?\d\d)?)?(?!\d|[-/]\d|\.\d|[^\W\d_]|%)"
)
_CJK = re.compile(r"(?P<year>\d{4})[ ]?[年년][ ]?(?P<m>\d{1,2})[ ]?[月월](?:[ ]?(?P<day>\d{1,2})[ ]?[日일])?")
_COMPACT = re.compile(
    r"(?<![\w.,-])(?P<year>(?:19|20)\d\d)(?P<m>0[1-9]|1[0-2])(?P<day>0[1-9]|[12]\d|3[01])"
    r"(?P<time>T\d{4,6}Z?)?(?![\w.,-]\d|\w)"
)
_MONTH_SLASH_YEAR = re.compile(r"(?<![\w/.,-])(?P<m>0?[1-9]|1[0-2])[/-](?P<year>(?:19|20)\d\d)(?![\w/-]|\.\d)")
_YEAR_DASH_MONTH = re.compile(r"(?<![\w/.,-])(?P<year>(?:19|20)\d\d)[/-](?P<m>0[1-9]|1[0-2])(?![\w/-]|\.\d)")
_SHORT = re.compile(r"(?<![\w/.,-])(?P<p>\d{1,2})/(?P<q>\d{1,2})(?![\w/%]|[.,]\d|-\d)")
_SAYS_DATE = re.compile(
    r"\b(?:on|since|dated?|dob|d\.o\.b\.|born|birth(?:day|date)?|until|till|from|by|due|seen|admitted|discharged|"
    r"visit(?:ed)?|expires?|exp|valid(?: thru)?|scheduled|appointment|before|after|deceased|died|through|to|between|"
    r"and|nacida?o?|née?|geboren|am|le|el)\b\.?[ ]?(?:is|was|of|the)?[ ]?[:#(-]?[ ]?\Z",
    re.IGNORECASE,
)
_NOT_DATE = re.compile(
    r"(?:\bv|\bversions?|\brelease|\bbuild|\bscore[ds]?|\bratio|\bsections?|\bchapter|\bfirmware|\bpart no\.?|\bwon|"
    r"\blost|\bbeat\w*|§)[ :]{0,2}\Z",
    re.IGNORECASE,
)
_BEFORE = 32
#: Month names that are words of other kinds: they count when capitalised.
_WORDS = frozenset({"may", "march", "mars", "mar", "august", "mai", "sun", "sat", "set", "dec", "mei", "jan", "juni"})
_MONTH_NAMES = frozenset(MONTHS)
#: Without two parts of a date side by side there is no date in numbers.
_PAIR = re.compile(r"\d[ ]?[-/.][ ]?\d|\d{8}|\d[ ]?[年년]")
_PIVOT = 50  # of two-digit years, for moving them only


def date(text: str, locale: Locale) -> Iterator[Span]:  # noqa: ARG001  # every order of day and month is taken
    """Dates in ISO's, American and European order, with months as words in eight languages, month and year, and month
    and day; with the time of day where it is part of an ISO date.
    """
    if _PAIR.search(text):
        yield from _numeric(text)
    if not mentions(text, _MONTH_NAMES):
        return
    for pattern, confidence in (
        (_YEAR_FIRST, 0.9), (_MONTH_FIRST, 0.85), (_DAY_FIRST, 0.85), (_MONTH_YEAR, 0.8),
    ):  # fmt: skip
        for match in pattern.finditer(text):
            if _capital_or_year(match) and _read(match):
                yield Span(*match.span(), "date", confidence)


def _capital_or_year(match: re.Match[str]) -> bool:
    """ "may 5" and "march 3" are verbs, unless a year follows."""
    month = match["month"]
    return month.casefold() not in _WORDS or month[0].isupper() or bool(match["year"])


def _numeric(text: str) -> Iterator[Span]:
    for pattern, confidence in (
        (_NUMERIC, 0.9), (_CJK, 0.9), (_COMPACT, 0.4), (_MONTH_SLASH_YEAR, 0.7), (_YEAR_DASH_MONTH, 0.6), (_SHORT, 0.3),
    ):  # fmt: skip
        for match in pattern.finditer(text):
            before = text[max(0, match.start() - _BEFORE) : match.start()]
            if _NOT_DATE.search(before) or not _read(match):
                continue
            said = bool(_SAYS_DATE.search(before))
            found = _doubt(match, confidence) if pattern is _NUMERIC else confidence
            if pattern is _YEAR_DASH_MONTH and int(match["m"]) == int(match["year"]) % 100 + 1:
                found = 0.4  # "2008-09" is a season, or two years
            if pattern is _COMPACT and match["time"]:
                found = 0.9
            yield Span(*match.span(), "date", max(found, 0.75) if said else found)


def _doubt(match: re.Match[str], confidence: float) -> float:
    """ "1.2.03" is rather a version than a date, and "3 - 2 - 10" rather a score."""
    parts = match.groupdict()
    if parts["z"] and len(parts["z"]) == 2:  # noqa: PLR2004  # digits of the year
        dots = "." in parts["b"]
        if dots or " " in parts["b"]:
            return 0.6 if len(parts["p"]) == len(parts["q"]) == 2 and "." in parts["b"] else 0.3  # noqa: PLR2004
        return 0.75
    return confidence


def _read(match: re.Match[str]) -> tuple[Date, dict[str, tuple[int, int]]] | None:
    """The date that a match means (missing parts: day 15, year 2000), and where its parts stand; None for no date."""
    parts = match.groupdict()
    place = {name: match.span(name) for name, value in parts.items() if value}
    names = {"y": "year", "z": "year", "d": "day", "m": "month"}
    where = {names.get(name, name): span for name, span in place.items() if names.get(name, name) in
             {"year", "month", "day", "p", "q"}}  # fmt: skip
    value = {name: match.string[slice(*span)] for name, span in where.items()}
    if "p" in value:
        first, second = int(value["p"]), int(value["q"])
        # The American order where it is possible: which of the two it is does not change whether it is a date.
        month_first = first <= 12 and "." not in match[0]  # noqa: PLR2004  # months
        where["month" if month_first else "day"], where["day" if month_first else "month"] = where["p"], where["q"]
        day, month = (second, first) if month_first else (first, second)
    else:
        day, month = _day(value.get("day", "15")), _month(value.get("month", ""))
    year = _year(value.get("year", "2000"))
    if not (1 <= month <= 12 and 1 <= day <= calendar.monthrange(year, month)[1]):  # noqa: PLR2004  # months
        return None
    return Date(year, month, day), where


def _day(text: str) -> int:
    number = "".join(char for char in text if char.isdigit())
    return int(number) if number else _ORDINALS[text.casefold().replace(" ", "-")]


def _month(text: str) -> int:
    return int(text) if text.isdigit() else MONTHS.get(text.casefold(), 0)


def _year(text: str) -> int:
    number = int(text.lstrip("'\u2019"))
    if len(text.lstrip("'\u2019")) > 2:  # noqa: PLR2004  # digits
        return number
    return number + (1900 if number > _PIVOT else 2000)


def shift(text: str, days: int) -> str | None:
    """A date moved by some days, in the form that it has.

    Args:
        text: one date, as `date` finds it (folded).
        days: how far; negative is earlier.

    Returns:
        None where its form cannot be kept (a day or a month written out as an ordinal).
    """
    patterns = (_NUMERIC, _CJK, _COMPACT, _YEAR_FIRST, _MONTH_FIRST, _DAY_FIRST, _MONTH_YEAR, _MONTH_SLASH_YEAR,
                _YEAR_DASH_MONTH, _SHORT)  # fmt: skip
    for pattern in patterns:
        match = pattern.fullmatch(text)
        read = _read(match) if match else None
        if read is not None:
            break
    else:
        return None
    before, where = read
    after = before + timedelta(days=days)
    out = text
    for name, (start, end) in sorted(where.items(), key=lambda item: -item[1][0]):
        if name in {"year", "month", "day"}:
            written = _write(name, text[start:end], after)
            if written is None:
                return None
            out = out[:start] + written + out[end:]
    return re.sub(r"^[^\W\d_]+day\.?,?[ ](?:the[ ])?", "", out)  # the weekday would be wrong, or tell the offset


def _write(name: str, old: str, value: Date) -> str | None:
    number: int = getattr(value, name)
    if old.isdigit():
        return f"{number % 100 if len(old) < 4 and name == 'year' else number:0{len(old)}d}"  # noqa: PLR2004
    if name == "year":
        return f"'{number % 100:02d}"
    if name == "month":
        written = next(
            (names.split()[number - 1] for names in _MONTHS.values() if old.casefold() in names.split()), "."
        )
        if written == ".":
            return None
        return (
            written.upper() if old.isupper() and len(old) > 1 else written.capitalize() if old[0].isupper() else written
        )
    ordinal = re.fullmatch(r"\d+[ ]?(?P<end>st|nd|rd|th)", old)
    if not ordinal:
        return None
    return f"{number}{'th' if 11 <= number % 100 <= 13 else {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th')}"  # noqa: PLR2004
