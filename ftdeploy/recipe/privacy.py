"""What is an identifier of a person, and what becomes of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from ftdeploy.document import Section
from ftdeploy.origin import RecipePath
from ftdeploy.privacy.kinds import IDENTIFIER_TYPES, IdentifierType
from ftdeploy.privacy.span import LEAST, REGIONS

Policy = Literal["keep", "redact", "pseudonymise", "drop", "fail"]


class NameModel(Section):
    """A bundle or a checkpoint of token-classification that finds names."""

    path: RecipePath
    """A bundle of ftdeploy, or a local folder in the hub's layout: config.json, model.safetensors, tokenizer.json."""
    labels: Mapping[str, IdentifierType] = {"PER": "name", "PERSON": "name"}
    """The model's labels (without B- and I-) by the type that they mean; others are passed over."""


class Privacy(Section):
    """Identifiers of people in the rows: found by recognisers, and kept, replaced or refused by type.

    The types are those that HIPAA's Safe Harbor lists (45 CFR 164.514(b)(2)) as far as they have a form that can be
    recognised, and their European kin. A city or a name without title, list or model has no such form. Removing what
    is found is a step towards anonymous data, and no proof of it.
    """

    policy: Policy = "redact"
    """What becomes of an identifier: `keep` counts it only, `redact` puts `[EMAIL]` in its place, `pseudonymise` a
    stable stand-in made with the key, `drop` sets the row aside, `fail` is an error with place and type."""
    policies: Mapping[IdentifierType, Policy] = {}
    """The policy of single types, where it is another."""
    key: str | None = Field(default=None, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    """The environment variable that holds the secret (16 characters or more) of pseudonyms, hashes and shifted dates.
    The secret itself is written nowhere."""
    shift_dates: int | None = Field(default=None, ge=1, le=3650)
    """With `date: pseudonymise`: dates move by up to so many days, all of one group by the same number, and keep their
    form. Intervals survive; shifted dates are not Safe Harbor. Without it they become stand-ins like the rest."""
    ids: Literal["replace", "hash", "keep"] = "replace"
    """The columns `id` and `group`: `replace` puts the row's place for a value in which an identifier is found, `hash`
    a keyed hash for every value (bare numbers cannot be recognised), `keep` counts what is found and leaves it."""
    min_confidence: float = Field(default=LEAST, ge=0, le=1)
    """Findings below this are passed over; what could be something else as well has less than 0.5."""
    regions: tuple[Annotated[str, Field(pattern=r"^[A-Z]{2}$")], ...] = REGIONS
    """Countries (ISO 3166) in whose way phone numbers without + are read."""
    names: tuple[str, ...] = Field(default=(), exclude=True)
    """Names to look for, of one or more words, beside those with a title or after words as "my name is". They are
    written into no manifest."""
    names_file: RecipePath | None = None
    """A text file (UTF-8) with a name on each line, likewise."""
    allow: tuple[str, ...] = ()
    """Values that are left alone whatever they look like, as the address of your own help desk."""
    ner: NameModel | None = None
    """A model that finds names (and whatever else its labels mean) in running text."""
    presidio: Mapping[str, IdentifierType] = {}
    """Entities of Microsoft Presidio's pattern recognisers by the type that they mean, as `IN_AADHAAR: national_id`;
    run beside our own. Wants the extra `presidio`."""

    @field_validator("names")
    @classmethod
    def _not_blank(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if any(not name.strip() for name in value):
            raise ValueError("a name is blank")
        return value

    @model_validator(mode="after")
    def _needs_a_key(self) -> Self:
        if self.needs_key and self.key is None:
            raise ValueError("pseudonymise and `ids: hash` want `key`: the environment variable that holds the secret")
        if self.shift_dates is not None and self.policy_of("date") != "pseudonymise":
            raise ValueError("shift_dates goes with the policy `date: pseudonymise`")
        return self

    def policy_of(self, kind: IdentifierType) -> Policy:
        """What becomes of an identifier of this type."""
        return self.policies.get(kind, self.policy)

    @property
    def needs_key(self) -> bool:
        """Whether something is made with the secret."""
        return self.ids == "hash" or any(self.policy_of(kind) == "pseudonymise" for kind in IDENTIFIER_TYPES)
