"""The two passes over the rows: `fill` reads and cleans them into a temporary file, `distribute` writes the splits."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ftdeploy import progress
from ftdeploy.dataset import SPLITS, SplitName
from ftdeploy.errors import DataError, did_you_mean
from ftdeploy.prepare.clean import Counts, Rejected, clean_label, clean_name, clean_text, fold, text_key
from ftdeploy.prepare.profile import SplitProfile
from ftdeploy.prepare.read import Row, read_rows
from ftdeploy.prepare.split import CONFLICT, DUPLICATE, TEST, TRAIN, VALIDATION, Index
from ftdeploy.recipe import RESERVED_COLUMNS, DataSettings

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

_BATCH_ROWS, _BATCH_CHARS = 4096, 8_000_000
_SHOWN_CHARS = 1000  # of a rejected text; the source still has the whole
_PLACES = {"train": TRAIN, "validation": VALIDATION, "test": TEST}
_REASONS = {DUPLICATE: "duplicate of an earlier row", CONFLICT: "same text with another label"}


@dataclass(kw_only=True)
class Spool:
    """The cleaned rows in a temporary file, and what is remembered of them.

    Attributes:
        folder: where the temporary file and the results are.
        slices: columns beside text, label, group and id.
        read: rows read.
        counts: what cleaning did.
        index: the numbers per cleaned row, in the order of the file.
        rejected: writer of the rows that are set aside.
    """

    folder: Path
    slices: tuple[str, ...]
    rejected: Writer
    read: int = 0
    counts: Counts = field(default_factory=Counts)
    index: Index = field(init=False)

    @property
    def file(self) -> Path:
        """The temporary file; the layout of a dataset does not have it, so it cannot be left behind unnoticed."""
        return self.folder / "spool.tmp"

    def label_counts(self, kept: NDArray[np.bool_]) -> dict[str, int]:
        """Rows of each label among the kept ones."""
        counts = np.bincount(self.index.label[kept], minlength=len(self.index.labels))
        return {name: int(count) for name, count in zip(self.index.labels, counts, strict=True)}


@dataclass(kw_only=True)
class Writer:
    """Rows into a parquet file, a batch at a time."""

    path: Path
    schema: pa.Schema
    rows: int = 0
    _writer: Any = None
    _waiting: list[dict[str, Any]] = field(default_factory=list)
    _chars: int = 0

    def add(self, row: dict[str, Any]) -> None:
        """Add a row; batches are bounded in rows and in characters."""
        self._waiting.append(row)
        self._chars += len(row["text"])
        if len(self._waiting) >= _BATCH_ROWS or self._chars >= _BATCH_CHARS:
            self.flush()

    def write(self, batch: pa.RecordBatch) -> None:
        """Add a whole batch."""
        import pyarrow.parquet as pq

        if self._writer is None:
            self._writer = pq.ParquetWriter(self.path, self.schema, compression="zstd")
        self._writer.write_batch(batch)
        self.rows += batch.num_rows

    def flush(self) -> None:
        """Write what waits; an empty file gets its schema at least."""
        import pyarrow as pa

        if self._waiting or self._writer is None:
            self.write(pa.RecordBatch.from_pylist(self._waiting, schema=self.schema))
        self._waiting, self._chars = [], 0

    def close(self) -> None:
        """Flush and finish the file."""
        self.flush()
        self._writer.close()


def fill(data: DataSettings, path: Path, *, seed: int, folder: Path) -> Spool:
    """Read and clean every row of the source.

    Args:
        data: the recipe's section.
        path: the source's file or folder.
        seed: of the hashes.
        folder: where the temporary file goes.

    Raises:
        SourceError: the loader cannot be found.
        DataError: a wrong column, a broken file, a label outside ``data.labels``, or no row is left.
    """
    import pyarrow as pa

    text = pa.string()
    slices = tuple(name for name in data.slices if name not in RESERVED_COLUMNS)
    fields = [(name, text) for name in (*RESERVED_COLUMNS, *slices)]
    rejected = Writer(
        path=folder / "rejected.parquet",
        schema=pa.schema([("place", pa.int64()), ("reason", text), ("text", text), ("label", text)]),
    )
    spool = Spool(folder=folder, slices=slices, rejected=rejected)
    writer = Writer(path=spool.file, schema=pa.schema(fields))
    builder = _Builder(data=data, seed=seed, known=set(data.labels))
    with progress.task("read rows") as advance:
        for row in read_rows(data.source, path, wanted=_wanted(data)):
            spool.read += 1
            builder.see(row, spool.read)
            made = builder.clean(row, spool.counts)
            if isinstance(made, Rejected):
                _set_aside(spool, row, data, made)
            else:
                writer.add(made)
            if spool.read % _BATCH_ROWS == 0:
                advance(_BATCH_ROWS)
    builder.check_columns(spool.read)
    builder.check_labels()
    writer.close()
    if not writer.rows:
        raise _nothing_left(path, spool)
    spool.index = builder.index()
    return spool


def distribute(spool: Spool, where: NDArray[np.uint8]) -> dict[SplitName, SplitProfile]:
    """Write every cleaned row to its split, or to the rejected ones; removes the temporary file.

    Args:
        spool: the cleaned rows.
        where: per row, a constant of ``ftdeploy.prepare.split``.

    Returns:
        The counts of each split.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    profiles = {name: SplitProfile(slices=spool.slices) for name in SPLITS}
    file = pq.ParquetFile(spool.file)
    writers = {name: Writer(path=spool.folder / f"{name}.parquet", schema=file.schema_arrow) for name in SPLITS}
    start = 0
    for batch in file.iter_batches(batch_size=_BATCH_ROWS):
        here = where[start : start + batch.num_rows]
        start += batch.num_rows
        for name, writer in writers.items():
            rows = batch.filter(pa.array(here == _PLACES[name]))
            if rows.num_rows:
                writer.write(rows)
                profiles[name].add(rows)
        for mark, reason in _REASONS.items():
            for row in batch.filter(pa.array(here == mark)).to_pylist():
                spool.rejected.add(_aside(reason, row["text"], row["label"], place=None))
    file.close()
    for name, profile in profiles.items():
        here = spool.index.group[where == _PLACES[name]]
        profile.groups = len(np.unique(here[here != 0]))
    for writer in (*writers.values(), spool.rejected):
        writer.close()
    spool.file.unlink()
    return profiles


