"""Numbers as labels."""

from __future__ import annotations

import numpy as np
import pytest

from ftdeploy.errors import DataError
from ftdeploy.tasks import TASKS
from ftdeploy.values import dump, is_number, numbers, parse, tolerance


@pytest.mark.parametrize("cell", [3, -0.5, "3", " 1e3 ", "-0.25"])
def test_numbers_are_read_as_people_write_them(cell: float | str) -> None:
    """Of spreadsheets, JSON and CSV alike."""
    assert parse(cell) == float(cell)


@pytest.mark.parametrize("cell", [None, True, "", "3,5", "good", "nan", float("inf"), "1e999", [1.0], 10**400])
def test_what_cannot_be_learned_is_no_number(cell: object) -> None:
    """A truth value is none either, whatever Python makes of it."""
    with pytest.raises(ValueError, match="no number"):
        parse(cell)


def test_strings_tell_any_two_float32_apart() -> None:
    """And equal numbers have one string, whatever their sign of zero."""
    value = np.float32(0.1)
    assert np.float32(parse(dump(float(value)))) == value
    assert dump(float(value)) != dump(float(np.nextafter(value, np.float32(1))))
    assert dump(-0.0) == dump(0.0) == "0"
    assert numbers(["1", "-2.5"]).tolist() == [1.0, -2.5]


def test_alike_is_within_half_a_deviation() -> None:
    """Of what is true; where nothing is, only what is equal."""
    assert tolerance(np.array([0.0, 2.0])) == 0.5
    assert tolerance(np.array([])) == 0.0


def test_numbers_as_names_of_labels_are_noticed() -> None:
    """Where they are too many to be names, the error says which task takes them for numbers."""
    assert is_number("3.5")
    assert not is_number("3,5")
    with pytest.raises(DataError) as caught:
        TASKS["text-classification"].check_labels({"1": 9, "1.5": 1, "2": 2})
    assert "task: text-regression" in caught.value.fix
    with pytest.raises(DataError) as caught:
        TASKS["text-classification"].check_labels({"good": 9, "2": 1})
    assert "correct or merge" in caught.value.fix
