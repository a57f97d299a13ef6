"""Which of the Trainer's checkpoints are whole.

The Trainer writes its checkpoint folder file by file, and removes older ones file by file. A kill in the middle of
either leaves a folder that looks like a checkpoint, so a list of its files is set into it after the last one, and what
lacks the list or a listed file is removed before resuming.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

MARK = "complete.json"
STATE = "trainer_state.json"
CLOCK = "seconds.json"


def mark_complete(checkpoint: Path) -> None:
    """Say that a checkpoint folder is whole."""
    names = sorted(path.name for path in checkpoint.iterdir())
    unfinished = checkpoint / (MARK + ".partial")
    unfinished.write_text(json.dumps(names), encoding="utf-8")
    unfinished.rename(checkpoint / MARK)


def write_seconds(checkpoint: Path, seconds: float) -> None:
    """Note how long it took to come this far, over all the runs that it took."""
    (checkpoint / CLOCK).write_text(json.dumps(seconds), encoding="utf-8")


def seconds_before(checkpoint: Path | None) -> float:
    """How long it took to come to a checkpoint; nothing without one, or with one that does not tell."""
    noted = None if checkpoint is None else checkpoint / CLOCK
    return float(json.loads(noted.read_text(encoding="utf-8"))) if noted is not None and noted.is_file() else 0.0


def last_complete_checkpoint(work: Path) -> Path | None:
    """The newest whole checkpoint below ``work``; those that are not whole are removed."""
    whole = []
    for folder in work.glob("checkpoint-*"):
        if _is_whole(folder):
            whole.append(folder)
        else:
            shutil.rmtree(folder)
    newest = max(whole, key=lambda folder: int(folder.name.rpartition("-")[2]), default=None)
    if newest is not None:
        _relocate_best(newest, work)
    return newest


def _is_whole(folder: Path) -> bool:
    if not (folder / MARK).is_file():
        return False
    names = json.loads((folder / MARK).read_text(encoding="utf-8"))
    return all((folder / name).is_file() for name in names)


def _relocate_best(checkpoint: Path, work: Path) -> None:
    """The Trainer notes the best checkpoint by its full path and silently keeps the last weights when it is not there:
    a run that was moved, or is named in another way, would end in other weights."""
    file = checkpoint / STATE
    state = json.loads(file.read_text(encoding="utf-8"))
    if state.get("best_model_checkpoint"):
        state["best_model_checkpoint"] = str(work / Path(state["best_model_checkpoint"]).name)
        unfinished = file.with_name(STATE + ".partial")
        unfinished.write_text(json.dumps(state, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        unfinished.rename(file)
