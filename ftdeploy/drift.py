"""The drift reference: what a bundle remembers of the data that it was made from. No text, no single row's label.

Detection compares served traffic with these numbers (``ftdeploy/serve/traffic.py`` writes the same features).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ftdeploy.encoded import by_text, mean_embedding
from ftdeploy.errors import DataError, did_you_mean

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ftdeploy.encoded import Outputs
    from ftdeploy.predictor import Predictor
    from ftdeploy.tasks import Task

#: 2 added what true labels tell (`confusion` and below, in `reference_of`); whoever reads it does without in 1.
FORMAT = 2
#: Width of the projected embedding, and how many projected rows are kept as a sample for two-sample tests.
WIDTH = 32
SAMPLE = 1000
#: Edges of the histograms: confidence, in smaller and smaller bins towards 1, where models mostly are; token lengths in
#: powers of about 1.5, shares of unknown tokens.
CONFIDENCE_EDGES = np.concatenate([np.linspace(0, 0.95, 20), [0.96, 0.97, 0.98, 0.985, 0.99, 0.995, 0.998, 1.0]])
LENGTH_EDGES = np.unique(np.round(1.5 ** np.arange(0, 24)))
UNKNOWN_EDGES = np.array([0, 1e-9, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0 + 1e-9])


#: Bins of answers that are numbers.
NUMBER_BINS = 20
#: Bins of confidence with equally many rows, in which the model is right or not.
RELIABILITY_BINS = 10


@dataclass(frozen=True, kw_only=True)
class Features:
    """What is known of answered rows without their texts, one entry a row.

    Attributes:
        labels: predicted class ids (of summaries, see `ftdeploy.tasks.Task`), int64, shape (rows,).
        confidence: probability of that label, float64, shape (rows,); or the answer itself, where that is a number.
        tokens: length in tokens before cutting, float64, shape (rows,).
        unknown: share of unknown tokens, float64, shape (rows,).
        truncated: whether the text was cut, bool, shape (rows,).
        embedding: projection of the early-layer embedding, float32, shape (rows, 32).
    """

    labels: NDArray[np.int64]
    confidence: NDArray[np.float64]
    tokens: NDArray[np.float64]
    unknown: NDArray[np.float64]
    truncated: NDArray[np.bool_]
    embedding: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> Features:
        """Some of the rows, by index or mask."""
        return Features(
            labels=self.labels[rows],
            confidence=self.confidence[rows],
            tokens=self.tokens[rows],
            unknown=self.unknown[rows],
            truncated=self.truncated[rows],
            embedding=self.embedding[rows],
        )


def bundle_projection(predictor: Predictor, *, seed: int) -> NDArray[np.float32]:
    """A Gaussian projection of the model's embedding, float32, shape (width, 32), that keeps lengths on average."""
    width = predictor.run([predictor.encode(["a"])[0].ids]).embedding.shape[1]
    generator = np.random.default_rng(seed)
    return np.asarray(generator.standard_normal((width, WIDTH)) / np.sqrt(WIDTH), dtype=np.float32)


def features_of(predictor: Predictor, task: Task, texts: Sequence[str], *,
                projection: NDArray[np.float32]) -> Features:  # fmt: skip
    """The features of texts, as the service would record them.

    Args:
        predictor: the model that is shipped.
        task: its task.
        texts: at least one.
        projection: of the embedding, float32, shape (width, 32).
    """
    encoded = predictor.encode(texts)
    outputs = predictor.pooled(predictor.predict_rows(encoded))
    labels, confidence = _told(outputs, task, predictor)
    pieces = by_text(encoded, len(texts))
    embedding = mean_embedding(outputs, len(texts)) if task.per_token else outputs.embedding
    return Features(
        labels=labels,
        confidence=confidence,
        tokens=np.array([sum(row.length for row in of) for of in pieces], dtype=np.float64),
        unknown=np.array([sum(row.unknown for row in of) / max(1, sum(row.kept for row in of)) for of in pieces]),
        truncated=np.array([any(row.truncated() for row in of) for of in pieces]),
        embedding=embedding @ projection,
    )


