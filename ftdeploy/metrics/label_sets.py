"""Metrics of rows with any number of labels (multi-label classification), as scikit-learn has them on a matrix of rows
and labels: micro averages over all decisions that a label holds, and the macro average of F1 over labels; and a
correlation.

A row's answer is one label, the string of its names (`ftdeploy.label_sets`), so everything that compares class ids
compares rows, and accuracy is that of whole rows (subset accuracy); these metrics look into the strings.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from ftdeploy.label_sets import load
from ftdeploy.metrics import counts
from ftdeploy.metrics.metric import Floats, Ids, divide


def _macro_f1(both: Floats, predicted: Floats, true: Floats) -> Floats:
    """Mean of F1 over the labels that occur among references or predictions."""
    scores, present = divide(2 * both, predicted + true), predicted + true > 0
    return divide((scores * present).sum(axis=-1), present.sum(axis=-1).astype(np.float64))


def _correlation(both: Floats, predicted: Floats, true: Floats, rows: Floats) -> Floats:
    """Gorodkin's (2004) R_K on the matrix of rows and labels: the correlation of what is said of a label with what is
    true of it, over all labels; with one label a row it is Matthews'. A model that says the same of every row has 0."""
    covariance = (rows * both - predicted * true).sum(axis=-1)
    said, held = ((count * (rows - count)).sum(axis=-1) for count in (predicted, true))
    return divide(covariance, np.sqrt(said * held))


def _micro(function: Callable[[Floats, Floats, Floats], Floats]) -> Callable[[Floats, Floats, Floats], Floats]:
    def summed(*parts: Floats) -> Floats:
        return function(*(part.sum(axis=-1, keepdims=True) for part in parts))

    return summed


#: Name -> the function of three counts a label, each of shape (..., labels): said and true, said, true.
FUNCTIONS: Mapping[str, Callable[[Floats, Floats, Floats], Floats]] = {
    "label_f1": _micro(counts.f1),
    "label_precision": _micro(counts.precision),
    "label_recall": _micro(counts.recall),
    "label_macro_f1": _macro_f1,
}
#: The one that also counts the rows, float64, shape (..., 1).
CORRELATION = "label_mcc"
NAMES = (*FUNCTIONS, CORRELATION)


@dataclass(frozen=True)
class LabelSets:
    """A metric of sets of labels as a function of three counts a label.

    Attributes:
        name: of `NAMES`, perhaps with ``:NAME``.
        labels: class id -> the names of a row, as one string.
        only: only this name counts; None counts all.
    """

    name: str
    labels: Sequence[str] = field(repr=False)
    only: str | None = None
    greater_is_better: bool = True
    needs_scores: bool = False

    @cached_property
    def _hot(self) -> Floats:
        """Which names each class id has: 0 or 1, float64, shape (labels, names)."""
        sets = [load(label) for label in self.labels]
        names = [self.only] if self.only is not None else sorted({name for one in sets for name in one})
        place = {name: index for index, name in enumerate(names)}
        found = np.zeros((len(sets), max(1, len(names))))
        for row, one in zip(found, sets, strict=True):
            row[[place[name] for name in one if name in place]] = 1
        return found

    def statistics(self, references: Ids, predictions: Ids, classes: int,  # noqa: ARG002 - the protocol's
                   scores: Floats | None = None) -> Floats:  # noqa: ARG002  # fmt: skip
        """Of each name, whether it is both, said, and true, and 1: float64, shape (rows, 3 x names + 1)."""
        true, said = self._hot[references], self._hot[predictions]
        return np.concatenate([true * said, said, true, np.ones((len(true), 1))], axis=1)

    def value(self, sums: Floats) -> Floats:
        """The function of the counts; 0 where there is nothing to count."""
        kind, parts = self.name.partition(":")[0], np.split(sums[..., :-1], 3, axis=-1)
        if kind == CORRELATION:
            return _correlation(parts[0], parts[1], parts[2], sums[..., -1:])
        return np.asarray(FUNCTIONS[kind](*parts))

    def heaviest(self) -> Ids:
        """Class ids of the rows that weigh most, those with most names first: int64, shape (labels,)."""
        return np.argsort(-self._hot.sum(axis=1), kind="stable").astype(np.int64)


def set_scores(true: Floats, said: Floats) -> dict[str, float]:
    """The metrics on rows as 0 and 1, float64, shape (rows, labels), and the accuracy of whole rows."""
    parts = [part.sum(axis=0) for part in (true * said, said, true)]
    found = {name: float(function(*parts)) for name, function in FUNCTIONS.items()}
    found[CORRELATION] = float(_correlation(parts[0], parts[1], parts[2], np.array([float(len(true))])))
    return found | {"accuracy": float((true == said).all(axis=1).mean())}
