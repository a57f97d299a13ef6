"""Which of the Trainer's checkpoints were written to the end.

The Trainer writes its checkpoint folder file by file. A kill in the middle leaves a folder that looks like one, so a
mark is set after the last file, and folders without the mark are removed before resuming.
"""

from __future__ import annotations

import shutil
from pathlib import Path

MARK = "complete"


def mark_complete(checkpoint: Path) -> None:
    """Say that a checkpoint folder is whole."""
    (checkpoint / MARK).touch()


def last_complete_checkpoint(work: Path) -> Path | None:
    """The newest whole checkpoint below ``work``; those that are not whole are removed."""
    whole = []
    for folder in work.glob("checkpoint-*"):
        if (folder / MARK).exists():
            whole.append(folder)
        else:
            shutil.rmtree(folder)
    return max(whole, key=lambda folder: int(folder.name.rpartition("-")[2]), default=None)
