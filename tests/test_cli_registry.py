"""`ftdeploy registry` as programs and people meet it: what it prints, and exit codes of real processes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from contextlib import chdir
from pathlib import Path

import pytest
from checkpoints import write_tiny_recipe
from test_registry_shadow_report import pair, write
from tiny import write_bundle
from typer.testing import CliRunner

from ftdeploy.cli import app
from ftdeploy.errors import ArtifactError, ConfigError
from ftdeploy.recipe import load_recipe
from ftdeploy.registry import Registry


def registry(folder: Path, *arguments: str) -> str:
    """What a command that goes well prints, run in this process."""
    with chdir(folder):
        done = CliRunner().invoke(app, ["registry", *arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def refused(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command that ends with an error, in a process of its own."""
    command = [sys.executable, "-m", "ftdeploy", "registry", *arguments]
    environment = os.environ | {"COLUMNS": "200"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two runs, ``one`` and ``two``, of a bundle each, and a recipe."""
    folder = tmp_path_factory.mktemp("runs")
    for number, name in enumerate(("one", "two")):
        (folder / name).mkdir()
        write_bundle(folder / name / "bundle", serve={"max_texts": 17 + number})
    write_tiny_recipe(folder)
    return folder


def test_from_the_first_run_to_a_rollback(runs: Path, tmp_path: Path) -> None:
    """For people in sentences and tables, for programs as JSON; the recipe is kept as it was run."""
    root = str(tmp_path / "registry" / "reviews")
    (recipe,) = (path for path in runs.iterdir() if path.suffix in (".yaml", ".json"))
    added = registry(runs, "add", "one", root, "--recipe", recipe.name, "--set", "seed=77")
    one = re.findall(r"entered ([0-9a-f]{12})", added)[0]
    assert f"registry promote {root} {one}" in added
    kept = load_recipe(tmp_path / "registry" / "reviews" / "versions" / one / "recipe.yaml")
    assert kept == load_recipe(recipe, overrides=["seed=77"])
    again = registry(runs, "add", "one", root, "--recipe", recipe.name)
    assert f"{one} was entered before\nit keeps the recipe" in again
    two = json.loads(registry(runs, "add", "two", root, "--json"))["version"]
    assert registry(runs, "promote", root, one) == f"{one} is the champion; before: none\n"
    changed = registry(runs, "promote", root, two, "--why", "better by 2 points", "--json")
    assert json.loads(changed) == {"champion": two, "before": one}
    listed = registry(runs, "ls", root).splitlines()
    assert re.fullmatch(rf"{one}  tiny +\S+ \S+  bundle", listed[1])
    assert re.fullmatch(rf"{two}  tiny +\S+ \S+  bundle  champion", listed[2])
    assert registry(runs, "rollback", root) == f"{one} is the champion; before: {two}\n"
    as_data = json.loads(registry(runs, "ls", root, "--json"))
    assert [(entry["version"], entry["is"], entry["holds"]) for entry in as_data] == [
        (one, "champion", ["bundle"]),
        (two, "", ["bundle"]),
    ]
    past = json.loads(registry(runs, "history", root, "--json"))
    assert [event["action"] for event in past] == ["enter", "enter", "promote", "promote", "rollback"]
    assert [past[3][key] for key in ("digest", "before", "why")] == [two, one, "better by 2 points"]
    assert re.search(rf"\S+ \S+  promote +{two}  {one}  better by 2 points", registry(runs, "history", root))


def test_a_challenger_is_named_shown_and_taken_away(runs: Path, tmp_path: Path) -> None:
    """What it showed is there also when it has gone."""
    place = Registry(tmp_path / "reviews")
    version = place.enter(runs / "one", None)
    write(place.folder(version), "run", "abcdef012345", pair(9, 1), 1.7e9)
    shown = registry(tmp_path, "shadow", "reviews", version[:6], "--why", "to be watched")
    assert f"{version} is the challenger" in shown
    assert f"{version} beside champion abcdef012345" in shown
    assert re.search(r"agreement +0\.9000  \(0\.5550 to 0\.9975\)", shown)
    assert re.search(r"good -> bad +1", shown)
    gone = json.loads(registry(tmp_path, "shadow", "reviews", "--off", "--json"))
    assert (gone["shadow"], gone["shown"]) == (None, version)
    assert [(one["texts"], one["flips"]) for one in gone["comparisons"]] == [(10, [["good", "bad", 1]])]
    assert registry(tmp_path, "shadow", "reviews") == "there is no challenger\n"
    assert [(event.action, event.why) for event in place.history()[1:]] == [
        ("shadow", "to be watched"),
        ("shadow", "by hand"),
    ]


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["promote", "here/reviews", "3f2a9c51b07d"], ArtifactError.exit_code, "there is no registry"),
        (["add", "nothing", "here/reviews", "--recipe", "none.yaml"], ConfigError.exit_code, "none.yaml"),
        (["promote", "here/reviews"], 2, "version"),
        ([], 2, "rollback"),
    ],
)
def test_what_is_wrong_is_told_with_an_exit_code(tmp_path: Path, arguments: list[str], code: int, told: str) -> None:
    """Before anything is written."""
    found = refused(tmp_path, *arguments)
    assert found.returncode == code, found.stderr
    assert told in found.stdout + found.stderr
    assert list(tmp_path.iterdir()) == []


def test_programs_are_told_as_data(tmp_path: Path) -> None:
    """The error's three parts and its code."""
    as_data = json.loads(refused(tmp_path, "rollback", "here/reviews", "--json").stdout)
    assert (as_data["exit_code"], as_data["error_type"]) == (ArtifactError.exit_code, "RegistryError")
    assert {"what", "cause", "fix"} <= set(as_data)


def test_where_there_is_nothing_it_says_so(tmp_path: Path) -> None:
    """Rather than an empty table: that it is no registry is an error, so that a script notices a typing error."""
    (tmp_path / "reviews" / "versions").mkdir(parents=True)
    assert registry(tmp_path, "ls", "reviews") == "reviews has no versions\n"
    assert registry(tmp_path, "history", "reviews") == "nothing was done in reviews\n"
    assert registry(tmp_path, "shadow", "reviews") == "there is no challenger\n"
    for command in ("ls", "history", "shadow"):
        found = refused(tmp_path, command, "review")
        assert (found.returncode, found.stdout) == (ArtifactError.exit_code, "")
        assert "there is no registry in review" in found.stderr
        assert "did you mean 'reviews'?" in found.stderr
