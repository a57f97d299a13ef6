"""The types of identifiers that recognisers find."""

from __future__ import annotations

from typing import Literal, get_args

IdentifierType = Literal[
    "email", "phone", "fax", "ssn", "national_id", "mrn", "health_plan", "account", "licence", "passport", "card",
    "iban", "ip", "url", "date", "age", "postcode", "address", "device", "vin", "plate", "name",
]  # fmt: skip
IDENTIFIER_TYPES: tuple[IdentifierType, ...] = get_args(IdentifierType)
