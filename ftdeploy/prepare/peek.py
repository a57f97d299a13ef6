"""The beginning of the rows, read and cleaned as `prepare` will: what is wrong with a source is told before a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from ftdeploy.prepare.builder import Builder, nothing_left, wanted
from ftdeploy.prepare.clean import Counts, Rejected
from ftdeploy.prepare.read import read_rows
from ftdeploy.prepare.split import DUPLICATE, decide
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


def peek(data: DataSettings, path: Path, *, task: str, seed: int, most: int = BEGINNING) -> Beginning:
    """Read and clean the first rows, and divide them where there are no more.

    Args:
        data: the recipe's section.
        path: the source's file or folder.
        task: decides which labels can be learned from.
        seed: of the splits.
        most: rows to read.

    Raises:
        SourceError: the loader cannot be found.
        DataError: what `prepare` would raise of these rows; what it can only raise of all rows, when these are all.
    """
    builder, counts, read = Builder(data=data, seed=seed), Counts(), 0
    rows = read_rows(data.source, path, wanted=wanted(data))
    for read, row in enumerate(islice(rows, most), start=1):
        builder.see(row, read)
        made = builder.clean(row, counts)
        if isinstance(made, Rejected):
            counts.reject(made.reason, f"{row.place}")
    whole = next(rows, None) is None
    builder.check_columns(read)
    builder.check_labels(whole=whole)
    labels: dict[str, int] = {}
    if builder.labels:
        index = builder.index()
        labels = index.counts(decide(index, data, task) < DUPLICATE if whole else np.ones(len(index.label), dtype=bool))
    elif whole:
        raise nothing_left(path.name, read, counts)
    rejected = {reason: tally.rows for reason, tally in counts.rejected.items()}
    return Beginning(read=read, whole=whole, kept=sum(labels.values()), labels=labels, rejected=rejected)
