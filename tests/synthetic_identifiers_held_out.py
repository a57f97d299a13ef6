"""A second set of labelled synthetic identifiers in another style than the first: chats, forms, logs, letters and
discharge summaries rather than single sentences, other countries, typography, abbreviations and other negatives.

It was written before the recognisers were tuned, and is for measuring only.
"""

# ruff: noqa: RUF001  # dashes and quotes as people type them

from __future__ import annotations

import random
import string
from collections.abc import Callable, Mapping

from synthetic_identifiers import Draw, Sample, sentences, with_iban_digits, with_luhn, with_vin_digit

_PEOPLE = (
    "Harriet Blythe",
    "Omar Farouk",
    "Lucía Fernández",
    "Ann-Marie Dahl",
    "Chukwuemeka Eze",
    "Yuki Mori",
    "Bartholomew Finch",
    "Siobhán Kelly",
)


def n(draw: Draw, low: int, high: int) -> int:
    return draw.randrange(low, high + 1)


def d(draw: Draw, count: int) -> str:
    return str(n(draw, 1, 9)) + "".join(draw.choice(string.digits) for _ in range(count - 1))


def a(draw: Draw, count: int) -> str:
    return "".join(draw.choice("ABCDEFGHJKLMNPRSTUVWXY") for _ in range(count))


def _h(draw: Draw) -> str:
    return f"{draw.randrange(256):02X}"


