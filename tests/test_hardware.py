"""Which device and provider are chosen, and why; on any machine, because the two probes are replaced."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from ftdeploy import hardware
from ftdeploy.errors import DeviceError
from ftdeploy.hardware import (
    CPU,
    CUDA,
    OPENVINO,
    choose_device,
    choose_provider,
    has_bf16,
    plan_lanes,
    plan_workers,
    processors,
    saturates_int8,
)

BUILT = [CUDA, CPU]
PLAIN = ["AzureExecutionProvider", CPU]


@pytest.fixture(autouse=True)
def _no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FTDEPLOY_DEVICE", raising=False)


def machine(monkeypatch: pytest.MonkeyPatch, *, devices: int, torch_cuda: bool = True) -> None:
    monkeypatch.setattr(hardware, "nvidia_devices", lambda: devices)
    monkeypatch.setattr(hardware, "torch_has_cuda", lambda: torch_cuda and devices > 0)


def test_training_takes_cuda_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """And says how many it found."""
    machine(monkeypatch, devices=2)
    assert choose_device("auto") == choose_device()
    assert (choose_device().name, choose_device().reason) == ("cuda", "2 CUDA device(s) found")


def test_training_takes_the_cpu_where_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the reason."""
    machine(monkeypatch, devices=0)
    assert (choose_device().name, choose_device().reason) == ("cpu", "the driver shows no CUDA device")


def test_training_takes_the_cpu_where_torch_cannot_use_the_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU and a CPU build of torch: works, and says what is wasted."""
    machine(monkeypatch, devices=1, torch_cuda=False)
    assert choose_device().name == "cpu"
    assert "torch is built without CUDA" in choose_device().reason


@pytest.mark.parametrize("devices", [0, 1])
def test_the_cpu_can_be_forced(monkeypatch: pytest.MonkeyPatch, devices: int) -> None:
    """Whatever there is."""
    machine(monkeypatch, devices=devices)
    assert (choose_device("cpu").name, choose_device("cpu").reason) == ("cpu", "forced by the recipe")


def test_cuda_can_be_forced_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forced is said as such."""
    machine(monkeypatch, devices=1)
    assert (choose_device("cuda").name, choose_device("cuda").reason) == ("cuda", "forced by the recipe")


@pytest.mark.parametrize(("devices", "words"), [(0, "shows no CUDA device"), (1, "built without CUDA")])
def test_cuda_forced_and_missing_is_an_error(monkeypatch: pytest.MonkeyPatch, devices: int, words: str) -> None:
    """Nobody trains for a day on a CPU because a driver was missing."""
    machine(monkeypatch, devices=devices, torch_cuda=False)
    with pytest.raises(DeviceError, match=words):
        choose_device("cuda")


def test_no_gpu_no_import_of_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the driver shows nothing, torch is not asked: importing it takes seconds."""
    monkeypatch.setattr(hardware, "nvidia_devices", lambda: 0)
    monkeypatch.setitem(__import__("sys").modules, "torch", None)  # importing it would raise
    assert hardware.torch_has_cuda() is False


@pytest.mark.parametrize(
    ("devices", "available", "name", "words"),
    [
        (1, BUILT, CUDA, "a CUDA device and a CUDA build"),
        (0, BUILT, CPU, "the driver shows no CUDA device"),
        (1, PLAIN, CPU, "built without CUDA"),
        (0, PLAIN, CPU, "built without CUDA"),
    ],
)
def test_the_provider(
    monkeypatch: pytest.MonkeyPatch, devices: int, available: list[str], name: str, words: str
) -> None:
    """CUDA where both the machine and the installed onnxruntime have it, else the CPU, with the reason."""
    machine(monkeypatch, devices=devices)
    assert choose_provider(available=available).name == name
    assert words in choose_provider(available=available).reason


def test_a_preferred_provider_is_taken_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was measured as faster on processors: a CUDA device goes before it, and so does a forced device."""
    with_openvino = [CUDA, OPENVINO, CPU]
    machine(monkeypatch, devices=0)
    assert choose_provider(available=with_openvino, preferred=OPENVINO).name == OPENVINO
    assert choose_provider(available=with_openvino).name == CPU
    assert choose_provider("cpu", available=with_openvino, preferred=OPENVINO) == hardware.Choice(CPU, "forced")
    missing = choose_provider(available=PLAIN, preferred=OPENVINO)
    assert missing.name == CPU
    assert OPENVINO in missing.reason
    machine(monkeypatch, devices=1)
    assert choose_provider(available=with_openvino, preferred=OPENVINO).name == CUDA


