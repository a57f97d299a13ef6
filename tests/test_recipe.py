"""Recipes: defaults, every refusal with its place, and that a recipe in any state of damage never ends in a crash."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from ftdeploy.errors import ConfigError
from ftdeploy.recipe import Recipe, as_text, dump_section, load_recipe, recipe_schema
from ftdeploy.suite import Suite
from ftdeploy.tasks import TASKS

ROOT = Path(__file__).parents[1]
SENTIMENT = ROOT / "recipes" / "sentiment.yaml"
SHA = "0" * 64

SMALL = """\
version: 1
name: demo
task: text-classification
data:
  source:
    path: rows.csv
model:
  path: checkpoint
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def load(folder: Path, *overrides: str) -> Recipe:
    return load_recipe(write(folder, SMALL), overrides=overrides)


def problems(path: Path, *overrides: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_recipe(path, overrides=overrides)
    return [str(problem) for problem in caught.value.problems]


def test_four_keys_are_a_recipe(tmp_path: Path) -> None:
    """Name, task, data and model; everything else has a default that passes its own rules."""
    recipe = load(tmp_path)
    assert recipe.train.epochs == Recipe.model_fields["train"].default.epochs
    assert recipe.validate_.suite == Suite()


def test_all_problems_at_once(tmp_path: Path) -> None:
    """Eight mistakes in eight places: eight problems with line, path and, where a word is close, a suggestion."""
    text = """\
version: 1
name: Demo
task: text-clasification
data:
  source: {path: rows.csv, url: "https://example.org/rows.csv"}
  split: {test: 0.6, validation: 0.4}
model:
  path: checkpoint
  maxlength: 64
train:
  epochs: three
compress:
  max_drop: {acuracy: 0.1}
exprt: {}
"""
    found = problems(write(tmp_path, text))
    assert len(found) == 8
    for words in (
        "line 2: name: String should match pattern",
        "line 3: task: 'text-clasification' is not a task; did you mean 'text-classification'?",
        "line 5: data.source: exactly one of path, url, package, hub is wanted; path and url given",
        "line 6: data.split: test and validation together leave less than a tenth for training",
        "line 9: model.maxlength: unknown key (did you mean 'max_length'?)",
        "line 11: train.epochs: Input should be a valid integer",
        "'acuracy' is not a metric; did you mean 'accuracy'?",
        "line 14: exprt: unknown key (did you mean 'export'?)",
    ):
        assert any(words in problem for problem in found), (words, found)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ({}, "none given"),
        ({"path": "a.csv", "hub": "some/data"}, "path and hub given"),
        ({"url": "https://example.org/a.csv"}, "a url wants a sha256 beside it"),
        ({"url": "ftp://example.org/a.csv", "sha256": SHA}, "should match pattern"),
        ({"path": "a.csv", "sha256": "abc"}, "should match pattern"),
        ({"package": "thing>=1"}, "should match pattern"),
        ({"path": "a.csv", "revision": "main"}, "revision goes with hub"),
        ({"hub": "some/data", "sha256": SHA}, "state the commit as revision"),
        ({"hub": "some/data", "member": "x"}, "member goes with path, url or package"),
        ({"path": "~nobody-of-that-name/a.csv"}, "home directory"),
        ({"path": "a.csv", "encoding": "utf-88"}, "is not an encoding"),
        ({"path": "a.csv", "encoding": "base64"}, "is not an encoding"),
        ({"path": "a.csv", "names": ["text"]}, "set header: false"),
        ({"path": "a.csv", "loader": "code.py"}, "wants file.py:function"),
        ({"path": "a.csv", "delimiter": ";;"}, "goes with format lines"),
        ({"path": "a.csv", "format": "xlsx"}, "'xlsx' is not one of"),
    ],
)
def test_a_source_that_cannot_be_meant(tmp_path: Path, source: dict[str, Any], words: str) -> None:
    """Two origins at once, a url that anybody may change, a package without a version: refused before anything runs."""
    document = yaml.safe_load(SMALL)
    document["data"]["source"] = source
    (problem,) = problems(write(tmp_path, yaml.safe_dump(document)))
    assert words in problem
    assert "data.source" in problem


