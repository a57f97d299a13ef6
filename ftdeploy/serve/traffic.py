"""What the service remembers of its traffic: one row per answered text, without the text unless that was asked for.

Everything on disk happens in one background thread behind a bounded queue, so that a slow or full disk costs rows (they
are counted) and never an answer; true labels that were accepted wait for it, and further ones are refused meanwhile.
`ftdeploy.serve.segments` says how the files are named, sealed and encrypted, `ftdeploy.serve.deletions` how rows are
removed from them. A row of a ``segment`` holds:

``id`` request id, ``row`` index of the text in its request, ``subject`` the id of whom it is about, or null, ``time``
unix seconds, ``digest`` of the bundle, ``label``, ``confidence``, ``answer``, where ``label`` is but the summary of it:
all of it, as the data writes labels (`ftdeploy.tasks.Task`; of entities places and kinds, and no word), ``tokens``
before cutting, ``unknown`` share of unknown tokens, ``language`` a guess (`ftdeploy.serve.language`), ``truncated``,
``cached`` when the model was not asked again, ``text`` where it is kept (with ``text_pair``, of a model that reads
two), and ``embedding``: base64 of little-endian float16, a random projection of the early-layer embedding.

A row of ``feedback`` holds ``id``, ``row``, ``label``, the true one as the data writes it, ``subject``, ``time`` and
``digest``.
"""

from __future__ import annotations

import base64
import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from ftdeploy.pairs import as_columns
from ftdeploy.serve import deletions
from ftdeploy.serve.encryption import TrafficKey
from ftdeploy.serve.language import guess_language
from ftdeploy.serve.segments import Kind, OpenFile, keep_within, read_records, spoilt
from ftdeploy.serve.traffic_options import TrafficOptions

if TYPE_CHECKING:
    from numpy.typing import NDArray

log = logging.getLogger(__name__)

#: Width of the stored projection. 32 random directions keep distances between means well (Johnson-Lindenstrauss).
PROJECTION = 32
#: Texts that may wait for the background thread.
QUEUE_ROWS = 20_000
#: How often the background thread looks, in seconds: the most that a kill -9 loses.
TICK = 0.2
#: Seconds without a failure after which a failure is over. A disk that is nearly full takes a row now and then.
SETTLED = 5.0
#: Characters of waiting texts, where texts are kept, and answers; and likewise of true labels.
QUEUE_CHARS = 20_000_000
#: A file that is so large is sealed, however few its rows.
SEGMENT_BYTES = 64_000_000
#: Seconds between two looks for files that are too old.
RETENTION = 60.0
#: The beginning of a text that its language is guessed from.
LANGUAGE_CHARS = 400


@dataclass(frozen=True, slots=True)
class Answered:
    """One request that was answered; the sequences are aligned, one entry for a text.

    Attributes:
        texts: the beginnings of the texts; the whole of them where they are kept.
        answers: as the data writes labels, where ``labels`` are but summaries of them; else None.
        subject: whom the texts are about, as the client calls them.
        indices: of the texts in their request, where they are not all of it.
    """

    id: str
    time: float
    labels: Sequence[str]
    confidences: Sequence[float]
    tokens: Sequence[int]
    unknown: Sequence[float]
    truncated: Sequence[bool]
    embeddings: Sequence[NDArray[np.float32]]
    cached: Sequence[bool] = ()
    texts: Sequence[str] = ()
    subject: str | None = None
    indices: Sequence[int] = ()
    answers: Sequence[str | None] = ()


@dataclass(frozen=True, slots=True)
class Feedback:
    """The true label of an answered text.

    Attributes:
        id: of the request.
        row: index of the text in the request.
        label: the true one, as the data writes it.
        time: Unix seconds.
        subject: whom the text is about, as the client calls them.
    """

    id: str
    row: int
    label: str
    time: float
    subject: str | None = None


def random_projection(digest: str, width: int, *, size: int = PROJECTION) -> NDArray[np.float32]:
    """A fixed Gaussian projection of a bundle: float32, shape (width, size), scaled to keep lengths on average."""
    generator = np.random.default_rng(int(digest[:16], 16))
    return generator.standard_normal((width, size), dtype=np.float32) / np.float32(np.sqrt(size))


