"""Bets that cannot win on average while nothing has changed, and do when something has."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from ftdeploy.serve.e_values import BLOCK, LABEL_GROUPS, Directions, label_groups, label_table, number_table

if TYPE_CHECKING:
    from numpy.typing import NDArray

COUNTS = np.array([1, 10, 200, 700, 500, 300, 280, 9, 0])
SIZE = 12


@pytest.mark.parametrize("table", [label_table, number_table])
def test_no_bet_wins_on_the_remembered_rows(table: Callable[[NDArray[Any]], NDArray[Any]]) -> None:
    """The mean of each e-value is below 1, with room for the error of a mean that was estimated: 3 standard errors."""
    values = table(COUNTS)
    assert (values > 0).all()
    rows = COUNTS.sum()
    mean = COUNTS @ values / rows
    error = np.sqrt((COUNTS @ values**2 / rows - mean**2) / rows)
    assert (mean + 2.9 * error < 1).all()


def test_bets_win_where_they_say() -> None:
    """More of a label, larger and smaller numbers, more and less spread: the best bet grows by some percent a text."""
    labels = label_table(np.array([500, 400, 100]))
    assert np.log(labels[2]).max() > 0.5
    assert (np.array([0.4, 0.3, 0.3]) @ np.log(labels)).max() > 0.02
    even = np.full(10, 200)
    numbers = np.log(number_table(even))
    for changed in (
        np.arange(10),
        np.arange(10)[::-1],
        np.array([5, 1, 1, 1, 0, 0, 1, 1, 1, 5]),
        np.array([0, 0, 1, 4, 5, 5, 4, 1, 0, 0]),
    ):
        assert (changed / changed.sum() @ numbers).max() > 0.05
    assert (even / even.sum() @ numbers).max() < 0


def test_what_never_occurred_is_told_when_it_does() -> None:
    """No unknown token in 2,000 texts: a twentieth of texts with some is a change, one in a thousand is none."""
    numbers = np.log(number_table(np.array([2000, 0, 0, 0])))
    assert (np.array([0.95, 0, 0.05, 0]) @ numbers).max() > 0.02
    assert (np.array([0.999, 0, 0.001, 0]) @ numbers).max() < 0
    assert (number_table(np.array([2000, 0, 0, 0]))[0] < 1).all()


def test_many_labels_are_dealt_into_groups_of_like_size() -> None:
    """So that memory and time do not grow with labels; a few have a group each."""
    counts = np.random.default_rng(1).integers(1, 100, 300)
    groups = label_groups(counts)
    held = np.bincount(groups, weights=counts)
    assert len(held) == LABEL_GROUPS
    assert held.max() < 1.05 * held.min()
    assert label_groups(counts[:5]).tolist() == [0, 1, 2, 3, 4]
    assert label_table(counts).shape == (300, 4 * LABEL_GROUPS)


def test_a_direction_is_learned_from_the_texts_before() -> None:
    """Nothing is bet before there were any; a shift that is small in each direction is soon bet on as a whole."""
    random = np.random.default_rng(2)
    directions = Directions(random.normal(size=(1000, SIZE)))
    same = np.concatenate([np.log(directions.of(random.normal(size=(BLOCK, SIZE)))) for _ in range(200)])
    assert np.abs(same[:BLOCK]).max() < 1e-3  # the bound is computed in float32, whose rounding differs by processor
    assert (same.mean(axis=0) <= 0).all()
    moved = np.concatenate([np.log(directions.of(random.normal(size=(BLOCK, SIZE)) + 0.5)) for _ in range(20)])
    assert moved[8 * BLOCK :].mean(axis=0).max() > 0.5


def test_a_block_may_come_in_pieces() -> None:
    """Directions are learned anew after the same texts, however these come."""
    random = np.random.default_rng(3)
    rows, texts = random.normal(size=(500, SIZE)), random.normal(size=(3 * BLOCK, SIZE)) + 1
    whole, pieces = Directions(rows), Directions(rows)
    expected = np.concatenate([whole.of(texts[start : start + BLOCK]) for start in range(0, len(texts), BLOCK)])
    found, start = [], 0
    for size in (3, BLOCK - 3, 1, 2, BLOCK - 3, BLOCK):
        assert size <= pieces.room
        found.append(pieces.of(texts[start : start + size]))
        start += size
    assert np.concatenate(found) == pytest.approx(expected, rel=1e-5)
