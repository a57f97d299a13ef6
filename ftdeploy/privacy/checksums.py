"""Check digits: what tells an identifier from any other number. Each takes digits (or letters) without separators."""

from __future__ import annotations

_VIN_VALUES = dict(zip("ABCDEFGHJKLMNPRSTUVWXYZ", (1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 7, 9, 2, 3, 4, 5, 6, 7, 8, 9),
                       strict=True))  # fmt: skip
_VIN_WEIGHTS = (8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2)

#: Length of an IBAN by country (SWIFT's IBAN registry).
IBAN_LENGTHS = {
    "AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22, "BR": 29, "BY": 28,
    "CH": 21, "CR": 22, "CY": 28, "CZ": 24, "DE": 22, "DK": 18, "DO": 28, "EE": 20, "EG": 29, "ES": 24, "FI": 18,
    "FO": 18, "FR": 27, "GB": 22, "GE": 22, "GI": 23, "GL": 18, "GR": 27, "GT": 28, "HR": 21, "HU": 28, "IE": 22,
    "IL": 23, "IQ": 23, "IS": 26, "IT": 27, "JO": 30, "KW": 30, "KZ": 20, "LB": 28, "LC": 32, "LI": 21, "LT": 20,
    "LU": 20, "LV": 21, "LY": 25, "MC": 27, "MD": 24, "ME": 22, "MK": 19, "MR": 27, "MT": 31, "MU": 30, "NL": 18,
    "NO": 15, "PK": 24, "PL": 28, "PS": 29, "PT": 25, "QA": 29, "RO": 24, "RS": 22, "SA": 24, "SC": 31, "SE": 24,
    "SI": 19, "SK": 24, "SM": 27, "ST": 25, "SV": 28, "TL": 23, "TN": 24, "TR": 26, "UA": 29, "VA": 22, "VG": 24,
    "XK": 20,
}  # fmt: skip


def luhn(number: str) -> bool:
    """ISO/IEC 7812-1: payment cards, IMEI."""
    total = 0
    for place, char in enumerate(reversed(number)):
        value = int(char) * (2 if place % 2 else 1)
        total += value - 9 if value > 9 else value  # noqa: PLR2004  # the sum of two digits
    return total % 10 == 0


def iban(code: str) -> bool:
    """ISO 13616: the country's length, and 1 modulo 97 with the first four characters at the end."""
    if len(code) != IBAN_LENGTHS.get(code[:2]):
        return False
    return int("".join(str(int(char, 36)) for char in code[4:] + code[:4])) % 97 == 1


def vin(code: str) -> bool:
    """49 CFR 565.15: the ninth of 17 characters checks the others."""
    values = [int(char) if char.isdigit() else _VIN_VALUES[char] for char in code]
    rest = sum(value * weight for value, weight in zip(values, _VIN_WEIGHTS, strict=True)) % 11
    return code[8] == ("X" if rest == 10 else str(rest))  # noqa: PLR2004  # X stands for ten


def nhs(number: str) -> bool:
    """The NHS number's tenth digit: 11 minus the weighted sum modulo 11."""
    check = 11 - sum(int(char) * (10 - place) for place, char in enumerate(number[:9])) % 11
    return check % 11 == int(number[9]) and check != 10  # noqa: PLR2004  # ten is never given out


def gtin(number: str) -> bool:
    """GS1's check digit: weights 3 and 1 from the right."""
    total = sum(int(char) * (3 if place % 2 else 1) for place, char in enumerate(reversed(number)))
    return total % 10 == 0


def aba(number: str) -> bool:
    """A US bank's routing number: weights 3, 7, 1."""
    return sum(int(char) * (3, 7, 1)[place % 3] for place, char in enumerate(number)) % 10 == 0


def dea(code: str) -> bool:
    """A DEA registration: the last digit checks the six before it."""
    number = code[-7:]
    total = sum(int(char) for char in number[0:5:2]) + 2 * sum(int(char) for char in number[1:6:2])
    return total % 10 == int(number[6])


def spanish(code: str) -> bool:
    """DNI and NIE: the letter is the number modulo 23."""
    number = code[:-1].translate(str.maketrans("XYZ", "012"))
    return code[-1] == "TRWAGMYFPDXBNJZSQVHLCKE"[int(number) % 23]


def french(number: str) -> bool:
    """NIR: the last two of 15 digits are 97 minus the others modulo 97."""
    return 97 - int(number[:13]) % 97 == int(number[13:])
