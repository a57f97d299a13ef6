"""Which rows are suspect, by confident learning, in which order; and the list of them for people."""

from __future__ import annotations

import csv
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ftdeploy.dataset import SplitName
from ftdeploy.files import csv_cell
from ftdeploy.pairs import shown as shown_text
from ftdeploy.prepare.quality.predict import Predicted
from ftdeploy.prepare.quality.rows import Rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

Issue = Literal["label", "ambiguous", "outlier"]
_SHOWN_CHARS = 300
#: Two labels of which neither is this much likelier could both be meant.
AMBIGUOUS = 0.1
#: Tukey's inner fence, in interquartile ranges below the lower quartile.
_FENCE = 1.5
_RANKED_BY: Mapping[Issue, str] = {"label": "self_confidence", "ambiguous": "margin", "outlier": "typicality"}
COLUMNS = ("issue", "rank", "split", "id", "label", "suggested", "self_confidence", "margin", "typicality", "action",
           "text")  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Suspects:
    """What was found in one split.

    Attributes:
        self_confidence: probability of the given label, float64, shape (rows,); nan where it is not known.
        margin: between the two likeliest labels, float64, shape (rows,); nan where it is not known.
        typicality: likeness to the nearest training rows, float64, shape (rows,).
        suggested: index of the likeliest label, int64, shape (rows,).
        places: of the rows with each issue, the worst first, int64.
    """

    self_confidence: NDArray[np.float64]
    margin: NDArray[np.float64]
    typicality: NDArray[np.float64]
    suggested: NDArray[np.int64]
    places: Mapping[Issue, NDArray[np.int64]]


def find_suspects(rows: Rows, predicted: Predicted, typicality: NDArray[np.float64]) -> Suspects:
    """The suspect rows of one split.

    Wrong labels: confident learning (Northcutt, Jiang & Chuang 2021; cleanlab, pruned by noise rate), ranked by the
    probability of the given label. Ambiguous: the two likeliest labels are less than `AMBIGUOUS` apart. Outlying: the
    typicality is below Tukey's inner fence (1977).

    Args:
        rows: of the split.
        predicted: what models say that have not learned from them.
        typicality: float64, shape (rows,).
    """
    probabilities, known = predicted.probabilities.astype(np.float64), predicted.known
    confidence = np.where(known, probabilities[np.arange(len(rows)), rows.label], np.nan)
    ordered = np.sort(probabilities, axis=1)
    margin = np.where(known, ordered[:, -1] - ordered[:, -2], np.nan)
    wrong = np.zeros(len(rows), dtype=bool)
    wrong[known] = _label_issues(rows.label[known], probabilities[known])
    return Suspects(
        self_confidence=confidence,
        margin=margin,
        typicality=typicality,
        suggested=probabilities.argmax(axis=1),
        places={
            "label": _ranked(wrong, confidence),
            "ambiguous": _ranked(known & (np.nan_to_num(margin, nan=1.0) < AMBIGUOUS), margin),
            "outlier": _ranked(_below_fence(typicality), typicality),
        },
    )


def noise(rows: Rows, predicted: Predicted, labels: Sequence[str]) -> dict[str, dict[str, float]]:
    """About how many rows with each given label are truly of each label, where that is not the same: the joint
    distribution of confident learning, calibrated to the counts of the given labels.
    """
    from cleanlab.count import estimate_joint  # type: ignore[import-untyped]  # it has no types

    given = rows.label[predicted.known]
    with _quiet():
        joint = estimate_joint(given, predicted.probabilities[predicted.known].astype(np.float64)) * len(given)
    return {
        one: {other: round(float(joint[i, j]), 1) for j, other in enumerate(labels) if i != j}
        for i, one in enumerate(labels)
    }


def _label_issues(label: NDArray[np.int64], probabilities: NDArray[np.float64]) -> NDArray[np.bool_]:
    from cleanlab.filter import find_label_issues  # type: ignore[import-untyped]  # it has no types

    if len(np.unique(label)) < 2:  # noqa: PLR2004 - of one label nothing can be told
        return np.zeros(len(label), dtype=bool)
    with _quiet():
        return np.asarray(find_label_issues(label, probabilities, n_jobs=1), dtype=bool)


@contextmanager
def _quiet() -> Iterator[None]:
    """cleanlab warns of labels with few rows, and of those it finds nothing in; both are in the profile."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield


def _ranked(chosen: NDArray[np.bool_], score: NDArray[np.float64]) -> NDArray[np.int64]:
    places = np.flatnonzero(chosen)
    return places[np.argsort(score[places], kind="stable")].astype(np.int64)


def _below_fence(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    if not len(values):
        return np.zeros(0, dtype=bool)
    low, high = np.quantile(values, [0.25, 0.75])
    return np.asarray(values < low - _FENCE * (high - low))


def write_suspects(path: Path, found: Mapping[SplitName, Suspects], rows: Mapping[SplitName, Rows],
                   labels: Sequence[str], *, acted: NDArray[np.int64], action: str, listed: int) -> None:  # fmt: skip
    """Write ``suspects.csv``: by issue, the worst first, over all splits.

    Args:
        path: the file.
        found: by split.
        rows: by split.
        labels: names, in the order of their ids.
        acted: places of the training rows that the action was applied to.
        action: what that was, in the word that stands in the list.
        listed: most rows of each issue.
    """
    acted_on = {("train", place) for place in acted.tolist()}
    with path.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(COLUMNS)
        for issue, score in _RANKED_BY.items():
            entries = [(name, place) for name, part in found.items() for place in part.places[issue].tolist()]
            entries.sort(key=lambda entry: (getattr(found[entry[0]], score)[entry[1]], entry))
            texts = _texts(rows, entries[:listed])
            for rank, entry in enumerate(entries[:listed], start=1):
                done = action if issue == "label" and entry in acted_on else ""
                shown = _cells(found[entry[0]], rows[entry[0]], entry[1], labels)
                text = shown_text(texts[entry])[:_SHOWN_CHARS]
                writer.writerow((issue, rank, entry[0], *shown, done, csv_cell(text)))


def _texts(rows: Mapping[SplitName, Rows], entries: Sequence[tuple[SplitName, int]]) -> dict[Any, str]:
    found = {}
    for name, part in rows.items():
        places = [place for split, place in entries if split == name]
        picked = part.pick(np.array(places, dtype=np.int64)) if places else []
        found.update({(name, place): text for place, text in zip(places, picked, strict=True)})
    return found


def _cells(found: Suspects, rows: Rows, place: int, labels: Sequence[str]) -> tuple[str, ...]:
    numbers = (found.self_confidence[place], found.margin[place], found.typicality[place])
    known = not np.isnan(numbers[0])
    suggested = labels[found.suggested[place]] if known else ""
    names = (rows.ids[place], labels[rows.label[place]], suggested)
    return (*map(csv_cell, names), *("" if np.isnan(number) else f"{number:.4f}" for number in numbers))
