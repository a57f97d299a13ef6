"""Cross-validation on a tiny recipe: what is held out, what is kept, what the numbers mean, and kill -9."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import LABELS, write_tiny_recipe
from tiny_run import killed_when
from typer.testing import CliRunner

from ftdeploy.artifact import Artifact, open_artifact, seal
from ftdeploy.cli import app
from ftdeploy.crossvalidate import FOLDER, PAGE, PREDICTIONS, RESULT, cross_validate
from ftdeploy.crossvalidate.fold import fold_stage, predict, read_rows
from ftdeploy.crossvalidate.summary import corrected_interval
from ftdeploy.dataset import SPLITS, read_split
from ftdeploy.errors import DataError
from ftdeploy.folds import OutOfFold
from ftdeploy.recipe import Recipe, load_recipe
from ftdeploy.stage import run_stage, stage_key
from ftdeploy.train import train

FOLDS = 2
SETTINGS = [f"cross_validation.folds={FOLDS}", "train.epochs=1"]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe whose rows have groups of one to three."""
    found = write_tiny_recipe(tmp_path_factory.mktemp("recipe"), rows=160)
    rows = found.with_name("rows.csv")
    with rows.open(encoding="utf-8", newline="") as handle:
        table = list(csv.DictReader(handle))
    with rows.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(("text", "label", "document"))
        writer.writerows((row["text"], row["label"], f"d{n * 3 // 5}") for n, row in enumerate(table))
    document = json.loads(found.read_text(encoding="utf-8"))
    document["data"]["columns"]["group"] = "document"
    found.write_text(json.dumps(document), encoding="utf-8")
    return found


@pytest.fixture(scope="module")
def recipe(path: Path) -> Recipe:
    """The recipe with the settings of these tests."""
    return load_recipe(path, overrides=SETTINGS)