#: By type: makers of a text with the identifier between « and ».
TEXTS: Mapping[str, tuple[Callable[[Draw], str], ...]] = {
    "email": (
        lambda r: f"From: «h.blythe{n(r, 1, 99)}@st-marys.nhs.uk»\nSubject: referral",
        lambda r: f"my mail's «{a(r, 3).lower()}_{n(r, 60, 99)}@yahoo.co.jp» lol",
        lambda r: f"<«no.reply+{d(r, 4)}@bounce.mailer.example.io»>",
        lambda r: f"E-Mail:«Info@Praxis-{a(r, 4).title()}.de»,Tel.",
        lambda r: f"ping «omar(at)farouk{n(r, 1, 9)}.net» pls",
        lambda r: f"reach «j{d(r, 2)} at hospital dot org» for questions",
        lambda r: f"MAILTO:«ann-marie@dahl{n(r, 1, 99)}.no»?subject=hi",
    ),
    "phone": (
        lambda r: f"cell «646/{n(r, 220, 989)}/{d(r, 4)}»",
        lambda r: f"M: «+61 4{n(r, 10, 99)} {n(r, 100, 999)} {n(r, 100, 999)}»",
        lambda r: f"my mobile «0176 {d(r, 4)} {d(r, 4)}» works best",
        lambda r: f"Ring the ward on «0161 276 {d(r, 4)}»",
        lambda r: f"☎ «(0){n(r, 30, 40)}/{d(r, 7)}»",
        lambda r: f"you can text «718{n(r, 220, 989)}{d(r, 4)}»",
        lambda r: f"Tel: «+34 91 {n(r, 200, 799)} {n(r, 10, 99)} {n(r, 10, 99)}»",
        lambda r: f"«1 (800) {n(r, 220, 989)}‑{d(r, 4)}» toll free",
        lambda r: f"emergency contact (son) «{n(r, 2, 9)}{n(r, 12, 98)}-{n(r, 220, 989)}-{d(r, 4)}»",
        lambda r: f"office «555-{d(r, 4)}», home same",
    ),
    "fax": (
        lambda r: f"F: see letterhead. Fax no.: «313-{n(r, 220, 989)}-{d(r, 4)}»",
        lambda r: f"records were faxed over to fax# «(650) {n(r, 220, 989)} {d(r, 4)}»",
        lambda r: f"Telefax: «+49 89 {d(r, 7)}»",
    ),
    "ssn": (
        lambda r: f"SS# «{n(r, 100, 665)}-{n(r, 10, 99)}-{d(r, 4)}»",
        lambda r: f"soc sec no «{n(r, 100, 665)}{n(r, 10, 99)}{d(r, 4)}»",
        lambda r: f"SSN=«{n(r, 100, 665)} {n(r, 10, 99)} {d(r, 4)}»;",
        lambda r: f"my social is «{n(r, 670, 899)}–{n(r, 10, 99)}–{d(r, 4)}» ok?",
        lambda r: f"|«{n(r, 100, 665)}-{n(r, 10, 99)}-{d(r, 4)}»|F|",
    ),
    "national_id": (
        lambda r: f"N.I. Number: «{r.choice(['PA', 'LC', 'SR'])}{d(r, 6)}{r.choice('ABCD')}»",
        lambda r: f"DNI «{_dni(r)}»",
        lambda r: f"Steuer-ID: «{d(r, 2)} {d(r, 3)} {d(r, 3)} {d(r, 3)}»",
        lambda r: (
            f"codice fiscale «{a(r, 6)}{n(r, 10, 99)}{r.choice('ABCDEHLMPRST')}{n(r, 10, 31)}H{d(r, 3)}{a(r, 1)}»"
        ),
        lambda r: f"BSN is «{d(r, 9)}»",
    ),
    "mrn": (
        lambda r: f"Pt MRN#«{d(r, 7)}» | adm",
        lambda r: f"med rec no: «{d(r, 2)}-{d(r, 2)}-{d(r, 2)}»",
        lambda r: f"(MR# «{a(r, 1)}{d(r, 8)}»)",
        lambda r: f"hospital number is «{a(r, 2)}{d(r, 5)}»",
        lambda r: f"NHS No. «{d(r, 3)} {d(r, 3)} {d(r, 4)}»",
        lambda r: f"Encounter ID: «{d(r, 10)}»",
        lambda r: f"chart number «{d(r, 6)}» was pulled",
    ),
    "health_plan": (
        lambda r: f"Member #: «{a(r, 3)}{d(r, 9)}»",
        lambda r: f"BCBS policy no. «{a(r, 2)}{d(r, 8)}» grp 55",
        lambda r: f"Medicaid ID «{d(r, 8)}{a(r, 1)}»",
        lambda r: (
            f"MBI «{n(r, 1, 9)}{r.choice('ACDEFGHJK')}E{n(r, 0, 9)}-T{r.choice('MNPQRT')}{n(r, 0, 9)}-MK{n(r, 10, 99)}»"
        ),
        lambda r: f"Beneficiary number: «{d(r, 9)}»",
        lambda r: f"insured under policy «{d(r, 4)}-{d(r, 6)}»",
    ),
    "account": (
        lambda r: f"a/c no «{d(r, 8)}»",
        lambda r: f"ACCT: «{d(r, 4)}-{d(r, 6)}»",
        lambda r: f"Sort code «{d(r, 2)}-{d(r, 2)}-{d(r, 2)}»",
        lambda r: f"checking account ending in «{d(r, 4)}»",
        lambda r: f"Kontonummer «{d(r, 9)}»",
        lambda r: f"routing number «{d(r, 9)}»",
    ),
    "licence": (
        lambda r: f"DL No. «{a(r, 1)}{d(r, 7)}» (CA)",
        lambda r: f"Drivers Lic: «{d(r, 9)}»",
        lambda r: f"state medical licence number «{a(r, 2)}{d(r, 5)}»",
        lambda r: f"DEA# «A{a(r, 1)}{d(r, 7)}»",
        lambda r: f"NPI: «{d(r, 10)}»",
        lambda r: f"Certificate no. «{d(r, 4)}/{d(r, 4)}»",
    ),
    "passport": (
        lambda r: f"PASSPORT NO «C{d(r, 8)}»",
        lambda r: f"travels on US passport #«{d(r, 9)}»",
        lambda r: f"Reisepass: «C{a(r, 2)}{d(r, 6)}»",
        lambda r: f"passport (UK): «{d(r, 9)}»",
    ),
    "card": (
        lambda r: f"visa: «{_cut(with_luhn('4' + d(r, 14)), 4, ' ')}» cvv 123",
        lambda r: f"MC «{with_luhn('2221' + d(r, 11))}»",
        lambda r: f"charged to «{_cut(with_luhn('55' + d(r, 13)), 4, '-')}».",
        lambda r: f"amex=«{with_luhn('34' + d(r, 12))}»",
        lambda r: f"JCB «{_cut(with_luhn('3530' + d(r, 11)), 4, ' ')}»",
    ),
    "iban": (
        lambda r: f"Bitte auf «{_cut(with_iban_digits('AT', d(r, 16)), 4, ' ')}» überweisen",
        lambda r: f"iban:«{with_iban_digits('IT', a(r, 1) + d(r, 10) + d(r, 12)).lower()}»",
        lambda r: f"BE account «{_cut(with_iban_digits('BE', d(r, 12)), 4, ' ')}» (BIC GEBABEBB)",
        lambda r: f"«{with_iban_digits('PL', d(r, 24))}»",
        lambda r: f"pay «{_cut(with_iban_digits('NO', d(r, 11)), 4, '-')}» now",
    ),
    "ip": (
        lambda r: f'«{n(r, 11, 223)}.{n(r, 0, 255)}.{n(r, 0, 255)}.{n(r, 1, 254)}» - - "GET / HTTP/1.1" 200',
        lambda r: f"sshd: Failed password from «192.168.{n(r, 0, 255)}.{n(r, 1, 254)}» port {d(r, 5)}",
        lambda r: f"dst=«fe80::{n(r, 1, 9)}{r.choice('abcdef')}ff:fe23:4567:890a»",
        lambda r: f"[«2a00:1450:4001:{d(r, 3)}::200e»]:443",
        lambda r: f"client ip «{n(r, 1, 9)}.{n(r, 1, 9)}.{n(r, 1, 9)}.{n(r, 1, 9)}»",
    ),
    "url": (
        lambda r: f"look: «HTTP://WWW.FACEBOOK.COM/{a(r, 6)}»",
        lambda r: f"blog → «{a(r, 5).lower()}.wordpress.com»",
        lambda r: f"git clone «https://gitlab.example.com:8443/{a(r, 4).lower()}/repo.git»",
        lambda r: f"[my site](«http://{a(r, 5).lower()}.me/?q=a%20b&x=1»)",
        lambda r: f"«linkedin.com/in/{a(r, 6).lower()}-{d(r, 5)}»",
        lambda r: f"ftp: «ftp://files.{a(r, 4).lower()}.edu/pub»",
    ),
    "date": (
        lambda r: f"D.O.B.: «{n(r, 1, 12):02d}-{n(r, 1, 28):02d}-19{n(r, 30, 99)}»",
        lambda r: f"DOS «{n(r, 1, 12)}/{n(r, 1, 28)}/{n(r, 10, 25)}»",
        lambda r: f"«{n(r, 2000, 2025)}/{n(r, 1, 12):02d}/{n(r, 1, 28):02d}» 10:22 note",
        lambda r: f"Born the «twenty-third of May {n(r, 1940, 2000)}»",
        lambda r: f"Geboren am «{n(r, 1, 28)}. Dezember {n(r, 1940, 2000)}»",
        lambda r: f"le «{n(r, 2, 28)} février {n(r, 1990, 2024)}», à Lyon",
        lambda r: f"surgery in «Sept. {n(r, 1990, 2024)}»",
        lambda r: f"on «{n(r, 4, 20)}th June»",
        lambda r: f"next visit «{r.choice(['Mon', 'Thursday'])}, {r.choice(['Apr', 'November'])} {n(r, 4, 20)}»",
        lambda r: (
            f"timestamp «{n(r, 2000, 2025)}-{n(r, 1, 12):02d}-{n(r, 1, 28):02d}T{n(r, 10, 23)}:{n(r, 10, 59)}:07Z»"
        ),
        lambda r: f"stent placed «{n(r, 1, 12):02d}/{n(r, 1990, 2024)}»",
        lambda r: f"Datum: «{n(r, 1, 28):02d}.{n(r, 1, 12):02d}.{n(r, 10, 25)}»",
        lambda r: f"since «{r.choice(['Jul', 'Oct'])} '{n(r, 10, 24)}»",
        lambda r: f"last seen on «{n(r, 1, 12)}/{n(r, 13, 28)}»",
    ),
    "age": (
        lambda r: f"«{n(r, 90, 105)}yo F c/o SOB",
        lambda r: f"Pt is «{n(r, 90, 105)}» y/o",
        lambda r: f"my gran, who is «{n(r, 90, 105)}» now, fell",
        lambda r: f"a «{n(r, 90, 105)} y.o. male",
        lambda _: "«ninety-seven» years of age",
        lambda r: f"AGE/SEX: «{n(r, 90, 105)}»/M",
        lambda r: f"celebrated her «{n(r, 90, 105)}»th birthday",
        lambda _: "She was «one hundred and two» years old",
    ),
    "postcode": (
        lambda r: f"Zip: «{d(r, 5)}»",
        lambda r: f"Springfield IL «{d(r, 5)}-{d(r, 4)}»",
        lambda r: f"Dallas, Texas «7{d(r, 4)}»",
        lambda r: f"⟦address:12 Park Row⟧, Leeds «LS{n(r, 1, 9)} {n(r, 1, 9)}{r.choice(['AB', 'JU', 'PZ'])}»",
        lambda r: f"⟦address:Hauptstr. 4⟧, «{d(r, 5)}» Köln",
        lambda r: f"«{d(r, 4)} {r.choice(['AB', 'KX'])}» Utrecht",
        lambda r: f"code postal «75{n(r, 100, 999):03d}»",
        lambda r: f"Toronto ON «M{n(r, 1, 9)}B {n(r, 1, 9)}K{n(r, 1, 9)}»",
    ),
    "address": (
        lambda r: f"resides @ «{n(r, 1, 999)} North Oak Ridge Court #{n(r, 1, 99)}»",
        lambda r: f"home addr: «{d(r, 5)} SW 8th St»",
        lambda r: f"ADDRESS: «{n(r, 1, 999)} PINE HILL RD»",
        lambda r: f"wohnhaft «Am Alten Markt {n(r, 1, 99)}»",
        lambda r: f"«Flat {n(r, 1, 99)}, {n(r, 1, 99)} Cromwell Road», London",
        lambda r: f"«Königsallee {n(r, 1, 99)}a», Düsseldorf",
        lambda r: f"«{n(r, 1, 99)} bis, avenue Victor Hugo»",
        lambda r: f"ship to «PO Box {d(r, 4)}»",
        lambda r: f"Via Roma? no: «Via Garibaldi, {n(r, 1, 99)}»",
        lambda r: f"they moved to «{n(r, 1, 999)} Rosewood Terrace»",
    ),
    "device": (
        lambda r: f"wlan0 ether «{':'.join(_h(r) for _ in range(6))}»",
        lambda r: f"switch port «{_h(r)}{_h(r)}.{_h(r)}{_h(r)}.{_h(r)}{_h(r)}»".lower(),
        lambda r: f"phone imei: «{with_luhn('86' + d(r, 12))}»",
        lambda r: f"Pacemaker S/N «PZK{d(r, 6)}S»",
        lambda r: f"insulin pump serial no. «{d(r, 3)}-{d(r, 5)}»",
        lambda r: f"Device Identifier: «{a(r, 2)}{d(r, 8)}»",
    ),
    "vin": (
        lambda r: f"2014 Honda, vin# «{with_vin_digit('2HGFB' + d(r, 4) + 'EH' + d(r, 6))}»",
        lambda r: f"vehicle «{with_vin_digit('JTDKN' + d(r, 4) + 'A0' + d(r, 6))}» towed",
        lambda r: f"Fahrgestellnummer «WVWZZZ1KZAW{d(r, 6)}»",
    ),
    "plate": (
        lambda r: f"lic plate «{a(r, 3)}-{d(r, 4)}»",
        lambda r: f"Kennzeichen «B-{a(r, 2)} {d(r, 4)}»",
        lambda r: f"tag number «{d(r, 3)} {a(r, 3)}»",
        lambda r: f"car reg «{a(r, 2)}{d(r, 2)} {a(r, 3)}»",
    ),
    "name": (
        lambda r: f"Attending: Dr «{r.choice(_PEOPLE)}»",
        lambda r: f"hi this is Ms. «{r.choice(_PEOPLE).split()[-1]}» calling",
        lambda r: f"NAME: «{', '.join(reversed(r.choice(_PEOPLE).split())).upper()}»",
        lambda r: f"Dear «{r.choice(_PEOPLE).split()[0]}»,\nthank you",
        lambda r: f"dictated by «{r.choice(_PEOPLE)}», MD",
        lambda r: f"his wife «{r.choice(_PEOPLE).split()[0]}» agrees",
        lambda r: f"Best regards,\n«{r.choice(_PEOPLE)}»",
        lambda r: f"Herr «{r.choice(_PEOPLE).split()[-1]}» klagt",
        lambda r: f"i'm called «{r.choice(_PEOPLE).split()[0]}»",
        lambda r: f"Pt. name is «{r.choice(_PEOPLE)}» per chart",
    ),
    "name (bare)": (
        lambda r: f"«{r.choice(_PEOPLE)}» came in complaining of pain",
        lambda r: f"we discussed it with «{r.choice(_PEOPLE)}» today",
    ),
}

