"""Makes one contender in a process of its own: ``python -m ftdeploy.bench.worker TOOL SOURCE OUT OPTIONS``.

SOURCE is a model folder, OUT the file to make, OPTIONS a JSON object, as for `ftdeploy.compress.worker`.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ftdeploy.compress.tools.calibration import feeds, read_rows
from ftdeploy.signature import read_signature

Tool = Callable[[Path, Path, Mapping[str, Any]], None]


def convert(source: Path, out: Path, _options: Mapping[str, Any]) -> None:
    """OpenVINO's own format, weights as float16, which is its default."""
    import openvino

    openvino.save_model(openvino.Core().read_model(os.fspath(source / "model.onnx")), os.fspath(out))


def quantize(source: Path, out: Path, options: Mapping[str, Any]) -> None:
    """NNCF's post-training int8 quantization with its settings for transformers, SmoothQuant and bias correction.

    (https://docs.openvino.ai/2025/openvino-workflow/model-optimization-guide/quantizing-models-post-training.html)

    Options: ``calibration``, training rows.
    """
    import nncf
    import openvino

    rows, _ = read_rows(Path(options["calibration"]))
    signature = read_signature(source)
    data = nncf.Dataset([feeds(row[None], signature) for row in rows])
    model = openvino.Core().read_model(os.fspath(source / "model.onnx"))
    made = nncf.quantize(model, data, model_type=nncf.ModelType.TRANSFORMER, subset_size=len(rows))
    openvino.save_model(made, os.fspath(out))


TOOLS: Mapping[str, Tool] = {"openvino": convert, "openvino-int8": quantize}


def main(tool: str, source: str, out: str, options: str) -> int:
    """Make one model; the exit status says whether it stands at ``out``, the last line of stderr says why not."""
    # OpenVINO and NNCF report their use to their makers where this can be imported; they do without it.
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # None makes an import fail
    try:
        TOOLS[tool](Path(source), Path(out), json.loads(options))
    except Exception as error:  # noqa: BLE001  # whatever it is, it is this contender's reason, not the bench's end
        first = str(error).strip().splitlines() or [""]
        sys.stderr.write(f"\n{type(error).__name__}: {first[0]}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