def number_edges(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Edges of bins with about equally many of some numbers, the outer ones far outside: a histogram counts what lies
    beyond them into the first and the last."""
    inner = np.unique(np.quantile(values, np.arange(1, NUMBER_BINS) / NUMBER_BINS))
    reach = max(1.0, float(np.abs(inner).max()), float(np.ptp(inner)))
    return np.concatenate([[inner[0] - reach], inner, [inner[-1] + reach]])


def _told(outputs: Outputs, task: Task, predictor: Predictor) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """What was answered, as `Features` has it; vectors are all called alike, and nothing is surer than another."""
    if task.vectors:
        return np.zeros(len(outputs.logits), dtype=np.int64), np.ones(len(outputs.logits))
    said = task.said(outputs, predictor.signature)
    return summary_ids(task, said.labels, predictor.signature.labels), said.scores.astype(np.float64)


def summary_ids(task: Task, labels: Sequence[str], outputs: Sequence[str]) -> NDArray[np.int64]:
    """What is counted of labels, by its place among the task's summaries: int64, shape (rows,).

    Args:
        task: says what is counted.
        labels: of rows.
        outputs: of the network.

    Raises:
        DataError: a label that the network does not have.
    """
    known = {name: index for index, name in enumerate(task.summaries(outputs))}
    found = [task.summary(label) for label in labels]
    unknown = next((name for name in found if name not in known), None)
    if unknown is not None:
        raise DataError(
            f"label {unknown!r} is not among the known labels",
            cause="the model was made from other data, or the label is misspelt",
            fix=did_you_mean(unknown, known),
        )
    return np.array([known[name] for name in found], dtype=np.int64)


def compute_reference(predictor: Predictor, task: Task, texts: Sequence[str], *, seed: int,
                      truths: NDArray[np.int64] | None = None) -> dict[str, NDArray[Any]]:  # fmt: skip
    """The reference of some rows; see `reference_of`.

    Args:
        predictor: the model that is shipped.
        task: its task.
        texts: rows that the model was not trained on, so that its confidence is honest.
        seed: of the projection and the sample.
        truths: their true class ids, int64, shape (rows,), where they are known.
    """
    projection = bundle_projection(predictor, seed=seed)
    found = features_of(predictor, task, texts, projection=projection)
    return reference_of(
        found, projection, classes=len(task.summaries(predictor.signature.labels)), seed=seed, truths=truths
    )


def reference_of(rows: Features, projection: NDArray[np.float32], *, classes: int, seed: int,
                 truths: NDArray[np.int64] | None = None,
                 edges: NDArray[np.float64] = CONFIDENCE_EDGES) -> dict[str, NDArray[Any]]:  # fmt: skip
    """The reference of rows whose features are known.

    Args:
        rows: their features.
        projection: what their embedding was projected with.
        classes: how many labels there are.
        seed: of the sample.
        truths: true class ids, int64, shape (rows,), where they are known.
        edges: of the histogram of the confidence.

    Returns:
        Arrays by name: ``format`` int64 (); ``rows`` int64 (); ``projection`` float32 (width, 32), Gaussian;
        ``mean`` float64 (32,) and ``covariance`` float64 (32, 32) of the projected embedding; ``sample`` float16
        (at most 1000, 32); ``label_counts`` int64 (labels,) of the predictions; ``truncated_counts`` int64 (2,), not
        cut and cut; ``confidence_counts``, ``length_counts``, ``unknown_counts`` int64 with their ``*_edges`` float64.
        With true labels also ``confusion`` int64 (labels, labels), rows by true and then by predicted label;
        ``reliability_edges`` float64, quantiles of the confidence, with ``reliability_rows`` and ``reliability_right``
        int64 between them; ``confidence_mean`` float64 (); and ``atc_threshold`` float64 (), the confidence below
        which there are as many rows as wrong ones (Garg et al. 2022).
    """
    projected = rows.embedding.astype(np.float64)
    kept = np.random.default_rng([seed, 1]).permutation(len(rows))[:SAMPLE]
    found: dict[str, NDArray[Any]] = {
        "format": np.array(FORMAT, dtype=np.int64),
        "rows": np.array(len(rows), dtype=np.int64),
        "projection": projection,
        "mean": projected.mean(axis=0),
        "covariance": np.cov(projected, rowvar=False),
        "sample": projected[kept].astype(np.float16),
        "label_counts": np.bincount(rows.labels, minlength=classes).astype(np.int64),
        "truncated_counts": np.array([(~rows.truncated).sum(), rows.truncated.sum()], dtype=np.int64),
        **_histogram("confidence", rows.confidence, edges),
        **_histogram("length", rows.tokens, LENGTH_EDGES),
        **_histogram("unknown", rows.unknown, UNKNOWN_EDGES),
    }
    return found if truths is None else found | _told_by(truths, rows, classes)


def _told_by(truths: NDArray[np.int64], rows: Features, classes: int) -> dict[str, NDArray[Any]]:
    """What true labels add to a reference: totals, never a row."""
    confusion = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(confusion, (truths, rows.labels), 1)
    right = truths == rows.labels
    inner = np.unique(np.quantile(rows.confidence, np.arange(1, RELIABILITY_BINS) / RELIABILITY_BINS))
    bins = np.searchsorted(inner, rows.confidence, side="right")
    return {
        "confusion": confusion,
        "reliability_edges": np.concatenate([[0.0], inner, [1.0]]),
        "reliability_rows": np.bincount(bins, minlength=len(inner) + 1).astype(np.int64),
        "reliability_right": np.bincount(bins[right], minlength=len(inner) + 1).astype(np.int64),
        "confidence_mean": np.array(rows.confidence.mean()),
        "atc_threshold": np.array(np.quantile(rows.confidence, 1 - right.mean())),
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
