"""The two passes over the rows: `fill` reads and cleans them into a temporary file, `distribute` writes the splits."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ftdeploy import progress
from ftdeploy.dataset import SPLITS, SplitName
from ftdeploy.pairs import each, join, with_two_columns
from ftdeploy.pairs import shown as shown_text
from ftdeploy.prepare.bias import term_columns
from ftdeploy.prepare.builder import Builder, wanted
from ftdeploy.prepare.clean import NOTHING, Counts, Rejected, Survey, look_at_all
from ftdeploy.prepare.faults import nothing_left
from ftdeploy.prepare.privacy.guard import Guard, censored, make_guard
from ftdeploy.prepare.profile import SplitProfile
from ftdeploy.prepare.read import Row
from ftdeploy.prepare.split import (
    CONFLICT,
    DUPLICATE,
    GAP,
    LEAK,
    NEAR_DUPLICATE,
    TEST,
    TRAIN,
    VALIDATION,
    Index,
)
from ftdeploy.prepare.stream import Opened, open_sources, read_source, separators, unified
from ftdeploy.recipe import RESERVED_COLUMNS, DataSettings
from ftdeploy.sources import describe
from ftdeploy.tasks import Task, parts_of

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

_BATCH_ROWS, _BATCH_CHARS = 4096, 8_000_000
_SHOWN_CHARS = 1000  # of a rejected text; the source still has the whole
_PLACES = {"train": TRAIN, "validation": VALIDATION, "test": TEST}
REASONS = {
    DUPLICATE: "duplicate of an earlier row",
    CONFLICT: "same text with another label",
    NEAR_DUPLICATE: "near duplicate of another row",
    GAP: "in the gap before the next split",
    LEAK: "stands in a later split too",
}


@dataclass(kw_only=True)
class Spool:
    """The cleaned rows in a temporary file, and what is remembered of them.

    Attributes:
        folder: where the temporary file and the results are.
        slices: columns beside text, label, group and id.
        sources: where the rows came from, with the rows read of each.
        read: rows read.
        counts: what cleaning did.
        index: the numbers per cleaned row, in the order of the file.
        rejected: writer of the rows that are set aside.
        survey: what cleaning learned of all rows beforehand.
        guard: what became of identifiers of people, with its counts.
        head: the outputs of a network for these labels.
        task: says what a label is.
        pairs: whether rows have a second text, joined with the first.
    """

    folder: Path
    slices: tuple[str, ...]
    rejected: Writer
    sources: tuple[Opened, ...]
    read: int = 0
    counts: Counts = field(default_factory=Counts)
    survey: Survey = NOTHING
    guard: Guard | None = None
    index: Index = field(init=False)
    head: tuple[str, ...] = ()
    task: Task
    pairs: bool = False

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


def fill(data: DataSettings, *, seed: int, folder: Path, task: Task) -> Spool:
    """`fill_guarded` with the guard that the recipe asks for; what goes wrong is told without quoting identifiers.

    Args:
        data: the recipe's section.
        seed: of the hashes.
        folder: where the temporary file goes.
        task: says what a label is.

    Raises:
        ConfigError: the secret of `data.privacy` is missing.
        SourceError: a source cannot be had, or a loader cannot be found.
        DataError: see `fill_guarded`.
    """
    guard = make_guard(data.privacy, labels=data.labels)
    with censored(guard):
        return fill_guarded(data, guard, seed=seed, folder=folder, task=task)


def fill_guarded(data: DataSettings, guard: Guard | None, *, seed: int, folder: Path, task: Task,
                 survey: Survey | None = None) -> Spool:  # fmt: skip
    """Read and clean every row of the sources, one source after the other.

    Args:
        data: the recipe's section.
        guard: what becomes of identifiers of people, before anything is written.
        seed: of the hashes.
        folder: where the temporary file goes.
        task: says what a label is.
        survey: what cleaning is to know of all rows; None looks at those that are read here.

    Raises:
        SourceError: a source cannot be had, or a loader cannot be found.
        DataError: a wrong column, a broken file, a label outside ``data.labels``, or no row is left.
    """
    import pyarrow as pa

    sources, written = open_sources(data), data
    data = unified(data)
    text = pa.string()
    slices = (*(name for name in data.slices if name not in RESERVED_COLUMNS), *term_columns(data.bias))
    fields = [(name, text) for name in (*RESERVED_COLUMNS, *slices)]
    rejected = Writer(
        path=folder / "rejected.parquet",
        schema=pa.schema(
            [("place", pa.int64()), ("reason", text), ("text", text), ("label", text)]
            + ([("source", text)] if data.sources else [])
        ),
    )
    spool = Spool(folder=folder, slices=slices, rejected=rejected, sources=sources, guard=guard, task=task,
                  pairs=data.columns.text_pair is not None)  # fmt: skip
    spool.counts.mask = None if guard is None else guard.show
    writer = Writer(path=spool.file, schema=pa.schema(fields))

    def rows(opened: Iterable[Opened]) -> Iterator[Row]:
        return chain.from_iterable(read_source(source, written, wanted=wanted(data)) for source in opened)

    def texts() -> Iterator[Any]:
        again = [replace(source, read=0, columns={}) for source in sources]  # they count what was read
        return chain.from_iterable(cells_of(row, data) for row in rows(again))

    spool.survey = look_at_all(data.clean, texts) if survey is None else survey
    builder = Builder(data=data, seed=seed, survey=spool.survey, guard=guard, task=task, folder=folder,
                      separators=separators(written), entries=written.entries)  # fmt: skip
    with progress.task("read rows") as advance:
        for row in rows(sources):
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
        raise nothing_left(", ".join(source.path.name for source in sources), spool.read, spool.counts)
    spool.index, spool.head = builder.index(), builder.head()
    return spool


def cells_of(row: Row, data: DataSettings) -> Iterator[tuple[Any, Any]]:
    """Each text of a row with its label, as they were read; tokens as the text that they are."""
    label = row.values.get(data.columns.label or "")
    cells = (row.values.get(name) for name in data.columns.texts)
    return ((" ".join(map(str, cell)) if isinstance(cell, list) else cell, label) for cell in cells)


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

    profiles = {name: SplitProfile(slices=spool.slices, parts=partial(parts_of, spool.task)) for name in SPLITS}
    file = pq.ParquetFile(spool.file, pre_buffer=False)  # else it keeps all that was read
    weights = train_weights(spool, where)
    written = with_two_columns(file.schema_arrow.empty_table()).schema if spool.pairs else file.schema_arrow
    schemas = dict.fromkeys(SPLITS, written)
    if weights is not None:
        schemas["train"] = written.append(pa.field("weight", pa.float32()))
    writers = {name: Writer(path=spool.folder / f"{name}.parquet", schema=schemas[name]) for name in SPLITS}
    start = 0
    for batch in file.iter_batches(batch_size=_BATCH_ROWS):
        here = where[start : start + batch.num_rows]
        for name, writer in writers.items():
            chosen = here == _PLACES[name]
            rows = batch.filter(pa.array(chosen))
            if rows.num_rows:
                profiles[name].add(rows)
                rows = with_two_columns(rows) if spool.pairs else rows
                if weights is not None and name == "train":
                    rows = rows.append_column("weight", pa.array(weights[start : start + len(here)][chosen]))
                writer.write(rows)
        start += batch.num_rows
        for mark, reason in REASONS.items():
            for row in batch.filter(pa.array(here == mark)).to_pylist():
                spool.rejected.add(_aside(reason, row["text"], row["label"], place=None))
    file.close()
    for name, profile in profiles.items():
        here = spool.index.group[(where == _PLACES[name]) & (spool.index.group != 0)]
        profile.groups = len(np.unique(here))
    for writer in (*writers.values(), spool.rejected):
        writer.close()
    spool.file.unlink()
    return profiles


def train_weights(spool: Spool, where: NDArray[np.uint8]) -> NDArray[np.float32] | None:
    """What each row weighs in the loss by its source, scaled to a mean of 1 over the training rows, float32, shape
    (rows,); None when all sources weigh the same.
    """
    by_source = np.array([source.entry.weight for source in spool.sources])
    if (by_source == by_source[0]).all():
        return None
    weights = by_source[spool.index.source]
    trained = weights[where == TRAIN]
    if len(np.unique(trained)) < 2:  # noqa: PLR2004 - one weight for all is none
        return None
    scaled: NDArray[np.float32] = (weights / trained.mean()).astype(np.float32)
    return scaled


def profile_sources(spool: Spool, where: NDArray[np.uint8]) -> list[dict[str, Any]]:
    """What is known of each source, as plain data: see ``ftdeploy/prepare/profile.py``."""
    rows = {name: np.bincount(spool.index.source[where == place], minlength=len(spool.sources))
            for name, place in _PLACES.items()}  # fmt: skip
    found = []
    for source in spool.sources:
        entry = source.entry
        found.append(
            {"name": entry.name}
            | describe(entry)
            | {
                "encoding": entry.encoding,
                "weight": entry.weight,
                "role": entry.role,
                "read": source.read,
                "splits": {name: int(counts[source.number]) for name, counts in rows.items()},
            }
        )
    return found


def _set_aside(spool: Spool, row: Row, data: DataSettings, why: Rejected) -> None:
    texts: list[Any] = [row.values.get(name) for name in data.columns.texts]
    label = row.values.get(data.columns.label or "")
    if isinstance(label, Rejected):
        label = None
    if spool.guard is not None:
        label, *texts = (spool.guard.show_beginning(_printable(value, most=None)) for value in (label, *texts))
    shown = join(*map(_printable, texts)) if spool.pairs else _printable(texts[0])
    spool.counts.reject(why.reason, f"{row.prefix}{row.place}: {shown}")
    spool.rejected.add(_aside(why.reason, shown, _printable(label), place=row.place) | {"source": row.origin})


def _aside(reason: str, text: str, label: str, *, place: int | None) -> dict[str, Any]:
    """A row as it is set aside; both texts of a pair in one cell, which people read."""
    told = each(text, lambda one: one[:_SHOWN_CHARS])
    return {"place": place, "reason": reason, "text": shown_text(told), "label": label[:_SHOWN_CHARS]}


def _printable(value: Any, *, most: int | None = _SHOWN_CHARS) -> str:
    text = value[:most] if isinstance(value, str) else "" if value is None else repr(value)[:most]
    return text.encode("utf-8", "replace").decode()
