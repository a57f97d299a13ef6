"""Whether a row's answer depends on the rows beside it.

Dynamic int8 quantizes all activations of a batch with one scale, which the most extreme value among them decides, so a
row is answered more coarsely beside an odd one. What a float model shows is rounding (about 1e-6), because matrix
products of another shape add up in another order. The measure here is the model itself: rows are asked alone and again
in batches of several kinds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ftdeploy import progress
from ftdeploy.batching import SERVED, Batching, by_length
from ftdeploy.compress.outcome import Invariance
from ftdeploy.encoded import stacked
from ftdeploy.predictor import Predictor
from ftdeploy.tasks.said import holding, sigmoid, softmax

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Ids = list[int]

#: Rows that are asked, and how often each: alone, and in three kinds of batch.
ROWS, ASKED = 128, 4
#: Rows of one batch beside the most extreme ones, and of a random batch.
BATCH = 16
#: How many of the rows stand for each kind of extreme (see `_extremes`).
EXTREMES = 2


def invariance(folder: Path, texts: Sequence[str], *, batching: Batching = SERVED, tolerance: float, rows: int = ROWS,
               seed: int = 0, device: str = "auto") -> Invariance:  # fmt: skip
    """Ask rows alone, in the batches that are served, in random ones, and beside the most extreme rows.

    A random batch mixes lengths, so that short rows are padded to the longest one. The extreme rows are the longest and
    the shortest, those of the largest logits and of the largest embeddings, and one of random tokens as long as the
    model takes them: a service also gets what no validation row looks like.

    Args:
        folder: a model folder.
        texts: validation texts.
        batching: how the service batches.
        tolerance: largest difference of a probability, or of a number in standard deviations, that counts
            as the same answer.
        rows: rows that are asked, taken at even distances of length; all where there are fewer.
        seed: of the random batches and tokens.
        device: ``auto``, ``cpu`` or ``cuda``.

    Returns:
        The largest differences to the answer alone, over all kinds of batch; a row whose label changed in any of them
        counts once. Probabilities are those that are served (softmax at the signature's temperature).

    Raises:
        ArtifactError: the folder is incomplete or damaged.
        ValueError: no texts.
    """
    if not texts:
        raise ValueError("invariance wants at least one text")
    predictor = Predictor(folder, threads=batching.threads, device=device)
    random = np.random.default_rng(seed)
    ids = _sample([row.ids for row in predictor.encode(texts)], rows)
    with progress.task("batch invariance", total=ASKED * len(ids)) as advance:
        alone, embeddings = _alone(predictor, ids, advance)
        extremes = [*_extremes(ids, alone, embeddings), _junk(predictor, random)]
        plans: list[list[tuple[list[int], list[Ids]]]] = [
            [(batch, []) for batch in by_length([len(row) for row in ids], tokens=batching.tokens, rows=batching.rows)],
            [(batch, []) for batch in _chunks(random.permutation(len(ids)).tolist())],
            [(batch, extremes) for batch in _chunks(list(range(len(ids))))],
        ]
        beside = np.stack([_together(predictor, ids, plan, alone.shape[1:], advance) for plan in plans])
    return _judge(alone, beside, predictor, tolerance)


def _sample(ids: list[Ids], rows: int) -> list[Ids]:
    """At even distances of length: short and long rows alike, however rare they are in between."""
    order = sorted(range(len(ids)), key=lambda index: (len(ids[index]), index))
    chosen = np.unique(np.linspace(0, len(order) - 1, min(rows, len(order))).round().astype(int))
    return [ids[order[index]] for index in chosen]


def _alone(predictor: Predictor, ids: Sequence[Ids],
           advance: progress.Advance) -> tuple[NDArray[np.float32], NDArray[np.float32]]:  # fmt: skip
    """Logits (rows, labels) and embeddings (rows, width), each row in a forward pass of its own."""
    found = []
    for row in ids:
        found.append(predictor.run([row]))
        advance(1)
    return stacked([one.logits for one in found]), np.concatenate([one.embedding for one in found])


def _extremes(ids: Sequence[Ids], logits: NDArray[np.float32], embeddings: NDArray[np.float32]) -> list[Ids]:
    """Rows that stand out by length, logits and embedding, each once."""
    lengths = np.array([len(row) for row in ids])
    largest = np.abs(logits).reshape(len(logits), -1).max(axis=1)
    measures = (lengths, -lengths, largest, np.abs(embeddings).max(axis=1))
    chosen = {int(index) for measure in measures for index in np.argsort(-measure, kind="stable")[:EXTREMES]}
    return [ids[index] for index in sorted(chosen)]


def _junk(predictor: Predictor, random: np.random.Generator) -> Ids:
    tokens = predictor.tokenizer.get_vocab_size(with_added_tokens=True)
    drawn: Ids = random.integers(0, tokens, predictor.signature.max_length).tolist()
    return drawn


def _chunks(indices: list[int]) -> Iterator[list[int]]:
    for start in range(0, len(indices), BATCH):
        yield indices[start : start + BATCH]


def _together(predictor: Predictor, ids: Sequence[Ids], plan: list[tuple[list[int], list[Ids]]], shape: tuple[int, ...],
              advance: progress.Advance) -> NDArray[np.float32]:  # fmt: skip
    """Logits of all rows, (rows, *shape), in the batches of a plan: the rows asked, and those beside them."""
    logits = np.zeros((len(ids), *shape), dtype=np.float32)
    for batch, beside in plan:
        found = predictor.run([*(ids[index] for index in batch), *beside])
        # Where each token has logits, those of a longer neighbour are none of theirs.
        inside = [slice(min(have, want)) for have, want in zip(found.logits.shape[1:], shape, strict=True)]
        for place, index in enumerate(batch):
            logits[index][tuple(inside)] = found.logits[place][tuple(inside)]
        advance(len(batch))
    return logits


def _judge(alone: NDArray[np.float32], beside: NDArray[np.float32], predictor: Predictor,
           tolerance: float) -> Invariance:  # fmt: skip
    """Differences of ``alone`` (rows, labels) and ``beside`` (kinds of batch, rows, labels)."""
    if predictor.task.number:  # of variance 1
        apart, changed = float(np.abs(beside - alone).max()), None
    elif predictor.task.vectors:  # of length 1
        apart, changed = float(1 - (beside * alone).sum(axis=-1).min()), None
    else:
        signature = predictor.signature
        made = sigmoid if predictor.task.multi_label else softmax
        together, by_itself = (made(logits / signature.temperature) for logits in (beside, alone))
        apart = float(np.abs(together - by_itself).max())
        other = beside.argmax(axis=-1) != alone.argmax(axis=-1)
        if predictor.task.multi_label:  # by the thresholds that are served
            said, now = (holding(one, signature.labels, signature.thresholds) for one in (by_itself, together))
            other = (now != said).any(axis=-1)
        changed = int(other.any(axis=0).reshape(len(alone), -1).any(axis=1).sum())
    return Invariance(
        rows=len(alone),
        max_logit_difference=float(np.abs(beside - alone).max()),
        max_probability_difference=max(0.0, apart),
        changed_labels=changed,
        within_tolerance=apart <= tolerance,
    )
