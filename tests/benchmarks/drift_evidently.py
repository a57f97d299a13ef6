"""Evidently's data drift preset over windows side by side; run by `drift_peers.py` with the Python that has Evidently.

``python drift_evidently.py FOLDER`` reads the size of a window a line, and ``tables.npz`` in the folder, and writes
``scores.npy``: of each window minus the logarithm of the smallest p-value of any column, whose limit the benchmark
sets. Evidently 0.7.23 wants ``pandas<3``.
"""

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from evidently import DataDefinition, Dataset, Report
from evidently.presets import DataDriftPreset


def main(folder: Path, size: int) -> None:
    """Read, score, write."""
    with np.load(folder / "tables.npz") as stored:
        tables = {name: stored[name] for name in ("reference", "stream")}
    names = ["label", "confidence", "tokens", *(f"e{n}" for n in range(tables["stream"].shape[1] - 3))]
    definition = DataDefinition(numerical_columns=names[1:], categorical_columns=names[:1])

    def dataset(rows: "np.ndarray") -> Dataset:
        frame = pd.DataFrame(rows, columns=names).astype({"label": int})
        return Dataset.from_pandas(frame, data_definition=definition)

    reference = dataset(tables["reference"])
    scores = []
    for start in range(0, len(tables["stream"]) - size + 1, size):
        preset = DataDriftPreset(num_method="ks", cat_method="chisquare")
        found = Report([preset]).run(dataset(tables["stream"][start : start + size]), reference)
        values = [metric["value"] for metric in json.loads(found.json())["metrics"] if "ValueDrift" in str(metric)]
        scores.append(-np.log(max(min(map(float, values)), 1e-300)))
    np.save(folder / "scores.npy", np.array(scores))


if __name__ == "__main__":
    for line in sys.stdin:  # importing Evidently takes seconds, so one process scores all streams
        main(Path(sys.argv[1]), int(line))
        print("scored", flush=True)  # noqa: T201  # who asked waits for it
