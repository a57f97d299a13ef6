"""NannyML's own calculators over chunks side by side; run by `drift_peers.py` with the Python that has NannyML.

``python drift_nannyml.py FOLDER METHOD`` reads the size of a chunk a line, and ``tables.npz`` in the folder, and writes
``scores.npy``: of each chunk its value, in standard deviations of the reference's chunks; METHOD is ``reconstruction``
(PCA, its defaults) or ``jensen-shannon`` (label, confidence and length; the greatest).
"""

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import nannyml
import pandas as pd
from drift_tables import serve

if TYPE_CHECKING:
    import numpy as np


def score(method: str, reference: pd.DataFrame, stream: pd.DataFrame, size: int) -> "np.ndarray":
    """Of each chunk."""
    names = list(reference)
    if method == "reconstruction":
        calculator = nannyml.DataReconstructionDriftCalculator(column_names=names[1:], chunk_size=size)
    else:
        calculator = nannyml.UnivariateDriftCalculator(
            column_names=names[:3], chunk_size=size, continuous_methods=["jensen_shannon"],
            categorical_methods=["jensen_shannon"], treat_as_categorical=["label"],
        )  # fmt: skip
    calculator.fit(reference)
    known, found = (values(calculator.calculate(rows)) for rows in (reference, stream))
    scores = ((found - known.mean(axis=0)) / (known.std(axis=0) + 1e-9)).max(axis=1)
    return scores[: len(stream) // size]


def values(result: "nannyml.base.Result") -> "np.ndarray":
    """The values of the chunks, a column for each that the method looks at."""
    table = result.filter(period="analysis").to_df()
    return table.loc[:, [column for column in table.columns if column[-1] == "value"]].to_numpy(dtype=float)


if __name__ == "__main__":
    serve(Path(sys.argv[1]), partial(score, sys.argv[2]))
