"""The training rows once more: without some of them, or with weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ftdeploy.files import whole
from ftdeploy.pairs import with_joined_texts
from ftdeploy.prepare.profile import SplitProfile

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BATCH_ROWS = 4096


def rewrite_train(path: Path, *, keep: NDArray[np.bool_] | None = None, factors: NDArray[np.float64] | None = None,
                  slices: Sequence[str] = ()) -> SplitProfile:  # fmt: skip
    """Leave rows out of ``train.parquet``, or multiply what they weigh in the loss; a batch at a time.

    Args:
        path: the file.
        keep: the rows that stay, bool, shape (rows,); None is all.
        factors: what each row's ``weight`` is multiplied with, float64, shape (rows,), > 0; None adds no weights. The
            weights of the rows that stay are scaled to a mean of 1.
        slices: the columns that the profile counts.

    Returns:
        The counts of what is in the file now.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    profile, groups = SplitProfile(slices=slices), set()
    with pq.ParquetFile(path, pre_buffer=False) as file, whole(path) as partial:
        stay = np.ones(file.metadata.num_rows, dtype=bool) if keep is None else keep
        schema, weights = file.schema_arrow, _weights(file, stay, factors)
        if weights is not None and "weight" not in schema.names:
            schema = schema.append(pa.field("weight", pa.float32()))
        with pq.ParquetWriter(partial, schema, compression="zstd") as writer:
            start = 0
            for batch in file.iter_batches(batch_size=_BATCH_ROWS):
                here = slice(start, start + batch.num_rows)
                start += batch.num_rows
                rows = batch.filter(pa.array(stay[here]))
                profile.add(with_joined_texts(rows))
                groups.update(rows.column("group").unique().to_pylist())
                if weights is not None:
                    columns = {name: rows.column(name) for name in schema.names if name != "weight"}
                    weight = pa.array(weights[here][stay[here]].astype(np.float32))
                    rows = pa.record_batch([*columns.values(), weight], schema=schema)
                writer.write_batch(rows)
    profile.groups = len(groups - {None})
    return profile


def _weights(file: Any, stay: NDArray[np.bool_], factors: NDArray[np.float64] | None) -> NDArray[np.float64] | None:
    """What each row weighs, scaled; None when no row has a weight."""
    schema = file.schema_arrow
    if "weight" not in schema.names and factors is None:
        return None
    weights = np.ones(len(stay)) if factors is None else factors.astype(np.float64)
    if "weight" in schema.names:
        column = file.read(columns=["weight"]).column("weight")
        weights = weights * column.to_numpy()
    scaled: NDArray[np.float64] = weights / weights[stay].mean()
    return scaled