@dataclass(kw_only=True)
class _Builder:
    """Turns rows into cleaned ones and gathers the numbers per row."""

    data: DataSettings
    seed: int
    known: set[str]
    columns: dict[str, None] = field(default_factory=dict)
    names: dict[str, int] = field(default_factory=dict)
    unknown: Counter[str] = field(default_factory=Counter)
    first_unknown: dict[str, int] = field(default_factory=dict)
    keys: array[int] = field(default_factory=lambda: array("Q"))
    labels: array[int] = field(default_factory=lambda: array("i"))
    groups: array[int] = field(default_factory=lambda: array("Q"))

    def see(self, row: Row, number: int) -> None:
        if not self.columns.keys() >= row.values.keys():
            self.columns.update(dict.fromkeys(row.values))
        if number == _BATCH_ROWS:
            # Early, so that nobody waits for a million rows to learn of a wrong name; not at the first row, because
            # JSON leaves out what is null.
            self.check_columns(number, only=(self.data.columns.text, self.data.columns.label))

    def clean(self, row: Row, counts: Counts) -> dict[str, Any] | Rejected:
        columns = self.data.columns
        text = clean_text(row.values.get(columns.text), self.data.clean, counts)
        if isinstance(text, Rejected):
            return text
        label = clean_label(row.values.get(columns.label))
        if isinstance(label, Rejected):
            return label
        if self.known and label not in self.known:
            self.unknown[label] += 1
            self.first_unknown.setdefault(label, row.place)
            return Rejected(reason="label is not in data.labels")
        group = clean_name(row.values.get(columns.group)) if columns.group else None
        self.keys.extend(text_key(fold(text), self.seed))
        self.labels.append(self.names.setdefault(label, len(self.names)))
        # 0 stands for no group.
        self.groups.append(max(1, text_key(group, self.seed)[0]) if group is not None else 0)
        name = clean_name(row.values.get(columns.id)) if columns.id else None
        made: dict[str, Any] = {"text": text, "label": label, "group": group, "id": name or f"row-{row.place}"}
        for column in self.data.slices:
            if column not in RESERVED_COLUMNS:
                made[column] = clean_name(row.values.get(column)) or ""
        return made

    def check_columns(self, read: int, *, only: tuple[str, ...] | None = None) -> None:
        missing = [name for name in only or _wanted(self.data) if name not in self.columns]
        if not missing or not read:
            return
        listed = ", ".join(repr(name) for name in missing)
        hints = [did_you_mean(name, map(str, self.columns)) for name in missing]
        close = [f"{hint} for {name!r}" for name, hint in zip(missing, hints, strict=True) if hint.startswith("did")]
        raise DataError(
            f"there is no column {listed}; the columns are: {', '.join(map(str, self.columns))}",
            cause="a misspelt name under `data.columns` or `data.slices`, or another delimiter than the file's",
            fix="; ".join(close) or "name the columns that hold text and label under `data.columns`",
        )

    def check_labels(self) -> None:
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
        absent = sorted(self.known - self.names.keys()) if self.names else []
        if absent:
            raise DataError(
                f"no row has the label {absent[0]!r} of `data.labels`",
                cause="it is misspelt in the recipe, or its rows were set aside",
                fix=f"the labels found are: {', '.join(sorted(self.names))}",
            )

    def index(self) -> Index:
        ordered = self.data.labels or tuple(sorted(self.names))
        ids = np.zeros(len(self.names), dtype=np.int32)
        for label, first_seen in self.names.items():
            ids[first_seen] = ordered.index(label)
        return Index(
            key=np.frombuffer(self.keys, dtype=np.uint64).reshape(-1, 2),
            label=ids[np.frombuffer(self.labels, dtype=np.int32)],
            group=np.frombuffer(self.groups, dtype=np.uint64),
            labels=ordered,
        )


