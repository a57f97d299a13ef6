"""Metrics of predicted classes, against scikit-learn."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef, precision_score, recall_score

from ftdeploy.metrics import resolve, score

CLASSES = 4
LABELS = ("a", "b", "c", "d")
_PAIRS = st.lists(st.tuples(st.integers(0, CLASSES - 1), st.integers(0, CLASSES - 1)), min_size=1, max_size=60)
THEIRS: dict[str, Callable[..., Any]] = {
    "accuracy": accuracy_score,
    "micro_f1": partial(f1_score, average="micro", zero_division=0),
    "macro_f1": partial(f1_score, average="macro", zero_division=0),
    "weighted_f1": partial(f1_score, average="weighted", zero_division=0),
    "macro_precision": partial(precision_score, average="macro", zero_division=0),
    "macro_recall": partial(recall_score, average="macro", zero_division=0),
    "mcc": matthews_corrcoef,
    "f1:c": partial(f1_score, labels=[2], average="macro", zero_division=0),
    "precision:c": partial(precision_score, labels=[2], average="macro", zero_division=0),
    "recall:c": partial(recall_score, labels=[2], average="macro", zero_division=0),
}


@pytest.mark.parametrize("name", THEIRS)
@given(pairs=_PAIRS)
@settings(max_examples=60)
def test_it_is_scikit_learns(name: str, pairs: list[tuple[int, int]]) -> None:
    """On any predictions, classes that never occur and rows of one class included."""
    references, predictions = np.array(pairs, dtype=np.int64).T
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn's remarks on samples of one class
        theirs = THEIRS[name](references, predictions)
    assert score(resolve(name, LABELS), references, predictions, CLASSES) == pytest.approx(theirs, abs=1e-12)
