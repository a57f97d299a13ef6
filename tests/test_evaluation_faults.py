"""Faults of rows: gathered, counted, and told with their places."""

from __future__ import annotations

import pytest

from ftdeploy.errors import DataError
from ftdeploy.evaluation.faults import Faults
from ftdeploy.prepare.clean import Rejected


def test_all_are_counted_and_a_few_are_shown() -> None:
    """An error of a thousand lines helps nobody."""
    faults = Faults("films", tidied=False)
    for place in range(1, 1001):
        assert faults.note(place, None, "good", None)
    with pytest.raises(DataError) as caught:
        faults.check(0)
    assert caught.value.what.startswith("case films: 1,000 fault(s) in 1,000 rows, by their places: 1: the text is")
    assert caught.value.what.endswith("5: the text is empty; and 995 more")


def test_what_is_no_text_says_what_it_is() -> None:
    """Lists, halves of characters, labels that are none."""
    faults = Faults("films", tidied=False)
    assert faults.note(1, Rejected(reason="is a list, not text"), "good", None)
    assert faults.note(2, "half \ud83d", "good", None)
    assert faults.note(3, "fine", Rejected(reason="label is missing"), None)
    with pytest.raises(DataError) as caught:
        faults.check(7)
    for words in ("3 fault(s) in 10 rows", "1: the text is a list", "2: the text holds half", "3: label is missing"):
        assert words in caught.value.what


def test_rows_that_were_tidied_may_stand_twice() -> None:
    """A recipe decided on duplicates before: it may keep them."""
    for tidied in (True, False):
        faults = Faults("films", tidied=tidied)
        assert not any([faults.note(1, "same", "good", "a"), faults.note(2, "Same ", "good", "b")])
        if tidied:
            faults.check(2)
        else:
            with pytest.raises(DataError, match="1 and 2 have the same text"):
                faults.check(2)


def test_each_group_of_equal_rows_is_named_once() -> None:
    """By the first places, in the order of the file; texts and ids apart."""
    faults = Faults("films", tidied=False)
    for place, (text, name) in enumerate([("a", "1"), ("b", "2"), ("c", "2"), ("b", "3"), ("a", "4"), ("a", "5")], 1):
        assert not faults.note(place, text, "good", name)
    with pytest.raises(DataError) as caught:
        faults.check(6)
    listed = "1 and 5 and 6 have the same text; 2 and 4 have the same text; 2 and 3 have the same id"
    assert caught.value.what == f"case films: 3 fault(s) in 6 rows, by their places: {listed}"
