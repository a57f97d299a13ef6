"""What becomes of each cleaned row: duplicates and near duplicates, the sample, the splits, and what leaks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from ftdeploy import progress
from ftdeploy.errors import DataError
from ftdeploy.prepare.leakage import FIXED, Leaks, LookUp, find_leaks, place_fixed, refusal, report_leaks
from ftdeploy.prepare.near import chain_clusters, find_pairs, most_central
from ftdeploy.prepare.split import (
    DUPLICATE,
    LEAK,
    NEAR_DUPLICATE,
    NO_PAIRS,
    SAMPLED_OUT,
    TRAIN,
    Index,
    Shares,
    assign,
    halves,
    mark_duplicates,
    number_keys,
    sample,
    shares_of,
)
from ftdeploy.prepare.times import assign_by_time
from ftdeploy.recipe import DataSettings, Split
from ftdeploy.tasks import TASKS

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What becomes of the rows, and why.

    Attributes:
        where: a split or another constant of ``ftdeploy.prepare.split`` for each row, uint8, shape (rows,).
        pairs: the near duplicates that were found, int64, shape (pairs, 2).
        leaks: what stood in two of the given splits; None where ftdeploy divided the rows.
        placed: ``where`` before leaking rows were dropped.
    """

    where: NDArray[np.uint8]
    pairs: NDArray[np.int64]
    leaks: Leaks | None
    placed: NDArray[np.uint8]


def decide(index: Index, data: DataSettings, task: str, look_up: LookUp) -> Decision:
    """Decide on every row.

    Args:
        index: the numbers of the cleaned rows.
        data: the recipe's section.
        task: decides which labels can be learned from.
        look_up: names of rows, for the error about leakage.

    Raises:
        DataError: the labels are not fit for the task, one is missing in a split, or the given splits leak.
    """
    marks = mark_duplicates(index)
    if data.duplicates.exact == "keep":
        marks[:] = 0
    pairs = _near_pairs(index, marks == 0, data)
    if data.duplicates.near == "drop":
        marks[_superfluous(index, pairs)] = NEAR_DUPLICATE
    kept = marks == 0
    for number, entry in enumerate(data.entries):
        if entry.rows is not None:
            mine = index.source == number
            kept &= ~mine | sample(index, kept & mine, entry.rows)
    if data.limit is not None:
        kept = sample(index, kept, data.limit)
    counts = index.counts(kept)
    TASKS[task].check_labels(counts)
    _tell_alike(counts)
    ties = chain_clusters(pairs, kept) if data.duplicates.near in ("group", "drop") else NO_PAIRS
    placed = _divide(index, kept, data.split, ties)
    leaks = None if index.fixed is None else find_leaks(index, placed, pairs, threshold=data.duplicates.threshold)
    where = placed
    if leaks is not None and len(leaks.all):
        if data.split.leakage == "error":
            raise refusal(report_leaks(leaks, placed, look_up))
        if data.split.leakage == "drop":
            where = placed.copy()
            where[leaks.all] = LEAK
    if TASKS[task].probabilities:  # of labels that are learned as such
        _check_every_label(index, where, data.split)
    where[marks != 0] = marks[marks != 0]
    return Decision(where=where, pairs=pairs, leaks=leaks, placed=placed)


def _tell_alike(counts: Mapping[str, int]) -> None:
    alike: dict[str, list[str]] = {}
    for name, rows in counts.items():
        if rows:
            alike.setdefault(name.casefold(), []).append(name)
    listed = [" and ".join(map(repr, names)) for names in alike.values() if len(names) > 1]
    if listed:
        progress.say(
            f"labels that differ in case alone are learned as different ones: {', '.join(listed[:5])}; "
            "`label_map` of a source makes them one"
        )


def _near_pairs(index: Index, kept: NDArray[np.bool_], data: DataSettings) -> NDArray[np.int64]:
    """The near duplicates among the texts of the kept rows; of equal texts in one split the first stands for all."""
    if index.sketch is None:
        return NO_PAIRS
    rows = np.flatnonzero(kept)
    within = () if index.fixed is None else (index.fixed[rows],)
    first, _ = number_keys(*halves(index, rows), *within)  # in the order of hashes, not the source's
    rows = rows[first]
    del first  # a number of each row, which the search has a use for
    return find_pairs(index.sketch, rows, threshold=data.duplicates.threshold)


def _superfluous(index: Index, pairs: NDArray[np.int64]) -> NDArray[np.int64]:
    """The rows of near duplicates with one label, in one split, that a more central row stands for."""
    alike = index.told[pairs[:, 0]] == index.told[pairs[:, 1]]
    if index.fixed is not None:
        alike &= index.fixed[pairs[:, 0]] == index.fixed[pairs[:, 1]]
    return np.setdiff1d(pairs[alike], most_central(pairs[alike], index.key[:, 0]))


def _divide(index: Index, kept: NDArray[np.bool_], split: Split, ties: NDArray[np.int64]) -> NDArray[np.uint8]:
    divide = partial(_by_chance_or_time, index, split, ties)
    if index.fixed is None:
        return divide(kept, shares_of(split))
    where = place_fixed(index, kept, split, ties=ties, divide=divide)
    where[~kept] = SAMPLED_OUT
    return where


def _by_chance_or_time(
    index: Index, split: Split, ties: NDArray[np.int64], kept: NDArray[np.bool_], shares: Shares
) -> NDArray[np.uint8]:
    if split.by == "time":
        return assign_by_time(index, kept, ties=ties, shares=shares, gap_days=split.gap_days)
    return assign(index, kept, split, ties=ties, shares=shares)


def _check_every_label(index: Index, where: NDArray[np.uint8], split: Split) -> None:
    """Refuse a label without rows to learn from; and, where chance divides the rows, one missing in any split. Where
    labels are of several names, chance is fair to one of them alone, so there it is told.
    """
    used = [name for name, rows in index.counts(where < DUPLICATE).items() if rows]
    there = {part: index.counts(where == part) for part in FIXED.values()}
    missing = {part: [name for name in used if not counts[name]] for part, counts in there.items()}
    given = index.fixed is not None or split.by == "time"
    listed = [f"{label!r} in {name}" for name, part in FIXED.items() for label in missing[part]]
    if not listed:
        return
    if (given or index.named is not None) and not missing[TRAIN]:
        progress.say(f"a label has no rows in a split, so nothing is known of it there: {', '.join(listed[:10])}")
        return
    raise DataError(
        f"a label has no rows in a split: {', '.join(listed[:10])}",
        cause=_why_missing(index, split),
        fix=_how_to_fill(split, given=given),
    )


def _why_missing(index: Index, split: Split) -> str:
    if split.by == "time":
        return "the label is new: it does not occur in the older rows"
    if index.fixed is not None:
        return "the given splits hold different labels"
    if index.group.any() or split.stratify:
        return "all rows of the label belong to too few groups or near duplicates, which are never divided"
    return "the label is rare, and the rows were divided without regard to labels"


def _how_to_fill(split: Split, *, given: bool) -> str:
    if given:
        return "add rows of that label to train, or remove it"
    if split.stratify:
        return "use a finer `columns.group`, set `data.duplicates.near: report`, or add rows of that label"
    return "set `data.split.stratify: true`"
