"""Metrics of embeddings: what lies near a row, held against what lies near it by the float model, and its label.

A row's answer is one label, the string of its neighbourhood (`ftdeploy.neighbours`), so everything that compares class
ids compares rows; these metrics look into the strings, as those of entities do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ftdeploy.metrics.metric import Floats, Ids, divide
from ftdeploy.neighbours import Neighbourhood, load


def agreement(true: Neighbourhood, said: Neighbourhood) -> tuple[float, float]:
    """Share of the float model's nearest rows that are among the nearest; where there are none all agree."""
    common = len(set(true.rows) & set(said.rows))
    return (common / len(true.rows) if true.rows else 1.0), 1.0


def same_label(true: Neighbourhood, said: Neighbourhood) -> tuple[float, float]:
    """Whether the nearest row has the row's own label; rows without one do not count."""
    return float(bool(true.label) and true.label == said.label), float(bool(true.label))


#: Name -> the function of what is true and what is said: (what is right, what it is out of).
FUNCTIONS: Mapping[str, Callable[[Neighbourhood, Neighbourhood], tuple[float, float]]] = {
    "neighbour_agreement": agreement,
    "neighbour_accuracy": same_label,
}
#: The one that wants rows with labels.
OF_LABELS = "neighbour_accuracy"


def labelled(labels: Sequence[str]) -> bool:
    """Whether any neighbourhood has a label."""
    return any(load(label).label for label in labels)


@dataclass(frozen=True)
class Neighbours:
    """A metric of neighbourhoods as a mean over rows. Rows are taken as drawn singly; that they are neighbours of one
    another is not accounted for.

    Attributes:
        name: of `FUNCTIONS`.
        labels: class id -> the neighbourhood of a row, as one string.
    """

    name: str
    labels: Sequence[str] = field(repr=False)
    greater_is_better: bool = True
    needs_scores: bool = False

    def statistics(self, references: Ids, predictions: Ids, classes: int,  # noqa: ARG002 - the protocol's
                   scores: Floats | None = None) -> Floats:  # noqa: ARG002  # fmt: skip
        """What is right of a row, and what it is out of: float64, shape (rows, 2)."""
        known = {label: load(self.labels[label]) for label in np.union1d(references, predictions).tolist()}
        function = FUNCTIONS[self.name]
        pairs = zip(references.tolist(), predictions.tolist(), strict=True)
        return np.array([function(known[true], known[said]) for true, said in pairs], dtype=np.float64).reshape(-1, 2)

    def value(self, sums: Floats) -> Floats:
        """The mean; 0 where no row counts."""
        return divide(sums[..., 0], sums[..., 1])

    def heaviest(self) -> Ids:
        """Class ids, such that the first ones have different labels and lie apart: int64, shape (labels,)."""
        seen: dict[str, int] = {}
        turns = []
        for place in np.random.default_rng(0).permutation(len(self.labels)).tolist():
            label = load(self.labels[place]).label
            turns.append((seen.setdefault(label, 0), place))
            seen[label] += 1
        return np.array([place for _, place in sorted(turns)], dtype=np.int64)
