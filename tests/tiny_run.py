"""`ftdeploy` in real child processes, on a tiny recipe that was run once: for tests of runs, faults and bundles."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from checkpoints import write_recipe, write_tiny_recipe

from ftdeploy.artifact import Artifact, Kind, open_artifact

#: One thread, so that tests do not wait for each other's; no GPU, so that they prove the same everywhere.
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "COLUMNS": "200"}
STAGES: dict[str, Kind] = {
    "prepare": "dataset", "train": "checkpoint", "export": "onnx", "compress": "compressed", "validate": "report",
    "package": "bundle",
}  # fmt: skip


@dataclass(frozen=True)
class TinyRun:
    """A recipe, the finished run of it, and what that run printed. Nobody changes them: `copy` first."""

    recipe: Path
    run: Path
    output: str

    def copy(self, folder: Path, *, until: str = "package") -> Path:
        """A copy of the run in ``folder / "run"`` with the artifacts up to a stage.

        Args:
            folder: an existing folder.
            until: name of the last stage to copy.
        """
        target = folder / "run"
        target.mkdir()
        for stage, kind in STAGES.items():
            shutil.copytree(self.run / kind, target / kind)
            if stage == until:
                break
        return target


def shared_tiny_run(folder: Path) -> TinyRun:
    """The tiny run in a folder that several processes share: the first that comes makes it, the others wait for it.

    Args:
        folder: made when missing. The lock is `flock`'s, which goes with its holder, and ``printed.txt`` comes last:
            what a process left half-made is made again.
    """
    folder.mkdir(exist_ok=True)
    recipe, run, printed = folder / "recipe.yaml", folder / "run", folder / "printed.txt"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not printed.exists():
            printed.write_text(make_tiny_run(folder).output, encoding="utf-8")
    return TinyRun(recipe=recipe, run=run, output=printed.read_text(encoding="utf-8"))


def make_tiny_run(folder: Path) -> TinyRun:
    """Write the tiny recipe, with the candidate of a tool that is imported fast, and run it to the end: about 20 s."""
    return run_to_the_end(write_tiny_recipe(folder, sections={"compress": {"candidates": ["ort-dynamic"]}}))


def run_to_the_end(recipe: Path) -> TinyRun:
    """Run a recipe, into the folder ``run`` beside it."""
    run = recipe.parent / "run"
    found = ftdeploy("run", recipe, "--out", run)
    assert found.returncode == 0, found.stderr
    return TinyRun(recipe=recipe, run=run, output=found.stderr + found.stdout)


def start(*arguments: str | Path, environment: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
    """Start a command, without waiting for it."""
    command = [sys.executable, "-m", "ftdeploy", *(os.fspath(argument) for argument in arguments)]
    settings = {**os.environ, **ENVIRONMENT, **(environment or {})}
    return subprocess.Popen(command, env=settings, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ftdeploy(*arguments: str | Path,
             environment: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:  # fmt: skip
    """Run a command to its end, whatever that is."""
    with start(*arguments, environment=environment) as process:
        out, err = process.communicate()
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def killed_when(seen: Callable[[], bool], *arguments: str | Path) -> bool:
    """Start a command and kill it (SIGKILL) the moment that something is seen; False when it ended before.

    Args:
        seen: looks at the disk.
        arguments: of the command.
    """
    with start(*arguments) as process:
        while not seen():
            if process.poll() is not None:
                return False
            time.sleep(0.0005)
        process.kill()
        process.communicate()
    return process.returncode == -9


def refusal(found: subprocess.CompletedProcess[str], code: int) -> str:
    """What a refused command printed, after checking its exit code, its three parts, and that no trace is shown."""
    assert found.returncode == code, f"exit {found.returncode}\n{found.stderr}"
    for part in ("what:", "cause:", "fix:"):
        assert part in found.stderr, found.stderr
    assert "Traceback" not in found.stderr
    assert f"(exit code {code})" in found.stderr
    return found.stderr


def remains(run: Path) -> list[str]:
    """Names of half-made things in a run's folder."""
    return sorted(path.name for path in run.glob("*") if path.suffix in (".partial", ".work", ".old"))


def digests(run: Path) -> dict[str, str]:
    """Kind -> digest of the artifacts that stand in a run's folder; each is checked file by file."""
    return {kind: artifact(run, kind).digest for kind in STAGES.values() if (run / kind).exists()}


def artifact(run: Path, kind: Kind) -> Artifact:
    """An artifact of a run, checked."""
    return open_artifact(run / kind, kind=kind)


def changed_recipe(recipe: Path, target: Path, **sections: Mapping[str, Any]) -> Path:
    """A copy of a recipe with settings laid over it, section by section; its files stay where they are."""
    document = json.loads(recipe.read_text(encoding="utf-8"))
    document["data"]["source"]["path"] = str(recipe.parent / "rows.csv")
    return write_recipe(target, document, sections)