def stored_projection(reference: Path) -> NDArray[np.float32] | None:
    """The projection that the drift reference was computed with (key ``projection``), where there is one."""
    try:
        with np.load(reference, allow_pickle=False) as stored:
            return np.asarray(stored["projection"], dtype=np.float32) if "projection" in stored else None
    except (OSError, ValueError):
        return None


def reference_rows(reference: Path) -> int:
    """The rows that the drift reference was computed from; 0 where there is none."""
    try:
        with np.load(reference, allow_pickle=False) as stored:
            return int(stored["rows"].item()) if "rows" in stored else 0
    except (OSError, ValueError, TypeError):
        return 0


def read_segment(path: Path, *, key: TrafficKey | None = None,
                 deleted: Sequence[deletions.Deletion] | None = None) -> Iterator[dict[str, Any]]:  # fmt: skip
    """The rows of a file that are not noted to go, ``embedding`` decoded to float16 of shape (size,).

    Args:
        path: open or sealed; half a last line ends it.
        key: None takes the environment's where the file is encrypted.
        deleted: what is noted to go; None reads it beside the file.

    Raises:
        TrafficError: the key is missing or another one, or the file was changed: a line is no row.
    """
    gone = deletions.read_deletions(path.parent) if deleted is None else deleted
    for number, (_, row) in enumerate(read_records(path, key), 1):
        if any(one.covers(row) for one in gone):
            continue
        if "embedding" in row:
            try:
                row["embedding"] = np.frombuffer(base64.b64decode(row["embedding"]), dtype="<f2")
            except (ValueError, TypeError):
                raise spoilt(path, f"line {number:,} has no embedding that can be read") from None
        yield row


def _mask() -> Callable[[str], str]:
    """What masks identifiers; its recognisers take 40 ms to import, which only a service that wants them waits for.

    Raises:
        DependencyError: a library of theirs is missing.
    """
    from ftdeploy.privacy.mask import masked, require_phonenumbers

    require_phonenumbers("monitor.traffic.redact")
    return masked


