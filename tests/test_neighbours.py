"""Nearest neighbours of vectors among themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.neighbors import NearestNeighbors

from ftdeploy import neighbours
from ftdeploy.neighbours import Neighbourhood, dump, label_in, load, nearest

if TYPE_CHECKING:
    from numpy.typing import NDArray


def _vectors(rows: int, width: int = 8) -> NDArray[np.float32]:
    return np.random.default_rng(3).standard_normal((rows, width)).astype(np.float32)


@pytest.mark.parametrize("held", [1 << 24, 700, 1])
def test_they_are_scikit_learns_in_whatever_blocks(held: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exact, by cosine, nearest first, whatever the vectors' lengths; in blocks of any size."""
    monkeypatch.setattr(neighbours, "_HELD", held)
    vectors = _vectors(300) * np.linspace(0.1, 9, 300, dtype=np.float32)[:, None]
    exact = NearestNeighbors(n_neighbors=11, metric="cosine").fit(vectors).kneighbors(vectors, return_distance=False)
    assert (nearest(vectors) == exact[:, 1:]).all()


def test_a_row_is_none_of_its_own_neighbours_even_beside_its_copy() -> None:
    """Of equally near rows the first comes first."""
    vectors = np.repeat(_vectors(2), 3, axis=0)
    assert nearest(vectors, 2).tolist() == [[1, 2], [0, 2], [0, 1], [4, 5], [3, 5], [3, 4]]


@pytest.mark.parametrize(("rows", "kept"), [(0, 0), (1, 0), (2, 1), (5, 4), (11, 10), (12, 10)])
def test_there_are_as_many_as_there_can_be(rows: int, kept: int) -> None:
    """Ten, or all others where there are fewer."""
    assert nearest(_vectors(rows)).shape == (rows, kept)


def test_vectors_of_nothing_have_neighbours_too() -> None:
    """No division by zero: all are equally far."""
    assert nearest(np.zeros((4, 3), dtype=np.float32), 2)[3].tolist() == [0, 1]


@given(st.text(), st.lists(st.integers(0, 10**6)))
def test_what_is_written_is_read(label: str, rows: list[int]) -> None:
    """Any label, with quotes and brackets in it as well."""
    assert load(dump(label, rows)) == Neighbourhood(label, tuple(rows))


def test_the_label_of_a_row_that_was_not_prepared_is_itself() -> None:
    """Rows of an evaluation come as their source has them."""
    assert (label_in(dump("a b", [1])), label_in("a b")) == ("a b", "a b")


@pytest.mark.parametrize("label", ["positive", "[]", '["a", "b"]', "{}", "7"])
def test_another_string_is_refused(label: str) -> None:
    """With its beginning."""
    with pytest.raises(ValueError, match="no neighbourhood"):
        load(label)