def _wanted(data: DataSettings) -> tuple[str, ...]:
    columns = data.columns
    named = (columns.text, columns.label, columns.group, columns.id, *data.slices)
    return tuple(dict.fromkeys(name for name in named if name is not None))


def _set_aside(spool: Spool, row: Row, data: DataSettings, why: Rejected) -> None:
    text, label = row.values.get(data.columns.text), row.values.get(data.columns.label)
    shown = _printable(text)
    spool.counts.reject(why.reason, f"{row.place}: {shown}")
    spool.rejected.add(_aside(why.reason, shown, _printable(label), place=row.place))


def _aside(reason: str, text: str, label: str, *, place: int | None) -> dict[str, Any]:
    return {"place": place, "reason": reason, "text": text[:_SHOWN_CHARS], "label": label[:_SHOWN_CHARS]}


def _printable(value: Any) -> str:
    text = value[:_SHOWN_CHARS] if isinstance(value, str) else "" if value is None else repr(value)[:_SHOWN_CHARS]
    return text.encode("utf-8", "replace").decode()


def _nothing_left(path: Path, spool: Spool) -> DataError:
    if not spool.read:
        return DataError(
            f"{path.name} holds no rows",
            cause="the file has a header only, or an export that failed",
            fix="name the file with the rows",
        )
    reasons: Mapping[str, int] = {reason: tally.rows for reason, tally in spool.counts.rejected.items()}
    listed = ", ".join(f"{reason}: {rows:,}" for reason, rows in sorted(reasons.items(), key=lambda item: -item[1]))
    return DataError(
        f"no row of {path.name} is left after cleaning ({spool.read:,} read; {listed})",
        cause="`data.columns` names the wrong columns, or the limits under `data.clean` do not fit the texts",
        fix="correct them; rows that are set aside keep their reason in the profile",
    )
