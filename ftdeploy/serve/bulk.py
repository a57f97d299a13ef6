"""``POST /predict/bulk``: any number of texts, a line in, a line out (NDJSON), in the order asked, both at once.

A line is a text in JSON (of a model that reads two, a list of both), or an object as `/predict` takes it with one text
as ``inputs`` and, if wanted, an ``id``. Its
answer is a line ``{"index", "id", "predictions", "truncated", "tokens"}``, or ``{"index", "id", "error",
"error_type"}`` where it cannot be answered, which ends nothing: there are as many lines out as lines in, and ``index``
counts them from 0. Only when the service itself cannot go on is there one last line of error more, at the first index
that was not answered.

Memory does not grow with the number of lines: of each request at most `WINDOW_ROWS` lines and about twice
``max_body_bytes``, which bounds a line, are held. A client that does not read is not read from, and is given up as any
other that does not (`protocol.STALLED_SECONDS`); one that sends nothing while nothing is left to answer has
``body_seconds``. In the batcher these texts stand behind those of other requests (`Batcher.answer`), and they
are not kept in the cache.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass

from ftdeploy.errors import short
from ftdeploy.serve.answers import Answers
from ftdeploy.serve.bulk_lines import Line, Lines, answer_line, error_line, read_line
from ftdeploy.serve.engine import Engine
from ftdeploy.serve.question import Question
from ftdeploy.serve.request_ids import subject_of
from ftdeploy.serve.wire import (
    RETRY_SOON,
    GoneError,
    Message,
    Receive,
    Refusal,
    Reply,
    Scope,
    header,
    linger,
    media_type,
)

log = logging.getLogger(__name__)

PATH = "/predict/bulk"
NDJSON = "application/x-ndjson"
#: Under which names the type goes; where none is said, it is taken for one of them.
TYPES = ("", NDJSON, "application/ndjson", "application/jsonl", "application/jsonlines", "application/x-jsonlines")
#: Lines of one request that are held: being tokenised, at the model, or waiting to be sent.
WINDOW_ROWS = 256
#: Lines that are asked together.
CHUNK_ROWS = 64
#: Bytes of lines that are asked together, at the least one line.
CHUNK_BYTES = 262_144
#: Answers that are ready are sent together, up to about so many bytes.
PIECE_BYTES = 65_536
#: How often a request that waits for its client looks whether the service ends, in seconds.
TICK = 1.0

Write = Callable[[bytes], Awaitable[None]]


@dataclass(slots=True)
class _Chunk:
    """Lines that are asked together, and what they hold until their answers are out."""

    rows: int
    size: int
    answer: asyncio.Task[bytes]


class Bulk:
    """The route: how many of its requests are open, and what begins one.

    Args:
        engine: of the service.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.open = 0

    async def handle(self, scope: Scope, receive: Receive, identity: str) -> Reply:
        """Begin to answer, when the first bytes are there.

        Args:
            scope: of the request.
            receive: of the request.
            identity: the request's id.

        Raises:
            Refusal: 408 nothing came; 415 another media type, or compressed; 422 a subject that is not fit for a file;
                429 enough of these are open; 503 not ready, or about to end.
            GoneError: the client went away.
        """
        engine = self._engine
        engine.require_ready()
        if engine.ending:
            raise Refusal(503, "unhealthy", "the service ends", headers=(RETRY_SOON,), unread=True)
        kind, _ = media_type(scope)
        if kind not in TYPES:
            raise Refusal(415, "validation", f"a body is {NDJSON}, not {short(kind)}", unread=True)
        if (header(scope, b"content-encoding") or b"identity").lower() != b"identity":
            raise Refusal(415, "validation", "compressed bodies are not accepted; send plain lines", unread=True)
        most = engine.limits.max_bulk
        if self.open >= most:
            message = f"{self.open} bulk requests are open already"
            raise Refusal(429, "overloaded", message, headers=(RETRY_SOON,), unread=True, shed="bulk")
        subject = subject_of(scope)
        self.open += 1
        stream = Stream(engine, receive, identity, subject)
        try:
            await stream.begin()
        except BaseException:
            self.open -= 1
            raise
        named = ((b"x-request-id", identity.encode()), (b"x-model-digest", engine.digest.encode()))
        # Whatever of the body was not read must not be taken for the next request.
        headers = (*named, (b"connection", b"close"))
        return Reply(b"", content_type=NDJSON.encode(), headers=headers, write=self._write(stream))

    def _write(self, stream: Stream) -> Callable[[Write], Awaitable[None]]:
        async def write(send: Write) -> None:
            try:
                await stream.run(send)
            finally:
                self.open -= 1

        return write


