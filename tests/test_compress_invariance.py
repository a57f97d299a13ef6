"""Whether a row's answer depends on its neighbours in a batch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny import WORDS, write_model_folder

from ftdeploy.batching import Batching
from ftdeploy.compress.invariance import _extremes, _judge, _sample, invariance
from ftdeploy.predictor import Predictor
from ftdeploy.signature import read_signature, write_signature


@pytest.fixture
def texts() -> list[str]:
    random = np.random.default_rng(2)
    return [" ".join(random.choice(WORDS, size=random.integers(1, 20))) for _ in range(60)]


def _quantized(folder: Path) -> Path:
    """The tiny model, its head in dynamic int8."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    write_model_folder(folder / "int8")
    write_model_folder(folder / "float")
    target = str(folder / "int8" / "model.onnx")
    quantize_dynamic(str(folder / "float" / "model.onnx"), target, per_channel=True, weight_type=QuantType.QInt8,
                     op_types_to_quantize=["MatMul"])  # fmt: skip
    return folder / "int8"


def test_a_float_model_answers_alike_everywhere(tmp_path: Path, texts: list[str]) -> None:
    """Nothing but rounding differs, so a small tolerance holds and no label changes."""
    write_model_folder(tmp_path / "model")
    found = invariance(tmp_path / "model", texts, tolerance=1e-5, rows=40)
    assert found.within_tolerance
    assert (found.rows, found.changed_labels) == (40, 0)
    assert found.max_logit_difference < 1e-5


def test_dynamic_int8_does_not(tmp_path: Path, texts: list[str]) -> None:
    """One scale for a batch: the difference is seen, and whether it matters is a matter of the tolerance."""
    folder = _quantized(tmp_path)
    found = invariance(folder, texts, tolerance=1e-5)
    assert found.rows == len(texts)
    assert found.max_logit_difference > 1e-3
    assert 1e-5 < found.max_probability_difference <= 1
    assert not found.within_tolerance
    assert invariance(folder, texts, tolerance=found.max_probability_difference).within_tolerance


def test_the_same_seed_finds_the_same(tmp_path: Path, texts: list[str]) -> None:
    """The random batches follow the seed."""
    folder = _quantized(tmp_path)
    assert invariance(folder, texts, tolerance=0.1, seed=5) == invariance(folder, texts, tolerance=0.1, seed=5)


def test_probabilities_are_those_that_are_served(tmp_path: Path, texts: list[str]) -> None:
    """A calibrated model divides its logits by a temperature: what it flattens counts less."""
    folder = _quantized(tmp_path)
    before = invariance(folder, texts, tolerance=0.1)
    write_signature(folder, read_signature(folder).model_copy(update={"temperature": 1000.0}))
    after = invariance(folder, texts, tolerance=0.1)
    assert after.max_logit_difference == before.max_logit_difference
    assert after.max_probability_difference < before.max_probability_difference


def test_sets_change_at_the_thresholds_that_are_served(tmp_path: Path) -> None:
    """A logit that moves across a half changes no answer of a label that holds from 0.9 on, nor the other way round."""
    write_model_folder(tmp_path / "model")
    signature = read_signature(tmp_path / "model").model_copy(update={"task": "multi-label-classification"})
    logits = np.log(np.array([[0.45, 0.45], [0.85, 0.85]], dtype=np.float32) / np.array([[0.55], [0.15]]))
    alone, beside = logits[:, :2].astype(np.float32), logits[:, :2].astype(np.float32)[None] + np.float32(0.6)
    for thresholds, changed in (({}, 1), ({"negative": 0.9, "positive": 0.9}, 1), ({"negative": 0.2}, 1),
                                ({"negative": 0.2, "positive": 0.3}, 0)):  # fmt: skip
        write_signature(tmp_path / "model", signature.model_copy(update={"thresholds": thresholds}))
        found = _judge(alone, beside, Predictor(tmp_path / "model", device="cpu"), 0.1)
        assert found.changed_labels == changed, thresholds


def test_batches_that_are_served_hold_neighbours_too(tmp_path: Path, texts: list[str]) -> None:
    """With one row a batch they differ in nothing from a row alone; the random ones beside them still do."""
    found = invariance(_quantized(tmp_path), texts, tolerance=0.1, batching=Batching(rows=1))
    assert found.max_logit_difference > 1e-3


def test_no_texts_are_an_error(tmp_path: Path) -> None:
    """There is nothing to ask."""
    with pytest.raises(ValueError, match="at least one text"):
        invariance(tmp_path, [], tolerance=0.1)


def test_rows_of_all_lengths_are_asked() -> None:
    """The shortest, the longest and those between, however many short ones there are."""
    ids = [[0] * length for length in (1,) * 50 + (2, 3, 4, 9)]
    assert {len(row) for row in _sample(ids, 10)} >= {1, 9}
    assert sorted(map(len, _sample(ids, 100))) == sorted(map(len, ids))
    assert len(_sample(ids, 10)) == 10


def test_extremes_stand_out_by_length_logits_or_embedding() -> None:
    """Rows that are ordinary in all of these are not among them, and none is twice."""
    ids = [[row] * 5 for row in range(12)]
    ids[0], ids[1] = [0], [1] * 9
    logits, embeddings = np.zeros((12, 2), dtype=np.float32), np.zeros((12, 3), dtype=np.float32)
    logits[[2, 3], 1] = -8
    embeddings[[4, 5], 0] = 7
    found = [row[0] for row in _extremes(ids, logits, embeddings)]
    assert len(found) == len(set(found))
    assert set(range(6)) <= set(found)
    assert set(range(8, 12)).isdisjoint(found)
