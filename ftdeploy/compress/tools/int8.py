"""Int8 weights that x86 processors without VNNI multiply right, too: who makes them, how, and which models need VNNI.

ONNX Runtime multiplies uint8 activations with int8 weights. Where a processor has no VNNI, it does so by vpmaddubsw,
which adds the products of two neighbouring inputs (2k and 2k + 1) in int16 and cuts the sum at 32,767: 255 * 127 twice
is 64,770. So weights of one sign that are neighbours may sum up to 128 levels. Seven bits keep to that, which is what
the tools of others offer (``reduce_range``), and cost a bit of every weight. But two large weights of one sign rarely
meet: `symmetric` scales by the largest sum that occurs, and loses no more than eight bits do. On a six-layer encoder
of width 384 with a scale a token, the logits' squared error relative to their variance was 5.3e-4 by it, 5.1e-4 with
the full range in exact products, 1.4e-3 with the full range in cut ones, 1.5e-3 with 7-bit weights, and 2.0e-3 with
8-bit weights and 7-bit activations; with constant scales 3.8e-3, 3.8e-3, 4.2e-3, 4.0e-3 and 1.2e-2. It took no longer.

Products of uint8 with uint8, and weights in blocks (MatMulNBits), are exact everywhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ftdeploy.compress.tools import graph
from ftdeploy.hardware import saturates_int8

if TYPE_CHECKING:
    import onnx
    from numpy.typing import NDArray

#: Most that two neighbouring weights of one sign may sum up to: 255 * 128 fits into int16.
PAIR = 128
#: Levels of one sign: of the full range, and of seven bits as ONNX Runtime's quantizers have them.
_FULL, _REDUCED = 127, 64
#: Operators that read int8 weights, and as which input.
_PRODUCTS: Mapping[str, int] = {
    "MatMulInteger": 1, "MatMulIntegerToFloat": 1, "DynamicQuantizeMatMul": 1, "QLinearMatMul": 3, "QGemm": 3,
    "QAttention": 1,
}  # fmt: skip


def reduced(options: Mapping[str, Any]) -> bool:
    """Whether a tool shall take seven bits for weights: its option ``reduce_range``, else what this processor needs."""
    return bool(options.get("reduce_range", saturates_int8()))


def levels(*, reduce_range: bool) -> int:
    """The largest weight, as ONNX Runtime's quantizers have it."""
    return _REDUCED if reduce_range else _FULL


