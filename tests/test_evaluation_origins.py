"""Where cases come from: recipes are prepared once, by the stage of a run."""

from __future__ import annotations

import csv
import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ftdeploy.dataset import SplitName, read_split
from ftdeploy.errors import ConfigError, DataError, SourceError
from ftdeploy.evaluation import cases, origins
from ftdeploy.origin import Source
from ftdeploy.prepare import prepare
from ftdeploy.recipe import load_recipe
from ftdeploy.stage import run_stage
from ftdeploy.suite import Case

#: Rows of one label each.
gather = partial(cases.gather, task="text-classification")
of_recipe = partial(origins.of_recipe, task="text-classification")
of_source = partial(origins.of_source, task="text-classification")


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A cache of the test's own."""
    monkeypatch.setenv("FTDEPLOY_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def recipe(folder: Path, **data: Any) -> Path:
    """A recipe with 60 rows of three shops."""
    with (folder / "rows.csv").open("w", encoding="utf-8", newline="") as handle:
        labels = ("bad", "good")
        rows = [(f"film {n} is {labels[n % 2]}", labels[n % 2], "abc"[n % 3]) for n in range(60)]
        csv.writer(handle).writerows([("text", "label", "shop"), *rows])
    settings = {"source": {"path": "rows.csv", "licence": "MIT"}, "labels": ["good", "bad"], "slices": ["shop"], **data}
    document = {
        "version": 1,
        "name": "demo",
        "task": "text-classification",
        "data": settings,
        "model": {"path": "model"},
    }
    (folder / "recipe.yaml").write_text(json.dumps(document), encoding="utf-8")
    return folder / "recipe.yaml"


def test_a_split_is_that_of_a_run(tmp_path: Path) -> None:
    """The very rows that `ftdeploy run` judges, with the recipe's slices, labels in its order, and its licence."""
    path = recipe(tmp_path)
    dataset = run_stage(prepare, load_recipe(path), {}, tmp_path / "dataset").artifact
    splits: tuple[SplitName, ...] = ("test", "train")
    for split in splits:
        found = gather([Case(name="demo", recipe=path, split=split)], seed=1)
        expected = read_split(dataset, split).select(["text", "label", "id", "shop"])
        assert found.table.to_pylist() == expected.to_pylist()
        assert found.names == ("good", "bad")
        assert (found.cases[0].source, found.cases[0].licence) == (f"{split} rows of file rows.csv", "MIT")


def test_a_recipe_is_prepared_once(tmp_path: Path, cache: Path) -> None:
    """The dataset stands in the cache under the stage's key; a changed recipe is another dataset."""
    path = recipe(tmp_path)
    of_recipe(Case(name="demo", recipe=path))
    (first,) = (cache / "datasets").iterdir()
    made = (first / "artifact.json").stat().st_ino
    of_recipe(Case(name="demo", recipe=path, split="train"))
    assert (first / "artifact.json").stat().st_ino == made
    recipe(tmp_path, slices=[])
    of_recipe(Case(name="demo", recipe=path))
    assert len(list((cache / "datasets").iterdir())) == 2


def test_faults_of_a_recipe_are_its_own(tmp_path: Path) -> None:
    """A missing recipe, a misspelt key, a missing file."""
    with pytest.raises(ConfigError, match=r"nowhere\.yaml"):
        of_recipe(Case(name="demo", recipe=tmp_path / "nowhere.yaml"))
    with pytest.raises(ConfigError):
        of_recipe(Case(name="demo", recipe=recipe(tmp_path, slicez=["shop"])))
    with pytest.raises(SourceError):
        of_recipe(Case(name="demo", recipe=recipe(tmp_path, source={"path": "gone.csv"})))


def test_a_source_that_is_not_there(tmp_path: Path) -> None:
    """Is told with what may have been meant."""
    (tmp_path / "rows.csv").write_text("text,label\nfine,good\n", encoding="utf-8")
    with pytest.raises(SourceError) as caught:
        of_source(Case(name="demo", source=Source(path=tmp_path / "rwos.csv")))
    assert caught.value.fix == "did you mean 'rows.csv'?"


def test_a_case_without_a_source_is_a_fault_of_ours(tmp_path: Path) -> None:
    """No suite can say it."""
    with pytest.raises(TypeError):
        of_source(Case(name="demo", recipe=tmp_path / "recipe.yaml"))


def test_a_file_without_rows(tmp_path: Path) -> None:
    """A header alone is no case."""
    (tmp_path / "rows.csv").write_text("text,label\n", encoding="utf-8")
    with pytest.raises(DataError, match="holds no rows"):
        gather([Case(name="demo", source=Source(path=tmp_path / "rows.csv"))], seed=1)