NEGATIVES: tuple[Callable[[Draw], str], ...] = (
    lambda r: f"PO {d(r, 8)} / SKU {a(r, 3)}-{d(r, 5)} qty {n(r, 1, 99)}",
    lambda r: f"bought {d(r, 2)} {d(r, 3)} shares at {d(r, 2)}.{d(r, 2)}",
    lambda r: f"Ubuntu 22.04.{n(r, 1, 5)} kernel 5.15.0-{n(r, 10, 99)}",
    lambda r: f"firmware 10.{n(r, 1, 9)}.{n(r, 1, 9)}.{n(r, 1, 9)}",
    lambda r: f"ISBN-10: 0-{d(r, 3)}-{d(r, 5)}-{n(r, 0, 9)}",
    lambda r: f"doi 10.{d(r, 4)}/j.cell.{n(r, 2000, 2024)}.{n(r, 10, 12)}.{d(r, 3)}",
    lambda r: f"FY{n(r, 2000, 2024)} vs {n(r, 1990, 1999)}: up {n(r, 1, 99)}.{n(r, 1, 9)}%",
    lambda r: f"set {n(r, 1, 6)}-{n(r, 1, 6)}, {n(r, 1, 6)}-{n(r, 1, 6)}; halftime {n(r, 10, 59)}:{n(r, 10, 59)}",
    lambda _: "4-(2-hydroxyethyl)-1-piperazineethanesulfonic acid and 17β-estradiol",
    lambda r: f"$MSFT and $TSLA at {d(r, 3)}.{d(r, 2)}; BTC {d(r, 5)}",
    lambda r: f"GPS week {d(r, 4)}, rev B{n(r, 1, 9)}, batch {a(r, 1)}{d(r, 4)}",
    lambda r: f"BP {n(r, 90, 180)}/{n(r, 50, 100)} HR 72 RR {n(r, 10, 30)} SpO2 {n(r, 90, 99)}% T {n(r, 96, 103)}.2",
    lambda r: f"L4-L5 disc, T{n(r, 1, 12)} vertebra, {n(r, 1, 9)}/10 pain, 5/5 strength",
    lambda r: f"{n(r, 2, 88)} y/o male",
    lambda r: f"Regulation (EU) 2016/{d(r, 3)}, section 164.{d(r, 3)}(b)(2)",
    lambda r: f"{d(r, 1)},{d(r, 3)},{d(r, 3)} people and {d(r, 6)} cells",
    lambda r: f"part no. {d(r, 4)}-{d(r, 4)}-{d(r, 2)}; model X{d(r, 3)}",
    lambda r: f"commit {''.join(r.choice('0123456789abcdef') for _ in range(7))} fixes #{d(r, 4)}",
    lambda _: "Doctor: Any pain? Patient: No. Guest_family: She may. Mother agrees.",
    lambda r: f"Q{n(r, 1, 4)} {n(r, 2000, 2024)}, the 1990s and the 21st century",
    lambda r: f"Order No: {d(r, 3)}-{d(r, 7)}-{d(r, 7)}, ETA 2-3 days",
    lambda r: (
        f"coordinates off by {n(r, 1, 9)}.{n(r, 1, 9)}, ratio {n(r, 1, 9)}:{n(r, 1, 9)}, {n(r, 100, 999)} x 480 px"
    ),
    lambda _: "The Main Street effect; Wall Street rallied; a drive down memory lane",
    lambda r: f"loss of EUR {n(r, 1, 99)} mn , {n(r, 1, 99)} {n(r, 100, 999)} tonnes , lot {d(r, 6)}",
)


