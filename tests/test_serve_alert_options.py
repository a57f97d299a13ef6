"""Whom a service tells of a drift: recipe, signature and environment say it in one way, and secrets are not shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from ftdeploy.errors import ServeError
from ftdeploy.recipe.deploy import AlertSettings
from ftdeploy.serve.alert_options import AlertOptions, read_alert_options


def test_every_setting_of_a_recipe_is_an_option_with_the_same_default() -> None:
    """The recipe's section and the service cannot drift apart."""
    assert read_alert_options(AlertSettings().model_dump(), {}) == AlertOptions()


def test_the_environment_is_stronger_than_the_bundle() -> None:
    """Each option by its variable; a command is split as a shell would, and numbers are numbers."""
    stated = {"command": ["page", "me"], "webhook": "https://a.example/x", "cooldown_seconds": 5}
    assert read_alert_options(stated, {}) == AlertOptions(
        command=("page", "me"), webhook="https://a.example/x", cooldown_seconds=5.0
    )
    found = read_alert_options(stated, {
        "FTDEPLOY_ALERT_COMMAND": "tell 'the owner' --now",
        "FTDEPLOY_ALERT_WEBHOOK": "http://127.0.0.1:9/y?z=1",
        "FTDEPLOY_ALERT_LOG": "off",
        "FTDEPLOY_ALERT_CLEAR_SECONDS": "0.5",
        "FTDEPLOY_ALERT_TOKEN": "k",
    })  # fmt: skip
    assert found == AlertOptions(command=("tell", "the owner", "--now"), webhook="http://127.0.0.1:9/y?z=1", log=False,
                                 cooldown_seconds=5.0, clear_seconds=0.5, token=found.token)  # fmt: skip
    assert found.token == "k"  # noqa: S105  # no key of anything


def test_a_key_may_stand_in_a_file_and_is_never_shown(tmp_path: Path) -> None:
    """Nor is the webhook, whose path may be one."""
    path = tmp_path / "key"
    path.write_text("very-secret\n")
    found = read_alert_options({"webhook": "https://a.example/hidden"}, {"FTDEPLOY_ALERT_TOKEN_FILE": str(path)})
    assert found.token == path.read_text().strip()
    assert "secret" not in repr(found)
    assert "hidden" not in repr(found)


@pytest.mark.parametrize(
    ("name", "value"),
    [("WEBHOOK", "ftp://a.example/s3cret"), ("WEBHOOK", "https://u:s3cret@a.example/"), ("COMMAND", "say 's3cret"),
     ("WEBHOOK", "https://a.example:99999/s3cret"), ("TOKEN", "s3cret s3cret"), ("TOKEN_FILE", "/not/there/s3cret")],
)  # fmt: skip
def test_what_cannot_be_used_is_an_error_that_quotes_no_secret(name: str, value: str) -> None:
    """The variable is named, its value is not."""
    with pytest.raises(ServeError) as caught:
        read_alert_options({}, {f"FTDEPLOY_ALERT_{name}": value})
    error = caught.value
    assert "s3cret" not in f"{error.what} {error.cause} {error.fix}"


@pytest.mark.parametrize(("name", "value"), [("LOG", "perhaps"), ("COOLDOWN_SECONDS", "0"), ("TIMEOUT_SECONDS", "nan")])
def test_a_value_that_is_none_is_an_error_that_names_the_variable(name: str, value: str) -> None:
    """And not silently the default; two keys are one too many, and a name that is not known gets a suggestion."""
    with pytest.raises(ServeError, match=f"FTDEPLOY_ALERT_{name} is '{value}'"):
        read_alert_options({}, {f"FTDEPLOY_ALERT_{name}": value})
    with pytest.raises(ServeError, match="both"):
        read_alert_options({}, {"FTDEPLOY_ALERT_TOKEN": "a", "FTDEPLOY_ALERT_TOKEN_FILE": "b"})
    with pytest.raises(ServeError, match="webhok") as caught:
        read_alert_options({"webhok": ""}, {})
    assert "webhook" in caught.value.fix
