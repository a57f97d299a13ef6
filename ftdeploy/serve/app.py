"""The service as one ASGI application: routes, errors, draining. Others start it, keep it running, and end it."""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import orjson

from ftdeploy import __version__
from ftdeploy.anomaly import read_populations
from ftdeploy.serve import bulk, embed, kserve
from ftdeploy.serve.about import describe_bundle, report_summary
from ftdeploy.serve.access import needed, open_access
from ftdeploy.serve.admission import Admission, Place
from ftdeploy.serve.anomaly import PATH as ANOMALY
from ftdeploy.serve.anomaly import parse_anomaly
from ftdeploy.serve.answers import Answers, Parse
from ftdeploy.serve.cors import Cors, refuse_elsewhere
from ftdeploy.serve.engine import Engine
from ftdeploy.serve.exposition import OPENMETRICS, TEXT, Snapshot, render
from ftdeploy.serve.feedback import parse_feedback
from ftdeploy.serve.handlers import Handler, Handlers, always, get, not_http, timing, unknown_path, wrong_method
from ftdeploy.serve.invocations import parse_invocations
from ftdeploy.serve.log_options import AccessLog, read_log_options
from ftdeploy.serve.logs import dropped_lines, loop_failed
from ftdeploy.serve.metrics import Metrics, build_info
from ftdeploy.serve.openapi import describe, with_keys
from ftdeploy.serve.page import page_reply
from ftdeploy.serve.pdf import MEDIA_TYPE as PDF
from ftdeploy.serve.pdf import PdfReading, refuse_unnamed
from ftdeploy.serve.process import Trimmer, process_snapshot
from ftdeploy.serve.question import parse_predict
from ftdeploy.serve.request_ids import RequestIds, given_id, log_fields, subject_of
from ftdeploy.serve.review import PATH as REVIEW
from ftdeploy.serve.review import review
from ftdeploy.serve.wire import (
    RETRY_SOON,
    GoneError,
    Header,
    Receive,
    Refusal,
    Reply,
    Scope,
    Send,
    has_body,
    header,
    media_type,
    read_body,
    send_early,
    send_reply,
)
from ftdeploy.tasks import TASKS

log = logging.getLogger(__name__)

_CLOSE: Header = (b"connection", b"close")
_NOT_KEPT: Header = (b"cache-control", b"no-store")
#: From now on, browsers ask this host over TLS only (RFC 6797): half a year, and not its subdomains.
_STRICT: Header = (b"strict-transport-security", b"max-age=15552000")
_CLIENT_GONE = 499  # as nginx counts it
#: For so many seconds whoever is refused early is told the same: finding the words is a good part of the cost.
SAME_WORDS = 0.05


def create_app(folder: Path) -> App:
    """The application over a bundle's source folder (``model/`` and ``page/`` in it); nothing is loaded yet.

    Raises:
        ArtifactError: there is no readable signature, or no page.
        ServeError: a limit is not a number, an option of the log is none, or the keys file cannot be read.
    """
    return App(folder)