def symmetric(weights: NDArray[np.float32], *, whole: bool = False) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Weights as int8 without a zero point, so that no sum of a pair can saturate.

    Args:
        weights: float32, shape (inputs, outputs).
        whole: one scale for all outputs.

    Returns:
        int8 of that shape, and the scale of each output, float32; with ``whole`` a single one, of shape ().
    """
    # Both weights of a pair may be rounded up, by one level together.
    scales = np.maximum(pair_sums(weights) / (PAIR - 1), np.finfo(np.float32).tiny).astype(np.float32)
    scales = scales.max(initial=0) if whole else scales
    return np.rint(weights / scales).clip(-_FULL, _FULL).astype(np.int8), scales


def may_saturate(model: onnx.ModelProto) -> bool:
    """Whether int8 weights of a model are so large that a processor without VNNI may cut a sum."""
    return any(_beyond(matrix) for _, _, matrix, _ in _matrices(model))


def fit_pairs(model: onnx.ModelProto, source: onnx.ModelProto) -> bool:
    """Scale int8 weights that may saturate as `symmetric` does, in place of a tool's full range.

    Args:
        model: as ONNX Runtime's and Neural Compressor's quantizers make them: int8 weights ``X_quantized``, scales
            ``X_scale``; changed.
        source: the float model with the weights ``X``. Those that are not there, or others, are taken from ``model``.

    Returns:
        Whether anything was changed.
    """
    from onnx import numpy_helper

    floats = {one.name: one for one in source.graph.initializer}
    tensors = {one.name: one for one in model.graph.initializer}
    changed = False
    for node, name, matrix, turned in _matrices(model):
        plain = name.removesuffix("_quantized")
        scale = tensors.get(f"{plain}_scale")
        if scale is None or not _beyond(matrix):
            continue
        steps = numpy_helper.to_array(scale)
        weights = matrix * steps
        if plain in floats:
            exact = numpy_helper.to_array(floats[plain])
            # Some tools turn a Gemm's weights and keep the name; SmoothQuant's are no longer the model's.
            alike = (one for one in (exact, exact.T) if one.shape == weights.shape)
            weights = next((one for one in alike if (np.abs(one - weights) <= 0.51 * steps).all()), weights)
        made, scales = symmetric(weights, whole=steps.size == 1)
        _replace(tensors[name], np.ascontiguousarray(made.T) if turned else made)
        _replace(scale, scales.reshape(steps.shape))
        for bias, unit in _biases(model, node, tensors):
            _replace(bias, np.rint(numpy_helper.to_array(bias) * (steps / scales)).astype(np.int32))
            if unit is not None:
                _replace(unit, (numpy_helper.to_array(unit) * (scales / steps)).astype(np.float32))
        changed = True
    return changed


def _replace(tensor: onnx.TensorProto, values: NDArray[Any]) -> None:
    from onnx import numpy_helper

    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))


def _biases(
    model: onnx.ModelProto, node: onnx.NodeProto, tensors: Mapping[str, onnx.TensorProto]
) -> list[tuple[onnx.TensorProto, onnx.TensorProto | None]]:
    """A Gemm's int32 bias, and its scale where it has one of its own; it is the product of the two others."""
    if node.op_type == "QGemm":
        return [(tensors[name], None) for name in node.input[6:7] if name in tensors]
    if node.op_type != "Gemm":
        return []
    return [
        (tensors[one.input[0]], tensors[one.input[1]])
        for one in model.graph.node
        if one.op_type == "DequantizeLinear" and one.output[0] in node.input[2:] and one.input[0] in tensors
    ]


def pair_sums(weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """Of each output the largest absolute sum of two neighbouring inputs' weights of one sign: shape (outputs,)."""
    pairs = np.pad(weights, ((0, len(weights) % 2), (0, 0))).reshape(-1, 2, weights.shape[1])
    above, below = (np.maximum(side, 0).sum(axis=1).max(axis=0, initial=0) for side in (pairs, -pairs))
    found: NDArray[np.float32] = np.maximum(above, below)
    return found


def _beyond(matrix: NDArray[np.int8]) -> bool:
    return bool(pair_sums(matrix.astype(np.float32)).max(initial=0) > PAIR)


def _matrices(model: onnx.ModelProto) -> Iterator[tuple[onnx.NodeProto, str, NDArray[np.int8], bool]]:
    """The int8 matrices that are multiplied with activations: by which node, name, values of shape (inputs, outputs),
    and whether they are stored the other way round."""
    from onnx import TensorProto, helper, numpy_helper

    int8 = {one.name: one for one in model.graph.initializer
            if one.data_type == TensorProto.INT8 and len(one.dims) == 2}  # fmt: skip  # noqa: PLR2004  # a matrix
    stored = {node.output[0]: node.input[0] for node in model.graph.node if node.op_type == "DequantizeLinear"}
    for node in model.graph.node:
        name = node.input[_PRODUCTS[node.op_type]] if node.op_type in _PRODUCTS else ""
        if node.op_type in graph.MATMULS:  # between QuantizeLinear and DequantizeLinear; becomes a product when opened
            name = stored.get(node.input[1], "")
        if name in int8:
            turned = any(one.name == "transB" and helper.get_attribute_value(one) for one in node.attribute)
            matrix = numpy_helper.to_array(int8[name])
            yield node, name, matrix.T if turned else matrix, turned
