"""ONNX Runtime's own quantizers (https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftdeploy.compress.tools import graph, int8
from ftdeploy.compress.tools.calibration import Reader, batches, read_rows
from ftdeploy.errors import DeviceError
from ftdeploy.hardware import choose_provider
from ftdeploy.signature import read_signature

if TYPE_CHECKING:
    import onnx


def dynamic(source: Path, out: Path, options: Mapping[str, Any]) -> None:
    """Dynamic int8: activations by their range in the batch.

    Options: ``per_channel``; ``exclude``; ``embeddings``: bits of blocks (None: one scale for the whole table).
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    types = ["MatMul", "Attention"] if options.get("embeddings") else ["MatMul", "Attention", graph.EMBEDDING]
    quantize_dynamic(
        os.fspath(source / "model.onnx"),
        os.fspath(out),
        op_types_to_quantize=types,
        per_channel=options.get("per_channel", True),
        weight_type=QuantType.QInt8,
        nodes_to_exclude=_as_matmuls(options),
    )
    _pack_embeddings(out, options)


def static(source: Path, out: Path, options: Mapping[str, Any]) -> None:
    """Static int8: activations by ranges seen in calibration.

    Options: ``calibration``; ``method`` (``MinMax``, ``Percentile``, ``Entropy``); ``format`` (``QDQ``,
    ``QOperator``); ``per_channel``; ``products``; ``exclude``; ``reduce_range``; ``embeddings`` (bits).
    """
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    rows, _ = read_rows(Path(options["calibration"]))
    method = options.get("method", "MinMax")
    # Its histograms stack the activations of all batches, which takes one shape.
    given = batches(rows, read_signature(source), one_length=method != "MinMax")
    quantize_static(
        os.fspath(source / "model.onnx"),
        os.fspath(out),
        Reader(given),
        quant_format=QuantFormat[options.get("format", "QDQ")],
        op_types_to_quantize=list(graph.MATMULS),
        per_channel=options.get("per_channel", True),
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        reduce_range=int8.reduced(options),  # of the weights alone
        calibrate_method=CalibrationMethod[method],
        nodes_to_exclude=list(options.get("exclude", ())),
        extra_options={"MatMulConstBOnly": not options.get("products", False)},
    )
    _pack_embeddings(out, options)


def weight_only(source: Path, out: Path, options: Mapping[str, Any]) -> None:
    """Weights in blocks of 4 or 8 bits, rounded to nearest, activations int8 by block.

    Options: ``bits``; ``block``; ``exclude``; ``embeddings`` (bits).
    """
    model = graph.pack(
        graph.load(source / "model.onnx"),
        bits=options.get("bits", 8),
        block=options.get("block", 32),
        exclude=options.get("exclude", ()),
        embeddings=options.get("embeddings"),
    )
    graph.save(model, out)


def embeddings(source: Path, out: Path, options: Mapping[str, Any]) -> None:
    """Word embeddings in blocks of integers, everything else as it is; also of a model that is quantized already.

    Options: ``embeddings`` (bits: 8 or 4).
    """
    model = graph.load(source / "model.onnx")
    graph.save(graph.pack(model, embeddings=options.get("embeddings", 8)), out)


def fp16(source: Path, out: Path, options: Mapping[str, Any]) -> None:
    """Weights and activations in float16, inputs and outputs as they were.

    Options: ``exclude``.

    Raises:
        DeviceError: there is no GPU. ONNX Runtime has few float16 operators for processors, and casts around the rest.
    """
    chosen = choose_provider("auto")
    if chosen.name != "CUDAExecutionProvider":
        raise DeviceError(
            f"float16 is of no use here: the model runs on {chosen.name}",
            cause="ONNX Runtime has few float16 operators for processors, and casts to and fro around the rest",
            fix="leave this candidate out, or run on a machine with a GPU and onnxruntime-gpu",
        )
    graph.save(to_float16(graph.load(source / "model.onnx"), exclude=options.get("exclude", ())), out)


def to_float16(model: onnx.ModelProto, *, exclude: Any = ()) -> onnx.ModelProto:
    """A model in float16 whose inputs and outputs keep their types.

    Args:
        model: float32.
        exclude: names of nodes that stay in float32.
    """
    from onnxruntime.transformers.float16 import convert_float_to_float16

    made: onnx.ModelProto = convert_float_to_float16(model, keep_io_types=True, node_block_list=list(exclude))
    return made


def _as_matmuls(options: Mapping[str, Any]) -> list[str]:
    """Excluded nodes, also as they are called when a Gemm was made a MatMul."""
    names = options.get("exclude", ())
    return [*names, *(f"{name}_MatMul" for name in names)]


def _pack_embeddings(out: Path, options: Mapping[str, Any]) -> None:
    bits = options.get("embeddings")
    if bits:
        graph.save(graph.pack(graph.load(out), exclude=options.get("exclude", ()), embeddings=bits), out)
