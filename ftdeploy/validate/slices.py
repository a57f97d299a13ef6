"""Parts of the rows that are looked at on their own: an average hides the group that it harms."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ftdeploy.metrics import Ids
from ftdeploy.validate.answers import Answers

_PARTS = 3


@dataclass(frozen=True, kw_only=True)
class Slice:
    """Rows with something in common.

    Attributes:
        slice: what they are cut by.
        value: which part.
        rows: indices, int64, shape (rows of the slice,).
        single_class: all rows have one true label, so that an average over classes would say nothing.
    """

    slice: str
    value: str
    rows: Ids
    single_class: bool


def slices(answers: Answers, *, least: int) -> Iterator[Slice]:
    """Slices by text length (thirds), by label and by each column, with at least ``least`` rows."""
    for name, values in cuts(answers).items():
        for value in dict.fromkeys(sorted(values)):
            rows = np.flatnonzero(np.array([found == value for found in values])).astype(np.int64)
            if least <= len(rows) < len(answers):
                single = len(np.unique(answers.references[rows])) == 1
                yield Slice(slice=name, value=value, rows=rows, single_class=single)


def cuts(answers: Answers) -> dict[str, list[str]]:
    """The part that each row is in, by what the rows are cut by; an empty value is ``(none)``."""
    found = {"text length": _thirds([len(text) for text in answers.texts])}
    found["label"] = [answers.labels[index] for index in answers.references.tolist()]
    return found | {name: [value or "(none)" for value in values] for name, values in answers.columns.items()}


def _thirds(lengths: Sequence[int]) -> list[str]:
    """The third that each text belongs to, in words; equal lengths stay together."""
    edges = sorted({int(edge) for edge in np.quantile(lengths, [1 / _PARTS, 2 / _PARTS])})
    starts = [0, *(edge + 1 for edge in edges)]
    names = [f"{start}-{end} characters" for start, end in zip(starts, edges, strict=False)]
    names.append(f"{starts[-1]} characters and more")
    return [names[int(np.searchsorted(edges, length))] for length in lengths]
