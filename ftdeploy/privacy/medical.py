"""Numbers that hospitals, insurers and makers of devices give out."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ftdeploy.privacy import checksums
from ftdeploy.privacy.span import Locale, Span, announced, announced_spans, digits, matches

_MRN = announced(
    r"(?:hospital[ ]|clinic[ ]|pt\.?[ ])?U?M\.?R\.?(?:N|\#)s?|MR(?=[ ]?(?:\#|no|num))|"
    r"med(?:ical)?\.?[ ]rec(?:ord)?s?\.?|(?:health|patient)[ ]records?|(?:medical[ ]|patient[ ]|hospital[ ]|"
    r"clinical[ ])?charts?(?=[ ]?(?:\#|:|no|num|id))|patient(?=[ ]?(?:\#|id|no\b|num|ident|ref))|pt(?=[ ](?:id|no|\#)"
    r")|(?:hospital|hosp\.?|unit|episode|encounter|visit|admission|accession|specimen|case|file|"
    r"record)(?=[ ]?(?:\#|id|no\b|"
    r"num))|CSN|FIN|UHID|URN|NHS|CHI|Patientennummer|Fallnummer|patient[ ]identifier|EHR|EMR|HRN|PID"
)
_MRN_AFTER = re.compile(
    r"(?<![\w.-])(?P<token>[A-Z]{0,3}-?\d[\dA-Z-]{3,14})[ ]?\((?:MRN|medical[ ]record|chart|patient[ ]id|"
    r"hospital[ ](?:no|number))[^()\n]{0,16}\)",
    re.IGNORECASE,
)
_NHS = re.compile(r"(?<![\w.-])\d{3}[ -]\d{3}[ -]\d{4}(?![\w]|[-.]\d)")
_SAYS_NHS = re.compile(r"\bNHS\b", re.IGNORECASE)
_PLAN = announced(
    r"(?:health[ ]?plan|insurance|plan|medicaid|medicare|medi-?cal|insurer)(?:[ ](?:member|policy|beneficiary|"
    r"subscriber|card|claim|coverage|group|plan))?|(?:member|subscriber|beneficiary|enrollee|policy(?:[ ]?holder)?|"
    r"insured)(?=[ ]?(?:\#|:|id|no\b|num|card|is))|group(?=[ ](?:\#|no\b|num|id))|claim(?=[ ](?:\#|no\b|num|id))|"
    r"policy|MBI|HICN|RxBIN|Rx[ ](?:BIN|group|ID)|Versichertennummer|KVNR|Krankenversichertennummer|EHIC|"
    r"(?:Blue[ ]Cross|BCBS|Aetna|Cigna|Humana|Kaiser|Anthem|UnitedHealth(?:care)?|UHC|Tricare|AOK|Barmer)"
    r"(?:[ ](?:member|policy|plan|PPO|HMO|ID))?|carte[ ]vitale|HPID"
)
_B, _C, _N = "[ACDEFGHJKMNPQRTUVWXY]", "[ACDEFGHJKMNPQRTUVWXY0-9]", r"\d"
_MBI = re.compile(rf"(?<![\w-])[1-9]{_B}{_C}{_N}-?{_B}{_C}{_N}-?{_B}{{2}}{_N}{{2}}(?![\w-])")

_MAC = re.compile(
    r"(?<![\w:-])(?:[0-9A-F]{2}(?P<gap>[:-]))(?:[0-9A-F]{2}(?P=gap)){4}[0-9A-F]{2}(?![\w]|[:-][0-9A-F]{2})",
    re.IGNORECASE,
)
_CISCO = re.compile(r"(?<![\w.])[0-9A-F]{4}\.[0-9A-F]{4}\.[0-9A-F]{4}(?![\w.])", re.IGNORECASE)
_BARE_MAC = re.compile(r"\bMAC(?:[ ]address)?(?:[ ]is)?[ ]?[:#]?[ ]?(?P<token>[0-9A-F]{12})(?!\w)", re.IGNORECASE)
_IMEI = re.compile(r"(?<![\w.-])(?:\d{15}|\d{2}[- ]\d{6}[- ]\d{6}[- ]\d|\d{6}[- ]\d{2}[- ]\d{6}[- ]\d)(?![\w]|[.-]\d)")
_SAYS_IMEI = re.compile(r"\b(?:IMEI|device|phone|handset|mobile)\b", re.IGNORECASE)
_UDI = re.compile(r"\(01\)[ ]?(?P<gtin>\d{14})(?:[ ]?\(\d{2}\)[ ]?[\w-]{1,20}){0,4}")
_SERIAL = announced(
    r"(?:device[ ]|pump[ ]|pacemaker[ ]|implant[ ]|monitor[ ]|equipment[ ]|lead[ ]|generator[ ])?serial|S/N|SN|"
    r"device(?=[ ](?:id|serial|no\b|num|ident))|IMEI|IMEISV|MEID|ESN|UDID|UDI|IDFA|GAID|(?:android|advertising|"
    r"hardware|machine)(?=[ ]?(?:id))|ICCID|IMSI|(?:pacemaker|implant|insulin[ ]pump|defibrillator|prosthesis)"
    r"(?=[ ](?:id|no\b|num|model[ ]|\#))|Seriennummer",
    token=r"(?P<token>(?=[A-Z/\-.]{0,12}\d|[0-9A-F]{8}-)[A-Z0-9]{1,32}(?:[\-./][A-Z0-9]{1,16}){0,5})",  # noqa: S106
)


def mrn(text: str, locale: Locale) -> Iterator[Span]:  # noqa: ARG001  # the same everywhere
    """Medical record, chart, patient, visit and NHS numbers: after a word, before "(MRN)", or by NHS's check digit."""
    yield from announced_spans(_MRN, text, "mrn")
    yield from matches(_MRN_AFTER, text, "mrn", 0.85, "token")
    for match in _NHS.finditer(text):
        said = _SAYS_NHS.search(text[max(0, match.start() - 40) : match.start()])
        if said and checksums.nhs(digits(match[0])):
            yield Span(*match.span(), "mrn", 0.93)
        elif said:
            yield Span(*match.span(), "mrn", 0.9)


def health_plan(text: str, locale: Locale) -> Iterator[Span]:  # noqa: ARG001  # the same everywhere
    """Member, policy and beneficiary numbers after a word; Medicare's identifier (MBI) by its form."""
    yield from announced_spans(_PLAN, text, "health_plan", confidence=0.82, fewest=5)
    yield from matches(_MBI, text, "health_plan", 0.93)


def device(text: str, locale: Locale) -> Iterator[Span]:  # noqa: ARG001  # the same everywhere
    """MAC addresses, IMEI with Luhn's digit, UDI with GS1's, serial numbers after a word."""
    yield from matches(_MAC, text, "device", 0.95)
    yield from matches(_CISCO, text, "device", 0.8)
    yield from matches(_BARE_MAC, text, "device", 0.9, "token")
    for match in _IMEI.finditer(text):
        if checksums.luhn(digits(match[0])):
            said = _SAYS_IMEI.search(text[max(0, match.start() - 40) : match.start()])
            yield Span(*match.span(), "device", 0.96 if said else 0.55 if "-" in match[0] else 0.4)
    for match in _UDI.finditer(text):
        if checksums.gtin(match["gtin"]):
            yield Span(*match.span(), "device", 0.95)
    yield from announced_spans(_SERIAL, text, "device")
