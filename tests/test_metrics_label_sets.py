"""Metrics of rows with any number of labels, held against scikit-learn on the same matrices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef, precision_score, recall_score

from ftdeploy.label_sets import dump
from ftdeploy.metrics import resolve, score
from ftdeploy.metrics.label_sets import LabelSets, set_scores
from ftdeploy.tasks.said import numbered

if TYPE_CHECKING:
    from numpy.typing import NDArray

NAMES = ("a", "b", "c")
_SETS = st.lists(st.sampled_from(NAMES), max_size=3).map(dump)


def _hot(labels: list[str], names: tuple[str, ...]) -> NDArray[np.int64]:
    return np.array([[int(f'"{name}"' in label) for name in names] for label in labels])


@settings(max_examples=50)
@given(pairs=st.lists(st.tuples(_SETS, _SETS), min_size=1, max_size=30))
def test_scores_are_those_of_scikit_learn(pairs: list[tuple[str, str]]) -> None:
    """Micro, macro over the labels that occur, of one label, and of whole rows; while training likewise."""
    true, said = map(list, zip(*pairs, strict=True))
    table, (references, predictions) = numbered(true, said)
    names = tuple(name for name in NAMES if any(f'"{name}"' in label for label in (*true, *said)))
    whole = [_hot(one, NAMES) for one in (true, said)]
    expected = {
        "label_f1": f1_score(*whole, average="micro", zero_division=0),
        "label_precision": precision_score(*whole, average="micro", zero_division=0),
        "label_recall": recall_score(*whole, average="micro", zero_division=0),
        "accuracy": accuracy_score(*whole),
        "label_macro_f1": 0.0,
    }
    if names:
        occurring = [_hot(one, names) for one in (true, said)]
        columns = range(len(names)) if len(names) > 1 else None
        single = len(names) == 1
        expected["label_macro_f1"] = (
            f1_score(*(one[:, 0] for one in occurring), zero_division=0)
            if single
            else f1_score(*occurring, average="macro", labels=columns, zero_division=0)
        )
    trained = set_scores(*(one.astype(np.float64) for one in whole))
    for name, value in expected.items():
        assert score(resolve(name, table), references, predictions, len(table)) == pytest.approx(value), name
        assert trained[name] == pytest.approx(value), name
    one = score(resolve("label_f1:b", table), references, predictions, len(table))
    assert one == pytest.approx(f1_score(*(hot[:, 1] for hot in whole), zero_division=0))


def _matthews(true: list[Any], said: list[Any]) -> float:
    """scikit-learn's, which warns of rows that are all alike."""
    return float(matthews_corrcoef(true, said)) if len({*true, *said}) > 1 else 0.0


@settings(max_examples=50)
@given(pairs=st.lists(st.tuples(_SETS, _SETS), min_size=1, max_size=30))
def test_the_correlation_is_matthews_of_one_label(pairs: list[tuple[str, str]]) -> None:
    """And between -1 and 1 over all of them, which training computes alike."""
    true, said = map(list, zip(*pairs, strict=True))
    table, (references, predictions) = numbered(true, said)
    whole = [_hot(one, NAMES) for one in (true, said)]
    one = score(resolve("label_mcc:b", table), references, predictions, len(table))
    assert one == pytest.approx(_matthews(*(hot[:, 1].tolist() for hot in whole)), abs=1e-9)
    every = score(resolve("label_mcc", table), references, predictions, len(table))
    assert -1 - 1e-9 <= every <= 1 + 1e-9
    assert set_scores(*(hot.astype(np.float64) for hot in whole))["label_mcc"] == pytest.approx(every)


@settings(max_examples=50)
@given(pairs=st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES)), min_size=1, max_size=30))
def test_the_correlation_with_one_label_a_row_is_that_of_classes(pairs: list[tuple[str, str]]) -> None:
    """Gorodkin's: what `mcc` is."""
    true, said = map(list, zip(*pairs, strict=True))
    table, (references, predictions) = numbered([dump([name]) for name in true], [dump([name]) for name in said])
    found = score(resolve("label_mcc", table), references, predictions, len(table))
    assert found == pytest.approx(_matthews(true, said), abs=1e-9)


def test_nothing_is_gained_of_labels_that_are_said_of_every_row() -> None:
    """However frequent they are, and whatever it does for F1."""
    true, said = [dump(["a"])] * 9 + [dump([])], [dump(["a"])] * 10
    table, (references, predictions) = numbered(true, said)
    assert score(resolve("label_f1", table), references, predictions, len(table)) > 0.9
    assert score(resolve("label_mcc", table), references, predictions, len(table)) == 0


def test_the_fullest_rows_weigh_most() -> None:
    """For the rows that could come next."""
    assert LabelSets("label_f1", (dump([]), dump(["a"]), dump(["a", "b"]))).heaviest().tolist() == [2, 1, 0]
