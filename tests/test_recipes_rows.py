"""What the recipes on public data make of their real rows: who is merged, left out, and kept together."""

from __future__ import annotations

import importlib.util
import json
from collections import Counter
from pathlib import Path
from types import ModuleType
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


@pytest.fixture(scope="module")
def contracts(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """All of CUAD's master clauses, once for each of their categories."""
    return prepared("contract-clauses", tmp_path_factory)


@pytest.fixture(scope="module")
def review(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """Those of one category."""
    return prepared("contract-review", tmp_path_factory)


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


@pytest.mark.parametrize(("name", "read", "kept", "aside"), [("contracts", 9137, 28, 9), ("review", 7331, 19, 18)])
def test_clauses_of_rare_categories_are_set_aside(name: str, read: int, kept: int, aside: int,
                                                  request: pytest.FixtureRequest) -> None:  # fmt: skip
    """Those with fewer than 100 rows are none of the model's: of all clauses, and of those of one category."""
    found: Prepared = request.getfixturevalue(name)
    assert found.profile["read"] == read
    counts = Counter(label for part in found.profile["splits"].values() for label in part["labels"])
    assert set(counts.values()) == {3}, "each category in each split"
    assert len(counts) == kept
    assert set(found.profile["labels"]).isdisjoint(found.recipe.data.entries[0].label_map)
    assert len(found.recipe.data.entries[0].label_map) == aside


@pytest.mark.parametrize("name", ["contracts", "review"])
def test_a_contract_stands_in_one_split(name: str, request: pytest.FixtureRequest) -> None:
    """Names of its file; no text stands in two splits either."""
    found: Prepared = request.getfixturevalue(name)
    for column in ("group", "text"):
        seen = [set(found.column(column, split)) for split in SPLITS]
        assert len(seen[0] | seen[1] | seen[2]) == sum(map(len, seen))
    assert len(set(found.column("group", "test"))) > 80


def test_what_is_to_be_looked_at_are_categories_that_the_model_has(review: Prepared) -> None:
    """As a name that it does not have would never be marked."""
    assert review.recipe.package.review is not None
    assert set(review.recipe.package.review.critical) < set(review.profile["labels"])


@pytest.fixture(scope="module")
def cuad() -> ModuleType:
    """The loader is named by path, so it is imported by path."""
    spec = importlib.util.spec_from_file_location("cuad_loader", ROOT / "recipes" / "sources" / "cuad.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def master(folder: Path, *rows: str) -> Path:
    path = folder / "master_clauses.csv"
    header = "Filename,Parties,Parties-Answer,Insurance,Insurance-Answer,Exclusivity,Exclusivity-Answer"
    path.write_text("\r\n".join((header, *rows)) + "\r\n", encoding="utf-8")
    return path


def test_a_clause_of_two_categories_is_left_out(cuad: ModuleType, tmp_path: Path) -> None:
    """Also where case and white space differ; twice under one category it is once. Parties are no clauses, and
    answers are not read."""
    path = master(
        tmp_path,
        "A_20190403_EX-10.pdf,['Ann'],Ann,\"['Insure.', 'insure.', 'Both  of them.']\",Yes,['both of THEM.'],No",
        "B_06_15_1999.PDF,[],,[],,['Only you.'],['no']",
        "C - undated.pdf,[],,['Insure.'],,[],",
    )
    assert list(cuad.load(path)) == [
        {"text": "Insure.", "label": "Insurance", "contract": "A_20190403_EX-10.pdf", "filed": "2010s", "id": "1-1"},
        {"text": "Only you.", "label": "Exclusivity", "contract": "B_06_15_1999.PDF", "filed": "1990s", "id": "2-1"},
        {"text": "Insure.", "label": "Insurance", "contract": "C - undated.pdf", "filed": "unknown", "id": "3-1"},
    ]  # fmt: skip


def test_a_clause_of_two_categories_is_there_twice_where_each_is_asked_for(cuad: ModuleType, tmp_path: Path) -> None:
    """As CUAD's own tables count: a row for each of its categories, with ids of their own."""
    path = master(tmp_path, "A.pdf,[],,['Both of them.'],Yes,\"['both of THEM.', 'Only you.']\",No")
    found = [(row["text"], row["label"], row["id"]) for row in cuad.load_each(path)]
    assert found == [
        ("Both of them.", "Insurance", "1-1-1"),
        ("Both of them.", "Exclusivity", "1-1-2"),
        ("Only you.", "Exclusivity", "1-2-1"),
    ]


@pytest.mark.parametrize("cell", ["Insure.", "['Insure.'", "[1]", "{'Insure.': 1}"])
def test_a_cell_that_is_no_list_of_texts_is_named(cuad: ModuleType, tmp_path: Path, cell: str) -> None:
    """With contract and category."""
    path = master(tmp_path, f'A.pdf,[],,"{cell}",,[],')
    with pytest.raises(ValueError, match="contract 1, Insurance: no list of texts"):
        list(cuad.load(path))


def test_the_loader_counts_what_it_says(cuad: ModuleType, mirror: Path) -> None:
    """The recipes tell 8,148 clauses, 817 of them of several categories, and 9,137 rows of all."""
    every = [categories for _, categories in cuad._clauses(mirror / "cuad-master-clauses.csv")]
    assert len(every) == 8148
    assert sum(len(categories) > 1 for categories in every) == 817
    assert sum(map(len, every)) == 9137
    assert len({name for categories in every for name in categories}) == 37
