"""What is recorded is what the recipe says."""

from __future__ import annotations

from pathlib import Path

import pytest

from ftdeploy.errors import ServeError
from ftdeploy.recipe import TrafficSettings
from ftdeploy.serve.traffic_options import TrafficOptions, read_options, traffic_folder


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


def test_traffic_goes_beside_the_bundle_unless_told_otherwise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bundle itself is sealed and never written."""
    monkeypatch.delenv("FTDEPLOY_TRAFFIC", raising=False)
    assert traffic_folder(tmp_path / "bundle" / "src") == tmp_path / "traffic"
    monkeypatch.setenv("FTDEPLOY_TRAFFIC", "~/elsewhere")
    assert traffic_folder(tmp_path) == Path.home() / "elsewhere"
    monkeypatch.setenv("FTDEPLOY_TRAFFIC", "OFF")
    assert traffic_folder(tmp_path) is None
