"""Parts of the rows that are looked at on their own: an average hides the group that it harms."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np

from ftdeploy.errors import ConfigError, did_you_mean
from ftdeploy.metrics import Ids
from ftdeploy.suite import Suite
from ftdeploy.validate.answers import Answers, encoded, lengths

#: The column that says which of the suite's cases a row is of, where there are several.
CASE = "case"
_PARTS = 3


@dataclass(frozen=True, kw_only=True)
class Cut:
    """The parts that rows are cut into by one thing.

    Attributes:
        values: names of the parts, sorted.
        codes: the part that each row is in: int64, shape (rows,).
    """

    values: tuple[str, ...]
    codes: Ids

    def parts(self) -> Iterator[tuple[str, Ids]]:
        """(name, indices of the rows) of each part that has rows."""
        order = np.argsort(self.codes, kind="stable")
        ends = np.cumsum(np.bincount(self.codes, minlength=len(self.values)))[:-1]
        for value, rows in zip(self.values, np.split(order, ends), strict=True):
            if len(rows):
                yield value, rows


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


def slices(answers: Answers, *, least: int, by: Collection[str] = ()) -> Iterator[Slice]:
    """Slices by text length (thirds), by label and by each column, with at least ``least`` rows.

    Args:
        answers: the rows.
        least: slices with fewer rows are left out, and so is one that holds all rows.
        by: only these; without any, all.
    """
    for name, cut in cuts(answers).items():
        for value, rows in cut.parts() if not by or name in by else ():
            if least <= len(rows) < len(answers):
                single = len(np.unique(answers.references[rows])) == 1
                yield Slice(slice=name, value=value, rows=rows, single_class=single)


def cuts(answers: Answers) -> dict[str, Cut]:
    """What the rows can be cut by, and the part that each is in; an empty value is ``(none)``."""
    names, place = encoded([answers.task.summary(label) for label in answers.labels])
    found = {
        "text length": _thirds(lengths(answers.texts)),
        "label": Cut(values=tuple(names), codes=place[answers.references]),
    }
    for name, column in answers.columns.items():
        values, codes = encoded(column)
        if "" in values and "(none)" in values:  # of the data itself: one part
            codes = np.where(codes == values.index(""), values.index("(none)"), codes)
        found[name] = Cut(values=tuple(value or "(none)" for value in values), codes=codes)
    return found


def _thirds(counts: Ids) -> Cut:
    """The third that each text belongs to, in words; equal lengths stay together."""
    edges = sorted({int(edge) for edge in np.quantile(counts, [1 / _PARTS, 2 / _PARTS])})
    starts = [0, *(edge + 1 for edge in edges)]
    names = [f"{start}-{end} characters" for start, end in zip(starts, edges, strict=False)]
    names.append(f"{starts[-1]} characters and more")
    return Cut(values=tuple(names), codes=np.searchsorted(edges, counts).astype(np.int64))


def case_rows(suite: Suite, answers: Answers, case: str) -> Ids:
    """The rows of one of the suite's cases: int64, shape (rows,); all rows where no case is named, or
    where there is one only.

    Raises:
        ConfigError: the rows are of other cases, or of none.
    """
    every = np.arange(len(answers), dtype=np.int64)
    if not case or (CASE not in answers.columns and [one.name for one in suite.cases] == [case]):
        return every
    parts: dict[str, Ids] = {}
    if CASE in answers.columns:
        values, codes = encoded(answers.columns[CASE])
        parts = dict(Cut(values=tuple(values), codes=codes).parts())
    if case not in parts:
        raise ConfigError(
            f"suite {suite.name}: a gate names the case {case!r}, and no row is of it",
            cause="none of the case's rows was kept" if parts else "a run judges its own test rows, and has no cases",
            fix=did_you_mean(case, parts) if parts else "leave `case` out of the gates of a run's suite",
        )
    return parts[case]


def of_case(suite: Suite, answers: Answers, case: str) -> Answers:
    """The answers to the rows of one of the suite's cases; see `case_rows`."""
    return answers.take(case_rows(suite, answers, case)) if case else answers


def check_slice(name: str, every: Collection[str], *, suite: str, kind: str) -> None:
    """Whether the rows can be cut by what a gate names.

    Raises:
        ConfigError: they cannot; with what they can be cut by.
    """
    if name not in every:
        raise ConfigError(
            f"suite {suite}: a {kind} gate names the slice {name!r}, and the rows have: {', '.join(every)}",
            cause="it is misspelt, or the column is missing in the `slices` of the data, or in `data.bias.terms`",
            fix=did_you_mean(name, every),
        )
