"""The drift reference: shapes as promised, the same every time, and nothing of a text in it."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
from tiny import WORDS, write_model_folder

from ftdeploy.drift import SAMPLE, WIDTH, compute_reference, number_edges, read_reference, write_reference
from ftdeploy.predictor import Predictor
from ftdeploy.signature import read_signature, write_signature
from ftdeploy.tasks import TASKS

TASK = TASKS["text-classification"]
TEXTS = [f"the film was {WORDS[place % 10]} and {WORDS[place * 7 % 10]} xyzzy" for place in range(300)] + [
    "",
    "good " * 99,
]


@pytest.fixture
def predictor(tmp_path: Path) -> Predictor:
    write_model_folder(tmp_path / "model")
    return Predictor(tmp_path / "model")


def test_shapes_types_and_counts(predictor: Predictor) -> None:
    """Every row is in every histogram, also the empty text and the one that was cut."""
    found = compute_reference(predictor, TASK, TEXTS, seed=1)
    rows = len(TEXTS)
    assert found["rows"].shape == found["format"].shape == ()
    assert found["rows"] == rows
    assert found["projection"].shape == (8, WIDTH)
    assert found["mean"].shape == (WIDTH,)
    assert found["covariance"].shape == (WIDTH, WIDTH)
    assert found["sample"].shape == (rows, WIDTH)
    assert found["sample"].dtype == np.float16
    for name in ("label", "confidence", "length", "unknown"):
        assert found[f"{name}_counts"].dtype == np.int64
        assert found[f"{name}_counts"].sum() == rows
    assert all(np.isfinite(values).all() for values in found.values())


def test_moments_are_those_of_the_projected_embedding(predictor: Predictor) -> None:
    """Mean and covariance computed anew from the outputs are the same numbers."""
    found = compute_reference(predictor, TASK, TEXTS, seed=1)
    projected = predictor.predict(TEXTS).embedding @ found["projection"]
    np.testing.assert_allclose(found["mean"], projected.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(np.diag(found["covariance"]), projected.var(axis=0, ddof=1), atol=1e-5)


def test_labels_are_the_predicted_ones(predictor: Predictor) -> None:
    """The histogram of labels counts what the model says."""
    found = compute_reference(predictor, TASK, TEXTS, seed=1)
    assert found["label_counts"].tolist() == np.bincount(predictor.predict(TEXTS).logits.argmax(axis=1)).tolist()


def test_confidence_is_that_which_is_served(predictor: Predictor) -> None:
    """At the temperature of the signature, as the service answers and records: else a calibrated model would look
    like drift from its first request."""
    plain = compute_reference(predictor, TASK, TEXTS, seed=1)
    write_signature(predictor.folder, predictor.signature.model_copy(update={"temperature": 5.0}))
    signature = read_signature(predictor.folder)
    found = compute_reference(Predictor(predictor.folder), TASK, TEXTS, seed=1)
    served = TASK.decode(predictor.predict(TEXTS), signature, top_k=1)
    counts, _ = np.histogram([answer[0]["score"] for answer in served], found["confidence_edges"])
    assert found["confidence_counts"].tolist() == counts.tolist() != plain["confidence_counts"].tolist()
    assert found["label_counts"].tolist() == plain["label_counts"].tolist()


def test_the_sample_is_bounded_and_seeded(predictor: Predictor) -> None:
    """At most so many rows, others with another seed, the same with the same."""
    many = TEXTS * 4
    one, same, other = (compute_reference(predictor, TASK, many, seed=seed) for seed in (1, 1, 2))
    assert len(one["sample"]) == SAMPLE
    np.testing.assert_array_equal(one["sample"], same["sample"])
    assert not np.array_equal(one["projection"], other["projection"])


def test_equal_content_is_equal_bytes(predictor: Predictor, tmp_path: Path) -> None:
    """No clock goes in: the bundle's digest depends on it."""
    reference = compute_reference(predictor, TASK, TEXTS, seed=1)
    for name in ("a.npz", "b.npz"):
        write_reference(tmp_path / name, reference)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    with zipfile.ZipFile(tmp_path / "a.npz") as archive:
        assert {member.date_time for member in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    back = read_reference(tmp_path / "a.npz")
    assert set(back) == set(reference)
    for name, values in reference.items():
        np.testing.assert_array_equal(back[name], values)


def test_no_text_is_kept(predictor: Predictor, tmp_path: Path) -> None:
    """Only numbers go in: no array of texts, no pickled object."""
    write_reference(tmp_path / "r.npz", compute_reference(predictor, TASK, TEXTS, seed=1))
    assert {values.dtype.kind for values in read_reference(tmp_path / "r.npz").values()} <= {"f", "i"}


def test_bins_of_numbers_hold_equally_many() -> None:
    """Wherever they lie, with room beyond them; where all are equal there is one edge between what is below and not."""
    values = np.random.default_rng(1).exponential(size=1000) * 1e6 - 5e6
    edges = number_edges(values)
    counts = np.histogram(np.clip(values, edges[0], edges[-1]), edges)[0]
    assert counts.min() >= 49
    assert counts.max() <= 51
    assert number_edges(np.full(5, 3.0)).tolist() == [0.0, 3.0, 6.0]
