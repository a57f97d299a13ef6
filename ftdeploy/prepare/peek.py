"""The beginning of the rows, read and cleaned as `prepare` will: what is wrong with a source is told before a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from typing import Any

import numpy as np

from ftdeploy.errors import DataError
from ftdeploy.prepare.builder import Builder, wanted
from ftdeploy.prepare.clean import Counts, Rejected, look_at_all
from ftdeploy.prepare.decide import Decision, decide
from ftdeploy.prepare.faults import nothing_left
from ftdeploy.prepare.privacy.guard import Guard, censored, make_guard
from ftdeploy.prepare.read import Row
from ftdeploy.prepare.split import DUPLICATE, SAMPLED_OUT, TRAIN
from ftdeploy.prepare.spool import REASONS, cells_of
from ftdeploy.prepare.stream import Opened, read_source, separators, unified
from ftdeploy.recipe import DataSettings
from ftdeploy.tasks import TASKS

#: Rows that are looked at: enough for rare labels and late oddities, and read within a second.
BEGINNING = 5000


@dataclass(frozen=True, kw_only=True)
class Beginning:
    """What the first rows hold.

    Attributes:
        read: rows read.
        whole: there are no more.
        kept: rows that would be used: cleaned; where there are no more also without duplicates, and within the limit.
        training: of these, how many stand in the train split; None where there are more rows.
        labels: the kept rows of each label.
        rejected: rows set aside, by reason: by cleaning, and where there are no more by what they have in common.
    """

    read: int
    whole: bool
    kept: int
    training: int | None
    labels: Mapping[str, int]
    rejected: Mapping[str, int]


@dataclass(kw_only=True)
class Sample:
    """The first rows, cleaned and remembered.

    Attributes:
        data: the recipe's section, under the names that the columns have.
        sources: where the rows come from.
        builder: what is remembered of each row.
        counts: what cleaning did.
        rows: id and text of each cleaned row.
        read: rows read.
        whole: there are no more.
    """

    data: DataSettings
    sources: tuple[Opened, ...]
    builder: Builder
    counts: Counts
    rows: list[tuple[str, str]] = field(default_factory=list)
    read: int = 0
    whole: bool = False

    def decide(self, task: str) -> Decision:
        """What `prepare` would do with these rows, if they were all.

        Raises:
            DataError: they are not fit for the task.
        """
        return decide(self.builder.index(), self.data, task, lambda rows: {row: self.rows[row] for row in rows})


def peek(data: DataSettings, sources: tuple[Opened, ...], *, task: str, seed: int, most: int = BEGINNING) -> Beginning:
    """Read and clean the first rows, and divide them where there are no more.

    Args:
        data: the recipe's section.
        sources: what `open_sources` returned.
        task: decides which labels can be learned from.
        seed: of the splits.
        most: rows to read, of all sources together.

    Raises:
        SourceError: the loader cannot be found.
        DataError: what `prepare` would raise of these rows; what it can only raise of all rows, when these are all.
    """
    sample = read_sample(data, sources, task=task, seed=seed, most=most)
    with censored(sample.builder.guard):
        _check(sample)
    training = None
    labels: dict[str, int] = {}
    rejected = {reason: tally.rows for reason, tally in sample.counts.rejected.items()}
    kept = np.ones(len(sample.rows), dtype=bool)
    if sample.rows:
        if sample.whole:
            where = sample.decide(task).where
            kept, training = where < DUPLICATE, int((where == TRAIN).sum())
            reasons = REASONS | {SAMPLED_OUT: "not in the sample"}
            rejected |= {why: int((where == mark).sum()) for mark, why in reasons.items() if (where == mark).any()}
        labels = sample.builder.index().counts(kept)
    elif sample.whole:
        raise nothing_left(", ".join(source.path.name for source in sources), sample.read, sample.counts)
    return Beginning(read=sample.read, whole=sample.whole, kept=int(kept.sum()), training=training, labels=labels,
                     rejected=rejected)  # fmt: skip


def _check(sample: Sample) -> None:
    """Refuse columns that there are not and labels that are not meant; both at once, as neither follows of the other.

    Raises:
        DataError: there is any.
    """
    faults = []
    try:
        sample.builder.check_columns(sample.read)
    except DataError as error:
        faults.append(error)
    if sample.rows or not faults:  # without its text or its label no row is left
        try:
            sample.builder.check_labels(whole=sample.whole)
        except DataError as error:
            faults.append(error)
    if len(faults) == 1:
        raise faults[0]
    if faults:
        what, cause, fix = (
            "; and ".join(getattr(error, part) for error in faults) for part in ("what", "cause", "fix")
        )
        raise DataError(what, cause=cause, fix=fix)


def read_sample(
    data: DataSettings,
    sources: tuple[Opened, ...],
    *,
    task: str,
    seed: int,
    most: int,
    visit: Callable[[str], object] = str,
) -> Sample:
    """Read and clean the first rows. What `prepare` learns of all rows beforehand is learned of these.

    Args:
        data: the recipe's section.
        sources: what `open_sources` returned.
        task: says what a label is.
        seed: of the splits.
        most: rows to read, of all sources together; 0 is all.
        visit: called with each cleaned text.

    Raises:
        SourceError: the loader cannot be found.
        DataError: a broken file.
    """
    guard = make_guard(data.privacy, labels=data.labels)
    with censored(guard):
        return _read_sample(data, sources, guard, task=task, seed=seed, most=most, visit=visit)


def _read_sample(
    data: DataSettings,
    sources: tuple[Opened, ...],
    guard: Guard | None,
    *,
    task: str,
    seed: int,
    most: int,
    visit: Callable[[str], object],
) -> Sample:
    written, data = data, unified(data)
    each = -(-most // len(sources)) if most else None

    def beginnings() -> list[Iterator[Row]]:
        again = [replace(source, read=0, columns={}) for source in sources]  # they count what was read
        return [read_source(source, written, wanted=wanted(data)) for source in again]

    def texts() -> Iterator[Any]:
        first = chain.from_iterable(islice(rows, each) for rows in beginnings())
        return chain.from_iterable(cells_of(row, data) for row in first)

    builder = Builder(data=data, seed=seed, survey=look_at_all(data.clean, texts), guard=guard,
                      task=TASKS[task], separators=separators(written), entries=written.entries)  # fmt: skip
    counts = Counts(mask=None if guard is None else guard.show)
    sample, streams = Sample(data=data, sources=sources, builder=builder, counts=counts), beginnings()
    for row in chain.from_iterable(islice(rows, each) for rows in streams):
        sample.read += 1
        builder.see(row, sample.read)
        made = builder.clean(row, sample.counts)
        if isinstance(made, Rejected):
            told = " | ".join("" if text is None else str(text) for text, _ in cells_of(row, data))
            sample.counts.reject(made.reason, f"{row.prefix}{row.place}: {told}")
        else:
            sample.rows.append((made["id"], made["text"]))
            visit(made["text"])
    sample.whole = all(next(rows, None) is None for rows in streams)
    return sample
