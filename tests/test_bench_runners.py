"""Every runtime answers the same model alike, from several lanes at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from checkpoints import sentences

from ftdeploy.bench.runners import Opener, open_onnx, open_openvino, open_torch
from ftdeploy.predictor import Predictor

if TYPE_CHECKING:
    from tiny_run import TinyRun

#: Opener, the artifact that it opens, and how far its logits may be from those of ONNX Runtime.
OPENERS: dict[str, tuple[Opener, str, float]] = {
    "onnx": (open_onnx, "onnx", 1e-6),
    "torch": (open_torch, "checkpoint", 1e-3),
    "torch-bf16": (partial(open_torch, dtype="bfloat16"), "checkpoint", 0.1),
}
if find_spec("openvino"):  # an extra
    OPENERS |= {
        "openvino-fp32": (partial(open_openvino, file="model.onnx", precision="f32"), "onnx", 1e-3),
        "openvino": (partial(open_openvino, file="model.onnx"), "onnx", 0.1),
    }


@pytest.fixture(scope="module")
def fp32(tiny: TinyRun) -> Predictor:
    """The export of the tiny run, open."""
    return Predictor(tiny.run / "onnx", device="cpu")


@pytest.mark.parametrize("name", OPENERS)
def test_answers_as_fp32_does(tiny: TinyRun, fp32: Predictor, name: str) -> None:
    """Padded batches of several shapes, two lanes at once: each lane gets the logits of its own batch."""
    opener, kind, tolerance = OPENERS[name]
    runner = opener(Path(tiny.run / kind), fp32, lanes=2, threads=1)
    ids = [row.ids for row in runner.encode([row["text"] for row in sentences()[:48]])]
    batches = [ids[start : start + size] for size in (1, 3, 8) for start in range(0, 24, size)]
    with ThreadPoolExecutor(2) as lanes:
        found = list(lanes.map(runner.run, batches))
    for batch, logits in zip(batches, found, strict=True):
        assert logits.dtype == np.float32
        np.testing.assert_allclose(logits, fp32.run(batch).logits, atol=tolerance)
    assert runner.provider
