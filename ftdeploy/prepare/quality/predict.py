"""What models say of rows that they have not learned from, and how unlike the others each row is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ftdeploy.dataset import SPLITS, SplitName
from ftdeploy.errors import DataError
from ftdeploy.folds import OutOfFold, assign_folds, tie_rows
from ftdeploy.prepare.quality.features import Features
from ftdeploy.prepare.quality.rows import Rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Nearest rows that a row is held against, and among how many they are looked for.
_NEIGHBOURS, _NEIGHBOURHOOD = 10, 5000


@dataclass(frozen=True, kw_only=True)
class Predicted:
    """Of one split.

    Attributes:
        known: which rows there are probabilities for, bool, shape (rows,).
        probabilities: float32, shape (rows, labels); zeros for rows that are not known.
    """

    known: NDArray[np.bool_]
    probabilities: NDArray[np.float32]


def cross_predict(rows: Mapping[SplitName, Rows], features: Sequence[Features], sample: NDArray[np.int64], *,
                  labels: Sequence[str], folds: int, seed: int) -> dict[SplitName, Predicted]:  # fmt: skip
    """Probabilities by logistic regression: of a training row by the model of the other folds, of a row of another
    split the mean of all. Several kinds of features: the mean of theirs.

    Args:
        rows: of each split.
        features: of their texts, one or more kinds.
        sample: places of the training rows that models are fitted on.
        labels: their names, in the order of their ids.
        folds: of the training rows, stratified and grouped.
        seed: of the folds.

    Raises:
        DataError: a label has too few rows for so many folds.
    """
    train = rows["train"]
    keys, groups = train.keys(seed)
    units = tie_rows(keys, groups).tolist()
    named = [labels[number] for number in train.label.tolist()]
    fold = assign_folds(named, units, folds=folds, seed=seed, ids=train.ids)
    found = {name: np.zeros((len(part), len(labels)), dtype=np.float32) for name, part in rows.items()}
    for kind in features:
        models = [_fit(kind.sample[held_in], train.label[sample][held_in])
                  for held_in in (fold[sample] != number for number in range(folds))]  # fmt: skip
        for name in SPLITS:
            start = 0
            for batch in kind.batches(name):
                here = slice(start, start + batch.shape[0])
                start += batch.shape[0]
                answers = np.stack([_answer(model, batch, len(labels)) for model in models])
                own = answers[fold[here], np.arange(len(answers[0]))] if name == "train" else answers.mean(axis=0)
                found[name][here] += own / len(features)
    return {name: Predicted(known=np.ones(len(made), dtype=bool), probabilities=made) for name, made in found.items()}


def _fit(matrix: Any, label: NDArray[np.int64]) -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=1.0, max_iter=1000).fit(matrix, label)


def _answer(model: Any, batch: Any, labels: int) -> NDArray[np.float32]:
    made = np.zeros((batch.shape[0], labels), dtype=np.float32)
    made[:, model.classes_] = model.predict_proba(batch)
    return made


def read_predictions(rows: Mapping[SplitName, Rows], path: Path, labels: Sequence[str]) -> dict[SplitName, Predicted]:
    """The probabilities of a file of `ftdeploy cross-validate`, row by row.

    Args:
        rows: of each split.
        path: the file.
        labels: names, in the order of their ids.

    Raises:
        ArtifactError: it is no such file.
        DataError: it was made from other rows, or ids do not name rows.
    """
    file = OutOfFold.read(path)
    places = {name: place for place, name in enumerate(file.ids)}
    twice = next((name for name, count in Counter(file.ids).items() if count > 1), None)
    if twice is not None or sorted(file.names) != sorted(labels):
        what = f"two rows named {twice!r}" if twice is not None else f"the labels {', '.join(file.names)}"
        raise DataError(
            f"{path.name} has {what}, so its predictions cannot be told apart by row and label",
            cause="`data.columns.id` names a column whose values repeat, or the file belongs to other data",
            fix="name a column that is different in each row, or none, and run `ftdeploy cross-validate` again",
        )
    order = [file.names.index(name) for name in labels]
    found = {}
    for name, part in rows.items():
        at = np.array([places.get(row, -1) for row in part.ids], dtype=np.int64)
        wrong = [row for row, place, label in zip(part.ids, at.tolist(), part.label.tolist(), strict=True)
                 if place >= 0 and file.labels[place] != labels[label]]  # fmt: skip
        if wrong or (name == "train" and not (at >= 0).any()):
            what = f"gives row {wrong[0]!r} another label than the data" if wrong else "has none of the training rows"
            raise DataError(
                f"{path.name} {what}",
                cause="it was made from other rows, or the rows changed since",
                fix="run `ftdeploy cross-validate` on this recipe again, without `data.quality.action`",
            )
        made = np.zeros((len(part), len(labels)), dtype=np.float32)
        made[at >= 0] = file.probabilities[at[at >= 0]][:, order]
        found[name] = Predicted(known=at >= 0, probabilities=made)
    return found


def typicality(pieces: Features, sample: NDArray[np.int64],
               rows: Mapping[SplitName, Rows]) -> dict[SplitName, NDArray[np.float64]]:  # fmt: skip
    """How like its nearest training rows each row is, float64, shape (rows,) of each split: 0 unlike all, 1 the same.

    The mean cosine similarity to the 10 nearest rows (Ramaswamy, Rastogi & Shim 2000), in TF-IDF of pieces of words.
    Tried on planted lines of code, numbers and another language: with words, with latent semantic analysis before, and
    by isolation forest they stood far further down the list.

    Args:
        pieces: features of the texts.
        sample: places of the training rows that they were fitted on.
        rows: of each split.
    """
    from sklearn.neighbors import NearestNeighbors

    among = np.random.default_rng(len(sample)).permutation(len(sample))[:_NEIGHBOURHOOD]
    among.sort()
    count = min(_NEIGHBOURS, len(among) - 1)
    finder = NearestNeighbors(n_neighbors=count, metric="cosine", algorithm="brute").fit(pieces.sample[among])
    found = {}
    for name, part in rows.items():
        parts = [1 - finder.kneighbors(batch)[0].mean(axis=1) for batch in pieces.batches(name)]
        found[name] = np.concatenate(parts).astype(np.float64) if len(part) else np.zeros(0)
    # Without rows to query, a row is no neighbour of its own.
    found["train"][sample[among]] = 1 - finder.kneighbors()[0].mean(axis=1)
    return found
