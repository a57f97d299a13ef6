"""Optimum's ONNX Runtime tools (https://huggingface.co/docs/optimum-onnx)."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ftdeploy.compress.tools import int8


def dynamic(source: Path, out: Path, options: Mapping[str, Any]) -> None:
    """ORTQuantizer, dynamic int8 for AVX512-VNNI, AVX2 or ARM64, weights per channel.

    Options: ``config``: the checkpoint's config.json; ``exclude``; ``reduce_range``: its settings for AVX2, which take
    unsigned weights of the full range: exact everywhere, and slower where there is no VNNI.
    """
    import platform

    from optimum.onnxruntime import ORTQuantizer
    from optimum.onnxruntime.configuration import AutoQuantizationConfig

    if int8.reduced(options):
        preset = AutoQuantizationConfig.avx2
    else:
        arm = platform.machine().lower() in ("arm64", "aarch64")
        preset = AutoQuantizationConfig.arm64 if arm else AutoQuantizationConfig.avx512_vnni
    names = options.get("exclude", ())
    # A Gemm becomes a MatMul of another name before these are read.
    settings = preset(is_static=False, per_channel=True, nodes_to_exclude=[*names, *(f"{n}_MatMul" for n in names)])
    folder = _folder(source, out, options)
    quantizer = ORTQuantizer.from_pretrained(folder, file_name="model.onnx")
    quantizer.quantize(save_dir=folder / "made", quantization_config=settings)
    (folder / "made" / "model_quantized.onnx").rename(out)


def fused(source: Path, out: Path, options: Mapping[str, Any]) -> None:
    """ORTOptimizer: transformer fusions (attention, layer norm, GELU), still float32.

    Options: ``config``: the checkpoint's config.json.
    """
    from optimum.onnxruntime import ORTOptimizer
    from optimum.onnxruntime.configuration import OptimizationConfig

    folder = _folder(source, out, options)
    optimizer = ORTOptimizer.from_pretrained(folder)
    settings = OptimizationConfig(optimization_level=1, enable_transformers_specific_optimizations=True)
    optimizer.optimize(save_dir=folder / "made", optimization_config=settings)
    (folder / "made" / "model_optimized.onnx").rename(out)


def _folder(source: Path, out: Path, options: Mapping[str, Any]) -> Path:
    """Optimum wants model and config.json in one folder."""
    folder = out.with_name("optimum")
    folder.mkdir()
    shutil.copyfile(source / "model.onnx", folder / "model.onnx")
    shutil.copyfile(options["config"], folder / "config.json")
    return folder
