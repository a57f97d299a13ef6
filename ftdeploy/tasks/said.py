"""What a model says of rows, whatever its task: for each row one answer, written as the data writes its labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from ftdeploy.encoded import Encoded
from ftdeploy.errors import DataError, did_you_mean
from ftdeploy.label_sets import dump
from ftdeploy.pairs import encode_pairs, prepare_pairs
from ftdeploy.windows import Windows, window_rows

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from tokenizers import Tokenizer

#: What makes scores of the logits, as transformers' pipelines name it; ``none`` leaves them alone.
Function = Literal["softmax", "sigmoid", "none"]
#: One of any number of labels holds from this probability on, unless there is another one for it.
HOLDS = 0.5


@dataclass(frozen=True, kw_only=True)
class Said:
    """The answers to some rows, in their order.

    Attributes:
        labels: one a row.
        scores: how sure the model is of each, float32, shape (rows,).
        probabilities: of each of the model's labels, float32, shape (rows, labels); None where a row has no single one.
    """

    labels: list[str]
    scores: NDArray[np.float32]
    probabilities: NDArray[np.float32] | None = None


def prepare_whole(tokenizer: Tokenizer, max_length: int, windows: Windows | None, *, pairs: bool) -> None:
    """Set a tokenizer as `encode_whole` wants it."""
    if pairs:
        prepare_pairs(tokenizer)
        return
    tokenizer.enable_truncation(max_length, stride=0 if windows is None else windows.overlap)
    tokenizer.no_padding()


def encode_whole(tokenizer: Tokenizer, texts: Sequence[str], *, unknown: int | None,
                 windows: Windows | None = None, pair_length: int | None = None) -> list[Encoded]:  # fmt: skip
    """Texts as one row each, cut as the tokenizer is set to cut; or in windows, by their overlap.

    Args:
        tokenizer: prepared by its task.
        texts: any number.
        unknown: id of the unknown token, where there is one.
        windows: how texts are read that are longer than a row; None cuts them.
        pair_length: of pairs the most tokens of a row; None where texts are single.
    """
    if pair_length is not None:
        return encode_pairs(tokenizer, texts, unknown=unknown, most=pair_length)
    found: list[Encoded] = []
    for number, encoding in enumerate(tokenizer.encode_batch_fast(list(texts))):
        if windows is not None:
            found += window_rows(encoding, windows, text=number, unknown=unknown)
            continue
        ids = encoding.ids
        length = len(ids)
        if cut := encoding.overflowing:
            special = encoding.special_tokens_mask.count(1)
            length += sum(len(rest) - special for rest in cut)
        unknowns = ids.count(unknown) if unknown is not None else 0
        found.append(Encoded(ids=ids, length=length, unknown=unknowns, text=number))
    return found


def unknown_label(label: str, known: Sequence[str]) -> DataError:
    """The error for a label that a network does not have."""
    return DataError(
        f"label {label!r} is not among the known labels",
        cause="it does not occur in the training rows, or it is misspelt",
        fix=did_you_mean(label, known) or "correct it, or add rows with it to the training data",
    )


def ranked(logits: NDArray[np.float32], scores: NDArray[np.float32], labels: Sequence[str],
           top_k: int | None) -> list[Any]:  # fmt: skip
    """For each row its labels with their scores, the likeliest first, as transformers' pipeline has them.

    Args:
        logits: float32, shape (rows, labels); they give the order, which softmax and sigmoid keep.
        scores: what is shown of each, same shape.
        labels: by class id.
        top_k: how many at most; None is all.
    """
    keep = len(labels) if top_k is None else min(top_k, len(labels))
    orders = (-logits).argsort(axis=-1, kind="stable")[:, :keep]
    return [
        [{"label": labels[index], "score": row[index]} for index in order]
        for row, order in zip(scores.tolist(), orders.tolist(), strict=True)
    ]


def said_of_shares(shares: NDArray[np.float32], labels: Sequence[str], thresholds: Mapping[str, float]) -> Said:
    """Which of any number of labels hold; how sure a model is of all decisions together, taken as independent.

    Args:
        shares: each label's own probability, float32, shape (rows, labels).
        labels: by class id.
        thresholds: from where on a label holds; of those that are not here, `HOLDS`.
    """
    import numpy as np

    holds = holding(shares, labels, thresholds)
    return Said(
        labels=[dump(labels[index] for index in np.flatnonzero(row)) for row in holds],
        scores=np.asarray(np.where(holds, shares, 1 - shares).prod(axis=-1), dtype=np.float32),
    )


def holding(shares: NDArray[np.float32], labels: Sequence[str],
            thresholds: Mapping[str, float]) -> NDArray[np.bool_]:  # fmt: skip
    """Which labels hold: of the shape of ``shares``, (..., labels). Arguments as of `said_of_shares`."""
    import numpy as np

    return np.asarray(shares >= np.array([thresholds.get(label, HOLDS) for label in labels], dtype=np.float32))


def numbered(*columns: Sequence[str], known: Sequence[str] = ()) -> tuple[tuple[str, ...], list[NDArray[np.int64]]]:
    """Labels as class ids.

    Args:
        columns: of labels.
        known: those that have the first ids, in this order.

    Returns:
        class id -> label (what is not known is sorted behind), and the ids of each column, int64, shape (rows,).
    """
    import numpy as np

    others = sorted({label for column in columns for label in column} - set(known))
    table = (*known, *others)
    ids = {label: index for index, label in enumerate(table)}
    return table, [np.array([ids[label] for label in column], dtype=np.int64) for column in columns]


def sigmoid(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """The logistic function of each element, without overflow."""
    import numpy as np

    return np.asarray(0.5 * (1 + np.tanh(logits / 2)), dtype=np.float32)


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Softmax over the last axis, without overflow."""
    import numpy as np

    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True), dtype=np.float32)
