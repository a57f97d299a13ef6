"""Who stands where: duplicates, the sample, and the splits, decided on a few numbers per row.

Everything follows from keyed hashes of texts and groups, so it depends on the seed and not on the order of the rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from ftdeploy.errors import DataError
from ftdeploy.recipe import DataSettings, Split
from ftdeploy.tasks import TASKS

if TYPE_CHECKING:
    from numpy.typing import NDArray

TRAIN, VALIDATION, TEST, DUPLICATE, CONFLICT, SAMPLED_OUT = range(6)
_PARTS = [TRAIN, VALIDATION, TEST]
_LARGE = 0.1  # of a split's share of a label
_SPLIT_NAMES = ("train", "validation", "test")


@dataclass(frozen=True, kw_only=True)
class Index:
    """What is kept in memory of every row.

    Attributes:
        key: uint64, shape (rows, 2): hash of the folded text.
        label: int32, shape (rows,): index into ``labels``.
        group: uint64, shape (rows,): hash of the group, 0 for none.
        labels: the labels.
        source: uint16, shape (rows,): index of the row's source in ``data.entries``; empty where nobody asked.
    """

    key: NDArray[np.uint64]
    label: NDArray[np.int32]
    group: NDArray[np.uint64]
    labels: tuple[str, ...]
    source: NDArray[np.uint16] = field(default_factory=lambda: np.empty(0, dtype=np.uint16))

    def counts(self, kept: NDArray[np.bool_]) -> dict[str, int]:
        """Rows of each label among the kept ones."""
        counts = np.bincount(self.label[kept], minlength=len(self.labels))
        return {name: int(count) for name, count in zip(self.labels, counts, strict=True)}


def decide(index: Index, data: DataSettings, task: str) -> NDArray[np.uint8]:
    """What becomes of each cleaned row: a split, ``DUPLICATE``, ``CONFLICT`` or ``SAMPLED_OUT``, uint8, shape (rows,).

    Raises:
        DataError: the labels are not fit for the task, or one is missing in a split.
    """
    marks = mark_duplicates(index)
    if data.clean.duplicates == "keep":
        marks[:] = 0
    kept = marks == 0
    for number, entry in enumerate(data.entries):
        if entry.rows is not None:
            mine = index.source == number
            kept &= ~mine | sample(index, kept & mine, entry.rows)
    if data.limit is not None:
        kept = sample(index, kept, data.limit)
    TASKS[task].check_labels(index.counts(kept))
    where = assign(index, kept, data.split)
    where[marks != 0] = marks[marks != 0]
    return where


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

    Rows of one group, and rows with the same text, stand together. Such units are placed first, in the order of their
    hashes, so that the sizes of groups are alike in all splits; then the rows that stand alone fill up the shares of
    each label.

    Raises:
        DataError: a label is missing in a split.
    """
    places = np.flatnonzero(kept)
    label = index.label[places] if split.stratify else np.zeros(len(places), dtype=np.int32)
    unit, order = _units(index, places)
    totals = np.bincount(label, minlength=int(label.max(initial=0)) + 1)
    targets = _targets(totals, split)
    where = np.full(len(places), SAMPLED_OUT, dtype=np.uint8)
    alone = np.bincount(unit)[unit] == 1
    assigned = _place_units(unit=unit, label=label, alone=alone, order=order, split=split, where=where)
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


def _place_units(*, unit: NDArray[np.int64], label: NDArray[np.int32], alone: NDArray[np.bool_],
                 order: NDArray[np.uint64], split: Split, where: NDArray[np.uint8]) -> NDArray[np.int64]:  # fmt: skip
    """Place the units of several rows into ``where``; returns the rows placed, shape (3 splits, labels).

    Each unit goes where it makes the sum of assigned^2 / wanted, over splits and labels, grow least (to first order);
    that sum is smallest when all shares are kept. A label that is about to run out of units goes to a split that still
    lacks it.
    """
    labels = int(label.max(initial=0)) + 1
    shares = (1 - split.test - split.validation, split.validation, split.test)
    totals = np.bincount(label[~alone], minlength=labels)
    wanted = [[share * total for total in totals.tolist()] for share in shares]
    assigned = [[0] * labels for _ in shares]
    pairs, counts = np.unique(unit[~alone] * labels + label[~alone], return_counts=True)
    units_left = (np.bincount(pairs % labels, minlength=labels) + np.bincount(label[alone], minlength=labels)).tolist()
    contents: dict[int, list[tuple[int, int]]] = {}
    for pair, count in zip(pairs.tolist(), counts.tolist(), strict=True):
        contents.setdefault(pair // labels, []).append((pair % labels, count))

    placed = np.zeros(len(order), dtype=np.uint8)
    large = np.array(list(contents), dtype=np.int64)
    for one in large[np.argsort(order[large], kind="stable")].tolist():
        allowed = _lacking(contents[one], assigned, units_left) or _PARTS
        growth = [sum(_growth(n, assigned[p][name], wanted[p][name]) for name, n in contents[one]) for p in allowed]
        part = allowed[growth.index(min(growth))]
        placed[one] = part
        for name, count in contents[one]:
            assigned[part][name] += count
            units_left[name] -= 1
    where[~alone] = placed[unit[~alone]]
    return np.array(assigned, dtype=np.int64)


def _growth(count: int, assigned: int, wanted: float) -> float:
    # The second order would drive larger units into the larger split, so it counts only for units that are large
    # beside a split's whole share.
    second = count if count > _LARGE * wanted else 0
    return count * (2 * assigned + second) / wanted


def _lacking(content: list[tuple[int, int]], assigned: list[list[int]], units_left: list[int]) -> list[int]:
    """The splits that lack a label of which there are hardly more units left than such splits."""
    found: set[int] = set()
    for name, _ in content:
        empty = [part for part in _PARTS if not assigned[part][name]]
        if units_left[name] <= len(empty):
            found.update(empty)
    return sorted(found)


def _check_every_label(index: Index, where: NDArray[np.uint8], split: Split) -> None:
    missing = [
        f"{index.labels[name]!r} in {_SPLIT_NAMES[part]}"
        for part in _PARTS
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
