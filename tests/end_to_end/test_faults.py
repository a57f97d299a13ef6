"""kill -9 at any moment, then run again: the same weights, and nothing half-made."""

from __future__ import annotations

import os
import signal
import time
from functools import partial
from pathlib import Path

import pytest
from tiny_run import TinyRun, artifact, changed_recipe, digests, ftdeploy, killed_when, refusal, remains, start

pytestmark = pytest.mark.slow


def _reached(run: Path, pattern: str) -> bool:
    return any(run.glob(pattern))


@pytest.mark.parametrize(
    ("stage", "until", "moment"),
    [
        ("prepare", "none", "dataset.partial"),
        ("train", "prepare", "checkpoint.partial"),
        ("export", "train", "onnx.partial"),
        ("compress", "export", "compressed.work/made/ort-dynamic.partial"),
        ("validate", "compress", "report.partial"),
        ("package", "validate", "bundle.partial/home"),
    ],
)
def test_a_run_killed_in_a_stage_leaves_no_artifact_of_it_and_goes_on(
    tiny: TinyRun, tmp_path: Path, stage: str, until: str, moment: str
) -> None:
    """SIGKILL in each stage: what was finished stays as it was, the stage's artifact does not exist, the next run makes
    it; dataset, weights and export are those of the undisturbed run."""
    run = tmp_path / "run" if until == "none" else tiny.copy(tmp_path, until=until)
    before = digests(run)
    command = ("run", tiny.recipe, "--out", run, "--until", stage)
    assert killed_when(lambda: _reached(run, moment), *command)
    assert digests(run) == before
    found = ftdeploy(*command)
    assert found.returncode == 0, found.stderr
    assert remains(run) == []
    again = digests(run)
    assert list(again)[: len(before)] == list(before)
    assert len(again) == len(before) + 1
    for kind in ("dataset", "checkpoint", "onnx"):
        assert again.get(kind, digests(tiny.run)[kind]) == digests(tiny.run)[kind]


def test_training_killed_again_and_again_ends_in_the_same_weights(tiny: TinyRun, tmp_path: Path) -> None:
    """Killed after the first epoch's checkpoint, then in the middle of writing the second's, training resumes after the
    first, and weights and history are those of a run that was left alone."""
    recipe = changed_recipe(tiny.recipe, tmp_path / "recipe.yaml", train={"epochs": 4, "early_stopping": None})
    alone, run = tmp_path / "alone", tiny.copy(tmp_path, until="prepare")
    undisturbed = ftdeploy("run", recipe, "--out", alone, "--until", "train")
    assert undisturbed.returncode == 0, undisturbed.stderr
    work, command = run / "checkpoint.work", ("run", recipe, "--out", run, "--until", "train")
    assert killed_when(lambda: _reached(work, "checkpoint-14/complete.json"), *command)

    # The folder comes first, then its files one by one, and the list of them last.
    with start(*command) as process:
        while not _reached(work, "checkpoint-28"):
            assert process.poll() is None, process.communicate()
            time.sleep(0.0005)
        process.kill()
        process.communicate()
    assert (work / "checkpoint-14").is_dir()
    (work / "checkpoint-28" / "complete.json").unlink(missing_ok=True)  # had the kill come just after the last file

    found = ftdeploy(*command)
    assert found.returncode == 0, found.stderr
    assert "resuming after step 14" in found.stderr
    assert artifact(run, "checkpoint").digest == artifact(alone, "checkpoint").digest
    assert remains(run) == []


def test_training_that_had_stopped_early_does_not_go_on_after_a_kill(tiny: TinyRun, tmp_path: Path) -> None:
    """Killed between the last checkpoint and the end, a run that was to stop early still stops there."""
    stopping = {"epochs": 6, "early_stopping": {"patience": 1}}
    recipe = changed_recipe(tiny.recipe, tmp_path / "recipe.yaml", train=stopping)
    alone = tmp_path / "alone"
    undisturbed = ftdeploy("run", recipe, "--out", alone, "--until", "train")
    assert undisturbed.returncode == 0, undisturbed.stderr
    expected = artifact(alone, "checkpoint")
    epochs = int(expected.facts["epochs"])
    assert epochs < 6, "the recipe does not stop early, so the test would show nothing"

    last = f"checkpoint.work/checkpoint-{14 * epochs}/complete.json"
    for attempt in range(1, 100):  # the moment is short; a kill that came too late shows nothing
        run = tmp_path / f"run-{attempt}"
        command = ("run", recipe, "--out", run, "--until", "train")
        if killed_when(partial(_reached, run, last), *command) and not (run / "checkpoint").exists():
            break
    found = ftdeploy(*command)
    assert found.returncode == 0, found.stderr
    assert f"resuming after step {14 * epochs}" in found.stderr
    assert artifact(run, "checkpoint").digest == expected.digest


def test_two_runs_into_one_folder(tiny: TinyRun, tmp_path: Path) -> None:
    """The second is refused at once and leaves the first unharmed; the lock goes with its holder, however it ends."""
    run = tmp_path / "run"
    command = ("run", tiny.recipe, "--out", run, "--until", "prepare")
    with start(*command) as first:
        while not _reached(run, "dataset.partial"):
            assert first.poll() is None, first.communicate()
            time.sleep(0.0005)
        os.kill(first.pid, signal.SIGSTOP)
        assert "another run" in refusal(ftdeploy(*command), 13)
        os.kill(first.pid, signal.SIGCONT)
        _, err = first.communicate()
        assert first.returncode == 0, err
    assert artifact(run, "dataset").digest == artifact(tiny.run, "dataset").digest

    with start(*command, "--set", "seed=14") as holder:
        while not _reached(run, "dataset.partial"):
            assert holder.poll() is None, holder.communicate()
            time.sleep(0.0005)
        holder.kill()
        holder.communicate()
    assert ftdeploy(*command).returncode == 0
