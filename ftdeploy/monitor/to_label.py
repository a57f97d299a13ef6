"""Which rows to label next: those the model is least sure of, least like what it knows, and not all alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import rankdata

from ftdeploy.files import csv_cell
from ftdeploy.pairs import TEXT, TEXT_PAIR, as_columns, is_pair

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from ftdeploy.metrics import Floats
    from ftdeploy.monitor.window import Window

#: The columns that a queue begins with, by which it is known again; of these, people fill in the last.
QUEUE = ("request", "row", "time", "predicted", "confidence", "novelty", "label")
#: So many times more rows than wanted are candidates; diversity chooses among them.
_CANDIDATES = 5
_MOST_CANDIDATES = 5000


def to_label(window: Window, scores: Floats, *, count: int, seed: int, unsure: bool = True) -> NDArray[np.int64]:
    """Rows of the window in the order in which to label them, int64, at most ``count``.

    Rows are ranked by uncertainty (1 - confidence) and by novelty (the classifier's score), and the ranks are added.
    Of the best, k-centre greedy (Gonzalez 1985; Sener & Savarese 2018) takes those that are far from one another,
    beginning with the first: any first part of the queue is spread out, too. Rows with a true label, and repeats, are
    left out.

    Args:
        window: the traffic.
        scores: of `classifier_test`, float64, shape (rows,).
        count: how many.
        seed: decides between equal rows.
        unsure: whether the model says how sure it is; where answers are numbers, novelty alone ranks the rows.
    """
    order = np.random.default_rng(seed).permutation(len(window))
    features = window.features
    _, first = np.unique(features.embedding[order], axis=0, return_index=True)
    free = order[np.sort(first)]
    free = free[[window.told[row] is None for row in free.tolist()]]
    if not len(free):
        return np.empty(0, dtype=np.int64)
    wanted = rankdata(scores[free]) + (rankdata(-features.confidence[free]) if unsure else 0)
    best = free[np.argsort(-wanted, kind="stable")[: min(_CANDIDATES * count, _MOST_CANDIDATES)]]
    points = features.embedding[best].astype(np.float64)
    chosen = [0]
    nearest = ((points - points[0]) ** 2).sum(axis=1)
    while len(chosen) < min(count, len(best)):
        nearest[chosen[-1]] = -1
        chosen.append(int(np.argmax(nearest)))
        nearest = np.minimum(nearest, ((points - points[chosen[-1]]) ** 2).sum(axis=1))
    return np.asarray(best[chosen], dtype=np.int64)


def write_queue(path: Path, window: Window, queue: NDArray[np.int64], scores: Floats, labels: tuple[str, ...], *,
                unsure: bool = True) -> None:  # fmt: skip
    """Write the queue as CSV: ``request``, ``row``, ``time``, ``predicted`` (the whole answer as the data writes
    labels, or its summary where that alone was recorded), ``confidence`` (empty where the model is never ``unsure``),
    ``novelty``, an empty ``label`` for whoever labels (`[]` where no label and no entity is right: what stays empty has
    not been looked at), and ``text`` when texts are kept, with ``text_pair`` where these
    are two."""
    import csv

    kept: tuple[str, ...] = (TEXT,) if any(text is not None for text in window.texts) else ()
    kept = (TEXT, TEXT_PAIR) if any(is_pair(text) for text in window.texts if text is not None) else kept
    with path.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow([*QUEUE, *kept])
        for place in queue.tolist():
            features = window.features
            novelty = 1 / (1 + np.exp(-scores[place]))
            cells = [csv_cell(window.ids[place]), int(window.rows[place]), f"{window.times[place]:.3f}",
                     csv_cell(window.answers[place] or labels[features.labels[place]]),
                     f"{features.confidence[place]:.4f}" if unsure else "", f"{novelty:.4f}", ""]  # fmt: skip
            told = as_columns(window.texts[place] or "") if TEXT_PAIR in kept else {TEXT: window.texts[place] or ""}
            writer.writerow([*cells, *(csv_cell(told.get(name, "")) for name in kept)])
