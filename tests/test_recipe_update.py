"""The recipe's section `update`: what cannot be meant is refused."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from ftdeploy.recipe import UpdateSettings


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"metric": "acuracy"}, "did you mean 'accuracy'"),
        ({"test": 0.6, "validation": 0.35}, "less than a tenth"),
        ({"replay": 0}, "greater than 0"),
        ({"budgets": {"throughput": 1.1}}, "size"),
        ({"budgets": {"size": 0}}, "greater than 0"),
    ],
)
def test_what_cannot_be_meant(settings: dict[str, Any], words: str) -> None:
    """With what may have been meant; throughput is no cost."""
    with pytest.raises(ValidationError, match=words):
        UpdateSettings.model_validate(settings)


def test_nothing_need_be_said() -> None:
    """The defaults are valid, and budgets can be switched off."""
    assert UpdateSettings().budgets == {"size": 1.1, "latency_p95": 1.25}
    assert UpdateSettings.model_validate({"budgets": {}}).budgets == {}
