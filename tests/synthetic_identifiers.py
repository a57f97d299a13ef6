"""Labelled synthetic identifiers of people, in sentences: values by the rules of those who give them out, carriers as
people write them, and hard negatives that look alike. Nothing here looks at the recognisers.

`samples` is the set that the recognisers were tuned on; ``synthetic_identifiers_held_out`` has another style.
"""

from __future__ import annotations

import csv
import random
import re
import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from real_data import MIRROR

#: Sentences of the corpora in which somebody may be named or a day given: they would need labels of their own.
_PERSONAL = re.compile(
    r"\b(?:Dr|Doctor|Mr|Mrs|Ms|Miss|Sir|Prof|President|Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Sept|Oct|Nov|Dec)\b|@|www|http|"
    r"january|february|march|april|june|july|august|september|october|november|december|name|CEO|said|\b\d+[/.-]\d+[/.-]\d+|"
    r"\.com|\d+/\d+|\+\d|katu|husband|wife|officer|Avenue|Street|\b\d\d?-(?:19|20)\d\d|\b20\d\d-\d\d\b|nine[t-]|hundred|\b9\d\b|\b1[012]\d\b",
    re.IGNORECASE,
)

GIVEN = (
    "Mary",
    "James",
    "Aisha",
    "Wei",
    "Olga",
    "Carlos",
    "Fatima",
    "Søren",
    "Chloé",
    "Rajesh",
    "Ingrid",
    "Tomasz",
    "Keiko",
    "Liam",
    "Beatriz",
    "Dmitri",
    "Amara",
    "Jürgen",
    "Noor",
    "Patrick",
)
FAMILY = (
    "Okafor",
    "Lindqvist",
    "O'Brien",
    "García",
    "Nguyen",
    "McAllister",
    "Kowalski",
    "Haddad",
    "Müller",
    "Tanaka",
    "Fitzgerald",
    "Rossi",
    "van Dijk",
    "Abernathy",
    "Petrova",
    "Singh",
    "Dubois",
    "Smith-Jones",
    "Castellanos",
    "Whitlock",
)
#: The list that the recipe of the tests names.
LISTED = ("Ravindra Balakrishnan", "Ximena", "Thorbjörn Eklund", "Persephone Quill", "Nkechi Adeyemi", "Zbigniew")
_MONTHS = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)

_CHEMICALS = ("2,4-dichlorophenoxyacetic acid", "5-HT3 antagonists", "N-acetyl-L-cysteine", "1,3,7-trimethylxanthine",
              "H2SO4", "CAS 50-78-2")  # fmt: skip

Draw = random.Random
Value = Callable[[Draw], str]


@dataclass(frozen=True)
class Sample:
    """A text and the identifiers in it: (first character, one after the last, type)."""

    text: str
    gold: tuple[tuple[int, int, str], ...]


