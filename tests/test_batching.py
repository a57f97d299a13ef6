"""Rows become batches under one budget, in training, measuring and serving alike."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ftdeploy.batching import by_length, pad, with_oldest

LENGTHS = st.lists(st.integers(min_value=1, max_value=300), min_size=1, max_size=120)
BUDGET = st.integers(min_value=64, max_value=2048)


@given(lengths=LENGTHS, tokens=BUDGET)
def test_by_length_takes_every_row_once_and_keeps_the_budget(lengths: list[int], tokens: int) -> None:
    """No row is lost or doubled, and only a row that is alone may be above the budget."""
    batches = list(by_length(lengths, tokens=tokens, rows=32))
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) <= 32
        assert len(batch) == 1 or len(batch) * max(lengths[index] for index in batch) <= tokens


@given(lengths=LENGTHS, tokens=BUDGET)
def test_with_oldest_keeps_the_budget_and_the_oldest(lengths: list[int], tokens: int) -> None:
    """The row that waits longest is always in, each row at most once, and company never breaks the budget."""
    batch = with_oldest(lengths, tokens=tokens, rows=32)
    assert batch[0] == 0
    assert len(set(batch)) == len(batch) <= 32
    assert len(batch) == 1 or len(batch) * max(lengths[index] for index in batch) <= tokens


@given(lengths=LENGTHS, tokens=BUDGET)
def test_with_oldest_never_pads_more_than_passes_of_their_own_would_cost(lengths: list[int], tokens: int) -> None:
    """Padding stays below what the spared forward passes would have cost."""
    batch = with_oldest(lengths, tokens=tokens, call=8)
    own = sum(lengths[index] for index in batch)
    assert len(batch) * max(lengths[index] for index in batch) <= own + 8 * (len(batch) - 1)


def test_with_oldest_leaves_a_long_row_for_its_own_batch() -> None:
    """Short rows are not padded to one long row, and the long row is not left behind when it is the oldest."""
    short_first = [8] * 20 + [256]
    batch = with_oldest(short_first, tokens=2048)
    assert batch == list(range(len(batch)))
    assert 1 < len(batch) <= 20
    long_first = [256] + [8] * 20
    assert with_oldest(long_first, tokens=2048) == [0]


def test_with_oldest_drains_any_queue_in_order_of_age_for_equal_lengths() -> None:
    """Rows of one length go first come, first served; where a pass costs much, as many as may."""
    assert with_oldest([10] * 100, tokens=10_000, rows=64, call=100) == list(range(64))


def test_with_oldest_makes_larger_batches_of_longer_queues() -> None:
    """Two rows are answered one after the other, as a batch would answer the first later and the second no earlier;
    with more behind, every spared pass is worth more. Those are divided among the lanes."""
    sizes = [len(with_oldest([25] * waiting, tokens=2048, call=8)) for waiting in (1, 2, 8, 64, 200)]
    assert sizes[:2] == [1, 1]
    assert sizes == sorted(sizes)
    assert sizes[-1] > sizes[2] > 1
    assert len(with_oldest([25] * 64, tokens=2048, call=8, lanes=4)) < sizes[3]


def test_with_oldest_keeps_the_rows_of_a_request_together() -> None:
    """They are answered together, so that none of them gains by going first; those of others are still spared."""
    mine, other = object(), object()
    assert with_oldest([25] * 8, tokens=2048, call=8, requests=[mine] * 8) == list(range(8))
    batch = with_oldest([25] * 5, tokens=2048, call=8, requests=[mine] * 4 + [other])
    assert batch == [0, 1, 2, 3]


def test_pad_fills_with_the_pad_id_and_masks_it() -> None:
    """Ids and mask are int64 of shape (rows, longest); the mask is 0 exactly where there is padding."""
    ids, mask = pad([[5, 6, 7], [8]], pad_id=9)
    assert ids.dtype == mask.dtype == np.int64
    assert ids.tolist() == [[5, 6, 7], [8, 9, 9]]
    assert mask.tolist() == [[1, 1, 1], [1, 0, 0]]
