"""MLServer with a runtime of its own around the model, and its adaptive batching.

Usage: ``MODEL=FOLDER python mlserver_runtime.py PORT``, with mlserver, onnxruntime and tokenizers installed; the two
ports behind PORT are taken as well.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import NoReturn

from mlserver import MLModel
from mlserver.codecs import StringCodec
from mlserver.types import InferenceRequest, InferenceResponse
from plain_model import PlainModel


class Runtime(MLModel):  # type: ignore[misc]  # mlserver is in an environment of its own
    """One model."""

    async def load(self) -> bool:
        """Open it."""
        self.plain = PlainModel()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """The best label of each text."""
        texts = StringCodec.decode_input(payload.inputs[0])
        labels = [answer[0]["label"] for answer in self.plain.answer(texts)]
        return InferenceResponse(model_name=self.name, outputs=[StringCodec.encode_output("label", labels)])


def main(port: int) -> NoReturn:
    """Write the settings of server and model into a folder, and become MLServer."""
    folder = Path(tempfile.mkdtemp(prefix="ftdeploy-mlserver-"))
    server = {"http_port": port, "grpc_port": port + 1, "metrics_port": port + 2, "parallel_workers": 0, "debug": False}
    batching = {"max_batch_size": 32, "max_batch_time": 0.005}
    model = {"name": "sentiment", "implementation": "mlserver_runtime.Runtime", **batching}
    (folder / "settings.json").write_text(json.dumps(server), encoding="utf-8")
    (folder / "model-settings.json").write_text(json.dumps(model), encoding="utf-8")
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
    os.execve(sys.executable, [sys.executable, "-m", "mlserver.cli.main", "start", str(folder)], environment)  # noqa: S606


if __name__ == "__main__":
    main(int(sys.argv[1]))
