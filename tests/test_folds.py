"""Folds that keep labels in shares and groups together, and the file of out-of-fold predictions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from checkpoints import sentences

from ftdeploy.errors import ArtifactError, DataError
from ftdeploy.folds import OutOfFold, assign_folds, hold_out, tie_rows

ROWS = sentences()[::10]
LABELS = [row["label"] for row in ROWS]
IDS = [row["id"] for row in ROWS]
OPENINGS = [" ".join(row["text"].split()[:2]) for row in ROWS]  # real groups of all sizes


def test_every_fold_has_the_labels_in_alike_shares() -> None:
    """Stratified: no fold's count of a label differs from another's by more than one."""
    fold = assign_folds(LABELS, None, folds=5, seed=3)
    for label in set(LABELS):
        counts = np.bincount(fold[[name == label for name in LABELS]], minlength=5)
        assert counts.max() - counts.min() <= 1
    assert len(np.unique(fold)) == 5


def test_a_group_stands_in_one_fold() -> None:
    """Grouped; rows without a group are dealt out by themselves."""
    groups = [name if index % 3 else None for index, name in enumerate(OPENINGS)]
    assert len(set(groups)) < len(groups) - groups.count(None), "groups of several rows are there"
    fold = assign_folds(LABELS, groups, folds=4, seed=3)
    where: dict[str, set[int]] = {}
    for name, number in zip(groups, fold.tolist(), strict=True):
        if name is not None:
            where.setdefault(name, set()).add(number)
    assert all(len(numbers) == 1 for numbers in where.values())
    alone = fold[[name is None for name in groups]]
    assert len(np.unique(alone)) == 4


@pytest.mark.parametrize("groups", [None, OPENINGS], ids=["rows", "groups"])
def test_folds_follow_from_ids_and_seed_not_from_the_order(groups: list[str] | None) -> None:
    """With ids, shuffled rows land in the same folds; another seed deals them out differently."""
    shuffled = np.random.default_rng(5).permutation(len(ROWS))
    first = assign_folds(LABELS, groups, folds=5, seed=3, ids=IDS)
    second = assign_folds(
        [LABELS[row] for row in shuffled],
        None if groups is None else [groups[row] for row in shuffled],
        folds=5,
        seed=3,
        ids=[IDS[row] for row in shuffled],
    )
    assert np.array_equal(first[shuffled], second)
    assert not np.array_equal(first, assign_folds(LABELS, groups, folds=5, seed=4, ids=IDS))


def test_a_label_with_too_few_rows_is_refused() -> None:
    """Each fold must hold every label, or its metric would be about other labels; the label is named."""
    with pytest.raises(DataError, match=r"5 folds .* 'rare' has 4"):
        assign_folds([*LABELS, *["rare"] * 4], None, folds=5, seed=3)
    with pytest.raises(DataError, match="'rare' has 1"):
        assign_folds([*LABELS, *["rare"] * 9], [*IDS, *["one"] * 9], folds=5, seed=3)


def test_a_share_of_each_label_is_held_out() -> None:
    """To the row without groups; the same rows whatever their order."""
    held = hold_out(LABELS, None, share=0.125, seed=3, ids=IDS)
    for label in set(LABELS):
        rows = [index for index, name in enumerate(LABELS) if name == label]
        assert held[rows].sum() == round(len(rows) * 0.125)
    again = hold_out(LABELS[::-1], None, share=0.125, seed=3, ids=IDS[::-1])
    assert np.array_equal(held, again[::-1])


def test_groups_are_held_out_whole_and_every_label_stays() -> None:
    """A group is on one side; a label that one group has alone is not held out; shares are kept nearly."""
    labels = [*LABELS, "rare", "rare"]
    groups = [*OPENINGS, "one", "one"]
    held = hold_out(labels, groups, share=0.2, seed=3, ids=[*IDS, "a", "b"])
    sides: dict[str, set[bool]] = {}
    for name, side in zip(groups, held.tolist(), strict=True):
        sides.setdefault(name, set()).add(side)
    assert all(len(found) == 1 for found in sides.values())
    assert sides["one"] == {False}
    assert 0.17 < held.mean() < 0.23


def test_of_groups_that_are_all_too_large_the_smallest_is_held_out() -> None:
    """A validation split without rows could not be measured; but no label is given up for it."""
    labels = ["a", "b"] * 30
    groups = ["x"] * 24 + ["y"] * 20 + ["z"] * 16
    ids = [str(row) for row in range(60)]
    held = hold_out(labels, groups, share=0.05, seed=3, ids=ids)
    assert {group for group, out in zip(groups, held, strict=True) if out} == {"z"}
    assert not hold_out(labels, ["x"] * 60, share=0.05, seed=3, ids=ids).any()


def test_rows_with_one_text_or_one_group_are_tied() -> None:
    """Transitively: a group holds a text that another group repeats."""
    texts = ["A film", "a  FILM", "other", "third", "third", "fourth"]
    groups = [None, "x", "x", "y", None, None]
    unit = tie_rows(texts, groups).tolist()
    assert unit == [0, 0, 0, 1, 1, 2]


def test_without_groups_only_texts_tie() -> None:
    """No group at all is no error."""
    assert tie_rows(["a", "b", "a"], [None, None, None]).tolist() == [0, 1, 0]


def test_ties_chain_with_texts_and_groups() -> None:
    """A near duplicate of a row stands with the row's group, and with the rows of equal text."""
    units = tie_rows(["a", "A", "b", "c", "d"], [None, None, None, "g", "g"], np.array([[0, 2], [2, 3]]))
    assert len(set(units.tolist())) == 1
    assert len(set(tie_rows(["a", "b"], [None, None], np.empty((0, 2), dtype=np.int64)).tolist())) == 2


def test_out_of_fold_predictions_come_back_as_written(tmp_path: Path) -> None:
    """Names of rows and labels, folds and every bit of the probabilities."""
    generator = np.random.default_rng(7)
    made = OutOfFold(
        ids=("a", "b", "ü"),
        labels=("no", "yes", "no"),
        fold=np.array([1, 0, 1]),
        probabilities=generator.dirichlet((1, 1, 1), size=3).astype(np.float32),
        names=("no", "yes", "weiß nicht"),
    )
    made.write(tmp_path / "out_of_fold.parquet")
    found = OutOfFold.read(tmp_path / "out_of_fold.parquet")
    assert (found.ids, found.labels, found.names) == (made.ids, made.labels, made.names)
    assert np.array_equal(found.fold, made.fold)
    assert np.array_equal(found.probabilities, made.probabilities)
    assert found.probabilities.dtype == np.float32


def test_another_file_is_refused(tmp_path: Path) -> None:
    """Neither something that is no parquet nor a parquet without these columns passes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    (tmp_path / "text.parquet").write_text("no parquet", encoding="utf-8")
    pq.write_table(pa.table({"id": ["a"]}), tmp_path / "other.parquet")
    for name in ("text.parquet", "other.parquet"):
        with pytest.raises(ArtifactError, match="does not hold out-of-fold predictions"):
            OutOfFold.read(tmp_path / name)
