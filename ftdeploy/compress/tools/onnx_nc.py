"""onnx-neural-compressor 1.0, the ONNX Runtime branch of Neural Compressor, which needs no torch.

Its autotune is left alone: it ends the process with status 0 where nothing reaches the goal.
(https://github.com/onnx/neural-compressor/tree/v1.0/docs)
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ftdeploy.compress.tools import graph
from ftdeploy.compress.tools.calibration import MOST_ROWS, SEARCH_ROWS, Reader, batches, read_rows
from ftdeploy.signature import read_signature


def dynamic(source: Path, out: Path, options: Mapping[str, Any]) -> None:
    """Dynamic int8: activations by their range in the batch; embeddings uint8.

    Options: ``per_channel``; ``exclude``.
    """
    from onnx_neural_compressor.quantization import quantize
    from onnx_neural_compressor.quantization.config import DynamicQuantConfig

    per_channel = options.get("per_channel", True)
    settings = DynamicQuantConfig(per_channel=per_channel, nodes_to_exclude=list(options.get("exclude", ())))
    quantize(os.fspath(source / "model.onnx"), os.fspath(out), settings)


def static(source: Path, out: Path, options: Mapping[str, Any]) -> None:
    """Static int8: activations by ranges seen in calibration.

    Options: ``calibration``; ``method`` (``MinMax``, ``Percentile``, ``Entropy``); ``format`` (``QDQ``,
    ``QOperator``); ``per_channel``; ``products``; ``exclude``; ``embeddings`` (bits).
    """
    _static(source, out, options)


def smooth(source: Path, out: Path, options: Mapping[str, Any]) -> None:
    """SmoothQuant (Xiao et al. 2023, https://arxiv.org/abs/2211.10438) before static int8.

    Options: as of `static`; ``alpha``: between 0 and 1.
    """
    source = graph.with_room_for_factors(source, out.with_name("wide"))
    extra = {"SmoothQuant": True, "SmoothQuantAlpha": options.get("alpha", 0.5)}
    _static(source, out, options, extra=extra, one_length=True)


def weight_only(source: Path, out: Path, options: Mapping[str, Any]) -> None:
    """Weights in blocks of 4 or 8 bits; packed here where it only rounds them (8 bits).

    Options: ``algorithm`` (``RTN``, ``GPTQ``, ``AWQ``); ``bits``; ``block``; ``calibration`` for the last two;
    ``exclude``; ``embeddings`` (bits).
    """
    from onnx_neural_compressor.quantization import algorithm_entry, config

    algorithm, bits, block = options.get("algorithm", "RTN"), options.get("bits", 4), options.get("block", 32)
    if algorithm == "AWQ":
        source = graph.with_room_for_factors(source, out.with_name("wide"))
    settings = getattr(config, f"{algorithm}Config")(
        weight_bits=bits, weight_group_size=block, weight_sym=True, accuracy_level=4
    )
    exclude = list(options.get("exclude", ()))
    for name in exclude:
        settings.set_local(name, type(settings)(weight_dtype="fp32", white_list=None))
    given: tuple[Any, ...] = ()
    if algorithm != "RTN":
        rows, _ = read_rows(Path(options["calibration"]))
        most = SEARCH_ROWS if algorithm == "AWQ" else MOST_ROWS
        given = (Reader(batches(rows, read_signature(source), one_length=True, most=most)),)
    entry = getattr(algorithm_entry, f"{algorithm.lower()}_quantize_entry")
    model = entry(os.fspath(source / "model.onnx"), settings, *given)
    left = 0 if bits == 4 else bits  # noqa: PLR2004  # bits that it packs itself
    graph.save(graph.pack(model, bits=left, block=block, exclude=exclude, embeddings=options.get("embeddings")), out)


def _static(source: Path, out: Path, options: Mapping[str, Any], *, extra: Mapping[str, Any] | None = None,
            one_length: bool = False) -> None:  # fmt: skip
    from onnx_neural_compressor.quantization import CalibrationMethod, QuantFormat, quantize
    from onnx_neural_compressor.quantization.config import StaticQuantConfig

    rows, _ = read_rows(Path(options["calibration"]))
    given = batches(rows, read_signature(source), one_length=one_length)
    products = [] if options.get("products", False) else graph.products(graph.load(source / "model.onnx"))
    settings = StaticQuantConfig(
        calibration_data_reader=Reader(given),
        calibrate_method=CalibrationMethod[options.get("method", "MinMax")],
        quant_format=QuantFormat[options.get("format", "QDQ")],
        op_types_to_quantize=list(graph.MATMULS),
        nodes_to_exclude=[*options.get("exclude", ()), *products],
        per_channel=options.get("per_channel", True),
        calibration_sampling_size=len(given),
        extra_options=dict(extra or {}),
    )
    quantize(os.fspath(source / "model.onnx"), os.fspath(out), settings)
    model = graph.load(out)
    # SmoothQuant takes an output that a matrix reads for one of those that it added to look at, and removes it.
    graph.restore_outputs(model, graph.load(source / "model.onnx"))
    exclude, bits = options.get("exclude", ()), options.get("embeddings")
    graph.save(graph.pack(model, exclude=exclude, embeddings=bits), out)
