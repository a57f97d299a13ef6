"""Folds of rows, and the predictions that a model made for rows that it had not learned from.

Cross-validation writes out-of-fold predictions and the search for wrong labels reads them, so both meet here.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ftdeploy.errors import ArtifactError, DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Key of the parquet schema's metadata under which the label names stand, as a JSON list.
_LABELS = b"labels"
_COLUMNS = ("id", "label", "fold", "probabilities")


def tie_rows(texts: Sequence[str], groups: Sequence[str | None],
             ties: NDArray[np.int64] | None = None) -> NDArray[np.int64]:  # fmt: skip
    """The unit of each row, int64, shape (rows,): rows of one unit must stand in one fold.

    A unit is a connected component of rows that share a text (case and white space aside) or a group, or are tied.

    Args:
        texts: of the rows.
        groups: of the rows; None for a row without one.
        ties: pairs of rows that belong together otherwise (near duplicates), int64, shape (pairs, 2).
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    text_ids = _number([" ".join(text.casefold().split()) for text in texts])
    tied = np.array([group is not None for group in groups], dtype=bool)
    group_ids = _number([group for group in groups if group is not None]) + len(texts)
    # Nodes: texts, then groups. A row ties its text to its group; a row without a group ties nothing.
    pairs = np.empty((0, 2), dtype=np.int64) if ties is None else ties
    ends = (
        np.concatenate([text_ids[tied], text_ids[pairs[:, 0]]]),
        np.concatenate([group_ids, text_ids[pairs[:, 1]]]),
    )
    graph = coo_array((np.ones(len(ends[0]), dtype=np.int8), ends), shape=(2 * len(texts), 2 * len(texts)))
    _, component = connected_components(graph, directed=False)
    return _number(component[text_ids].tolist())


def assign_folds(labels: Sequence[Hashable], groups: Sequence[Hashable] | None, *, folds: int, seed: int,
                 ids: Sequence[str] | None = None) -> NDArray[np.int64]:  # fmt: skip
    """The fold of each row, 0 to folds - 1, int64, shape (rows,).

    Folds have the labels in alike shares (scikit-learn's StratifiedKFold), and no group stands in two of them
    (StratifiedGroupKFold). Equal input and seed, equal folds; with ``ids``, also for the rows in another order.

    Args:
        labels: of the rows.
        groups: rows of one group stay together; None, for a row or for all, is a row by itself.
        folds: how many, at least two.
        seed: of the order in which rows are dealt out.
        ids: a name for each row; the rows are dealt out in the order of its hash. Without, in the order given.

    Raises:
        DataError: a fold would lack a label.
    """
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    order = np.arange(len(labels))
    if ids is not None:
        order = np.array(sorted(range(len(ids)), key=lambda row: _hash(ids[row], seed)), dtype=np.int64)
    names = _number([labels[row] for row in order])
    units = _unit_numbers(groups, order)
    _check_enough(labels, order, names, units, folds)
    grouped = len(np.unique(units)) < len(units)
    kind = StratifiedGroupKFold if grouped else StratifiedKFold
    divider = kind(n_splits=folds, shuffle=True, random_state=seed)
    fold = np.empty(len(labels), dtype=np.int64)
    for number, (_, held_out) in enumerate(divider.split(np.zeros(len(names)), names, units if grouped else None)):
        fold[order[held_out]] = number
    _check_every_label(labels, fold, folds)
    return fold


def hold_out(labels: Sequence[Hashable], groups: Sequence[Hashable] | None, *, share: float, seed: int,
             ids: Sequence[str]) -> NDArray[np.bool_]:  # fmt: skip
    """Which rows to hold out for validation, bool, shape (rows,): about ``share`` of each label, groups undivided.

    Units are taken in the order of a hash while their labels are still wanted. Of every label at least one unit stays;
    one that stands in a single unit is not held out. Where every unit is larger than what is wanted, the smallest that
    may go is held out; where none may, nothing is.

    Args:
        labels: of the rows.
        groups: rows of one group stay together; None is a row by itself.
        share: of the rows of each label.
        seed: of the order.
        ids: a name for each row.
    """
    order = np.array(sorted(range(len(ids)), key=lambda row: _hash(ids[row], seed)), dtype=np.int64)
    units = _unit_numbers(groups, order)
    names = _number([labels[row] for row in order])
    totals = np.bincount(names)
    wanted = np.maximum(1, np.rint(totals * share)).astype(np.int64).tolist()
    left = totals.tolist()
    members: list[list[int]] = [[] for _ in range(int(units.max(initial=-1)) + 1)]
    for place, unit in enumerate(units.tolist()):
        members[unit].append(place)
    chosen = np.zeros(len(labels), dtype=bool)
    spare: list[list[int]] = []
    for places in members:
        content = Counter(names[places].tolist())
        useful = sum(min(count, max(0, wanted[name])) for name, count in content.items())
        if any(left[name] <= count for name, count in content.items()):
            continue
        if 2 * useful <= len(places):
            spare.append(places)
            continue
        chosen[order[places]] = True
        for name, count in content.items():
            wanted[name] -= count
            left[name] -= count
    if spare and not chosen.any():
        chosen[order[min(spare, key=len)]] = True
    return chosen