def test_paths_are_relative_to_the_recipe(tmp_path: Path) -> None:
    """The same recipe works from every working directory."""
    recipe = load(tmp_path, "data.source.loader=code/rows.py:read")
    assert recipe.data.source is not None
    assert recipe.data.source.path == tmp_path / "rows.csv"
    assert recipe.data.source.loader == tmp_path / "code" / "rows.py:read"
    assert load(tmp_path, "model.path=/elsewhere/checkpoint").model.path == Path("/elsewhere/checkpoint")
    assert load(tmp_path, "model={hub: ./local}").model.hub == tmp_path / "local"
    assert load(tmp_path, "model={hub: some/name}").model.hub == "some/name"


@pytest.mark.parametrize("value", ["5e-5", "5.0e-5", "0.00005", ".00005"])
def test_a_rate_may_be_written_without_a_dot(tmp_path: Path, value: str) -> None:
    """YAML 1.1 takes 5e-5 for a text; a recipe takes it for the number that everybody means."""
    assert load(tmp_path, f"train.learning_rate={value}").train.learning_rate == 5e-5


def test_a_suite_by_path_or_inline(tmp_path: Path) -> None:
    """Both give the same suite; the path is relative to the recipe."""
    gates = "gates: [{kind: floor, metric: accuracy, minimum: 0.5}]"
    (tmp_path / "suite.yaml").write_text(gates + "\n", encoding="utf-8")
    by_path = load(tmp_path, "validate.suite=suite.yaml").validate_.suite
    assert by_path == load(tmp_path, f"validate.suite={{{gates}}}").validate_.suite
    assert by_path != Suite()


def test_a_wrong_suite_is_reported_with_the_rest_of_the_recipe(tmp_path: Path) -> None:
    """Problems in a file that the recipe names stand beside those of the recipe, with that file's lines."""
    (tmp_path / "suite.yaml").write_text("name: mine\nresamples: 3\ngatess: []\n", encoding="utf-8")
    path = write(tmp_path, SMALL + "validate:\n  suite: suite.yaml\ntrain:\n  epochs: 0\n")
    found = problems(path)
    assert len(found) == 3
    assert found[0].startswith(f"line 10: validate.suite: {tmp_path}/suite.yaml: line 2: resamples: ")
    assert found[1].endswith("suite.yaml: line 3: gatess: unknown key (did you mean 'gates'?)")
    assert found[2].startswith("line 12: train.epochs: ")


def test_a_suite_is_held_against_the_recipes_task(tmp_path: Path) -> None:
    """Inline by its own lines, from a file by the key that names it; and the task that counts is the recipe's."""
    found = problems(write(tmp_path, SMALL + "validate:\n  suite:\n    metrics: [accuracy,\n      entity_f1]\n"))
    assert len(found) == 1
    assert found[0].startswith("line 12: validate.suite.metrics[1]: 'entity_f1' is a metric of spans")
    (tmp_path / "suite.yaml").write_text("gates: [{kind: floor, metric: r2, minimum: 0.1}]\n", encoding="utf-8")
    found = problems(write(tmp_path, SMALL + "validate:\n  suite: suite.yaml\n"))
    assert len(found) == 1
    assert found[0].startswith("line 10: validate.suite.gates[0].metric: 'r2' is a metric of numbers")
    assert load(
        tmp_path, "task=text-regression", "validate={suite: {metrics: [r2], gates: []}}"
    ).validate_.suite.metrics


@pytest.mark.parametrize(
    ("task", "metric", "words"),
    [
        ("text-classification", "recall:yes", ""),
        ("text-classification", "entity_f1:Drug", "entity_f1:Drug is a metric of spans"),
        ("text-classification", "brier", "'brier' is a metric of probabilities; here counts what is answered"),
        ("multi-label-classification", "label_f1:yes", ""),
        ("multi-label-classification", "recall:yes", "recall:yes is no metric of sets of labels"),
        ("token-classification", "entity_recall:Drug", ""),
    ],
)
def test_a_label_may_have_a_drop_of_its_own(tmp_path: Path, task: str, metric: str, words: str) -> None:
    """As it may have a gate of its own, by the same name; of the task's metrics, and `update` likewise."""
    named = f"compress: {{max_drop: {{'{metric}': 0.1}}}}\nupdate: {{metric: '{metric}'}}\n"
    path = write(tmp_path, SMALL + named)
    if not words:
        assert metric in load_recipe(path, overrides=[f"task={task}"]).compress.max_drop
    else:
        assert [words in one for one in problems(path, f"task={task}")] == [True, True]


