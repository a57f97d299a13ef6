"""The best recipe's file: other values, and everything else as it was."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from ftdeploy.document import read_yaml
from ftdeploy.recipe import load_recipe
from ftdeploy.tune.rewrite import rewrite
from ftdeploy.tune.space import settings_of

ROOT = Path(__file__).parents[1]

BLOCK = """\
# the file
train:                   # the section
  epochs: 2              # passes
  rate: 1.0e-3
  stopping:              # when
    patience: 2          # evaluations
    # and
    delta: 0.0
  text: >-
    two
    lines

# the other
data: {a: 1, b: [1, 2]}  # in one line
"""


def changed(text: str, **values: Any) -> tuple[str, bool]:
    expected = yaml.safe_load(text)
    pairs = [(key.replace("__", "."), value) for key, value in values.items()]
    for key, value in pairs:
        *parents, last = key.split(".")
        here = expected
        for parent in parents:
            if here.get(parent) is None:
                here[parent] = {}
            here = here[parent]
        here[last] = value
    return rewrite(text, pairs, expected)


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"train__epochs": 5}, "  epochs: 5              # passes"),
        ({"train__rate": 3e-5}, "  rate: 3.0e-05"),
        ({"train__stopping__patience": 7}, "    patience: 7          # evaluations"),
        ({"train__stopping": None}, "  stopping: null              # when"),
        ({"train__stopping": {"patience": 1}}, "  stopping: {patience: 1}              # when"),
        ({"train__text": "one"}, "  text: one"),
        ({"train__new": True}, "  new: true"),
        ({"train__stopping__mode": "max"}, "    mode: max"),
        ({"train__new__deep": 1}, "  new: {deep: 1}"),
        ({"data__a": 9}, "data: {a: 9, b: [1, 2]}  # in one line"),
        ({"data__b": "x"}, "data: {a: 1, b: x}  # in one line"),
        ({"data__c": 3}, "data: {c: 3, a: 1, b: [1, 2]}  # in one line"),
        ({"fresh__key": 1.5}, "fresh: {key: 1.5}"),
    ],
)
def test_one_value_changes_and_the_rest_stays(values: dict[str, Any], line: str) -> None:
    """In blocks and in one line, sections for values and values for sections, present and new."""
    text, kept = changed(BLOCK, **values)
    assert kept
    assert line in text.splitlines()
    for comment in ("# the file", "# the section", "# the other", "# in one line"):
        assert comment in text


def test_other_lines_are_untouched() -> None:
    """Only the changed line differs."""
    text, _ = changed(BLOCK, train__epochs=5, train__rate=0.5)
    differing = [(a, b) for a, b in zip(BLOCK.splitlines(), text.splitlines(), strict=True) if a != b]
    assert differing == [
        ("  epochs: 2              # passes", "  epochs: 5              # passes"),
        ("  rate: 1.0e-3", "  rate: 0.5"),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "train:\n",
        "train: null\nname: a\n",
        "train: {}\n",
        "name: a",
        "{name: a, train: {epochs: 1}}",
        '{\n "name": "a",\n "train": {\n  "epochs": 1\n }\n}\n',
        "name: a\ntrain:\n  epochs: 1",
        "name: 'a'\ntrain:\n    epochs: |\n      1\n\n\n",
        "train:\n- 1\n- 2\nname: a\n",
    ],
)
def test_any_layout_takes_a_value(text: str) -> None:
    """Empty sections, JSON, no line break at the end: what is read is what was wanted."""
    values = [("train", {"epochs": 3}), ("name", "b"), ("more.keys", [1, 2])]
    expected = (yaml.safe_load(text) or {}) | {"train": {"epochs": 3}, "name": "b", "more": {"keys": [1, 2]}}
    found, kept = rewrite(text, values, expected)
    assert kept
    assert yaml.safe_load(found) == expected


def test_anchors_are_not_changed_behind_ones_back() -> None:
    """A value that stands in two places through an anchor is changed in one: the document is written anew, without
    comments, and says what it should."""
    text = "a: &x {k: 1}  # shared\nb: *x\n"
    found, kept = changed(text.replace("&x ", "").replace("*x", "{k: 1}"), a__k=2)
    assert kept
    expected = yaml.safe_load(found)
    found, kept = rewrite(text, [("a.k", 2)], expected)
    assert not kept
    assert yaml.safe_load(found) == expected == {"a": {"k": 2}, "b": {"k": 1}}


@pytest.mark.parametrize("path", sorted((ROOT / "recipes").glob("*.yaml")), ids=lambda path: path.name)
def test_a_shipped_recipe_keeps_its_comments(path: Path, tmp_path: Path) -> None:
    """Changed in values, in a section that is switched off and in a key that it leaves out, it loads as meant."""
    values: dict[str, Any] = {"train.learning_rate": 3e-5, "train.early_stopping": None, "train.epochs": 7, "tune": {
        "space": {"train.epochs": [1, 2]}}}  # fmt: skip
    if path.stem in {"contract-anomaly", "embeddings"}:  # nothing is trained there
        values = {"data.split.test": 0.25, "data.slices": [], "data.limit": 500}
    settings = settings_of(values)
    for folder in ("recipes", "evaluation_suites"):  # a recipe's paths are relative to its folder
        shutil.copytree(ROOT / folder, tmp_path / folder)
    path = tmp_path / "recipes" / path.name
    expected, _ = read_yaml(path, overrides=settings)
    text = path.read_text(encoding="utf-8")
    found, kept = rewrite(text, list(values.items()), expected)
    assert kept
    assert found.count("#") >= text.count("#") - 3, "only the switched-off section lost its comments"
    beside = path.with_name("changed.yaml")
    beside.write_text(found, encoding="utf-8")
    assert load_recipe(beside) == load_recipe(path, overrides=settings)
