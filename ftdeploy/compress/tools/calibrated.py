"""Int8 with constant activation scales, where dynamic quantization computes them anew from every batch.

The kernel is the one that dynamic quantization ends in (MatMulIntegerToFloat: int8 product, float result), and only the
inputs of products with weights are quantized, so what lies between stays in float, as there. But a scale is fixed, so
a row's answer does not depend on the rows beside it, and no pass over the batch looks for its range.

What that costs is decided by where the ranges are cut: an outlier that is kept takes the resolution of everything else.
So each range is the one with the least squared error of the products that read it, on training rows
(https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md#commicrosoftmatmulintegertofloat).

Where a constant range still loses too much, an activation can have one scale a row (a token), computed as it comes, as
ZeroQuant has it (Yao et al. 2022, https://arxiv.org/abs/2206.01861): also independent of other rows, and closest to
float, but a few passes slower. The product then runs with scale 1, and its result is multiplied by the row's scale.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ftdeploy.artifact import sha256_file
from ftdeploy.compress.tools import four_bits, graph, int8
from ftdeploy.compress.tools.calibration import batches, read_rows
from ftdeploy.errors import CompressionError
from ftdeploy.files import write_json
from ftdeploy.signature import read_signature

if TYPE_CHECKING:
    import onnx
    from numpy.typing import NDArray

    from ftdeploy.compress.tools.calibration import Feeds

#: Shares of the values that a range may keep, from all of them on.
COVERAGES = (1.0, 0.99999, 0.9999, 0.9995, 0.999, 0.998, 0.995, 0.99)
#: From here on ReduceMax takes its axes as an input, and there is BitwiseAnd.
OPSET = 18
#: Tokens that are looked at for the error of a product.
TOKENS = 1024


def calibrated(source: Path, out: Path, options: Mapping[str, Any]) -> None:
    """Int8 weights per output channel that are exact on every processor, uint8 activations by constant ranges.

    Options: ``calibration``; ``coverage``: the share of an activation's values that its range keeps, the same number of
    them cut off on both sides (None: for each the one of `COVERAGES` with the least error); ``row_scales``: names of
    MatMul and Gemm nodes whose input has one scale a row, or ``all``; ``exclude``; ``embeddings`` (bits; None: float);
    ``weights``: bits in which weights are stored, 8, or 4 (see `ftdeploy.compress.tools.four_bits`);
    ``known``: a folder in which the ranges of a model are kept for its next variant (None: they are not).

    Raises:
        CompressionError: the model has no product with weights that is not excluded, or is of an opset below 18 and
            shall have scales by row, or weights in four bits.
    """
    from onnxruntime.quantization.onnx_model import ONNXModel

    exclude = _as_matmuls(options.get("exclude", ()))
    wrapped = ONNXModel(graph.load(source / "model.onnx"))
    wrapped.replace_gemm_with_matmul()
    model: onnx.ModelProto = wrapped.model
    products = _products(model, exclude)
    if not products:
        raise CompressionError(
            "there is nothing to quantize",
            cause="the model has no MatMul or Gemm with weights, or all are excluded",
            fix="exclude fewer layers",
        )
    rows_of = options.get("row_scales", ())
    stored = int(options.get("weights", 8))
    if (rows_of or stored < 8) and max(one.version for one in model.opset_import if not one.domain) < OPSET:  # noqa: PLR2004  # bits
        raise CompressionError(
            f"scales by row, and weights in four bits, want an opset of at least {OPSET}",
            cause="before it, the axes of a reduction were written another way, and bits could not be taken apart",
            fix=f"set export.opset to {OPSET} or later",
        )
    ranges = _known_ranges(source, model, products, options)
    named = _as_matmuls(() if rows_of == "all" else rows_of)
    by_row = {name for name, nodes in products.items() if rows_of == "all" or named & {node.name for node in nodes}}
    made = _rewrite(model, products, ranges, by_row, stored)
    bits = options.get("embeddings")
    graph.save(graph.pack(made, exclude=exclude, embeddings=bits) if bits else made, out)


def _as_matmuls(names: Sequence[str]) -> set[str]:
    """Names of nodes, also as they are called when a Gemm was made a MatMul."""
    return {*names, *(f"{name}_MatMul" for name in names)}


def _products(model: onnx.ModelProto, exclude: set[str]) -> dict[str, list[onnx.NodeProto]]:
    """Name of an activation -> the MatMuls that multiply it with weights."""
    weights = {tensor.name for tensor in model.graph.initializer if len(tensor.dims) == 2}  # noqa: PLR2004  # a matrix
    found: dict[str, list[onnx.NodeProto]] = defaultdict(list)
    for node in model.graph.node:
        if node.op_type == "MatMul" and node.input[1] in weights and node.name not in exclude:
            found[node.input[0]].append(node)
    return dict(found)


def _known_ranges(source: Path, model: onnx.ModelProto, products: Mapping[str, Sequence[onnx.NodeProto]],
                  options: Mapping[str, Any]) -> dict[str, tuple[float, float]]:  # fmt: skip
    """The range of each activation; found once for all variants of a model that are quantized by the same rows."""
    calibration, coverage = Path(options["calibration"]), options.get("coverage")
    note = None
    if options.get("known") is not None:
        read_by = sorted((name, [node.name for node in nodes]) for name, nodes in products.items())
        asked = [sha256_file(source / "model.onnx"), sha256_file(calibration), coverage, read_by]
        note = Path(options["known"]) / f"{hashlib.sha256(json.dumps(asked).encode()).hexdigest()}.json"
        if note.exists():
            return {name: (low, high) for name, (low, high) in json.loads(note.read_text(encoding="utf-8")).items()}
    rows, _ = read_rows(calibration)
    seen = _activations(model, sorted(products), batches(rows, read_signature(source)))
    coverages = COVERAGES if coverage is None else (float(coverage),)
    ranges = {name: _range(seen[name], _weights(model, nodes), coverages) for name, nodes in products.items()}
    if note is not None:
        write_json(note, ranges)
    return ranges


def _activations(model: onnx.ModelProto, names: Sequence[str],
                 given: Sequence[Feeds]) -> dict[str, NDArray[np.float32]]:  # fmt: skip
    """What flows through the named tensors: float32, shape (tokens, width), of all rows."""
    import onnx
    import onnxruntime

    probed = onnx.ModelProto()
    probed.CopyFrom(model)
    known = {one.name for one in probed.graph.output}
    for name in names:
        if name not in known:
            probed.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 3  # errors only: it warns of shapes that nobody declared
    # Other candidates are made at the same time; threads that spin while they wait take their processors.
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(probed.SerializeToString(), settings, providers=["CPUExecutionProvider"])
    found: dict[str, list[NDArray[np.float32]]] = {name: [] for name in names}
    for feeds in given:
        for name, values in zip(names, session.run(list(names), feeds), strict=True):
            found[name].append(values.reshape(-1, values.shape[-1]))
    return {name: np.concatenate(values) for name, values in found.items()}


def _weights(model: onnx.ModelProto, nodes: Sequence[onnx.NodeProto]) -> NDArray[np.float32]:
    """The matrices of some MatMuls side by side: float32, shape (inputs, all outputs)."""
    from onnx import numpy_helper

    arrays = {tensor.name: tensor for tensor in model.graph.initializer}
    return np.concatenate([numpy_helper.to_array(arrays[node.input[1]]) for node in nodes], axis=1)


def _range(values: NDArray[np.float32], weights: NDArray[np.float32],
           coverages: Sequence[float]) -> tuple[float, float]:  # fmt: skip
    """The range with the least squared error of ``values @ weights``; it always holds 0."""
    chosen = values[np.linspace(0, len(values) - 1, min(TOKENS, len(values))).astype(int)]
    cuts = (1 - np.array(coverages)) / 2
    # All edges at once: looking for one among millions of values takes nearly as long.
    edges = np.quantile(values, np.stack([cuts, 1 - cuts]), overwrite_input=True).T
    best, least = (0.0, 0.0), np.inf
    for low, high in edges.tolist():
        scale, zero = _scale(low, high)
        rounded = ((np.rint(chosen / scale) + zero).clip(0, 255) - zero) * scale
        error = float(np.square((rounded - chosen) @ weights).sum())
        if error < least:
            best, least = (low, high), error
    return best


def _scale(low: float, high: float) -> tuple[np.float32, np.uint8]:
    """Scale and zero point of a range, so that 0 is exact."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = np.float32(max(high - low, float(np.finfo(np.float32).tiny) * 255) / 255)
    return scale, np.uint8(np.rint(-low / scale))


