"""How unusual a text is beside others: conformal p-values over vectors.

A text is held against the rows of its label, or of all labels where nobody tells it. How little it conforms is measured
by its mean cosine distance to the `NEAREST` reference rows: to any of them where no label is told; else to those of its
own label, plus what that is more than to those of the closest other label. The first tells what is far from everything,
the second what is of another label. The p-value is the share of the calibration rows, which are no reference rows, that
conform as little, the text itself counted: (1 + #{calibration >= text}) / (1 + #calibration). Of a text from where the
calibration rows are from it is at most ``level`` with a probability of at most ``level``, whatever vectors and measure
are. A large p-value does not say that a text is usual: only that its vector does not show otherwise.

Sources: Vovk, Gammerman & Shafer 2005, "Algorithmic Learning in a Random World" (3.1: nearest neighbours of the own
label and of others); Bates et al. 2023, "Testing for outliers with conformal p-values", Annals of Statistics 51.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ftdeploy.errors import ArtifactError

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Reference rows that a text is held against.
NEAREST = 5
#: Vectors that are compared at the same time, which bounds the memory.
_BLOCK = 512
#: The file of a model folder.
FILE = "populations.npz"


@dataclass(frozen=True, slots=True)
class Populations:
    """The rows of some labels.

    Attributes:
        labels: in order.
        reference: vectors of length 1, float32, shape (rows, dimensions); at least `NEAREST` of each label.
        owners: index of each row's label, int64, shape (rows,).
        calibration: for each label the nonconformity of its calibration rows, float32, ascending.
        together: that of all calibration rows where no label is told, likewise.
    """

    labels: tuple[str, ...]
    reference: NDArray[np.float32]
    owners: NDArray[np.int64]
    calibration: Sequence[NDArray[np.float32]]
    together: NDArray[np.float32]

    def p_values(self, vectors: NDArray[np.float32], label: str | None) -> tuple[NDArray[np.float64], list[str]]:
        """The p-values of texts, and the label that each is nearest to.

        Args:
            vectors: of length 1, float32, shape (texts, dimensions).
            label: of all of them; None where it is not known.
        """
        distances, overall = self.distances(vectors)
        nearest = [self.labels[index] for index in distances.argmin(axis=1)]
        if label is None:
            return _shares(self.together, overall), nearest
        own = self.labels.index(label)
        return _shares(self.calibration[own], _strangeness(distances, own)), nearest

    def distances(self, vectors: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """To each label's reference rows, shape (texts, labels), and to all of them, shape (texts,)."""
        found = np.empty((len(vectors), len(self.labels)), dtype=np.float32)
        overall = np.empty(len(vectors), dtype=np.float32)
        rows = [np.flatnonzero(self.owners == index) for index in range(len(self.labels))]
        for start in range(0, len(vectors), _BLOCK):
            block = slice(start, start + _BLOCK)
            alike = vectors[block] @ self.reference.T
            overall[block] = _mean_distance(alike)
            for index, own in enumerate(rows):
                found[block, index] = _mean_distance(alike[:, own])
        return found, overall


def _mean_distance(alike: NDArray[np.float32]) -> NDArray[np.float32]:
    nearest = np.partition(alike, -NEAREST, axis=1)[:, -NEAREST:]
    return np.asarray(1 - nearest.mean(axis=1), dtype=np.float32)


def _strangeness(distances: NDArray[np.float32], own: int) -> NDArray[np.float32]:
    others = np.delete(distances, own, axis=1)
    if not others.shape[1]:
        return distances[:, own]
    return np.asarray(2 * distances[:, own] - others.min(axis=1), dtype=np.float32)


def _shares(calibration: NDArray[np.float32], nonconformity: NDArray[np.float32]) -> NDArray[np.float64]:
    rows = len(calibration)
    as_little = rows - np.searchsorted(calibration, nonconformity, side="left")
    return np.asarray((1 + as_little) / (1 + rows), dtype=np.float64)


def populations(reference: tuple[NDArray[np.float32], NDArray[np.object_]],
                calibration: tuple[NDArray[np.float32], NDArray[np.object_]],
                *, least: int) -> Populations:  # fmt: skip
    """The populations of the labels that have enough rows, in the order of the alphabet; there may be none.

    Args:
        reference: vectors of length 1, and the labels of their rows.
        calibration: of other rows; those of other labels are left out.
        least: calibration rows that a label must have.
    """
    (vectors, labels), (others, told) = reference, calibration
    names = [
        name for name in sorted(set(labels)) if (labels == name).sum() >= NEAREST and (told == name).sum() >= least
    ]
    kept = np.isin(labels, names)
    owners = np.array([names.index(label) for label in labels[kept]], dtype=np.int64)
    bare = Populations(tuple(names), np.asarray(vectors[kept], dtype=np.float32), owners, [], np.empty(0, np.float32))
    if not names:
        return bare
    known = np.isin(told, names)
    distances, overall = bare.distances(others[known])
    rows = [np.sort(_strangeness(distances[told[known] == name], own)) for own, name in enumerate(names)]
    return Populations(bare.labels, bare.reference, owners, rows, np.sort(overall))


def write_populations(folder: Path, known: Populations) -> None:
    """Write them into a model folder."""
    rows = {f"calibration-{index}": one for index, one in enumerate(known.calibration)}
    np.savez(folder / FILE, labels=np.array(known.labels, dtype=str), reference=known.reference, owners=known.owners,
             together=known.together, **rows)  # fmt: skip


def read_populations(folder: Path) -> Populations:
    """Read those of a model folder.

    Raises:
        ArtifactError: the file is missing or damaged.
    """
    try:
        with np.load(folder / FILE, allow_pickle=False) as found:
            read: Mapping[str, NDArray[np.float32]] = dict(found)
        labels = tuple(str(label) for label in read["labels"])
        rows = [read[f"calibration-{index}"] for index in range(len(labels))]
        return Populations(labels, read["reference"], read["owners"].astype(np.int64), rows, read["together"])
    except (OSError, ValueError, KeyError) as error:
        raise ArtifactError(
            f"{folder / FILE} cannot be read: {error}",
            cause="the bundle is not complete, or damaged",
            fix="make the bundle again",
        ) from error