@dataclass(frozen=True, kw_only=True)
class OutOfFold:
    """What models answered for rows that they had not learned from.

    Attributes:
        ids: name of each row.
        labels: the label of each row in the data, a text.
        fold: the fold in which the row was held out, int64, shape (rows,).
        probabilities: float32, shape (rows, labels), in the order of ``names``.
        names: the labels.
    """

    ids: tuple[str, ...]
    labels: tuple[str, ...]
    fold: NDArray[np.int64]
    probabilities: NDArray[np.float32]
    names: tuple[str, ...]

    def write(self, path: Path) -> None:
        """Write one parquet file: columns id, label, fold, probabilities (list of float32)."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        types = (pa.string(), pa.string(), pa.int32(), pa.list_(pa.float32()))
        names = json.dumps(list(self.names), ensure_ascii=False).encode()
        schema = pa.schema(list(zip(_COLUMNS, types, strict=True)), metadata={_LABELS: names})
        columns = [list(self.ids), list(self.labels), self.fold.astype(np.int32), list(self.probabilities)]
        table = pa.table(
            [pa.array(values, type=field.type) for values, field in zip(columns, schema, strict=True)], schema=schema
        )
        pq.write_table(table, path)

    @classmethod
    def read(cls, path: Path) -> OutOfFold:
        """Read what `write` wrote.

        Raises:
            ArtifactError: it is no such file.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            table = pq.read_table(path)
            names = tuple(json.loads(table.schema.metadata[_LABELS]))
            columns = [table[name].to_pylist() for name in _COLUMNS]
            probabilities = np.array(columns[3], dtype=np.float32).reshape(len(table), len(names))
        except (OSError, pa.ArrowException, KeyError, TypeError, ValueError) as error:
            raise ArtifactError(
                f"{path} does not hold out-of-fold predictions",
                cause="it is damaged, or was made by something else than `ftdeploy cross-validate`",
                fix="run `ftdeploy cross-validate` again",
            ) from error
        ids, labels, fold = columns[:3]
        return cls(
            ids=tuple(ids),
            labels=tuple(labels),
            fold=np.array(fold, dtype=np.int64),
            probabilities=probabilities,
            names=names,
        )


def _number(values: Sequence[Hashable]) -> NDArray[np.int64]:
    """Equal values, equal numbers, counted from 0 in the order of their first appearance: int64, shape (values,)."""
    seen: dict[Hashable, int] = {}
    return np.array([seen.setdefault(value, len(seen)) for value in values], dtype=np.int64)


def _hash(name: str, seed: int) -> bytes:
    key = seed.to_bytes(8, "little")
    return hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=16, key=key).digest()


def _unit_numbers(groups: Sequence[Hashable] | None, order: NDArray[np.int64]) -> NDArray[np.int64]:
    """The unit of each row in the order given; a row without a group is one by itself."""
    if groups is None:
        return np.arange(len(order))
    found = [groups[row] for row in order]
    return _number([(0, place) if group is None else (1, group) for place, group in enumerate(found)])


def _check_enough(labels: Sequence[Hashable], order: NDArray[np.int64], names: NDArray[np.int64],
                  units: NDArray[np.int64], folds: int) -> None:  # fmt: skip
    pairs = np.unique(np.stack([names, units], axis=1), axis=0)
    counts = np.bincount(pairs[:, 0]) if len(pairs) else np.zeros(1, dtype=np.int64)
    if int(counts.min()) >= folds:
        return
    rarest = int(counts.argmin())
    name = repr(labels[order[np.flatnonzero(names == rarest)[0]]]) if len(names) else "any"
    raise DataError(
        f"{folds} folds want {folds} rows or groups of each label; {name} has {int(counts[rarest])}",
        cause="the label is rare, or its rows belong to few groups, which are never divided",
        fix="ask for fewer folds, use a finer `data.columns.group`, or add rows of that label",
    )


def _check_every_label(labels: Sequence[Hashable], fold: NDArray[np.int64], folds: int) -> None:
    every = set(labels)
    for number in range(folds):
        absent = every - {labels[row] for row in np.flatnonzero(fold == number)}
        if absent:
            raise DataError(
                f"fold {number + 1} of {folds} would have no row labelled {min(map(str, absent))!r}",
                cause="large groups, which are never divided, leave some labels to too few folds",
                fix="ask for fewer folds, or use a finer `data.columns.group`",
            )
