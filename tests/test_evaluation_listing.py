"""Suites by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from ftdeploy.errors import ConfigError
from ftdeploy.evaluation.listing import find_suite, list_suites, read_suite
from ftdeploy.recipe import load_recipe
from ftdeploy.suite import load_suite, suites_folder

ROOT = Path(__file__).parents[1]
SUITES = sorted((ROOT / "evaluation_suites").glob("*.yaml"))


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder with suites of a user's own: a good one, a broken one, and one of `evaluate`."""
    own = tmp_path / "evaluation_suites"
    own.mkdir()
    (own / "mine.yaml").write_text("version: 1\nname: mine\ngolden: [{text: a, label: b}]\n", encoding="utf-8")
    (own / "broken.yaml").write_text("version: 1\ngatess: []\n", encoding="utf-8")
    (own / "theirs.py").write_text("raise RuntimeError('not to be imported for a list')\n", encoding="utf-8")
    (own / "notes.txt").write_text("no suite", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_own_suites_stand_before_those_that_come_along() -> None:
    """A broken file and a Python file are listed for what they are; nothing else in the folder is."""
    found = list_suites()
    assert [one.name for one in found][:3] == ["broken", "mine", "theirs.py"]
    assert {path.stem for path in SUITES} <= {one.name for one in found}
    assert found[0].note.startswith("not valid: ")
    assert (found[1].gates, found[1].golden, found[1].cases) == (1, 1, ())
    assert found[2].note == "an evaluate.EvaluationSuite"


def test_in_a_checkout_nothing_is_listed_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """The suites in ./evaluation_suites are those that come along."""
    monkeypatch.chdir(ROOT)
    names = [one.path.resolve() for one in list_suites()]
    assert len(names) == len(set(names))


def test_a_suite_is_found_by_path_or_name(here: Path) -> None:
    """A path first, then ./evaluation_suites, then those of ftdeploy."""
    assert find_suite("mine") == find_suite("evaluation_suites/mine.yaml") == Path("evaluation_suites/mine.yaml")
    assert find_suite("theirs.py") == Path("evaluation_suites/theirs.py")
    assert find_suite("retail-categorization") == suites_folder() / "retail-categorization.yaml"
    (here / "evaluation_suites" / "sentiment.yaml").write_text("version: 1\n", encoding="utf-8")
    assert find_suite("sentiment") == Path("evaluation_suites/sentiment.yaml")


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("sentimnet", "did you mean 'sentiment'?"),
        ("evaluation_suites/mien.yaml", "did you mean 'mine.yaml'?"),
        ("evaluation_suites", "did you mean 'sentiment_suite'?"),
        ("nowhere/mine", "did you mean 'mine'?"),
    ],
)
def test_a_suite_that_is_not_there(name: str, hint: str) -> None:
    """What may have been meant, or what there is."""
    with pytest.raises(ConfigError, match=f"there is no suite {name}") as caught:
        find_suite(name)
    assert caught.value.fix.startswith(hint)


def test_keys_can_be_laid_over(here: Path) -> None:
    """As for recipes; a wrong one says that it came from --set."""
    path = here / "evaluation_suites" / "mine.yaml"
    assert read_suite(path, overrides=["resamples=1000"]).resamples == 1000
    with pytest.raises(ConfigError) as caught:
        read_suite(path, overrides=["resamples=1"])
    assert "given with --set" in str(caught.value.problems[0])


@pytest.mark.parametrize("path", SUITES, ids=lambda path: path.stem)
def test_recipes_and_suites_name_each_other(path: Path) -> None:
    """The suite of a recipe has that recipe's test rows as its case, and golden labels that the recipe knows."""
    suite = load_suite(path)
    recipe = ROOT / "recipes" / path.name
    assert suite.cases
    for case in suite.cases:
        assert case.source is None or case.source.licence or case.digest, "nobody can tell whether the rows are right"
    if not recipe.is_file():
        return
    assert [(case.recipe.resolve(), case.split) for case in suite.cases if case.recipe] == [(recipe, "test")]
    read = load_recipe(recipe)
    # The path of the recipe is written from another folder there.
    assert read.validate_.suite.model_copy(update={"cases": ()}) == suite.model_copy(update={"cases": ()})
    assert not read.data.labels or {row.label for row in suite.golden} <= set(read.data.labels)
    assert not any(gate.case for gate in suite.gates), "a run has no cases"
