"""Conformal p-values: what they promise, and what comes back of what was written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from ftdeploy.anomaly import FILE, NEAREST, Populations, populations, read_populations, write_populations
from ftdeploy.errors import ArtifactError

Rows = tuple[NDArray[np.float32], NDArray[np.object_]]


def _around(random: np.random.Generator, center: int, count: int, width: float = 0.15) -> NDArray[np.float32]:
    """Vectors of length 1 around one of the axes of eight dimensions."""
    found = np.eye(8)[center] + width * random.standard_normal((count, 8))
    return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True), dtype=np.float32)


def _rows(random: np.random.Generator, counts: dict[str, int]) -> Rows:
    vectors = [_around(random, center, count) for center, count in enumerate(counts.values())]
    return np.concatenate(vectors), np.repeat(np.array(list(counts), dtype=object), list(counts.values()))


def test_a_text_like_the_rows_is_unusual_as_often_as_was_said() -> None:
    """On average over the rows that it is held against, at any level, whether its label is told or not."""
    random = np.random.default_rng(1)
    shares = []
    for _ in range(200):
        known = populations(_rows(random, {"a": 20, "b": 9}), _rows(random, {"a": 39, "b": 9}), least=1)
        alone = populations(_rows(random, {"a": 20}), _rows(random, {"a": 39}), least=1)
        new = _around(random, 0, 50)
        found = [known.p_values(new, "a")[0], alone.p_values(new, "a")[0], alone.p_values(new, None)[0]]
        assert min(values.min() for values in found) >= 1 / 40
        shares.append([(values <= level).mean() for values in found for level in (0.05, 0.1, 0.5)])
    assert np.mean(shares, axis=0) == pytest.approx([0.05, 0.1, 0.5] * 3, abs=0.02)


def test_a_p_value_counts_those_that_conform_as_little() -> None:
    """And the text itself; a tie is as little. Without other labels it is the distance that counts."""
    one = np.tile(np.array([1, 0], dtype=np.float32), (NEAREST, 1))
    rows = np.array([0.0, 0.2, 0.2, 0.4], dtype=np.float32)
    known = Populations(("a",), one, np.zeros(NEAREST, dtype=np.int64), [rows], rows)
    texts = np.array([[1, 0], [0.8, 0.6], [0.7, 0.714], [0, 1]], dtype=np.float32)
    for label in ("a", None):
        values, nearest = known.p_values(texts, label)
        assert values.tolist() == [1.0, 0.8, 0.4, 0.2]
        assert nearest == ["a"] * 4


def test_the_distances_are_the_means_of_the_nearest() -> None:
    """By cosine: of a label, and of all; of all texts at once or in blocks."""
    random = np.random.default_rng(2)
    reference, texts = _rows(random, {"a": 30, "b": 20}), _around(random, 1, 1300)
    known = populations(reference, _rows(random, {"a": 1, "b": 1}), least=1)
    found, overall = known.distances(texts)
    for index, label in enumerate(("a", "b")):
        alike = np.sort(texts @ reference[0][reference[1] == label].T, axis=1)
        assert found[:, index] == pytest.approx(1 - alike[:, -NEAREST:].mean(axis=1), abs=1e-6)
    assert overall == pytest.approx(1 - np.sort(texts @ reference[0].T, axis=1)[:, -NEAREST:].mean(axis=1), abs=1e-6)


def test_labels_with_too_few_rows_have_no_population() -> None:
    """Of either part; and there may be none at all."""
    random = np.random.default_rng(3)
    reference = _rows(random, {"a": 5, "b": 4, "c": 9})
    calibration = _rows(random, {"a": 3, "b": 9, "d": 9, "c": 2})
    assert populations(reference, calibration, least=3).labels == ("a",)
    assert populations(reference, calibration, least=4).labels == ()


def test_what_is_of_another_label_or_of_none_is_unusual() -> None:
    """With the label that it is nearest to; told none, a text of any of them is usual."""
    random = np.random.default_rng(4)
    known = populations(_rows(random, {"a": 40, "b": 40}), _rows(random, {"a": 99, "b": 99}), least=1)
    values, nearest = known.p_values(_around(random, 1, 20), "a")
    assert set(nearest) == {"b"}
    assert (values == 0.01).all()
    assert (known.p_values(_around(random, 1, 20), None)[0] > 0.01).mean() > 0.9
    assert (known.p_values(_around(random, 5, 20), None)[0] < 0.01).all()


def test_what_is_written_is_read(tmp_path: Path) -> None:
    """To the bit; a file that is damaged or missing says so."""
    random = np.random.default_rng(5)
    known = populations(_rows(random, {"b": 9, "a \u00e9": 9}), _rows(random, {"b": 9, "a \u00e9": 7}), least=1)
    write_populations(tmp_path, known)
    found = read_populations(tmp_path)
    assert found.labels == known.labels == ("a \u00e9", "b")
    for name in ("reference", "owners", "together"):
        assert (getattr(found, name) == getattr(known, name)).all()
    for one, other in zip(found.calibration, known.calibration, strict=True):
        assert (one == other).all()
    (tmp_path / FILE).write_bytes(b"no archive")
    with pytest.raises(ArtifactError, match="cannot be read"):
        read_populations(tmp_path)
    (tmp_path / FILE).unlink()
    with pytest.raises(ArtifactError, match="cannot be read"):
        read_populations(tmp_path)
