"""From a transformers checkpoint to a measured, gated, monitored HTTP service: one recipe in, one bundle out."""

import os

__version__ = "0.1.0"

# ONNX Runtime's wheels (1.29 and later) start a thread when they are imported that tells its makers what is run here,
# and keep an identifier of the machine under ~/.cache; this is read at that moment. A value that is set already stays.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
