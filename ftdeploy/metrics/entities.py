"""Metrics of labelled spans: how many are found exactly, boundaries and kind, of those there are.

As seqeval in its strict mode, and as the CoNLL evaluation (Tjong Kim Sang and De Meulder 2003): micro averages over all
spans. A row's answer is one label, the string of its spans (`ftdeploy.spans`), so everything that compares class
ids compares rows; these metrics look into the strings.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ftdeploy.metrics import counts
from ftdeploy.metrics.metric import Floats, Ids
from ftdeploy.spans import grouped, load

#: Name -> the function of three counts, each of shape (..., 1): spans found and true, found, true.
FUNCTIONS: Mapping[str, Callable[[Floats, Floats, Floats], Floats]] = {
    "entity_f1": counts.f1,
    "entity_precision": counts.precision,
    "entity_recall": counts.recall,
}


@dataclass(frozen=True)
class Entities:
    """A metric of spans as a function of three counts a row.

    Attributes:
        name: of `FUNCTIONS`, perhaps with ``:KIND``.
        labels: class id -> the spans of a row, as one string.
        kind: only spans of this kind count; None counts all.
    """

    name: str
    labels: Sequence[str] = field(repr=False)
    kind: str | None = None
    greater_is_better: bool = True
    needs_scores: bool = False

    def statistics(self, references: Ids, predictions: Ids, classes: int,  # noqa: ARG002 - the protocol's
                   scores: Floats | None = None) -> Floats:  # noqa: ARG002  # fmt: skip
        """Spans that are in both, in the prediction, in the truth: float64, shape (rows, 3)."""
        pairs, rows = np.unique(np.stack([references, predictions], axis=1), axis=0, return_inverse=True)
        spans = {label: self._spans(label) for label in np.unique(pairs).tolist()}
        found = [(len(spans[true] & spans[said]), len(spans[said]), len(spans[true])) for true, said in pairs.tolist()]
        return np.asarray(np.array(found, dtype=np.float64).reshape(-1, 3)[rows.reshape(-1)])

    def value(self, sums: Floats) -> Floats:
        """The function of the counts; 0 where there is nothing to count."""
        return np.asarray(FUNCTIONS[self.name.partition(":")[0]](*np.split(sums, 3, axis=-1)))

    def heaviest(self) -> Ids:
        """Class ids of the rows that weigh most, those with most spans first: int64, shape (labels,)."""
        spans = np.array([len(self._spans(label)) for label in range(len(self.labels))])
        return np.argsort(-spans, kind="stable").astype(np.int64)

    def _spans(self, label: int) -> frozenset[tuple[int, int, str]]:
        return frozenset(span for span in load(self.labels[label]) if self.kind in (None, span.kind))


def tag_scores(references: Ids, predictions: Ids, tags: Sequence[str]) -> dict[str, float]:
    """The metrics over words with IOB2 tags, for where nobody has the texts: while training.

    Args:
        references, predictions: tag ids, int64, shape (rows, tokens); where a reference is negative there is no word.
        tags: by id.
    """
    sums = np.zeros(3)
    for true, said in zip(references, predictions, strict=True):
        words = true >= 0
        one, other = (set(grouped(tags[tag] for tag in row[words].tolist())) for row in (true, said))
        sums += len(one & other), len(other), len(one)
    return {name: float(function(*np.split(sums, 3))) for name, function in FUNCTIONS.items()}
