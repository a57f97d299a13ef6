"""Which tasks there are, and what goes with which."""

from __future__ import annotations

import pytest

from ftdeploy.errors import ConfigError
from ftdeploy.tasks import TASKS, known_task, require_one_label, require_training


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