def _rewrite(model: onnx.ModelProto, products: Mapping[str, Sequence[onnx.NodeProto]],
             ranges: Mapping[str, tuple[float, float]], by_row: Collection[str],
             stored: int) -> onnx.ModelProto:  # fmt: skip
    """The model with its products in int8: an activation is quantized once, and read by each of its products.
    Weights are stored in so many bits."""
    from onnx import numpy_helper

    arrays = {tensor.name: tensor for tensor in model.graph.initializer}
    constants: dict[str, NDArray[np.generic]] = {}
    first = {group[0].output[0] for group in products.values()}
    quantized = {node.output[0] for group in products.values() for node in group}
    constant = [node for name, group in products.items() if name not in by_row for node in group]
    biases = _biases(model, {node.output[0]: arrays[node.input[1]].dims[1] for node in constant})
    absorbed = {result for _, result in biases.values()}
    nodes = []
    for node in model.graph.node:
        name = node.output[0]
        if name in absorbed:
            continue
        if name not in quantized:
            nodes.append(node)
            continue
        source, weights = node.input
        matrix = numpy_helper.to_array(arrays[weights])
        if f"{weights}.scale" not in constants:  # several products may share weights
            unpacking, made = _stored(matrix, f"{weights}.int8", f"{weights}.scale", bits=stored)
            nodes += unpacking
            constants |= made
        if source in by_row:
            if name in first:
                nodes += _quantize_rows(source, len(matrix), ranges[source], constants)
            nodes += _product_of_rows(node)
            continue
        if name in first:
            constants[f"{source}.scale"], constants[f"{source}.zero"] = map(np.array, _scale(*ranges[source]))
            nodes.append(
                graph.node("QuantizeLinear", source, f"{source}.scale", f"{source}.zero", makes=f"{source}.uint8")
            )
        nodes.append(_product(node, *biases.get(name, ("", name))))
    return _replaced(model, nodes, constants)


