"""What is remembered of each row, and who stands where: exact duplicates, the sample, the splits by chance.

Everything follows from keyed hashes of texts and groups, so it depends on the seed and not on the order of the rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ftdeploy.recipe import Split

if TYPE_CHECKING:
    from numpy.typing import NDArray

TRAIN, VALIDATION, TEST, DUPLICATE, CONFLICT, SAMPLED_OUT, NEAR_DUPLICATE, GAP, LEAK = range(9)
#: A row that no column and no source assigns to a split.
FREE = 255
NO_PAIRS: NDArray[np.int64] = np.empty((0, 2), dtype=np.int64)
#: Rows that are sorted at a time, and looked at at a time.
_SORTED = 1 << 18
_LARGE = 0.1  # of a split's share of a label
#: Of train, validation and test.
Shares = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class Index:
    """What is kept in memory of every row.

    Attributes:
        key: uint64, shape (rows, 2): hash of the folded text.
        label: int32, shape (rows,): index into ``labels``.
        group: uint64, shape (rows,): hash of the group, 0 for none.
        labels: the labels.
        names, named: where a label is of any number of names: all sets of them that rows have, and the place of each
            row's among them, int32, shape (rows,). ``label`` is then one of its names, which divides the rows. None
            where a label is one name.
        source: uint16, shape (rows,): index of the row's source in ``data.entries``; empty where nobody asked.
        fixed: uint8, shape (rows,): the split that a column or the source says, ``FREE`` for none; None where all are.
        time: int64, shape (rows,): microseconds since 1970; None without times.
        value: float64, shape (rows,): the label, where it is a number; ``label`` is then the fifth of the numbers that
            it is in. None where labels are names.
        sketch: uint8, shape (rows, ``near.PERMUTATIONS``); None where near duplicates are not looked for.
    """

    key: NDArray[np.uint64]
    label: NDArray[np.int32]
    group: NDArray[np.uint64]
    labels: tuple[str, ...]
    names: tuple[tuple[str, ...], ...] = ()
    named: NDArray[np.int32] | None = None
    source: NDArray[np.uint16] = field(default_factory=lambda: np.empty(0, dtype=np.uint16))
    fixed: NDArray[np.uint8] | None = None
    time: NDArray[np.int64] | None = None
    value: NDArray[np.float64] | None = None
    sketch: NDArray[np.uint8] | None = None

    @property
    def told(self) -> NDArray[np.int32] | NDArray[np.float64]:
        """What two rows differ in whose labels contradict each other, shape (rows,)."""
        if self.value is not None:
            return self.value
        return self.label if self.named is None else self.named

    def counts(self, kept: NDArray[np.bool_]) -> dict[str, int]:
        """Rows of each label among the kept ones; where a label is of several names, rows with each of them."""
        if self.named is None:
            counts = np.bincount(self.label[kept], minlength=len(self.labels))
            return {name: int(count) for name, count in zip(self.labels, counts, strict=True)}
        found = dict.fromkeys(self.labels, 0)
        for names, rows in zip(self.names, np.bincount(self.named[kept], minlength=len(self.names)), strict=True):
            for name in names:
                found[name] += int(rows)
        return found


def number_keys(*columns: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """The first row with each key, in the order of the keys, int64, and the number of each row's key, int32.

    What `np.unique` of rows would give, but sorted in parts of the first column's range: the memory of sorting does not
    grow with the rows.

    Args:
        columns: of the key, each of shape (rows,); the first is a hash.
    """
    number = np.empty(len(columns[0]), dtype=np.int32)
    firsts, count = [], 0
    for here in in_parts(columns[0]):
        order = here[np.lexsort([column[here] for column in reversed(columns)])]
        new = np.ones(len(order), dtype=bool)
        new[1:] = False
        for column in columns:
            ordered = column[order]
            new[1:] |= ordered[1:] != ordered[:-1]
        number[order] = count + np.cumsum(new, dtype=np.int32) - 1
        firsts.append(order[new])
        count += len(firsts[-1])
    return np.concatenate(firsts), number


def in_parts(column: NDArray[np.uint64]) -> Iterator[NDArray[np.int64]]:
    """All rows in their order, int64, so many at a time as are sorted at a time; those with one hash together, and the
    lower hashes first.

    Args:
        column: hashes, uint64, shape (rows,).
    """
    bits = (len(column) // _SORTED).bit_length()
    if not bits:
        yield np.arange(len(column))
        return
    for part in range(1 << bits):
        found = [
            start + np.flatnonzero(column[start : start + _SORTED] >> np.uint64(64 - bits) == part)
            for start in range(0, len(column), _SORTED)
        ]
        yield np.concatenate(found)


def halves(index: Index, places: NDArray[np.intp]) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Both columns of the keys of rows, in order; not copied where these are all rows."""
    if len(places) == len(index.key):
        return index.key[:, 0], index.key[:, 1]
    return index.key[places, 0], index.key[places, 1]


def mark_duplicates(index: Index) -> NDArray[np.uint8]:
    """Per row: 0, ``DUPLICATE`` (the text stands further up with the same label) or ``CONFLICT`` (it stands elsewhere
    with another label), uint8, shape (rows,). Where the splits are given, within one: between two it is leakage.
    """
    within = () if index.fixed is None else (index.fixed,)
    first, cluster = number_keys(*index.key.T, *within)
    told = index.told
    lowest, highest = told[first], told[first]
    np.minimum.at(lowest, cluster, told)
    np.maximum.at(highest, cluster, told)
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


