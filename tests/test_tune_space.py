"""What can be searched, and how a trial's values become settings of the recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml
from checkpoints import write_tiny_recipe

from ftdeploy.errors import ConfigError
from ftdeploy.recipe import Range, Recipe, TuneSettings, load_recipe
from ftdeploy.tune.space import as_yaml, check_space, current, grid, read_space, settings_of


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe without a checkpoint: nothing is trained here."""
    folder = tmp_path_factory.mktemp("recipe")
    return write_tiny_recipe(folder, rows=40, checkpoint=folder / "model")


def tuned(path: Path, *settings: str) -> tuple[Recipe, list[str]]:
    return load_recipe(path, overrides=settings), list(settings)


def problems(path: Path, *settings: str) -> list[str]:
    """What is wrong, found while reading or before searching."""
    with pytest.raises(ConfigError) as caught:
        check_space(path, settings, load_recipe(path, overrides=settings))
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("tune.space={train.learning_rat: [1.0e-5, 1.0e-4]}", "did you mean 'learning_rate'?"),
        ("tune.space={trian.epochs: [1, 2]}", "did you mean 'train'?"),
        ("tune.space={train.epochs.more: [1, 2]}", "'train.epochs.more' is no key of a recipe"),
        ("tune.space={}", "at least 1"),
        ("tune.space={train.epochs: [1]}", "at least 2 items"),
        ("tune.space={train.epochs: 3}", "tune.space.train.epochs"),
        ("tune.space={train.epochs: [1, 1]}", "1 stands twice"),
        ("tune.space={train.epochs: {low: 1, hihg: 3}}", "unknown key"),
        ("tune.space={train.epochs: {low: 3, high: 3}}", "low (3) must lie below high (3)"),
        ("tune.space={train.warmup: {low: 0, high: 0.5, log: true}}", "log wants low above 0"),
        ("tune={sampler: grid, space: {train.warmup: {low: 0.1, high: 0.5}}}", "grid wants choices or a step"),
        ("tune={sampler: grid, space: {train.warmup: {low: 0, high: 0.5}}}", "grid wants choices or a step"),
        ("tune={metric: acuracy, space: {train.epochs: [1, 2]}}", "did you mean 'accuracy'?"),
        ("tune={space: {train.schedule: [linear, cosin]}}", "did you mean 'cosine'?"),
        ("tune={space: {train.epochs: {low: 0, high: 3}}}", "greater than or equal to 1"),
        ("tune={space: {train.learning_rate: {low: 0.1, high: 2}}}", "less than 1"),
        ("tune={space: {serve.max_texts: [1, 2]}}", "does not read 'serve'"),
        ("tune={space: {tune.trials: [1, 2]}}", "does not read 'tune'"),
        ("tune={space: {seed: [1, 2]}}", "'seed' decides which rows are for validation"),
        ("tune={space: {data.split.validation: [0.1, 0.2]}}", "'data.split.validation' decides which rows"),
        ("tune={space: {data.split: [{test: 0.1}, {test: 0.2}]}}", "'data.split' decides which rows"),
        ("tune.space.data.split.test={low: 0.1, high: 0.2}", "'data.split.test' decides which rows"),
        ("tune={space: {data.limit: [100, 200]}}", "'data.limit' decides which rows"),
        ("tune.space.data.duplicates.near=[group, ignore]", "'data.duplicates.near' decides which rows"),
        ("tune.space.data.columns.text=[text, title]", "'data.columns.text' decides which rows"),
        ("tune={space: {data: [{limit: 100}, {limit: 200}]}}", "'data' decides which rows"),
    ],
)
def test_what_no_recipe_can_have_is_refused_before_any_trial(path: Path, setting: str, words: str) -> None:
    """Keys with a suggestion, ends and choices by the recipe's own rules, and what a trial would not feel."""
    found = problems(path, setting)
    assert any(words in problem for problem in found), found


def test_what_divides_the_rows_is_refused_where_the_recipe_is_read(path: Path) -> None:
    """So `check` says it, too: trials on validation rows of their own would be compared by their luck."""
    with pytest.raises(ConfigError) as caught:
        load_recipe(path, overrides=["tune={space: {seed: {low: 1, high: 9}, train.epochs: [1, 2]}}"])
    (problem,) = caught.value.problems
    assert problem.path == "tune"
    assert "the easiest would win" in problem.message


def test_every_problem_is_told_at_once(path: Path) -> None:
    """One for each wrong value."""
    found = problems(path, "tune={space: {train.schedule: [linaer, cosin], train.epochs: {low: 0, high: 2}}}")
    assert len(found) == 3


def test_a_recipe_without_the_section_is_told_what_to_write(path: Path) -> None:
    """And what it is told to write is a section."""
    with pytest.raises(ConfigError, match="does not say what to search") as caught:
        check_space(path, (), load_recipe(path))
    section = yaml.safe_load(caught.value.fix.partition(": ")[2])
    assert TuneSettings.model_validate(section["tune"]).trials == 20


