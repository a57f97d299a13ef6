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

#: Dimensions in which neighbours are looked for, and how many neighbours.
_DIMENSIONS, _NEIGHBOURS = 100, 10


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


def typicality(features: Features, sample: NDArray[np.int64], rows: Mapping[SplitName, Rows],
               seed: int) -> dict[SplitName, NDArray[np.float64]]:  # fmt: skip
    """How close each row lies to its nearest training rows, float64, shape (rows,) of each split: 0 is far, 1 close.

    cleanlab's out-of-distribution score (Kuan & Mueller 2022): the mean cosine distance to the 10 nearest rows, in the
    100 main directions of the features (latent semantic analysis) where they are sparse.

    Args:
        features: of the texts.
        sample: places of the training rows among which neighbours are looked for.
        rows: of each split.
        seed: of the decomposition.
    """
    from cleanlab.outlier import OutOfDistribution  # type: ignore[import-untyped]  # it has no types
    from scipy.sparse import issparse
    from sklearn.decomposition import TruncatedSVD

    def as_they_are(batch: Any) -> Any:
        return batch

    reduce, known = as_they_are, features.sample
    if issparse(known):
        size = min(_DIMENSIONS, min(known.shape) - 1)
        decomposition = TruncatedSVD(n_components=max(1, size), random_state=seed)
        known, reduce = decomposition.fit_transform(known), decomposition.transform
    finder = OutOfDistribution({"k": min(_NEIGHBOURS, len(sample) - 1)})
    own = finder.fit_score(features=known, verbose=False)
    found = {}
    for name, part in rows.items():
        parts = [finder.score(features=reduce(batch)) for batch in features.batches(name)]
        found[name] = np.concatenate(parts).astype(np.float64) if len(part) else np.zeros(0)
    # A row of the sample would find itself as its nearest neighbour.
    found["train"][sample] = own
    return found