def shares_of(split: Split) -> Shares:
    """Of train, validation and test."""
    return (1 - split.test - split.validation, split.validation, split.test)


def assign(index: Index, kept: NDArray[np.bool_], split: Split, *, ties: NDArray[np.int64] = NO_PAIRS,
           shares: Shares | None = None) -> NDArray[np.uint8]:  # fmt: skip
    """The split of every kept row (others: ``SAMPLED_OUT``), uint8, shape (rows,).

    Rows of one group, rows with the same text, and rows that are tied stand together. Such units are placed first, in
    the order of their hashes, so that the sizes of groups are alike in all splits; then the rows that stand alone fill
    up the shares of each label.

    Args:
        index: the rows.
        kept: those to divide.
        split: the recipe's section.
        ties: pairs of rows that must stand together, int64, shape (pairs, 2).
        shares: of train, validation and test; None as the recipe says. A split with the share 0 gets nothing.
    """
    shares = shares or shares_of(split)
    places = np.flatnonzero(kept)
    label = index.label[places] if split.stratify else np.zeros(len(places), dtype=np.int32)
    unit, order = find_units(index, places, ties)
    totals = np.bincount(label, minlength=int(label.max(initial=0)) + 1)
    targets = _targets(totals, shares)
    where = np.full(len(places), SAMPLED_OUT, dtype=np.uint8)
    alone = np.bincount(unit)[unit] == 1
    assigned = _place_units(unit=unit, label=label, alone=alone, order=order, shares=shares, where=where)
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
    return result


def find_units(
    index: Index, places: NDArray[np.intp], ties: NDArray[np.int64] = NO_PAIRS
) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
    """The unit of each row, int64, and a hash for each unit, uint64: what must stand together, and in which order.

    A unit is a connected component of rows that share a text or a group, or are tied.
    """
    group = index.group[places]
    _, text_unit = number_keys(*halves(index, places))
    unit: NDArray[np.integer[Any]] = text_unit
    if len(places) and (group.any() or len(ties)):
        # Nodes: texts, then groups. A row ties its text to its group; a row without a group ties nothing.
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        _, group_unit = np.unique(group, return_inverse=True)
        tied = group != 0
        size = int(text_unit.max() + group_unit.max()) + 2
        texts = np.full(len(index.label), -1, dtype=np.int64)
        texts[places] = text_unit
        left, right = texts[ties[:, 0]], texts[ties[:, 1]]
        there = (left >= 0) & (right >= 0)
        left = np.concatenate([text_unit[tied], left[there]])
        right = np.concatenate([group_unit[tied] + int(text_unit.max()) + 1, right[there]])
        graph = coo_array((np.ones(len(left), dtype=np.int8), (left, right)), shape=(size, size))
        _, component = connected_components(graph, directed=False)
        _, unit = np.unique(component[text_unit], return_inverse=True)
    order = np.full(int(unit.max(initial=-1)) + 1, np.iinfo(np.uint64).max, dtype=np.uint64)
    np.minimum.at(order, unit, halves(index, places)[0])
    return unit.astype(np.int64), order


def _targets(totals: NDArray[np.int64], shares: Shares) -> NDArray[np.int64]:
    """Rows wanted, int64, shape (3 splits, labels): at least one of each label in each split, if it has three."""
    least = [int(share > 0) for share in shares]
    targets = np.zeros((3, len(totals)), dtype=np.int64)
    targets[TEST] = np.clip(np.rint(totals * shares[TEST]), least[TEST], np.maximum(least[TEST], totals - 2))
    left = np.maximum(least[VALIDATION], totals - targets[TEST] - 1)
    targets[VALIDATION] = np.clip(np.rint(totals * shares[VALIDATION]), least[VALIDATION], left)
    targets[TRAIN] = totals - targets[TEST] - targets[VALIDATION]
    return targets


def _place_units(*, unit: NDArray[np.int64], label: NDArray[np.int32], alone: NDArray[np.bool_],
                 order: NDArray[np.uint64], shares: Shares, where: NDArray[np.uint8]) -> NDArray[np.int64]:  # fmt: skip
    """Place the units of several rows into ``where``; returns the rows placed, shape (3 splits, labels).

    Each unit goes where it makes the sum of assigned^2 / wanted, over splits and labels, grow least (to first order);
    that sum is smallest when all shares are kept. A label that is about to run out of units goes to a split that still
    lacks it.
    """
    labels = int(label.max(initial=0)) + 1
    parts = [part for part, share in enumerate(shares) if share > 0]
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
        allowed = _lacking(contents[one], assigned, units_left, parts) or parts
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


def _lacking(
    content: list[tuple[int, int]], assigned: list[list[int]], units_left: list[int], parts: list[int]
) -> list[int]:
    """The splits that lack a label of which there are hardly more units left than such splits."""
    found: set[int] = set()
    for name, _ in content:
        empty = [part for part in parts if not assigned[part][name]]
        if units_left[name] <= len(empty):
            found.update(empty)
    return sorted(found)
