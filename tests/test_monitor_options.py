"""What a bundle states of monitoring: the recipe's keys, with the same defaults."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from ftdeploy.errors import ArtifactError
from ftdeploy.monitor.options import MonitorOptions, read_options
from ftdeploy.recipe import MonitorSettings


def test_the_recipe_and_the_bundle_have_the_same_keys_and_defaults() -> None:
    """A bundle without any is judged as one of a recipe without any."""
    assert asdict(MonitorOptions()) == MonitorSettings().model_dump(exclude={"traffic", "alerts"})
    assert read_options({}) == MonitorOptions()
    assert read_options({"min_rows": 80.0}).min_rows == 80


def test_an_unknown_option_is_refused_by_name() -> None:
    """With the name that was meant."""
    with pytest.raises(ArtifactError, match="min_row") as raised:
        read_options({"min_row": 80})
    assert "min_rows" in raised.value.fix
