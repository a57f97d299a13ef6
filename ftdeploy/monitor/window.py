"""The traffic that is looked at: rows of segments in the order of time, as arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ftdeploy.drift import WIDTH, Features
from ftdeploy.errors import DataError
from ftdeploy.pairs import of_columns
from ftdeploy.traffic import read_traffic

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ftdeploy.tasks import Task


@dataclass(frozen=True, kw_only=True)
class Window:
    """Answered texts, the oldest first; all entries are aligned.

    Attributes:
        ids: request ids.
        rows: index of each text in its request, int64.
        times: unix seconds, float64.
        features: see `Features`.
        truths: class ids of what is true (of summaries, see `ftdeploy.tasks.Task`) where feedback told it, else -1;
            int64. Of numbers, which are all called alike, none is known.
        told: the true labels as the data writes them; None where nobody told.
        answers: likewise what was answered; None where only its summary was recorded.
        texts: where they are kept, else None.
        languages: as guessed; empty strings where they are not.
        skipped: rows that are left out: of another bundle, or with a label that this one does not have.
    """

    ids: Sequence[str]
    rows: NDArray[np.int64]
    times: NDArray[np.float64]
    features: Features
    truths: NDArray[np.int64]
    told: Sequence[str | None]
    answers: Sequence[str | None]
    texts: Sequence[str | None]
    languages: Sequence[str]
    skipped: int = 0

    def __len__(self) -> int:
        return len(self.ids)


def read_window(folder: Path, task: Task, labels: Sequence[str], *, digest: str, since: float | None = None,
                until: float | None = None) -> Window:  # fmt: skip
    """Read a folder of traffic.

    Args:
        folder: where the service writes its segments.
        task: of the bundle.
        labels: summaries of its answers, in the order of their ids.
        digest: of the bundle; rows of others are skipped.
        since: unix seconds; earlier rows are left out.
        until: unix seconds; this row and later ones are left out.

    Raises:
        DataError: there is no such folder.
        TrafficError: it is encrypted and the key is missing or another one, or a file was changed.
    """
    if not folder.is_dir():
        raise DataError(
            f"there is no traffic in {folder}",
            cause="nothing was served yet, recording is off, or it goes elsewhere",
            fix="serve the bundle first, or name the folder with --traffic",
        )
    known = {label: number for number, label in enumerate(labels)}
    kept, skipped = [], 0
    for row in read_traffic(folder):
        if (since is not None and row["time"] < since) or (until is not None and row["time"] >= until):
            continue
        if row["digest"] == digest and row["label"] in known and len(row["embedding"]) == WIDTH:
            kept.append(row)
        else:
            skipped += 1
    kept.sort(key=lambda row: (row["time"], row["id"], row["row"]))
    return _window(kept, task, known, skipped)


def _window(kept: Sequence[Mapping[str, Any]], task: Task, known: Mapping[str, int], skipped: int) -> Window:
    embedding = np.array([row["embedding"] for row in kept], dtype=np.float32).reshape(len(kept), WIDTH)
    return Window(
        ids=[row["id"] for row in kept],
        rows=np.array([row["row"] for row in kept], dtype=np.int64),
        times=np.array([row["time"] for row in kept], dtype=np.float64),
        features=Features(
            labels=np.array([known[row["label"]] for row in kept], dtype=np.int64),
            confidence=np.array([row["confidence"] for row in kept], dtype=np.float64),
            tokens=np.array([row["tokens"] for row in kept], dtype=np.float64),
            unknown=np.array([row["unknown"] for row in kept], dtype=np.float64),
            truncated=np.array([row["truncated"] for row in kept], dtype=np.bool_),
            embedding=embedding,
        ),
        truths=np.array([_truth(row["true_label"], task, known) for row in kept], dtype=np.int64),
        told=[row["true_label"] for row in kept],
        answers=[row["label"] if task.one_label else row.get("answer") for row in kept],
        texts=[of_columns(row) for row in kept],
        languages=[row.get("language") or "" for row in kept],
        skipped=skipped,
    )


def _truth(label: str | None, task: Task, known: Mapping[str, int]) -> int:
    """Class id of the summary of a true label; -1 where there is none, or none that this bundle knows."""
    if label is None or task.number:
        return -1
    try:
        return known.get(task.summary(label), -1)
    except ValueError:  # it was told to a bundle of another task
        return -1
