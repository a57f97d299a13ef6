"""Any number of names as one string."""

from __future__ import annotations

import pytest

from ftdeploy.label_sets import dump, load


def test_names_are_sorted_and_stand_once() -> None:
    """So that equal sets are equal strings, whatever the script."""
    assert dump(["b", "a", "b"]) == '["a", "b"]'
    assert load(dump(["\u00e9", "a"])) == ("a", "\u00e9")
    assert load(dump([])) == ()


def test_what_is_no_list_is_refused() -> None:
    """Rather than read letter by letter."""
    for wrong in ('"ab"', "[1]", "{}"):
        with pytest.raises(ValueError, match="no list of names"):
            load(wrong)
