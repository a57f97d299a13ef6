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
