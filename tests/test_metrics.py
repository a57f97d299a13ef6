"""Metrics against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score

from ftdeploy.metrics import METRICS, Ids, score

CLASSES = 4
_PAIRS = st.lists(st.tuples(st.integers(0, CLASSES - 1), st.integers(0, CLASSES - 1)), min_size=1, max_size=60)


def _columns(pairs: list[tuple[int, int]]) -> tuple[Ids, Ids]:
    rows = np.array(pairs, dtype=np.int64)
    return rows[:, 0], rows[:, 1]


@given(_PAIRS)
@settings(deadline=None)
def test_accuracy_is_scikit_learns(pairs: list[tuple[int, int]]) -> None:
    """Accuracy is scikit-learn's on any predictions."""
    references, predictions = _columns(pairs)
    ours = score(METRICS["accuracy"], references, predictions, CLASSES)
    assert ours == pytest.approx(accuracy_score(references, predictions))


@given(_PAIRS)
@settings(deadline=None)
def test_macro_f1_is_scikit_learns(pairs: list[tuple[int, int]]) -> None:
    """Macro F1 is scikit-learn's on any predictions, classes that never occur included."""
    references, predictions = _columns(pairs)
    ours = score(METRICS["macro_f1"], references, predictions, CLASSES)
    assert ours == pytest.approx(f1_score(references, predictions, average="macro", zero_division=0))


@given(_PAIRS, st.permutations(range(CLASSES)))
@settings(deadline=None)
def test_names_of_classes_do_not_matter(pairs: list[tuple[int, int]], names: list[int]) -> None:
    """Renaming the classes changes no metric."""
    references, predictions = _columns(pairs)
    renamed = np.array(names, dtype=np.int64)
    for metric in METRICS.values():
        before = score(metric, references, predictions, CLASSES)
        assert score(metric, renamed[references], renamed[predictions], CLASSES) == pytest.approx(before)


def test_value_takes_a_stack_of_sums() -> None:
    """Metrics of many resamples are computed at once, each as it is alone."""
    references, predictions = _columns([(0, 0), (0, 1), (1, 1), (2, 1), (3, 3)])
    for metric in METRICS.values():
        sums = metric.statistics(references, predictions, CLASSES).sum(axis=0)
        stacked = metric.value(np.stack([sums, 3 * sums, 0 * sums]))
        assert stacked.tolist() == pytest.approx([float(metric.value(sums))] * 2 + [0.0])