def _stored(matrix: NDArray[np.float32], name: str, scale: str, *,
            bits: int) -> tuple[list[onnx.NodeProto], dict[str, NDArray[Any]]]:  # fmt: skip
    """The constants ``name``, int8, and ``scale``; or nodes that make the first of what is stored in four bits."""
    if bits == 8 or not four_bits.fits(matrix):  # noqa: PLR2004  # a byte each
        weights, scales = int8.symmetric(matrix)
        return [], {name: weights, scale: scales}
    integers, factors, scales = four_bits.packed(matrix)
    nodes, constants = four_bits.unpacking(name, integers, factors)
    return nodes, {**constants, scale: scales}


def _product(node: onnx.NodeProto, bias: str, result: str) -> onnx.NodeProto:
    """The MatMul in int8, with constant scales and, if any, the bias that was added to it."""
    x, weights = node.input
    names = (f"{x}.uint8", f"{weights}.int8", f"{x}.scale", f"{weights}.scale", f"{x}.zero", "", bias)
    return graph.node("MatMulIntegerToFloat", *names, makes=result, domain="com.microsoft")


def _quantize_rows(x: str, width: int, limits: tuple[float, float],
                   constants: dict[str, NDArray[np.generic]]) -> list[onnx.NodeProto]:  # fmt: skip
    """uint8 around 128, with the scale of each row: its largest absolute value / 127, of shape (..., 1).

    QuantizeLinear along an axis takes scales that are computed, but only along one axis: the rows are laid out flat.
    """
    constants |= {
        "rows.one": np.array(1, dtype=np.float32), "rows.middle": np.array(128, dtype=np.uint8),
        "rows.middles": np.array([128], dtype=np.uint8), "rows.last": np.array([-1], dtype=np.int64),
        "rows.step": np.array(1 / 127, dtype=np.float32), f"{x}.flat": np.array([-1, width], dtype=np.int64),
    }  # fmt: skip
    low, high = limits
    # What a GELU gives is hardly below 0, and its lowest value known: no pass needs to look for it.
    positive = -low < high / 10
    constants[f"{x}.least"] = np.array(max(-low if positive else 0.0, 1e-6), dtype=np.float32)
    below = (
        []
        if positive
        else [
            graph.node("ReduceMin", x, "rows.last", makes=f"{x}.min"),
            graph.node("Neg", f"{x}.min", makes=f"{x}.neg"),
        ]
    )
    return [
        graph.node("ReduceMax", x, "rows.last", makes=f"{x}.max"),
        *below,
        graph.node("Max", f"{x}.max", *([f"{x}.neg"] if below else []), f"{x}.least", makes=f"{x}.largest"),
        graph.node("Mul", f"{x}.largest", "rows.step", makes=f"{x}.scale"),
        graph.node("Reshape", f"{x}.scale", "rows.last", makes=f"{x}.scales"),
        graph.node("Shape", f"{x}.scales", makes=f"{x}.count"),
        graph.node("Expand", "rows.middles", f"{x}.count", makes=f"{x}.zeros"),
        graph.node("Reshape", x, f"{x}.flat", makes=f"{x}.laid"),
        graph.node("QuantizeLinear", f"{x}.laid", f"{x}.scales", f"{x}.zeros", makes=f"{x}.quantized", axis=0),
        graph.node("Shape", x, makes=f"{x}.shape"),
        graph.node("Reshape", f"{x}.quantized", f"{x}.shape", makes=f"{x}.uint8"),
    ]


