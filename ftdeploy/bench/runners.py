"""Models that are open, each in its own runtime, behind one face: token ids in, logits out."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ftdeploy.batching import pad
from ftdeploy.encoded import Encoded
from ftdeploy.predictor import Predictor

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Runner(Protocol):
    """A model that is open; lanes call it at the same time."""

    @property
    def provider(self) -> str:
        """What runs it, in words."""

    def encode(self, texts: Sequence[str]) -> Sequence[Encoded]:
        """Tokenise."""

    def run(self, rows: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Logits of one forward pass, padded to the longest row: float32, shape (rows, labels)."""


class Opener(Protocol):
    """Opens a model in its runtime."""

    def __call__(self, folder: Path, fp32: Predictor, *, lanes: int, threads: int) -> Runner:
        """Open the model in ``folder``.

        Args:
            folder: holds its files.
            fp32: the uncompressed model, whose tokenizer, inputs and task it shares.
            lanes: forward passes that will run at the same time.
            threads: of each.
        """


class OnnxRunner:
    """A model folder in ONNX Runtime, with the tokenizer and the session options that it holds."""

    def __init__(self, folder: Path, *, threads: int) -> None:
        self._predictor = Predictor(folder, threads=threads)
        self.encode = self._predictor.encode
        self.provider = f"ONNX Runtime {self._predictor.provider}"

    def run(self, rows: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """See `Runner`."""
        return self._predictor.run(rows).logits


def open_onnx(folder: Path, fp32: Predictor, *, lanes: int, threads: int) -> Runner:  # noqa: ARG001  # the protocol's
    """Open a model folder in ONNX Runtime."""
    return OnnxRunner(folder, threads=threads)


class TorchRunner:
    """A checkpoint in torch, eager, with the attention that transformers prefers (scaled dot product)."""

    def __init__(self, folder: Path, fp32: Predictor, *, threads: int, dtype: str) -> None:
        import torch

        from ftdeploy.onnx_export import load_model

        self._model = load_model(folder, fp32.task).to(getattr(torch, dtype))
        self._pad_id, self._threads = fp32.signature.pad_id, threads
        self.encode = fp32.encode
        self.provider = f"torch eager {dtype}"

    def run(self, rows: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """See `Runner`."""
        import torch

        torch.set_num_threads(self._threads)  # it holds for the calling thread, and lanes are threads
        ids, mask = pad(rows, self._pad_id)
        with torch.inference_mode():
            logits = self._model(input_ids=torch.from_numpy(ids), attention_mask=torch.from_numpy(mask)).logits
        found: NDArray[np.float32] = logits.float().numpy()
        return found


def open_torch(folder: Path, fp32: Predictor, *, lanes: int, threads: int, dtype: str = "float32") -> Runner:  # noqa: ARG001  # the protocol's
    """Open a checkpoint in torch."""
    return TorchRunner(folder, fp32, threads=threads, dtype=dtype)


class OpenVinoRunner:
    """A model in OpenVINO, one stream and one inference request for each lane.

    (https://docs.openvino.ai/2025/openvino-workflow/running-inference/inference-devices-and-modes/cpu-device.html)
    """

    def __init__(self, file: Path, fp32: Predictor, *, lanes: int, threads: int, precision: str | None) -> None:
        import openvino

        settings: dict[str, Any] = {
            "PERFORMANCE_HINT": "THROUGHPUT" if lanes > 1 else "LATENCY",
            "NUM_STREAMS": lanes,
            "INFERENCE_NUM_THREADS": lanes * threads,
            # No other contender is tied to processors; on a shared machine it would wait for whoever is on its own.
            "ENABLE_CPU_PINNING": False,
        }
        if precision is not None:
            settings["INFERENCE_PRECISION_HINT"] = precision
        compiled = openvino.Core().compile_model(os.fspath(file), "CPU", settings)
        self._signature = fp32.signature
        self._free: SimpleQueue[Any] = SimpleQueue()
        for _ in range(lanes):
            self._free.put(compiled.create_infer_request())
        chosen = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
        self.encode = fp32.encode
        self.provider = f"OpenVINO {openvino.__version__.partition('-')[0]} {chosen}"

    def run(self, rows: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """See `Runner`."""
        ids, mask = pad(rows, self._signature.pad_id)
        request = self._free.get()
        try:
            request.infer(self._signature.feeds(ids, mask), share_inputs=True)
            # The request's own memory: the next inference writes over it.
            return np.array(request.get_tensor("logits").data, dtype=np.float32)
        finally:
            self._free.put(request)


def open_openvino(folder: Path, fp32: Predictor, *, lanes: int, threads: int, file: str = "model.xml",
                  precision: str | None = None) -> Runner:  # fmt: skip
    """Open a model in OpenVINO.

    Args:
        folder: holds its files.
        fp32: see `Opener`.
        lanes: see `Opener`.
        threads: see `Opener`.
        file: the model's, as IR or ONNX.
        precision: in which it computes; None leaves it to OpenVINO, which takes bf16 where the processor has it.
    """
    return OpenVinoRunner(folder / file, fp32, lanes=lanes, threads=threads, precision=precision)
