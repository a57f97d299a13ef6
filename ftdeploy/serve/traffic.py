"""What the service remembers of its traffic: one line per answered text, never the text.

Lines go to ``segment-<utc>-<pid>-<n>.jsonl.open``; a full, old or final segment is sealed by renaming it to
``.jsonl``. Everything on disk happens in one background thread behind a bounded queue, so that a slow or full disk
costs rows (they are counted) and never an answer. A row holds:

``id`` request id, ``row`` index of the text in its request, ``time`` unix seconds, ``digest`` of the bundle, ``label``,
``confidence``, ``tokens`` before cutting, ``unknown`` share of unknown tokens, ``truncated``, ``cached`` when the
model was not asked again, and ``embedding``: base64 of little-endian float16, a random projection of the early-layer
embedding.
"""

from __future__ import annotations

import base64
import fcntl
import logging
import os
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import orjson

from ftdeploy.errors import ServeError, did_you_mean

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


@dataclass(frozen=True, kw_only=True)
class TrafficOptions:
    """What is recorded (the recipe's ``monitor.traffic``).

    Attributes:
        enabled: record at all.
        sample: share of the requests that is recorded.
        segment_rows: a segment is sealed after so many rows...
        segment_seconds: ...or when it is so old.
        max_bytes: the oldest sealed segments go when all together are larger.
    """

    enabled: bool = True
    sample: float = 1.0
    segment_rows: int = 10_000
    segment_seconds: float = 3600.0
    max_bytes: int = 200_000_000


@dataclass(frozen=True, slots=True)
class Answered:
    """One request that was answered; the sequences are aligned, one entry for a text."""

    id: str
    time: float
    labels: Sequence[str]
    confidences: Sequence[float]
    tokens: Sequence[int]
    unknown: Sequence[float]
    truncated: Sequence[bool]
    embeddings: Sequence[NDArray[np.float32]]
    cached: Sequence[bool] = ()


def read_options(stated: Mapping[str, float | bool]) -> TrafficOptions:
    """Options from ``signature.traffic``.

    Raises:
        ServeError: a name that is not an option.
    """
    known: dict[str, type[bool | int | float]] = {name: type(value) for name, value in asdict(TrafficOptions()).items()}
    unknown = sorted(set(stated) - set(known))
    if unknown:
        raise ServeError(
            f"signature.json states a traffic option {unknown[0]!r} that this service does not know",
            cause="the bundle was made by another version of ftdeploy, or edited by hand",
            fix=did_you_mean(unknown[0], known) or "make the bundle again",
        )
    return TrafficOptions(**{name: known[name](value) for name, value in stated.items()})  # type: ignore[arg-type]  # each of its option's kind


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


