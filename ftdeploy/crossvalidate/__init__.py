"""Cross-validation: the recipe trained once for each fold, and measured on the rows that were held out.

The rows are those of the train and validation splits; the test rows stay unseen, unless the recipe asks for all. Folds
are stratified and grouped (rows that share a text or a group stand together), and each runs through the very stages of
``ftdeploy run`` in a folder of its own: killed at any moment, it goes on where it was. The validation rows for early
stopping are taken from a fold's own training part, so that nothing is chosen on the rows that the fold is measured on.

Two answers, because neither suffices: the mean over the folds with a t interval, corrected for the overlap of the
training parts (Nadeau & Bengio 2003; without the correction it is far too narrow), says what another training of this
recipe on such rows may bring. The metric over all held-out rows together, with a bootstrap interval, says how well
these very models did, and is what a rare label or a ratio of counts wants.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ftdeploy import progress
from ftdeploy.artifact import Artifact, sha256_file
from ftdeploy.crossvalidate.fold import fold_stage, predict, read_rows, row_names
from ftdeploy.crossvalidate.summary import answers, page, summarise
from ftdeploy.dataset import label_names, read_split
from ftdeploy.files import whole, write_json, write_text
from ftdeploy.folds import OutOfFold, assign_folds, tie_rows
from ftdeploy.metrics import METRICS, score
from ftdeploy.page import render_page
from ftdeploy.pipeline import locked
from ftdeploy.prepare import prepare
from ftdeploy.prepare.near import pairs_in
from ftdeploy.recipe import Recipe
from ftdeploy.scale import run_all
from ftdeploy.stage import run_stage, stage_key
from ftdeploy.tasks import TASKS, require_one_label
from ftdeploy.train import train

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

FOLDER = "cross_validation"
PREDICTIONS, RESULT, PAGE = "out_of_fold.parquet", "cross_validation.json", "cross_validation.html"
_DONE = "fold.json"


def cross_validate(recipe: Recipe, out: Path) -> dict[str, Any]:
    """Train and measure each fold; write predictions, result and page into ``out / "cross_validation"``.

    Args:
        recipe: what to do; its section ``cross_validation`` says how many folds.
        out: the run's folder, whose dataset is shared with ``ftdeploy run``. Finished folds are taken as they are.

    Returns:
        What ``cross_validation.json`` holds: for each metric the value of each fold, mean, lower and upper end, and
        the same of all held-out rows together (``pooled``).

    Raises:
        ConfigError: the task has no single label a row.
        LockedError: another run is at work in ``out``.
        DataError: a fold would lack a label.
        FtdeployError: whatever prepare and train raise.
    """
    require_one_label(TASKS[recipe.task], "`ftdeploy cross-validate`")
    settings = recipe.cross_validation
    with locked(out):
        dataset = run_stage(prepare, recipe, {}, out / prepare.writes).artifact
        rows = read_rows(dataset, test=settings.all)
        ids = row_names(rows)
        texts = rows["text"].to_pylist()
        units = tie_rows(texts, rows["group"].to_pylist(), pairs_in(texts, recipe.data.duplicates))
        labels = rows["label"].to_pylist()
        fold = assign_folds(labels, units.tolist(), folds=settings.folds, seed=recipe.seed, ids=ids)
        home = out / FOLDER
        _forget_others(home, settings.folds)
        work = partial(_run_fold, recipe=recipe, dataset=dataset, fold=fold, home=home)
        found = run_all(work, range(settings.folds))
        together = _join(found, rows, fold)
        with whole(home / PREDICTIONS) as path:
            together.write(path)
        document = summarise(recipe, dataset, together, [one.facts for one in found])
        write_json(home / RESULT, document)
        write_text(home / PAGE, render_page(page(document)))
    return document


@dataclass(frozen=True, kw_only=True)
class _Fold:
    """What came of one fold: the predictions for its rows, and what the training says of itself."""

    number: int
    predictions: OutOfFold
    facts: dict[str, Any]


def _run_fold(number: int, *, recipe: Recipe, dataset: Artifact, fold: NDArray[np.int64], home: Path) -> _Fold:
    folder = home / f"fold-{number + 1}"
    title = f"fold {number + 1} of {recipe.cross_validation.folds}"
    data = run_stage(fold_stage(fold, number), recipe, {"dataset": dataset}, folder / "dataset").artifact
    key = stage_key(train, recipe, {"dataset": data})
    done = _finished(folder, key)
    if done is not None:
        progress.say(f"{title}: finished before, {_shown(done['metrics'])}")
        return _Fold(number=number, predictions=OutOfFold.read(folder / PREDICTIONS), facts=done)
    progress.say(title)
    checkpoint = run_stage(train, recipe, {"dataset": data}, folder / "checkpoint").artifact
    held_out = read_split(data, "test")
    predictions = OutOfFold(
        ids=tuple(held_out["id"].to_pylist()),
        labels=tuple(held_out["label"].to_pylist()),
        fold=np.full(len(held_out), number, dtype=np.int64),
        probabilities=predict(checkpoint, held_out["text"].to_pylist(), recipe),
        names=label_names(data),
    )
    with whole(folder / PREDICTIONS) as path:
        predictions.write(path)
    metrics = {name: score(METRICS[name], *answers(predictions)) for name in TASKS[recipe.task].metrics}
    facts = {
        "fold": number + 1,
        "rows": {name: data.facts[name] for name in ("train", "validation", "test")},
        "epochs": checkpoint.facts.get("epochs"),
        "best_epoch": checkpoint.facts.get("best_epoch"),
        "checkpoint": checkpoint.digest,
        "metrics": metrics,
        "key": key,
        "predictions": sha256_file(folder / PREDICTIONS),
    }
    write_json(folder / _DONE, facts)
    # Its answers are kept, and its place is wanted for the next fold's.
    shutil.rmtree(folder / "checkpoint")
    progress.say(f"{title}: {_shown(metrics)} on {len(held_out):,} rows")
    return _Fold(number=number, predictions=predictions, facts=facts)


def _finished(folder: Path, key: str) -> dict[str, Any] | None:
    """What is noted of a fold that was finished with the same key, if its predictions are as they were written."""
    if not ((folder / _DONE).is_file() and (folder / PREDICTIONS).is_file()):
        return None
    noted: dict[str, Any] = json.loads((folder / _DONE).read_text(encoding="utf-8"))
    same = noted["key"] == key and noted["predictions"] == sha256_file(folder / PREDICTIONS)
    return noted if same else None


def _forget_others(home: Path, folds: int) -> None:
    kept = {f"fold-{number + 1}" for number in range(folds)}
    for folder in home.glob("fold-*"):
        if folder.name not in kept:
            shutil.rmtree(folder)


def _join(found: Sequence[_Fold], rows: pa.Table, fold: NDArray[np.int64]) -> OutOfFold:
    """The predictions of all folds in the order of the dataset."""
    names = found[0].predictions.names
    probabilities = np.empty((len(rows), len(names)), dtype=np.float32)
    for one in found:
        probabilities[fold == one.number] = one.predictions.probabilities
    return OutOfFold(
        ids=tuple(rows["id"].to_pylist()),
        labels=tuple(rows["label"].to_pylist()),
        fold=fold,
        probabilities=probabilities,
        names=names,
    )


def _shown(metrics: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.4f}" for name, value in metrics.items())
