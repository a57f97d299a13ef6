"""Quality of the rows: labels that are probably wrong, rows that could be either, rows unlike all others, balance.

Confident learning (Northcutt, Jiang & Chuang 2021, with cleanlab) on probabilities of models that have not learned from
the row: those of `ftdeploy cross-validate`, or quick ones made here. The list (``suspects.csv``) is for people; what
the recipe has done by itself (drop, down-weight) is done to training rows only, so that what the model is measured on
stays what it was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from ftdeploy import progress
from ftdeploy.artifact import sha256_file
from ftdeploy.dataset import SPLITS, SplitName
from ftdeploy.errors import DataError, DependencyError
from ftdeploy.prepare.profile import SplitProfile
from ftdeploy.prepare.quality.features import draw_sample, embeddings, tfidf
from ftdeploy.prepare.quality.predict import Predicted, cross_predict, read_predictions, typicality
from ftdeploy.prepare.quality.rows import Rows, read_rows
from ftdeploy.prepare.quality.suspects import Suspects, find_suspects, noise, write_suspects
from ftdeploy.prepare.rewrite import rewrite_train
from ftdeploy.recipe import Quality
from ftdeploy.sources import describe, fingerprint

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LIBRARIES = ("cleanlab", "scikit-learn")
_DONE = {"drop": "dropped", "down-weight": "down-weighted", "report": ""}


def outside(settings: Quality | None) -> dict[str, str]:
    """What decides the result beside the recipe: libraries, the file of predictions, the encoder; {} when off.

    Raises:
        DependencyError: a library of the extra `data` is missing.
        DataError: there is no such file of predictions.
        SourceError: the encoder's folder is missing.
    """
    if settings is None:
        return {}
    try:
        found = {name: version(name) for name in _LIBRARIES}
    except PackageNotFoundError as error:
        raise DependencyError(
            f"`data.quality` wants {error.name}, which is not installed",
            cause="it belongs to the extra `data`",
            fix="pip install 'ftdeploy[data]', or leave `data.quality` out",
        ) from error
    if settings.encoder is not None:
        found |= {f"encoder {key}": value for key, value in fingerprint(settings.encoder).items()}
    if settings.out_of_fold is not None:
        if not settings.out_of_fold.is_file():
            raise DataError(
                f"{settings.out_of_fold} does not exist, and `data.quality.out_of_fold` names it",
                cause="the path is wrong, or `ftdeploy cross-validate` has not run yet",
                fix="run `ftdeploy cross-validate`, or leave `out_of_fold` out for quick models",
            )
        found["out_of_fold"] = sha256_file(settings.out_of_fold)
    return found


def assess(folder: Path, settings: Quality | None, labels: Sequence[str], splits: dict[SplitName, SplitProfile], *,
           seed: int) -> dict[str, Any]:  # fmt: skip
    """Look for suspect rows in the splits that were just written; write ``suspects.csv``; act as the recipe says.

    Args:
        folder: holds the splits.
        settings: the recipe's section; None does nothing.
        labels: names, in the order of their ids.
        splits: the counts of each split; where training rows are dropped, theirs are replaced.
        seed: of folds and sample.

    Returns:
        ``quality`` of ``profile.json``; {} when off.

    Raises:
        ArtifactError: the file of predictions is none.
        DataError: a label has too few rows for the folds, or the predictions belong to other rows.
        SourceError, ModelError: the encoder cannot be had, or is refused.
    """
    if settings is None:
        return {}
    rows = read_rows(folder, labels)
    sample = draw_sample(rows["train"], seed)
    words, pieces = tfidf(rows, sample)
    with TemporaryDirectory(dir=folder, prefix="quality-") as scratch:
        kinds = [words]
        if settings.encoder is not None:
            kinds.append(embeddings(rows, sample, settings.encoder, Path(scratch)))
        if settings.out_of_fold is not None:
            predicted = read_predictions(rows, settings.out_of_fold, labels)
        else:
            predicted = cross_predict(rows, kinds, sample, labels=labels, folds=settings.folds, seed=seed)
        usual = typicality(pieces, sample, rows)
    found = {name: find_suspects(rows[name], predicted[name], usual[name]) for name in SPLITS}
    acted = chosen_rows(found["train"], rows["train"], settings)
    write_suspects(folder / "suspects.csv", found, rows, labels, acted=acted, action=_DONE[settings.action],
                   listed=settings.listed)  # fmt: skip
    splits["train"] = _act(rows["train"], acted, settings, splits["train"])
    described = _describe(rows, predicted, found, labels, settings) | {"acted_on": len(acted)}
    suspects, judged = (sum(part[key] for part in described["splits"].values()) for key in ("suspects", "judged"))
    done = f"{len(acted):,} rows {_DONE[settings.action]}" if len(acted) else "see suspects.csv"
    progress.say(f"{suspects:,} of {judged:,} labels are suspect to models that are right in "
                 f"{described['accuracy']:.0%} of the rows they had not learned from; {done}")  # fmt: skip
    return {"quality": described}


def chosen_rows(found: Suspects, train: Rows, settings: Quality) -> NDArray[np.int64]:
    """Places of the training rows that the action is applied to: the surest, and never all rows of a label."""
    if settings.action == "report":
        return np.zeros(0, dtype=np.int64)
    chosen = found.places["label"][: int(settings.max_share * len(train))]
    left = np.bincount(train.label, minlength=int(train.label.max()) + 1)
    left -= np.bincount(train.label[chosen], minlength=len(left))
    kept: NDArray[np.int64] = chosen[left[train.label[chosen]] > 0]
    return kept


def _act(train: Rows, acted: NDArray[np.int64], settings: Quality, profile: SplitProfile) -> SplitProfile:
    """Do to training rows what the recipe says; returns the counts of what is left."""
    if not len(acted):
        return profile
    if settings.action == "drop":
        keep = np.ones(len(train), dtype=bool)
        keep[acted] = False
        return rewrite_train(train.path, keep=keep, slices=profile.slices)
    factors = np.ones(len(train))
    factors[acted] = settings.weight
    return rewrite_train(train.path, factors=factors, slices=profile.slices)


def _describe(rows: Mapping[SplitName, Rows], predicted: Mapping[SplitName, Predicted],
              found: Mapping[SplitName, Suspects], labels: Sequence[str],
              settings: Quality) -> dict[str, Any]:  # fmt: skip
    train, known = rows["train"], predicted["train"].known
    counts = np.bincount(train.label, minlength=len(labels))
    right = found["train"].suggested[known] == train.label[known]
    source = {"models": "out_of_fold" if settings.out_of_fold else "tfidf + encoder" if settings.encoder else "tfidf"}
    if settings.encoder is not None:
        source["encoder"] = describe(settings.encoder)["source"]
    return source | {
        "accuracy": round(float(right.mean()), 4),
        "splits": {
            name: {
                "judged": int(predicted[name].known.sum()),
                "suspects": len(found[name].places["label"]),
                "ambiguous": len(found[name].places["ambiguous"]),
                "outliers": len(found[name].places["outlier"]),
            }
            for name in SPLITS
        },
        "estimated_noise": noise(train, predicted["train"], labels),
        "balance": {
            "labels": {name: int(count) for name, count in zip(labels, counts, strict=True)},
            "imbalance_ratio": round(float(counts.max() / max(1, counts.min())), 3),
        },
        "action": settings.action,
    }
