"""multi-label-classification: rows as they are read, targets, and answers of any number of labels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ftdeploy.encoded import Encoded, Outputs
from ftdeploy.errors import DataError
from ftdeploy.signature import Signature
from ftdeploy.tasks import TASKS
from ftdeploy.temperature import labelled, log_loss

TASK = TASKS["multi-label-classification"]
LABELS = ("a", "b", "c")
SIGNATURE = Signature(name="t", task=TASK.name, labels=LABELS, max_length=16)


def _outputs(*rows: list[float]) -> Outputs:
    logits = np.array(rows, dtype=np.float32)
    return Outputs(logits=logits, embedding=logits[:, :0])


@pytest.mark.parametrize(
    ("cell", "separator", "expected"),
    [
        (["b", "a", "b"], None, '["a", "b"]'),
        ('["b"]', None, '["b"]'),
        ("[]", None, "[]"),
        ("b| a  x |", "|", '["a x", "b"]'),
        ("", "|", "[]"),
        ("[]", "|", "[]"),
        ('["b", "a|c"]', "|", '["a|c", "b"]'),
        ("[b] | a", "|", '["[b]", "a"]'),
        ("[1]", "|", '["[1]"]'),
    ],
)
def test_labels_are_read_however_they_are_written(cell: Any, separator: str | None, expected: str) -> None:
    """A list, a list as JSON, or names with something between them; none is legal."""
    assert TASK.read({"text": "t", "l": cell}, "text", "l", separator) == ("t", expected)


def test_an_empty_cell_without_a_separator_is_no_label() -> None:
    """Where lists are wanted, nobody gave one; none of the labels is `[]`."""
    assert TASK.read({"text": "t", "l": " "}, "text", "l") == ("t", None)
    assert TASK.read({"text": "t", "l": None}, "text", "l", "|") == ("t", None)


@pytest.mark.parametrize("cell", ["a, b", 3, '{"a": 1}', [1], ["a", " "]])
def test_what_is_no_list_is_refused(cell: Any) -> None:
    """With what stands there."""
    with pytest.raises(ValueError, match=r"no list of labels|no name of a label"):
        TASK.read({"text": "t", "l": cell}, "text", "l")


@pytest.mark.parametrize("separator", [None, ",", ";"])
def test_a_list_as_python_writes_it_is_refused(separator: str | None) -> None:
    """Whatever stands between labels: its parts would be labels of brackets and quotes."""
    with pytest.raises(ValueError, match="as Python writes it"):
        TASK.read({"text": "t", "l": "['a', 'b']"}, "text", "l", separator)


def test_targets_are_ones_and_zeros() -> None:
    """For each row of a text that is several; an unknown name is named."""
    rows = [Encoded(ids=[1], length=1, unknown=0, text=text) for text in (0, 1, 1)]
    assert TASK.targets(['["a", "c"]', "[]"], LABELS, rows).tolist() == [[1, 0, 1], [0, 0, 0], [0, 0, 0]]
    with pytest.raises(DataError, match="'d' is not among the known labels"):
        TASK.targets(['["d"]'], LABELS)


def test_what_holds_is_answered() -> None:
    """From a half on, each label by itself; scores do not add up to 1, and the answer is as sure as all of it."""
    outputs = _outputs([2, -3, 0.1], [-1, -1, -1])
    said = TASK.said(outputs, SIGNATURE)
    assert said.labels == ['["a", "c"]', "[]"]
    assert [TASK.summary(label) for label in said.labels] == ["a", "(none)"]
    share = 1 / (1 + np.exp(-np.array([2.0, 3.0, 0.1])))
    assert said.scores[0] == pytest.approx(share.prod())
    (first, _) = TASK.decode(outputs, SIGNATURE)
    assert [one["label"] for one in first] == ["a", "c", "b"]
    assert [one["score"] for one in first] == pytest.approx([share[0], share[2], 1 - share[1]])


def test_a_temperature_is_fitted_to_each_decision() -> None:
    """The loss that it lowers is the binary cross-entropy."""
    outputs, targets = _outputs([2, -3, 0.1]), np.array([[1, 1, 0]], dtype=np.float32)
    logits, ids = labelled(outputs.logits, targets)
    share = 1 / (1 + np.exp(-np.array([2.0, -3.0, 0.1]) / 2))
    expected = -np.log([share[0], share[1], 1 - share[2]]).mean()
    assert log_loss(logits.astype(np.float64), ids, 2.0) == pytest.approx(expected)


def test_data_without_a_label_is_refused() -> None:
    """A column of nothing."""
    with pytest.raises(DataError, match="no row of the data has a label"):
        TASK.check_labels({"(none)": 5})
    TASK.check_labels({"(none)": 5, "a": 1})


def test_a_label_may_hold_from_a_threshold_of_its_own() -> None:
    """Of the probability that is served; the others from a half on. How sure it is goes by what it decided."""
    least = SIGNATURE.model_copy(update={"thresholds": {"a": 0.25, "b": 0.75}, "temperature": 2.0})
    half = 2 * float(np.log(0.4 / 0.6))  # a probability of 0.4 at that temperature
    found = TASK.said(_outputs([half, 1.0, 1.0], [-8.0, 8.0, -8.0]), least)
    assert found.labels == ['["a", "c"]', '["b"]']
    share = 1 / (1 + np.exp(-0.5))
    assert found.scores[0] == pytest.approx(0.4 * (1 - share) * share, abs=1e-6)
