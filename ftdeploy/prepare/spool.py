"""The two passes over the rows: `fill` reads and cleans them into a temporary file, `distribute` writes the splits."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ftdeploy import progress
from ftdeploy.dataset import SPLITS, SplitName
from ftdeploy.prepare.builder import Builder, nothing_left, wanted
from ftdeploy.prepare.clean import Counts, Rejected
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
    builder = Builder(data=data, seed=seed)
    with progress.task("read rows") as advance:
        for row in read_rows(data.source, path, wanted=wanted(data)):
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
        raise nothing_left(path.name, spool.read, spool.counts)
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
