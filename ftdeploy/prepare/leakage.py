"""Splits that the data brings along, and what stands in two of them: the same text, nearly the same, or one group."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ftdeploy.dataset import SPLITS, SplitName
from ftdeploy.errors import DataError
from ftdeploy.prepare.near import pairs_across
from ftdeploy.prepare.split import (
    FREE,
    NO_PAIRS,
    TEST,
    TRAIN,
    VALIDATION,
    Index,
    Shares,
    find_units,
    halves,
    number_keys,
    shares_of,
)
from ftdeploy.recipe import Split

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: The splits by the names that recipes use.
FIXED: Mapping[SplitName, int] = {"train": TRAIN, "validation": VALIDATION, "test": TEST}
#: Words that a column may have for them.
_KNOWN: Mapping[str, int] = {
    "train": TRAIN, "training": TRAIN,
    "validation": VALIDATION, "valid": VALIDATION, "val": VALIDATION,
    "dev": VALIDATION, "devel": VALIDATION, "development": VALIDATION,
    "test": TEST, "testing": TEST,
}  # fmt: skip
_EXAMPLES = 3

#: Names and texts of rows, by their number.
LookUp = Callable[[Sequence[int]], Mapping[int, tuple[str, str]]]
#: Divides the marked rows among the splits by their shares: rows, shares -> uint8 (rows,).
Divide = Callable[["NDArray[np.bool_]", Shares], "NDArray[np.uint8]"]


def part_named(value: str) -> int | None:
    """The split that a word stands for by itself; None of another word."""
    return _KNOWN.get(value.strip().casefold())


def read_part(value: str | None, split: Split, place: str) -> int:
    """The split that a cell of ``data.split.column`` names.

    Args:
        value: the tidied cell.
        split: the recipe's section.
        place: of the row, for errors.

    Raises:
        DataError: an empty cell, or a name that stands for no split.
    """
    if value is not None and value in split.values:
        return FIXED[split.values[value]]
    part = part_named(value) if value and not split.values else None
    if part is None:
        known = ", ".join(split.values or _KNOWN)
        raise DataError(
            f"the row at {place} has {value or 'nothing'!r} in the column {split.column!r}, which is no split",
            cause=f"known are {known}",
            fix="correct the row, or say under `data.split.values` what each value stands for",
        )
    return part


def place_fixed(index: Index, kept: NDArray[np.bool_], split: Split, *, ties: NDArray[np.int64],
                divide: Divide) -> NDArray[np.uint8]:  # fmt: skip
    """The split of every kept row where some or all have a split of their own, uint8, shape (rows,).

    A split that no row names is cut, at its share, from the rows without one, or from train where all have one; with
    `others: divide` the rows without one are divided in any case. Those that belong together with a row of train stay
    in train.

    Args:
        index: the rows, with ``fixed``.
        kept: those to place.
        split: the recipe's section.
        ties: pairs of rows that must stand together, int64, shape (pairs, 2).
        divide: how rows are divided.

    Raises:
        DataError: no row is left for train.
    """
    fixed = index.fixed if index.fixed is not None else np.full(len(kept), FREE, dtype=np.uint8)
    given = shares_of(split)
    own, free = kept & (fixed == TRAIN), kept & (fixed == FREE)
    divided = split.others == "divide" and free.any()
    validation, test = (
        0.0 if (kept & (fixed == part)).any() and not divided else given[part] for part in (VALIDATION, TEST)
    )
    if not own.any() and not free.any():
        raise DataError(
            "no row is left for train",
            cause="every row, or every source, is for validation or test",
            fix="correct `data.split.column`, `data.split.values` or the sources' `role`",
        )
    cut = own if not free.any() else free & ~_tied_to(index, own, free, ties)
    where = np.full(len(kept), TRAIN, dtype=np.uint8)
    if (validation or test) and cut.any():
        where[cut] = divide(cut, (1 - validation - test, validation, test))[cut]
    for part in (VALIDATION, TEST):
        where[fixed == part] = part
    return where


def _tied_to(
    index: Index, own: NDArray[np.bool_], free: NDArray[np.bool_], ties: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """The free rows that stand in one unit with rows that have their split, bool, shape (rows,)."""
    places = np.flatnonzero(own | free)
    unit, order = find_units(index, places, ties)
    taken = np.zeros(len(order), dtype=bool)
    taken[unit[own[places]]] = True
    found = np.zeros(len(own), dtype=bool)
    found[places] = taken[unit]
    return found & free


@dataclass(frozen=True, kw_only=True)
class Leaks:
    """Rows that stand in a split although a later one (train, validation, test) has the same.

    Attributes:
        rows: by kind (``exact``, ``near``, ``group``) the numbers of the rows, each in the earlier split, int64.
        others: by kind, for each of them a row in the latest split that has it too, int64.
    """

    rows: Mapping[str, NDArray[np.int64]]
    others: Mapping[str, NDArray[np.int64]]

    @property
    def all(self) -> NDArray[np.int64]:
        """The rows of every kind, each once, int64."""
        rows: NDArray[np.int64] = np.unique(np.concatenate(list(self.rows.values())))
        return rows


def find_leaks(
    index: Index, where: NDArray[np.uint8], pairs: NDArray[np.int64] = NO_PAIRS, *, threshold: float = 1
) -> Leaks:
    """What stands in two splits.

    Args:
        index: the rows.
        where: the split of each, other rows do not count, uint8, shape (rows,).
        pairs: near duplicates, int64, shape (pairs, 2).
        threshold: the least similarity of near duplicates.
    """
    placed = np.flatnonzero(where <= TEST)
    _, text = number_keys(*halves(index, placed))
    grouped = placed[index.group[placed] != 0]
    _, group = np.unique(index.group[grouped], return_inverse=True)
    found = {"exact": _leaks_in(placed, text, where), "group": _leaks_in(grouped, group.ravel(), where)}
    if index.sketch is not None:
        there = pairs[(where[pairs] <= TEST).all(axis=1)]
        there = pairs_across(index.sketch, there, where, threshold=threshold)
        there = there[(index.key[there[:, 0]] != index.key[there[:, 1]]).any(axis=1)]  # those are exact
        found["near"] = (there[:, 0], there[:, 1])
    return Leaks(
        rows={kind: rows for kind, (rows, _) in found.items()},
        others={kind: others for kind, (_, others) in found.items()},
    )


def _leaks_in(
    places: NDArray[np.int64], unit: NDArray[np.integer[Any]], where: NDArray[np.uint8]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The rows of units in several splits that do not stand in the unit's latest, and one that does for each."""
    here = where[places]
    order = np.lexsort((places, -here.astype(np.int64), unit))
    _, first = np.unique(unit[order], return_index=True)
    latest = order[first]  # of each unit, the first row in its latest split
    leaking = here < here[latest][unit]
    return places[leaking], places[latest[unit[leaking]]]


