"""text-regression: a number for a text."""

from __future__ import annotations

import numpy as np
import pytest

from ftdeploy.encoded import Encoded, Outputs
from ftdeploy.errors import DataError
from ftdeploy.signature import Signature, Units
from ftdeploy.tasks import TASKS

TASK = TASKS["text-regression"]
SIGNATURE = Signature(name="stars", task=TASK.name, labels=("score",), max_length=8, units=Units(offset=3.0, scale=0.5))


def _outputs(*logits: float) -> Outputs:
    return Outputs(logits=np.array(logits, dtype=np.float32)[:, None], embedding=np.zeros((len(logits), 1), np.float32))


def test_labels_are_numbers_in_one_form() -> None:
    """Whatever a column holds them as; an empty cell is no label."""
    for cell in (4, 4.0, "4", " 4.00 "):
        assert TASK.read({"text": "a", "stars": cell}, "text", "stars") == ("a", "4")
    for empty in (None, "", "  "):
        assert TASK.read({"text": "a", "stars": empty}, "text", "stars") == ("a", None)
    with pytest.raises(ValueError, match="'four' is no number"):
        TASK.read({"text": "a", "stars": "four"}, "text", "stars")


def test_answers_are_in_the_units_of_the_data() -> None:
    """The mean of the labels and their deviation, which the network does not know, are put back."""
    assert TASK.said(_outputs(0, -2), SIGNATURE).labels == ["3", "2"]
    assert TASK.decode(_outputs(1), SIGNATURE) == [[{"label": "score", "score": 3.5}]]


def test_targets_are_numbers_of_the_windows() -> None:
    """float32; each window has that of its text."""
    windows = [Encoded(ids=[1], length=1, unknown=0, text=text) for text in (0, 1, 1)]
    found = TASK.targets(["1.5", "-2"], ("score",), windows)
    assert found.dtype == np.float32
    assert found.tolist() == [1.5, -2.0, -2.0]


def test_rows_of_a_suite_are_read_as_numbers_too() -> None:
    """In the form of the answers, so that equal ones are equal; what is none is named."""
    assert TASK.compared(["3.50", "2"], [["3", "2"]]) == [["3.5", "2"], ["3", "2"]]
    with pytest.raises(DataError, match="'good' is no number"):
        TASK.compared(["good"], [["3"]])


def test_right_is_near() -> None:
    """Within half a standard deviation of what is true, which is 1 here."""
    labels = ["1", "3", "1.4", "2.4"]
    assert TASK.right(labels, np.array([0, 1]), np.array([2, 3])).tolist() == [True, False]


def test_one_number_only_is_refused() -> None:
    """Nothing can be learned of it."""
    with pytest.raises(DataError, match="one number only"):
        TASK.check_labels({"3 to 3": 100})
    TASK.check_labels({"1 to 2": 60, "2.5 to 3": 40})
