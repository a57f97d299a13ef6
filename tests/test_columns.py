"""Whether columns fit a task: of recipes and of suites alike."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from ftdeploy.columns import unfit
from ftdeploy.recipe import Recipe
from ftdeploy.recipe.data import Columns
from ftdeploy.suite import CaseColumns
from ftdeploy.tasks import TASKS

MANY: dict[str, Any] = {"text_pair": "b", "label": None, "label_separator": ";", "tag_names": ("O", "B-x")}


@pytest.mark.parametrize("kind", [Columns, CaseColumns])
@pytest.mark.parametrize(
    ("task", "takes"),
    [
        ("text-classification", {"text_pair"}),
        ("multi-label-classification", {"text_pair", "label_separator"}),
        ("text-regression", {"text_pair"}),
        ("token-classification", {"tag_names"}),
        ("feature-extraction", {"label"}),
    ],
)
def test_what_a_task_has_no_use_for_is_told(kind: Any, task: str, takes: set[str]) -> None:
    """Each key by itself, and nothing of what goes with the task."""
    for key, value in MANY.items():
        found = list(unfit(kind(**{key: value}), TASKS[task]))
        assert [f"`columns.{key}`" in why and task in why for why in found] == ([] if key in takes else [True])


def test_a_recipe_tells_all_of_it_once() -> None:
    """Whether of the recipe or of one of its sources."""
    columns = {"label_separator": ";", "tag_names": ["O"]}
    data = {"columns": columns, "sources": [{"path": "a.csv", "columns": columns}, {"path": "b.csv"}]}
    with pytest.raises(ValidationError) as caught:
        Recipe.model_validate(
            {"version": 1, "name": "r", "task": "text-classification", "data": data, "model": {"path": "x"}}
        )
    told = str(caught.value)
    assert told.count("`columns.label_separator` goes with any number of labels") == 1
    assert told.count("`columns.tag_names` are of tokens") == 1
