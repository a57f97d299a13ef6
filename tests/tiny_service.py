"""A service of a few lines that speaks KServe v2, TEI or Hugging Face's shape, and can be made to fail as one wants."""

from __future__ import annotations

import http.server
import json
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

LABELS = ("bad", "fair", "good")
#: A status, headers, and a body that is sent as JSON.
Reply = tuple[int, dict[str, str], Any]


@dataclass
class Service:
    """What it answers, changed by tests while it runs.

    Attributes:
        speaks: ``kserve``, ``tei`` or ``hf``.
        most: texts in a request; more are refused with 413.
        reply: sees a POST's path, its document and the good answer before it is sent, and gives another one or None.
        meta: laid over the metadata.
        posts: (path, document) of every POST.
        headers: of every POST.
    """

    speaks: str
    most: int = 1000
    reply: Callable[[str, Any, Reply], Reply | None] = lambda _path, _asked, _reply: None
    meta: dict[str, Any] = field(default_factory=dict)
    posts: list[tuple[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    url: str = ""

    def asked(self) -> list[int]:
        """How many texts each request held, in the order of their coming."""
        return [len(texts_of(document)) for _, document in self.posts]


def scores_of(text: str) -> list[float]:
    """What the model answers: by the text only, and clearly another for each."""
    parts = [1 + (zlib.crc32(f"{label} {text}".encode()) % 1000) for label in LABELS]
    return [part / sum(parts) for part in parts]


def vector_of(text: str) -> list[float]:
    """Likewise of a model that answers with vectors."""
    return [zlib.crc32(f"{place} {text}".encode()) % 1000 / 1000 - 0.4995 for place in range(12)]


def texts_of(document: Any) -> list[str]:
    """The texts of a request in any of the shapes."""
    inputs = document["inputs"]
    if isinstance(inputs, str):
        return [inputs]
    if isinstance(inputs[0], dict):
        return list(inputs[0]["data"])
    return [one if isinstance(one, str) else one[0] for one in inputs]


def labelled(text: str) -> list[dict[str, Any]]:
    """An answer with all labels, best first."""
    pairs = sorted(zip(scores_of(text), LABELS, strict=True), reverse=True)
    return [{"label": label, "score": score} for score, label in pairs]


def kserve_metadata() -> dict[str, Any]:
    """Of the one model, without labels and digest, as a server that is not ours gives it."""
    return {
        "name": "stars",
        "inputs": [{"name": "text", "datatype": "BYTES", "shape": [-1, 1]}],
        "outputs": [
            {"name": "best", "datatype": "BYTES", "shape": [-1, 1]},
            {"name": "probabilities", "datatype": "FP32", "shape": [-1, len(LABELS)]},
        ],
    }


def _get(service: Service, path: str) -> Reply:
    pages: dict[str, dict[str, Any]] = {
        "kserve": {
            "/v2": {"name": "triton", "version": "2"},
            "/v2/models/stars": kserve_metadata() | service.meta,
        },
        "tei": {
            "/info": {
                "model_id": "owner/stars",
                "model_type": {"classifier": {"id2label": {str(i): label for i, label in enumerate(LABELS)}}},
                "max_input_length": 512,
                "max_client_batch_size": 8,
            }
            | service.meta
        },
        "hf": {},
    }
    found = pages[service.speaks].get(path)
    return (404, {}, {"error": "not found"}) if found is None else (200, {}, found)


def _post(service: Service, path: str, document: Any) -> Reply:
    if service.speaks == "kserve" and path == "/v2/repository/index":
        return 200, {}, [{"name": "stars"}]
    if service.speaks == "tei" and path == "/embed":
        texts = texts_of(document)
        return 200, {}, [vector_of(text) for text in texts]
    if path != ("/v2/models/stars/infer" if service.speaks == "kserve" else "/predict"):
        return 404, {}, {"error": "not found"}
    texts = texts_of(document)
    if len(texts) > service.most:
        return 413, {}, {"error": f"{len(texts)} texts are too many"}
    return _ANSWERS[service.speaks](document["inputs"], texts)


def _infer(_inputs: Any, texts: Sequence[str]) -> Reply:
    data = [score for text in texts for score in scores_of(text)]
    shape = [len(texts), len(LABELS)]
    outputs = [{"name": "probabilities", "datatype": "FP32", "shape": shape, "data": data}]
    return 200, {}, {"model_name": "stars", "outputs": outputs}


def _tei(inputs: Any, texts: Sequence[str]) -> Reply:
    if isinstance(inputs[0], str):  # two texts in a flat list are a pair, and more are wrong
        return (422, {}, "invalid length") if len(texts) > 2 else (200, {}, labelled(" ".join(texts)))
    return 200, {}, [labelled(text) for text in texts]


def _hf(inputs: Any, texts: Sequence[str]) -> Reply:
    if not isinstance(inputs[0], str):
        return 400, {}, {"error": "inputs wants texts"}
    return 200, {}, [labelled(text) for text in texts]


_ANSWERS: dict[str, Callable[[Any, Sequence[str]], Reply]] = {"kserve": _infer, "tei": _tei, "hf": _hf}


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    service: Service

    def do_GET(self) -> None:
        self._send(_get(self.service, self.path))

    def do_POST(self) -> None:
        document = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        reply = _post(self.service, self.path, document)
        if "inputs" in document:
            self.service.posts.append((self.path, document))
            self.service.headers.append(dict(self.headers.items()))
            reply = self.service.reply(self.path, document, reply) or reply
        self._send(reply)

    def _send(self, reply: Reply) -> None:
        status, headers, document = reply
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


class _Server(http.server.ThreadingHTTPServer):
    def handle_error(self, *_arguments: object) -> None:
        """A client that gave up is what some tests are about."""


@contextmanager
def served(speaks: str, **settings: Any) -> Iterator[Service]:
    """A service on a free port, while the block runs."""
    service = Service(speaks, **settings)
    server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"service": service}))
    service.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield service
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def first_only(reply: Reply, times: int = 1) -> Callable[[str, Any, Reply], Reply | None]:
    """Give this reply to the first requests, and then the good ones."""
    left = [reply] * times

    def chosen(_path: str, _asked: Any, _good: Reply) -> Reply | None:
        return left.pop() if left else None

    return chosen


def hang(seconds: float) -> Callable[[str, Any, Reply], Reply | None]:
    """Answer only after some seconds."""

    def late(_path: str, _asked: Any, _good: Reply) -> Reply | None:
        time.sleep(seconds)
        return None

    return late


def changed(
    document: Callable[[Any, Sequence[str]], Any], *, least: int = 1
) -> Callable[[str, Any, Reply], Reply | None]:
    """Change the document of good answers to requests of at least so many texts."""

    def other(_path: str, asked: Any, good: Reply) -> Reply | None:
        texts = texts_of(asked)
        status, headers, found = good
        return (status, headers, document(found, texts)) if status == 200 and len(texts) >= least else None

    return other
