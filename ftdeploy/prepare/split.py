"""Who stands where: duplicates, the sample, and the splits, decided on a few numbers per row.

Everything follows from keyed hashes of texts and groups, so it depends on the seed and not on the order of the rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ftdeploy.errors import DataError
from ftdeploy.recipe import Split

if TYPE_CHECKING:
    from numpy.typing import NDArray

TRAIN, VALIDATION, TEST, DUPLICATE, CONFLICT, SAMPLED_OUT = range(6)
_SPLIT_NAMES = ("train", "validation", "test")


@dataclass(frozen=True, kw_only=True)
class Index:
    """What is kept in memory of every row.

    Attributes:
        key: uint64, shape (rows, 2): hash of the folded text.
        label: int32, shape (rows,): index into ``labels``.
        group: uint64, shape (rows,): hash of the group, 0 for none.
        labels: the labels.
    """

    key: NDArray[np.uint64]
    label: NDArray[np.int32]
    group: NDArray[np.uint64]
    labels: tuple[str, ...]


def mark_duplicates(index: Index) -> NDArray[np.uint8]:
    """Per row: 0, ``DUPLICATE`` (the text stands further up with the same label) or ``CONFLICT`` (it stands elsewhere
    with another label), uint8, shape (rows,).
    """
    _, first, cluster = np.unique(index.key, axis=0, return_index=True, return_inverse=True)
    cluster = cluster.ravel()
    lowest = np.full(len(first), np.iinfo(np.int32).max, dtype=np.int32)
    highest = np.full(len(first), -1, dtype=np.int32)
    np.minimum.at(lowest, cluster, index.label)
    np.maximum.at(highest, cluster, index.label)
    marks = np.full(len(index.label), DUPLICATE, dtype=np.uint8)
    marks[first] = 0
    marks[(lowest != highest)[cluster]] = CONFLICT
    return marks


def sample(index: Index, kept: NDArray[np.bool_], limit: int) -> NDArray[np.bool_]:
    """The kept rows that a seeded sample of ``limit`` rows leaves, bool, shape (rows,)."""
    places = np.flatnonzero(kept)
    # The second half of the key, because the split is made with the first.
    order = np.lexsort((index.key[places, 0], index.key[places, 1]))
    chosen = np.zeros(len(kept), dtype=bool)
    chosen[places[order[:limit]]] = True
    return chosen


def assign(index: Index, kept: NDArray[np.bool_], split: Split) -> NDArray[np.uint8]:
    """The split of every kept row (others: ``SAMPLED_OUT``), uint8, shape (rows,).

    Rows of one group, and rows with the same text, stand together. Rows that stand alone fill the shares of each label
    exactly; larger units are placed first, largest first, each where it brings the counts per label closest to their
    shares in the sense of least squares.

    Raises:
        DataError: a label is missing in a split.
    """
    places = np.flatnonzero(kept)
    label = index.label[places] if split.stratify else np.zeros(len(places), dtype=np.int32)
    unit, order = _units(index, places)
    totals = np.bincount(label, minlength=int(label.max(initial=0)) + 1)
    targets = _targets(totals, split)
    where = np.full(len(places), SAMPLED_OUT, dtype=np.uint8)
    sizes = np.bincount(unit)
    alone = sizes[unit] == 1
    assigned = _place_units(
        unit=unit, label=label, order=order, sizes=sizes, targets=targets, totals=totals, where=where
    )
    for name in range(len(totals)):
        rows = np.flatnonzero(alone & (label == name))
        rows = rows[np.argsort(order[unit[rows]], kind="stable")]
        test = int(np.clip(targets[TEST, name] - assigned[TEST, name], 0, len(rows)))
        validation = int(np.clip(targets[VALIDATION, name] - assigned[VALIDATION, name], 0, len(rows) - test))
        where[rows[:test]] = TEST
        where[rows[test : test + validation]] = VALIDATION
        where[rows[test + validation :]] = TRAIN
    result = np.full(len(kept), SAMPLED_OUT, dtype=np.uint8)
    result[places] = where
    _check_every_label(index, result, split)
    return result


def _units(index: Index, places: NDArray[np.intp]) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
    """The unit of each row, int64, and a hash for each unit, uint64: what must stand together, and in which order.

    A unit is a connected component of rows that share a text or a group.
    """
    key, group = index.key[places], index.group[places]
    _, text_unit = np.unique(key, axis=0, return_inverse=True)
    text_unit = text_unit.ravel()
    unit = text_unit
    if group.any():
        # Nodes: texts, then groups. A row ties its text to its group; a row without a group ties nothing.
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        _, group_unit = np.unique(group, return_inverse=True)
        tied = group != 0
        size = int(text_unit.max() + group_unit.max()) + 2
        ends = (text_unit[tied], group_unit[tied] + int(text_unit.max()) + 1)
        graph = coo_array((np.ones(int(tied.sum()), dtype=np.int8), ends), shape=(size, size))
        _, component = connected_components(graph, directed=False)
        _, unit = np.unique(component[text_unit], return_inverse=True)
    order = np.full(int(unit.max(initial=-1)) + 1, np.iinfo(np.uint64).max, dtype=np.uint64)
    np.minimum.at(order, unit, key[:, 0])
    return unit.astype(np.int64), order


def _targets(totals: NDArray[np.int64], split: Split) -> NDArray[np.int64]:
    """Rows wanted, int64, shape (3 splits, labels): at least one of each label in each split, if it has three."""
    targets = np.zeros((3, len(totals)), dtype=np.int64)
    targets[TEST] = np.clip(np.rint(totals * split.test), 1, np.maximum(1, totals - 2))
    targets[VALIDATION] = np.clip(np.rint(totals * split.validation), 1, np.maximum(1, totals - targets[TEST] - 1))
    targets[TRAIN] = totals - targets[TEST] - targets[VALIDATION]
    return targets


def _place_units(*, unit: NDArray[np.int64], label: NDArray[np.int32], order: NDArray[np.uint64],
                 sizes: NDArray[np.int64], targets: NDArray[np.int64], totals: NDArray[np.int64],
                 where: NDArray[np.uint8]) -> NDArray[np.int64]:  # fmt: skip
    """Place the units of several rows into ``where``; returns the rows placed, shape (3, labels)."""
    assigned = np.zeros_like(targets)
    large = np.flatnonzero(sizes > 1)
    large = large[np.lexsort((order[large], -sizes[large]))]
    rows_by_unit = np.argsort(unit, kind="stable")
    starts = np.concatenate(([0], np.cumsum(sizes)))
    weight = 1.0 / np.square(np.maximum(totals, 1, dtype=np.float64))
    for one in large.tolist():
        rows = rows_by_unit[starts[one] : starts[one + 1]]
        names, counts = np.unique(label[rows], return_counts=True)
        # Growth of the squared distance to the targets when the unit goes to each split.
        excess = 2 * (assigned[:, names] - targets[:, names]) + counts
        split = int(np.argmin((excess * counts * weight[names]).sum(axis=1)))
        assigned[split, names] += counts
        where[rows] = split
    return assigned


def _check_every_label(index: Index, where: NDArray[np.uint8], split: Split) -> None:
    missing = [
        f"{index.labels[name]!r} in {_SPLIT_NAMES[part]}"
        for part in (TRAIN, VALIDATION, TEST)
        for name in np.setdiff1d(np.unique(index.label[where < DUPLICATE]), index.label[where == part]).tolist()
    ]
    if missing:
        listed: Sequence[str] = missing[:10]
        grouped = bool(index.group.any())
        raise DataError(
            f"a label has no rows in a split: {', '.join(listed)}",
            cause="all rows of the label belong to too few groups or duplicates, which are never divided"
            if grouped or split.stratify
            else "the label is rare, and the rows were divided without regard to labels",
            fix="use a finer `columns.group`, or add rows of that label"
            if split.stratify
            else "set `data.split.stratify: true`",
        )
