"""The beginning of the rows, read and cleaned as `prepare` will: what is wrong with a source is told before a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain, islice

import numpy as np

from ftdeploy.prepare.builder import Builder, nothing_left, wanted
from ftdeploy.prepare.clean import Counts, Rejected
from ftdeploy.prepare.decide import decide
from ftdeploy.prepare.split import DUPLICATE
from ftdeploy.prepare.stream import Opened, read_source, unified
from ftdeploy.recipe import DataSettings

#: Rows that are looked at: enough for rare labels and late oddities, and read within a second.
BEGINNING = 5000


@dataclass(frozen=True, kw_only=True)
class Beginning:
    """What the first rows hold.

    Attributes:
        read: rows read.
        whole: there are no more.
        kept: rows that would be used: cleaned; where there are no more also without duplicates, and within the limit.
        labels: the kept rows of each label.
        rejected: rows set aside by cleaning, by reason.
    """

    read: int
    whole: bool
    kept: int
    labels: Mapping[str, int]
    rejected: Mapping[str, int]


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
    written, data = data, unified(data)
    builder, counts, read = Builder(data=data, seed=seed), Counts(), 0
    streams = [read_source(source, written, wanted=wanted(data)) for source in sources]
    first = chain.from_iterable(islice(rows, -(-most // len(streams))) for rows in streams)
    made_rows: list[tuple[str, str]] = []
    for read, row in enumerate(first, start=1):
        builder.see(row, read)
        made = builder.clean(row, counts)
        if isinstance(made, Rejected):
            counts.reject(made.reason, f"{row.place}")
        else:
            made_rows.append((made["id"], made["text"]))
    whole = all(next(rows, None) is None for rows in streams)
    builder.check_columns(read)
    builder.check_labels(whole=whole)
    labels: dict[str, int] = {}
    if builder.labels:
        index = builder.index()
        kept = np.ones(len(index.label), dtype=bool)
        if whole:
            kept = decide(index, data, task, lambda rows: {row: made_rows[row] for row in rows}).where < DUPLICATE
        labels = index.counts(kept)
    elif whole:
        raise nothing_left(", ".join(source.path.name for source in sources), read, counts)
    rejected = {reason: tally.rows for reason, tally in counts.rejected.items()}
    return Beginning(read=read, whole=whole, kept=sum(labels.values()), labels=labels, rejected=rejected)
