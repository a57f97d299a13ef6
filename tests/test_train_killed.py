"""Training that is killed and run again ends in the weights of the undisturbed run, whatever the recipe asks for."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from checkpoints import write_tiny_checkpoint, write_tiny_recipe

from ftdeploy.artifact import Artifact, Kind, open_artifact
from ftdeploy.pipeline import FLOW
from ftdeploy.recipe import load_recipe
from ftdeploy.stage import run_stage

PREPARE, TRAIN = FLOW[:2]


def run_training(folder: Path) -> Artifact:
    """Train with the recipe in a folder that has a dataset."""
    inputs: dict[Kind, Artifact] = {"dataset": open_artifact(folder.parent / "dataset", kind="dataset")}
    return run_stage(TRAIN, load_recipe(folder / "recipe.yaml"), inputs, folder / "checkpoint").artifact


def read_history(folder: Path) -> list[dict[str, Any]]:
    """The entries; as lines and as a list they are the same."""
    found: list[dict[str, Any]] = json.loads((folder / "checkpoint" / "history.json").read_text(encoding="utf-8"))
    lines = (folder / "checkpoint" / "history.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == found
    return found


def train_until(folder: Path, step: int) -> None:
    """Train, and be killed in the middle of a step; runs in a process of its own."""
    from ftdeploy.train.trainer import FineTuner

    make_step = FineTuner.training_step

    def step_or_die(self: Any, *args: Any, **kwargs: Any) -> Any:
        if self.state.global_step == step:
            os.kill(os.getpid(), signal.SIGKILL)
        return make_step(self, *args, **kwargs)

    FineTuner.training_step = step_or_die  # type: ignore[method-assign]  # for this process only
    run_training(folder)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint and a dataset that all trainings share."""
    folder = tmp_path_factory.mktemp("killed")
    write_tiny_checkpoint(folder / "model", hidden=16)
    recipe = load_recipe(write_tiny_recipe(folder, rows=110, checkpoint=folder / "model"))
    run_stage(PREPARE, recipe, {}, folder / "dataset")
    return folder


def write_recipe(folder: Path, train: Mapping[str, Any]) -> None:
    write_tiny_recipe(folder, rows=2, checkpoint=folder.parent / "model", sections={"train": train})


#: Train sections that together have every part that remembers something; the step in which the run is killed.
CASES: dict[str, tuple[dict[str, Any], int]] = {
    "unfreezing by epoch, accumulation, restarts": (
        {"unfreeze": {"every": "epoch"}, "gradient_accumulation": 2, "schedule": "cosine_with_restarts", "epochs": 4,
         "schedule_options": {"cycles": 2}, "layerwise_decay": 0.8,
         "early_stopping": {"patience": 50}}, 5,
    ),
    "unfreezing by steps, tokens, one cycle": (
        {"unfreeze": {"every": 3}, "batch_tokens": 400, "schedule": "one_cycle", "evaluate": 4, "epochs": 3}, 10,
    ),
    "plateau": (
        {"schedule": "reduce_lr_on_plateau", "schedule_options": {"patience": 0}, "evaluate": 2, "epochs": 2,
         "early_stopping": {"metric": "loss", "patience": 50}}, 7,
    ),
    "frozen layer, recomputation, polynomial, last weights": (
        {"freeze": {"layers": 1}, "gradient_checkpointing": True, "schedule": "polynomial", "evaluate": 3,
         "early_stopping": None}, 7,
    ),
    "before the first checkpoint": ({"schedule": "inverse_sqrt", "warmup": 3, "epochs": 1}, 3),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_killed_and_run_again_it_ends_in_the_same_weights(home: Path, name: str) -> None:
    """kill -9 in the middle of a step: the run afterwards has the weights and the history of the undisturbed one, and
    all but the last case goes on from a checkpoint, whose time is counted with its own."""
    train, step = CASES[name]
    undisturbed, killed = home / f"{name} a", home / f"{name} b"
    for folder in (undisturbed, killed):
        write_recipe(folder, train)
    expected = run_training(undisturbed)

    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["ftdeploy.train.trainer", "checkpoints"])
    child = processes.Process(target=train_until, args=(killed, step))
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL
    resumes = bool(list((killed / "checkpoint.work").glob("checkpoint-*/complete.json")))
    assert resumes is (name != "before the first checkpoint")
    for noted in (killed / "checkpoint.work").glob("checkpoint-*/seconds.json"):
        assert json.loads(noted.read_text(encoding="utf-8")) > 0
        noted.write_text("10000.0", encoding="utf-8")

    found = run_training(killed)
    assert (float(found.facts["seconds"]) > 10_000) is resumes
    assert found.files["model.safetensors"] == expected.files["model.safetensors"]
    assert read_history(killed) == read_history(undisturbed)
    assert found.digest == expected.digest


def test_a_run_that_had_stopped_early_does_not_go_on(home: Path) -> None:
    """Killed between its last checkpoint and its end, in the middle of an epoch: the rerun takes the best weights,
    makes no step more, and has the same history."""
    folder = home / "stopped"
    write_recipe(folder, {"evaluate": 2, "epochs": 6, "learning_rate": 1e-6, "early_stopping": {"patience": 1}})
    expected = run_training(folder)
    assert read_history(folder)[-1]["epoch"] < 5

    from ftdeploy.train import resume

    kept = home / "kept"
    again = home / "stopped again"
    write_recipe(again, {"evaluate": 2, "epochs": 6, "learning_rate": 1e-6, "early_stopping": {"patience": 1}})
    with pytest.MonkeyPatch.context() as patch:
        # The last thing before the end of the stage; the work folder is as a kill would leave it.
        patch.setattr("ftdeploy.train._save", lambda *_: shutil.copytree(again / "checkpoint.work", kept) and 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run_training(again)
    assert resume.last_complete_checkpoint(kept) is not None
    assert run_training(again).digest == expected.digest
