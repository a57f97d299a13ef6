"""Evidently's data drift preset over windows side by side; run by `drift_peers.py` with the Python that has Evidently.

``python drift_evidently.py FOLDER`` reads the size of a window a line, and ``tables.npz`` in the folder, and writes
``scores.npy``: of each window minus the logarithm of the smallest p-value of any column, whose limit the benchmark
sets. The preset takes seconds a window, most of them for its figures; its p-values are those of Evidently's own tests,
which are called here, and the first window is held against the preset itself. Evidently 0.7.23 wants ``pandas<3``.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
from drift_tables import serve
from evidently import DataDefinition, Dataset, Report
from evidently.legacy.calculations.stattests import chi_stat_test, ks_stat_test
from evidently.legacy.core import ColumnType
from evidently.presets import DataDriftPreset

#: Sizes of the windows that were held against the preset: the first.
CHECKED: list[int] = []


def tested(window: pd.DataFrame, reference: pd.DataFrame) -> list[float]:
    """A p-value a column, by Evidently's tests."""
    return [
        float((chi_stat_test if name == "label" else ks_stat_test)(
            reference[name], window[name], ColumnType.Categorical if name == "label" else ColumnType.Numerical, None
        ).drift_score)
        for name in window
    ]  # fmt: skip


def reported(window: pd.DataFrame, reference: pd.DataFrame) -> list[float]:
    """The same out of the preset's report."""
    definition = DataDefinition(numerical_columns=list(window)[1:], categorical_columns=["label"])
    both = [Dataset.from_pandas(rows, data_definition=definition) for rows in (window, reference)]
    found = Report([DataDriftPreset(num_method="ks", cat_method="chisquare")]).run(*both)
    return [float(metric["value"]) for metric in json.loads(found.json())["metrics"] if "ValueDrift" in str(metric)]


def score(reference: pd.DataFrame, stream: pd.DataFrame, size: int) -> "np.ndarray":
    """Of each window."""
    scores = []
    for start in range(0, len(stream) - size + 1, size):
        window = stream.iloc[start : start + size].reset_index(drop=True)
        values = tested(window, reference)
        if not CHECKED:
            CHECKED.append(size)
            began = time.process_time()
            np.testing.assert_allclose(sorted(values), sorted(reported(window, reference)), rtol=1e-6)
            sys.stderr.write(f"Evidently's preset: {time.process_time() - began:.1f} s a window of {size}\n")
        scores.append(-np.log(max(min(values), 1e-300)))
    return np.array(scores)


if __name__ == "__main__":
    serve(Path(sys.argv[1]), score)