class Stream:
    """One request: lines are read as long as there is room, and answered in their order."""

    def __init__(self, engine: Engine, receive: Receive, identity: str, subject: str | None) -> None:
        self._engine = engine
        self._receive = receive
        self._identity = identity
        self._subject = subject
        self._first: Message = {}
        self._lines = Lines(engine.limits.max_body_bytes)
        self._most = max(engine.limits.max_body_bytes, 4 * CHUNK_BYTES)
        self._chunks: deque[_Chunk] = deque()
        self._rows = self._size = 0  # of the chunks whose answers are not out
        self._next = 0  # index of the next line
        self._complete = False  # the body was read to its end
        self._last: Refusal | None = None  # why nothing more is read, where that is not the end of the body
        self._changed = asyncio.Event()

    async def begin(self) -> None:
        """Wait for the first bytes.

        Raises:
            Refusal: 408.
            GoneError: the client went away.
        """
        self._first = await self._message()

    async def run(self, send: Write) -> None:
        """Answer until the body's end.

        Raises:
            GoneError: the client went away.
        """
        reading = asyncio.create_task(self._read())
        try:
            while True:
                while not self._chunks and not reading.done():
                    self._changed.clear()
                    await self._changed.wait()
                if not self._chunks:
                    break
                await self._write_ready(send)
            await reading
        finally:
            reading.cancel()
            for chunk in self._chunks:
                chunk.answer.cancel()
        if self._last is not None:
            await send(error_line(Line(self._next, None, None, self._last), self._last))
        if not self._complete:
            await linger(self._receive)

    async def _write_ready(self, send: Write) -> None:
        """Send the first answers in line, and those behind them that are ready by now."""
        pieces: list[bytes] = []
        taken: list[_Chunk] = []
        while self._chunks and (not taken or self._chunks[0].answer.done()) and sum(map(len, pieces)) < PIECE_BYTES:
            chunk = self._chunks[0]
            pieces.append(await chunk.answer)
            taken.append(self._chunks.popleft())
        await send(b"".join(pieces))
        for chunk in taken:
            self._rows -= chunk.rows
            self._size -= chunk.size
        self._changed.set()

    async def _read(self) -> None:
        """Read the body to its end, or to where it cannot go on."""
        try:
            message = self._first
            while True:
                for lines in _chunked(self._lines.feed(message.get("body", b""))):
                    await self._ask(lines)
                if not message.get("more_body", False):
                    break
                message = await self._message()
            self._complete = True
            for lines in _chunked(self._lines.rest()):
                await self._ask(lines)
        except Refusal as refusal:
            self._last = refusal
        finally:
            self._changed.set()

    async def _message(self) -> Message:
        """The next piece of the body.

        Raises:
            Refusal: 408 nothing came, and nothing is left to answer; 503 the service ends.
            GoneError: the client went away.
        """
        limits = self._engine.limits
        since = time.monotonic()
        while True:
            try:
                async with asyncio.timeout(min(TICK, limits.body_seconds)):
                    message = await self._receive()
            except TimeoutError:
                self._go_on()
                if self._rows:
                    since = time.monotonic()
                elif time.monotonic() - since >= limits.body_seconds:
                    message_text = f"nothing came for {limits.body_seconds:g} seconds"
                    raise Refusal(408, "body_timeout", message_text, headers=((b"connection", b"close"),)) from None
                continue
            if message["type"] == "http.disconnect":
                raise GoneError
            return message

    def _go_on(self) -> None:
        """Raises a Refusal when the service ends."""
        if self._engine.ending:
            raise Refusal(503, "unhealthy", "the service ends; nothing from this line on was answered")

    async def _ask(self, lines: Sequence[bytes | None]) -> None:
        """Have some lines answered, as soon as there is room for them."""
        self._go_on()
        size = sum(len(line) for line in lines if line is not None)
        while self._rows and (self._rows + len(lines) > WINDOW_ROWS or self._size + size > self._most):
            self._changed.clear()
            await self._changed.wait()
            self._go_on()
        limits = self._engine.limits
        pairs = self._engine.signature.pairs
        columns = pairs.columns if pairs else None
        read = [read_line(line, self._next + index, limits, pairs=columns) for index, line in enumerate(lines)]
        self._next += len(lines)
        self._rows += len(lines)
        self._size += size
        self._chunks.append(_Chunk(len(lines), size, asyncio.create_task(self._answer(read))))
        self._changed.set()

    async def _answer(self, lines: Sequence[Line]) -> bytes:
        """The answers of some lines. Those that must not be cut go alone, as each of them may be refused."""
        asked = [(line, line.question) for line in lines if line.question is not None]
        together = [one for one in asked if not one[1].whole]
        groups = [[one] for one in asked if one[1].whole] + ([together] if together else [])
        answered = {line.index: error_line(line, line.refusal) for line in lines if line.refusal is not None}
        for found in await asyncio.gather(*map(self._ask_model, groups)):
            answered |= found
        return b"".join(answered[line.index] for line in lines)

    async def _ask_model(self, asked: Sequence[tuple[Line, Question]]) -> dict[int, bytes]:
        """Index -> answer, of lines that were understood."""
        engine = self._engine
        whole = asked[0][1].whole
        try:
            engine.require_ready()
            texts = [question.texts[0] for _, question in asked]
            indices = [line.index for line, _ in asked]
            rows, scored = await engine.ask(texts, self._identity, subject=self._subject, whole=whole, lines=indices)
        except Refusal as refusal:
            return {line.index: error_line(line, refusal) for line, _ in asked}
        except Exception:
            log.exception("%s failed", PATH, extra={"request_id": self._identity})
            failure = Refusal(500, "internal", "an internal error; the log has it")
            return {line.index: error_line(line, failure) for line, _ in asked}
        return {
            line.index: answer_line(
                line, question, Answers([row], [one], self._identity, engine.digest, engine.signature)
            )
            for (line, question), row, one in zip(asked, rows, scored, strict=True)
        }


def _chunked(lines: Iterator[bytes | None]) -> Iterator[list[bytes | None]]:
    """Lines in groups of at most `CHUNK_ROWS`, and of `CHUNK_BYTES` where they are more than one."""
    chunk: list[bytes | None] = []
    size = 0
    for line in lines:
        more = len(line) if line is not None else 0
        if chunk and (len(chunk) == CHUNK_ROWS or size + more > CHUNK_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(line)
        size += more
    if chunk:
        yield chunk