class App:
    """An ASGI application with a life: `start`, `drain`, `stop`."""

    def __init__(self, folder: Path) -> None:
        self.engine = Engine(folder)
        self.metrics = Metrics()
        self.closing = False  # connections are closed after their answer
        self.of_all: Callable[[Snapshot], Snapshot] = dict  # this process's metrics -> those of all that serve
        self.door = open_access()
        origins = self.engine.limits.cors_origins
        self._cors = Cors(origins) if origins else None
        self._admission = Admission(self.engine.limits.max_requests, emptied=Trimmer().soon)
        self.log_options = options = read_log_options()
        self._access = AccessLog(options) if options.share or options.slow else None
        self._build = build_info(__version__)
        self._version = self.engine.digest[: kserve.VERSION_CHARS]
        report = report_summary(folder / "model" / "report.json")
        self._said = describe_bundle(
            self.engine.signature,
            self.engine.limits,
            digest=self.engine.digest,
            report=report,
            auth=self.door.closed,
            records=self.engine.records(),
        )
        self._ids = RequestIds()
        self._bulks = bulk.Bulk(self.engine)
        self._pdfs = PdfReading()
        self._in_flight = 0
        self._idle = asyncio.Event()
        self._draining: asyncio.Task[None] | None = None
        self._caught: dict[int, Callable[..., Any]] = {}
        self._questions: set[str] = set()  # paths of what is answered by the model
        self._crowding: tuple[float, Refusal | None] = 0.0, None  # until when it is told what
        self._routes = self._make_routes()

    async def start(self) -> None:
        """Begin to load the model; returns at once. Called on the event loop, on the process's main thread."""
        self._catch_signals()
        asyncio.get_running_loop().set_exception_handler(loop_failed)
        self.door.start()
        await self.engine.start()

    async def stop(self) -> None:
        """Answer what waits, seal the traffic, let go of everything."""
        self._release_signals()
        await self.engine.stop()
        await asyncio.to_thread(self.door.close)

    def _catch_signals(self) -> None:
        """Drain before the server's own handler closes the socket."""
        if threading.current_thread() is not threading.main_thread():
            return
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            server = signal.getsignal(number)
            if not callable(server) or server is signal.default_int_handler:
                continue  # no server is running us: a test, a notebook

            def begin(signum: int, frame: Any, server: Callable[..., Any] = server) -> None:
                if self.engine.draining:
                    server(signum, frame)
                else:
                    loop.call_soon_threadsafe(self.drain, lambda: server(signum, None))

            signal.signal(number, begin)
            self._caught[number] = server

    def _release_signals(self) -> None:
        while self._caught:
            signal.signal(*self._caught.popitem())

    def drain(self, then: Callable[[], object]) -> None:
        """End well: health turns bad and connections are closed after their answer; a moment later new questions are
        refused; when the last answer is out, ``then`` is called.

        The moment (``drain_seconds``) is for questions that were on their way when the signal came.
        """
        if self.engine.draining:
            return
        self.engine.draining = self.closing = True
        self._draining = asyncio.create_task(self._drain(then))

    async def _drain(self, then: Callable[[], object]) -> None:
        limits = self.engine.limits
        log.info("draining: %d requests in flight", self._in_flight)
        await asyncio.sleep(limits.drain_seconds)
        self.engine.ending = self.engine.refusing = True
        if self._in_flight:
            self._idle.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(limits.timeout_seconds + limits.body_seconds):
                    await self._idle.wait()
        then()

    def refuse_early(self, scope: Scope) -> Reply | None:
        """The answer to a question that would be refused anyway, before even its key is looked at; None: it goes on."""
        if scope["path"] not in self._questions or scope["method"] != "POST" or not self.engine.crowded():
            return None
        began = time.perf_counter()
        until, refusal = self._crowding
        if began >= until:
            refusal = self.engine.crowding()
            self._crowding = began + SAME_WORDS if refusal else 0.0, refusal
        if refusal is None:
            return None
        reply = self._for_this_connection(embed.refused(refusal, scope["path"]), scope)
        self.metrics.shed[refusal.shed] += 1
        self._note(scope, self._routes[scope["path"]][0], reply.status, began, reply)
        return reply

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await not_http(scope, send)
            return
        began = time.perf_counter()
        route, handler = self._find(scope)
        self._in_flight += 1
        unread = False
        try:
            try:
                refuse_elsewhere(scope, self._cors)
                self.door.admit(route, scope)
                reply = await handler(scope, receive)
            except Refusal as refusal:
                reply, unread = embed.refused(refusal, scope["path"]), refusal.unread
                if refusal.shed:
                    self.metrics.shed[refusal.shed] += 1
            except GoneError:
                self._note(scope, route, _CLIENT_GONE, began)
                return
            except (asyncio.CancelledError, KeyboardInterrupt, SystemExit):
                raise
            except BaseException:  # no stack trace leaves the process; a panic of the tokenizer's core is no Exception
                log.exception("%s failed", route, extra=log_fields(scope))
                failed = Refusal(500, "internal", "an internal error; the log has it")
                reply = embed.refused(failed, scope["path"])
            reply = self._for_this_connection(reply, scope)
            if unread and has_body(scope):
                await send_early(scope, receive, send, reply)
            else:
                await send_reply(send, reply, scope=scope)
            self._note(scope, route, reply.status, began, reply)
        except GoneError:  # in the middle of an answer in pieces
            self._note(scope, route, _CLIENT_GONE, began)
        finally:
            self._in_flight -= 1
            if not self._in_flight:
                self._idle.set()

    def _note(self, scope: Scope, route: str, status: int, began: float, reply: Reply | None = None) -> None:
        """Count a request that is over, and log it where that is wanted."""
        seconds = time.perf_counter() - began
        self.metrics.observe(route, status, seconds)
        if self._access is not None:
            answered = dict(reply.headers).get(b"x-request-id") if reply else None
            identity = answered.decode() if answered else given_id(scope) or ""
            self._access.note(route, scope["method"], status, seconds, identity)

    def _for_this_connection(self, reply: Reply, scope: Scope) -> Reply:
        """An answer with what depends on how and from where it was asked."""
        if self.closing:
            reply = reply.with_headers(_CLOSE)
        if self._cors is not None:
            reply = reply.with_headers(*self._cors.headers(scope))
        if scope.get("scheme") == "https":
            reply = reply.with_headers(_STRICT)
        return reply

    def _find(self, scope: Scope) -> tuple[str, Handler]:
        """The route's name, for the metrics, and what answers it."""
        found = self._routes.get(scope["path"])
        if found is None:
            return "other", unknown_path
        name, handlers = found
        handler = handlers.get(scope["method"])
        if handler is not None:
            return name, handler
        if self._cors is not None and scope["method"] == "OPTIONS":
            allowed = self._cors.preflight(scope, handlers)
            if allowed is not None:
                return "preflight", always(allowed)
        return name, wrong_method(handlers)

    def _make_routes(self) -> dict[str, tuple[str, Handlers]]:
        """Path -> (route's name, method -> handler). Everything that never changes is rendered here, once."""
        engine = self.engine
        about = kserve.metadata(engine.signature, version=self._version, digest=engine.digest)
        server = {"name": "ftdeploy", "version": __version__, "extensions": kserve.EXTENSIONS}
        page = page_reply(engine.folder / "page", self._said)
        model = f"/v2/models/{engine.signature.name}"
        exact = f"{model}/versions/{self._version}"
        pairs = engine.signature.pairs.columns if engine.signature.pairs else None
        routes: dict[str, tuple[str, Handlers]] = {
            "/": ("/", get(always(page))),
            "/predict": ("/predict", self._asked("/predict", partial(parse_predict, pairs=pairs))),
            "/invocations": ("/invocations", self._asked("/invocations", partial(parse_invocations, pairs=pairs))),
            "/feedback": ("/feedback", {"POST": self._feedback}),
            bulk.PATH: (bulk.PATH, {"POST": self._bulk}),
            "/v2": ("/v2", get(always(Reply(orjson.dumps(server))))),
            "/about": ("/about", get(self._about)),
            "/metrics": ("/metrics", get(self._metrics)),
        }
        for path in ("/livez", "/healthz", "/v2/health/live"):
            routes[path] = (path, get(self._live))
        for path in ("/readyz", "/v2/health/ready", "/ping", "/health"):  # the last two: SageMaker, MLflow and TEI
            routes[path] = (path, get(self._ready))
        for path in (model, exact):
            routes[path] = ("/v2/models/{name}", get(always(Reply(orjson.dumps(about)))))
            routes[f"{path}/ready"] = ("/v2/models/{name}/ready", get(self._ready))
            infer = f"{path}/infer"
            parse_infer = partial(kserve.parse_infer, pairs=pairs)
            routes[infer] = ("/v2/models/{name}/infer", self._asked(infer, parse_infer))
        if TASKS[engine.signature.task].vectors:
            parse_openai = partial(embed.parse_openai, engine.signature)
            routes["/embed"] = ("/embed", self._asked("/embed", embed.parse_embed))
            routes["/v1/embeddings"] = ("/v1/embeddings", self._asked("/v1/embeddings", parse_openai))
        if engine.signature.anomaly is not None:
            known = read_populations(engine.folder / "model")
            parse_unusual = partial(parse_anomaly, known, engine.signature.anomaly)
            routes[ANOMALY] = (ANOMALY, self._asked(ANOMALY, parse_unusual))
        if engine.signature.review is not None:
            routes[REVIEW] = (REVIEW, {"POST": self._review})
        described = describe(engine.signature, engine.limits, digest=engine.digest, version=__version__)
        if self.door.closed:
            described = with_keys(described, {path: needed(name) for path, (name, _) in routes.items()})
        routes["/docs.json"] = ("/docs.json", get(always(Reply(orjson.dumps(described)))))
        return routes

    def _asked(self, path: str, parse: Parse) -> Handlers:
        """The handler of a protocol: one way for all of them, from the body to the answer."""
        self._questions.add(path)

        async def answer(scope: Scope, receive: Receive) -> Reply:
            engine = self.engine
            with self._admission.request() as place:
                body = await self._body(scope, receive, place)
                if (crowding := engine.crowding()) is not None:  # what reading it would cost can be saved
                    raise crowding
                asked = parse(body, scope, engine.limits)
                del body  # the texts are enough while they wait
                began = time.perf_counter()
                identity, subject = self._ids.of(scope), subject_of(scope)
                rows, scored = await engine.ask(asked.texts, identity, subject=subject, whole=asked.whole)
                answers = Answers(rows, scored, identity, engine.digest, engine.signature)
                return asked.render(answers).with_headers(*answers.headers(), timing(began))

        return {"POST": answer}

    async def _feedback(self, scope: Scope, receive: Receive) -> Reply:
        engine = self.engine
        task = TASKS[engine.signature.task]
        if task.vectors:
            raise Refusal(409, "unlabelled", "this model answers with vectors: there is no label to tell", unread=True)
        if engine.recorder is None:
            raise Refusal(409, "unrecorded", "this service records no traffic, so no labels either", unread=True)
        with self._admission.request() as place:
            body = await self._body(scope, receive, place)
            found = parse_feedback(body, task, engine.signature.labels, subject=subject_of(scope))
        if not engine.recorder.record_feedback(found):
            message = "labels cannot be written now: too many wait for the disk, or it takes none"
            raise Refusal(503, "overloaded", message, headers=(RETRY_SOON,))
        return Reply(orjson.dumps({"accepted": len(found)}), status=202)

    async def _bulk(self, scope: Scope, receive: Receive) -> Reply:
        return await self._bulks.handle(scope, receive, self._ids.of(scope))

    async def _review(self, scope: Scope, receive: Receive) -> Reply:
        with self._admission.request() as place:
            body = await self._body(scope, receive, place)
            began = time.perf_counter()
            limit = self.engine.limits.timeout_seconds
            kind = media_type(scope)[0]
            refuse_unnamed(body, kind)
            asked = await self._pdfs.read(body, limit) if kind == PDF else body
            found = await review(self.engine, asked, self._ids.of(scope), subject_of(scope))
            return found.with_headers(timing(began))

    async def _live(self, scope: Scope, receive: Receive) -> Reply:  # noqa: ARG002  # handlers share one signature
        state = self.engine.state()
        return Reply(orjson.dumps({"live": True, "ready": state == "ready", "state": state}))

    async def _ready(self, scope: Scope, receive: Receive) -> Reply:  # noqa: ARG002  # handlers share one signature
        engine = self.engine
        state = engine.state()
        ready = state == "ready"
        found: dict[str, Any] = {"name": engine.signature.name, "live": True, "ready": ready, "state": state}
        if not ready:
            found |= {"error": engine.failure or f"the model is {state}", "error_type": "unhealthy"}
        return Reply(orjson.dumps(found), status=200 if ready else 503)

    @property
    def in_flight(self) -> int:
        """Requests being answered."""
        return self._in_flight

    def snapshot(self) -> Snapshot:
        """Every metric of this process; `exposition` says how those of several become one."""
        return {
            **self.metrics.snapshot(),
            "ftdeploy_requests_in_flight": self._in_flight,
            **self.engine.snapshot(),
            "ftdeploy_log_dropped_total": dropped_lines(),
            **self._build,
            **process_snapshot(),
        }

    async def _about(self, scope: Scope, receive: Receive) -> Reply:  # noqa: ARG002  # handlers share one signature
        moment = {"state": self.engine.state(), "drift": self.engine.drift}
        return Reply(orjson.dumps(self._said | moment), headers=(_NOT_KEPT,))

    async def _metrics(self, scope: Scope, receive: Receive) -> Reply:  # noqa: ARG002  # handlers share one signature
        openmetrics = b"application/openmetrics-text" in (header(scope, b"accept") or b"")
        body = render(self.of_all(self.snapshot()), openmetrics=openmetrics)
        return Reply(body, content_type=OPENMETRICS if openmetrics else TEXT)

    async def _body(self, scope: Scope, receive: Receive, place: Place) -> bytes | bytearray:
        self.engine.require_ready()
        limits = self.engine.limits
        most, seconds = limits.max_body_bytes, limits.body_seconds
        body = await read_body(scope, receive, most=most, seconds=seconds, grown=place.grown)
        place.complete()
        return body
