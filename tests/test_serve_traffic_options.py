"""What is recorded is what the recipe says."""

from __future__ import annotations

import pytest

from ftdeploy.errors import ServeError
from ftdeploy.recipe import TrafficSettings
from ftdeploy.serve.traffic_options import TrafficOptions, read_options


def test_the_recipe_and_the_service_know_the_same_options() -> None:
    """Every `monitor.traffic` setting is an option of the same default; an unknown one is an error."""
    assert read_options(TrafficSettings().model_dump()) == TrafficOptions()
    with pytest.raises(ServeError, match="keep_text"):
        read_options({"keep_text": True})


def test_a_policy_that_is_none_is_an_error() -> None:
    """Not a folder that is synced by luck."""
    assert read_options({"fsync": "always"}).fsync == "always"
    with pytest.raises(ServeError, match="alway") as raised:
        read_options({"fsync": "alway"})
    assert "always" in raised.value.fix


def test_texts_are_not_kept_unless_that_is_asked_for() -> None:
    """The default of a recipe, and of a bundle that says nothing."""
    assert read_options({}).text is False
    assert TrafficSettings().text is False
