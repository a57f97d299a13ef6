"""What the tools need to know of an ONNX graph, and the two things that they leave to us."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ftdeploy.onnx_export import read_below
from ftdeploy.session import own_weights

if TYPE_CHECKING:
    import onnx
    from numpy.typing import NDArray

#: Operators that are quantized: those that hold the weights.
MATMULS = ("MatMul", "Gemm")
EMBEDDING = "Gather"
#: Rows below which a table stays in float: position and type tables are small, and cost accuracy.
TABLE = 1000
#: Weights of a table that share a scale.
TABLE_BLOCK = 128
#: Where ONNX Runtime's own operators are.
CONTRIB = "com.microsoft"


def load(path: Path) -> onnx.ModelProto:
    """A model with its weights in memory, wherever they stand."""
    import onnx

    return onnx.load(os.fspath(path))


def save(model: onnx.ModelProto, path: Path) -> None:
    """Write a model as one file."""
    import onnx

    onnx.save(model, os.fspath(path))


def node(kind: str, *inputs: str, makes: str, domain: str = "", **settings: Any) -> onnx.NodeProto:
    """A node of one output, which it is named by; ``settings`` are its attributes."""
    from onnx import helper

    return helper.make_node(kind, inputs, [makes], f"{makes}/{kind}", domain=domain, **settings)


def restore_outputs(model: onnx.ModelProto, source: onnx.ModelProto) -> None:
    """Give a model its source's outputs again where one is gone from the list and still computed."""
    listed = {output.name for output in model.graph.output}
    computed = {name for node in model.graph.node for name in node.output}
    wanted = [output.name for output in source.graph.output]
    if set(wanted) - listed and set(wanted) <= computed:
        del model.graph.output[:]
        model.graph.output.extend(source.graph.output)


def products(model: onnx.ModelProto) -> list[str]:
    """Names of the MatMuls of two activations: attention's scores and its weighted sum.

    They hold no weights, and the softmax between them has most of its values near 0, where eight bits for the whole
    range leave few.
    """
    weights = {tensor.name for tensor in model.graph.initializer}
    return [node.name for node in model.graph.node if node.op_type == "MatMul" and not weights & set(node.input)]


def tables(model: onnx.ModelProto) -> list[str]:
    """Names of the Gathers that look up rows of a large float table: word embeddings."""
    import onnx

    float32 = onnx.TensorProto.FLOAT
    large = {one.name for one in model.graph.initializer
             if one.data_type == float32 and len(one.dims) == 2 and one.dims[0] >= TABLE}  # fmt: skip  # noqa: PLR2004  # a table has two dimensions
    return [node.name for node in model.graph.node if node.op_type == EMBEDDING and node.input[0] in large]


def op_types(model: onnx.ModelProto) -> set[str]:
    """Operators that occur."""
    return {node.op_type for node in model.graph.node}


def with_room_for_factors(source: Path, folder: Path) -> Path:
    """A model folder in which SmoothQuant and AWQ can put a factor a channel before each matrix, and divide by it.

    Muls by a constant number in front of a matrix, as GELU's half before the second feed-forward matrix, get one number
    for each channel: a single one has no room for them, and may be read by other layers too. And every node gets
    weights of its own: those that several read (ALBERT's layers are one) would be multiplied with the factors of all.

    Args:
        source: a model folder.
        folder: is made.
    """
    model = load(source / "model.onnx")
    _own_weights(model)
    _widen_factors(model)
    folder.mkdir()
    save(model, folder / "model.onnx")
    shutil.copyfile(source / "signature.json", folder / "signature.json")
    return folder


def _own_weights(model: onnx.ModelProto) -> None:
    import onnx

    floats = [one for one in model.graph.initializer if one.data_type == onnx.TensorProto.FLOAT and one.dims]
    own_weights(model, floats, but=(EMBEDDING,))  # nothing is multiplied into a table, and it is large


def _widen_factors(model: onnx.ModelProto) -> None:
    from onnx import numpy_helper

    shapes = {tensor.name: tensor.dims for tensor in model.graph.initializer}
    numbers = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer if not tensor.dims}
    numbers |= {node.output[0]: numpy_helper.to_array(one.t) for node in model.graph.node if node.op_type == "Constant"
                for one in node.attribute if one.name == "value" and not one.t.dims}  # fmt: skip
    made_by = {name: node for node in model.graph.node for name in node.output}
    for node in model.graph.node:
        matrix = node.op_type in MATMULS and node.input[1] in shapes
        factor = made_by.get(node.input[0]) if matrix else None
        if factor is None or factor.op_type != "Mul":
            continue
        for position, name in enumerate(factor.input):
            if name in numbers:
                wide = f"{factor.name}_factors"
                turned = any(one.name == "transB" and one.i for one in node.attribute)  # Gemm's matrix, as torch has it
                values = np.full(shapes[node.input[1]][1 if turned else 0], numbers[name])
                model.graph.initializer.append(numpy_helper.from_array(values, wide))
                factor.input[position] = wide


