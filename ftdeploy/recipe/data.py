"""Where the rows come from, and how they become splits."""

from __future__ import annotations

from pydantic import Field, ValidationInfo, field_validator

from ftdeploy.document import Section
from ftdeploy.origin import Source
from ftdeploy.recipe.clean import Clean
from ftdeploy.recipe.split import Split

RESERVED_COLUMNS = ("text", "label", "group", "id")


class Columns(Section):
    """Which column plays which part."""

    text: str = "text"
    """The column with the text."""
    label: str = "label"
    """The column with the label."""
    group: str | None = None
    """Rows of one group (a patient, a document, a product) are never split across train, validation and test."""
    id: str | None = None
    """A row's own name, kept beside it in reports."""


class DataSettings(Section):
    """Where the rows come from and how they become splits."""

    source: Source
    """Where the rows come from."""
    columns: Columns = Columns()
    """Which column plays which part."""
    labels: tuple[str, ...] = ()
    """The labels, in order; empty takes those found, sorted. A row with another label is an error."""
    split: Split = Split()
    """How rows are divided."""
    clean: Clean = Clean()
    """What is tidied before splitting."""
    slices: tuple[str, ...] = ()
    """Columns to report metrics by, beside text length (which is always there)."""
    limit: int | None = Field(default=None, ge=10)
    """Take a seeded sample of this many rows: for trying things out."""

    @field_validator("labels")
    @classmethod
    def _different(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        twice = [name for name in value if value.count(name) > 1]
        if twice:
            raise ValueError(f"{twice[0]!r} stands twice")
        if len(value) == 1:
            raise ValueError(f"{value[0]!r} is the only one; at least two are wanted, or none to take those found")
        return value

    @field_validator("slices")
    @classmethod
    def _named_once(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        columns = info.data.get("columns", Columns())
        taken = [name for name in value if name in RESERVED_COLUMNS and getattr(columns, name) != name]
        if taken:
            raise ValueError(f"{taken[0]!r} is a name that ftdeploy uses for a column of its own; rename the column")
        return value
