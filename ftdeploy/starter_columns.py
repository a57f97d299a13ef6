"""The columns of somebody's own file: what stands in them, and which is the text and which the label."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ftdeploy.errors import DataError, did_you_mean
from ftdeploy.values import parse

_TEXT_NAMES = ("text", "sentence", "review", "content", "message", "comment", "body", "document", "utterance", "tweet",
               "title", "description", "query", "headline", "snippet", "input")  # fmt: skip
_LABEL_NAMES = ("label", "labels", "class", "category", "target", "sentiment", "intent", "topic", "type", "y", "output",
                "topics", "categories", "spans", "entities", "ner_tags", "tags")  # fmt: skip
_NUMBER_NAMES = ("score", "rating", "stars", "grade", "value", "price", "amount")
#: More different values are no labels.
MAX_LABELS = 200
#: Rows of a label: one for each split.
LEAST_OF_A_LABEL = 3
#: Scales that people choose from have no more steps: 0 to 10, half stars, months.
STEPS = 12
#: Of so many cells in a hundred that are numbers, the others are faults of the file.
_NUMBERS = 90
_TRACKED_VALUES = 2000
#: A list as Python writes it, and JSON does not: names in single quotes, or what has such names.
_REPR = re.compile(r"\s*\[\s*([{(\[][^\"]*)?'")


@dataclass(kw_only=True)
class Column:
    """A column: how many cells are filled, how long they are, and what stands in them, most of it; how many hold a list
    of names, one of something else (spans), or one as Python writes it; and how many a number, how many of these no
    whole one, and between which all lie."""

    filled: int = 0
    chars: int = 0
    values: Counter[str] = field(default_factory=Counter)
    names: int = 0
    others: int = 0
    reprs: int = 0
    numbers: int = 0
    fractions: int = 0
    low: float = math.inf
    high: float = -math.inf

    def look(self, value: Any) -> None:
        """Count a cell that holds a list, or one written as JSON."""
        if isinstance(value, str) and value.lstrip()[:1] == "[":
            try:
                value = json.loads(value)
            except ValueError:
                self.reprs += bool(_REPR.match(value))
                return
        if isinstance(value, list) and value:
            named = all(isinstance(one, str) for one in value)
            self.names, self.others = self.names + named, self.others + (not named)

    def add(self, text: str) -> None:
        """Count a filled cell."""
        self.filled += 1
        self.chars += len(text)
        if len(self.values) < _TRACKED_VALUES or text in self.values:
            self.values[text] += 1
        try:
            number = parse(text)
        except ValueError:
            return
        self.numbers, self.fractions = self.numbers + 1, self.fractions + (not number.is_integer())
        self.low, self.high = min(self.low, number), max(self.high, number)

    @property
    def numeric(self) -> bool:
        """Whether what stands in it are numbers, but for a few cells."""
        return self.numbers > 0 and 100 * self.numbers >= _NUMBERS * self.filled

    @property
    def measured(self) -> bool:
        """Whether these are numbers to be estimated: more different ones than a scale has steps, and not all of them
        whole; or more than there are labels; or some that hardly recur. Else each may well be a label."""
        if not self.numeric or len(self.values) <= STEPS:
            return False
        rare = min(self.values.values()) < LEAST_OF_A_LABEL
        return rare or self.fractions > 0 or len(self.values) > MAX_LABELS

    @property
    def mean_chars(self) -> float:
        """Characters of a filled cell, on average."""
        return self.chars / max(self.filled, 1)


def given(role: str, name: str | None, columns: Mapping[str, Column]) -> str | None:
    """The column that an option names, if it does.

    Raises:
        DataError: there is no such column.
    """
    if name is not None and name not in columns:
        raise DataError(
            f"there is no column {name!r}; the columns are: {', '.join(columns)}",
            cause=f"--{role} names a column that the file does not have",
            fix=did_you_mean(name, columns),
        )
    return name


def well_known(head: Sequence[str]) -> bool:
    """Whether these are names of columns: one that texts usually have, and one of labels or numbers. A single one may
    well be a label (`query`, `topic`, `y`)."""
    labels = (*_LABEL_NAMES, *_NUMBER_NAMES)
    return _by_name(head, _TEXT_NAMES) is not None and _by_name(head, labels) is not None


def guess_text(columns: Mapping[str, Column], label: str | None) -> str:
    """The column with the longest values on average; a well-known name wins among those half as long."""
    wordy = {n: c for n, c in columns.items() if n != label and c.filled and len(c.values) > 1}
    if "text" in wordy:
        return "text"
    if "tokens" in columns and columns["tokens"].names:
        return "tokens"
    longest = max((c.mean_chars for c in wordy.values()), default=0.0)
    near = [n for n, c in wordy.items() if c.mean_chars * 2 >= longest]
    named = _by_name(near, _TEXT_NAMES)
    if named:
        return named
    spaced = [n for n in near if any(" " in value for value in wordy[n].values)]
    if len(spaced) != 1:
        raise _cannot_guess("text", "long values", columns, spaced)
    return spaced[0]


def guess_label(columns: Mapping[str, Column], text: str, *, numbers: bool | None = None) -> str:
    """The column with few different values, each several times; a well-known name wins. Where there is none of these,
    the one with numbers; whole ones only by a well-known name, as they may be anything.

    Args:
        columns: by name.
        text: the one with the text.
        numbers: the label is a number to be estimated, or is none; None, where that is not known.
    """
    rest = {name: column for name, column in columns.items() if name != text}
    if not rest:
        raise DataError(
            f"there is no column beside the text {text!r}",
            cause="a model learns from texts with their labels, and the file has texts only",
            fix="add a column with labels; for vectors texts alone will do (`task: feature-extraction`, by hand, with "
            "`columns: {label: null}`)",
        )
    few = [n for n, c in rest.items() if not numbers and (c.names or c.others or c.reprs or _is_choice(c))]
    many = [n for n, c in rest.items() if (c.numeric if numbers else c.measured and numbers is None)]
    named = _by_name([*few, *many], _LABEL_NAMES) or (None if few else _by_name(many, _NUMBER_NAMES))
    if named:
        return named
    fitting = few or [name for name in many if rest[name].fractions]
    if len(fitting) != 1:
        raise _cannot_guess("label", "a few different values, or numbers with decimals", columns, fitting)
    return fitting[0]


def check_lists(label: str, column: Column) -> None:
    """Refuse lists that are none for whoever reads them: each would be one long label.

    Raises:
        DataError: most cells hold lists as Python writes them.
    """
    if 2 * column.reprs > column.filled:
        raise DataError(
            f"column {label!r} holds lists as Python writes them: {next(iter(column.values))[:60]}",
            cause="pandas and csv write a list so, and JSON is what is read as one",
            fix=f"write them as JSON: `df[{label!r}] = df[{label!r}].map(json.dumps)` before `to_csv`, or all of the "
            "file by `to_json(..., orient='records', lines=True)`",
        )


def _is_choice(column: Column) -> bool:
    return 2 <= len(column.values) <= min(MAX_LABELS, column.filled // LEAST_OF_A_LABEL)  # noqa: PLR2004 - of two


def _by_name(candidates: Sequence[str], known: Sequence[str]) -> str | None:
    by_lower = {name.lower().strip(): name for name in reversed(candidates)}
    return next((by_lower[name] for name in known if name in by_lower), None)


def _cannot_guess(role: str, kind: str, columns: Mapping[str, Column], fitting: Sequence[str]) -> DataError:
    found = f"{len(fitting)} columns could be it: {', '.join(fitting)}" if fitting else "no column looks like it"
    return DataError(
        f"cannot tell which column holds the {role}: {found}",
        cause=f"a {role} column is expected to hold {kind}; the columns are: {', '.join(columns)}",
        fix=f"name it: --{role} COLUMN",
    )
