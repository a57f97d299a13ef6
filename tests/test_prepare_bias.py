"""Identity terms as columns, how labels are spread over groups, and weights that make both independent."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftdeploy.artifact import Artifact
from ftdeploy.dataset import SPLITS, read_profile, read_split
from ftdeploy.errors import DataError
from ftdeploy.prepare import prepare
from ftdeploy.prepare.bias import find_terms, outside, reweighing
from ftdeploy.recipe import Bias, Recipe
from ftdeploy.stage import run_stage

GENDER = {"female": ["she", "her", "black woman"], "male": ["he", "his"]}


def dataset(path: Path, name: str = "dataset", **data: Any) -> Artifact:
    sections = {"version": 1, "name": "demo", "task": "text-classification", "model": {"path": "none"}}
    source = {"source": {"path": str(path)}, "columns": {"id": "id"}}
    recipe = Recipe.model_validate(sections | {"data": source | data})
    return run_stage(prepare, recipe, {}, path.parent / name).artifact


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """300 reviews; those that mention a woman are more often bad."""
    draw = np.random.default_rng(2)
    lines = []
    for number in range(300):
        who = ("She acts", "He acts", "It runs")[number % 3]
        label = "bad" if draw.random() < (0.8, 0.4, 0.5)[number % 3] else "good"
        lines.append(
            {"text": f"{who} in film number {number}", "label": label, "id": str(number), "site": "ab"[number % 2]}
        )
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("SHE sings", "female"),
        ("the others are here, there", ""),
        ("his voice, her song", "male"),
        ("A Black  Woman sings", "female"),
        ("he's late", "male"),
        ("a she-wolf", "female"),
    ],
)
def test_terms_are_found_as_whole_words_whatever_their_case(text: str, value: str) -> None:
    """The first in the text decides; the value is the group's name; several white spaces are one."""
    assert find_terms(Bias.model_validate({"terms": {"gender": GENDER}}))(text) == {"terms:gender": value}


def test_accents_and_signs_belong_to_terms() -> None:
    """However an accent is written it is the same term; a term may end in a sign; the longest term wins."""
    find = find_terms(Bias.model_validate({"terms": {"a": ["Muñoz", "c++", "c"]}}))
    assert find("señor mun\u0303oz")["terms:a"] == "Muñoz"
    assert find("we use C++ here")["terms:a"] == "c++"
    assert find("vitamin C, daily")["terms:a"] == "c"


def test_every_split_has_the_columns_and_the_profile_their_counts(rows: Path) -> None:
    """A column for each list, beside those of `slices`; counted in the profile like any slice, with the labels."""
    made = dataset(rows, slices=["site"], bias={"terms": {"gender": GENDER, "verbs": ["runs", "acts"]}})
    for name in SPLITS:
        table = read_split(made, name)
        assert table.column_names == ["text", "label", "group", "id", "site", "terms:gender", "terms:verbs"]
        for row in table.to_pylist():
            first = row["text"].split()[0]
            assert row["terms:gender"] == {"She": "female", "He": "male", "It": ""}[first]
            assert row["terms:verbs"] == ("runs" if first == "It" else "acts")
    profile = read_profile(made)
    train = read_split(made, "train").to_pylist()
    female = [row["label"] for row in train if row["terms:gender"] == "female"]
    found = profile["bias"]["columns"]["terms:gender"]["female"]
    assert found["rows"] == len(female) == profile["splits"]["train"]["slices"]["terms:gender"]["female"]
    assert found["labels"]["bad"] == pytest.approx(female.count("bad") / len(female), abs=1e-4)
    assert set(profile["bias"]["columns"]) == {"site", "terms:gender", "terms:verbs"}
    assert "weight" not in read_split(made, "train").column_names


def test_a_list_can_stand_in_a_file(rows: Path) -> None:
    """A term on each line, comments passed over; another content is another key; a missing or empty one is an error."""
    file = rows.with_name("terms.txt")
    file.write_text("# who\nshe\n\nhe   # both\n", encoding="utf-8")
    bias = {"terms": {"who": str(file)}}
    made = dataset(rows, bias=bias)
    assert set(read_split(made, "train")["terms:who"].to_pylist()) == {"she", "he", ""}
    file.write_text("it\n", encoding="utf-8")
    assert dataset(rows, bias=bias).key != made.key
    file.write_text("# nothing\n", encoding="utf-8")
    with pytest.raises(DataError, match="holds no terms"):
        dataset(rows, bias=bias)
    file.unlink()
    with pytest.raises(DataError, match="does not exist"):
        dataset(rows, bias=bias)


