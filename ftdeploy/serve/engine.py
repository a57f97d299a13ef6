"""What stands between a question and the model: loading, readiness, tokenising, waiting in line, taking note."""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ftdeploy.encoded import Encoded
from ftdeploy.errors import FtdeployError
from ftdeploy.predictor import Predictor
from ftdeploy.serve.about import Records
from ftdeploy.serve.admission import too_many
from ftdeploy.serve.alert_options import read_alert_options
from ftdeploy.serve.alerts import Alerter, alert_snapshot
from ftdeploy.serve.answer_cache import AnswerCache
from ftdeploy.serve.batcher import Batcher, ForwardError, QueueFullError
from ftdeploy.serve.detectors import Drift, drift_of, drift_snapshot, open_detector
from ftdeploy.serve.encryption import read_key
from ftdeploy.serve.exposition import Snapshot, sample
from ftdeploy.serve.limits import read_limits
from ftdeploy.serve.metrics import Flow, Texts
from ftdeploy.serve.model import Counted, Scored, bundle_digest, forward_of, joined, open_model
from ftdeploy.serve.shadow_feed import Feed
from ftdeploy.serve.traffic import LANGUAGE_CHARS, Answered, Recorder, reference_rows, stored_projection
from ftdeploy.serve.traffic_options import read_options, traffic_folder
from ftdeploy.serve.turns import ask_for_short_turns
from ftdeploy.serve.wire import RETRY_SOON, Refusal
from ftdeploy.signature import read_signature
from ftdeploy.tasks import TASKS

log = logging.getLogger(__name__)

#: Requests with more characters than this are tokenised on a thread; shorter ones cost less than the hand-over.
OFF_LOOP_CHARS = 4000
#: A thread that goes on in Python is asked for the interpreter after so long, where others want it. By itself Python
#: would wait for 5 ms, in which a forward pass is over: recording and drift detection then held up loop and lanes.
SWITCH_SECONDS = 0.0003
#: Texts of a request without end wait so many times as long as others before they are given up.
PATIENCE = 10


