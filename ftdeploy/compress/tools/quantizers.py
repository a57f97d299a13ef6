"""The quantizers that a search may try: which tool, with which options, what it needs, and whether it is quick.

None is preferred: which is fastest or loses least depends on the model, the data and the processor.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True, kw_only=True)
class Quantizer:
    """One way to quantize an ONNX model.

    Attributes:
        tool: a key of ``ftdeploy.compress.tools.TOOLS``.
        options: of the tool, as plain JSON; the search adds ``reduce_range`` and the files: ``calibration``,
            ``evaluation``, ``config``.
        needs_calibration: whether it wants the option ``calibration``, a file of training rows.
        needs_labels: whether it wants the option ``evaluation`` too, a file of training rows with labels.
        needs_config: whether it wants the option ``config``, the checkpoint's config.json.
        one_length: whether it calibrates on rows cut to one length; the tool sees to that.
        extra: what has to be installed beside ONNX Runtime: an extra of ftdeploy; None is nothing.
        summary: for people.
        cost: ``cheap`` takes seconds for a small encoder, ``slow`` a minute and more.
    """

    tool: str
    options: Mapping[str, Any] = field(default_factory=dict)
    needs_calibration: bool = False
    needs_labels: bool = False
    needs_config: bool = False
    one_length: bool = False
    extra: str | None = "compress"
    summary: str
    cost: Literal["cheap", "slow"] = "cheap"


def _static(tool: str, method: str, kind: str, extra: str | None, summary: str) -> Quantizer:
    options = {"method": method, "format": kind, "per_channel": True, "embeddings": 8}
    cost: Literal["cheap", "slow"] = "cheap" if method.lower() == "minmax" else "slow"
    one_length = tool == "ort-static" and cost == "slow"  # its histograms want batches of one shape
    return Quantizer(
        tool=tool,
        options=options,
        needs_calibration=True,
        one_length=one_length,
        extra=extra,
        summary=summary,
        cost=cost,
    )


def _weights(tool: str, algorithm: str, bits: int, extra: str | None, summary: str) -> Quantizer:
    rounds = algorithm == "RTN"
    return Quantizer(
        tool=tool,
        options={"algorithm": algorithm, "bits": bits, "block": 32, "embeddings": 8},
        needs_calibration=not rounds,
        one_length=not rounds,
        extra=extra,
        summary=summary,
        cost="cheap" if rounds else "slow",
    )


def _calibrated(summary: str, **options: Any) -> Quantizer:
    return Quantizer(tool="calibrated", options=options, needs_calibration=True, extra=None, summary=summary)


QUANTIZERS: Mapping[str, Quantizer] = {
    "inc-dynamic": Quantizer(tool="inc-dynamic", summary="Neural Compressor, dynamic int8, per channel"),
    "inc-static-minmax": _static(
        "inc-static", "minmax", "QDQ", "compress", "Neural Compressor, static int8 by the whole range"
    ),
    "inc-static-percentile": _static(
        "inc-static", "percentile", "QDQ", "compress", "Neural Compressor, static int8 without the outermost 0.001%"
    ),
    "inc-static-entropy": _static(
        "inc-static", "kl", "QDQ", "compress", "Neural Compressor, static int8 by least relative entropy"
    ),
    "inc-static-qoperator": _static(
        "inc-static", "minmax", "QOperator", "compress", "Neural Compressor, static int8 in integer operators"
    ),
    "inc-smooth": Quantizer(
        tool="inc-smooth",
        options={"alpha": "auto", "alpha_step": 0.1, "method": "minmax", "format": "QDQ", "embeddings": 8},
        needs_calibration=True,
        one_length=True,
        summary="Neural Compressor, SmoothQuant with alpha searched layer by layer, then static int8",
        cost="slow",
    ),
    "inc-rtn-int4": _weights("inc-weight-only", "RTN", 4, "compress", "Neural Compressor, 4-bit weights, rounded"),
    "inc-rtn-int8": _weights("inc-weight-only", "RTN", 8, "compress", "Neural Compressor, 8-bit weights, rounded"),
    "inc-gptq-int4": _weights("inc-weight-only", "GPTQ", 4, "compress", "Neural Compressor, 4-bit weights, GPTQ"),
    "inc-gptq-int8": _weights("inc-weight-only", "GPTQ", 8, "compress", "Neural Compressor, 8-bit weights, GPTQ"),
    "inc-awq-int4": _weights("inc-weight-only", "AWQ", 4, "compress", "Neural Compressor, 4-bit weights, AWQ"),
    "inc-awq-int8": _weights("inc-weight-only", "AWQ", 8, "compress", "Neural Compressor, 8-bit weights, AWQ"),
    "inc-tuned": Quantizer(
        tool="inc-tuned",
        options={"max_drop": 0.01, "trials": 30},
        needs_calibration=True,
        needs_labels=True,
        summary="Neural Compressor's own autotuned result",
        cost="slow",
    ),
    "onnx-nc-dynamic": Quantizer(
        tool="onnx-nc-dynamic",
        options={"per_channel": True},
        extra="compress",
        summary="onnx-neural-compressor, dynamic int8, per channel",
    ),
    "onnx-nc-static-minmax": _static(
        "onnx-nc-static", "MinMax", "QDQ", "compress", "onnx-neural-compressor, static int8 by the whole range"
    ),
    "onnx-nc-static-percentile": _static(
        "onnx-nc-static",
        "Percentile",
        "QDQ",
        "compress",
        "onnx-neural-compressor, static int8 without outermost values",
    ),
    "onnx-nc-static-entropy": _static(
        "onnx-nc-static", "Entropy", "QDQ", "compress", "onnx-neural-compressor, static int8 by least relative entropy"
    ),
    "onnx-nc-static-qoperator": _static(
        "onnx-nc-static", "MinMax", "QOperator", "compress", "onnx-neural-compressor, static int8 in integer operators"
    ),
    "onnx-nc-smooth": Quantizer(
        tool="onnx-nc-smooth",
        options={"alpha": 0.5, "method": "MinMax", "format": "QDQ", "per_channel": True, "embeddings": 8},
        needs_calibration=True,
        one_length=True,
        extra="compress",
        summary="onnx-neural-compressor, SmoothQuant, then static int8",
        cost="slow",
    ),
    "onnx-nc-rtn-int4": _weights(
        "onnx-nc-weight-only", "RTN", 4, "compress", "onnx-neural-compressor, 4-bit weights, rounded"
    ),
    "onnx-nc-gptq-int4": _weights(
        "onnx-nc-weight-only", "GPTQ", 4, "compress", "onnx-neural-compressor, 4-bit weights, GPTQ"
    ),
    "onnx-nc-awq-int4": _weights(
        "onnx-nc-weight-only", "AWQ", 4, "compress", "onnx-neural-compressor, 4-bit weights, AWQ"
    ),
    "ort-dynamic": Quantizer(
        tool="ort-dynamic", options={"per_channel": True}, extra=None, summary="ONNX Runtime, dynamic int8, per channel"
    ),
    "ort-dynamic-embeddings": Quantizer(
        tool="ort-dynamic",
        options={"per_channel": True, "embeddings": 4},
        extra=None,
        summary="ONNX Runtime, dynamic int8, per channel, and 4-bit embeddings in blocks",
    ),
    "calibrated": _calibrated(
        "int8 by constant scales with the kernels of dynamic int8: answers do not depend on the batch",
        embeddings=8,
    ),
    "calibrated-embeddings": _calibrated(
        "the same, and 4-bit embeddings in blocks",
        embeddings=4,
    ),
    "calibrated-4bit": _calibrated(
        "int8 by constant scales, and weights that are stored in 4 bits, as embeddings are, and opened as int8",
        embeddings=4,
        weights=4,
    ),
    "calibrated-rows": _calibrated(
        "int8 by one scale a token: closest to float, and answers do not depend on the batch",
        embeddings=8,
        row_scales="all",
    ),
    "calibrated-rows-embeddings": _calibrated(
        "the same, and 4-bit embeddings in blocks",
        embeddings=4,
        row_scales="all",
    ),
    "calibrated-rows-4bit": _calibrated(
        "int8 by one scale a token, and weights that are stored in 4 bits, as embeddings are",
        embeddings=4,
        weights=4,
        row_scales="all",
    ),
    "ort-static-minmax": _static("ort-static", "MinMax", "QDQ", None, "ONNX Runtime, static int8 by the whole range"),
    "ort-static-percentile": _static(
        "ort-static", "Percentile", "QDQ", None, "ONNX Runtime, static int8 without the outermost 0.001%"
    ),
    "ort-static-entropy": _static(
        "ort-static", "Entropy", "QDQ", None, "ONNX Runtime, static int8 by least relative entropy"
    ),
    "ort-static-qoperator": _static(
        "ort-static", "MinMax", "QOperator", None, "ONNX Runtime, static int8 in integer operators"
    ),
    "ort-int8": Quantizer(
        tool="ort-weight-only",
        options={"bits": 8, "block": 32, "embeddings": 8},
        summary="ONNX Runtime, 8-bit weights in blocks; answers do not depend on the batch",
    ),
    "ort-int4": Quantizer(
        tool="ort-weight-only",
        options={"bits": 4, "block": 32, "embeddings": 4},
        summary="ONNX Runtime, 4-bit weights and embeddings in blocks; answers do not depend on the batch",
    ),
    "optimum-dynamic": Quantizer(
        tool="optimum-dynamic",
        needs_config=True,
        extra="train",
        summary="Optimum's ORTQuantizer, dynamic int8 for this processor, per channel",
    ),
    "optimum-fused": Quantizer(
        tool="optimum-fused", needs_config=True, extra="train", summary="Optimum's ORTOptimizer, fused, still float32"
    ),
    "ort-fp16": Quantizer(tool="ort-fp16", extra=None, summary="ONNX Runtime, float16, on a GPU only"),
}