def test_a_search_wants_a_metric_of_the_validation_rows(tmp_path: Path) -> None:
    """Said when the recipe is read, and not when somebody begins to search."""
    (found,) = problems(write(tmp_path, SMALL), "tune={metric: r2, space: {train.epochs: [1, 2]}}")
    assert "tune: metric: 'r2' is not measured on the validation rows; known: accuracy, loss, macro_f1" in found


@pytest.mark.parametrize("suite", ["missing.yaml", ".", "'a\\0b'"])
def test_a_suite_that_cannot_be_read(tmp_path: Path, suite: str) -> None:
    """A missing file is a problem of the key that names it."""
    (problem,) = problems(write(tmp_path, SMALL + f'validate: {{suite: "{suite}"}}\n'))
    assert problem.startswith("line 9: validate.suite: ")
    assert "cannot be read" in problem


def test_an_inline_suite_names_its_keys(tmp_path: Path) -> None:
    """The path goes down into the suite."""
    text = SMALL + "validate:\n  suite:\n    gates:\n      - {kind: floor, metric: accuracy, minimun: 1}\n"
    found = problems(write(tmp_path, text))
    assert "line 12: validate.suite.gates[0].minimun: unknown key (did you mean 'minimum'?)" in found


def test_labels_name_different_classes(tmp_path: Path) -> None:
    """A label that is listed twice, or alone, is a mistake that is known before any row is read."""
    assert load(tmp_path, "data.labels=[b, a]").data.labels == ("b", "a")
    (twice,) = problems(write(tmp_path, SMALL), "data.labels=[a, b, a]")
    assert "'a' stands twice" in twice
    (alone,) = problems(write(tmp_path, SMALL), "data.labels=[a]")
    assert "at least two" in alone


def test_thresholds_are_of_labels_that_the_recipe_lists(tmp_path: Path) -> None:
    """A misspelt one is found before anything is trained; where the recipe lists none, when the labels are known."""
    given = "package.thresholds={fallback: other, scores: {positve: 0.9}}"
    (wrong,) = problems(write(tmp_path, SMALL), "data.labels=[negative, positive]", given)
    assert "'positve' is not in data.labels; did you mean 'positive'?" in wrong
    found = load(tmp_path, given).package.thresholds
    assert found is not None
    assert found.scores == {"positve": 0.9}


@pytest.mark.parametrize(("given", "read"), [("fit", "fit"), ("1", 1.0), ("2.5", 2.5)])
def test_a_temperature_is_fitted_or_given(tmp_path: Path, given: str, read: object) -> None:
    """More than 0; what is neither is refused."""
    assert load(tmp_path, f"export.temperature={given}").export.temperature == read
    for wrong in ("0", "none", ".inf"):
        assert problems(write(tmp_path, SMALL), f"export.temperature={wrong}")


def test_a_recipe_cannot_be_changed(tmp_path: Path) -> None:
    """Frozen at the door, in every section."""
    recipe = load(tmp_path)
    with pytest.raises(ValueError, match="frozen"):
        recipe.train.epochs = 9  # type: ignore[misc]  # that is the test


def test_a_dumped_section_is_plain_data_without_paths_of_this_machine(tmp_path: Path) -> None:
    """What goes into keys and manifests has defaults filled in, and no folder names."""
    dumped = dump_section(load(tmp_path, "data.source.loader=code/rows.py:read").data)
    assert dumped["source"]["path"] == "rows.csv"
    assert dumped["duplicates"]["exact"] == "drop"
    assert str(tmp_path) not in str(dumped)
    assert yaml.safe_load(yaml.safe_dump(dumped)) == dumped


