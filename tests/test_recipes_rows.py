"""What a recipe on public data makes of its real rows: what is merged, and which splits stand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from real_data import MIRROR

from ftdeploy.dataset import SPLITS, read_split
from ftdeploy.prepare import prepare
from ftdeploy.recipe import Recipe, load_recipe
from ftdeploy.stage import run_stage

if TYPE_CHECKING:
    import pyarrow as pa

ROOT = Path(__file__).parents[1]


class Prepared:
    """A recipe, its rows by split, and what prepare says of them."""

    def __init__(self, name: str, folder: Path) -> None:
        self.recipe: Recipe = load_recipe(ROOT / "recipes" / f"{name}.yaml")
        dataset = run_stage(prepare, self.recipe, {}, folder / "dataset").artifact
        self.profile: dict[str, Any] = json.loads((dataset.path / "profile.json").read_text(encoding="utf-8"))
        self.splits: dict[str, pa.Table] = {split: read_split(dataset, split) for split in SPLITS}

    def column(self, name: str, split: str) -> list[Any]:
        """A column's values."""
        values: list[Any] = self.splits[split][name].to_pylist()
        return values


def prepared(name: str, factory: pytest.TempPathFactory) -> Prepared:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FTDEPLOY_MIRROR", str(MIRROR))
        return Prepared(name, factory.mktemp(name))


@pytest.fixture(scope="module")
def clinical(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """All of MTS-Dialog."""
    return prepared("clinical-sections", tmp_path_factory)


def test_the_official_splits_of_the_conversations_stand(clinical: Prepared) -> None:
    """Validation and test are their files to the last row; train lacks what stands in them, and two of its own."""
    assert [len(clinical.column("text", split)) for split in SPLITS] == [1194, 100, 200]
    for split in SPLITS:
        assert {name.partition(":")[0] for name in clinical.column("id", split)} == {split}
    test = {" ".join(text.split()).casefold() for text in clinical.column("text", "test")}
    assert test.isdisjoint(" ".join(text.split()).casefold() for text in clinical.column("text", "train"))


def test_rare_sections_are_one_label_and_the_others_stay(clinical: Prepared) -> None:
    """OTHER is what the recipe names, in every file; each other header has at least 20 training rows."""
    names = clinical.profile["labels"]
    assert len(names) == 11
    counts = clinical.profile["splits"]["train"]["labels"]
    assert counts["OTHER"] == 79
    assert min(counts.values()) >= 20
    assert set(clinical.profile["splits"]["test"]["labels"]) == set(names)
    maps = {json.dumps(dict(entry.label_map)) for entry in clinical.recipe.data.entries}
    assert len(maps) == 1
    assert len(clinical.recipe.data.entries[0].label_map) == 10