def read_segment(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a segment, ``embedding`` decoded to float16 of shape (size,). A half last line ends it."""
    with path.open("rb") as handle:
        for line in handle:
            if not line.endswith(b"\n"):
                return
            row = orjson.loads(line)
            row["embedding"] = np.frombuffer(base64.b64decode(row["embedding"]), dtype="<f2")
            yield row


class Recorder:
    """Writes traffic segments into a folder; owned by one process, beside others in the same folder.

    Args:
        folder: where segments go; made when missing. When it cannot be written, rows are dropped and counted.
        digest: of the bundle.
        options: what to record.
        projection: float32, shape (width, size); None takes `random_projection`.
    """

    def __init__(self, folder: Path, *, digest: str, options: TrafficOptions,
                 projection: NDArray[np.float32] | None = None) -> None:  # fmt: skip
        self.folder = folder
        self.written = 0
        # Each of these is written by one thread alone, so that no lock stands in the way of an answer.
        self._put = self._refused = 0  # by the event loop
        self._taken = self._lost = 0  # by the background thread
        self._digest = digest
        self._options = options
        self._projection = projection
        self._queue: deque[Answered] = deque()
        self._chance = random.Random()  # noqa: S311  # which requests are sampled is no secret
        self._open: IO[bytes] | None = None
        self._open_rows = 0
        self._open_since = 0.0
        self._segments = 0
        self._failing: tuple[float, int] | None = None  # time of the last failure, rows lost before the first
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="traffic", daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """Texts that could not be recorded."""
        return self._refused + self._lost

    def record(self, answered: Answered) -> None:
        """Take note of an answered request. Never waits, never raises."""
        if self._options.sample < 1 and self._chance.random() >= self._options.sample:
            return
        rows = len(answered.labels)
        if self._put - self._taken + rows > QUEUE_ROWS:
            self._refused += rows
            return
        self._put += rows
        self._queue.append(answered)

    def close(self, timeout: float = 5.0) -> None:
        """Write what is queued, seal the segment, end the thread. Waits at most ``timeout`` seconds."""
        self._stop.set()
        self._thread.join(timeout)

    def _work(self) -> None:
        self._guarded(partial(seal_leftovers, self.folder), rows=0)
        while not self._stop.wait(TICK):
            self._tick()
        self._tick()
        self._guarded(self._seal, rows=0)

    def _tick(self) -> None:
        while self._queue:
            found: list[Answered] = []
            rows = 0
            room = self._options.segment_rows - (self._open_rows if self._open else 0)
            while self._queue and rows < room:
                found.append(self._queue.popleft())
                rows += len(found[-1].labels)
            self._taken += rows
            self._guarded(partial(self._write, found), rows=rows)
            self._seal_when_due()
        self._seal_when_due()

    def _seal_when_due(self) -> None:
        age = time.monotonic() - self._open_since
        if self._open is not None and (
            self._open_rows >= self._options.segment_rows or age >= self._options.segment_seconds
        ):
            self._guarded(self._seal, rows=0)

    def _guarded(self, action: Callable[[], object], *, rows: int) -> None:
        """Do something on disk; a failure drops the rows in hand, is counted, and is logged once until it is over."""
        now = time.monotonic()
        try:
            action()
        except Exception as error:  # noqa: BLE001  # recording must not end because of one bad row or one bad disk
            if self._failing is None:
                log.error("traffic is not recorded in %s: %s; rows are dropped and counted", self.folder, error)  # noqa: TRY400  # no traceback: the sentence says it
            self._failing = (now, self._failing[1] if self._failing else self._lost)
            self._lost += rows
            self._abandon()
        else:
            if rows and self._failing is not None and now - self._failing[0] >= SETTLED:
                log.warning(
                    "traffic is recorded again in %s; %d rows were not", self.folder, self._lost - self._failing[1]
                )
                self._failing = None

    def _write(self, found: Sequence[Answered]) -> None:
        lines = b"".join(self._lines(found))
        if self._open is None:
            self._open = self._new_segment()
        start = self._open.tell()
        left = memoryview(lines)
        try:
            while left:
                left = left[self._open.write(left) :]
        except OSError:
            self._open.truncate(start)  # a half-written line would spoil the segment
            raise
        rows = sum(len(answered.labels) for answered in found)
        self._open_rows += rows
        self.written += rows

    def _lines(self, found: Sequence[Answered]) -> Iterator[bytes]:
        stacked = np.stack([row for answered in found for row in answered.embeddings])
        if self._projection is None:
            self._projection = random_projection(self._digest, stacked.shape[1])
        small = (stacked @ self._projection).astype("<f2")
        position = 0
        for answered in found:
            for row in range(len(answered.labels)):
                line = {
                    "id": answered.id,
                    "row": row,
                    "time": round(answered.time, 3),
                    "digest": self._digest,
                    "label": answered.labels[row],
                    "confidence": round(answered.confidences[row], 6),
                    "tokens": answered.tokens[row],
                    "unknown": round(answered.unknown[row], 4),
                    "truncated": answered.truncated[row],
                    "cached": bool(answered.cached) and answered.cached[row],
                    "embedding": base64.b64encode(small[position].tobytes()).decode(),
                }
                yield orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)
                position += 1

    def _new_segment(self) -> IO[bytes]:
        self.folder.mkdir(parents=True, exist_ok=True)
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        self._segments += 1
        path = self.folder / f"segment-{stamp}-{os.getpid()}-{self._segments}.jsonl.open"
        handle = path.open("xb", buffering=0)
        fcntl.flock(handle, fcntl.LOCK_EX)  # says to `seal_leftovers` of other processes that this one is alive
        self._open_rows = 0
        self._open_since = time.monotonic()
        return handle

    def _seal(self) -> None:
        if self._open is None:
            return
        handle, self._open = self._open, None
        with handle:
            os.fsync(handle.fileno())
            _rename(Path(handle.name), rows=self._open_rows)
        keep_within(self.folder, self._options.max_bytes)

    def _abandon(self) -> None:
        """Seal what is whole of a segment that cannot be written any further."""
        if self._open is None:
            return
        handle, self._open = self._open, None
        try:
            with handle:
                _rename(Path(handle.name), rows=self._open_rows)
        except OSError:
            log.debug("%s stays open", handle.name)


def seal_leftovers(folder: Path) -> None:
    """Seal the segments that a crash left open: a half last line is cut, an empty segment goes."""
    if not folder.is_dir():
        return
    for path in sorted(folder.glob("segment-*.jsonl.open")):
        with path.open("r+b") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue  # another worker is writing it
            content = handle.read()
            whole = content.rfind(b"\n") + 1
            handle.truncate(whole)
            _rename(path, rows=whole)


def keep_within(folder: Path, max_bytes: int) -> None:
    """Remove the oldest sealed segments until all together hold at most ``max_bytes``; the newest one stays."""
    sealed = sorted(folder.glob("segment-*.jsonl"), key=lambda path: (path.stat().st_mtime, path.name))
    total = sum(path.stat().st_size for path in sealed)
    for path in sealed[:-1]:
        if total <= max_bytes:
            return
        total -= path.stat().st_size
        path.unlink(missing_ok=True)


def _rename(path: Path, *, rows: int) -> None:
    if rows:
        path.rename(path.with_suffix(""))
    else:
        path.unlink()
