"""The drift reference: what a bundle remembers of the data that it was made from. No text, no single row's label.

Detection compares served traffic with these numbers (``ftdeploy/serve/traffic.py`` writes the same features).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ftdeploy.predictor import Predictor
    from ftdeploy.tasks import Task

FORMAT = 1
#: Width of the projected embedding, and how many projected rows are kept as a sample for two-sample tests.
WIDTH = 32
SAMPLE = 1000
#: Edges of the histograms: 20 bins of confidence, token lengths in powers of about 1.5, shares of unknown tokens.
CONFIDENCE_EDGES = np.linspace(0, 1, 21)
LENGTH_EDGES = np.unique(np.round(1.5 ** np.arange(0, 24)))
UNKNOWN_EDGES = np.array([0, 1e-9, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0 + 1e-9])


def compute_reference(predictor: Predictor, task: Task, texts: Sequence[str], *, seed: int) -> dict[str, NDArray[Any]]:
    """The reference of some rows.

    Args:
        predictor: the model that is shipped.
        task: its task.
        texts: rows that the model was not trained on, so that its confidence is honest.
        seed: of the projection and the sample.

    Returns:
        Arrays by name: ``format`` int64 (); ``rows`` int64 (); ``projection`` float32 (width, 32), Gaussian;
        ``mean`` float64 (32,) and ``covariance`` float64 (32, 32) of the projected embedding; ``sample`` float16
        (at most 1000, 32); ``label_counts`` int64 (labels,) of the predictions; ``confidence_counts``,
        ``length_counts``, ``unknown_counts`` int64 with their ``*_edges`` float64.
    """
    encoded = predictor.encode(texts)
    outputs = predictor.predict(texts)
    generator = np.random.default_rng(seed)
    width = outputs.embedding.shape[1]
    projection = (generator.standard_normal((width, WIDTH)) / np.sqrt(WIDTH)).astype(np.float32)
    projected = (outputs.embedding @ projection).astype(np.float64)
    kept = generator.permutation(len(texts))[:SAMPLE]
    answers = task.decode(outputs.logits, predictor.signature, top_k=1)
    confidence = np.array([answer[0]["score"] for answer in answers])
    lengths = np.array([row.length for row in encoded], dtype=np.float64)
    unknown = np.array([row.unknown / max(1, len(row.ids)) for row in encoded])
    counts = np.bincount(task.predictions(outputs.logits), minlength=len(predictor.signature.labels))
    return {
        "format": np.array(FORMAT, dtype=np.int64),
        "rows": np.array(len(texts), dtype=np.int64),
        "projection": projection,
        "mean": projected.mean(axis=0),
        "covariance": np.cov(projected, rowvar=False),
        "sample": projected[kept].astype(np.float16),
        "label_counts": counts.astype(np.int64),
        **_histogram("confidence", confidence, CONFIDENCE_EDGES),
        **_histogram("length", lengths, LENGTH_EDGES),
        **_histogram("unknown", unknown, UNKNOWN_EDGES),
    }


def _histogram(name: str, values: NDArray[np.float64], edges: NDArray[np.float64]) -> dict[str, NDArray[Any]]:
    clipped = np.clip(values, edges[0], edges[-1])
    return {f"{name}_edges": edges, f"{name}_counts": np.histogram(clipped, edges)[0].astype(np.int64)}


def write_reference(path: Path, reference: dict[str, NDArray[Any]]) -> None:
    """Write a reference as ``.npz``; numpy stamps its members with a fixed date, so equal content is equal bytes."""
    with path.open("wb") as handle:
        np.savez_compressed(handle, **reference)


def read_reference(path: Path) -> dict[str, NDArray[Any]]:
    """Read what `write_reference` wrote."""
    with np.load(path, allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}