def test_the_schema_describes_the_recipe(tmp_path: Path) -> None:
    """Its required keys are those without a default, it knows the tasks, and what it forbids is refused."""
    schema = recipe_schema()
    assert set(schema["required"]) == {"version", "name", "task", "data", "model"}
    assert schema["additionalProperties"] is False
    assert schema["properties"]["task"]["enum"] == [
        "feature-extraction",
        "multi-label-classification",
        "text-classification",
        "text-regression",
        "token-classification",
    ]
    document = yaml.safe_load(SENTIMENT.read_text(encoding="utf-8"))
    assert set(document) <= set(schema["properties"])
    assert problems(write(tmp_path, SMALL), "task=other")


def refusal(path: Path) -> ConfigError | None:
    """What is wrong with a recipe; anything else that loading raises goes on."""
    try:
        load_recipe(path)
    except ConfigError as error:
        return error
    return None


def damaged(document: Any, draw: random.Random) -> Any:
    """The document with one thing wrong or odd somewhere."""
    odd: list[Any] = [
        None,
        True,
        -1,
        10**400,
        1e308,
        float("nan"),
        "",
        "~",
        "\0",
        "x" * 500,
        [],
        {},
        [[]],
        {"a": {}},
        {1: 2},
        "é",
    ]
    if draw.random() < 0.2 or not isinstance(document, (dict, list)) or not document:
        return draw.choice(odd)
    if isinstance(document, list):
        place = draw.randrange(len(document))
        return [damaged(item, draw) if index == place else item for index, item in enumerate(document)]
    key = draw.choice(list(document))
    change = draw.choice(("value", "value", "value", "name", "gone"))
    rest = {name: value for name, value in document.items() if name != key}
    if change == "gone":
        return rest
    if change == "name":
        return rest | {draw.choice([f"{key}s", str(key)[:-1], "", 3, None, True]): document[key]}
    return document | {key: damaged(document[key], draw)}


@given(seed=st.integers(0, 10**9), times=st.integers(1, 4))
@settings(max_examples=150)
def test_damage_anywhere_is_refused_in_words(tmp_path_factory: pytest.TempPathFactory, seed: int, times: int) -> None:
    """The sentiment recipe with random keys gone, renamed or given odd values loads, or says what is wrong."""
    draw = random.Random(seed)  # noqa: S311  # not for secrets
    document = yaml.safe_load(SENTIMENT.read_text(encoding="utf-8"))
    for _ in range(times):
        document = damaged(document, draw)
    path = tmp_path_factory.getbasetemp() / "damaged.yaml"
    path.write_text(yaml.safe_dump(document, allow_unicode=True), encoding="utf-8")
    refused = refusal(path)
    assert refused is None or refused.problems or "YAML" in refused.what


@given(cut=st.integers(0, SENTIMENT.stat().st_size), junk=st.binary(max_size=4))
@settings(max_examples=100)
def test_a_recipe_cut_off_is_refused_in_words(tmp_path_factory: pytest.TempPathFactory, cut: int, junk: bytes) -> None:
    """Cut anywhere, with any bytes behind it."""
    path = tmp_path_factory.getbasetemp() / "cut.yaml"
    path.write_bytes(SENTIMENT.read_bytes()[:cut] + junk)
    refused = refusal(path)
    assert refused is None or refused.what


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "recipes").glob("*.yaml")))
def test_a_recipe_as_text_says_the_same_anywhere(tmp_path: Path, name: str) -> None:
    """With its overrides and its suite in it, and names of people as they were given."""
    given = ["train.epochs=3", "data.privacy.names=[Ada]"]
    path = ROOT / "recipes" / f"{name}.yaml"
    if TASKS[load_recipe(path).task].one_label:  # others have no use for texts without labels
        given.append("data.unlabelled=[{path: texts.csv}]")
    recipe = load_recipe(path, overrides=given)
    again = load_recipe(write(tmp_path, as_text(recipe)))
    assert again == recipe
    assert (again.train.epochs, again.validate_.suite) == (3, recipe.validate_.suite)
    assert as_text(again) == as_text(recipe)


def test_every_section_is_frozen_and_closed() -> None:
    """Nobody can add a section that forgets either."""

    def sections(model: type[BaseModel]) -> set[type[BaseModel]]:
        found = {model}
        for info in model.model_fields.values():
            if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
                found |= sections(info.annotation)
        return found

    found = sections(Recipe)
    assert len(found) > 10
    assert all(model.model_config["frozen"] and model.model_config["extra"] == "forbid" for model in found)
