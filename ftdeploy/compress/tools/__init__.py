"""The compression tools on ONNX models, one function each; `ftdeploy.compress.worker` runs them.

A tool takes a model folder, the file to write and options in plain JSON. It writes the file, or something goes wrong:
an exception, None, an exit, an empty file. The worker makes a reason of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ftdeploy.compress.tools import calibrated, inc, onnx_nc, optimum, ort

Tool = Callable[[Path, Path, Mapping[str, Any]], None]

#: All take the option ``exclude``, names of MatMul and Gemm nodes that stay in float, but those that fuse.
TOOLS: Mapping[str, Tool] = {
    "calibrated": calibrated.calibrated,
    "inc-dynamic": inc.dynamic,
    "inc-static": inc.static,
    "inc-smooth": inc.smooth,
    "inc-weight-only": inc.weight_only,
    "inc-tuned": inc.tuned,
    "onnx-nc-dynamic": onnx_nc.dynamic,
    "onnx-nc-static": onnx_nc.static,
    "onnx-nc-smooth": onnx_nc.smooth,
    "onnx-nc-weight-only": onnx_nc.weight_only,
    "ort-dynamic": ort.dynamic,
    "ort-static": ort.static,
    "ort-weight-only": ort.weight_only,
    "ort-embeddings": ort.embeddings,
    "ort-fp16": ort.fp16,
    "optimum-dynamic": optimum.dynamic,
    "optimum-fused": optimum.fused,
}
