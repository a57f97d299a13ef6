"""The recipe of a challenger: what it takes over from the champion's, and what it changes."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_prepare import many, write_jsonl

from ftdeploy.artifact import Artifact, open_artifact
from ftdeploy.dataset import read_split
from ftdeploy.prepare import prepare
from ftdeploy.recipe import Recipe, ValidateSettings, as_text, load_recipe
from ftdeploy.stage import run_stage
from ftdeploy.update.challenger import NEW, challenger_recipe, split_counts, without_floors
from ftdeploy.update.gates import OLD, challenger_suite

DATA = {"columns": {"text": "text", "label": "label", "time": "when"}, "split": {"by": "time"}, "limit": 60,
        "clean": {"min_chars": 4}, "quality": {"action": "drop"}}  # fmt: skip
TRAIN = {"epochs": 5, "head_learning_rate": 1e-3, "reinitialize_layers": 1, "unfreeze": {}, "weight_decay": 0.1}


@pytest.fixture(scope="module")
def champion(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A version's folder with a dataset and the file of the rows beside it."""
    folder = tmp_path_factory.mktemp("version")
    rows = [
        {**row, "label": "ab"[place % 2], "when": f"2026-01-{1 + place // 3:02}"} for place, row in enumerate(many(80))
    ]
    write_jsonl(folder / "rows.jsonl", rows)
    fresh = [
        {"text": f"fresh {place}", "label": "ab"[place % 2], "group": None, "id": f"n{place}"} for place in range(40)
    ]
    write_jsonl(folder / "new.jsonl", fresh)
    run_stage(prepare, recipe(folder), {}, folder / "dataset")
    return folder


def recipe(folder: Path, **update: float) -> Recipe:
    body = {"version": 1, "name": "demo", "task": "text-classification", "model": {"path": "old", "max_length": 64},
            "data": {"source": {"path": str(folder / "rows.jsonl")}} | DATA, "train": TRAIN,
            "update": update}  # fmt: skip
    return Recipe.model_validate(body)


def derived(folder: Path, **update: float) -> Recipe:
    dataset = open_artifact(folder / "dataset", kind="dataset")
    made = challenger_recipe(recipe(folder, **update), champion=folder, dataset=dataset, rows=folder / "new.jsonl")
    (folder / "recipe.yaml").write_text(as_text(made), encoding="utf-8")
    return load_recipe(folder / "recipe.yaml")


def test_it_goes_on_from_the_champion(champion: Path) -> None:
    """From its checkpoint, with its labels and its way of cleaning; nothing that was learned begins anew."""
    made = derived(champion, epochs=2, learning_rate=1e-4)
    assert (made.model.path, made.model.max_length) == (champion / "checkpoint", 64)
    assert made.data.labels == ("a", "b")
    assert made.data.clean.min_chars == 4
    assert (made.train.epochs, made.train.learning_rate, made.train.head_learning_rate) == (2, 1e-4, None)
    assert (made.train.reinitialize_layers, made.train.unfreeze, made.train.weight_decay) == (0, None, 0.1)
    kept = derived(champion)
    assert (kept.train.epochs, kept.train.head_learning_rate) == (5, None)


def test_half_the_rate_is_that_of_the_first_training(champion: Path) -> None:
    """By itself a challenger learns at half of it, and so does the next one, which is made of this one's recipe."""
    made = derived(champion)
    assert made.train.learning_rate == recipe(champion).train.learning_rate / 2
    dataset = open_artifact(champion / "dataset", kind="dataset")
    following = challenger_recipe(made, champion=champion, dataset=dataset, rows=champion / "new.jsonl")
    assert following.train.learning_rate == made.train.learning_rate


def test_floors_are_kept_for_the_old_rows(champion: Path) -> None:
    """The challenger's own run, whose test rows are old and new ones, is not judged by them; its recipe has them still,
    for the judgement beside the champion and for the next update."""
    gates = [{"kind": "non-inferiority", "metric": "accuracy", "margin": 0.02},
             {"kind": "floor", "metric": "accuracy", "minimum": 0.9},
             {"kind": "ceiling", "metric": "log_loss", "maximum": 0.5},
             {"kind": "worst-slice", "minimum": 0.5}]  # fmt: skip
    suite = {"name": "demo", "gates": gates}
    made = recipe(champion).model_copy(update={"validate_": ValidateSettings.model_validate({"suite": suite})})
    run = without_floors(made)
    assert [gate.kind for gate in run.validate_.suite.gates] == ["non-inferiority"]
    assert [gate.kind for gate in made.validate_.suite.gates] == [str(gate["kind"]) for gate in gates]
    judged = challenger_suite(made, [OLD, NEW]).gates
    assert {gate.kind for gate in judged if gate.case == OLD} == {str(gate["kind"]) for gate in gates}


def test_what_would_take_rows_away_with_every_update_is_off(champion: Path) -> None:
    """No second sample, no further suspects dropped, no times that prepared rows do not have."""
    made = derived(champion)
    assert made.data.limit is None
    assert made.data.quality is not None
    assert made.data.quality.action == "report"
    assert (made.data.split.by, made.data.split.stratify, made.data.split.leakage) == ("chance", True, "drop")


def prepared(champion: Path, tmp_path: Path, **update: float) -> Artifact:
    made = derived(champion, **update)
    sources = [one.model_copy(update={"format": "jsonl"}) if one.name == "new" else one for one in made.data.sources]
    settled = made.model_copy(update={"data": made.data.model_copy(update={"sources": tuple(sources)})})
    return run_stage(prepare, settled, {}, tmp_path / "dataset").artifact


def test_old_rows_stay_where_they_stood_and_new_ones_are_divided(champion: Path, tmp_path: Path) -> None:
    """By the shares of `update`; texts and ids come through a second cleaning unchanged."""
    before = open_artifact(champion / "dataset", kind="dataset")
    after = prepared(champion, tmp_path, test=0.5, validation=0.25)
    for name in ("train", "validation", "test"):
        old = [row for row in read_split(after, name).to_pylist() if row["id"].startswith("old-")]
        wanted = [{**row, "id": f"old-{name}:{row['id']}"} for row in read_split(before, name).to_pylist()]
        assert old == wanted
    assert split_counts(after) == {"train": 10, "validation": 10, "test": 20}


def test_replay_takes_a_share_of_the_old_training_rows(champion: Path, tmp_path: Path) -> None:
    """Rows of validation and test are all kept."""
    before = open_artifact(champion / "dataset", kind="dataset")
    after = prepared(champion, tmp_path, replay=0.5)
    old = {name: [one for one in read_split(after, name)["id"].to_pylist() if one.startswith("old-")]
           for name in ("train", "validation", "test")}  # fmt: skip
    assert len(old["train"]) == round(before.facts["train"] / 2)  # type: ignore[operator]  # a number of rows
    assert len(old["test"]) == before.facts["test"]
    assert len(old["validation"]) == before.facts["validation"]
