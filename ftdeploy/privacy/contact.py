"""Ways to reach somebody: e-mail, phone, fax, URL, IP address."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

from ftdeploy.privacy.kinds import IdentifierType
from ftdeploy.privacy.span import Locale, Span, digits, mentions

# The local part is looked for backwards from each @, in a window: searching forwards would be quadratic in "aaaa...".
_LOCAL_CHARS, _DOMAIN_CHARS = 64, 255
_LOCAL = re.compile(r"(?:\"[^\"\n]{1,62}\"|[\w.!#$%&'*+~-]+)\Z")
_DOMAIN = re.compile(r"(?:\[\d{1,3}(?:\.\d{1,3}){3}\]|(?:[\w-]{1,63}\.){1,6}[^\W\d_]{2,24})(?![\w@])")
_AT = r"(?:[ ]?[\[({<][ ]?(?:at|AT|@)[ ]?[\])}>][ ]?| (?:at|AT) )"
_DOT = r"(?:[ ]?[\[({<][ ]?(?:dot|DOT|\.)[ ]?[\])}>][ ]?| (?:dot|DOT) |\.)"
_SPELLED = re.compile(
    rf"(?<![\w.+-])[\w+-]{{1,32}}(?:{_DOT}[\w+-]{{1,32}}){{0,3}}{_AT}[\w-]{{1,32}}(?:{_DOT}[\w-]{{2,24}}){{1,3}}(?!\w)"
)
#: Words that make "at" and "dot" an address; "arrived at example.com" alone does not.
_AT_WORDS = frozenset({"at"})
_IS_SPELLED = re.compile(r"[\[({<][ ]?(?:at|@)[ ]?[\])}>]|\bdot\b", re.IGNORECASE)

_TLD = "com|org|net|edu|gov|mil|info|biz|io|eu|app|dev|de|fr|nl|ch|ca|uk|us|jp|au|nz|health|care|clinic|example|invalid"
_URL = re.compile(
    r"(?<![\w@.])(?:(?:https?|ftps?|sftp|file|wss?)://[^\s<>\"'\u201c\u201d]{1,2000}|www\d?\.[^\s<>\"']{2,2000})",
    re.IGNORECASE,
)
_BARE_URL = re.compile(
    rf"(?<![\w@./-])(?:[a-z0-9](?:[a-z0-9-]{{0,61}}[a-z0-9])?\.){{1,4}}(?:{_TLD})(?![\w@-])(?!\.\w)"
    rf"(?:[:]\d{{2,5}})?(?:/[^\s<>\"']{{0,1000}}|\?[^\s<>\"']{{1,1000}})?",
    re.IGNORECASE,
)
_DOTTED = re.compile(r"\w\.[^\W_]|://")
_URL_END = ".,;:!?)]}'*_\u2026"

_IPV4 = re.compile(
    r"(?<![\w.])(?:(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)\.){3}(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(?!\w|\.\d)"
    r"(?:[:/]\d{1,5}\b)?"
)
_IPV6 = re.compile(
    r"(?<![\w:.])(?=[0-9A-Fa-f]{0,4}:)[0-9A-Fa-f:]{5,39}(?:(?:\.\d{1,3}){3})?(?:%\w{1,12})?(?:/\d{1,3})?(?![\w:])"
)
_NOT_IP = re.compile(
    r"(?:\bv|\bversions?|\bver\.?|\brelease|\bbuild|\bfirmware|\bsections?|\bsec\.|§|\bchapter|\bclause|\bupdate|"
    r"\bpatch|\bparagraph)[ :]{0,2}\Z",
    re.IGNORECASE,
)
_SAYS_IP = re.compile(r"\b(?:ip|ipv4|host|address|server|client|from|node|gateway|ping|login)\b", re.IGNORECASE)

_PHONE = re.compile(
    r"(?<![\w.,/:#$€£-])(?<!\d\d\d[ ])(?:(?:\+|00)[ ]?)?(?:\(\+?\d{1,5}\)|\d)"
    r"(?:[ ]?[ \-/][ ]?|\.[ ]?|[ ]?[()][ ]?|(?=\d)"
    r"){0,1}"
    r"(?:\d(?:[ ]?[\-/][ ]?|\.[ ]?|[ ]|[ ]?[()][ ]?)?){4,14}(?<=\d)(?!(?!x\d)[\w%]|[.,/:-]\d|[ ]\d{3})"
)
_VANITY = re.compile(
    r"(?<![\w+])(?:\+?1[-. ])?\(?8(?:00|88|77|66|55|44|33)\)?[-. ](?=[\dA-Z-]{7,9}\b)"
    r"[\dA-Z]{1,7}(?:-[\dA-Z]{1,7}){0,2}\b"
)
_EXTENSION = re.compile(r",?[ ]?(?:ext(?:ension)?\.?|x|Durchwahl|poste)[ ]?:?[ ]?\d{1,6}\b", re.IGNORECASE)
_NANP = re.compile(
    r"(?:\+?1[ .\-]?[ ]?)?(?:\([2-9]\d\d\)[ ]?|[2-9]\d\d(?P<gap>[ .\-/]))[2-9]\d\d(?(gap)(?P=gap)|[ .\-])\d{4}"
)
_LOCAL_PHONE = re.compile(r"\d{3}[-. ]\d{4}")
_SAYS_PHONE = re.compile(
    r"\b(?:phones?|tel|telephones?|telefon\w*|téléphone|teléfono|cells?|cellular|mobile|mobil|handy|call(?:ed|ing|"
    r"s)?|ring|dial(?:ed)?|text(?:ed)?|sms|whatsapp|pager|hotline|landline|reach(?:able)?|contact|numéro|voicemail|"
    r"fax|facsimile)\b[^\n]{0,30}\Z|(?:\b[TMPCH]|☎|✆|\b(?:office|home|work|desk|ward))[ ]?[:.]?[ ]?\Z",
    re.IGNORECASE,
)
_SAYS_AFTER = re.compile(
    r"[ ](?:is|was)[ ](?:my|his|her|their|our|the)[ ](?:\w{1,12}[ ])?(?:cell|phone|mobile|number|landline|pager|home)"
    r"\b",
    re.IGNORECASE,
)
_SAYS_FAX = re.compile(r"\b(?:fax|facsimile|telefax)\b[^\d\n]{0,25}\Z|\bF[ ]?:[ ]?\Z", re.IGNORECASE)
_NOT_PHONE = re.compile(
    r"(?:\border|\binvoice|\bisbn(?:-1[03])?|\bissn|\bpo|\bticket|\btracking|\bref(?:erence)?|\bserial|\bmrn|"
    r"\baccount|\bcase|\bpart|\bsku|\bmodel|\bticker|\bdoi|\bversion|\barticle|\bconfirmation|\bbatch|\blot|\bcas|"
    r"[$€£¥]|(?<!fax)(?<!fax )(?<!phone)(?<!phone )(?<!tel)(?<!cell)(?<!mobile)#|\b(?:eur|usd|gbp|sek))"
    r"(?:[ ]?(?:number|no|nr|id|code|mn|m)\b\.?)?(?: is)?[ ]?[:#]?[ ]?\Z",
    re.IGNORECASE,
)
#: Dates, social security numbers and ISBN.
_OTHER_FORMS = re.compile(
    r"\d{3}-\d\d-\d{4}|"
    r"(?:19|20)\d\d[-/. ]\d{1,2}[-/. ]\d{1,2}(?:[ ]\d{1,2})?|\d{1,2}[-/. ]\d{1,2}[-/. ](?:19|20)\d\d(?:[ ]\d{1,2})?|"
    r"(?:19|20)\d\d[ ]?[-/ ][ ]?(?:19|20)?\d\d|(?:97[89][ -]?)?\d{1,5}[ -]\d{1,7}[ -]\d{1,6}[ -]\d"
)
_SEVEN = re.compile(r"(?:\d\D{0,3}){6}\d")
_BEFORE = 48  # characters in which a word tells what a number is
_NANP_REGIONS = frozenset({"US", "CA", "PR", "DO", "JM", "BS", "BB", "TT"})
_FEWEST, _MOST = 7, 15  # digits, E.164


def email(text: str, locale: Locale) -> Iterator[Span]:  # noqa: ARG001  # the same everywhere
    """Addresses with @, in Unicode too, and those spelt out as "jo [at] example [dot] org"."""
    at = text.find("@")
    while at >= 0:
        local = _LOCAL.search(text[max(0, at - _LOCAL_CHARS) : at])
        domain = _DOMAIN.match(text, at + 1, at + 1 + _DOMAIN_CHARS)
        if local and domain:
            start = max(0, at - _LOCAL_CHARS) + local.start()
            start += len(local[0]) - len(local[0].lstrip(".'*!"))
            if start < at:
                yield Span(start, domain.end(), "email", 0.95)
        at = text.find("@", at + 1)
    if mentions(text, _AT_WORDS) and _IS_SPELLED.search(text):
        for match in _SPELLED.finditer(text):
            if _IS_SPELLED.search(match[0]):
                yield Span(*match.span(), "email", 0.8)


def url(text: str, locale: Locale) -> Iterator[Span]:  # noqa: ARG001  # the same everywhere
    """Addresses with a scheme, with www., and bare domains under well-known ends."""
    if not _DOTTED.search(text):
        return
    for pattern, confidence in ((_URL, 0.95), (_BARE_URL, 0.7)):
        for match in pattern.finditer(text):
            found = match[0].rstrip(_URL_END)
            if "(" in found and match[0][len(found) : len(found) + 1] == ")":
                found += ")"
            yield Span(match.start(), match.start() + len(found), "url", confidence)


def ip(text: str, locale: Locale) -> Iterator[Span]:  # noqa: ARG001  # the same everywhere
    """IPv4 and IPv6; four small numbers after "version" or "section" are none."""
    for match in _IPV4.finditer(text):
        before = text[max(0, match.start() - _BEFORE) : match.start()]
        if _NOT_IP.search(before):
            continue
        small = all(len(part) == 1 for part in re.split(r"[:/]", match[0])[0].split("."))
        yield Span(*match.span(), "ip", 0.4 if small and not _SAYS_IP.search(before) else 0.9)
    if text.count(":") > 1:
        for match in _IPV6.finditer(text):
            if _is_ipv6(match[0]):
                yield Span(*match.span(), "ip", 0.95)


def _is_ipv6(found: str) -> bool:
    try:
        ipaddress.IPv6Address(found.partition("/")[0])
    except ValueError:
        return False
    return sum(bool(part) for part in found.split(":")) > 1 and bool(digits(found))


def phone(text: str, locale: Locale) -> Iterator[Span]:
    """Phone and fax numbers: international ones, those of the regions (the phonenumbers library, a port of Google's
    libphonenumber, knows which exist), and whatever is announced as one.
    """
    for match in _PHONE.finditer(text) if _SEVEN.search(text) else ():
        start, end = match.span()
        found = match[0]
        if found.count(")") > found.count("("):
            continue
        before = text[max(0, start - _BEFORE) : start]
        if _SAYS_AFTER.match(text, end):
            before = "phone "
        confidence = _phone_confidence(found, before, locale)
        if confidence:
            extension = _EXTENSION.match(text, end)
            yield Span(start, extension.end() if extension else end, _phone_kind(before), confidence)
    for match in _VANITY.finditer(text) if "8" in text else ():
        if any(char.isalpha() for char in match[0]):
            yield Span(*match.span(), "phone", 0.85)


def _phone_kind(before: str) -> IdentifierType:
    return "fax" if _SAYS_FAX.search(before) else "phone"


def _phone_confidence(found: str, before: str, locale: Locale) -> float:
    count = len(digits(found))
    said = bool(_SAYS_PHONE.search(before))
    if not _FEWEST <= count <= _MOST or _NOT_PHONE.search(before):
        return 0.0
    if _NANP.fullmatch(found):
        return 0.85 if said or _NANP_REGIONS & set(locale.regions) else 0.6
    if found.startswith(("+", "(+", "00")):
        return 0.95 if _valid(found, None) else 0.8 if said else 0.45
    if _OTHER_FORMS.fullmatch(found):
        return 0.0
    return _national_confidence(found, locale, said=said)


def _national_confidence(found: str, locale: Locale, *, said: bool) -> float:
    separated = any(char in " .-/()" for char in found)
    if said:
        return 0.8 if separated or _known(found, locale) or _LOCAL_PHONE.fullmatch(found) else 0.6
    if separated and (found.startswith(("0", "(0")) or "(" in found) and _known(found, locale):
        return 0.75
    return 0.6 if separated and _tidy(found) and _known(found, locale) else 0.3 if _known(found, locale) else 0.0


def _tidy(found: str) -> bool:
    """In groups of two to four, as people write numbers for others."""
    parts = re.split(r"[ .\-/()]+", found.strip("()"))
    thousands = "." not in found and "-" not in found and all(len(part) == 3 for part in parts[1:])  # noqa: PLR2004
    return len(parts) > 2 and not thousands and all(2 <= len(part) <= 4 for part in parts)  # noqa: PLR2004


def _known(found: str, locale: Locale) -> bool:
    return any(_valid(found, region) for region in locale.regions)


def _valid(found: str, region: str | None) -> bool:
    import phonenumbers

    number = found.replace("(0)", "")
    if number.startswith("00"):
        number = "+" + number[2:]
    try:
        return phonenumbers.is_valid_number(phonenumbers.parse(number, region))
    except phonenumbers.NumberParseException:
        return False