class Recorder:
    """Writes traffic into a folder; owned by one process, beside others in the same folder.

    Args:
        folder: where files go; made when missing. When it cannot be written, rows are dropped and counted, and true
            labels are refused.
        digest: of the bundle.
        options: what to record.
        projection: float32, shape (width, size); None takes `random_projection`.
        key: encrypts the files.
        watch: is shown requests and the projected embeddings of their texts, in the background, written or not.
        pairs: whether a text is two (`ftdeploy.pairs`).

    Raises:
        DependencyError: identifiers are to be masked, and a library for that is missing.
    """

    def __init__(self, folder: Path, *, digest: str, options: TrafficOptions,
                 projection: NDArray[np.float32] | None = None, key: TrafficKey | None = None, pairs: bool = False,
                 watch: Callable[[Sequence[Answered], NDArray[np.float32]], None] | None = None) -> None:  # fmt: skip
        self._mask = _mask() if options.text and options.redact else None
        self.folder = folder
        self.written = 0
        self.labelled = 0
        # Each of these is written by one thread alone, so that no lock stands in the way of an answer.
        self._put = self._refused = self._chars_put = self._label_chars_put = 0  # by the event loop
        self._taken = self._lost = self._chars_taken = self._label_chars_taken = 0  # by the background thread
        self._digest = digest
        self._options = options
        self._projection = projection
        self._key = key
        self._pairs = pairs
        self._watch = watch
        self._queue: deque[Answered] = deque()
        self._feedback: deque[Feedback] = deque()
        self._unwritten: list[Feedback] = []  # labels in the background thread's hand
        self._stuck = False  # the disk did not take them
        self._chance = random.Random()  # noqa: S311  # which requests are sampled is no secret
        self._open: dict[Kind, OpenFile] = {}
        self._noted = 0
        self._looked = -RETENTION
        self._failing: tuple[float, int] | None = None  # time of the last failure, rows lost before the first
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="traffic", daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """Texts and labels that could not be recorded."""
        return self._refused + self._lost

    def record(self, answered: Answered) -> None:
        """Take note of an answered request. Never waits, never raises."""
        if self._options.sample < 1 and self._chance.random() >= self._options.sample:
            return
        rows = len(answered.labels)
        chars = self._chars(answered)
        if self._put - self._taken + rows > QUEUE_ROWS or self._chars_put - self._chars_taken + chars > QUEUE_CHARS:
            self._refused += rows
            return
        self._put += rows
        self._chars_put += chars
        self._queue.append(answered)

    def record_feedback(self, found: Sequence[Feedback]) -> bool:
        """Take note of true labels, all or none; False when too many wait or recording fails. Never waits or raises."""
        chars = sum(len(one.label) for one in found)
        waiting = self._label_chars_put - self._label_chars_taken
        full = len(self._feedback) + len(found) > QUEUE_ROWS or waiting + chars > QUEUE_CHARS
        if full or self._fails():
            self._refused += len(found)
            return False
        self._label_chars_put += chars
        self._feedback.extend(found)
        return True

    def _fails(self) -> bool:
        """Whether labels could not be written now: some are tried again and again, or something failed a moment ago."""
        failing = self._failing
        return self._stuck or (failing is not None and time.monotonic() - failing[0] < SETTLED)

    def close(self, timeout: float = 5.0) -> None:
        """Write what is queued, seal the files, end the thread. Waits at most ``timeout`` seconds."""
        self._stop.set()
        self._thread.join(timeout)

    def _chars(self, answered: Answered) -> int:
        """Characters that wait with a request and may be many."""
        texts = sum(map(len, answered.texts)) if self._options.text else 0
        return texts + sum(len(answer) for answer in answered.answers if answer is not None)

    def _work(self) -> None:
        self._noted = deletions.stamp(self.folder)
        self._guarded(self._seal_leftovers)
        while not self._stop.wait(TICK):
            self._tick()
        self._tick()
        self._lost += len(self._unwritten) + len(self._feedback)
        self._seal_all()

    def _tick(self) -> None:
        self._write_feedback()
        while self._queue:
            found: list[Answered] = []
            rows = 0
            room = self._options.segment_rows - (self._open["segment"].rows if "segment" in self._open else 0)
            while self._queue and rows < room:
                found.append(self._queue.popleft())
                rows += len(found[-1].labels)
            self._taken += rows
            self._chars_taken += sum(map(self._chars, found))
            if self._guarded(partial(self._write_answers, found, rows), rows=rows):
                self._lost += rows
            self._seal_when_due()
        self._seal_when_due()
        noted = deletions.stamp(self.folder)
        if noted != self._noted:  # what has to go does not wait for the end of an hour
            self._noted = noted
            self._seal_all()
        now = time.monotonic()
        if now - self._looked >= RETENTION:
            self._looked = now
            self._guarded(partial(keep_within, self.folder, self._options.max_bytes, self._options.max_days))

    def _write_feedback(self) -> None:
        """What the disk does not take stays in hand and is tried again, as whoever sent it was told that it will be
        written; each try says whether the disk is back.
        """
        while self._unwritten or self._feedback:
            if not self._unwritten:
                rows = min(len(self._feedback), self._options.segment_rows)
                self._unwritten = [self._feedback.popleft() for _ in range(rows)]
                self._label_chars_taken += sum(len(one.label) for one in self._unwritten)
            found = self._unwritten
            failed = self._guarded(partial(self._write_labels, found), rows=len(found))
            self._stuck = isinstance(failed, OSError)
            if self._stuck:
                break
            self._unwritten = []
            if failed:  # it is these labels, and would be the next time
                self._lost += len(found)
            self._seal_when_due()

    def _seal_when_due(self) -> None:
        for kind, one in list(self._open.items()):
            age = time.monotonic() - one.since
            full = one.rows >= self._options.segment_rows or one.size >= SEGMENT_BYTES
            if full or age >= self._options.segment_seconds:
                self._guarded(partial(self._seal, kind))

    def _seal_all(self) -> None:
        for kind in list(self._open):
            self._guarded(partial(self._seal, kind))

    def _guarded(self, action: Callable[[], object], *, rows: int = 0) -> Exception | None:
        """Do something on disk; gives its failure, which is logged once until it is over: rows are written again."""
        now = time.monotonic()
        try:
            action()
        except Exception as error:  # noqa: BLE001  # recording must not end because of one bad row or one bad disk
            if self._failing is None:
                log.error("traffic is not recorded in %s: %s; rows are dropped and counted", self.folder, error)  # noqa: TRY400  # no traceback: the sentence says it
            self._failing = (now, self._failing[1] if self._failing else self._lost)
            self._abandon()
            return error
        if rows and self._failing is not None and now - self._failing[0] >= SETTLED:
            log.warning("traffic is recorded again in %s; %d rows were not", self.folder, self._lost - self._failing[1])
            self._failing = None
        return None

    def _write_answers(self, found: Sequence[Answered], rows: int) -> None:
        self._write("segment", b"".join(self._lines(found)), rows)
        self.written += rows

    def _write_labels(self, found: Sequence[Feedback]) -> None:
        lines = (
            orjson.dumps(asdict(one) | {"digest": self._digest}, option=orjson.OPT_APPEND_NEWLINE) for one in found
        )
        self._write("feedback", b"".join(lines), len(found))
        self.labelled += len(found)

    def _write(self, kind: Kind, lines: bytes, rows: int) -> None:
        if kind not in self._open:
            self._open[kind] = OpenFile(self.folder, kind, self._key)
        self._open[kind].write(lines, rows, fsync=self._options.fsync == "always")

    def _lines(self, found: Sequence[Answered]) -> Iterator[bytes]:
        stacked = np.stack([row for answered in found for row in answered.embeddings])
        if self._projection is None:
            self._projection = random_projection(self._digest, stacked.shape[1])
        projected = stacked @ self._projection
        if self._watch is not None:
            try:
                self._watch(found, projected)
            except Exception:
                log.exception("drift is not looked for any more")
                self._watch = None
        small = projected.astype("<f2")
        position = 0
        for answered in found:
            for row in range(len(answered.labels)):
                text = answered.texts[row] if answered.texts else ""
                kept = self._kept(text) if self._options.text else {}
                answer = answered.answers[row] if answered.answers else None
                line = {
                    "id": answered.id,
                    "row": answered.indices[row] if answered.indices else row,
                    "subject": answered.subject,
                    "time": round(answered.time, 3),
                    "digest": self._digest,
                    "label": answered.labels[row],
                    "confidence": round(answered.confidences[row], 6),
                    **({} if answer is None else {"answer": answer}),
                    "tokens": answered.tokens[row],
                    "unknown": round(answered.unknown[row], 4),
                    "language": guess_language(text[:LANGUAGE_CHARS]),
                    "truncated": answered.truncated[row],
                    "cached": bool(answered.cached) and answered.cached[row],
                    **kept,
                    "embedding": base64.b64encode(small[position].tobytes()).decode(),
                }
                yield orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)
                position += 1

    def _kept(self, text: str) -> dict[str, str]:
        """The columns of a text that is kept."""
        if self._mask is not None:
            text = self._mask(text)
        return as_columns(text) if self._pairs else {"text": text}

    def _seal(self, kind: Kind) -> None:
        one = self._open.pop(kind)
        wait = self._options.fsync != "never"
        try:
            if wait:
                one.sync()
            deletions.seal(one.path, rows=one.rows, key=self._key, fsync=wait)
        finally:
            one.close()
        self._seal_leftovers()
        keep_within(self.folder, self._options.max_bytes, self._options.max_days)

    def _seal_leftovers(self) -> None:
        deletions.seal_leftovers(self.folder, key=self._key, fsync=self._options.fsync != "never")

    def _abandon(self) -> None:
        """Seal what is whole of files that cannot be written any further."""
        for one in [self._open.pop(kind) for kind in list(self._open)]:
            try:
                deletions.seal(one.path, rows=one.rows, key=self._key, fsync=False)
            except OSError:
                log.debug("%s stays open", one.path)
            finally:
                one.close()
