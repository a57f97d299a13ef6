"""The rows of a split as the search for wrong labels sees them: numbers in memory, texts a batch at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ftdeploy.dataset import SPLITS, SplitName, read_batches
from ftdeploy.pairs import each
from ftdeploy.prepare.cleaning.fold import fold, text_key

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Of a text; what comes later seldom decides its label, and one long text must not fill the memory.
CHARS = 2000
_BATCH_ROWS = 1024


@dataclass(frozen=True, kw_only=True)
class Rows:
    """One split.

    Attributes:
        path: its parquet file.
        ids: names of the rows.
        label: index into the labels, int64, shape (rows,).
        chars: length of the text, at most `CHARS`, int64, shape (rows,).
    """

    path: Path
    ids: Sequence[str]
    label: NDArray[np.int64]
    chars: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.label)

    def texts(self) -> Iterator[list[str]]:
        """The texts, shortened to `CHARS`, a batch at a time."""
        for batch in _batches(self.path, ["text"]):
            yield [each(text, _beginning) for text in batch.column("text").to_pylist()]

    def pick(self, places: NDArray[np.int64]) -> list[str]:
        """The shortened texts at these places, in their order."""
        wanted, found, start = set(places.tolist()), {}, 0
        for texts in self.texts():
            found.update({start + n: text for n, text in enumerate(texts) if start + n in wanted})
            start += len(texts)
        return [found[place] for place in places.tolist()]

    def keys(self, seed: int) -> tuple[list[str], list[str | None]]:
        """What says which rows belong together: a hash of each text as duplicates are found by, and the groups."""
        keys: list[str] = []
        groups: list[str | None] = []
        for batch in _batches(self.path, ["text", "group"]):
            keys += [f"{text_key(fold(text), seed)}" for text in batch.column("text").to_pylist()]
            groups += batch.column("group").to_pylist()
        return keys, groups


def _beginning(text: str) -> str:
    return text[:CHARS]


def read_rows(folder: Path, labels: Sequence[str]) -> dict[SplitName, Rows]:
    """The splits that were just written into ``folder``; ``labels`` are the names in the order of their ids."""
    import pyarrow.compute as pc

    number = {name: place for place, name in enumerate(labels)}
    found = {}
    for name in SPLITS:
        path, ids, label, chars = folder / f"{name}.parquet", [], [], []
        for batch in _batches(path, ["id", "label", "text"]):
            ids += batch.column("id").to_pylist()
            label += [number[given] for given in batch.column("label").to_pylist()]
            chars += pc.utf8_length(batch.column("text")).to_pylist()
        found[name] = Rows(
            path=path,
            ids=ids,
            label=np.array(label, dtype=np.int64),
            chars=np.minimum(np.array(chars, dtype=np.int64), CHARS),
        )
    return found


def _batches(path: Path, columns: list[str]) -> Iterator[Any]:
    return read_batches(path, rows=_BATCH_ROWS, columns=columns)