@pytest.fixture(scope="module")
def done(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A cross-validation that nothing disturbed: its folder and its result."""
    out = tmp_path_factory.mktemp("done") / "run"
    return out / FOLDER, cross_validate(recipe, out)


def dataset(home: Path, number: int) -> Artifact:
    return open_artifact(home / f"fold-{number}" / "dataset", kind="dataset")


def test_each_row_is_held_out_once_and_test_rows_never(done: tuple[Path, dict[str, Any]]) -> None:
    """The folds' held-out rows are the train and validation rows of the recipe, each once."""
    home, found = done
    whole = open_artifact(home.parent / "dataset", kind="dataset")
    held_out = [name for n in (1, 2) for name in read_split(dataset(home, n), "test")["id"].to_pylist()]
    assert sorted(held_out) == sorted(read_rows(whole, test=False)["id"].to_pylist())
    assert not set(held_out) & set(read_split(whole, "test")["id"].to_pylist())
    assert found["rows"] == len(held_out) == whole.facts["train"] + whole.facts["validation"]  # type: ignore[operator]
    assert found["test_rows_included"] is False


def test_no_group_is_divided_within_a_fold(done: tuple[Path, dict[str, Any]]) -> None:
    """Neither between what is trained on and what is held out, nor between training and early stopping."""
    home, _ = done
    for number in (1, 2):
        data = dataset(home, number)
        groups = {name: set(read_split(data, name)["group"].to_pylist()) for name in SPLITS}
        assert all(groups.values())
        assert not groups["train"] & groups["test"]
        assert not groups["validation"] & groups["test"]
        assert not groups["train"] & groups["validation"]


def test_out_of_fold_predictions_give_the_metrics(done: tuple[Path, dict[str, Any]]) -> None:
    """The file has every row in the dataset's order; the accuracies follow from it, fold by fold and together."""
    home, found = done
    kept = OutOfFold.read(home / PREDICTIONS)
    rows = read_rows(open_artifact(home.parent / "dataset", kind="dataset"), test=False)
    assert list(kept.ids) == rows["id"].to_pylist()
    assert list(kept.labels) == rows["label"].to_pylist()
    assert np.allclose(kept.probabilities.sum(axis=1), 1, atol=1e-5)
    guesses = np.array(kept.names)[kept.probabilities.argmax(axis=1)]
    right = guesses == np.array(kept.labels)
    accuracy = found["metrics"]["accuracy"]
    assert accuracy["folds"] == [right[kept.fold == number].mean() for number in range(FOLDS)]
    assert accuracy["mean"] == pytest.approx(np.mean(accuracy["folds"]))
    pooled = accuracy["pooled"]
    assert pooled["value"] == pytest.approx(right.mean())
    assert pooled["lower"] < pooled["value"] < pooled["upper"]


def test_predictions_are_those_of_each_text(done: tuple[Path, dict[str, Any]], recipe: Recipe, tmp_path: Path) -> None:
    """Batches by length change neither the order nor the answers: row by row, torch says the same."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    home, _ = done
    data = dataset(home, 1)
    checkpoint = run_stage(train, recipe, {"dataset": data}, tmp_path / "checkpoint").artifact
    texts = read_split(data, "test")["text"].to_pylist()[:20]
    found = predict(checkpoint, texts, recipe)
    model = AutoModelForSequenceClassification.from_pretrained(checkpoint.path, local_files_only=True).eval()
    tokenizer = AutoTokenizer.from_pretrained(checkpoint.path, local_files_only=True)
    with torch.inference_mode():
        rows = [
            tokenizer(text, return_tensors="pt", truncation=True, max_length=recipe.model.max_length) for text in texts
        ]
        each = [model(**row).logits.softmax(-1)[0].numpy() for row in rows]
    assert np.allclose(found, each, atol=1e-5)
    assert len(np.unique(found[:, 0])) > 10, "the texts are told apart"
    # Trained again on the fold's rows, it is the model whose predictions were kept.
    kept = OutOfFold.read(home / "fold-1" / PREDICTIONS)
    assert np.array_equal(kept.probabilities, predict(checkpoint, read_split(data, "test")["text"].to_pylist(), recipe))


def test_kill_and_rerun_end_in_the_same_result(path: Path, done: tuple[Path, dict[str, Any]], recipe: Recipe,
                                               tmp_path: Path) -> None:  # fmt: skip
    """Killed in the second fold; the rerun takes the first as it is, and every file is as if nothing had happened."""
    home = tmp_path / "run" / FOLDER
    options = [option for setting in SETTINGS for option in ("--set", setting)]

    def in_second_fold() -> bool:
        return (home / "fold-2" / "checkpoint.work").is_dir()

    assert killed_when(in_second_fold, "cross-validate", path, "--out", tmp_path / "run", *options)
    noted = home / "fold-1" / "fold.json"
    before = noted.stat().st_mtime_ns
    assert not (home / RESULT).exists()
    found = cross_validate(recipe, tmp_path / "run")
    assert noted.stat().st_mtime_ns == before, "the first fold was not trained again"
    assert found == done[1]
    for name in (RESULT, PAGE, PREDICTIONS):
        assert (home / name).read_bytes() == (done[0] / name).read_bytes(), name
    assert not list(home.glob("fold-*/checkpoint*")), "checkpoints of finished folds are not kept"


def test_the_command_takes_finished_folds_as_they_are(path: Path, done: tuple[Path, dict[str, Any]]) -> None:
    """With --json it prints what the file holds, else means with their intervals; nothing is trained again."""
    home, document = done
    before = [(home / f"fold-{number}" / "fold.json").stat().st_mtime_ns for number in (1, 2)]
    options = ["--out", str(home.parent), "--folds", str(FOLDS), "--set", SETTINGS[1]]
    found = CliRunner().invoke(app, ["cross-validate", str(path), *options, "--json"])
    assert json.loads(found.stdout) == document
    assert [(home / f"fold-{number}" / "fold.json").stat().st_mtime_ns for number in (1, 2)] == before
    shown = CliRunner().invoke(app, ["cross-validate", str(path), *options]).stdout
    accuracy = document["metrics"]["accuracy"]
    assert f"{accuracy['mean']:.4f}  ({accuracy['lower']:.4f} to {accuracy['upper']:.4f})" in shown


def test_the_page_shows_each_metric(done: tuple[Path, dict[str, Any]]) -> None:
    """A chart and a table each, and how the interval was made."""
    page = (done[0] / PAGE).read_text(encoding="utf-8")
    assert page.count("<svg") == len(done[1]["metrics"]) == 2
    assert "Nadeau &amp; Bengio (2003)" in page
    assert f"{done[1]['metrics']['accuracy']['mean']:.4f}" in page


def test_folds_do_not_change_the_key_of_training(path: Path, done: tuple[Path, dict[str, Any]]) -> None:
    """`ftdeploy run` skips the training that it has, whatever is cross-validated."""
    data = open_artifact(done[0].parent / "dataset", kind="dataset")
    keys = {
        stage_key(train, load_recipe(path, overrides=[f"cross_validation.folds={folds}"]), {"dataset": data})
        for folds in (2, 7)
    }
    assert len(keys) == 1


def test_all_rows_are_divided_only_when_asked_for(done: tuple[Path, dict[str, Any]]) -> None:
    """`all: true` adds the test rows."""
    whole = open_artifact(done[0].parent / "dataset", kind="dataset")
    every = sum(int(whole.facts[name]) for name in ("train", "validation", "test"))
    assert len(read_rows(whole, test=True)) == every > len(read_rows(whole, test=False))


def test_a_rows_weight_goes_with_it_into_training_alone(recipe: Recipe, tmp_path: Path) -> None:
    """A row of the validation split, which has none, trains with weight 1; held-out rows have no weight."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    made = tmp_path / "made"
    made.mkdir()
    for name in SPLITS:
        rows = [
            {"text": f"{name} {n}", "label": LABELS[n % 2], "group": None, "id": f"{name}-{n}"}
            | ({"weight": 2.0} if name == "train" else {})
            for n in range(24)
        ]  # fmt: skip
        pq.write_table(pa.Table.from_pylist(rows), made / f"{name}.parquet")
    (made / "profile.json").write_text(json.dumps({"labels": LABELS}), encoding="utf-8")
    data = seal(made, target=tmp_path / "data", kind="dataset", made_by="test@1", made_from=(), key="", settings={},
                facts={})  # fmt: skip
    fold = np.arange(48) // 2 % 2
    divided = run_stage(fold_stage(fold, 0), recipe, {"dataset": data}, tmp_path / "fold").artifact
    train_rows = read_split(divided, "train")
    for name, weight in zip(train_rows["id"].to_pylist(), train_rows["weight"].to_pylist(), strict=True):
        assert weight == (2.0 if name.startswith("train") else 1.0)
    assert len({name.partition("-")[0] for name in train_rows["id"].to_pylist()}) == 2
    assert all("weight" not in read_split(divided, name).column_names for name in SPLITS[1:])


def test_more_folds_than_groups_of_a_label_are_refused(path: Path, done: tuple[Path, dict[str, Any]]) -> None:
    """Before anything is trained."""
    with pytest.raises(DataError, match="100 folds want 100 rows or groups of each label"):
        cross_validate(load_recipe(path, overrides=["cross_validation.folds=100"]), done[0].parent)


def test_a_fold_that_can_hold_nothing_out_is_told(path: Path, tmp_path: Path) -> None:
    """Two groups in two folds leave one group to train on, and no row to stop early by."""
    folder = tmp_path / "recipe"
    folder.mkdir()
    with path.with_name("rows.csv").open(encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    document = json.loads(path.read_text(encoding="utf-8"))
    document["data"]["source"]["path"] = "rows.csv"
    document["data"]["split"] = {"test": 0.25, "validation": 0.25}
    (folder / "recipe.yaml").write_text(json.dumps(document), encoding="utf-8")
    with (folder / "rows.csv").open("w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(("text", "label", "document"))
        writer.writerows((row["text"], row["label"], "abc"[n // 2 % 3]) for n, row in enumerate(rows))
    with pytest.raises(DataError, match="none can be held out for validation"):
        cross_validate(load_recipe(folder / "recipe.yaml", overrides=SETTINGS), tmp_path / "run")


def test_the_corrected_interval() -> None:
    """Student's t over the folds, with the variance that Nadeau & Bengio (2003) give: 1/k + held out / trained on."""
    from scipy import stats

    values = [0.81, 0.84, 0.79, 0.86, 0.83]
    lower, upper = corrected_interval(values, confidence=0.95)
    spread = np.std(values, ddof=1) * np.sqrt(1 / 5 + 0.2 / 0.8)
    expected = stats.t.interval(0.95, 4, loc=np.mean(values), scale=spread)
    assert (lower, upper) == pytest.approx(expected)
    plain = stats.t.interval(0.95, 4, loc=np.mean(values), scale=stats.sem(values))
    assert upper - lower == pytest.approx(1.5 * (plain[1] - plain[0])), "for 5 folds it is half as wide again"
