"""How rows become batches: alike lengths together, under a budget of padded tokens.

Training, measuring, validation and the service batch by the same rule, because the answers of a dynamically
quantized model depend a little on the other rows of its batch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Batching:
    """How the service runs a model; measuring and validating run it alike.

    Attributes:
        tokens: budget of padded tokens in one forward pass.
        rows: most rows in one forward pass.
        threads: threads over all lanes; 0 takes the processors this process may use.
        lanes: forward passes at the same time, on one copy of the weights; 0 takes one for each thread, on a GPU one.
    """

    tokens: int = 2048
    rows: int = 64
    threads: int = 0
    lanes: int = 0


#: How a model is run when nothing else is said.
SERVED = Batching()


def by_length(lengths: Sequence[int], *, tokens: int, rows: int = 64) -> Iterator[list[int]]:
    """Indices in batches of alike length, longest batches last.

    Args:
        lengths: tokens of each row.
        tokens: budget of padded tokens (rows x longest) of a batch; a single longer row is a batch of its own.
        rows: most rows in a batch.
    """
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda i: (lengths[i], i)):
        if batch and (len(batch) == rows or (len(batch) + 1) * lengths[index] > tokens):
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


def with_oldest(lengths: Sequence[int], *, tokens: int, rows: int = 64, call: int = 8, lanes: int = 1,
                requests: Sequence[object] = ()) -> list[int]:  # fmt: skip
    """Indices of the next batch of a queue: the row that waits longest, and those that are better off beside it.

    The oldest row is always in, so no length can starve. A row joins when both are true:

    - its padding costs at most half of a forward pass of its own: at more, it does better to wait for company that is
      nearer to its length;
    - what it adds to the wait of those in the batch is no more than what a spared pass takes from the wait of those
      behind. So a short queue is answered one row after the other, each as early as can be, and a long one in large
      batches. Rows of one request are answered together anyway and do not wait for each other.

    Args:
        lengths: tokens of each waiting row, oldest first; not empty.
        tokens: budget of padded tokens (rows x longest); the oldest row goes even when it alone is above it.
        rows: most rows in a batch.
        call: what one forward pass costs beside its tokens, in tokens. Measured on one processor thread with a
            six-layer int8 encoder: about 8 (of 8, 16, 32, 64 it gave most texts per second).
        lanes: forward passes at the same time, among which those behind are divided.
        requests: whose row each is, compared by identity; left out, every row is a request of its own.
    """
    first = longest = lengths[0]
    batch = [0]
    owners = [id(one) for one in requests] or range(len(lengths))
    held = Counter([owners[0]])  # rows in the batch, by request
    for index in sorted(range(1, len(lengths)), key=lambda i: abs(lengths[i] - first)):
        if len(batch) == rows:
            break
        grown = max(longest, lengths[index])
        padded = (len(batch) + 1) * grown
        added = padded - len(batch) * longest
        spared = call * (1 + (len(lengths) - len(batch) - 1) / lanes)
        if padded > tokens or added > lengths[index] + call / 2:
            continue
        if (len(batch) - held[owners[index]]) * added <= spared:
            batch.append(index)
            held[owners[index]] += 1
            longest = grown
    return batch


def with_tokens(rows: Sequence[Sequence[int]], pad_id: int) -> Sequence[Sequence[int]]:
    """The rows of a batch; one without a token has one of padding.

    A tokenizer without special tokens leaves nothing of an empty text, and no network runs over no tokens. Whatever
    stands beside it: its answer is the same alone and in a batch.
    """
    return [row or [pad_id] for row in rows]


def pad(rows: Sequence[Sequence[int]], pad_id: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Token ids and attention mask of a batch: int64, both of shape (rows, longest)."""
    import numpy as np

    longest = max(len(row) for row in rows)
    ids = np.full((len(rows), longest), pad_id, dtype=np.int64)
    mask = np.zeros_like(ids)
    for index, row in enumerate(rows):
        ids[index, : len(row)] = row
        mask[index, : len(row)] = 1
    return ids, mask
