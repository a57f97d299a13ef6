"""Shifts of known accuracy, made from held-out rows when a bundle is packaged: what the validity flag learns from.

Half of the rows stand in for the reference. Of the other half, windows are made that differ from it: by changes of
the texts (words lost, letters swapped, order lost, words unknown, only the beginning, two texts in one, words of other
texts), pure and mixed with unchanged rows; and by selection (clusters of the projection, short or long texts, one
label). Each gives a magnitude and, as the true labels are known, the error of each estimator.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ftdeploy.drift import Features, features_of, reference_of
from ftdeploy.monitor.accuracy import estimates
from ftdeploy.monitor.two_sample import classifier_test
from ftdeploy.pairs import each

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ftdeploy.predictor import Predictor
    from ftdeploy.tasks import Task

#: Rows that each change of the texts is made of, at most; each costs a forward pass.
_MOST_ROWS = 300
#: Fewer rows make no window.
_LEAST_ROWS = 40
_CLUSTERS = 6
_STRENGTHS = (0.25, 0.5, 1.0)

Words = list[str]
Change = Callable[[Words, Words, np.random.Generator], Words]


def learn_shifts(predictor: Predictor, task: Task, plain: Features, texts: Sequence[str], truths: NDArray[np.int64], *,
                 projection: NDArray[np.float32], seed: int) -> dict[str, NDArray[Any]]:  # fmt: skip
    """Magnitude and errors of held-out shifts.

    Args:
        predictor: the model that is shipped.
        task: its task.
        plain: features of the rows.
        texts: rows that the model was not trained on.
        truths: their true class ids, int64, shape (rows,).
        projection: of the drift reference.
        seed: of halves, changes and clusters.

    Returns:
        For the drift reference: ``shift_magnitude`` float64 (shifts,), and ``shift_error`` float64 (shifts, 3),
        estimate less truth by each estimator of `ftdeploy.monitor.accuracy`; empty where rows are few.
    """
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(texts))
    half, rest = order[: len(order) // 2], order[len(order) // 2 :]
    if len(rest) < 2 * _LEAST_ROWS:
        return {"shift_magnitude": np.empty(0), "shift_error": np.empty((0, 3))}
    changed_rows = rest[:_MOST_ROWS]
    pool = [word for row in half for word in texts[row].split()]
    changed = {}
    for name, change in CHANGES.items():

        def changed_text(text: str, change: Change = change) -> str:
            return " ".join(change(text.split(), pool, generator))

        made = [each(texts[row], changed_text) for row in changed_rows]
        changed[name] = features_of(predictor, task, made, projection=projection)
    return measure_shifts(plain, truths, changed, half=half, rest=rest, changed_rows=changed_rows,
                          classes=len(task.summaries(predictor.signature.labels)), seed=seed)  # fmt: skip


def measure_shifts(plain: Features, truths: NDArray[np.int64], changed: Mapping[str, Features], *,
                   half: NDArray[np.int64], rest: NDArray[np.int64], changed_rows: NDArray[np.int64], classes: int,
                   seed: int) -> dict[str, NDArray[Any]]:  # fmt: skip
    """`learn_shifts` from features.

    Args:
        plain: of all rows.
        truths: true class ids of all rows, int64.
        changed: name of a change -> features of ``changed_rows`` after it.
        half: rows that stand in for the reference, int64.
        rest: the others, int64.
        changed_rows: those of ``rest`` that were changed, int64.
        classes: how many labels there are.
        seed: of mixtures and clusters.
    """
    generator = np.random.default_rng([seed, 4])
    there = plain.take(half)
    reference = reference_of(there, np.empty((0, 0), dtype=np.float32), classes=classes, seed=seed, truths=truths[half])
    known = float((there.labels == truths[half]).mean())
    magnitudes, errors = [], []

    def note(window: Features, targets: NDArray[np.int64]) -> None:
        if len(window) < _LEAST_ROWS:
            return
        right = float((window.labels == targets).mean())
        off = estimates(reference, window) - right
        # What sampling alone explains of an error, here and in the reference, is no fault of the estimator.
        noise = right * (1 - right) / len(window) + known * (1 - known) / len(half)
        size = np.sqrt(np.maximum(off**2 - noise, 0))
        found = classifier_test(there.embedding, window.embedding, seed=seed)
        magnitudes.append(found.effect)
        errors.append(np.sign(off) * size)

    for features in changed.values():
        for strength in _STRENGTHS:
            picked = generator.random(len(changed_rows)) < strength
            note(_joined(plain.take(changed_rows[~picked]), features.take(picked)),
                 np.concatenate([truths[changed_rows[~picked]], truths[changed_rows[picked]]]))  # fmt: skip
    for rows in _selections(plain, truths, rest, classes=classes, generator=generator):
        note(plain.take(rows), truths[rows])
    return {"shift_magnitude": np.array(magnitudes), "shift_error": np.array(errors).reshape(-1, 3)}


def _selections(plain: Features, truths: NDArray[np.int64], rest: NDArray[np.int64], *, classes: int,
                generator: np.random.Generator) -> list[NDArray[np.int64]]:  # fmt: skip
    """Parts of the rows: clusters, thirds by length, and one true label, pure and as three quarters."""
    from scipy.cluster.vq import kmeans2

    points = plain.embedding[rest].astype(np.float64)
    _, cluster = kmeans2(points, _CLUSTERS, minit="++", rng=generator)
    found = [rest[cluster == number] for number in range(_CLUSTERS)]
    by_length = rest[np.argsort(plain.tokens[rest], kind="stable")]
    third = len(rest) // 3
    found += [by_length[:third], by_length[-third:]]
    for label in range(min(classes, _CLUSTERS)):
        mine, others = rest[truths[rest] == label], rest[truths[rest] != label]
        found += [mine, np.concatenate([mine, others[: len(mine) // 3]])]
    return found


def _joined(one: Features, other: Features) -> Features:
    return Features(
        labels=np.concatenate([one.labels, other.labels]),
        confidence=np.concatenate([one.confidence, other.confidence]),
        tokens=np.concatenate([one.tokens, other.tokens]),
        unknown=np.concatenate([one.unknown, other.unknown]),
        truncated=np.concatenate([one.truncated, other.truncated]),
        embedding=np.concatenate([one.embedding, other.embedding]),
    )


def _drop(words: Words, _pool: Words, generator: np.random.Generator) -> Words:
    return [word for word in words if generator.random() > 0.3] or words[:1]  # noqa: PLR2004  # 3 of 10 words


def _shuffle(words: Words, _pool: Words, generator: np.random.Generator) -> Words:
    return [words[place] for place in generator.permutation(len(words))]


def _swap_letters(words: Words, _pool: Words, generator: np.random.Generator) -> Words:
    def swapped(word: str) -> str:
        if len(word) < 4 or generator.random() > 0.3:  # noqa: PLR2004  # 3 of 10 of the longer words
            return word
        place = int(generator.integers(1, len(word) - 2))
        return word[:place] + word[place + 1] + word[place] + word[place + 2 :]

    return [swapped(word) for word in words]


def _beginning(words: Words, _pool: Words, _generator: np.random.Generator) -> Words:
    return words[: max(1, math.ceil(len(words) / 3))]


def _unknown(words: Words, _pool: Words, generator: np.random.Generator) -> Words:
    letters = np.array(list("bcdfghjklmnpqrstvwxz"))
    return ["".join(generator.choice(letters, 6)) if generator.random() < 0.3 else word for word in words]  # noqa: PLR2004  # 3 of 10 words


def _continued(words: Words, pool: Words, generator: np.random.Generator) -> Words:
    start = int(generator.integers(0, max(1, len(pool) - len(words))))
    return words + pool[start : start + len(words)]


def _foreign(words: Words, pool: Words, generator: np.random.Generator) -> Words:
    return [pool[int(generator.integers(len(pool)))] if generator.random() < 0.5 else word for word in words]  # noqa: PLR2004  # half of the words


#: Ways to change a text that leave its label alone and make it harder to tell.
CHANGES: Mapping[str, Change] = {
    "words dropped": _drop,
    "words shuffled": _shuffle,
    "letters swapped": _swap_letters,
    "beginning only": _beginning,
    "unknown words": _unknown,
    "another text behind it": _continued,
    "words of other texts": _foreign,
}
