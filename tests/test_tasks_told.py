"""What somebody says is right, as JSON: entities as answers have them."""

from __future__ import annotations

from typing import Any

import pytest

from ftdeploy.spans import Span
from ftdeploy.tasks.told import known_name, read_entities

TEXT = "Naloxone reverses the effect of clonidine ."
SPANS = [Span(0, 8, "Chemical"), Span(32, 41, "Chemical")]


def _entity(start: object, end: object, kind: object = "Chemical", **more: object) -> dict[str, object]:
    return {"entity_group": kind, "start": start, "end": end, **more}


@pytest.mark.parametrize("text", [TEXT, None])
def test_entities_are_read_as_they_are_answered(text: str | None) -> None:
    """In any order, with the word and the score of an answer or without; none are an empty list."""
    given = [_entity(32, 41, word="clonidine", score=0.96), _entity(0, 8)]
    assert read_entities(given, ("Chemical", "Disease"), text) == SPANS
    assert read_entities([], ("Chemical",), text) == []


def test_the_white_space_of_an_entity_is_seen_where_the_text_is_known() -> None:
    """And cut; without the text it stays for whoever reads the text later."""
    assert read_entities([_entity(0, 9)], ("Chemical",), TEXT) == [Span(0, 8, "Chemical")]
    assert read_entities([_entity(0, 9)], ("Chemical",)) == [Span(0, 9, "Chemical")]


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("Chemical", "wants a list of entities"),
        ({"entities": []}, "wants a list of entities"),
        (None, "wants a list of entities"),
        (["Chemical"], r"label\[0\] wants an object"),
        ([_entity(0, 8), _entity(9, 17, "Chemcal")], r"label\[1\].entity_group 'Chemcal' .* did you mean 'Chemical'"),
        ([_entity(0, 8, None)], "entity_group None"),
        ([_entity(0, 8, label="Chemical")], "unknown key .*'label'"),
        ([_entity(0, 8.0)], "start and end as characters"),
        ([_entity(True, 8)], "start and end as characters"),
        ([_entity(-1, 8)], "start and end as characters"),
        ([_entity(8, 8)], "start and end as characters"),
        ([_entity(0, 2**60)], "start and end as characters"),
        ([_entity(40, 99)], r"label\[0\] ends at 99, beyond the text of 43 characters"),
        ([_entity(8, 9)], "white space only"),
        ([_entity(0, 8, word="Naloxon")], "not as long as from 0 to 8"),
        ([_entity(0, 8, word="clonidin")], r"'clonidin' is not what stands at 0:8, which is 'Naloxone'"),
        ([_entity(4, 12), _entity(32, 41), _entity(0, 8)], r"label\[2\] \(0:8\) and label\[0\] \(4:12\) overlap"),
        ([_entity(0, 8), _entity(0, 8, "Disease")], "overlap"),
    ],
)
def test_entities_that_are_none_say_which(given: Any, reason: str) -> None:
    """By its place in the list: beyond the text, across another, of no such kind, another word than it says."""
    with pytest.raises(ValueError, match=reason):
        read_entities(given, ("Chemical", "Disease"), TEXT)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("2", "label '2' is none of the model's; known: 0, 1, true"),
        (1, r"label 1 is none of the model's, which are texts; did you mean '1'\?"),
        (True, r"label True is none of the model's, which are texts; did you mean 'true'\?"),
        (None, "label None is none of the model's, which are texts; known: 0, 1, true"),
        (["1"], "which are texts; "),
    ],
)
def test_a_label_that_is_no_text_is_told_to_want_one(given: Any, reason: str) -> None:
    """Also where it would be a label if it were written as one, as numbers are that name classes."""
    with pytest.raises(ValueError, match=reason):
        known_name(given, ("0", "1", "true"))
