"""Slices of the test rows."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scripted import sure

from ftdeploy.validate.answers import Answers
from ftdeploy.validate.slices import slices


def _answers(lengths: list[int], source: list[str]) -> Answers:
    references = np.arange(len(lengths), dtype=np.int64) % 2
    answer = sure(references)
    return Answers(ids=[], texts=["x" * length for length in lengths], columns={"source": source}, labels=("no", "yes"),
                   references=references, baseline=answer, candidate=answer)  # fmt: skip


@given(st.lists(st.integers(0, 30), min_size=1, max_size=80))
def test_lengths_are_cut_so_that_every_row_is_in_one_part(lengths: list[int]) -> None:
    """Thirds cover all rows once, keep equal lengths together, and say truly which lengths they hold."""
    answers = _answers(lengths, ["a"] * len(lengths))
    parts = [part for part in slices(answers, least=1) if part.slice == "text length"]
    rows = [row for part in parts for row in part.rows.tolist()]
    # One part alone would be the whole, and is left out.
    assert sorted(rows) == (list(range(len(lengths))) if parts else [])
    for part in parts:
        start = int(part.value.split("-")[0].split()[0])
        found = [lengths[row] for row in part.rows.tolist()]
        assert min(found) >= start
        if "-" in part.value:
            assert max(found) <= int(part.value.split("-")[1].split()[0])


def test_small_slices_and_the_whole_are_left_out() -> None:
    """Fewer rows than asked for say nothing; a slice that is everything is the overall result."""
    answers = _answers([5] * 100, ["rare"] * 9 + ["common"] * 91)
    found = {(part.slice, part.value): part for part in slices(answers, least=10)}
    assert set(found) == {("label", "no"), ("label", "yes"), ("source", "common")}
    assert found["label", "no"].single_class
    assert not found["source", "common"].single_class
    assert found["source", "common"].rows.tolist() == list(range(9, 100))
