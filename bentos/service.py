"""The glue between BentoML and the service: BentoML starts, watches and ends the process, and we answer.

``ftdeploy`` here is the copy beside this file. Nothing is loaded on import: BentoML imports this file in its
supervising process too, which never answers anything.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

# Read by BentoML and OpenTelemetry while they start; a value that is set already stays.
os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")  # no usage reports to BentoML's makers
os.environ.setdefault("OTEL_SDK_DISABLED", "true")  # no spans that nobody exports
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # its thread pool costs more than it gains on short texts
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # numpy's threads wait for each other by spinning, beside the lanes
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import bentoml
from _bentoml_sdk import Service  # what @bentoml.service makes; bentoml itself gives it no public name
from uvicorn.config import HTTP_PROTOCOLS

from ftdeploy.serve.app import create_app
from ftdeploy.serve.logs import configure_logs, flush_logs
from ftdeploy.serve.protocol import guarded

app = create_app(Path(__file__).resolve().parent)
# BentoML passes no protocol to uvicorn, which then takes this one. A class does as well as the name of one.
HTTP_PROTOCOLS["auto"] = guarded(app.engine.limits, app.metrics.connections, early=app.refuse_early)  # type: ignore[assignment]


class InFront(Service[Any]):  # type: ignore[misc]  # bentoml is not typed
    """A BentoML service whose requests reach our application before any of BentoML's own layers.

    A mounted application stands behind five of them, which cost several times what answering does, keep a metrics
    label for every path that anybody ever asked for, and answer errors that are not JSON.
    """

    def to_asgi(self, is_main: bool = True) -> Any:
        """BentoML's application keeps the start and the end of the process; requests are ours."""
        behind = super().to_asgi(is_main=is_main)

        async def front(scope: Any, receive: Any, send: Any) -> None:
            await (behind if scope["type"] == "lifespan" else app)(scope, receive, send)

        return front


@bentoml.asgi_app(app)
@bentoml.service(
    name=app.engine.signature.name,
    service_class=InFront,
    workers=1,
    metrics={"enabled": False},
    logging={"access": {"enabled": False}},
)
class Model:
    """One model, answered by ``ftdeploy.serve.app``."""

    @bentoml.on_startup  # type: ignore[untyped-decorator]  # bentoml is not typed
    async def start(self) -> None:
        """Begin to load the model."""
        configure_logs(app.log_options, app.engine.named())
        await app.start()

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]  # bentoml is not typed
    async def stop(self) -> None:
        """Seal the traffic, write the last lines of the log."""
        await app.stop()
        flush_logs()

    def __is_ready__(self) -> bool:
        """For BentoML itself."""
        return app.engine.state() == "ready"
