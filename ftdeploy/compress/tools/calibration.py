"""Rows that static quantization, SmoothQuant, GPTQ and AWQ look at, as batches that no padding disturbs.

A padded batch would teach a tool two things that are not so: the attention mask adds the lowest float to a padded
position, and a range that holds it has no resolution left for anything else; and padding's activations are counted
although no answer depends on them. So a batch holds rows of one length only.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ftdeploy.errors import DataError
from ftdeploy.signature import Signature

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Feeds = dict[str, NDArray[np.int64]]

#: Rows in a calibration batch.
BATCH = 8
#: Most rows that are looked at: the tools with histograms keep every activation of every row (about 5 MB a row of a
#: six-layer encoder of width 384).
MOST_ROWS = 160
#: Most rows where a factor is searched (AWQ, SmoothQuant's alpha): each matrix is tried on them again and again.
SEARCH_ROWS = 64
#: Most rows that are read of a file, which may hold all training rows. Some are lost where batches have one length.
READ_ROWS = 400


def write_rows(path: Path, rows: Sequence[Sequence[int]], labels: Sequence[int] | None = None) -> None:
    """Write a calibration file: ``ids`` (int64, all rows' token ids in a row), ``lengths`` (int64, tokens of each row).

    Args:
        path: ends in ``.npz``.
        rows: token ids, special tokens included; none empty.
        labels: class ids of the rows, for `ftdeploy.compress.tools.inc.tuned`; ``labels`` (int64) in the file.
    """
    ids = np.concatenate([np.asarray(row, dtype=np.int64) for row in rows])
    lengths = np.array([len(row) for row in rows], dtype=np.int64)
    extra = {} if labels is None else {"labels": np.asarray(labels, dtype=np.int64)}
    np.savez(path, ids=ids, lengths=lengths, **extra)


def read_rows(path: Path) -> tuple[list[NDArray[np.int64]], NDArray[np.int64] | None]:
    """At most `READ_ROWS` rows of a calibration file, at even distances, and their labels where it has them.

    Raises:
        DataError: it is missing or not such a file.
    """
    try:
        with np.load(path) as found:
            ids, lengths = found["ids"], found["lengths"]
            labels = found["labels"] if "labels" in found.files else None
    except (OSError, KeyError, ValueError) as error:
        raise DataError(
            f"{path} cannot be read as calibration rows: {error}",
            cause="the tool wants training rows, and was given none or another file",
            fix="name a file that `ftdeploy.compress.tools.calibration.write_rows` wrote in the option `calibration`",
        ) from error
    chosen = _spread(len(lengths), READ_ROWS)
    ends = np.cumsum(lengths)[chosen]
    rows = [ids[end - length : end] for end, length in zip(ends, lengths[chosen], strict=True)]
    return rows, None if labels is None else labels[chosen]


def _spread(count: int, most: int) -> NDArray[np.int64]:
    """At most so many of the numbers below ``count``, at even distances."""
    return np.arange(min(count, most)) * count // min(count, most)


def batches(rows: Sequence[NDArray[np.int64]], signature: Signature, *, one_length: bool = False,
            most: int = MOST_ROWS) -> list[Feeds]:  # fmt: skip
    """Feeds of a session, in batches of rows of one length.

    Args:
        rows: token ids of each row.
        signature: says which inputs there are.
        one_length: all batches have one shape. Then rows shorter than the median are left out, and longer ones cut
            to it, keeping their closing special token.
        most: of more rows so many are taken, at even distances.
    """
    if one_length:
        length = int(np.median([len(row) for row in rows]))
        rows = [np.append(row[: length - 1], row[-1]) for row in rows if len(row) >= length]
    rows = [rows[index] for index in _spread(len(rows), most)]
    alike: dict[int, list[NDArray[np.int64]]] = defaultdict(list)
    for row in rows:
        alike[len(row)].append(row)
    found: list[Feeds] = []
    for _, group in sorted(alike.items()):
        size = min(BATCH, len(group))
        # An incomplete batch has another shape.
        last = len(group) - len(group) % size if one_length else len(group)
        found.extend(feeds(np.stack(group[start : start + size]), signature) for start in range(0, last, size))
    return found


def feeds(ids: NDArray[np.int64], signature: Signature) -> Feeds:
    """What a session is given for rows without padding: int64, all of the shape of ``ids`` (rows, length)."""
    return signature.feeds(ids, np.ones_like(ids))


class Reader:
    """Batches as ONNX Runtime's and onnx-neural-compressor's quantizers want them: one a call, None at the end."""

    def __init__(self, given: Sequence[Feeds]) -> None:
        self.given = given
        self.rewind()

    def get_next(self) -> Feeds | None:
        """The next batch, or None."""
        return next(self._left, None)

    def rewind(self) -> None:
        """Begin again."""
        self._left = iter(self.given)

    def __iter__(self) -> Iterator[Feeds]:
        return iter(self.given)

    def __len__(self) -> int:
        return len(self.given)


class Loader:
    """Batches as Neural Compressor wants them: pairs of feeds and a label that it does not look at.

    It counts in rows and divides by ``batch_size``; here each batch counts as one.
    """

    batch_size = 1

    def __init__(self, given: Sequence[Feeds]) -> None:
        self.given = given

    def __iter__(self) -> Iterator[tuple[Feeds, int]]:
        for one in self.given:
            yield one, 0

    def __len__(self) -> int:
        return len(self.given)
