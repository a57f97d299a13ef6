"""The HTTP service of a bundle, and what a bundle has to hold of ftdeploy to run it."""

from __future__ import annotations

import logging
import os
from importlib.util import find_spec
from pathlib import Path

from ftdeploy.errors import DependencyError

log = logging.getLogger(__name__)

#: Modules of ftdeploy that a bundle carries, relative to the package; `package` copies them, a test keeps it closed.
RUNTIME = (
    "__init__.py",
    "anomaly.py",
    "artifact.py",
    "batching.py",
    "document.py",
    "encoded.py",
    "errors.py",
    "hardware.py",
    "label_sets.py",
    "neighbours.py",
    "pairs.py",
    "predictor.py",
    "privacy/__init__.py",
    "privacy/ages.py",
    "privacy/checksums.py",
    "privacy/contact.py",
    "privacy/dates.py",
    "privacy/kinds.py",
    "privacy/mask.py",
    "privacy/medical.py",
    "privacy/names.py",
    "privacy/numbers.py",
    "privacy/places.py",
    "privacy/recognise.py",
    "privacy/span.py",
    "session.py",
    "signature.py",
    "spans.py",
    "web_origins.py",
    "values.py",
    "windows.py",
    "tasks/__init__.py",
    "tasks/feature_extraction.py",
    "tasks/multi_label_classification.py",
    "tasks/pieces.py",
    "tasks/said.py",
    "tasks/text_classification.py",
    "tasks/text_regression.py",
    "tasks/token_classification.py",
    "tasks/told.py",
    "serve/__init__.py",
    "serve/__main__.py",
    "serve/about.py",
    "serve/access.py",
    "serve/admission.py",
    "serve/alert_hooks.py",
    "serve/alert_options.py",
    "serve/alerts.py",
    "serve/anomaly.py",
    "serve/answer_cache.py",
    "serve/answers.py",
    "serve/app.py",
    "serve/batcher.py",
    "serve/bulk.py",
    "serve/bulk_lines.py",
    "serve/channel.py",
    "serve/cors.py",
    "serve/cycle.py",
    "serve/deadlines.py",
    "serve/deletions.py",
    "serve/detectors.py",
    "serve/e_values.py",
    "serve/embed.py",
    "serve/encryption.py",
    "serve/engine.py",
    "serve/exposition.py",
    "serve/feedback.py",
    "serve/generation.py",
    "serve/handlers.py",
    "serve/invocations.py",
    "serve/keyring.py",
    "serve/keys.py",
    "serve/kserve.py",
    "serve/language.py",
    "serve/limits.py",
    "serve/listen.py",
    "serve/log_options.py",
    "serve/logs.py",
    "serve/metrics.py",
    "serve/model.py",
    "serve/openapi.py",
    "serve/page.py",
    "serve/passages.py",
    "serve/pdf.py",
    "serve/pdf_reader.py",
    "serve/process.py",
    "serve/protocol.py",
    "serve/question.py",
    "serve/reading.py",
    "serve/request_ids.py",
    "serve/review.py",
    "serve/schemas.py",
    "serve/segments.py",
    "serve/shadow.py",
    "serve/shadow_counts.py",
    "serve/shadow_feed.py",
    "serve/shadow_watch.py",
    "serve/supervisor.py",
    "serve/tensors.py",
    "serve/thresholds.py",
    "serve/tls.py",
    "serve/totals.py",
    "serve/traffic.py",
    "serve/traffic_options.py",
    "serve/turns.py",
    "serve/wire.py",
    "serve/worker.py",
    "serve/zygote.py",
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


#: What is imported under another name than its distribution has.
_MODULES = {"pyyaml": "yaml"}


def serve(bundle: Path, *, host: str = "127.0.0.1", port: int = 3000, keys: Path | None = None,
          tls: tuple[Path | None, Path | None] = (None, None), workers: int | None = None,
          shadow: Path | None = None, shadow_share: float | None = None) -> int:  # fmt: skip
    """Serve a bundle until told to end; gives the exit status, see `ftdeploy.serve.supervisor`.

    Args:
        bundle: the bundle's folder, or a link to it, which may lead to another one later.
        host: address or name to listen on.
        port: port to listen on.
        keys: the keys file; None takes what ``FTDEPLOY_KEYS`` names, if anything.
        tls: PEM files of the certificate with its chain and of its key; None takes what ``FTDEPLOY_TLS_CERT`` and
            ``FTDEPLOY_TLS_KEY`` name, if anything.
        workers: processes that answer; None takes what the bundle or ``FTDEPLOY_WORKERS`` says.
        shadow: bundle of a challenger, which answers live traffic unheard, or a link to it; None takes what
            ``FTDEPLOY_SHADOW`` or a registry's pointer ``shadow`` names, if anything.
        shadow_share: of the requests that it answers; None takes what ``FTDEPLOY_SHADOW_SHARE`` says, by default all.

    Raises:
        ArtifactError: the folder is not a bundle, or not as it was sealed.
        DependencyError: a library is missing.
        ServeError: the port cannot be had, keys or certificate cannot be used, or the service does not get ready.
    """
    for name in RUNTIME_REQUIREMENTS:
        # BentoML is needed where it supervises, not here.
        if name != "bentoml" and find_spec(_MODULES.get(name, name)) is None:
            raise DependencyError(
                f"{name} is not installed",
                cause="ftdeploy was installed without its `serve` extra",
                fix="pip install 'ftdeploy[serve]'; a bundle lists what it needs in env/python/requirements.txt",
            )
    from ftdeploy.serve.access import VARIABLE, open_access
    from ftdeploy.serve.log_options import read_log_options
    from ftdeploy.serve.logs import configure_logs, flush_logs
    from ftdeploy.serve.shadow_feed import SHARE, read_share
    from ftdeploy.serve.shadow_watch import SHADOW
    from ftdeploy.serve.supervisor import supervise
    from ftdeploy.serve.tls import CERTIFICATE, KEY, open_tls

    environment = dict(os.environ)
    if keys is not None:
        environment[VARIABLE] = os.fspath(keys.absolute())
    for name, path in zip((CERTIFICATE, KEY), tls, strict=True):
        if path is not None:
            environment[name] = os.fspath(path.absolute())
    if workers is not None:
        environment["FTDEPLOY_WORKERS"] = str(workers)
    if shadow is not None:
        environment[SHADOW] = os.fspath(shadow.absolute())
    if shadow_share is not None:
        environment[SHARE] = str(shadow_share)
    read_share(environment)
    configure_logs(read_log_options(), {})
    open_access(environment)
    certificate = open_tls(environment)
    if certificate is not None:
        log.log(logging.WARNING if certificate.ends_soon else logging.INFO, "%s", certificate)
    try:
        return supervise(bundle, host=host, port=port, environment=environment)
    finally:
        flush_logs()
