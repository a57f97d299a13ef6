"""Metrics of what lies near a row."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from ftdeploy.metrics import resolve, score
from ftdeploy.neighbours import dump, nearest
from ftdeploy.statistics import compare
from ftdeploy.tasks import TASKS
from ftdeploy.tasks.said import numbered

if TYPE_CHECKING:
    from numpy.typing import NDArray

TASK = TASKS["feature-extraction"]


def _said(vectors: NDArray[np.float32]) -> list[str]:
    return [dump("", [*sorted(near), *near[:1]]) for near in nearest(vectors).tolist()]


def _compared(labels: list[str], *models: NDArray[np.float32]) -> tuple[tuple[str, ...], list[NDArray[np.int64]]]:
    return numbered(*TASK.compared([dump(label) for label in labels], [_said(one) for one in models]))


def test_agreement_is_the_mean_share_of_common_neighbours_and_accuracy_that_of_the_nearest_label() -> None:
    """As computed without these strings."""
    random = np.random.default_rng(5)
    before = random.standard_normal((200, 6)).astype(np.float32)
    after = before + 0.3 * random.standard_normal((200, 6)).astype(np.float32)
    labels = random.choice(["a", "b", ""], 200).tolist()
    table, (references, was, now) = _compared(labels, before, after)
    shares = [len(set(one) & set(other)) / 10 for one, other in zip(nearest(before), nearest(after), strict=True)]
    assert 0.3 < np.mean(shares) < 0.95
    agreement, accuracy = resolve("neighbour_agreement", table), resolve("neighbour_accuracy", table)
    assert score(agreement, references, was, len(table)) == 1.0
    assert score(agreement, references, now, len(table)) == pytest.approx(np.mean(shares))
    counted = [row for row, label in enumerate(labels) if label]
    hits = [labels[nearest(after)[row, 0]] == labels[row] for row in counted]
    assert score(accuracy, references, now, len(table)) == pytest.approx(np.mean(hits))


def test_the_gate_knows_how_few_rows_say() -> None:
    """Equal neighbours on 40 rows prove no loss of under a tenth, on 400 they do: a row that lost all of its neighbours
    could have come next."""
    for rows, verdict in ((40, "inconclusive"), (400, "pass")):
        vectors = np.random.default_rng(1).standard_normal((rows, 6)).astype(np.float32)
        table, (references, was, now) = _compared(["x", "y"] * (rows // 2), vectors, vectors)
        for name in ("neighbour_agreement", "neighbour_accuracy"):
            found = compare(resolve(name, table), references, was, now, classes=len(table), margin=0.05)
            assert found.verdict == verdict, name
            assert found.lower < 0


def test_rows_without_a_label_have_no_accuracy() -> None:
    """It would be 0, and is refused where none has one; where some have, the others do not count."""
    vectors = np.random.default_rng(1).standard_normal((20, 4)).astype(np.float32)
    table, (references, was, _) = _compared([""] * 20, vectors, vectors)
    with pytest.raises(ValueError, match="use neighbour_agreement"):
        resolve("neighbour_accuracy", table)
    assert score(resolve("neighbour_agreement", table), references, was, len(table)) == 1.0


def test_one_row_alone_agrees_with_itself() -> None:
    """It has no neighbours."""
    table, (references, was, _) = _compared(["a"], *[np.ones((1, 3), dtype=np.float32)] * 2)
    assert score(resolve("neighbour_agreement", table), references, was, len(table)) == 1.0
