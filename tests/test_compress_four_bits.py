"""Int8 weights that are stored in four bits: what is unpacked is what was packed, and products hardly change."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from tiny import WORDS
from two_layers import write_two_layers

from ftdeploy.compress.invariance import invariance
from ftdeploy.compress.sensitivity import relative_error
from ftdeploy.compress.tools import four_bits
from ftdeploy.compress.tools.calibrated import calibrated
from ftdeploy.compress.tools.calibration import write_rows
from ftdeploy.compress.tools.int8 import PAIR, pair_sums
from ftdeploy.errors import CompressionError
from ftdeploy.predictor import Predictor

if TYPE_CHECKING:
    from numpy.typing import NDArray


@pytest.fixture
def weights() -> NDArray[np.float32]:
    """(128, 48), with outputs of many sizes, one of them all zero, and a few weights far out."""
    random = np.random.default_rng(3)
    made = random.normal(size=(128, 48)) * np.geomspace(1e-3, 1e2, 48)
    made[:, 7] = 0
    made[random.integers(0, 128, 20), random.integers(0, 48, 20)] *= 8
    return made.astype(np.float32)


def test_the_graph_unpacks_what_was_packed(weights: NDArray[np.float32]) -> None:
    """To the last bit, by ONNX Runtime's own operators; half a byte a weight, and a byte a block."""
    integers, factors, _ = four_bits.packed(weights)
    nodes, constants = four_bits.unpacking("matrix", integers, factors)
    graph = helper.make_graph(
        nodes, "g", [], [helper.make_tensor_value_info("matrix", TensorProto.INT8, weights.shape)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    (found,) = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {})
    np.testing.assert_array_equal(found, four_bits.unpacked(integers, factors))
    assert constants["matrix.nibbles"].nbytes == weights.size / 2
    assert constants["matrix.factors"].nbytes == weights.size / four_bits.BLOCK


def test_no_sum_of_a_pair_can_saturate(weights: NDArray[np.float32]) -> None:
    """So that processors without VNNI multiply them right; rounding may make sums larger than they were."""
    integers, factors, scales = four_bits.packed(weights)
    assert (integers.min(), integers.max()) == (-8, 7)
    assert 1 <= factors.min() <= factors.max() <= 16
    made = four_bits.unpacked(integers, factors).astype(np.float32)
    assert pair_sums(made).max() <= PAIR
    assert np.isfinite(scales).all()
    assert not made[:, 7].any()


def test_each_weight_is_as_near_as_four_bits_let_it_be(weights: NDArray[np.float32]) -> None:
    """Off by no more than half a step of its block, but for the few that are cut; and a block has the factor of least
    error: any other one for all blocks is worse."""
    integers, factors, scales = four_bits.packed(weights)
    steps = np.repeat(factors, four_bits.BLOCK, axis=0) * scales
    made = four_bits.unpacked(integers, factors) * scales
    assert (np.abs(made - weights) <= 0.51 * steps).mean() > 0.97
    error = np.square(made - weights).sum(axis=0)
    for factor in (2, 6, 10, 14):
        same = np.rint(weights / (factor * scales)).clip(-8, 7) * factor * scales
        assert (error <= 1.01 * np.square(same - weights).sum(axis=0)).mean() > 0.9


def test_a_layer_has_the_same_integers_in_every_model(weights: NDArray[np.float32]) -> None:
    """They come from the weights alone, so that a student and its teacher can share them."""
    first, second = (four_bits.packed(weights.copy()) for _ in range(2))
    for part in range(3):
        np.testing.assert_array_equal(np.asarray(first[part]), np.asarray(second[part]))


def test_answers_stay_close_and_alone(tmp_path: Path) -> None:
    """A model of whole blocks, by constant scales and by one a row: near its float self, no neighbour matters, and its
    matrices take half of what int8 takes; what has no whole blocks stays in int8."""
    random = np.random.default_rng(2)
    texts = [" ".join(random.choice(WORDS, size=random.integers(2, 12))) for _ in range(48)]
    source = write_two_layers(tmp_path / "float", width=64)
    predictor = Predictor(source, threads=1)
    write_rows(tmp_path / "rows.npz", [row.ids for row in predictor.encode(texts)])
    expected = predictor.predict(texts).logits
    for name, rows in (("constant", ()), ("rows", "all")):
        made = write_two_layers(tmp_path / name, width=64)
        given = {"calibration": str(tmp_path / "rows.npz"), "row_scales": rows, "weights": 4}
        calibrated(source, made / "model.onnx", given)
        assert 0 < relative_error(Predictor(made, threads=1).predict(texts).logits, expected) < 0.05
        assert invariance(made, texts, tolerance=1e-4).within_tolerance
        stored = {one.name: one.data_type for one in onnx.load(str(made / "model.onnx")).graph.initializer}
        assert sum(name.endswith(".nibbles") for name in stored) >= 2


def test_opsets_that_cannot_take_bits_apart_are_refused(tmp_path: Path) -> None:
    """With what to set."""
    source = write_two_layers(tmp_path / "float", width=64)
    model = onnx.load(str(source / "model.onnx"))
    model.opset_import[0].version = 17
    onnx.save(model, str(source / "model.onnx"))
    write_rows(tmp_path / "rows.npz", [[2, 5, 3]])
    with pytest.raises(CompressionError, match="want an opset of at least 18"):
        calibrated(source, tmp_path / "out.onnx", {"calibration": str(tmp_path / "rows.npz"), "weights": 4})
