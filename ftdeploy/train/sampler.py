"""Batches of alike length in an order that depends on seed and epoch alone.

transformers' own ``group_by_length`` draws from torch's global generator, so a run that resumes in the middle of an
epoch sees its rows in another order than the undisturbed run.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence

#: Rows are shuffled, cut into pools of this many batches, and sorted by length within a pool.
POOL = 50


class LengthGroupedBatches:
    """A batch sampler: index lists of alike length, shuffled anew in every epoch.

    Args:
        lengths: tokens of each row.
        batch_size: rows in a batch; the last one may be smaller.
        seed: with the epoch, decides the order.
    """

    def __init__(self, lengths: Sequence[int], *, batch_size: int, seed: int) -> None:
        self._lengths = lengths
        self._seed = seed
        self._epoch = 0
        self.batch_size = batch_size
        self.drop_last = False

    def set_epoch(self, epoch: int) -> None:
        """Called by the Trainer at the start of each epoch."""
        self._epoch = epoch

    def __len__(self) -> int:
        return math.ceil(len(self._lengths) / self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        order = random.Random(f"{self._seed}/{self._epoch}")  # noqa: S311  # not for secrets
        indices = list(range(len(self._lengths)))
        order.shuffle(indices)
        batches = []
        for start in range(0, len(indices), POOL * self.batch_size):
            pool = sorted(indices[start : start + POOL * self.batch_size], key=self._lengths.__getitem__)
            batches += [pool[at : at + self.batch_size] for at in range(0, len(pool), self.batch_size)]
        order.shuffle(batches)
        return iter(batches)


class TokenBudgetBatches:
    """A batch sampler: as many rows of alike length as a budget of padded tokens holds, mixed anew in every epoch.

    Rows are sorted by length and cut where the budget is full. Where the cuts fall depends on the lengths alone, so
    every epoch has the same number of batches, which schedules and resuming rely on; which rows of alike length meet,
    and the order of the batches, is drawn for each epoch.

    Args:
        lengths: tokens of each row.
        tokens: rows x longest row of a batch, at most; a longer row is a batch of its own.
        seed: with the epoch, decides the order.
    """

    def __init__(self, lengths: Sequence[int], *, tokens: int, seed: int) -> None:
        self._buckets = [_bucket(length) for length in lengths]
        self._seed = seed
        self._epoch = 0
        self._cuts = list(_cuts(sorted(self._buckets), tokens))
        self.batch_size = math.ceil(len(lengths) / max(1, len(self._cuts)))  # on average; accelerate asks
        self.drop_last = False

    def set_epoch(self, epoch: int) -> None:
        """Called by the Trainer at the start of each epoch."""
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self._cuts)

    def __iter__(self) -> Iterator[list[int]]:
        order = random.Random(f"{self._seed}/{self._epoch}")  # noqa: S311  # not for secrets
        indices = list(range(len(self._buckets)))
        order.shuffle(indices)
        indices.sort(key=self._buckets.__getitem__)  # a stable sort: within a bucket the order stays drawn
        batches = [indices[start:end] for start, end in self._cuts]
        order.shuffle(batches)
        return iter(batches)


def _bucket(length: int) -> int:
    """Lengths within an eighth of each other count as alike, so that rows of long texts, too, meet ever other ones."""
    step = max(1, length // 8)
    return -(-length // step) * step


def _cuts(lengths: Sequence[int], tokens: int) -> Iterator[tuple[int, int]]:
    """(first, behind the last) of each batch of rows that are sorted by length."""
    start = 0
    for index, length in enumerate(lengths):
        if index > start and (index + 1 - start) * length > tokens:
            yield start, index
            start = index
    if start < len(lengths):
        yield start, len(lengths)