def test_set_names_a_key_part_by_part(path: Path) -> None:
    """`--set` cuts a key at its dots; the space joins it again."""
    recipe, _ = tuned(path, "tune.space.train.epochs=[1, 2]", "tune.space.train.warmup={low: 0.0, high: 0.5}")
    assert recipe.tune is not None
    assert dict(recipe.tune.space) == {"train.epochs": (1, 2), "train.warmup": Range(low=0.0, high=0.5)}


def test_a_power_without_a_point_is_a_number(path: Path) -> None:
    """YAML 1.1 takes 1e-5 for text."""
    recipe, _ = tuned(
        path, "tune={space: {train.learning_rate: [1e-5, 2.5E-4], train.warmup: {low: 1e-3, high: 1e-1}}}"
    )
    assert recipe.tune is not None
    assert dict(recipe.tune.space) == {"train.learning_rate": (1e-5, 2.5e-4), "train.warmup": Range(low=1e-3, high=0.1)}


def test_the_recipe_decides_what_is_a_whole_number() -> None:
    """Between 0 and 1 a share has more than two values; epochs between 1 and 3 have three."""
    settings = TuneSettings(space={"train.warmup": Range(low=0, high=1), "train.epochs": Range(low=1, high=3)})
    epochs, warmup = read_space(settings)
    assert (epochs.whole, warmup.whole) == (True, False)
    assert epochs.values() == [1, 2, 3]


def suggested(settings: TuneSettings, **stored: Any) -> dict[str, Any]:
    """What the recipe gets for values that Optuna stores."""
    trial = optuna.trial.FixedTrial({key.replace("__", "."): value for key, value in stored.items()})
    return {one.key: one.suggest(trial) for one in read_space(settings)}


def test_a_rate_is_rounded_to_what_a_person_reads() -> None:
    """Four digits, and never out of the range; steps are kept as they are."""
    settings = TuneSettings(
        space={
            "train.learning_rate": Range(low=1.23444e-5, high=1e-3, log=True),
            "train.warmup": Range(low=0, high=0.5, step=0.03125),
        }
    )
    found = suggested(settings, train__learning_rate=3.14159265e-5, train__warmup=0.03125)
    assert found == {"train.learning_rate": 3.142e-5, "train.warmup": 0.03125}
    assert suggested(settings, train__learning_rate=1.23444e-5, train__warmup=0.0)["train.learning_rate"] == 1.23444e-5


@pytest.mark.parametrize("value", [3.0e-05, 1e38, 0.1, 5, True, None, "linear", "yes", "1e-5", "a: b # c", [1, "x"],
                                   {"patience": 2, "min_delta": 0.0}, "größer", ""])  # fmt: skip
def test_a_value_comes_back_from_yaml_as_it_was(value: object) -> None:
    """On one line, type and all."""
    text = as_yaml(value)
    assert "\n" not in text
    back = yaml.safe_load(text)
    assert back == value
    assert type(back) is type(value)


def test_settings_reach_the_recipe(path: Path) -> None:
    """Sections, null and numbers, as `--set` takes them."""
    values = {"train.early_stopping": None, "train.learning_rate": 3e-5, "train.schedule": "cosine"}
    recipe = load_recipe(path, overrides=settings_of(values))
    assert recipe.train.early_stopping is None
    assert (recipe.train.learning_rate, recipe.train.schedule) == (3e-5, "cosine")


def test_choices_may_be_sections_and_null() -> None:
    """Optuna stores a text for each, and the recipe gets the value."""
    settings = TuneSettings(space={"train.early_stopping": (None, {"patience": 1})})
    (one,) = read_space(settings)
    assert list(one.choices.values()) == [None, {"patience": 1}]
    assert [suggested(settings, train__early_stopping=text) for text in one.choices] == [
        {"train.early_stopping": None},
        {"train.early_stopping": {"patience": 1}},
    ]


def test_a_grid_has_every_combination_in_an_order_of_the_seed() -> None:
    """All once; another seed, another order."""
    settings = TuneSettings(
        space={"train.epochs": Range(low=1, high=3), "train.warmup": Range(low=0.0, high=0.2, step=0.1),
               "train.schedule": ("linear", "cosine")}
    )  # fmt: skip
    space = read_space(settings)
    first, second = grid(space, seed=1), grid(space, seed=2)
    assert len(first) == 3 * 3 * 2
    assert sorted(map(str, first)) == sorted(map(str, second))
    assert first != second
    assert first == grid(space, seed=1)


def test_the_recipes_own_values_are_found_in_the_space(path: Path) -> None:
    """So that they are tried first; where one lies outside, there is nothing to try."""
    recipe = load_recipe(path)
    inside = TuneSettings(
        space={"train.learning_rate": Range(low=1e-4, high=1e-2), "train.epochs": Range(low=1, high=3),
               "train.schedule": ("linear", "cosine")}
    )  # fmt: skip
    found = current(recipe, read_space(inside))
    assert found == {"train.learning_rate": 2e-3, "train.epochs": 2, "train.schedule": "linear"}
    outside = TuneSettings(space={"train.learning_rate": Range(low=1e-2, high=1e-1), "train.epochs": (2, 3)})
    assert current(recipe, read_space(outside)) is None
