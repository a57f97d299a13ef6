"""The page, served with answers that a test decides: of other tasks, refusals, and none at all."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tiny import ROOT

from ftdeploy.serve.about import describe_bundle
from ftdeploy.serve.limits import Limits
from ftdeploy.serve.page import page_reply
from ftdeploy.signature import Signature

#: Status, headers, and a body that is sent as JSON, or as it is when it is bytes.
Answer = tuple[int, Mapping[str, str], Any]
DIGEST = "4c1f" * 16


def graded(text: str) -> list[dict[str, Any]]:
    """Two labels, by the length of the text."""
    score = 0.5 + (len(text) % 50) / 100
    return [{"label": "positive", "score": score}, {"label": "negative", "score": 1 - score}]


@dataclass
class Scripted:
    """What it answers, changed by tests while it runs.

    Attributes:
        about: what `/about` says and the page is filled with.
        answer: a text's answer.
        refusals: what the next questions get instead of answers.
        free: questions are answered while it is set.
        posts: headers (lower case) and document of every question.
    """

    about: dict[str, Any]
    answer: Callable[[str], Any]
    refusals: list[Answer] = field(default_factory=list)
    free: threading.Event = field(default_factory=threading.Event)
    posts: list[tuple[dict[str, str], Any]] = field(default_factory=list)
    url: str = ""

    def reply(self, texts: Sequence[str]) -> Answer:
        """The next answer."""
        self.free.wait()
        if self.refusals:
            return self.refusals.pop(0)
        number = len(self.posts)
        found = {
            "predictions": [self.answer(text) for text in texts],
            "truncated": ["long" in text for text in texts],
            "tokens": [len(text.split()) + 2 for text in texts],
            "model_digest": self.about["digest"],
            "request_id": f"id-{number}",
        }
        return 200, {"server-timing": "answer;dur=1.50"}, found


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    scripted: Scripted

    def do_GET(self) -> None:
        if self.path == "/about":
            self._send(200, {"content-type": "application/json"}, self.scripted.about)
        elif self.path == "/":
            static = {key: value for key, value in self.scripted.about.items() if key not in ("state", "drift")}
            page = page_reply(ROOT / "bentos" / "page", static)
            headers = {name.decode(): value.decode() for name, value in page.headers}
            self._send(200, {"content-type": "text/html; charset=utf-8", **headers}, page.body)
        else:
            self._send(404, {}, {"error": "not here", "error_type": "not_found"})

    def do_POST(self) -> None:
        document = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.scripted.posts.append(({name.lower(): value for name, value in self.headers.items()}, document))
        self._send(*self.scripted.reply(document["inputs"]))

    def _send(self, status: int, headers: Mapping[str, str], body: Any) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {**headers, "content-length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


class _Server(http.server.ThreadingHTTPServer):
    def handle_error(self, *_arguments: object) -> None:
        """A browser that gave up is what some tests are about."""


@contextmanager
def scripted(*, answer: Callable[[str], Any] = graded, limits: Limits | None = None,
             **changes: Any) -> Iterator[Scripted]:  # fmt: skip
    """A service on a free port, while the block runs.

    Args:
        answer: a text's answer.
        limits: that it says it has; it holds nobody to them.
        changes: of what it says of itself, as ``view``, ``labels``, ``auth``, ``state``.
    """
    signature = Signature(name="tiny", task="text-classification", labels=("negative", "positive"), max_length=32)
    about = describe_bundle(signature, limits or Limits(), digest=DIGEST, report=None)
    moment = {"state": "ready", "drift": {"state": "not measured", "detectors": {}}}
    service = Scripted(about=json.loads(json.dumps(about | moment | changes)), answer=answer)
    service.free.set()
    server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"scripted": service}))
    service.url = f"http://127.0.0.1:{server.server_address[1]}/"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield service
    finally:
        service.free.set()
        server.shutdown()
        server.server_close()
        thread.join()