def sentences(count: int, draw: Draw) -> list[str]:
    """Real sentences without a person or a day: half of financial news, half of doctors' notes and dialogues."""
    news = [
        line.rpartition("@")[0].strip()
        for line in (MIRROR / "finance-phrasebank.txt").read_text(encoding="iso-8859-1").splitlines()
    ]
    with (MIRROR / "mts-dialog-train.csv").open(encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    notes = [part.strip() for row in rows for part in re.split(r"(?<=[.!?])\s+", row["section_text"])]
    notes += [line.partition(":")[2].strip() for row in rows for line in row["dialogue"].splitlines()]
    chosen = []
    for pool in (news, notes):
        fit = sorted({one for one in pool if 25 <= len(one) <= 220 and not _PERSONAL.search(one)})
        chosen += draw.sample(fit, min(len(fit), count // 2))
    draw.shuffle(chosen)
    return chosen


def _digits(draw: Draw, count: int) -> str:
    return "".join(draw.choice(string.digits) for _ in range(count))


def _letters(draw: Draw, count: int) -> str:
    return "".join(draw.choice(string.ascii_uppercase) for _ in range(count))


def with_luhn(body: str) -> str:
    """A number and its check digit by ISO/IEC 7812-1."""
    total = 0
    for place, char in enumerate(reversed(body)):
        value = int(char) * (1 if place % 2 else 2)
        total += value // 10 + value % 10
    return body + str(-total % 10)


def with_iban_digits(country: str, body: str) -> str:
    """An IBAN from country and account (ISO 13616)."""
    number = int("".join(str(int(char, 36)) for char in body + country + "00"))
    return f"{country}{98 - number % 97:02d}{body}"


def with_vin_digit(code: str) -> str:
    """17 characters, of which the ninth is set to check the others (49 CFR 565.15)."""
    table = {
        char: value
        for value, chars in enumerate(("", "AJ", "BKS", "CLT", "DMU", "ENV", "FW", "GPX", "HY", "RZ"))
        for char in chars
    }
    weights = (8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2)
    total = sum((int(c) if c.isdigit() else table[c]) * w for c, w in zip(code, weights, strict=True))
    return code[:8] + "0123456789X"[total % 11] + code[9:]


def groups(text: str, sizes: Sequence[int], gap: str) -> str:
    """The text in groups of these sizes."""
    parts, place = [], 0
    for size in sizes:
        parts.append(text[place : place + size])
        place += size
    return gap.join(part for part in [*parts, text[place:]] if part)


def _email(draw: Draw) -> str:
    first, last = draw.choice(GIVEN), draw.choice(FAMILY).replace(" ", "").replace("'", "")
    local = draw.choice(
        [
            f"{first}.{last}",
            f"{first[0]}{last}{draw.randrange(99)}",
            f"{last}_{first}",
            f"{first}+news",
            f"{last}-{first[0]}",
        ]
    )
    host = draw.choice(
        ["gmail.com", "mail.example.org", "klinik-nord.de", "nhs.net", "student.uni-x.ac.uk", "müller.example"]
    )
    spelled = f"{first.lower()} [at] {host.replace('.', ' [dot] ')}"
    return spelled if draw.random() < 0.1 else (local.lower() if draw.random() < 0.5 else local) + "@" + host


def _phone(draw: Draw) -> str:
    area, office, line = (
        f"{draw.choice([212, 303, 415, 617, 702, 806])}",
        f"{draw.randrange(220, 990)}",
        _digits(draw, 4),
    )
    return draw.choice(
        [
            f"({area}) {office}-{line}",
            f"{area}-{office}-{line}",
            f"{area}.{office}.{line}",
            f"+1 {area} {office} {line}",
            f"1-{area}-{office}-{line}",
            f"+44 20 7{_digits(draw, 3)} {_digits(draw, 4)}",
            f"020 7{_digits(draw, 3)} {_digits(draw, 4)}",
            f"+49 30 {_digits(draw, 6)}{draw.randrange(1, 9)}",
            f"+33 6 {groups('1' + _digits(draw, 7), (2, 2, 2, 2), ' ')}",
            f"07700 9{_digits(draw, 5)}",
            f"{area} {office} {line} ext. {draw.randrange(10, 999)}",
        ]
    )


def _ssn(draw: Draw) -> str:
    area = draw.choice([number for number in range(1, 900) if number != 666])
    return f"{area:03d}-{draw.randrange(1, 100):02d}-{draw.randrange(1, 10000):04d}"


def _card(draw: Draw) -> str:
    prefix, length, sizes = draw.choice(
        [("4", 16, (4, 4, 4, 4)), ("53", 16, (4, 4, 4, 4)), ("37", 15, (4, 6, 5)), ("6011", 16, (4, 4, 4, 4))]
    )
    number = with_luhn(prefix + _digits(draw, length - 1 - len(prefix)))
    return groups(number, sizes, draw.choice([" ", "-", ""]))


def _iban(draw: Draw) -> str:
    country, body = draw.choice(
        [
            ("DE", _digits(draw, 18)),
            ("GB", _letters(draw, 4) + _digits(draw, 14)),
            ("FR", _digits(draw, 23)),
            ("NL", _letters(draw, 4) + _digits(draw, 10)),
            ("ES", _digits(draw, 20)),
            ("CH", _digits(draw, 17)),
        ]
    )
    code = with_iban_digits(country, body)
    return draw.choice([code, groups(code, (4,) * 9, " ")])


def _ip(draw: Draw) -> str:
    four = ".".join(str(draw.randrange(1, 255)) for _ in range(4))
    six = ":".join(f"{draw.randrange(65536):x}" for _ in range(8))
    return draw.choice(
        [
            four,
            four,
            f"10.{draw.randrange(256)}.{draw.randrange(256)}.{draw.randrange(256)}",
            six,
            f"2001:db8::{draw.randrange(1, 65536):x}",
        ]
    )


def _url(draw: Draw) -> str:
    name = draw.choice(FAMILY).lower().replace("'", "").replace(" ", "").encode("ascii", "ignore").decode()
    return draw.choice(
        [
            f"https://www.{name}.example/profile?id={_digits(draw, 3)}",
            f"http://{name}.org/~{name}",
            f"www.{name}-clinic.com",
            f"{name}.com/patients/{draw.randrange(999)}",
            f"https://portal.health.example/u/{name}#top",
        ]
    )


def _date(draw: Draw) -> str:
    year, month, day = draw.randrange(1931, 2026), draw.randrange(1, 13), draw.randrange(1, 29)
    word = _MONTHS[month - 1]
    suffix = "th" if 10 < day < 20 else {1: "st", 2: "nd", 3: "rd"}.get(day % 10, "th")
    return draw.choice(
        [
            f"{year}-{month:02d}-{day:02d}",
            f"{month}/{day}/{year}",
            f"{day:02d}.{month:02d}.{year}",
            f"{day}/{month}/{year}",
            f"{word} {day}, {year}",
            f"{day} {word} {year}",
            f"{word[:3]} {day}, {year}",
            f"{day:02d}-{word[:3]}-{year}",
            f"{word} {day}{suffix}",
            f"{word} {year}",
            f"the {day}{suffix} of {word}, {year}"[4:],
            f"{month:02d}/{day:02d}/{year % 100:02d}",
            f"{day}. {draw.choice(['März', 'Oktober', 'Mai'])} {year}",
        ]
    )


def _age(draw: Draw) -> str:
    return draw.choice([str(draw.randrange(90, 108)), "ninety-four", "ninety"])


def _name(draw: Draw) -> str:
    first, last = draw.choice(GIVEN), draw.choice(FAMILY)
    return draw.choice([last, f"{first} {last}", f"{first[0]}. {last}"])


def _street(draw: Draw) -> str:
    word = draw.choice(["Maple", "Elm Park", "Washington", "King's", "St. James", "5th", "Lake Shore", "Old Mill"])
    number = draw.randrange(1, 9900)
    return draw.choice(
        [
            f"{number} {word} {draw.choice(['Street', 'Ave', 'Road', 'Blvd', 'Lane', 'Drive'])}",
            f"{number} W. {word} St., Apt {draw.randrange(1, 60)}",
            f"P.O. Box {number}",
            f"Lindenstraße {number % 200 + 1}",
            f"{number % 90 + 1} rue de la République",
            f"Calle Mayor {number % 90 + 1}",
            f"{number % 300 + 1}B Station Road",
        ]
    )


def _postcode(draw: Draw) -> str:
    return (
        draw.choice(["SW1A 2AA", "M1 1AE", "EH8 9YL", "K1A 0B1", "V6B 4Y8"])
        if draw.random() < 0.3
        else f"{draw.choice(['MA', 'TX', 'CA'])} |{_digits(draw, 5)}"
    )


def _device(draw: Draw) -> str:
    mac = ":".join(f"{draw.randrange(256):02x}" for _ in range(6))
    return draw.choice(
        [
            mac,
            mac.upper().replace(":", "-"),
            "IMEI |" + with_luhn("35" + _digits(draw, 12)),
            f"serial number |SN{_digits(draw, 7)}",
            f"device ID |{_letters(draw, 3)}-{_digits(draw, 6)}",
        ]
    )


def _vin(draw: Draw) -> str:
    letters = "ABCDEFGHJKLMNPRSTUVWXYZ0123456789"
    return with_vin_digit("1HG" + "".join(draw.choice(letters) for _ in range(8)) + _digits(draw, 6))


def _office(*forms: str) -> Value:
    """Numbers by pattern: 9 is a digit, A a letter."""

    def value(draw: Draw) -> str:
        return "".join(
            _digits(draw, 1) if c == "9" else _letters(draw, 1) if c == "A" else c for c in draw.choice(forms)
        )

    return value


#: By type: how a value is made, and sentences with {} in its place. A | in a value ends a part that is no identifier.
FORMS: Mapping[str, tuple[Value, tuple[str, ...]]] = {
    "email": (
        _email,
        ("You can write to {} any time.", "Contact: {}", "({})", "Her address {} bounced.", "cc {}; thanks"),
    ),
    "phone": (
        _phone,
        (
            "Call {} after five.",
            "Phone: {}",
            "Her number is {}.",
            "reach me at {}",
            "{} is the number of the ward.",
            "Tel. {},",
        ),
    ),
    "fax": (_phone, ("Fax: {}", "fax number {}", "Please fax it to {}.", "Facsimile {}")),
    "ssn": (_ssn, ("SSN {}", "Her social security number is {}.", "{} was on the form.", "SSN: {}, verified")),
    "national_id": (
        _office("QQ 12 34 56 C".replace("QQ", "AB"), "AB999999C", "JT 99 99 99 D"),
        ("National Insurance number {}", "NI no. {}", "His NINO is {}."),
    ),
    "mrn": (
        _office("99999999", "AA999999", "999-99-99", "99-999-999", "A9999999"),
        ("MRN: {}", "MRN {}", "medical record number {}", "Patient ID {}", "Chart #{}", "Medical Record No. {}"),
    ),
    "health_plan": (
        _office("AAA999999999", "999999999", "AA-9999999", "W999999999"),
        (
            "Member ID: {}",
            "policy number {}",
            "insurance ID {}",
            "Subscriber ID {}",
            "Medicare number {}",
            "health plan number {}",
        ),
    ),
    "account": (
        _office("9999999999", "99-9999-99", "AC9999999", "999999999999"),
        ("account number {}", "Acct# {}", "Account: {}", "his bank account {}", "account no. {}"),
    ),
    "licence": (
        _office("A9999999", "99999999", "AA-999999", "A999-999-99-999"),
        ("driver's license {}", "License number: {}", "driving licence no {}", "DL# {}", "medical license {}"),
    ),
    "passport": (
        _office("999999999", "A99999999", "AA9999999"),
        ("passport number {}", "Passport No: {}", "passport {}", "her passport is {}"),
    ),
    "card": (_card, ("Card {} was declined.", "paid with {}", "{} is stolen", "credit card number {}")),
    "iban": (_iban, ("IBAN {}", "transfer to {} please", "IBAN: {}", "our account {}")),
    "ip": (_ip, ("Login from {}", "host {} did not answer", "IP: {}", "blocked {} twice")),
    "url": (_url, ("See {} for more.", "{}", "her page ({})", "Photos at {}, as ever.")),
    "date": (
        _date,
        ("Seen on {}.", "DOB {}", "{}: follow-up", "admitted {} with fever", "It was {} when it began.", "from {} on"),
    ),
    "age": (
        _age,
        (
            "The patient is a {}-year-old woman.",
            "He is {} years old.",
            "aged {}",
            "She turned {} last week.",
            "Age: {}",
            "at the age of {}",
        ),
    ),
    "postcode": (_postcode, ("Boston, {}", "He lives in {}.", "{} is where it is.")),
    "address": (_street, ("She lives at {}.", "Address: {}", "{} burned down.", "Send it to {}, please.")),
    "device": (_device, ("Scanned {} today.", "({})", "the {} failed")),
    "vin": (_vin, ("VIN {}", "the car {} was sold", "VIN: {}")),
    "plate": (
        _office("AAA 9999", "AA99 AAA", "9AAA999"),
        ("license plate {}", "number plate {}", "Plate: {}", "vehicle registration {}"),
    ),
    "name": (
        _name,
        (
            "Dr. {} will see you.",
            "seen by Mrs. {} today",
            "My name is {}.",
            "Patient name: {}",
            "Mr {} agreed",
            "Prof. {} wrote it.",
        ),
    ),
    "name (listed)": (
        lambda draw: draw.choice(LISTED),
        ("I met {} yesterday.", "{} has a cough.", "It was for {}, they say.", "{}'s scan is clear."),
    ),
}

#: What looks like an identifier and is none.
NEGATIVES: tuple[Callable[[Draw], str], ...] = (
    lambda draw: f"Order number {_digits(draw, 10)} has shipped.",
    lambda draw: f"Order #{_digits(draw, 3)}-{_digits(draw, 7)}-{_digits(draw, 7)} was returned.",
    lambda draw: (
        f"Upgrade to version {draw.randrange(9)}.{draw.randrange(20)}.{draw.randrange(20)}.{draw.randrange(9)} now."
    ),
    lambda draw: f"Python {draw.randrange(2, 4)}.{draw.randrange(12)}.{draw.randrange(9)} is out.",
    lambda draw: f"It costs ${draw.randrange(1, 99)},{draw.randrange(100, 999)}.{draw.randrange(10, 99)} before tax.",
    lambda draw: (
        f"EUR {draw.randrange(1, 99)}.{draw.randrange(10)} mn against {draw.randrange(1, 99)}.{draw.randrange(10)} mn"
    ),
    lambda draw: f"ISBN 978-{draw.randrange(10)}-{_digits(draw, 2)}-{_digits(draw, 6)}-{draw.randrange(10)}",
    lambda draw: f"In {draw.randrange(1950, 2025)} sales doubled.",
    lambda draw: f"the years {draw.randrange(1950, 1999)}-{draw.randrange(2000, 2025)}",
    lambda draw: f"They won {draw.randrange(1, 9)}-{draw.randrange(9)} and then 6-4, 7-5, 6-3.",
    lambda draw: f"The final score was {draw.randrange(60, 120)}-{draw.randrange(60, 120)}.",
    lambda draw: f"treated with {draw.choice(_CHEMICALS)}",
    lambda draw: f"{draw.choice(['NASDAQ: AAPL', 'NYSE: BRK.B', 'HEL: NDA1V', 'LSE:VOD', 'OMX: STERV'])} fell.",
    lambda draw: (
        f"blood pressure {draw.randrange(100, 190)}/{draw.randrange(60, 110)}, pulse {draw.randrange(50, 120)}"
    ),
    lambda draw: f"a {draw.randrange(18, 89)}-year-old man",
    lambda draw: f"temperature {draw.randrange(95, 104)}.{draw.randrange(9)} F",
    lambda draw: f"{draw.randrange(90, 100)}% of the {draw.randrange(90, 120)} patients",
    lambda draw: f"dose {draw.randrange(1, 9)}.{draw.randrange(1, 9)} mg 3/4 full, take 1/2 tablet 24/7",
    lambda draw: f"tracking {_digits(draw, 12)} and invoice INV-{_digits(draw, 6)}",
    lambda draw: f"chapter {'.'.join(str(draw.randrange(1, 9)) for _ in range(4))} of the manual",
    lambda draw: f"room {draw.randrange(100, 999)}, bed {draw.randrange(1, 9)}, floor {draw.randrange(1, 9)}",
    lambda draw: f"hash {''.join(draw.choice('0123456789abcdef') for _ in range(40))}",
    lambda draw: f"at {draw.randrange(24):02d}:{draw.randrange(60):02d}:{draw.randrange(60):02d} it may rain; march on",
    lambda draw: (
        f"std::vector and {draw.randrange(100, 999)} {draw.randrange(100, 999)} 000 shares, {_digits(draw, 5)} units"
    ),
    lambda draw: f"Patient: I {draw.choice(['feel', 'am', 'was'])} fine. Doctor: Okay, good.",
    lambda _: "the street was empty, and the doctor said the road to health is 5 miles long",
)


def fill(template: str, value: str, kind: str) -> Sample:
    """A carrier with its value, labelled; the part of the value before | is no identifier."""
    before, _, after = template.partition("{}")
    lead, bar, core = value.rpartition("|")
    start = len(before) + len(lead)
    gold = kind.removesuffix(" (listed)")
    return Sample(before + lead + core + after, ((start, start + len(core), gold),)) if bar or core else Sample("", ())


def joined(parts: Sequence[Sample], gap: str = " ") -> Sample:
    """Samples one after the other."""
    text, gold = "", []
    for part in parts:
        text += gap if text else ""
        gold += [(start + len(text), end + len(text), kind) for start, end, kind in part.gold]
        text += part.text
    return Sample(text, tuple(gold))


def samples(seed: int, count: int) -> dict[str, list[Sample]]:
    """``count`` samples a type, each between real sentences; under ``negative`` those without an identifier."""
    draw = random.Random(seed)  # noqa: S311  # test data
    around = sentences(1000, draw)
    made: dict[str, list[Sample]] = {}
    for kind, (value, templates) in FORMS.items():
        made[kind] = [_between(fill(draw.choice(templates), value(draw), kind), around, draw) for _ in range(count)]
    made["negative"] = [_between(Sample(draw.choice(NEGATIVES)(draw), ()), around, draw) for _ in range(count * 5)]
    return made


def _between(sample: Sample, around: Sequence[str], draw: Draw) -> Sample:
    return joined([Sample(draw.choice(around), ()), sample, Sample(draw.choice(around), ())])
