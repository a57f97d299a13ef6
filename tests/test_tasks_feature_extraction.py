"""feature-extraction: rows with labels and without, neighbours as answers, and which of them count as kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from ftdeploy.encoded import Outputs
from ftdeploy.neighbours import dump, load
from ftdeploy.prepare.builder import Builder
from ftdeploy.prepare.cleaning.counts import Counts, Rejected
from ftdeploy.prepare.privacy.guard import make_guard
from ftdeploy.prepare.read import Row
from ftdeploy.recipe import DataSettings
from ftdeploy.recipe.privacy import Privacy
from ftdeploy.signature import Signature
from ftdeploy.tasks import TASKS
from ftdeploy.tasks.said import numbered

if TYPE_CHECKING:
    from numpy.typing import NDArray

TASK = TASKS["feature-extraction"]
SIGNATURE = Signature(name="x", task=TASK.name, labels=(), max_length=8, dimensions=3)


def _outputs(vectors: NDArray[np.float32]) -> Outputs:
    return Outputs(logits=vectors.astype(np.float32), embedding=np.zeros((len(vectors), 2), dtype=np.float32))


@pytest.mark.parametrize(
    ("row", "column", "label"),
    [
        ({"text": "a", "label": " some   label "}, "label", "some label"),
        ({"text": "a", "label": 7}, "label", "7"),
        ({"text": "a", "label": None}, "label", ""),
        ({"text": "a"}, "label", ""),
        ({"text": "a", "label": "x"}, None, ""),
    ],
)
def test_a_row_may_have_a_label(row: dict[str, Any], column: str | None, label: str) -> None:
    """Any, or none: nothing is learned from it."""
    text, told = TASK.read(row, "text", column)
    assert (text, load(told).label) == ("a", label)
    assert TASK.summary(told) == label
    assert TASK.names(told) == ((label,) if label else ())


def test_identifiers_leave_labels_too() -> None:
    """A label may be the name of a person, or hold one: it is redacted as other cells are."""
    builder = Builder(data=DataSettings.model_validate({"source": {"path": "x.csv"}}), seed=0, task=TASK,
                      guard=make_guard(Privacy()))  # fmt: skip
    made = builder.clean(Row(place=1, values={"text": "some words", "label": "ada@example.org"}), Counts())
    assert not isinstance(made, Rejected)
    assert "ada" not in made["label"]
    assert load(made["label"]).label == "[EMAIL]"


def test_the_label_of_an_answer_is_that_of_the_nearest_row() -> None:
    """And what is right is what lies near by the first model; with the row's own label."""
    before = _outputs(np.array([[1, 0, 0], [0.9, 0.1, 0], [0, 1, 0], [0, 0.9, 0.2]]))
    after = _outputs(np.array([[1, 0, 0], [0, 0.9, 0.2], [0, 1, 0], [0.9, 0.1, 0]]))
    labels = [dump(label) for label in ("a", "a", "b", "b")]
    said = [TASK.said(one, SIGNATURE).labels for one in (before, after)]
    right, was, now = ([load(label) for label in column] for column in TASK.compared(labels, said))
    assert [one.label for one in right] == ["a", "a", "b", "b"]
    assert [one.label for one in was] == ["a", "a", "b", "b"]
    assert [one.label for one in now] == ["b", "b", "a", "a"]
    assert right[0].rows == was[0].rows == (1, 2, 3)


def test_a_label_that_nothing_else_has_counts_as_none() -> None:
    """Nothing near it could be right."""
    vectors = np.eye(3, dtype=np.float32)
    right, _ = TASK.compared(
        [dump(label) for label in ("a", "a", "b")], [TASK.said(_outputs(vectors), SIGNATURE).labels]
    )
    assert [load(label).label for label in right] == ["a", "a", ""]


def test_a_row_is_kept_while_half_of_its_neighbours_are() -> None:
    """Which is what counts rows that went from right to wrong."""
    table, (right, half, fewer) = numbered(
        [dump("a", range(10))], [dump("b", range(5, 15))], [dump("a", range(6, 16))]
    )  # fmt: skip
    assert TASK.right(table, right, right).all()
    assert TASK.right(table, right, half).all()
    assert not TASK.right(table, right, fewer).any()


def test_there_is_nothing_to_learn() -> None:
    """No head, no targets, any counts of labels; every answer is counted under one name."""
    assert TASK.head(("a", "b")) == ()
    assert TASK.summaries(()) == ("embedding",)
    TASK.check_labels({"": 10, "rare": 1})
    with pytest.raises(ValueError, match="no network"):
        TASK.targets(["a"], ())