def report_leaks(leaks: Leaks, where: NDArray[np.uint8], look_up: LookUp) -> dict[str, Any]:
    """The leaks as plain data, for the profile: see ``ftdeploy/prepare/profile.py``.

    Args:
        leaks: what was found.
        where: the split of each row when it was, uint8, shape (rows,).
        look_up: the names of rows.
    """
    shown = [
        (kind, int(row), int(other))
        for kind, rows in leaks.rows.items()
        for row, other in list(zip(rows, leaks.others[kind], strict=True))[:_EXAMPLES]
    ]
    names = look_up(sorted({number for _, row, other in shown for number in (row, other)}))
    examples: dict[str, list[list[str]]] = {}
    for kind, row, other in shown:
        examples.setdefault(kind, []).append(
            [f"{names[number][0]} ({SPLITS[where[number]]})" for number in (row, other)]
        )
    return {
        "rows": len(leaks.all),
        "by_kind": {kind: len(rows) for kind, rows in leaks.rows.items()},
        "by_split": {name: int((where[leaks.all] == part).sum()) for name, part in FIXED.items() if part != TEST},
        "examples": examples,
    }


def refusal(report: Mapping[str, Any]) -> DataError:
    """The error for what `report_leaks` reports: counts, and up to three pairs of row ids of each kind."""
    words = {"exact": "the same text", "near": "nearly the same text", "group": "the same group"}
    kinds = [
        f"{count:,} with {words[kind]} ("
        + "; ".join(f"{one} and {other}" for one, other in report["examples"][kind])
        + ")"
        for kind, count in report["by_kind"].items()
        if count
    ]
    return DataError(
        f"{report['rows']:,} rows of train or validation stand in a later split too: {', '.join(kinds)}",
        cause="the given splits were cut without regard to repeated texts or groups; scores on them would be too good",
        fix="set `data.split.leakage: drop` to remove them from train and validation, `report` to live with them, or "
        "drop `data.split.column` and `role` so that ftdeploy divides the rows",
    )
