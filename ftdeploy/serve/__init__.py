"""The HTTP service of a bundle, and what a bundle has to hold of ftdeploy to run it."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path
from typing import NoReturn

from ftdeploy.errors import DependencyError, ServeError

#: Modules of ftdeploy that a bundle carries, relative to the package; `package` copies them, a test keeps it closed.
RUNTIME = (
    "__init__.py",
    "batching.py",
    "document.py",
    "errors.py",
    "hardware.py",
    "predictor.py",
    "session.py",
    "signature.py",
    "web_origins.py",
    "tasks/__init__.py",
    "tasks/text_classification.py",
    "serve/__init__.py",
    "serve/about.py",
    "serve/access.py",
    "serve/admission.py",
    "serve/answer_cache.py",
    "serve/answers.py",
    "serve/app.py",
    "serve/batcher.py",
    "serve/cors.py",
    "serve/cycle.py",
    "serve/deletions.py",
    "serve/encryption.py",
    "serve/engine.py",
    "serve/exposition.py",
    "serve/feedback.py",
    "serve/invocations.py",
    "serve/keyring.py",
    "serve/keys.py",
    "serve/kserve.py",
    "serve/language.py",
    "serve/limits.py",
    "serve/log_options.py",
    "serve/logs.py",
    "serve/metrics.py",
    "serve/model.py",
    "serve/openapi.py",
    "serve/page.py",
    "serve/process.py",
    "serve/protocol.py",
    "serve/question.py",
    "serve/request_ids.py",
    "serve/schemas.py",
    "serve/segments.py",
    "serve/tls.py",
    "serve/traffic.py",
    "serve/traffic_options.py",
    "serve/wire.py",
    "serve/worker.py",
)

#: Distributions that a bundle needs; `package` pins them at the versions it was made with.
RUNTIME_REQUIREMENTS = (
    "bentoml",
    "httptools",
    "numpy",
    "onnx",
    "onnxruntime",
    "orjson",
    "pydantic",
    "pyyaml",
    "tokenizers",
    "uvicorn",
    "uvloop",
)


def serve(bundle: Path, *, host: str = "127.0.0.1", port: int = 3000, keys: Path | None = None) -> NoReturn:
    """Serve a bundle: check it, then become ``bentoml serve``, so that signals reach the service itself.

    Args:
        bundle: the bundle's folder.
        host: address or name to listen on.
        port: port to listen on.
        keys: the keys file; None takes what ``FTDEPLOY_KEYS`` names, if anything.

    Raises:
        ArtifactError: the folder is not a bundle, or not as it was sealed.
        DependencyError: bentoml is not installed.
        ServeError: the port cannot be had, or the keys file cannot be read.
    """
    from importlib.util import find_spec

    from ftdeploy.artifact import open_artifact

    open_artifact(bundle, kind="bundle")
    if find_spec("bentoml") is None:
        raise DependencyError(
            "bentoml is not installed",
            cause="ftdeploy was installed without its `serve` extra",
            fix="pip install 'ftdeploy[serve]'",
        )
    from ftdeploy.serve.access import VARIABLE, open_access

    if keys is not None:
        os.environ[VARIABLE] = os.fspath(keys.absolute())
    open_access()
    address = check_port(host, port)
    command = [sys.executable, "-m", "bentoml", "serve", os.fspath(bundle.resolve())]
    os.execv(command[0], [*command, "--host", address, "--port", str(port)])  # noqa: S606  # a fixed program, no shell


def check_port(host: str, port: int) -> str:
    """Make sure that a port can be listened on, and give the host as an address, which is what BentoML takes.

    Raises:
        ServeError: it is taken, not allowed, or the host is not one of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
            return str(probe.getsockname()[0])
    except (OSError, OverflowError) as error:
        raise ServeError(
            f"cannot listen on {host}:{port}: {getattr(error, 'strerror', None) or error}",
            cause="another program listens there, or the address is not one of this machine",
            fix="choose another with --port and --host, or stop the other program",
        ) from error
