"""Which tasks there are, and what goes with which."""

from __future__ import annotations

from typing import Any

import pytest
from jsonschema_rs import Draft202012Validator

from ftdeploy.errors import ConfigError
from ftdeploy.spans import tags_of
from ftdeploy.tasks import TASKS, known_task, require_one_label, require_training

TEXT = "Aspirin helps"
OUTPUTS = {
    "text-classification": ("good", "bad"),
    "multi-label-classification": ("cheap", "fast"),
    "token-classification": tags_of(("Drug",)),
    "text-regression": ("score",),
    "feature-extraction": (),
}


def test_a_task_that_there_is_not_is_told_from_those_there_are() -> None:
    """With what was probably meant."""
    with pytest.raises(ValueError, match="did you mean 'feature-extraction'"):
        known_task("feature-extractoin")


@pytest.mark.parametrize(
    ("task", "one_label", "training"),
    [
        ("text-classification", True, True),
        ("token-classification", False, True),
        ("feature-extraction", False, False),
        ("multi-label-classification", False, True),
        ("text-regression", False, True),
    ],
)
def test_commands_ask_for_properties(task: str, one_label: bool, training: bool) -> None:
    """One label a row, and a head that is trained."""
    for require, goes in ((require_one_label, one_label), (require_training, training)):
        if goes:
            require(TASKS[task], "it")
        else:
            with pytest.raises(ConfigError, match=f"it does not go with {task}"):
                require(TASKS[task], "it")


@pytest.mark.parametrize("task", TASKS)
def test_the_names_of_outputs_are_those_that_they_were_made_of(task: str) -> None:
    """Whatever stands before a kind of spans in a tag; numbers and vectors have none."""
    named = TASKS[task].known_names(TASKS[task].head(("a", "b")))
    assert named == (() if TASKS[task].number or TASKS[task].vectors else ("a", "b"))


@pytest.mark.parametrize(
    ("task", "given", "label"),
    [
        ("text-classification", "good", "good"),
        ("multi-label-classification", ["fast", "cheap", "fast"], '["cheap", "fast"]'),
        ("multi-label-classification", [], "[]"),
        ("token-classification", [{"entity_group": "Drug", "start": 0, "end": 7}], '[[0,7,"Drug"]]'),
        ("token-classification", [], "[]"),
        ("text-regression", 4, "4"),
        ("text-regression", -0.25, "-0.25"),
    ],
)
def test_what_is_said_to_be_right_is_a_label_of_the_data(task: str, given: Any, label: str) -> None:
    """Its schema takes it, and reading a row with it leaves it as it is: so `ftdeploy update` learns what was sent."""
    Draft202012Validator(TASKS[task].true_label_schema(OUTPUTS[task])).validate(given)
    assert TASKS[task].true_label(given, OUTPUTS[task], TEXT) == label
    assert TASKS[task].read({"text": TEXT, "label": label}, "text", "label") == (TEXT, label)


@pytest.mark.parametrize(
    ("task", "given", "told"),
    [
        ("text-classification", "god", "label 'god' is none of the model's; did you mean 'good'"),
        ("text-classification", None, "label None"),
        ("multi-label-classification", "fast", "wants a list of names"),
        ("multi-label-classification", None, "wants a list of names"),
        ("multi-label-classification", ["fast", "cheep"], r"label\[1\] 'cheep' is none .* did you mean 'cheap'"),
        ("multi-label-classification", [["fast"]], r"label\[0\]"),
        ("token-classification", "Drug", "wants a list of entities"),
        ("text-regression", "4", "wants a number"),
        ("text-regression", True, "wants a number"),
        ("text-regression", 1e300, "wants a number"),
        ("text-regression", -1e39, "wants a number"),
        ("feature-extraction", [0.5], "nobody can say which one is right"),
    ],
)
def test_what_is_said_to_be_right_and_is_no_label_is_told(task: str, given: Any, told: str) -> None:
    """Nothing of it is guessed, and no schema takes it."""
    assert not Draft202012Validator(TASKS[task].true_label_schema(OUTPUTS[task])).is_valid(given)
    with pytest.raises(ValueError, match=told):
        TASKS[task].true_label(given, OUTPUTS[task], TEXT)