def _product_of_rows(node: onnx.NodeProto) -> list[onnx.NodeProto]:
    """The MatMul in int8, its result multiplied by the scale of each row."""
    x, weights = node.input
    unscaled = f"{node.output[0]}.unscaled"
    names = (f"{x}.uint8", f"{weights}.int8", "rows.one", f"{weights}.scale", "rows.middle")
    return [
        graph.node("MatMulIntegerToFloat", *names, makes=unscaled, domain="com.microsoft"),
        graph.node("Mul", unscaled, f"{x}.scale", makes=node.output[0]),
    ]


def _biases(model: onnx.ModelProto, widths: Mapping[str, int]) -> dict[str, tuple[str, str]]:
    """Output of a product -> the bias that is added to it next, and the output of that Add.

    The product adds it while it scales its result, which saves a pass. Only an Add that is the single reader counts.
    """
    vectors = {tensor.name: tensor.dims[0] for tensor in model.graph.initializer if len(tensor.dims) == 1}
    readers = Counter(name for node in model.graph.node for name in node.input)
    readers.update(one.name for one in model.graph.output)
    found = {}
    for node in model.graph.node:
        if node.op_type == "Add":
            for name, other in (node.input, reversed(node.input)):
                if name in widths and vectors.get(other) == widths[name] and readers[name] == 1:
                    found[name] = (other, node.output[0])
    return found


def _replaced(model: onnx.ModelProto, nodes: Sequence[onnx.NodeProto],
              constants: Mapping[str, NDArray[np.generic]]) -> onnx.ModelProto:  # fmt: skip
    """The model with other nodes and further constants, without those that nobody reads any more."""
    from onnx import helper, numpy_helper

    del model.graph.node[:]
    model.graph.node.extend(nodes)
    graph.drop_unread(model)
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    if "com.microsoft" not in {one.domain for one in model.opset_import}:
        model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    return model
