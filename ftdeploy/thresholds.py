"""How sure a label must be to be the answer: least scores, given by the recipe or found on validation rows.

A calibrated one is the smallest of `TRIED` scores at which the label's precision, by the exact bound of Clopper and
Pearson (1934), is what was asked for. Each of them gets its share of the error (Bonferroni), so that the bound holds
for the one that is chosen, too: with plain bounds, one of ten would often pass by chance.

One that keeps a share of the answers is a quantile of split conformal prediction (Vovk, Gammerman & Shafer 2005; Lei et
al. 2018): of a new row of the same kind, the score is below the k-th smallest of n others with a probability of at most
k / (n + 1). The score is the likeliest label's probability, as is usual to tell rows of no known label (Hendrycks &
Gimpel 2017, "A Baseline for Detecting Misclassified and Out-of-Distribution Examples").

Where any number of labels are the answer, each may have a threshold of its own from which it holds: half of the best
F1 that it can have (Lipton, Elkan & Narayanaswamy 2014, "Optimal Thresholding of Classifiers to Maximize F1 Measure"),
which is right where probabilities mean what they say. By F1, as they also show, it is best to say a label of every row
of which the model knows nothing; here such a one stays at a half.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ftdeploy import progress
from ftdeploy.errors import ConfigError, Problem, did_you_mean
from ftdeploy.metrics.label_sets import set_scores
from ftdeploy.recipe import ThresholdSettings
from ftdeploy.signature import read_signature, write_signature
from ftdeploy.statistics import share
from ftdeploy.tasks.said import sigmoid

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from ftdeploy.artifact import Fact
    from ftdeploy.metrics import Floats, Ids

#: Thresholds that are tried for a label: the scores that keep all of its rows, nine tenths of them, and so on.
TRIED = 10
#: Where one of any number of labels holds unless a threshold is found for it.
HALF = 0.5
#: With fewer rows that have a label nothing is found for it: with so many, F1 is told within about a tenth.
FEWEST_POSITIVES = 20
#: What a threshold must gain of F1 on the rows that it was found on.
_LEAST_GAIN = 0.005


@dataclass(frozen=True)
class SetThreshold:
    """From where on one label of any number holds.

    Attributes:
        label: its name.
        threshold: a probability.
        before, after: F1 of the label on the rows that it was found on, at a half and at the threshold.
        positives: of these rows, those that have the label.
        reason: why this threshold.
    """

    label: str
    threshold: float
    before: float
    after: float
    positives: int
    reason: str

    def sentence(self) -> str:
        """All of it, for people."""
        if self.threshold == HALF:
            return f"{self.label} from a half on: {self.reason}"
        return f"{self.label} from {self.threshold:g} on (F1 {self.before:.4f} -> {self.after:.4f})"


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


def set_thresholds(labels: Sequence[str], probabilities: NDArray[np.float32],
                   truths: NDArray[np.float32]) -> list[SetThreshold]:  # fmt: skip
    """A threshold for each of any number of labels, by F1.

    Args:
        labels: the network's outputs.
        probabilities: of validation rows, as they are served: shape (rows, labels).
        truths: which labels hold, 0 or 1, same shape.
    """
    return [
        _set_threshold(label, probabilities[:, index].astype(np.float64), truths[:, index] > 0)
        for index, label in enumerate(labels)
    ]


def _set_threshold(label: str, scores: Floats, held: NDArray[np.bool_]) -> SetThreshold:
    positives = int(held.sum())
    before = _f1(scores >= HALF, held)

    def stays(reason: str) -> SetThreshold:
        return SetThreshold(label, HALF, before, before, positives, reason)

    if positives < FEWEST_POSITIVES:
        return stays(f"{positives:,} validation rows have it, and {FEWEST_POSITIVES} are wanted")
    order = np.argsort(-scores, kind="stable")
    right = np.cumsum(held[order])
    said = np.arange(1, len(scores) + 1)
    # Rows that score alike are said together or not at all.
    ends = np.append(np.diff(scores[order]) != 0, True)
    f1 = np.where(ends, 2 * right / (said + positives), 0.0)
    best = int(f1.argmax())
    if f1[best] <= f1[-1] + _LEAST_GAIN:
        return stays("the model tells it no better than one that says it of every row")
    threshold = math.floor(float(f1[best]) / 2 * 1e4) / 1e4
    after = _f1(scores >= threshold, held)
    if after < before + _LEAST_GAIN:
        return stays(f"at {threshold:g} nothing is gained (F1 {before:.4f} -> {after:.4f})")
    if after <= f1[-1] + _LEAST_GAIN:
        return stays(f"at {threshold:g} it is told no better than by one that says it of every row")
    reason = "half of the best F1 on the validation rows"
    return SetThreshold(label, threshold, before, after, positives, reason)


def _f1(said: NDArray[np.bool_], held: NDArray[np.bool_]) -> float:
    both = int((said & held).sum())
    total = int(said.sum()) + int(held.sum())
    return 2 * both / total if total else 0.0


def fit_sets(folder: Path, logits: NDArray[np.float32], truths: NDArray[np.float32]) -> dict[str, Fact]:  # fmt: skip
    """`set_thresholds` for a model folder: its signature is written anew with them, and what was found is said.

    Args:
        folder: the model's, whose temperature is found.
        logits: its answers to validation rows, shape (rows, labels).
        truths: which labels hold, 0 or 1, same shape.

    Returns:
        What came of it on these rows: how many labels got one of their own, and the mean of F1 over labels before and
        after.
    """
    signature = read_signature(folder)
    found = set_thresholds(signature.labels, sigmoid(logits / signature.temperature), truths)
    own = {one.label: one.threshold for one in found if one.threshold != HALF}
    write_signature(folder, signature.model_copy(update={"thresholds": own}))
    before, after = (float(np.mean([getattr(one, side) for one in found])) for side in ("before", "after"))
    progress.say(
        f"Thresholds by F1 on {len(logits):,} validation rows: {'; '.join(one.sentence() for one in found)}. "
        f"Mean F1 of the labels {before:.4f} -> {after:.4f}."
    )
    return {"labels_with_threshold": len(own), "mean_label_f1_at_half": before, "mean_label_f1": after}


def sets_outcome(least: Mapping[str, float], labels: Sequence[str], probabilities: NDArray[np.float32],
                 truths: NDArray[np.float32]) -> dict[str, float]:  # fmt: skip
    """What thresholds of sets do on rows that had no part in finding them.

    Args:
        least: label -> its threshold; the others hold from a half on.
        labels, probabilities, truths: of the rows, as `set_thresholds` has them.

    Returns:
        ``label_f1_by_threshold``, ``label_f1_at_half`` for every label, and ``label_macro_f1`` likewise.
    """
    found: dict[str, float] = {}
    own = [least.get(label, HALF) for label in labels]
    for cut, suffix in ((own, "_by_threshold"), ([HALF] * len(labels), "_at_half")):
        said = (probabilities >= np.array(cut, dtype=np.float32)).astype(np.float64)
        scores = set_scores(truths.astype(np.float64), said)
        found |= {f"{name}{suffix}": scores[name] for name in ("label_f1", "label_macro_f1")}
    return found
