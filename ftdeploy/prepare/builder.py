"""Cleaned rows one by one, and what is remembered of each: its hashes, its label, and the columns that were seen."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ftdeploy.errors import DataError, did_you_mean
from ftdeploy.pairs import join
from ftdeploy.prepare.bias import find_terms
from ftdeploy.prepare.clean import (
    NOTHING,
    CleanText,
    Counts,
    Rejected,
    Survey,
    clean_label,
    clean_name,
    fold,
    make_cleaner,
    text_key,
)
from ftdeploy.prepare.faults import check_label_map, no_column
from ftdeploy.prepare.leakage import FIXED, read_part
from ftdeploy.prepare.near import Sketches
from ftdeploy.prepare.privacy.guard import Cells, Guard
from ftdeploy.prepare.read import Row
from ftdeploy.prepare.split import FREE, Index
from ftdeploy.prepare.times import Clock
from ftdeploy.recipe import RESERVED_COLUMNS, DataSettings, SourceEntry
from ftdeploy.tasks import TASKS, Task
from ftdeploy.values import parse

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: After so many rows a column that was not seen is missing; not after the first, because JSON leaves out what is null.
_SETTLED = 4096
#: A longer text (characters) is taken for a fault of the file, unless `data.clean.max_chars` allows it.
_ABSURD = 1_000_000
#: So many different labels of a source are remembered, to say which of them may have been meant.
_NAMES = 1000
#: Numbers are divided such that each split has its share of so many parts of them.
_PARTS = 5


@dataclass(kw_only=True)
class Builder:
    """Turns rows into cleaned ones and gathers the numbers per row.

    Attributes:
        data: the recipe's section.
        seed: of the hashes.
        survey: what the rules of `data.clean` know of all rows.
        guard: what becomes of identifiers of people.
        task: says what a row's label is.
        separators: between the names of a label, by source; none takes that of ``data`` for all.
        entries: the recipe's sources, for their ``label_map``.
        folder: on the disk for what is remembered of many rows; None is where temporary files go.
        names: summaries of labels that were seen, with their numbers in ``labels``.
        sets: where a label is of any number of names, the sets of them that were seen, with their numbers in ``named``.
        classes: names in labels that were seen.
    """

    data: DataSettings
    seed: int
    task: Task = TASKS["text-classification"]
    separators: Sequence[str | None] = ()
    entries: Sequence[SourceEntry] = ()
    survey: Survey = NOTHING
    guard: Guard | None = None
    folder: Path | None = None
    tidy: CleanText = field(init=False)
    known: frozenset[str] = field(init=False)
    called: Mapping[str, str | None] = field(init=False)
    columns: dict[str, None] = field(default_factory=dict)
    names: dict[str, int] = field(default_factory=dict)
    sets: dict[tuple[str, ...], int] = field(default_factory=dict)
    classes: dict[str, None] = field(default_factory=dict)
    unknown: Counter[str] = field(default_factory=Counter)
    first_unknown: dict[str, str] = field(default_factory=dict)
    met: dict[int, dict[str, None]] = field(default_factory=dict)
    keys: array[int] = field(default_factory=lambda: array("Q"))
    labels: array[int] = field(default_factory=lambda: array("i"))
    named: array[int] = field(default_factory=lambda: array("i"))
    groups: array[int] = field(default_factory=lambda: array("Q"))
    sources: array[int] = field(default_factory=lambda: array("H"))
    fixed: array[int] = field(default_factory=lambda: array("B"))
    times: array[int] = field(default_factory=lambda: array("q"))
    clock: Clock | None = field(init=False)
    values: array[float] = field(default_factory=lambda: array("d"))
    sketches: Sketches | None = None
    terms: Callable[[str], dict[str, str]] = field(init=False)

    def __post_init__(self) -> None:
        self.known = frozenset(self.data.labels)
        self.called = {part: getattr(self.data.columns, part) for part in ("label", "group", "id")}
        self.tidy = make_cleaner(self.data.clean, self.survey)
        split, alike = self.data.split, self.data.duplicates
        self.clock = Clock(column=self.data.columns.time or "", form=split.time_format) if split.by == "time" else None
        self.terms = find_terms(self.data.bias)
        looked_for = alike.near != "ignore"
        if looked_for:
            self.sketches = Sketches(shingles=alike.shingles, size=alike.size, folder=self.folder)

    def see(self, row: Row, number: int) -> None:
        """Note the columns of a row, the ``number``-th (from 1).

        Raises:
            DataError: so many rows were seen that text and label must be among the columns, and they are not.
        """
        if not self.columns.keys() >= row.values.keys():
            self.columns.update(dict.fromkeys(row.values))
        if number == _SETTLED:
            # Early, so that nobody waits for a million rows to learn of a wrong name; not at the first row, because
            # JSON leaves out what is null.
            named = (*self.data.columns.texts, self.data.columns.label)
            self.check_columns(number, only=tuple(name for name in named if name is not None))

    def _check_size(self, row: Row) -> None:
        """Setting such a row aside could hide that it swallowed thousands of others."""
        columns, most = self.data.columns, max(_ABSURD, self.data.clean.max_chars)
        for name in columns.texts:
            text = row.values.get(name)
            if isinstance(text, str) and len(text) > most:
                raise DataError(
                    f"the text of the row at {row.where} has {len(text):,} characters",
                    cause="a quote that is never closed makes one cell of the rest of the file; or the delimiter is "
                    "wrong",
                    fix=f"look at that place; if the text is real, raise data.clean.max_chars (now {most:,} at most)",
                )

    def clean(self, row: Row, counts: Counts) -> dict[str, Any] | Rejected:
        """The cleaned row, noted; or why it is set aside.

        Raises:
            DataError: a text of a length that no text has, or an identifier that the recipe does not let pass.
        """
        columns = self.data.columns
        self._check_size(row)
        raw, told = self._read(row)
        label = self._renamed(clean_label(told), row.source)
        text = self.tidy(raw, counts)
        if not isinstance(text, Rejected) and columns.text_pair is not None:
            text = self._paired(text, row.values.get(columns.text_pair), counts)
        if isinstance(text, Rejected):
            return text
        if isinstance(label, Rejected):
            return label
        names = self.task.names(label)
        unknown = [name for name in names if self.known and name not in self.known]
        if unknown:
            self.unknown.update(unknown)
            for odd in unknown:
                self.first_unknown.setdefault(odd, row.where)
            return Rejected(reason="label is not in data.labels")
        summary = self.task.summary(label)
        group = clean_name(row.values.get(columns.group)) if columns.group else None
        name = (clean_name(row.values.get(columns.id)) if columns.id else None) or row.name or None
        others = [column for column in self.data.slices if column not in RESERVED_COLUMNS]
        slices = {column: clean_name(row.values.get(column)) or "" for column in others}
        if self.guard is not None:
            safe = self.guard.protect(Cells(text, summary, group, name, slices), self.called, row.where)
            if isinstance(safe, Rejected):
                return safe
            label = self.task.masked(label, safe.label)
            names = self.task.names(label)
            text, summary, group, name, slices = safe
        placed = self.task.moved(label, raw, text) if isinstance(raw, str) else label
        if placed is None:
            return Rejected(reason="cleaning left nothing of a labelled span")
        self._note(row, fold(text))
        self._note_label(label, summary, names)
        # 0 stands for no group.
        self.groups.append(max(1, text_key(group, self.seed)[0]) if group is not None else 0)
        self.sources.append(row.source)
        return {"text": text, "label": placed, "group": group, "id": row.prefix + (name or f"row-{row.place}"),
                **slices, **self.terms(text)}  # fmt: skip

    def _note_label(self, label: str, summary: str, names: tuple[str, ...]) -> None:
        self.classes.update(dict.fromkeys(names))
        self.labels.append(self.names.setdefault(summary, len(self.names)))
        if self.task.number:
            self.values.append(parse(label))
        if self.task.multi_label or self.task.per_token:
            told = tuple(sorted(names)) or (summary,)
            self.named.append(self.sets.setdefault(told, len(self.sets)))

    def _paired(self, text: str, other: Any, counts: Counts) -> str | Rejected:
        """Both texts of a row in one string, or why it is set aside."""
        second = self.tidy(other, counts)
        if isinstance(second, Rejected):
            return Rejected(reason=f"second {second.reason}")
        return join(text, second)

    def _read(self, row: Row) -> tuple[Any, Any]:
        """The cells with text and label.

        Raises:
            DataError: the label is none of the task: tags without tokens, a span beyond the text. To set such rows
                aside could hide that all of a file is shifted.
        """
        columns = self.data.columns
        separator = self.separators[row.source] if self.separators else columns.label_separator
        try:
            return self.task.read(row.values, columns.text, columns.label, separator)
        except ValueError as error:
            raise DataError(
                f"the row at {row.where}: {error}",
                cause=f"column {columns.label!r}: {self.task.misfit[0]}",
                fix=self.task.misfit[1],
            ) from error

    def _renamed(self, label: str | Rejected, source: int) -> str | Rejected:
        """The label as the recipe calls it, or why the row is set aside; notes the names that a source has, some of
        them."""
        called = self.entries[source].label_map if self.entries else {}
        if not called:
            return label
        met = self.met.setdefault(source, {})
        if isinstance(label, Rejected):
            return label
        met.update({name: None for name in self.task.names(label) if len(met) < _NAMES or name in called})
        renamed = self.task.renamed(label, called)
        return Rejected(reason="label is null in label_map") if renamed is None else renamed

    def _note(self, row: Row, folded: str) -> None:
        """Remember what decides where the row goes; what cannot be read raises before anything is remembered."""
        split = self.data.split
        fixed = FREE if row.role is None else FIXED[row.role]
        if split.column is not None and row.role is None:
            fixed = read_part(clean_name(self._wanted_value(row, split.column)), split, row.where)
        if self.clock is not None:
            self.times.append(self.clock.read(self._wanted_value(row, self.clock.column), row.where))
        self.fixed.append(fixed)
        self.keys.extend(text_key(folded, self.seed))
        if self.sketches is not None:
            self.sketches.add(folded)

    def _wanted_value(self, row: Row, column: str) -> Any:
        """A cell without which the row has no place; where no row so far has the column, its name is wrong."""
        value = row.values.get(column)
        if value is None:
            self.check_columns(row.place, only=(column,))
        return value

    def check_columns(self, read: int, *, only: tuple[str, ...] | None = None) -> None:
        """Refuse columns that none of the rows ``read`` had.

        Raises:
            DataError: with those there are.
        """
        missing = [name for name in only or wanted(self.data) if name not in self.columns]
        if not missing or not read:
            return
        raise no_column(missing, self.columns)

    def check_labels(self, *, whole: bool = True) -> None:
        """Hold the labels that were seen against ``data.labels``.

        Args:
            whole: every row was seen, so that each label must have been.

        Raises:
            DataError: a label that is not listed, or one that no row has; one of a ``label_map`` that no row of its
                source has.
        """
        for source, met in self.met.items() if whole else ():
            entry = self.entries[source]
            check_label_map(f"source {entry.name}", entry.label_map, met)
        if self.unknown:
            worst = [
                f"{label!r} ({count} rows, first at {self.first_unknown[label]}; {did_you_mean(label, self.known)})"
                for label, count in self.unknown.most_common(5)
            ]
            raise DataError(
                f"labels that are not in `data.labels`: {', '.join(worst)}",
                cause="a misspelt label in the data, or an incomplete list in the recipe",
                fix="correct the rows, add the labels to `data.labels`, or leave it empty to take what is found",
            )
        absent = sorted(self.known - self.classes.keys()) if self.names and whole else []
        if absent:
            raise DataError(
                f"no row has the label {absent[0]!r} of `data.labels`",
                cause="it is misspelt in the recipe, or its rows were set aside",
                fix=f"the labels found are: {', '.join(sorted(self.classes))}",
            )

    def head(self) -> tuple[str, ...]:
        """The outputs of a network for the names that were seen."""
        return self.task.head(self.data.labels or tuple(sorted(self.classes)))

    def index(self) -> Index:
        """The numbers of the cleaned rows, in order."""
        every = self.task.counted(self.data.labels or tuple(sorted(self.classes)))
        ordered = tuple(dict.fromkeys([*every, *self.names]))  # rows without a name have one, too
        ids = np.zeros(len(self.names), dtype=np.int32)
        for label, first_seen in self.names.items():
            ids[first_seen] = ordered.index(label)
        fixed = np.frombuffer(self.fixed, dtype=np.uint8)
        parts = ids[np.frombuffer(self.labels, dtype=np.int32)]
        value = np.frombuffer(self.values, dtype=np.float64) if self.task.number else None
        if value is not None:
            ordered, parts = _fifths(value)
        return Index(
            key=np.frombuffer(self.keys, dtype=np.uint64).reshape(-1, 2),
            label=parts,
            group=np.frombuffer(self.groups, dtype=np.uint64),
            labels=ordered,
            names=tuple(self.sets),
            named=np.frombuffer(self.named, dtype=np.int32) if self.sets else None,
            source=np.frombuffer(self.sources, dtype=np.uint16),
            fixed=fixed if (fixed != FREE).any() else None,
            time=np.frombuffer(self.times, dtype=np.int64) if self.clock is not None else None,
            value=value,
            sketch=self.sketches.array() if self.sketches is not None else None,
        )


def _fifths(values: NDArray[np.float64]) -> tuple[tuple[str, ...], NDArray[np.int32]]:
    """Numbers in five parts of about as many rows: their names, and the part of each, int32, shape (rows,). Equal
    numbers stand together."""
    inner = np.unique(np.quantile(values, np.arange(1, _PARTS) / _PARTS)) if len(values) else np.empty(0)
    part = np.searchsorted(inner, values, side="left")
    kept, place = np.unique(part, return_inverse=True)
    names = tuple(f"{values[part == one].min():.4g} to {values[part == one].max():.4g}" for one in kept.tolist())
    return names, place.astype(np.int32)


def wanted(data: DataSettings) -> tuple[str, ...]:
    """The columns that the recipe names."""
    columns, split = data.columns, data.split
    time = columns.time if split.by == "time" else None
    named = (*columns.texts, columns.label, columns.group, columns.id, time, split.column, *data.slices)
    return tuple(dict.fromkeys(name for name in named if name is not None))
