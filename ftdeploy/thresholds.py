"""How sure a label must be to be the answer: least scores, given by the recipe or found on validation rows.

A calibrated one is the smallest of `TRIED` scores at which the label's precision, by the exact bound of Clopper and
Pearson (1934), is what was asked for. Each of them gets its share of the error (Bonferroni), so that the bound holds
for the one that is chosen, too: with plain bounds, one of ten would often pass by chance.

One that keeps a share of the answers is a quantile of split conformal prediction (Vovk, Gammerman & Shafer 2005; Lei et
al. 2018): of a new row of the same kind, the score is below the k-th smallest of n others with a probability of at most
k / (n + 1). The score is the likeliest label's probability, as is usual to tell rows of no known label (Hendrycks &
Gimpel 2017, "A Baseline for Detecting Misclassified and Out-of-Distribution Examples").
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ftdeploy.errors import ConfigError, Problem, did_you_mean
from ftdeploy.recipe import ThresholdSettings
from ftdeploy.statistics import share

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ftdeploy.metrics import Floats, Ids

#: Thresholds that are tried for a label: the scores that keep all of its rows, nine tenths of them, and so on.
TRIED = 10


def least_scores(settings: ThresholdSettings, labels: Sequence[str], probabilities: NDArray[np.float32],
                 references: Ids) -> dict[str, float]:  # fmt: skip
    """The least score of each label that has one.

    Args:
        settings: ``package.thresholds``.
        labels: class id -> label.
        probabilities: of validation rows, as they are served: shape (rows, labels).
        references: their true class ids, int64, shape (rows,).

    Raises:
        ConfigError: a score is of a label that the model does not have, no score gives a label the precision that
            was asked for, or there are too few rows to keep a share of them.
    """
    _check_names(settings, labels)
    found = dict(settings.scores)
    others = [label for label in labels if label not in found and label != settings.fallback]
    if settings.score is not None:
        found |= dict.fromkeys(others, settings.score)
    predictions, best = probabilities.argmax(axis=1), probabilities.max(axis=1).astype(np.float64)
    if settings.keep is not None:
        rows = np.isin(predictions, [labels.index(label) for label in others])
        found |= dict.fromkeys(others, keeping(best[rows], settings.keep))
    if settings.precision is None:
        return {label: found[label] for label in labels if label in found}
    problems = []
    for label in others:
        rows = predictions == labels.index(label)
        score, bound = calibrated(best[rows], references[rows] == labels.index(label), settings)
        if score is not None:
            found[label] = score
        else:
            words = f"{label!r}: none of {rows.sum():,} rows is enough; the best lower bound is {bound:.3f}"
            problems.append(Problem(path=f"package.thresholds.scores.{label}", message=words))
    if problems:
        raise ConfigError(
            f"{len(problems)} label(s) reach a precision of {settings.precision:g} at no score of the validation rows",
            cause=f"too few validation rows to tell (at least {enough(settings)} right ones of a label), or the model "
            "is not as precise",
            fix="ask for less, add validation rows, or name a score for these labels; at a score of 1 hardly any text "
            "gets them",
            problems=problems,
        )
    return {label: found[label] for label in labels if label in found}


def _check_names(settings: ThresholdSettings, labels: Sequence[str]) -> None:
    problems = [
        Problem(path=f"package.thresholds.scores.{label}", message=f"{label!r} is not a label of the model",
                hint=did_you_mean(label, labels))
        for label in settings.scores if label not in labels
    ]  # fmt: skip
    if problems:
        raise ConfigError(
            f"package.thresholds names {len(problems)} label(s) that the model does not have",
            cause="a label is misspelt, or the data has changed",
            fix="correct them",
            problems=problems,
        )


def calibrated(scores: Floats, right: NDArray[np.bool_], settings: ThresholdSettings) -> tuple[float | None, float]:
    """The smallest score that is precise enough, or None; and the best lower bound of the precision at any.

    Args:
        scores: of the rows that the model gives a label, float64, shape (rows,).
        right: whether it is theirs, shape (rows,).
        settings: with a ``precision``.
    """
    confidence = 1 - (1 - settings.confidence) / TRIED
    best = 0.0
    ordered = np.sort(scores)
    for tried in range(TRIED if len(ordered) else 0):
        # Rounded up: a threshold must not let in what it was not judged with.
        least = math.ceil(float(ordered[tried * len(ordered) // TRIED]) * 1e4) / 1e4 if tried else 0.0
        kept = scores >= least
        if not kept.any():
            continue
        lower = share(int(right[kept].sum()), int(kept.sum()), confidence).lower
        best = max(best, lower)
        if settings.precision is not None and lower >= settings.precision:
            return least, lower
    return None, best


def keeping(scores: Floats, keep: float) -> float:
    """The largest score, to four digits, that a new row reaches with a probability of at least ``keep``.

    Args:
        scores: of rows like it, float64, shape (rows,).
        keep: above 0 and below 1.

    Raises:
        ConfigError: there are too few rows to tell.
    """
    below = math.floor((1 - keep) * (len(scores) + 1) + 1e-9)  # 1 - 0.95 is a little less than it should be
    if not below:
        raise ConfigError(
            f"{len(scores):,} validation rows are too few to keep {keep:g} of the answers",
            cause=f"one row of {math.ceil(1 / (1 - keep) - 1e-9) - 1:,} is the least that such a share can be told by",
            fix="lower package.thresholds.keep, add validation rows, or give a score",
        )
    return math.floor(float(np.sort(scores)[below - 1]) * 1e4) / 1e4


def enough(settings: ThresholdSettings) -> int:
    """How many rows of a label, all of them right, show the precision."""
    error = (1 - settings.confidence) / TRIED
    return math.ceil(math.log(error) / math.log(settings.precision or 0.5))


def outcome(least: Mapping[str, float], labels: Sequence[str], probabilities: NDArray[np.float32],
            references: Ids) -> dict[str, float]:  # fmt: skip
    """What the thresholds do on rows.

    Args:
        least: label -> its least score.
        labels: class id -> label.
        probabilities, references: of the rows, as `least_scores` has them; at least one.

    Returns:
        ``fallback_share``: of the rows, those that get the fallback; ``accuracy_answered``: of the others those that
        are right, 1 where there are none.
    """
    predictions, best = probabilities.argmax(axis=1), probabilities.max(axis=1).astype(np.float64)
    wanted = np.array([least.get(label, 0.0) for label in labels])[predictions]
    answered = best >= wanted
    right = (predictions == references)[answered]
    return {
        "fallback_share": float(1 - answered.mean()),
        "accuracy_answered": float(right.mean()) if right.size else 1.0,
    }
