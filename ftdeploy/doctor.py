"""doctor: what this machine and this installation have, and which known traps they are in."""

from __future__ import annotations

import os
import platform
import shutil
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ftdeploy.errors import DeviceError, SourceError
from ftdeploy.hardware import choose_provider, cpu_flags, has_bf16, nvidia_devices, processors, saturates_int8
from ftdeploy.sources.cache import cache_folder

_LIBRARIES = (
    "ftdeploy", "torch", "transformers", "optimum", "optimum-onnx", "onnx", "onnxruntime", "onnxruntime-gpu",
    "neural-compressor", "numpy",
    "pyarrow", "datasets", "evaluate", "tokenizers", "bentoml",
)  # fmt: skip
_FLAGS = (
    "avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_int8", "amx_bf16", "asimddp", "i8mm", "bf16",
)  # fmt: skip


def examine() -> dict[str, dict[str, str]]:
    """Machine, choices, libraries and traps, as words by name."""
    return {"machine": _machine(), "choices": _choices(), "libraries": _libraries(), "traps": _traps()}


def _machine() -> dict[str, str]:
    flags = cpu_flags()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    disk = shutil.disk_usage(Path.cwd()).free / 2**30
    return {
        "system": f"{platform.system()} {platform.release()} {platform.machine()}, Python {platform.python_version()}",
        "processors": f"{processors()} of {os.cpu_count()} may be used",
        "instructions": ", ".join(flag for flag in _FLAGS if flag in flags) or "none of those that matter",
        "memory": f"{memory:.1f} GiB",
        "free disk": f"{disk:.1f} GiB in {Path.cwd()}",
        "GPU": f"{nvidia_devices()} CUDA device(s)" if nvidia_devices() else "none that the driver shows",
        "cache": _cache(),
        "mirror": os.environ.get("FTDEPLOY_MIRROR", "not set (FTDEPLOY_MIRROR)"),
    }


def _cache() -> str:
    try:
        return str(cache_folder())
    except SourceError as error:
        return f"none: {error.what}; {error.fix}"


def _choices() -> dict[str, str]:
    found = {"training on": "torch is not installed"}
    if _version("torch"):
        from ftdeploy.hardware import choose_device

        device = choose_device()
        found["training on"] = f"{device.name} ({device.reason})"
    found["bf16"] = "the processor has it; used where it is measured faster" if has_bf16() else "not in this processor"
    found["int8"] = (
        "weights are made so that sums of products fit in 16 bits, for want of VNNI; others answer as well, but slower"
        if saturates_int8() else "weights may take all 8 bits: sums of products are exact in this processor"
    )  # fmt: skip
    try:
        provider = choose_provider()
        found["inference on"] = f"{provider.name} ({provider.reason})"
    except DeviceError as error:
        found["inference on"] = f"nothing: {error.what}; {error.fix}"
    return found


def _libraries() -> dict[str, str]:
    return {name: _version(name) or "not installed" for name in _LIBRARIES}


def _traps() -> dict[str, str]:
    """Known incompatibilities that this installation is in; `none` when it is in none."""
    found = {}
    numpy, compressor, arrow = _version("numpy"), _version("neural-compressor"), _version("pyarrow")
    if compressor and numpy and not numpy.startswith("1."):
        found["numpy"] = f"{numpy}: neural-compressor {compressor} wants numpy < 2; its candidates will fail"
    if compressor and int((_version("setuptools") or "99").split(".")[0]) > 80:  # noqa: PLR2004  # 81 removed pkg_resources
        found["setuptools"] = "neural-compressor imports pkg_resources, which setuptools 81 removed"
    if compressor and not _version("six"):
        found["six"] = "neural-compressor imports six without declaring it"
    if arrow and numpy and numpy.startswith("1.") and int(arrow.split(".")[0]) > 25:  # noqa: PLR2004  # 26 wants numpy 2
        found["pyarrow"] = f"{arrow} wants numpy >= 2 without saying so"
    if _version("kernels"):
        found["kernels"] = "installed: transformers 4.57 then asks a hub for code at import"
    torch = _version("torch")
    if torch and nvidia_devices() and torch.endswith("+cpu"):
        found["torch"] = f"{torch} is a CPU build on a machine with a GPU"
    if _version("onnxruntime") and _version("onnxruntime-gpu"):
        found["onnxruntime"] = (
            "onnxruntime and onnxruntime-gpu are both installed, and the last one has overwritten files of the other: "
            "pip uninstall -y onnxruntime onnxruntime-gpu && pip install onnxruntime-gpu"
        )
    return found or {"none": "this installation is in no trap that ftdeploy knows"}


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
