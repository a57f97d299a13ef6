"""Numbers that banks and states give out: cards, accounts, social security, passports, licences, plates, vehicles."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ftdeploy.privacy import checksums
from ftdeploy.privacy.span import LINK, Locale, Span, announced, announced_spans, digits, matches

_CARD = re.compile(r"(?<![\w.-])(?<!\d[ ])\d(?:[ -]?\d){12,18}(?![\w]|[.-]\d|[ ]\d{2})")
#: Lengths by the first digits (ISO/IEC 7812 issuer ranges): Visa, Mastercard, American Express, Discover, JCB, Diners,
#: UnionPay, Maestro.
_ISSUERS = (
    (re.compile(r"4"), (13, 16, 19)),
    (re.compile(r"5[1-5]|222[1-9]|22[3-9]|2[3-6]|27[01]|2720"), (16,)),
    (re.compile(r"3[47]"), (15,)),
    (re.compile(r"6011|65|64[4-9]|622"), (16, 17, 18, 19)),
    (re.compile(r"35(?:2[89]|[3-8])"), (16, 17, 18, 19)),
    (re.compile(r"30[0-5]|3095|36|3[89]"), (14, 16, 19)),
    (re.compile(r"62|81"), (16, 17, 18, 19)),
    (re.compile(r"50|5[6-9]|6[37]"), (12, 13, 14, 15, 16, 17, 18, 19)),
)
_SHORTEST_CARD = 12  # digits, Maestro
_GROUPED = re.compile(r"\d+|(?:\d{4}[ -]){2,4}\d{1,4}|\d{4}[ -]\d{6}[ -]\d{4,5}")
_NOT_CARD = re.compile(
    r"\b(?:order|tracking|invoice|isbn|shipment|parcel|ticket|imei)(?:[ ](?:number|no\.?|id))?[ ]?[:#]?[ ]?\Z",
    re.IGNORECASE,
)
_SAYS_CARD = re.compile(
    r"\b(?:card|visa|mastercard|master card|amex|american express|discover|maestro|jcb|diners|unionpay|credit|debit|"
    r"carte|Karte|tarjeta)\b",
    re.IGNORECASE,
)
_IBAN = re.compile(r"(?<![\w-])[A-Z]{2}\d{2}(?:[ -]?[A-Z0-9]){11,30}", re.IGNORECASE)

_SSN = re.compile(
    r"(?<![\w.-])(?!000|666|9\d\d)\d{3}(?P<gap>[-.\u00b7]|[ ]-[ ]|[ ])(?!00)\d\d(?P=gap)(?!0000)\d{4}(?![\w]|[-.]\d)"
)
_SAYS_SSN = r"SSNs?|SS\#|SS|S\.S\.N\.?|soc(?:ial)?\.?[ ]sec(?:urity)?\.?|social[ ]security[ ]number|social|ITIN|TIN"
_SAID_SSN = re.compile(
    rf"(?<!\w)(?:{_SAYS_SSN}){LINK}(?P<token>(?!000|666)\d{{3}}[ .-]?(?!00)\d\d[ .-]?(?!0000)\d{{4}})(?!\w|[-.]\d)",
    re.IGNORECASE,
)
_MASKED_SSN = re.compile(r"(?<!\w)(?:[xX*#•]{3}[- ][xX*#•]{2}[- ]\d{4})(?!\w)")
_LAST_FOUR = re.compile(
    rf"\b(?:{_SAYS_SSN})[ ](?:end(?:s|ing|ed)[ ]in|last[ ](?:four|4)):?[ ](?P<ending>\d{{4}})(?!\w)"
    rf"|\blast[ ](?:four|4)(?:[ ]digits)?[ ](?:of[ ](?:(?:my|his|her|your|the)"
    rf"[ ])?)?(?:{_SAYS_SSN}){LINK}(?P<token>\d{{4}})(?!\w)",
    re.IGNORECASE,
)

_NINO = re.compile(
    r"(?<![\w-])(?!BG|GB|NK|KN|TN|NT|ZZ)"
    r"[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z][ -]?\d\d[ -]?\d\d[ -]?\d\d[ -]?[A-D](?![\w-])",
    re.IGNORECASE,
)
_DNI = re.compile(r"(?<![\w.-])(?:\d{8}|[XYZ]-?\d{7})-?[TRWAGMYFPDXBNJZSQVHLCKE](?![\w-])")
_FISCAL = re.compile(r"(?<!\w)[A-Z]{6}\d\d[ABCDEHLMPRST]\d\d[A-Z]\d{3}[A-Z](?!\w)", re.IGNORECASE)
_NIR = re.compile(r"(?<![\w.-])[12][ ]?\d\d[ ]?(?:0[1-9]|1[0-2])[ ]?\d[\dAB][ ]?\d{3}[ ]?\d{3}[ ]?\d\d(?![\w]|[.-]\d)")
_NATIONAL = announced(
    r"national[ ]insurance|NINO|NI|national[ ]id(?:entity|entification)?(?:[ ]card)?|identity[ ]card|"
    r"tax(?:payer)?[ ](?:id(?:entification)?|file|payer)|steuer[- ]?(?:id|identifikationsnummer|nummer)|IdNr|"
    r"Personalausweis(?:nummer)?|Sozialversicherungsnummer|DNI|NIE|NIF|codice[ ]fiscale|BSN|PESEL|personnummer|"
    r"henkilötunnus|CPR|Aadhaar|SIN|social[ ]insurance|EIN|numéro[ ]de[ ]sécurité[ ]sociale|AHV|CNP",
    token=r"(?P<token>(?=[A-Z]{0,6}[ .-]?\d)[A-Z0-9]{1,16}(?:[ .\-/+]?(?=[A-Z]{0,2}\d|[A-Z]\b)[A-Z0-9]{1,12}){0,6})",  # noqa: S106
)
_PASSPORT = announced(r"passports?|pass(?:port)?[ ]no|Reisepass(?:nummer)?|passeport|pasaporte|passaporto")
_LICENCE = announced(
    r"(?:driver(?:'?s|s')?[ ]|driving[ ]|medical[ ]|nursing[ ]|pharmacy[ ]|professional[ ]|pilot(?:'s)?[ ]|"
    r"firearms?[ ]|state[ ]|board[ ])?licen[cs]es?|DLN?|D\.L\.|lic\.?|DEA|NPI|certificates?(?:[ ]of[ ]\w{3,12})?|"
    r"cert\.?|certification|permits?|Führerschein(?:nummer)?|permis(?:[ ]de[ ]conduire)?"
)
_DEA = re.compile(r"(?<!\w)[ABCDEFGHJKLMPRSTUX][A-Z9]\d{7}(?!\w)")
_PLATE = re.compile(
    rf"(?<!\w)(?i:licen[cs]e[ ]plates?|lic\.?[ ]plates?|plates?|number[ ]plates?|(?:vehicle|car)[ ]reg(?:istration)?|"
    rf"reg(?:istration)?(?:[ ]plate|[ ]mark|[ ]no\.?|[ ]number)|tags?|Kennzeichen|immatriculation)(?![\w-])"
    rf"(?i:{LINK})(?P<token>(?=[A-ZÄÖÜ\d -]{{0,9}}\d)(?=[\d -]{{0,9}}[A-ZÄÖÜ])"
    rf"[A-ZÄÖÜ\d]{{1,4}}(?:[ -]?[A-ZÄÖÜ\d]{{1,4}}){{1,2}})(?![\w])"
)
_ACCOUNT = announced(
    r"(?:bank[ ]|checking[ ]|savings?[ ]|deposit[ ]|customer[ ]|client[ ]|billing[ ]|patient[ ]|loan[ ]|brokerage[ ]|"
    r"my[ ])?(?:accounts?|acct\.?|a/c)(?:[ ]?\#)?|(?:customer|client|loan|mortgage|membership)(?=[ ](?:id|number|no|"
    r"nr)\b)|Kontonummer|Konto|compte|cuenta|conto|SWIFT|sort[ ]code|routing(?:[ ]and[ ]account)?|RTN|ABA",
    token=r"(?P<token>(?=[A-Z/\-.]{0,8}\d)[A-Z0-9]{1,24}(?:[\-./ ](?=[A-Z]{0,2}\d)[A-Z0-9]{2,12}){0,5})",  # noqa: S106
)
_SORT_CODE = re.compile(r"\bsort[ -]code(?:[ ]is)?[ ]?:?[ ]?(?P<token>\d\d[- ]?\d\d[- ]?\d\d)(?!\w)", re.IGNORECASE)
_SAYS_IBAN = re.compile(r"\bIBAN\b", re.IGNORECASE)
_VIN = re.compile(r"(?<![\w-])[A-HJ-NPR-Z0-9]{17}(?![\w-])", re.IGNORECASE)
_SAID_VIN = re.compile(
    rf"(?<!\w)(?:VIN|vehicle[ ]identification|vehicle[ ]id|chassis|Fahrgestellnummer|"
    rf"FIN){LINK}(?P<token>(?=[A-Z]{{0,11}}\d)[A-HJ-NPR-Z0-9]{{11,17}})(?!\w)",
    re.IGNORECASE,
)


def card(text: str, locale: Locale) -> Iterator[Span]:  # noqa: ARG001  # the same everywhere
    """Payment cards: an issuer's first digits, its length, and Luhn's check digit."""
    for match in _CARD.finditer(text):
        before = text[max(0, match.start() - 48) : match.start()]
        said = bool(_SAYS_CARD.search(before))
        if not said and _NOT_CARD.search(before):
            continue
        for found in (match[0], match[0].rpartition(" ")[0]):  # the number that follows may belong to the sentence
            number = digits(found)
            if len(number) < _SHORTEST_CARD or len(set(number)) == 1 or not checksums.luhn(number):
                continue
            known = any(first.match(number) and len(number) in lengths for first, lengths in _ISSUERS)
            if said or (known and _GROUPED.fullmatch(found)):
                yield Span(match.start(), match.start() + len(found), "card", 0.95 if known else 0.6)
                break


def iban(text: str, locale: Locale) -> Iterator[Span]:  # noqa: ARG001  # the same everywhere
    """IBANs: country, its length, and 1 modulo 97; in groups of any size."""
    for match in _IBAN.finditer(text):
        found = match[0]
        wanted = checksums.IBAN_LENGTHS.get(found[:2].upper(), 0)
        kept = [place for place, char in enumerate(found) if char.isalnum()]
        if not 0 < wanted <= len(kept):
            continue
        end = kept[wanted - 1] + 1
        code = "".join(found[place] for place in kept[:wanted]).upper()
        if found[end : end + 1].isalnum() or not checksums.iban(code):
            continue
        yield Span(match.start(), match.start() + end, "iban", 0.97)


def ssn(text: str, locale: Locale) -> Iterator[Span]:  # noqa: ARG001  # the same everywhere
    """US social security numbers in the ranges that are given out; without separators after a word; the last four
    digits where the rest is masked.
    """
    for match in _SSN.finditer(text):
        yield Span(*match.span(), "ssn", 0.9 if match["gap"] == "-" else 0.7)
    yield from matches(_SAID_SSN, text, "ssn", 0.92, "token")
    yield from matches(_MASKED_SSN, text, "ssn", 0.8)
    for match in _LAST_FOUR.finditer(text):
        yield Span(*match.span("token" if match["token"] else "ending"), "ssn", 0.8)


def national_id(text: str, locale: Locale) -> Iterator[Span]:  # noqa: ARG001  # the same everywhere
    """British, Spanish, Italian and French numbers by form and check digit, others after a word."""
    yield from matches(_NINO, text, "national_id", 0.8)
    yield from matches(_FISCAL, text, "national_id", 0.95)
    for match in _DNI.finditer(text):
        if checksums.spanish(match[0].replace("-", "")):
            yield Span(*match.span(), "national_id", 0.9)
    for match in _NIR.finditer(text):
        number = match[0].replace(" ", "").replace("A", "0").replace("B", "0")
        if checksums.french(number):
            yield Span(*match.span(), "national_id", 0.9)
    yield from announced_spans(_NATIONAL, text, "national_id", confidence=0.82, fewest=6)


def passport(text: str, locale: Locale) -> Iterator[Span]:  # noqa: ARG001  # the same everywhere
    """Passport numbers after the word."""
    yield from announced_spans(_PASSPORT, text, "passport", fewest=5)


def licence(text: str, locale: Locale) -> Iterator[Span]:  # noqa: ARG001  # the same everywhere
    """Licences and certificates after a word; DEA registrations by their check digit."""
    yield from announced_spans(_LICENCE, text, "licence", confidence=0.82)
    for match in _DEA.finditer(text):
        if checksums.dea(match[0]):
            yield Span(*match.span(), "licence", 0.75)


def plate(text: str, locale: Locale) -> Iterator[Span]:  # noqa: ARG001  # the same everywhere
    """Number plates after a word."""
    yield from matches(_PLATE, text, "plate", 0.8, "token")


def account(text: str, locale: Locale) -> Iterator[Span]:  # noqa: ARG001  # the same everywhere
    """Account, customer and loan numbers after a word, sort codes and routing numbers."""
    yield from announced_spans(_ACCOUNT, text, "account", confidence=0.82)
    yield from matches(_SORT_CODE, text, "account", 0.85, "token")


def vin(text: str, locale: Locale) -> Iterator[Span]:  # noqa: ARG001  # the same everywhere
    """Vehicle identification numbers: 17 characters with the check digit, or after a word."""
    for match in _VIN.finditer(text):
        code = match[0].upper()
        if not code.isdigit() and not code.isalpha() and checksums.vin(code):
            yield Span(*match.span(), "vin", 0.9)
    yield from matches(_SAID_VIN, text, "vin", 0.88, "token")
