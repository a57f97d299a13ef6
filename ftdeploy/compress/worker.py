"""Runs one compression tool in a process of its own: ``python -m ftdeploy.compress.worker TOOL SOURCE CONFIG OUT``.

These tools exit, log errors and return None, change global state and write into the working directory. A child
process keeps all that away, and whatever happens becomes one reason on its last line.
"""

from __future__ import annotations

import shutil
import sys
import types
from collections.abc import Callable, Mapping
from pathlib import Path

from ftdeploy.errors import DependencyError

Tool = Callable[[Path, Path, Path], None]


def inc_dynamic(source: Path, _config: Path, out: Path) -> None:
    """Intel Neural Compressor, post-training dynamic int8, weights per channel."""
    _lend_onnx_mapping()
    from neural_compressor import PostTrainingQuantConfig, quantization

    settings = PostTrainingQuantConfig(
        approach="dynamic",
        domain="nlp",
        quant_level=1,
        # Its default fuses the graph first, which made int8 slower wherever it was measured.
        recipes={"graph_optimization_level": "ENABLE_BASIC"},
    )
    found = quantization.fit(str(source), settings)
    if found is None:
        raise DependencyError(
            "Neural Compressor returned no model",
            cause="it logs errors and returns None instead of raising; the reason stands above in its log",
            fix="install the pinned versions of constraints.txt, or leave this candidate out",
        )
    found.save(str(out))


def optimum_dynamic(source: Path, config: Path, out: Path) -> None:
    """Optimum's ORTQuantizer, dynamic int8 for AVX512-VNNI or ARM64, weights per channel."""
    import platform

    from optimum.onnxruntime import ORTQuantizer
    from optimum.onnxruntime.configuration import AutoQuantizationConfig

    arm = platform.machine().lower() in ("arm64", "aarch64")
    preset = AutoQuantizationConfig.arm64 if arm else AutoQuantizationConfig.avx512_vnni
    folder = _optimum_folder(source, config, out)
    quantizer = ORTQuantizer.from_pretrained(folder, file_name="model.onnx")
    quantizer.quantize(save_dir=folder / "made", quantization_config=preset(is_static=False, per_channel=True))
    (folder / "made" / "model_quantized.onnx").rename(out)


def optimum_fused(source: Path, config: Path, out: Path) -> None:
    """Optimum's ORTOptimizer: transformer fusions (attention, layer norm, GELU), still float32."""
    from optimum.onnxruntime import ORTOptimizer
    from optimum.onnxruntime.configuration import OptimizationConfig

    folder = _optimum_folder(source, config, out)
    optimizer = ORTOptimizer.from_pretrained(folder)
    settings = OptimizationConfig(optimization_level=1, enable_transformers_specific_optimizations=True)
    optimizer.optimize(save_dir=folder / "made", optimization_config=settings)
    (folder / "made" / "model_optimized.onnx").rename(out)


TOOLS: Mapping[str, Tool] = {
    "inc-dynamic": inc_dynamic,
    "optimum-dynamic": optimum_dynamic,
    "optimum-fused": optimum_fused,
}


def _optimum_folder(source: Path, config: Path, out: Path) -> Path:
    """Optimum wants model and config.json in one folder."""
    folder = out.with_name("optimum")
    folder.mkdir()
    shutil.copyfile(source, folder / "model.onnx")
    shutil.copyfile(config, folder / "config.json")
    return folder


def _lend_onnx_mapping() -> None:
    """Neural Compressor 3.7 reads ``onnx.mapping``, which onnx 1.19 removed; older onnx has known CVEs."""
    import onnx
    from onnx import TensorProto, helper

    if hasattr(onnx, "mapping"):
        return
    mapping = types.ModuleType("onnx.mapping")
    to_numpy = {kind: helper.tensor_dtype_to_np_dtype(kind) for kind in TensorProto.DataType.values() if kind}
    to_tensor: dict[object, int] = {}
    for kind, dtype in to_numpy.items():
        to_tensor.setdefault(dtype, kind)  # the first one wins: bfloat16 and others share a numpy type
    mapping.__dict__.update(TENSOR_TYPE_TO_NP_TYPE=to_numpy, NP_TYPE_TO_TENSOR_TYPE=to_tensor)
    sys.modules["onnx.mapping"] = mapping
    onnx.mapping = mapping


def main(tool: str, source: str, config: str, out: str) -> int:
    """Make one model; the exit status says whether it stands at ``out``, the last line of stderr says why not."""
    try:
        TOOLS[tool](Path(source), Path(config), Path(out))
    except Exception as error:  # noqa: BLE001  # whatever a tool raises is this candidate's reason, not the search's end
        first = str(error).strip().splitlines() or [""]
        sys.stderr.write(f"\n{type(error).__name__}: {first[0]}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
