"""Where the rows come from, and how they become splits."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Literal, Self, TypeVar
from urllib.parse import urlsplit

from pydantic import Field, ValidationInfo, field_validator, model_validator

from ftdeploy.document import Section
from ftdeploy.origin import SEPARATOR_CHARS, Source
from ftdeploy.pairs import TEXT, TEXT_PAIR
from ftdeploy.recipe.bias import Bias
from ftdeploy.recipe.clean import Clean
from ftdeploy.recipe.duplicates import Duplicates
from ftdeploy.recipe.privacy import Privacy
from ftdeploy.recipe.quality import Quality
from ftdeploy.recipe.split import Split

RESERVED_COLUMNS = ("text", "label", "group", "id")


class Columns(Section):
    """Which column plays which part."""

    text: str = "text"
    """The column with the text; for entities it may hold the tokens as a list, which spaces join."""
    text_pair: str | None = None
    """The column with a second text, where what is to be learned is about two: premise and hypothesis, question and
    clause, query and document. They are tidied each by itself and read as one row by the tokenizer's own template of
    pairs; where both together are longer than `model.max_length`, the longer one loses its end first. The name is the
    one that Hugging Face's tokenizers and pipelines have for it."""
    label: str | None = "label"
    """The column with the label; null for texts without, where the task needs none. What stands there is the label,
    `NA`, `nan` and `None` too; a row with an empty cell, or null or NaN in formats that have them, is set aside as
    missing and counted."""
    label_separator: str | None = Field(default=None, min_length=1, max_length=SEPARATOR_CHARS)
    """Where a row has any number of labels (`multi-label-classification`) in one string: what stands between them. A
    list, or one written as JSON, is read in any case; `[]` says that no label holds."""
    empty_label: Literal["none", "missing"] = "none"
    """With `label_separator`: what an empty cell means. `none`: no label holds. `missing`: nobody has labelled the row
    yet, and it is set aside; that none holds is then written as `[]`. A file whose cells are all empty is refused."""
    tag_names: tuple[str, ...] = ()
    """Where tokens have tags and these are numbers (`token-classification`): what they are called, in the order of the
    numbers, as `[O, B-Drug, I-Drug]`. What a data set of the hub, or a Parquet file that was written by the `datasets`
    library, says itself is not asked for."""
    group: str | None = None
    """Rows of one group (a patient, a document, a product) are never split across train, validation and test."""
    id: str | None = None
    """A row's own name, kept beside it in reports."""
    time: str | None = None
    """When a row came to be; wanted by `data.split.by: time`, which also says how times are written."""

    @property
    def texts(self) -> tuple[str, ...]:
        """The columns with the texts of a row: one, or two."""
        return (self.text,) if self.text_pair is None else (self.text, self.text_pair)


class SourceEntry(Source):
    """One of several sources: where its rows come from, how to read them, and what they count for."""

    name: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """A short name for reports, and before the ids of its rows; without it the file's name."""
    weight: float = Field(default=1.0, gt=0, le=1000)
    """What each of its rows weighs in the loss, beside those of the other sources. Weights are scaled to a mean of 1
    over the training rows."""
    rows: int | None = Field(default=None, ge=1)
    """At most so many of its rows, as a seeded sample."""
    role: Literal["train", "validation", "test"] | None = None
    """All of its rows belong to this split: a test set of its own. Without it they are divided as `data.split` says."""
    columns: Columns | None = None
    """Which column plays which part in this source; without it as `data.columns` says."""
    label: str | None = Field(default=None, min_length=1)
    """Every row of this source has this label: for files of one class each."""
    label_map: Mapping[str, str | None] = {}
    """Labels of this source by what they are to be called; null sets rows with the label aside. Others stay. Of any
    number of labels each is renamed, or taken out by null; of entities their kinds."""

    @model_validator(mode="after")
    def _go_together(self) -> Self:
        if self.weight != 1 and self.role in ("validation", "test"):
            raise ValueError(f"a weight counts in training only, and the role of these rows is {self.role}")
        if self.label is not None and self.label_map:
            raise ValueError(
                "label and label_map exclude each other: a label for all, or new names for those there are"
            )
        return self


class TextColumns(Section):
    """Which column plays which part, where nothing but the text counts."""

    text: str = "text"
    """The column with the text."""
    text_pair: str | None = None
    """The column with the second text, where rows have one."""
    id: str | None = None
    """A text's own name, kept beside it."""


class TextSource(Source):
    """A source of texts without labels: where they come from, and how to read them."""

    name: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """A short name for reports, and before the ids of its texts; without it the file's name."""
    rows: int | None = Field(default=None, ge=1)
    """At most so many of its texts, as a seeded sample."""
    columns: TextColumns | None = None
    """Which column plays which part in this source; without it texts and id are as `data.columns` says. Whatever other
    columns there are, a label too, are not looked at."""


Entry = TypeVar("Entry", SourceEntry, TextSource)