def test_without_the_section_nothing_changes(rows: Path) -> None:
    """No column, no key in the profile, and nothing in the key of the stage."""
    made = dataset(rows)
    assert "bias" not in read_profile(made)
    assert read_split(made, "train").column_names == ["text", "label", "group", "id"]
    assert outside(None) == {}


@pytest.mark.parametrize("column", ["terms:gender", "site"])
def test_in_the_weighted_rows_the_label_does_not_depend_on_the_group(rows: Path, column: str) -> None:
    """Every group has the same weighted share of each label; the mean weight is 1; other splits have no weights."""
    made = dataset(rows, slices=["site"], bias={"terms": {"gender": GENDER}, "reweigh": column})
    train = read_split(made, "train").to_pylist()
    weights: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for row in train:
        weights[row[column]][row["label"]] += row["weight"]
    shares = [found["bad"] / sum(found.values()) for found in weights.values()]
    plain = [row["label"] for row in train].count("bad") / len(train)
    assert shares == pytest.approx([plain] * len(shares), abs=1e-5)
    assert np.mean([row["weight"] for row in train]) == pytest.approx(1, abs=1e-6)
    assert "weight" not in read_split(made, "test").column_names
    stated = read_profile(made)["bias"]["reweigh"]
    assert stated["column"] == column
    for row in train:
        assert stated["weights"][row[column]][row["label"]] == pytest.approx(row["weight"], abs=1e-3)


def test_weights_of_suspects_and_of_groups_are_multiplied(rows: Path) -> None:
    """Down-weighted rows of a cell weigh a fixed part of the others of that cell."""
    quality = {"action": "down-weight", "max_share": 0.1, "weight": 0.5}
    made = dataset(rows, quality=quality, bias={"terms": {"gender": GENDER}, "reweigh": "terms:gender"})
    cells: dict[tuple[str, str], set[float]] = defaultdict(set)
    train = read_split(made, "train").to_pylist()
    for row in train:
        cells[row["terms:gender"], row["label"]].add(round(row["weight"], 5))
    assert any(len(found) == 2 for found in cells.values())
    for found in cells.values():
        assert len(found) == 1 or min(found) == pytest.approx(0.5 * max(found), abs=1e-4)
    assert np.mean([row["weight"] for row in train]) == pytest.approx(1, abs=1e-6)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xyz")), min_size=1, max_size=60))
def test_reweighing_has_a_mean_of_one(pairs: list[tuple[str, str]]) -> None:
    """Weights are above 0 and, where every cell has rows, 1 in the mean; every pair that occurs has one."""
    groups, labels = [group for group, _ in pairs], [label for _, label in pairs]
    weights = reweighing(groups, labels)
    assert set(weights) == set(pairs)
    assert min(weights.values()) > 0
    if len(weights) == len(set(groups)) * len(set(labels)):
        assert np.mean([weights[pair] for pair in pairs]) == pytest.approx(1)


def test_an_unknown_column_to_reweigh_by_is_an_error(rows: Path) -> None:
    """A list that is not there at once, a column that is not there with what there is."""
    with pytest.raises(ValueError, match="the lists are: terms:gender"):
        Bias.model_validate({"terms": {"gender": GENDER}, "reweigh": "terms:gendre"})
    with pytest.raises(DataError, match="terms:gender"):
        dataset(rows, bias={"terms": {"gender": GENDER}, "reweigh": "site"})


@pytest.mark.parametrize("terms", [[], ["he", "He"], {"a": ["x"], "b": ["X"]}, ["  "]])
def test_lists_of_terms_make_sense(terms: Any) -> None:
    """An empty list, a term that stands twice, or one without letters is an error of the recipe."""
    with pytest.raises(ValueError, match=r"terms"):
        Bias.model_validate({"terms": {"gender": terms}})
