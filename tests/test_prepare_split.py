"""The split's properties on drawn rows: exact shares, nothing divided that belongs together, order without effect."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftdeploy.prepare.split import (
    CONFLICT,
    DUPLICATE,
    FREE,
    TEST,
    TRAIN,
    VALIDATION,
    Index,
    assign,
    mark_duplicates,
    number_keys,
    sample,
)
from ftdeploy.recipe import Split

if TYPE_CHECKING:
    from numpy.typing import NDArray

PARTS = (TRAIN, VALIDATION, TEST)


def index(texts: list[int], labels: list[int], groups: list[int] | None = None) -> Index:
    """An index whose keys are scrambled numbers of the texts."""
    scrambled = np.array(texts, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    return Index(
        key=np.stack([scrambled, scrambled ^ np.uint64(0xABCDEF)], axis=1),
        label=np.array(labels, dtype=np.int32),
        group=np.array(groups or [0] * len(texts), dtype=np.uint64),
        labels=tuple(str(number) for number in range(max(labels) + 1)),
    )


def everything(made: Index) -> NDArray[np.bool_]:
    return np.ones(len(made.label), dtype=bool)


@settings(max_examples=50)
@given(sizes=st.lists(st.integers(3, 60), min_size=2, max_size=5), test=st.sampled_from([0.1, 0.2, 0.5]))
def test_rows_that_stand_alone_fill_the_shares_of_each_label_exactly(sizes: list[int], test: float) -> None:
    """Every label has round(share * rows) in test, at least one in each split, whatever its size."""
    labels = [name for name, size in enumerate(sizes) for _ in range(size)]
    made = index(list(range(len(labels))), labels)
    where = assign(made, everything(made), Split(test=test, validation=0.1))
    for name, size in enumerate(sizes):
        here = where[made.label == name]
        assert (here == TEST).sum() == min(max(1, round(np.rint(size * test))), size - 2)
        assert all((here == part).any() for part in PARTS)


@settings(max_examples=50)
@given(data=st.data())
def test_what_shares_a_text_or_a_group_stands_together(data: st.DataObject) -> None:
    """Also along chains: a text in two groups ties both of them."""
    count = data.draw(st.integers(30, 80))
    texts = data.draw(st.lists(st.integers(0, 60), min_size=count, max_size=count))
    groups = data.draw(st.lists(st.integers(0, 40), min_size=count, max_size=count))
    made = index(texts, [0] * count, groups)
    where = assign(made, everything(made), Split())
    for values in (np.array(texts), np.array(groups)):
        for value in set(values.tolist()) - ({0} if values.tolist() == groups else set()):
            assert len(set(where[values == value].tolist())) == 1


@settings(max_examples=30)
@given(order=st.permutations(range(60)))
def test_order_of_rows_has_no_effect(order: list[int]) -> None:
    """The same row lands in the same split, with groups and without."""
    texts, labels, groups = list(range(60)), [n % 3 for n in range(60)], [n // 4 + 1 for n in range(60)]
    for tied in (None, groups):
        straight = index(texts, labels, tied)
        before = assign(straight, everything(straight), Split())
        shuffled = index(
            [texts[n] for n in order], [labels[n] for n in order], [tied[n] for n in order] if tied else None
        )
        assert (assign(shuffled, everything(shuffled), Split()) == before[list(order)]).all()


def test_many_groups_come_close_to_the_shares_of_each_label() -> None:
    """200 groups of 1 to 9 rows, three labels: within one point of the shares, which a blind draw of groups is not."""
    draw = np.random.default_rng(4)
    groups = np.repeat(np.arange(1, 201), draw.integers(1, 10, size=200))
    labels = draw.choice(3, size=len(groups), p=[0.6, 0.3, 0.1])
    made = index(list(range(len(groups))), labels.tolist(), groups.tolist())
    where = assign(made, everything(made), Split(test=0.2, validation=0.1))
    for name in range(3):
        here = where[labels == name]
        assert (here == TEST).mean() == pytest.approx(0.2, abs=0.01)
        assert (here == VALIDATION).mean() == pytest.approx(0.1, abs=0.01)


def test_sizes_of_groups_are_alike_in_all_splits() -> None:
    """A test split of small groups only would not be what training sees: the mean size differs by chance alone."""
    draw = np.random.default_rng(5)
    sizes = draw.choice([1, 1, 2, 5, 12], size=3000)
    groups = np.repeat(np.arange(1, 3001), sizes)
    made = index(list(range(len(groups))), (groups % 2).tolist(), groups.tolist())
    where = assign(made, everything(made), Split(test=0.2, validation=0.1))
    means = [sizes[np.unique(groups[where == part]) - 1].mean() for part in PARTS]
    # 300 groups or more with a standard deviation of 4.2: a standard error of about 0.25.
    assert max(means) - min(means) < 0.75


def test_label_with_three_groups_stands_in_every_split() -> None:
    """As long as there is a unit for each split, each gets one."""
    groups = [n // 10 + 1 for n in range(300)]
    labels = [int(group <= 3) for group in groups]
    for shift in range(5):
        made = index([n + 1000 * shift for n in range(300)], labels, groups)
        where = assign(made, everything(made), Split())
        assert {int(part) for part in where[made.label == 1]} == set(PARTS)


def test_without_stratifying_shares_hold_overall() -> None:
    """700, 100 and 200 of 1,000 rows, whatever their labels."""
    made = index(list(range(1000)), [n % 2 for n in range(1000)])
    where = assign(made, everything(made), Split(stratify=False))
    assert [(where == part).sum() for part in PARTS] == [700, 100, 200]


@settings(max_examples=30)
@given(data=st.data())
def test_tied_rows_stand_together(data: st.DataObject) -> None:
    """Ties chain with each other, with equal texts and with groups; a tie to a row that is not kept ties nothing."""
    count = data.draw(st.integers(20, 60))
    rows = st.integers(0, count - 1)
    pairs = np.array(data.draw(st.lists(st.tuples(rows, rows), max_size=15)), dtype=np.int64).reshape(-1, 2)
    groups = data.draw(st.lists(st.integers(0, 30), min_size=count, max_size=count))
    kept = np.array(data.draw(st.lists(st.booleans(), min_size=count, max_size=count)))
    made = index(list(range(count)), [0] * count, groups)
    where = assign(made, kept, Split(), ties=pairs)
    assert ((where <= TEST) == kept).all()
    for one, other in pairs.tolist():
        assert not (kept[one] and kept[other]) or where[one] == where[other]


def test_a_split_with_share_zero_gets_nothing() -> None:
    """Where the data brings its own test rows, train and validation are cut from the rest; with groups too."""
    made = index(list(range(300)), [n % 3 for n in range(300)], [n // 5 + 1 for n in range(300)])
    for one in (made, index(list(range(300)), [n % 3 for n in range(300)])):
        where = assign(one, everything(one), Split(), shares=(0.9, 0.1, 0.0))
        assert not (where == TEST).any()
        assert (where == VALIDATION).sum() == pytest.approx(30, abs=5)


def test_duplicates_keep_the_first_and_conflicts_keep_none() -> None:
    """Per text: one label leaves the first row, two labels leave nothing."""
    made = index([7, 8, 7, 9, 8, 7], [0, 0, 0, 1, 1, 0])
    assert mark_duplicates(made).tolist() == [0, CONFLICT, DUPLICATE, 0, CONFLICT, DUPLICATE]


def test_duplicates_in_two_given_splits_are_no_duplicates() -> None:
    """Between given splits an equal text is leakage, which is told, and not a row that goes quietly."""
    made = index([7, 7, 7, 8, 8], [0, 0, 0, 0, 1])
    fixed = np.array([TRAIN, TRAIN, TEST, TRAIN, FREE], dtype=np.uint8)
    assert mark_duplicates(replace(made, fixed=fixed)).tolist() == [0, DUPLICATE, 0, 0, 0]


def test_sample_takes_only_kept_rows_and_all_when_there_are_fewer() -> None:
    """The limit is a ceiling."""
    made = index(list(range(100)), [0] * 100)
    kept = np.arange(100) % 2 == 0
    chosen = sample(made, kept, 20)
    assert chosen.sum() == 20
    assert not (chosen & ~kept).any()
    assert (sample(made, kept, 500) == kept).all()


@pytest.mark.parametrize("rows", [0, 1, 2000, 600_000])
def test_keys_are_numbered_as_numpy_numbers_them(rows: int) -> None:
    """In one part and in several: the first row with each key, in the order of the keys, and each row's number."""
    random = np.random.default_rng(rows)
    few = random.integers(0, 2**64, max(1, rows // 3), dtype=np.uint64)
    key = np.stack([random.choice(few, rows), random.integers(0, 2, rows, dtype=np.uint64)], axis=1)
    _, first, number = np.unique(key, axis=0, return_index=True, return_inverse=True)
    found = number_keys(*key.T)
    assert (found[0] == first).all()
    assert (found[1] == number.ravel()).all()


def test_numbers_of_one_text_contradict_each_other_whatever_part_they_are_in() -> None:
    """Labels that are numbers are divided by their fifth, and compared by themselves."""
    made = replace(index([1, 1, 2, 2], [0, 0, 0, 1]), value=np.array([1.0, 1.0, 2.0, 3.0]))
    assert mark_duplicates(made).tolist() == [0, DUPLICATE, CONFLICT, CONFLICT]
    alike = replace(made, label=np.array([0, 0, 1, 1], dtype=np.int32))
    assert mark_duplicates(alike).tolist() == mark_duplicates(made).tolist()