class Engine:
    """The model of a bundle with its queue and its traffic.

    `start` loads and warms up in the background, `stop` ends it. Until the model is warm and when a forward pass hangs
    it is not ready, and every question is refused with 503. ``draining`` turns health to 503, ``ending`` ends streams,
    ``refusing`` refuses questions.

    Args:
        folder: the bundle's source folder, with ``model/`` in it; nothing is loaded yet.

    Raises:
        ArtifactError: there is no readable signature.
        ServeError: a limit is not a number, or the key of the traffic is none.
        DependencyError: there is a key, and nothing to encrypt with.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.signature = read_signature(folder / "model")
        self.summaries = TASKS[self.signature.task].summaries(self.signature.labels)
        self.limits = read_limits(self.signature.serve)
        self.digest = bundle_digest(folder)
        self.failure: str | None = None
        self.error: FtdeployError | None = None
        self.draining = False
        self.ending = False
        self.refusing = False
        self.recorder: Recorder | None = None
        self.batcher: Batcher[Encoded, Scored] | None = None
        self.feed: Feed | None = None  # of a challenger
        self.texts = Texts(self.signature)
        self.cache = AnswerCache(self.limits.cache_rows) if self.limits.cache_rows else None
        self._about = {"name": self.signature.name, "digest": self.digest, "task": self.signature.task}
        self._traffic = read_options(self.signature.traffic)
        self._place = traffic_folder(folder) if self._traffic.enabled else None
        self._key = read_key() if self._place is not None else None
        reference = folder / "model" / "drift_reference.npz"
        self._reference_rows = reference_rows(reference)
        self._detector = open_detector(reference, self.summaries) if self._place is not None else None
        self._alerts = read_alert_options(self.signature.alerts)
        self._alerter: Alerter | None = None
        self._predictor: Predictor | None = None
        self._opened: tuple[Predictor, int] | None = None
        self._part = (0, 1)
        self._tokenizing = ThreadPoolExecutor(1, thread_name_prefix="tokenizer")
        self._coming = 0  # texts at the tokenizer, on their way to the batcher
        self._loading: asyncio.Task[None] | None = None

    def named(self) -> dict[str, str]:
        """The bundle's name and short digest, for every line of the log."""
        return {"bundle": self.signature.name, "digest": self.digest[:12]}

    @property
    def drift(self) -> Drift:
        """What this process knows of a drift; it is measured on what is recorded."""
        return drift_of(self._detector)

    def records(self) -> Records:
        """What is remembered of a question: nothing, features of it, or the text, too, as it is or masked."""
        if self._place is None:
            return "nothing"
        if not self._traffic.text:
            return "features"
        return "masked texts" if self._traffic.redact else "texts"

    def open(self) -> None:
        """Open the model here and now, so that a process forked from this one has it already.

        Raises:
            ArtifactError: the folder or the model is unusable.
            DeviceError: a device was forced that is not there.
        """
        self._opened = open_model(self.folder / "model", self.limits)

    @property
    def opened(self) -> bool:
        """Whether the model is open."""
        return self._opened is not None

    def take_part(self, index: int, parts: int) -> None:
        """Use only this part of the lanes: as many processes as there are parts serve the model.

        Args:
            index: of this process, from 0.
            parts: at least 1.
        """
        self._part = (index, parts)

    async def start(self) -> None:
        """Begin to load the model; returns at once."""
        if (place := self._place) is not None:
            self.recorder = Recorder(
                place,
                digest=self.digest,
                options=self._traffic,
                projection=stored_projection(self.folder / "model" / "drift_reference.npz"),
                key=self._key,
                pairs=self.signature.pairs is not None,
                watch=self._detector.watch if self._detector else None,
            )
            if self._detector is not None:
                self._alerter = Alerter(self._detector, self._alerts, place, self._about)
        how = f"{', with the texts' * self._traffic.text}{', encrypted' * (self._key is not None)}" if place else ""
        log.info("traffic goes to %s%s", place or "nowhere: it is switched off", how)
        self._loading = asyncio.create_task(self._load())

    async def stop(self) -> None:
        """Answer what waits, seal the traffic, let go of everything."""
        if self._loading is not None and not self._loading.done():
            self._loading.cancel()
        if self.batcher is not None:
            self.batcher.close()
        if self.recorder is not None:
            await asyncio.to_thread(self.recorder.close)
        if self._alerter is not None:
            await asyncio.to_thread(self._alerter.close)
        self._tokenizing.shutdown(wait=False)

    async def loaded(self) -> None:
        """Wait until the model is warm, or has failed to load."""
        if self._loading is not None:
            await asyncio.wait([self._loading])

    async def _load(self) -> None:
        began = time.monotonic()
        name = self.signature.name
        try:
            if self._opened is None:
                self._opened = await asyncio.to_thread(open_model, self.folder / "model", self.limits)
            predictor, lanes = self._opened
        except FtdeployError as error:
            self.failure, self.error = error.what, error
            log.error("%s cannot be served: %s. %s. %s", name, error.what, error.cause, error.fix)  # noqa: TRY400  # three parts say more than a traceback
            return
        except Exception as error:
            self.failure = "the model could not be loaded; the log says why"
            log.exception("%s cannot be served: %s", name, str(error)[:300])  # noqa: TRY401  # the log leaves it out
            return
        self._predictor = predictor
        self.batcher = Batcher(
            forward_of(predictor),
            tokens=self.limits.batch_tokens,
            rows=self.limits.batch_rows,
            call=self.limits.batch_call_tokens,
            lanes=lanes_of(lanes, *self._part),
            max_queue=self.limits.max_queue,
            max_wait=self.limits.max_wait_seconds,
        )
        gc.collect()
        gc.freeze()  # what is here now stays; the collector need not walk it again under load
        sys.setswitchinterval(SWITCH_SECONDS)
        ask_for_short_turns()  # after the lanes were begun, which would have them, too
        seconds = time.monotonic() - began
        log.info("%s %s is ready on %s after %.1f s", name, self.digest[:12], predictor.provider, seconds)

    def state(self) -> str:
        """``loading``, ``ready``, ``failed``, ``stuck`` or ``draining``, for health."""
        return "draining" if self.draining else self._condition()

    def stuck(self) -> bool:
        """Whether a forward pass takes longer than a request may."""
        since = self.batcher.busy_since() if self.batcher else None
        return since is not None and time.monotonic() - since > self.limits.timeout_seconds

    def _condition(self) -> str:
        if self.batcher is None:
            return "failed" if self.failure else "loading"
        return "stuck" if self.stuck() else "ready"

    @property
    def provider(self) -> str:
        """What the model runs on; empty while it is not loaded."""
        return self._predictor.provider if self._predictor else ""

    def require_ready(self) -> None:
        """Go on only when questions can be answered.

        Raises:
            Refusal: 503, with the state.
        """
        state = "draining" if self.refusing else self._condition()
        if state != "ready":
            reason = self.failure or f"the model is {state}"
            raise Refusal(503, "unhealthy", reason, headers=(RETRY_SOON,), unread=True)

    def crowded(self) -> bool:
        """Whether one more text would be refused now; where there is a cache, that may have its answer."""
        batcher = self.batcher
        return batcher is not None and self.cache is None and not batcher.has_room(1, coming=self._coming)

    def crowding(self) -> Refusal | None:
        """Why one more text would be refused now, 429; None where it may be asked."""
        batcher = self.batcher
        if batcher is None or not self.crowded():
            return None
        before = batcher.waiting + self._coming
        return too_many(before, batcher.delay(before))

    async def ask(self, texts: list[str], identity: str, *, subject: str | None = None, whole: bool = False,
                  lines: Sequence[int] = ()) -> tuple[Sequence[Counted], Sequence[Scored]]:  # fmt: skip
        """Answer from the cache or by the model, and take note of the answers.

        Args:
            texts: at least one.
            identity: the request's id, for the traffic.
            subject: whom the texts are about, for the traffic.
            whole: refuse a text that would have to be cut.
            lines: the texts' indices in a request without end: they stand behind the texts of others, which they wait
                for ten times as long, and are not kept in the cache.

        Raises:
            Refusal: 413 a text would have to be cut; 429 too many texts wait; 503 not loaded, no answer in time, or
                the forward pass failed.
        """
        rows: Sequence[Counted]
        scored: Sequence[Scored]
        cached: Sequence[bool] = ()
        if lines:
            rows, scored = await self._ask_model(texts, behind=True)
        elif self.cache is None:
            rows, scored = await self._ask_model(texts)
        else:
            rows, scored, cached = await self.cache.through(texts, self._ask_model)
        if whole:
            self._require_whole(rows)
        self.texts.note(rows, scored)
        if self.recorder is not None:
            kept = texts if self._traffic.text else [text[:LANGUAGE_CHARS] for text in texts]
            self.recorder.record(
                _answered(rows, scored, cached, identity=identity, subject=subject, texts=kept, indices=lines)
            )
        if self.feed is not None:
            self.feed.offer(texts, scored)
        return rows, scored

    async def _ask_model(self, texts: list[str], *, behind: bool = False) -> tuple[Sequence[Counted], Sequence[Scored]]:
        """Tokenise and wait for the model.

        Raises:
            Refusal: as `ask`.
        """
        predictor, batcher = self._predictor, self.batcher
        if predictor is None or batcher is None:
            raise Refusal(503, "unhealthy", "the model is not loaded", headers=(RETRY_SOON,))
        began = time.monotonic()
        patience = self.limits.timeout_seconds * (PATIENCE if behind else 1)
        try:
            if not behind:
                batcher.require_room(len(texts), coming=self._coming)
            if not behind and sum(map(len, texts)) <= OFF_LOOP_CHARS:
                rows = predictor.encode(texts)
            else:
                rows = await self._encode_aside(predictor, texts, counted=not behind)
            left = patience - (time.monotonic() - began)
            scored = await batcher.answer(rows, timeout=left, behind=behind)
        except QueueFullError as full:
            raise too_many(batcher.waiting + self._coming, full.retry_after) from None
        except TimeoutError:
            message = f"no answer within {patience:g} seconds"
            raise Refusal(503, "timeout", message, headers=(RETRY_SOON,), shed="deadline") from None
        except ForwardError:
            raise Refusal(503, "backend", "the model failed on this batch; the log has the reason") from None
        return joined(predictor, texts, rows, scored)

    async def _encode_aside(self, predictor: Predictor, texts: list[str], *, counted: bool) -> list[Encoded]:
        """Tokenise on the thread for it; meanwhile the texts count as waiting, where they are ``counted``.

        Raises:
            TimeoutError: other requests were before this one for too long. What has not begun is dropped.
        """
        loop = asyncio.get_running_loop()
        coming = len(texts) if counted else 0
        self._coming += coming
        try:
            async with asyncio.timeout(self.limits.timeout_seconds):
                return await loop.run_in_executor(self._tokenizing, predictor.encode, texts)
        finally:
            self._coming -= coming

    def _require_whole(self, rows: Sequence[Counted]) -> None:
        for index, row in enumerate(rows):
            if row.truncated():
                message = f"text {index} has {row.length} tokens; {row.kept} are read, and cutting was ruled out"
                raise Refusal(413, "too_long", message)

    def snapshot(self) -> Snapshot:
        """What goes on inside, for the metrics."""
        batcher, recorder, limits = self.batcher, self.recorder, self.limits
        return {
            "ftdeploy_ready": int(self.state() == "ready"),
            "ftdeploy_queue_rows": batcher.waiting + self._coming if batcher else 0,
            **(batcher.flow if batcher else Flow()).snapshot(),
            "ftdeploy_lanes": batcher.lanes if batcher else 0,
            **self.texts.snapshot(self.summaries),
            **(self.cache or AnswerCache(0)).snapshot(),
            "ftdeploy_traffic_rows_total": recorder.written if recorder else 0,
            "ftdeploy_traffic_dropped_total": recorder.dropped if recorder else 0,
            "ftdeploy_feedback_rows_total": recorder.labelled if recorder else 0,
            "ftdeploy_drift_reference_rows": self._reference_rows,
            **drift_snapshot(self._detector),
            **alert_snapshot(self._alerter),
            "ftdeploy_queue_limit_rows": limits.max_queue,
            "ftdeploy_requests_limit": limits.max_requests,
            "ftdeploy_deadline_seconds": limits.timeout_seconds,
            **(self.feed.snapshot() if self.feed else {}),
            sample("ftdeploy_model_info", **self._about): 1,
        }


def lanes_of(lanes: int, index: int, parts: int) -> int:
    """One process's share of the lanes, at least one; the first processes take what does not go even."""
    return max(1, lanes // parts + (index < lanes % parts))


def _answered(rows: Sequence[Counted], scored: Sequence[Scored], cached: Sequence[bool], *, identity: str,
              subject: str | None, texts: Sequence[str], indices: Sequence[int]) -> Answered:  # fmt: skip
    return Answered(
        id=identity,
        time=time.time(),
        labels=[one.summary[0] for one in scored],
        confidences=[one.summary[1] for one in scored],
        answers=[one.label for one in scored],
        tokens=[row.length for row in rows],
        unknown=[row.unknown / max(1, row.kept) for row in rows],
        truncated=[row.truncated() for row in rows],
        embeddings=[one.embedding for one in scored],
        cached=cached,
        texts=texts,
        subject=subject,
        indices=indices,
    )
