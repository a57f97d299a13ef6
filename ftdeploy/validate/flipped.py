"""Rows that the baseline has right and the candidate wrong, as people look at them: on the page and in a CSV."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ftdeploy.files import csv_cell
from ftdeploy.pairs import shown
from ftdeploy.validate.answers import Answers, flips


@dataclass(frozen=True, kw_only=True)
class Flip:
    """A row that the baseline has right and the candidate wrong.

    Attributes:
        row: its index among all rows.
        baseline_score, candidate_score: probability of the label that each answered.
        columns: what the rows can be cut by: column -> the row's value.
    """

    row: int
    id: str
    text: str
    label: str
    baseline: str
    baseline_score: float
    candidate: str
    candidate_score: float
    columns: dict[str, str]


def flipped(answers: Answers) -> Iterator[Flip]:
    """The surest mistakes first; each is read when it is asked for."""
    before, after = answers.baseline, answers.candidate
    for row in flips(answers):
        text = answers.texts[row]
        yield Flip(
            row=row,
            id=answers.ids[row],
            text=shown(text),
            label=answers.shown(answers.references[row], text),
            baseline=answers.shown(before.predictions[row], text),
            baseline_score=float(before.scores[row]),
            candidate=answers.shown(after.predictions[row], text),
            candidate_score=float(after.scores[row]),
            columns={name: values[row] for name, values in answers.columns.items()},
        )


def turned(answers: Answers) -> list[tuple[str, str, int]]:
    """(true label, label that the candidate answers, rows) over all flips, the commonest first."""
    labels, references, now = answers.labels, answers.references, answers.candidate.predictions
    name = answers.task.summary
    counts = Counter((name(labels[references[row]]), name(labels[now[row]])) for row in flips(answers))
    return sorted(((*pair, rows) for pair, rows in counts.items()), key=lambda found: (-found[2], found[:2]))


def write_flips(answers: Answers, path: Path) -> None:
    """Write every flip as a row of CSV that spreadsheets only show."""
    with path.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle)
        scores = ("baseline", "baseline_score", "candidate", "candidate_score")
        writer.writerow(("id", "label", *scores, *map(csv_cell, answers.columns), "text"))
        for flip in flipped(answers):
            # The scores are ours; everything else comes from the data.
            before = (csv_cell(flip.baseline), f"{flip.baseline_score:.4f}")
            after = (csv_cell(flip.candidate), f"{flip.candidate_score:.4f}")
            columns = map(csv_cell, flip.columns.values())
            writer.writerow((csv_cell(flip.id), csv_cell(flip.label), *before, *after, *columns, csv_cell(flip.text)))
