"""Which layers lose most by int8, and which stay in float."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny import WORDS
from two_layers import TOKENS, WIDTH, write_two_layers

from ftdeploy.compress.outcome import Sensitivity
from ftdeploy.compress.sensitivity import Switched, layers_to_keep, relative_error, sensitivity
from ftdeploy.hardware import saturates_int8
from ftdeploy.predictor import Predictor


@pytest.fixture
def texts() -> list[str]:
    random = np.random.default_rng(2)
    return [" ".join(random.choice(WORDS, size=random.integers(2, 12))) for _ in range(48)]


@pytest.mark.parametrize("quantized", ["words", "first/MatMul", "second/MatMul", "head/Gemm"])
def test_a_switched_layer_answers_as_the_quantizer_s(tmp_path: Path, texts: list[str], quantized: str) -> None:
    """The logits with one layer switched are those of the model that `quantize_dynamic` makes of that layer alone, up
    to what rounding at a step's edge gives, which is little beside what the quantization itself changes."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    folder = write_two_layers(tmp_path / "float")
    made = write_two_layers(tmp_path / "int8")
    name = quantized + ("_MatMul" if quantized.endswith("Gemm") else "")  # as the quantizer calls it
    quantize_dynamic(
        str(folder / "model.onnx"), str(made / "model.onnx"), per_channel=True, weight_type=QuantType.QInt8,
        nodes_to_quantize=[name], op_types_to_quantize=["MatMul", "Gather"],
        reduce_range=saturates_int8() and quantized != "words",
    )  # fmt: skip
    predictor = Predictor(folder, threads=1)
    ids = [row.ids for row in predictor.encode(texts)]
    plain, switched = Switched(folder, threads=1).logits(ids, [(), (quantized,)], predictor)
    assert np.allclose(plain, predictor.predict(texts).logits, atol=1e-5)
    expected = Predictor(made, threads=1).predict(texts).logits
    changed = np.abs(expected - plain).max()
    assert changed > 1e-4
    assert np.abs(switched - expected).max() < changed / 50


def test_the_layer_with_the_outlier_is_the_most_sensitive(tmp_path: Path, texts: list[str]) -> None:
    """Every layer with weights is there once, with its size, and the one whose input has an outlier comes first."""
    found = sensitivity(write_two_layers(tmp_path / "model", outlier=100.0), texts, rows=24, seed=1)
    sizes = {one.layer: one.parameters for one in found}
    assert sizes == {
        "words": TOKENS * WIDTH,
        "first/MatMul": WIDTH**2,
        "second/MatMul": WIDTH**2,
        "head/Gemm": 2 * WIDTH,
    }
    assert found[0].layer == "second/MatMul"
    assert [one.logit_error for one in found] == sorted((one.logit_error for one in found), reverse=True)
    assert all(one.logit_error > 0 for one in found)


def test_the_same_seed_finds_the_same(tmp_path: Path, texts: list[str]) -> None:
    """A search that is run again chooses the same layers; another seed looks at other rows."""
    folder = write_two_layers(tmp_path / "model")
    first, again, other = (sensitivity(folder, texts, rows=16, seed=seed) for seed in (3, 3, 4))
    assert [one.layer for one in first] == [one.layer for one in again]
    assert [one.logit_error for one in first] == pytest.approx([one.logit_error for one in again])
    assert [one.logit_error for one in first] != [one.logit_error for one in other]


def test_nothing_to_look_at_is_an_error(tmp_path: Path) -> None:
    """No rows give no errors to compare."""
    with pytest.raises(ValueError, match="at least one text"):
        sensitivity(write_two_layers(tmp_path / "model"), [])


def test_the_worst_layers_stay_in_ever_longer_lists() -> None:
    """Each list begins with the one before; a list that would leave nothing quantized is not made."""
    errors = {"a": 0.1, "b": 0.4, "c": 0.2, "d": 0.3}
    found = [Sensitivity(layer=name, parameters=1, logit_error=error) for name, error in errors.items()]
    assert layers_to_keep(found) == (("b",), ("b", "d"))
    assert layers_to_keep(found, counts=(3, 4)) == (("b", "d", "c"),)


def test_the_error_is_relative_to_how_far_answers_lie_apart() -> None:
    """Logits that are ten times as large with ten times the difference lose as much."""
    random = np.random.default_rng(1)
    expected = random.normal(size=(50, 3)).astype(np.float32)
    logits = expected + random.normal(0, 0.1, (50, 3)).astype(np.float32)
    assert relative_error(logits, expected) == pytest.approx(0.01, rel=0.4)
    assert relative_error(10 * logits, 10 * expected) == pytest.approx(relative_error(logits, expected), rel=1e-4)
