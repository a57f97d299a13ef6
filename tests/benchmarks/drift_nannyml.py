"""NannyML's own calculators over chunks side by side; run by `drift_peers.py` with the Python that has NannyML.

``python drift_nannyml.py FOLDER METHOD`` reads the size of a chunk a line, and ``tables.npz`` in the folder, and writes
``scores.npy``: of each chunk its value, in standard deviations of the reference's chunks; METHOD is ``reconstruction``
(PCA, its defaults) or ``jensen-shannon`` (label, confidence and length; the greatest).
"""

import sys
from pathlib import Path

import nannyml
import numpy as np
import pandas as pd


def main(folder: Path, method: str, size: int) -> None:
    """Read, score, write."""
    with np.load(folder / "tables.npz") as stored:
        reference, stream = (frame(stored[name]) for name in ("reference", "stream"))
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
    np.save(folder / "scores.npy", scores[: len(stream) // size])


def frame(rows: "np.ndarray") -> pd.DataFrame:
    """Columns by name, the label first."""
    names = ["label", "confidence", "tokens", *(f"e{n}" for n in range(rows.shape[1] - 3))]
    return pd.DataFrame(rows, columns=names).astype({"label": int})


def values(result: "nannyml.base.Result") -> "np.ndarray":
    """The values of the chunks, a column for each that the method looks at."""
    table = result.filter(period="analysis").to_df()
    return table.loc[:, [column for column in table.columns if column[-1] == "value"]].to_numpy(dtype=float)


if __name__ == "__main__":
    for line in sys.stdin:  # importing NannyML takes seconds, so one process scores all streams
        main(Path(sys.argv[1]), sys.argv[2], int(line))
        print("scored", flush=True)  # noqa: T201  # who asked waits for it