@pytest.mark.parametrize("how", ["argument", "variable"])
def test_the_provider_can_be_forced(monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """By the caller, or by FTDEPLOY_DEVICE for a service that is already packaged."""
    machine(monkeypatch, devices=1)

    def choose(device: str, available: list[str]) -> hardware.Choice:
        if how == "argument":
            return choose_provider(device, available=available)
        monkeypatch.setenv("FTDEPLOY_DEVICE", device)
        return choose_provider(available=available)

    assert choose("cpu", BUILT) == hardware.Choice(CPU, "forced")
    assert choose("cuda", BUILT) == hardware.Choice(CUDA, "forced")
    with pytest.raises(DeviceError, match="built without CUDA"):
        choose("cuda", PLAIN)
    machine(monkeypatch, devices=0)
    with pytest.raises(DeviceError, match="shows no CUDA device"):
        choose("cuda", BUILT)


def test_what_the_caller_forces_stands_over_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """FTDEPLOY_DEVICE stands in for auto only."""
    machine(monkeypatch, devices=1)
    monkeypatch.setenv("FTDEPLOY_DEVICE", "cuda")
    assert choose_provider("cpu", available=BUILT).name == CPU


@pytest.mark.parametrize("word", ["gpu", "CUDA", "cuda:0", ""])
def test_a_word_that_is_no_device(monkeypatch: pytest.MonkeyPatch, word: str) -> None:
    """A misspelt variable is not taken for auto."""
    monkeypatch.setenv("FTDEPLOY_DEVICE", word)
    with pytest.raises(DeviceError, match="is not a device"):
        choose_provider(available=BUILT)


def test_the_installed_onnxruntime_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a list, what is installed here decides; no device, no CUDA in any build."""
    machine(monkeypatch, devices=0)
    assert choose_provider().name == CPU


@pytest.mark.parametrize(
    ("flags", "there"),
    [({"avx512f", "avx512_bf16"}, True), ({"amx_bf16"}, True), ({"asimd", "bf16"}, True), ({"avx2", "avx512f"}, False)],
)
def test_bf16_is_read_off_the_flags(monkeypatch: pytest.MonkeyPatch, flags: set[str], there: bool) -> None:
    """Intel, AMD and Arm each name it in their way."""
    monkeypatch.setattr(hardware, "cpu_flags", lambda: frozenset(flags))
    assert has_bf16() is there


@pytest.mark.parametrize(
    ("machine", "flags", "saturates"),
    [
        ("x86_64", {"avx2"}, True),
        ("x86_64", {"avx2", "avx512f", "avx512bw"}, True),
        ("x86_64", {"avx2", "avx512f", "avx512_vnni"}, False),
        ("x86_64", {"avx2", "avx_vnni"}, False),
        ("x86_64", {"avx512f", "amx_int8"}, False),
        ("AMD64", set(), True),
        ("aarch64", {"asimddp"}, False),
        ("arm64", set(), False),
    ],
)
def test_int8_saturates_on_x86_without_vnni(
    monkeypatch: pytest.MonkeyPatch, machine: str, flags: set[str], saturates: bool
) -> None:
    """AVX512 alone does not help; where an x86 processor tells nothing, the careful answer is given."""
    monkeypatch.setattr("platform.machine", lambda: machine)
    monkeypatch.setattr(hardware, "cpu_flags", lambda: frozenset(flags))
    assert saturates_int8() is saturates


def test_onnx_runtime_saturates_here_where_the_flags_say_so() -> None:
    """The largest products there are, through the installed onnxruntime on this very processor."""
    rows, weights = np.full((4, 64), 255, dtype=np.uint8), np.full((64, 32), 127, dtype=np.int8)
    node = helper.make_node("MatMulInteger", ["x", "w"], ["y"])
    ends = [helper.make_tensor_value_info(*end) for end in (("x", TensorProto.UINT8, [4, 64]),
                                                            ("y", TensorProto.INT32, [4, 32]))]  # fmt: skip
    graph = helper.make_graph([node], "probe", ends[:1], ends[1:], [numpy_helper.from_array(weights, "w")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=[CPU])
    wrong = bool((session.run(None, {"x": rows})[0] != 64 * 255 * 127).any())
    assert wrong is saturates_int8()


@pytest.mark.parametrize(
    ("content", "count"),
    [("max 100000\n", 8), ("150000 100000\n", 2), ("50000 100000\n", 1), ("10000 100000\n", 1), ("", 8), ("x y\n", 8)],
)
def test_processors_are_cut_by_the_quota_of_the_container(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str, count: int
) -> None:
    """A container of two processors on a host of eight has two; a file that says nothing changes nothing."""
    file = tmp_path / "cpu.max"
    file.write_text(content, encoding="ascii")
    monkeypatch.setattr(hardware, "Path", lambda _name: file)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: set(range(8)))
    assert processors() == count
    file.unlink()
    assert processors() == 8


def test_threads_become_lanes_on_processors_and_stay_together_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """One lane for each thread unless stated; a stated number of lanes shares the threads."""
    monkeypatch.setattr("ftdeploy.hardware.processors", lambda: 4)
    assert plan_lanes(threads=0, lanes=0, on_cpu=True) == (4, 1)
    assert plan_lanes(threads=0, lanes=2, on_cpu=True) == (2, 2)
    assert plan_lanes(threads=3, lanes=0, on_cpu=True) == (3, 1)
    assert plan_lanes(threads=0, lanes=8, on_cpu=True) == (8, 1)
    assert plan_lanes(threads=0, lanes=0, on_cpu=False) == (1, 4)


def test_a_worker_feeds_the_lanes_of_eight_processors_and_a_gpu_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless a number is stated; threads that are stated count as processors."""
    monkeypatch.setattr("ftdeploy.hardware.processors", lambda: 20)
    assert plan_workers(0, threads=0, on_cpu=True) == 2
    assert plan_workers(0, threads=4, on_cpu=True) == 1
    assert plan_workers(0, threads=0, on_cpu=False) == 1
    assert plan_workers(3, threads=1, on_cpu=False) == 3
