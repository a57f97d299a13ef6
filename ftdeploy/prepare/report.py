"""What the profile says about near duplicates, the splits and the balance of the labels; and the rows it shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ftdeploy import progress
from ftdeploy.errors import first_of
from ftdeploy.pairs import shown
from ftdeploy.prepare.decide import Decision
from ftdeploy.prepare.leakage import LookUp, report_leaks
from ftdeploy.prepare.near import estimate, find_clusters
from ftdeploy.prepare.split import GAP, LEAK, NEAR_DUPLICATE, TEST, Index
from ftdeploy.prepare.times import periods
from ftdeploy.recipe import DataSettings

if TYPE_CHECKING:
    from numpy.typing import NDArray

_EXAMPLES, _EXAMPLE_CHARS = 3, 80
_CHAINED = 0.1  # share of the rows in one cluster from which on it is told
#: With 20 rows of a label in test its recall is known to about +-0.2 at best; fewer to learn from are hardly learned.
_FEWEST = {"train": 20, "test": 20}
_BATCH_ROWS = 4096


def look_up_in(file: Path) -> LookUp:
    """A function that gives ids and texts of rows of a parquet file, by their numbers; it reads them in one pass."""

    def look_up(rows: Sequence[int]) -> Mapping[int, tuple[str, str]]:
        import pyarrow.parquet as pq

        wanted, found, start = np.unique(np.array(rows, dtype=np.int64)), {}, 0
        with pq.ParquetFile(file, pre_buffer=False) as table:
            for batch in table.iter_batches(batch_size=_BATCH_ROWS, columns=["id", "text"]):
                here = wanted[(wanted >= start) & (wanted < start + batch.num_rows)]
                for row in here.tolist():
                    found[row] = (batch["id"][row - start].as_py(), batch["text"][row - start].as_py())
                start += batch.num_rows
        return found

    return look_up


def report(index: Index, decision: Decision, data: DataSettings, look_up: LookUp) -> dict[str, Any]:
    """The keys ``near_duplicates``, ``leakage`` and ``split_method`` of the profile; each only where it says something.

    Args:
        index: the numbers of the rows.
        decision: what became of them.
        data: the recipe's section.
        look_up: ids and texts of rows.
    """
    made: dict[str, Any] = {}
    if len(decision.pairs):
        made["near_duplicates"] = _near_duplicates(index, decision, data, look_up)
    if decision.leaks is not None and len(decision.leaks.all):
        dropped = int((decision.where == LEAK).sum())
        made["leakage"] = report_leaks(decision.leaks, decision.placed, look_up) | {
            "action": data.split.leakage,
            "dropped": dropped,
        }
        done = f"{dropped:,} were dropped" if dropped else "they stay, so scores on those are too good"
        progress.say(f"{made['leakage']['rows']:,} rows stand in a later split too; {done}")
    if index.fixed is not None:
        made["split_method"] = {"by": "column" if data.split.column else "role", "column": data.split.column}
    elif data.split.by == "time":
        made["split_method"] = {"by": "time", "column": data.columns.time}
    if data.split.by == "time":
        made["split_method"] |= {"periods": periods(index, decision.where), "gap": int((decision.where == GAP).sum())}
    return made


def _near_duplicates(index: Index, decision: Decision, data: DataSettings, look_up: LookUp) -> dict[str, Any]:
    pairs, where = decision.pairs, decision.where
    clusters = find_clusters(pairs)
    sizes = np.bincount(clusters.cluster)
    labels = np.unique(np.stack([clusters.cluster, index.told[clusters.row]], axis=1), axis=0)
    placed = pairs[(where[pairs] <= TEST).all(axis=1)]
    shown = _spread(pairs, clusters.cluster[np.searchsorted(clusters.row, pairs[:, 0])])
    texts = look_up(sorted(set(shown.ravel().tolist())))
    sketches = index.sketch if index.sketch is not None else np.empty((0, 0), dtype=np.uint8)  # pairs are of sketches
    alike = estimate(sketches[shown[:, 0]], sketches[shown[:, 1]])
    if sizes.max() > max(_CHAINED * len(where), 2):
        progress.say(
            f"near duplicates chain {sizes.max():,} of {len(where):,} rows into one cluster that stays on one side of "
            "the split; a higher data.duplicates.threshold or size parts them"
        )
    return {
        "threshold": data.duplicates.threshold,
        "action": data.duplicates.near,
        "pairs": len(pairs),
        "clusters": len(sizes),
        "rows": len(clusters.row),
        "largest": int(sizes.max()),
        "mixed_labels": int((np.bincount(labels[:, 0].astype(np.int64)) > 1).sum()),
        "dropped": int((where == NEAR_DUPLICATE).sum()),
        "across_splits": int((where[placed[:, 0]] != where[placed[:, 1]]).sum()),
        "examples": [
            {
                "ids": [texts[one][0], texts[other][0]],
                "texts": [_shorten(texts[one][1]), _shorten(texts[other][1])],
                "similarity": round(float(similarity), 2),
            }
            for (one, other), similarity in zip(shown.tolist(), alike, strict=True)
        ],
    }


def _spread(pairs: NDArray[np.int64], cluster: NDArray[np.int64]) -> NDArray[np.int64]:
    """Up to three pairs, of different clusters where there are so many; the first of the data in each."""
    ordered = np.sort(pairs, axis=1)
    order = np.lexsort((ordered[:, 1], ordered[:, 0]))
    _, first = np.unique(cluster[order], return_index=True)
    rest = np.setdiff1d(np.arange(len(order)), first)
    return np.asarray(ordered[order[np.concatenate([np.sort(first), rest])[:_EXAMPLES]]], dtype=np.int64)


def _shorten(text: str) -> str:
    text = shown(text)
    return text[:_EXAMPLE_CHARS] + ("..." if len(text) > _EXAMPLE_CHARS else "")


def balance(labels: Mapping[str, Mapping[str, int]], rows: int) -> dict[str, Any]:
    """How the labels are balanced: ``shares`` of the rows of all splits, ``imbalance`` (the most frequent label's
    rows over the rarest's), and ``rare``, the labels with fewer than 20 rows in train or in test, with their rows by
    split.

    Args:
        labels: rows by split and label; where a row has several names, it counts for each.
        rows: of all splits.
    """
    names = sorted({name for counts in labels.values() for name in counts})
    totals = {name: sum(counts.get(name, 0) for counts in labels.values()) for name in names}
    rare = [name for name in names if any(labels[split].get(name, 0) < least for split, least in _FEWEST.items())]
    return {
        "shares": {name: round(count / max(rows, 1), 6) for name, count in totals.items()},
        "imbalance": round(max(totals.values()) / max(1, min(totals.values())), 2),
        "rare": {name: {split: counts.get(name, 0) for split, counts in labels.items()} for name in rare},
    }


def say_balance(found: Mapping[str, Any]) -> None:
    """Tell the balance of the labels in a line, and the rare ones in another."""
    shares = sorted(found["shares"].items(), key=lambda item: -item[1])
    progress.say(f"labels: {first_of([f'{name} {share:.1%}' for name, share in shares], 10)}")
    if found["rare"]:
        rare = [
            f"{name} ({', '.join(f'{rows} in {split}' for split, rows in counts.items())})"
            for name, counts in found["rare"].items()
        ]
        progress.say(f"rare labels, of which little is learned or known: {first_of(rare, 5)}")
