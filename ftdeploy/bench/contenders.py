"""The contenders: other ways to run the same fine-tuned model, each as its makers advise.

A further one is a line in `CONTENDERS`, and an opener where its runtime is new.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from ftdeploy.bench.runners import Opener, open_onnx, open_openvino, open_torch
from ftdeploy.errors import DependencyError, DeviceError, did_you_mean
from ftdeploy.hardware import has_bf16

_COMPRESS, _OURS = "ftdeploy.compress.worker", "ftdeploy.bench.worker"
_ONNX = ("model.onnx", "model.onnx.data", "tokenizer.json")
_IR = ("model.xml", "model.bin", "tokenizer.json")
_TORCH = ("model.safetensors", "config.json", "tokenizer.json")


@dataclass(frozen=True, kw_only=True)
class Contender:
    """One way to run the fine-tuned model.

    Attributes:
        open: opens it.
        files: what has to be stored and sent; those that it has count.
        source: the run's artifact that it is opened from, or, with ``tool``, None.
        tool: worker module and tool that makes it from the fp32 ONNX model first; None opens ``source``.
        libraries: distributions that it wants, beside those that every run has.
        extra: of ftdeploy, which brings them.
        fits: whether this processor can run it.
    """

    open: Opener
    files: tuple[str, ...] = _ONNX
    source: Literal["onnx", "checkpoint"] | None = None
    tool: tuple[str, str] | None = None
    libraries: tuple[str, ...] = ()
    extra: str = "bench"
    fits: Callable[[], bool] = lambda: True


_OPENVINO_ONNX = partial(open_openvino, file="model.onnx")

CONTENDERS: Mapping[str, Contender] = {
    # The dense model as exported, in ONNX Runtime.
    "fp32": Contender(source="onnx", open=open_onnx),
    "torch": Contender(source="checkpoint", open=open_torch, files=_TORCH, libraries=("torch",), extra="train"),
    "torch-bf16": Contender(
        source="checkpoint", open=partial(open_torch, dtype="bfloat16"), files=_TORCH, libraries=("torch",),
        extra="train", fits=has_bf16,
    ),
    # OpenVINO as it comes: weights stored as float16, computed in bf16 where the processor has it.
    "openvino": Contender(tool=(_OURS, "openvino"), open=open_openvino, files=_IR, libraries=("openvino",)),
    "openvino-fp32": Contender(
        source="onnx", open=partial(_OPENVINO_ONNX, precision="f32"), libraries=("openvino",)
    ),
    # Its makers' way to int8: NNCF's post-training quantization for transformers.
    "openvino-int8": Contender(
        tool=(_OURS, "openvino-int8"), open=open_openvino, files=_IR, libraries=("openvino", "nncf")
    ),
    # OpenVINO on ONNX Runtime's static int8 model.
    "openvino-qdq": Contender(tool=(_COMPRESS, "ort-static"), open=_OPENVINO_ONNX, libraries=("openvino",)),
    "optimum-int8": Contender(
        tool=(_COMPRESS, "optimum-dynamic"), open=open_onnx, libraries=("optimum-onnx",), extra="train"
    ),
    # Neural Compressor left to itself: its own search with an accuracy goal.
    "inc-tuned": Contender(
        tool=(_COMPRESS, "inc-tuned"), open=open_onnx, libraries=("neural-compressor",), extra="compress"
    ),
    "ort-int8": Contender(tool=(_COMPRESS, "ort-dynamic"), open=open_onnx),
}  # fmt: skip


def contenders_in(text: str) -> tuple[str, ...]:
    """The contenders that ``--against`` names, with commas between; none when it names a folder.

    Raises:
        ValueError: a word is neither, or a folder does not stand alone.
    """
    words = [word.strip() for word in text.split(",") if word.strip()]
    unknown = [word for word in words if word not in CONTENDERS]
    if not unknown:
        return tuple(words)
    folders = [word for word in unknown if "/" in word or Path(word).exists()]
    if folders and len(words) == 1:
        return ()
    if folders:
        raise ValueError(f"{folders[0]!r} is a folder, which stands alone: name one folder, or contenders")
    raise ValueError(f"{unknown[0]!r} is neither a contender nor a folder; {did_you_mean(unknown[0], CONTENDERS)}")


def check_contender(contender: Contender) -> dict[str, str]:
    """The versions of a contender's libraries, when it can run here.

    Raises:
        DependencyError: a library is not installed.
        DeviceError: the processor cannot run it.
    """
    if not contender.fits():
        raise DeviceError(
            "this processor has no bfloat16",
            cause="it has none of avx512_bf16, amx_bf16 and bf16",
            fix="leave it out, or measure on another machine",
        )
    found = {}
    for library in contender.libraries:
        try:
            found[library] = version(library)
        except PackageNotFoundError as error:
            raise DependencyError(
                f"{library} is not installed",
                cause=f"ftdeploy was installed without its extra `{contender.extra}`",
                fix=f"pip install 'ftdeploy[{contender.extra}]'",
            ) from error
    return found
