"""What `drift_peers.py` and a package in an environment of its own say to each other: tables in, scores out."""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

Score = Callable[[pd.DataFrame, pd.DataFrame, int], "np.ndarray"]


def serve(folder: Path, score: Score) -> None:
    """Read the size of a window a line, and ``tables.npz`` in the folder; write ``scores.npy``, and say so.

    Importing such a package takes seconds, so one process scores all streams.

    Args:
        folder: for what goes to and fro.
        score: of the reference, the stream and the size; a score for each window.
    """
    for line in sys.stdin:
        with np.load(folder / "tables.npz") as stored:
            reference, stream = (_frame(stored[name]) for name in ("reference", "stream"))
        np.save(folder / "scores.npy", score(reference, stream, int(line)))
        print("scored", flush=True)  # noqa: T201  # who asked waits for it


def _frame(rows: "np.ndarray") -> pd.DataFrame:
    """Columns by name, the label first."""
    names = ["label", "confidence", "tokens", *(f"e{n}" for n in range(rows.shape[1] - 3))]
    return pd.DataFrame(rows, columns=names).astype({"label": int})
