"""Int8 weights that are exact without VNNI; what such a processor does is computed here, too, for other machines."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from two_layers import write_two_layers

from ftdeploy.compress.sensitivity import relative_error
from ftdeploy.compress.tools import TOOLS, graph, int8
from ftdeploy.compress.tools.calibration import write_rows
from ftdeploy.hardware import saturates_int8
from ftdeploy.session import open_session
from ftdeploy.signature import SessionOptions

if TYPE_CHECKING:
    from numpy.typing import NDArray

INPUTS, OUTPUTS = 65, 24


def _saturating(rows: NDArray[np.uint8], weights: NDArray[np.int8]) -> NDArray[np.int32]:
    """A product as vpmaddubsw makes it: pairs of neighbouring inputs are added in int16 and cut there."""
    odd = rows.shape[1] % 2
    left = np.pad(rows.astype(np.int32), ((0, 0), (0, odd))).reshape(len(rows), -1, 2, 1)
    right = np.pad(weights.astype(np.int32), ((0, odd), (0, 0))).reshape(1, -1, 2, weights.shape[1])
    cut: NDArray[np.int32] = (left * right).sum(axis=2).clip(-(2**15), 2**15 - 1).sum(axis=1)
    return cut


def _exact(rows: NDArray[np.uint8], weights: NDArray[np.int8]) -> NDArray[np.int32]:
    return rows.astype(np.int32) @ weights.astype(np.int32)


def _here(rows: NDArray[np.uint8], weights: NDArray[np.int8]) -> Any:
    """As ONNX Runtime makes it on this processor."""
    node = helper.make_node("MatMulInteger", ["x", "w"], ["y"])
    x = helper.make_tensor_value_info("x", TensorProto.UINT8, ["rows", weights.shape[0]])
    y = helper.make_tensor_value_info("y", TensorProto.INT32, ["rows", weights.shape[1]])
    made = helper.make_graph([node], "product", [x], [y], [numpy_helper.from_array(weights, "w")])
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(
        None, {"x": rows}
    )[0]


def _full(weights: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    scales = np.abs(weights).max(axis=0) / 127
    return np.rint(weights / scales).astype(np.int8), scales


def _reduced(weights: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    scales = np.abs(weights).max(axis=0) / 64
    return np.rint(weights / scales).astype(np.int8), scales


@pytest.fixture
def weights() -> NDArray[np.float32]:
    return np.random.default_rng(1).normal(0, 0.05, (INPUTS, OUTPUTS)).astype(np.float32)


@pytest.mark.parametrize("rows", [1, 2, 7, 40])
def test_the_pairs_are_those_of_onnx_runtime(weights: NDArray[np.float32], rows: int) -> None:
    """Which inputs are neighbours is no documented fact, and it is what the scales rest upon: where this processor
    saturates, it does as computed here, whatever the number of rows; elsewhere it is exact."""
    given = np.random.default_rng(2).integers(0, 256, (rows, INPUTS)).astype(np.uint8)
    given[0] = 255
    matrix = _full(weights)[0]
    expected = _saturating(given, matrix) if saturates_int8() else _exact(given, matrix)
    np.testing.assert_array_equal(_here(given, matrix), expected)
    assert (_saturating(given, matrix) != _exact(given, matrix)).any()


@pytest.mark.parametrize("wide", [1.0, 40.0])
def test_sums_of_pairs_fit(weights: NDArray[np.float32], wide: float) -> None:
    """The largest activations there are, whatever stands beside what: also where two large weights are neighbours."""
    weights[10:12] *= wide
    matrix, scales = int8.symmetric(weights)
    given = np.random.default_rng(2).integers(0, 256, (64, INPUTS)).astype(np.uint8)
    # Of each output the activations that make its sums the largest and the least.
    given = np.concatenate([given, *(np.where(sign * matrix.T > 0, 255, 0).astype(np.uint8) for sign in (1, -1))])
    np.testing.assert_array_equal(_saturating(given, matrix), _exact(given, matrix))
    np.testing.assert_array_equal(_here(given, matrix), _exact(given, matrix))
    assert np.abs(matrix * scales - weights).max(axis=0) == pytest.approx(scales / 2, rel=0.2)


def test_scales_by_pairs_lose_less_than_seven_bits(weights: NDArray[np.float32]) -> None:
    """And not much more than the full range does where that is exact; where it is not, that is the worst of all."""
    given = np.random.default_rng(2).integers(0, 256, (256, INPUTS)).astype(np.uint8)
    expected = given @ weights

    def error(made: tuple[NDArray[np.int8], NDArray[np.float32]], product: Any) -> float:
        return float(np.square(product(given, made[0]) * made[1] - expected).mean())

    full, cut = (error(_full(weights), product) for product in (_exact, _saturating))
    pairs, seven = (error(make(weights), _saturating) for make in (int8.symmetric, _reduced))
    assert full < pairs < seven / 1.5
    assert cut > seven * 4


def test_a_column_of_zeros_stays_one() -> None:
    """Nothing is divided by 0."""
    matrix, scales = int8.symmetric(np.zeros((3, 2), dtype=np.float32))
    assert not matrix.any()
    assert (scales > 0).all()


def _made(folder: Path, tool: str, **options: Any) -> Path:
    """The model of a tool, of two layers."""
    source = write_two_layers(folder / "float")
    write_rows(folder / "rows.npz", list(np.random.default_rng(3).integers(4, 14, (24, 6))))
    TOOLS[tool](source, folder / "made.onnx", {"calibration": str(folder / "rows.npz"), **options})
    return folder / "made.onnx"


@pytest.mark.parametrize("kind", ["QDQ", "QOperator"])
@pytest.mark.parametrize("reduce_range", [True, False])
def test_weights_that_need_vnni_are_seen_in_a_model(tmp_path: Path, kind: str, reduce_range: bool) -> None:
    """In integer operators, and between QuantizeLinear and DequantizeLinear."""
    made = _made(tmp_path, "ort-static", format=kind, reduce_range=reduce_range)
    assert int8.may_saturate(graph.load(made)) is not reduce_range


@pytest.mark.parametrize("tool", ["calibrated", "ort-weight-only"])
def test_others_need_no_vnni_whatever_is_asked(tmp_path: Path, tool: str) -> None:
    """Scales by pairs, and weights in blocks."""
    assert not int8.may_saturate(graph.load(_made(tmp_path, tool, reduce_range=False)))


def test_the_option_goes_before_what_the_processor_needs() -> None:
    """Nothing said is what this processor needs."""
    assert int8.reduced({}) is saturates_int8()
    assert int8.reduced({"reduce_range": True})
    assert not int8.reduced({"reduce_range": False})


def test_weights_of_a_tool_are_scaled_anew_from_the_float_ones(tmp_path: Path) -> None:
    """As `symmetric` has them, also where the tool knows them by another name."""
    model = graph.load(_made(tmp_path, "ort-dynamic", reduce_range=False))
    source = graph.load(tmp_path / "float" / "model.onnx")
    assert int8.may_saturate(model)
    assert int8.fit_pairs(model, source)
    assert not int8.may_saturate(model)
    assert not int8.fit_pairs(model, source), "once is enough"
    found = {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}
    floats = {one.name: numpy_helper.to_array(one) for one in source.graph.initializer}
    matrix, scales = int8.symmetric(floats["first"])
    np.testing.assert_array_equal(found["first_quantized"], matrix)
    np.testing.assert_array_equal(found["first_scale"], scales)
    (head,) = (name for name in found if name.startswith("head") and name.endswith("_quantized"))
    restored = found[head] * found[head.replace("_quantized", "_scale")]
    assert relative_error(restored, floats["head"].T) < 1e-3


@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize("kind", ["QDQ", "QOperator"])
def test_a_gemm_s_bias_follows_the_scale(tmp_path: Path, kind: str, per_channel: bool) -> None:
    """It is stored in units of the product; an answer of the rescaled model is as close to float as before."""
    model = graph.load(_made(tmp_path, "ort-static", format=kind, per_channel=per_channel, reduce_range=False))
    source = graph.load(tmp_path / "float" / "model.onnx")
    ids = np.random.default_rng(4).integers(4, 14, (16, 6))
    feeds = {"input_ids": ids, "attention_mask": np.ones_like(ids)}

    def answers(one: onnx.ModelProto) -> Any:
        graph.save(one, tmp_path / "one.onnx")
        return open_session(tmp_path / "one.onnx", SessionOptions(exact_int8=True), threads=1).run(["logits"], feeds)[0]

    before = relative_error(answers(model), answers(source))
    assert int8.fit_pairs(model, source)
    assert not int8.may_saturate(model)
    assert relative_error(answers(model), answers(source)) < 2 * before


class _Rows:
    """Rows for calibration."""

    def __init__(self, rows: NDArray[np.float32]) -> None:
        self.left = [{"x": rows}]

    def get_next(self) -> Any:
        return self.left.pop() if self.left else None


@pytest.mark.parametrize("way", ["dynamic", "QDQ", "QOperator"])
def test_products_of_the_full_range_are_exact_as_they_are_opened(tmp_path: Path, way: str) -> None:
    """With the option that a signature names for such weights, everywhere; without, wrong where sums are cut."""
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_dynamic, quantize_static

    random = np.random.default_rng(5)
    rows, matrix = (
        random.uniform(low, 1, shape).astype(np.float32) for low, shape in ((0.5, (32, 64)), (-1, (64, 16)))
    )
    node = helper.make_node("MatMul", ["x", "w"], ["y"], name="product")
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [32, width]) for name, width in (("x", 64), ("y", 16))
    ]
    made = helper.make_graph([node], "product", ends[:1], ends[1:], [numpy_helper.from_array(matrix, "w")])
    onnx.save(
        helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), str(tmp_path / "plain")
    )
    files = (str(tmp_path / "plain"), str(tmp_path / "model.onnx"))
    if way == "dynamic":
        quantize_dynamic(*files, weight_type=QuantType.QInt8)
    else:
        quantize_static(*files, _Rows(rows), quant_format=QuantFormat[way], activation_type=QuantType.QUInt8,
                        weight_type=QuantType.QInt8)  # fmt: skip
    assert int8.may_saturate(onnx.load(files[1]))

    def error(options: SessionOptions) -> float:
        return relative_error(open_session(Path(files[1]), options, threads=1).run(None, {"x": rows})[0], rows @ matrix)

    assert error(SessionOptions(exact_int8=True)) < 1e-2
    assert (error(SessionOptions()) > 0.1) is saturates_int8()