def _cut(text: str, size: int, gap: str) -> str:
    return gap.join(text[place : place + size] for place in range(0, len(text), size))


def _dni(draw: Draw) -> str:
    number = draw.randrange(10_000_000, 99_999_999)
    return f"{number}{'TRWAGMYFPDXBNJZSQVHLCKE'[number % 23]}"


def marked(text: str, kind: str) -> Sample:
    """A text with « and », labelled, and what stands as ⟦type:text⟧ before them; without » the digits
    after « are meant.
    """
    beside = []
    while "⟦" in text:
        start, colon, end = text.index("⟦"), text.index(":", text.index("⟦")), text.index("⟧")
        beside.append((start, start + end - colon - 1, text[start + 1 : colon]))
        text = text[:start] + text[colon + 1 : end] + text[end + 1 :]
    before, _, rest = text.partition("«")
    core, bar, after = rest.partition("»")
    if not bar:
        core = rest[: len(rest) - len(rest.lstrip("0123456789"))]
        after = rest[len(core) :]
    gold = (len(before), len(before) + len(core), kind.removesuffix(" (bare)"))
    return Sample(before + core + after, (*beside, gold))


def samples(seed: int, count: int) -> dict[str, list[Sample]]:
    """``count`` samples a type, on lines between real sentences; under ``negative`` those without an identifier."""
    draw = random.Random(seed)  # noqa: S311  # test data
    around = sentences(600, draw)
    made = {
        kind: [_lines(marked(makers[place % len(makers)](draw), kind), around, draw) for place in range(count)]
        for kind, makers in TEXTS.items()
    }
    made["negative"] = [_lines(Sample(draw.choice(NEGATIVES)(draw), ()), around, draw) for _ in range(count * 5)]
    return made


def _lines(sample: Sample, around: list[str], draw: Draw) -> Sample:
    """The sample with a sentence before it, after it, or neither."""
    gap = draw.choice(["\n", " ", " - "])
    before = draw.choice(around) + gap if draw.random() < 0.5 else ""
    after = gap + draw.choice(around) if draw.random() < 0.5 else ""
    gold = tuple((start + len(before), end + len(before), kind) for start, end, kind in sample.gold)
    return Sample(before + sample.text + after, gold)