class DataSettings(Section):
    """Where the rows come from and how they become splits."""

    source: Source | None = None
    """Where the rows come from. Either this or `sources`."""
    sources: tuple[SourceEntry, ...] = Field(default=(), max_length=1000)
    """Several sources, whose rows are read one after the other. The source's name stands before the id of each row, and
    is a column `source` that `slices` can name."""
    unlabelled: tuple[TextSource, ...] = Field(default=(), max_length=1000)
    """Further sources of texts that only a teacher answers: students of `compress` learn from them what the fine-tuned
    model says. Read, tidied and cleared of identifiers as the rows are; a text that equals a row of any split, or is a
    near duplicate (unless `duplicates.near` is `ignore`) of one of validation or test, is left out. `limit` holds for
    them too."""
    columns: Columns = Columns()
    """Which column plays which part."""
    labels: tuple[str, ...] = ()
    """The labels, in order; empty takes those found, sorted. A row with another label is an error."""
    split: Split = Split()
    """How rows are divided."""
    clean: Clean = Clean()
    """What is tidied before splitting."""
    duplicates: Duplicates = Duplicates()
    """Which texts count as the same, and what becomes of them."""
    quality: Quality | None = None
    """The search for wrong labels; off without it."""
    bias: Bias | None = None
    """Groups of rows that the model should treat alike; off without it."""
    privacy: Privacy | None = None
    """Identifiers of people: what becomes of those that are found. Absent, nothing is looked for."""
    slices: tuple[str, ...] = ()
    """Columns to report metrics by, beside text length (which is always there)."""
    limit: int | None = Field(default=None, ge=10)
    """Take a seeded sample of this many rows: for trying things out."""

    @property
    def entries(self) -> tuple[SourceEntry, ...]:
        """The sources, however many: `source` as the only entry, or `sources`, each with its name."""
        if self.source is not None:
            fields = {name: getattr(self.source, name) for name in type(self.source).model_fields}
            return (SourceEntry.model_construct(**fields),)  # validated already
        return _named(self.sources)

    @property
    def text_entries(self) -> tuple[TextSource, ...]:
        """The sources of `unlabelled`, each with its name."""
        return _named(self.unlabelled)

    @field_validator("sources")
    @classmethod
    def _one_way(cls, value: tuple[SourceEntry, ...], info: ValidationInfo) -> tuple[SourceEntry, ...]:
        if "source" in info.data and (info.data["source"] is None) == (not value):
            raise ValueError(
                f"exactly one of source and sources is wanted; {'both are' if value else 'neither is'} given"
            )
        _check_names(value)
        return value

    @field_validator("unlabelled")
    @classmethod
    def _names_differ(cls, value: tuple[TextSource, ...]) -> tuple[TextSource, ...]:
        _check_names(value)
        return value

    @property
    def pairs(self) -> tuple[str, str] | None:
        """How the columns with the two texts of a row are called; None where rows have one text."""
        if not any(part.text_pair for part in self._parts):
            return None
        own = self.columns
        return (own.text, own.text_pair) if own.text_pair else (TEXT, TEXT_PAIR)

    @property
    def _parts(self) -> tuple[Columns, ...]:
        """The columns of each source."""
        return tuple(entry.columns or self.columns for entry in self.sources) or (self.columns,)

    @model_validator(mode="after")
    def _all_pairs_or_none(self) -> Self:
        parts: list[Columns | TextColumns] = [*self._parts]
        parts += [entry.columns or self.columns for entry in self.unlabelled]
        if len({part.text_pair is None for part in parts}) > 1:
            raise ValueError("columns.text_pair: every source has a second text, or none has")
        same = next((part for part in parts if part.text_pair == part.text), None)
        if same is not None:
            raise ValueError(f"columns.text_pair: {same.text!r} is the column of the first text")
        if self.pairs is not None and self.clean.length_outliers is not None:
            raise ValueError("clean.length_outliers does not go with columns.text_pair: two texts of a row have each "
                             "their own usual length; clean.min_chars and clean.max_chars hold for both")  # fmt: skip
        return self

    @model_validator(mode="after")
    def _times_have_a_column(self) -> Self:
        timed = [part for part in (self.columns, *(entry.columns for entry in self.sources)) if part and part.time]
        if self.split.by == "time" and not timed:
            raise ValueError("split.by: time wants columns.time, the column with the times")
        return self

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
        if TEXT_PAIR in value and columns.text_pair is not None:
            raise ValueError(f"{TEXT_PAIR!r} is a text, and every row would be a slice of its own")
        return value


def _check_names(sources: Sequence[SourceEntry | TextSource]) -> None:
    given = [entry.name for entry in sources if entry.name is not None]
    twice = [name for name in given if given.count(name) > 1]
    if twice:
        raise ValueError(f"two sources are named {twice[0]!r}")


def _named(sources: tuple[Entry, ...]) -> tuple[Entry, ...]:
    """Each with a name: the given one, else that of its file, with its position where that is taken."""
    taken = {entry.name for entry in sources if entry.name is not None}
    named = []
    for place, entry in enumerate(sources, start=1):
        name = entry.name
        if name is None:
            stem = _stem(entry)
            name = stem if stem not in taken else f"{stem}-{place}"
            taken.add(name)
        named.append(entry.model_copy(update={"name": name}))
    return tuple(named)


def _stem(entry: Source) -> str:
    address = urlsplit(entry.url).path if entry.url else ""
    last = PurePosixPath(str(entry.member or entry.path or address or entry.package or entry.hub)).name
    return re.sub(r"[^A-Za-z0-9_-]+", "-", last.partition(".")[0]).strip("-") or "source"
