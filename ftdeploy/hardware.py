"""What this machine has, and which device and execution provider are chosen, with the reason."""

from __future__ import annotations

import ctypes
import os
import platform
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ftdeploy.batching import Batching
from ftdeploy.errors import DeviceError

CUDA = "CUDAExecutionProvider"
CPU = "CPUExecutionProvider"
OPENVINO = "OpenVINOExecutionProvider"
#: Instructions that add products of uint8 and int8 in 32 bits, as Linux names them.
_INT8 = frozenset({"avx512_vnni", "avx_vnni", "amx_int8"})

#: One event loop feeds the lanes of so many processors.
PROCESSORS_A_WORKER = 8


@dataclass(frozen=True)
class Choice:
    """A device or provider, and why."""

    name: str
    reason: str


def processors() -> int:
    """Processors that this process may use: the affinity mask, cut by the container's CPU quota."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _cgroup_quota()
    return max(1, min(allowed, quota)) if quota else allowed


def plan_lanes(*, threads: int, lanes: int, on_cpu: bool) -> tuple[int, int]:
    """How the threads are used: ``(lanes, threads of one lane)``.

    On processors one lane for each thread: two passes of one thread gave 280 texts per second where one pass of two
    threads gave 155 (six-layer int8 encoder, 64 connections, two processors shared with other work), because threads
    of one pass wait for each other at every layer. On a GPU passes run one after the other anyway.

    Args:
        threads: over all lanes; 0 takes the processors this process may use.
        lanes: 0 takes one for each thread, on a GPU one.
        on_cpu: whether the model runs on processors.
    """
    threads = threads or processors()
    lanes = lanes or (threads if on_cpu else 1)
    return lanes, max(1, threads // lanes)


def plan_workers(workers: int, *, threads: int, on_cpu: bool) -> int:
    """How many processes serve one model. One is enough as long as the model and not the event loop is what is waited
    for: lanes share one copy of the weights, and ONNX Runtime lets go of the interpreter.

    Args:
        workers: 0 takes one for every `PROCESSORS_A_WORKER` threads, on a GPU one.
        threads: over all workers; 0 takes the processors this process may use.
        on_cpu: whether the model runs on processors.
    """
    return workers or (max(1, (threads or processors()) // PROCESSORS_A_WORKER) if on_cpu else 1)


def served_lanes(batching: Batching, device: str = "auto") -> tuple[int, int]:
    """`plan_lanes` for how the service runs a model on a device."""
    on_cpu = choose_provider(device).name == CPU
    return plan_lanes(threads=batching.threads, lanes=batching.lanes, on_cpu=on_cpu)


def _cgroup_quota() -> int | None:
    try:
        limit, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()[:2]
        return None if limit == "max" else max(1, round(int(limit) / int(period)))
    except (OSError, ValueError):
        return None


@cache
def cpu_flags() -> frozenset[str]:
    """Instruction sets of the processor, as Linux names them (``avx512_bf16``, ``avx512_vnni``, ``amx_bf16``)."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith(("flags", "Features")):
                return frozenset(line.partition(":")[2].split())
    except OSError:
        return frozenset()
    return frozenset()


def has_bf16() -> bool:
    """Whether the processor multiplies bfloat16 itself."""
    return bool(cpu_flags() & {"avx512_bf16", "amx_bf16", "bf16"})


def saturates_int8() -> bool:
    """Whether ONNX Runtime's products of uint8 activations and int8 weights may be wrong in this processor.

    On x86 without VNNI and AMX they are made by vpmaddubsw, which adds pairs in int16 and cuts the sums. Where nobody
    tells the instruction sets (Windows, macOS), an x86 processor counts as one without.
    (https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html)
    """
    return platform.machine().lower() in ("x86_64", "amd64", "i686", "x86") and not cpu_flags() & _INT8


@cache
def nvidia_devices() -> int:
    """CUDA devices that the driver shows, asked of libcuda itself, so that no torch has to be imported."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return 0
    return count.value


def torch_has_cuda() -> bool:
    """Whether the installed torch can use a CUDA device (imports torch, but only where the driver shows one)."""
    if not nvidia_devices():
        return False
    import torch

    return bool(torch.cuda.is_available())


def choose_device(wanted: str = "auto") -> Choice:
    """Where training runs: ``cuda`` where there is one, else ``cpu``.

    Args:
        wanted: ``auto``, ``cpu`` or ``cuda``.

    Raises:
        DeviceError: ``cuda`` is forced and there is none that torch can use.
    """
    if wanted == "cpu":
        return Choice("cpu", "forced by the recipe")
    shown = nvidia_devices()
    usable = torch_has_cuda()
    if usable:
        return Choice("cuda", "forced by the recipe" if wanted == "cuda" else f"{shown} CUDA device(s) found")
    missing = "the driver shows no CUDA device" if not shown else "a CUDA device, but this torch is built without CUDA"
    if wanted == "cuda":
        raise DeviceError(
            f"device cuda is forced and cannot be used: {missing}",
            cause="no GPU, no driver, or a CPU build of torch",
            fix="set `device: auto`, or install a CUDA build of torch",
        )
    return Choice("cpu", missing)


def choose_provider(wanted: str = "auto", *, available: list[str] | None = None, preferred: str = "") -> Choice:
    """The ONNX Runtime execution provider: CUDA where the installed runtime and the machine have it, else CPU.

    Args:
        wanted: ``auto``, ``cpu`` or ``cuda``; `FTDEPLOY_DEVICE` in the environment stands in for ``auto``.
        available: providers of the installed onnxruntime; None asks it.
        preferred: a provider that runs on processors and was measured with the model as faster than ONNX Runtime's
            own; taken in its place where it is installed, unless a device is forced.

    Raises:
        DeviceError: ``cuda`` is forced and missing, or the word is unknown.
    """
    wanted = os.environ.get("FTDEPLOY_DEVICE", "auto") if wanted == "auto" else wanted
    if wanted not in ("auto", "cpu", "cuda"):
        raise DeviceError(
            f"{wanted!r} is not a device",
            cause="FTDEPLOY_DEVICE holds something else than auto, cpu or cuda",
            fix="unset it, or set it to one of the three",
        )
    if wanted == "cpu":
        return Choice(CPU, "forced")
    if available is None:
        import onnxruntime

        available = onnxruntime.get_available_providers()
    built = CUDA in available
    if built and nvidia_devices():
        return Choice(CUDA, "forced" if wanted == "cuda" else "a CUDA device and a CUDA build of onnxruntime")
    missing = "the driver shows no CUDA device" if built else "this onnxruntime is built without CUDA"
    if wanted == "cuda":
        raise DeviceError(
            f"provider {CUDA} is forced and cannot be used: {missing}",
            cause="no GPU, no driver, or the CPU package of onnxruntime",
            fix="on a machine with a GPU, install onnxruntime-gpu in its place (README, Install); or do not force it",
        )
    if preferred in available:
        return Choice(preferred, "the fastest one with this model when it was measured")
    if preferred:
        return Choice(CPU, f"{missing}; {preferred} was measured as faster, and this onnxruntime is built without it")
    return Choice(CPU, missing)
