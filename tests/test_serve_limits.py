"""Limits come from the signature, can be changed by the environment, and a typing error is told in words."""

from __future__ import annotations

from dataclasses import fields

import pytest

from ftdeploy.errors import ServeError
from ftdeploy.recipe import ServeSettings
from ftdeploy.serve.limits import Limits, read_limits


def test_the_environment_goes_before_the_signature_and_the_signature_before_the_defaults() -> None:
    """Whole numbers stay whole, although a signature stores every limit as a float."""
    found = read_limits({"max_texts": 8.0, "timeout_seconds": 2.5}, {"FTDEPLOY_MAX_TEXTS": "9", "FTDEPLOY_THREADS": ""})
    assert found == Limits(max_texts=9, timeout_seconds=2.5)
    assert isinstance(found.max_texts, int)


def test_every_serve_setting_of_a_recipe_is_a_limit_with_the_same_default() -> None:
    """The recipe's section and the service cannot drift apart."""
    assert read_limits(ServeSettings().model_dump(), {}) == Limits()


@pytest.mark.parametrize(
    ("name", "value"),
    [("MAX_TEXTS", "many"), ("MAX_TEXTS", "2.5"), ("MAX_TEXTS", "0"), ("MAX_QUEUE", "-1"), ("TIMEOUT_SECONDS", "nan"),
     ("TIMEOUT_SECONDS", "inf"), ("MAX_BODY_BYTES", "2MB"), ("MAX_TEXTS", "1e20"), ("MAX_REQUESTS", "1e20"),
     ("BODY_SECONDS", "1e10"), ("LANES", "200000"), ("BATCH_ROWS", "1000000"), ("WORKERS", "30000")],
)  # fmt: skip
def test_a_value_that_is_no_limit_is_an_error_that_names_the_variable(name: str, value: str) -> None:
    """Not a traceback of float(), and not silently the default."""
    with pytest.raises(ServeError, match=f"FTDEPLOY_{name} is '{value}'"):
        read_limits({}, {f"FTDEPLOY_{name}": value})


@pytest.mark.parametrize("name", [field.name for field in fields(Limits) if field.name != "cors_origins"])
def test_recipe_and_service_take_the_same_most_and_say_it(name: str) -> None:
    """What a service could not start with is refused before anything runs."""
    most = {"threads": 1024, "lanes": 1024, "workers": 1024, "batch_rows": 4096}.get(name, 10**9)
    assert getattr(read_limits(ServeSettings.model_validate({name: most}).model_dump(), {}), name) == most
    with pytest.raises(ValueError, match=str(most)):
        ServeSettings.model_validate({name: most + 1})
    with pytest.raises(ServeError, match=f"up to {most} is wanted"):
        read_limits({name: most + 1}, {})


def test_an_unknown_name_in_the_signature_is_an_error_with_a_suggestion() -> None:
    """A limit that is not enforced must not look as if it were."""
    with pytest.raises(ServeError, match="max_text") as caught:
        read_limits({"max_text": 3}, {})
    assert "max_texts" in caught.value.fix


def test_origins_come_from_the_signature_or_from_a_line() -> None:
    """A list in the recipe, commas or spaces in the environment."""
    stated = {"cors_origins": ["https://a.example"]}
    assert read_limits(stated, {}).cors_origins == ("https://a.example",)
    assert read_limits(stated, {"FTDEPLOY_CORS_ORIGINS": "http://b, http://c http://d:81"}).cors_origins == (
        "http://b",
        "http://c",
        "http://d:81",
    )
    assert read_limits({}, {}).cors_origins == ()


@pytest.mark.parametrize("value", ["https://a.example/", "null", "a.example", "https://a.example, b"])
def test_what_is_no_origin_is_an_error_that_names_the_variable(value: str) -> None:
    """It would be allowed on paper only."""
    with pytest.raises(ServeError, match=r"FTDEPLOY_CORS_ORIGINS has .* which is no origin"):
        read_limits({}, {"FTDEPLOY_CORS_ORIGINS": value})
    with pytest.raises(ServeError, match=r"serve\.cors_origins in signature\.json has '5'"):
        read_limits({"cors_origins": 5}, {})
    with pytest.raises(ServeError, match=r"max_texts in signature\.json is"):
        read_limits({"max_texts": ["8"]}, {})


def test_a_recipe_with_an_origin_that_is_none_is_told_by_its_check() -> None:
    """Before anything runs."""
    with pytest.raises(ValueError, match="slash at the end"):
        ServeSettings(cors_origins=("https://a.example/",))
    found = ServeSettings(cors_origins=("https://a.example", "*"))
    assert read_limits(found.model_dump(), {}).cors_origins == ("https://a.example", "*")