def pack(model: onnx.ModelProto, *, bits: int = 0, block: int = 32, exclude: Collection[str] = (),
         embeddings: int | None = None) -> onnx.ModelProto:  # fmt: skip
    """Weights in blocks of integers, each with a scale of its own: MatMulNBits, and GatherBlockQuantized.

    MatMulNBits also quantizes the activations by blocks of a row (accuracy level 4), so that a row's answer does not
    depend on the rows beside it, as with one scale a tensor it does.
    (https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md)

    Args:
        model: float32.
        bits: of a weight: 4 or 8; 0 leaves the matrices as they are.
        block: weights that share a scale: a power of two from 16.
        exclude: names of nodes that stay in float.
        embeddings: bits of a word embedding; None leaves them in float.
    """
    lookups = set(tables(model)) - set(exclude) if embeddings else set()
    if bits:
        from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer
        from onnxruntime.quantization.onnx_model import ONNXModel

        wrapped = ONNXModel(model)
        wrapped.replace_gemm_with_matmul()
        kept = [*exclude, *(f"{name}_MatMul" for name in exclude)]  # as the replacement names them
        quantizer = MatMulNBitsQuantizer(
            wrapped.model, bits=bits, block_size=block, is_symmetric=True, accuracy_level=4, nodes_to_exclude=kept
        )
        quantizer.process()
        model = quantizer.model.model
    if embeddings and lookups:
        _pack_tables(model, lookups, bits=embeddings)
    return model


def _pack_tables(model: onnx.ModelProto, lookups: Collection[str], *, bits: int) -> None:
    """Replace lookups in float tables by GatherBlockQuantized. ONNX Runtime's quantizer does so for 4 bits only, and
    logs an error for 8."""
    from onnx import helper, numpy_helper

    if not any(opset.domain == CONTRIB for opset in model.opset_import):
        model.opset_import.append(helper.make_opsetid(CONTRIB, 1))
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.name in lookups:
            tensor = tensors[node.input[0]]
            parts = quantize_table(numpy_helper.to_array(tensor), bits=bits)
            names = [f"{tensor.name}_{part}" for part in ("quantized", "scales", "zero_points")]
            if names[0] not in tensors:  # two lookups may share a table
                made = [numpy_helper.from_array(part, name) for part, name in zip(parts, names, strict=True)]
                model.graph.initializer.extend(made)
                tensors |= {one.name: one for one in made}
            node.op_type, node.domain = "GatherBlockQuantized", CONTRIB
            node.input[:] = [names[0], node.input[1], *names[1:]]
            del node.attribute[:]
            given = {"gather_axis": 0, "quantize_axis": 1, "block_size": TABLE_BLOCK, "bits": bits}
            node.attribute.extend(helper.make_attribute(name, value) for name, value in given.items())
    drop_unread(model)


def drop_unread(model: onnx.ModelProto) -> bool:
    """Remove weights that nothing reads; whether there were any. A tool that makes integers of one that two nodes read
    may leave it behind."""
    read = {name for node in model.graph.node for name in (*node.input, *read_below(node))}
    read |= {output.name for output in model.graph.output}
    unread = [tensor for tensor in model.graph.initializer if tensor.name not in read]
    for tensor in unread:
        model.graph.initializer.remove(tensor)
    return bool(unread)


def quantize_table(table: NDArray[np.float32], *, bits: int) -> tuple[NDArray[np.uint8], NDArray[np.float32],
                                                                       NDArray[np.uint8]]:  # fmt: skip
    """A table's rows in blocks of `TABLE_BLOCK` integers from their least to their greatest value.

    Args:
        table: float32, shape (rows, width); width is even.
        bits: 8, or 4: two in a byte, the first in its lower half.

    Returns:
        The integers, uint8, shape (rows, width * bits / 8); scales, float32, (rows, blocks); zero points, uint8, as
        many as scales, packed alike.
    """
    integers, scales, zeros = _in_blocks(table, bits=bits)
    values = integers.reshape(len(table), -1)[:, : table.shape[1]].astype(np.uint8)
    return _nibbles(values, bits), scales, _nibbles(zeros.astype(np.uint8), bits)


def rounded_table(table: NDArray[np.float32], *, bits: int) -> NDArray[np.float32]:
    """What `quantize_table` makes of a table, as numbers again: float32, of the same shape. Quantized once more, it
    stays as it is."""
    integers, scales, zeros = _in_blocks(table, bits=bits)
    values: NDArray[np.float32] = (integers - zeros[..., None]) * scales[..., None]
    return values.reshape(len(table), -1)[:, : table.shape[1]]


def _in_blocks(table: NDArray[np.float32], *, bits: int) -> tuple[NDArray[np.float32], NDArray[np.float32],
                                                                  NDArray[np.float32]]:  # fmt: skip
    """Whole numbers, shape (rows, blocks, `TABLE_BLOCK`), their scales and zero points, (rows, blocks)."""
    rows, width = table.shape
    blocks = -(-width // TABLE_BLOCK)
    filled = np.pad(table, ((0, 0), (0, blocks * TABLE_BLOCK - width))).reshape(rows, blocks, TABLE_BLOCK)
    most = 2**bits - 1
    # The range holds 0, because a zero point is one of the integers.
    low, high = np.minimum(filled.min(axis=2), 0), np.maximum(filled.max(axis=2), 0)
    scales = np.where(high > low, (high - low) / most, 1).astype(np.float32)
    zeros = np.clip(np.round(-low / scales), 0, most)
    return np.clip(np.round(filled / scales[..., None]) + zeros[..., None], 0, most), scales, zeros


def _nibbles(values: NDArray[np.uint8], bits: int) -> NDArray[np.uint8]:
    if bits == 8:  # noqa: PLR2004  # a byte each
        return values
    even = np.pad(values, ((0, 0), (0, values.shape[1] % 2)))
    return (even[:, ::2] | (even[:, 1::2] << 4)).astype(np.uint8)
