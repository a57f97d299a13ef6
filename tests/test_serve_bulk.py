"""`/predict/bulk`: a line out for each line in, both at once, with an end to what is held and to patience."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from asking import scope
from tiny import MAX_LENGTH, write_source

from ftdeploy.serve import bulk
from ftdeploy.serve.app import App, create_app
from ftdeploy.serve.limits import Limits
from ftdeploy.serve.traffic import read_segment

WORDS = ("good", "bad", "superb film", "awful film", "great", "poor")


class Caller:
    """One bulk request, played by a test."""

    def __init__(self, app: App, **headers: str) -> None:
        self.app = app
        self.asked: dict[str, Any] = scope(**headers) | {"method": "POST", "path": bulk.PATH}
        self.pieces: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.reading = asyncio.Event()
        self.reading.set()
        self.received = 0
        self.status = 0
        self.headers: dict[bytes, bytes] = {}
        self.came = b""
        self.complete = False
        self.task = asyncio.create_task(app(self.asked, self._receive, self._send))

    async def _receive(self) -> dict[str, Any]:
        found = await self.pieces.get()
        self.received += 1
        return found

    async def _send(self, message: Any) -> None:
        await self.reading.wait()
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], dict(message["headers"])
            return
        self.came += message["body"]
        self.complete = not message.get("more_body", False)

    def send(self, *lines: object, more: bool = True) -> None:
        """Send lines, in one piece; bytes go as they are."""
        body = b"".join(line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n" for line in lines)
        self.pieces.put_nowait({"type": "http.request", "body": body, "more_body": more})

    def leave(self) -> None:
        """Go away."""
        self.pieces.put_nowait({"type": "http.disconnect"})

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for what other tasks bring about."""
        while not condition():
            assert not self.task.done() or condition(), self.came
            await asyncio.sleep(0.001)

    def lines(self) -> list[dict[str, Any]]:
        """The lines that came so far."""
        return [json.loads(line) for line in self.came.split(b"\n")[:-1]]

    async def answers(self) -> list[dict[str, Any]]:
        """All lines, when the answer is complete."""
        await self.task
        assert self.complete
        assert self.status == 200, self.came
        return self.lines()


@asynccontextmanager
async def serving(source: Path) -> AsyncIterator[App]:
    app = create_app(source)
    await app.start()
    await app.engine.loaded()
    try:
        yield app
    finally:
        await app.stop()


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle") / "src"
    limits = {"max_body_bytes": 2000, "max_chars": 1000, "lanes": 1, "max_bulk": 2, "max_queue": 2, "cache_rows": 100}
    write_source(folder, serve=limits)
    return folder


@pytest.fixture
def play(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Runs a scene against the application."""
    monkeypatch.setenv("FTDEPLOY_TRAFFIC", str(tmp_path / "traffic"))

    def run(scene: Callable[[App], Awaitable[None]], **environment: str) -> None:
        for name, value in environment.items():
            monkeypatch.setenv(f"FTDEPLOY_{name.upper()}", value)

        async def main() -> None:
            async with serving(source) as app, asyncio.timeout(60):
                await scene(app)

        asyncio.run(main())

    return run


Play = Callable[..., None]


def held_model(app: App) -> asyncio.Event:
    """Makes forward passes wait until the event is set."""
    batcher = app.engine.batcher
    assert batcher is not None
    run, free, loop = batcher._run, asyncio.Event(), asyncio.get_running_loop()

    def waiting(rows: Any) -> Any:
        asyncio.run_coroutine_threadsafe(free.wait(), loop).result(30)
        return run(rows)

    batcher._run = waiting
    return free


def test_lines_out_stand_beside_lines_in(play: Play, tmp_path: Path) -> None:
    """Good ones and bad ones in any pieces, with or without a last line break; more of them than the queue takes."""
    texts = [WORDS[index % len(WORDS)] for index in range(700)]
    sent: list[object] = list(texts)
    bad = {10: b"\n", 300: b"{\n", 301: b"3\n", 302: b'"' + b"x" * 2000 + b'"\n', 555: b'{"inputs": "a", "b": 1}\n'}
    for index, line in bad.items():
        sent[index] = line
    sent[20] = {"inputs": "film " * (MAX_LENGTH + 3), "id": "long"}
    sent[21] = {"inputs": "film " * (MAX_LENGTH + 3), "id": "whole", "truncate": False}
    sent[22] = {"inputs": "good", "id": 22, "parameters": {"top_k": 1, "details": True, "function_to_apply": "none"}}
    body = b"".join(line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n" for line in sent)[:-1]

    async def scene(app: App) -> None:
        caller = Caller(app, x_request_id="bulk-1")
        for start in range(0, len(body), 1234):
            caller.send(body[start : start + 1234], more=start + 1234 < len(body))
        found = await caller.answers()
        assert caller.headers[b"content-type"] == b"application/x-ndjson"
        assert caller.headers[b"x-request-id"] == b"bulk-1"
        assert caller.headers[b"x-model-digest"] == app.engine.digest.encode()
        assert caller.headers[b"connection"] == b"close"
        assert [line["index"] for line in found] == list(range(700))
        wrong = {line["index"]: line["error_type"] for line in found if "error" in line}
        assert wrong == {
            10: "invalid_json", 21: "too_long", 300: "invalid_json", 301: "validation", 302: "too_large",
            555: "validation",
        }  # fmt: skip
        for index, text in enumerate(texts):
            if index not in {*wrong, 20, 22}:
                wanted = "positive" if text in ("good", "superb film", "great") else "negative"
                assert found[index].keys() == {"index", "predictions", "truncated", "tokens"}
                assert found[index]["predictions"][0]["label"] == wanted
        assert (found[20]["id"], found[20]["truncated"], found[20]["tokens"]) == ("long", True, MAX_LENGTH + 5)
        assert found[21]["id"] == "whole"
        assert len(found[22]["predictions"]) == 1
        assert found[22]["predictions"][0]["score"] > 1
        assert (found[22]["id"], found[22]["request_id"]) == (22, "bulk-1")
        assert app.engine.cache is not None
        assert app.engine.cache.snapshot()["ftdeploy_cache_rows"] == 0

    play(scene)
    rows = [row for path in (tmp_path / "traffic").iterdir() for row in read_segment(path)]
    assert {row["id"] for row in rows} == {"bulk-1"}
    assert sorted(row["row"] for row in rows) == sorted(set(range(700)) - set(bad) - {21})


def test_an_answer_comes_before_the_next_line_is_sent(play: Play) -> None:
    """Who waits for an answer before asking on is not waited for."""

    async def scene(app: App) -> None:
        caller = Caller(app)
        for index in range(5):
            caller.send(f"good {index}")
            await caller.until(lambda wanted=index + 1: len(caller.lines()) == wanted)  # type: ignore[misc]
        caller.send(more=False)
        assert len(await caller.answers()) == 5

    play(scene)


@pytest.mark.parametrize("held", ["client", "model"])
def test_no_more_is_read_than_the_window_holds(play: Play, held: str) -> None:
    """Where the client does not read, or the model does not answer; then all goes on."""

    async def scene(app: App) -> None:
        free = held_model(app) if held == "model" else asyncio.Event()
        caller = Caller(app)
        if held == "client":
            caller.send("good")
            await caller.until(lambda: bool(caller.came))
            caller.reading.clear()
        before = len(caller.lines())
        for index in range(100):
            caller.send(*["good"] * 50, more=index < 99)
        await asyncio.sleep(0.3)
        assert bulk.WINDOW_ROWS / 2 <= caller.received * 50 <= bulk.WINDOW_ROWS + 4 * bulk.CHUNK_ROWS
        assert len(caller.lines()) == before
        free.set()
        caller.reading.set()
        assert len(await caller.answers()) == 5000 + before

    play(scene)


def test_long_lines_are_held_by_their_bytes(play: Play) -> None:
    """Fewer of them than of short ones."""

    async def scene(app: App) -> None:
        free = held_model(app)
        caller = Caller(app)
        line = {"inputs": "good " * 199, "id": "x" * 900}
        for index in range(1000):
            caller.send(line, more=index < 999)
        await asyncio.sleep(0.2)
        assert 2000 * caller.received <= 4 * bulk.CHUNK_BYTES + 4000
        free.set()
        assert len(await caller.answers()) == 1000

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bulk, "CHUNK_BYTES", 10_000)
        play(scene)


def test_texts_of_others_are_answered_meanwhile(play: Play) -> None:
    """They take no room in the queue, which holds two texts here, and stand behind."""

    async def scene(app: App) -> None:
        free = held_model(app)
        caller = Caller(app)
        caller.send(*["good"] * 1000)
        await caller.until(lambda: caller.received == 1)
        await asyncio.sleep(0.05)
        asked = asyncio.create_task(app.engine.ask(["good", "bad"], "other"))
        await asyncio.sleep(0.01)
        free.set()
        await asked
        assert len(caller.lines()) < 1000
        caller.send(more=False)
        assert len(await caller.answers()) == 1000

    play(scene)


def test_who_sends_nothing_is_told_and_let_go(play: Play) -> None:
    """Nothing at all is 408; nothing more is a last line, when everything before it is answered."""

    async def scene(app: App) -> None:
        nothing = Caller(app)
        await nothing.task
        assert nothing.status == 408
        assert json.loads(nothing.came)["error_type"] == "body_timeout"
        free = held_model(app)
        half = Caller(app)
        half.send("good", b'"ba')
        await asyncio.sleep(0.3)  # longer than the patience, but there is something to answer
        assert not half.task.done()
        free.set()
        await half.until(lambda: len(half.lines()) == 2)
        half.leave()  # it lingers until then
        found = await half.answers()
        assert [line.get("error_type") for line in found] == [None, "body_timeout"]
        assert found[1]["index"] == 1

    play(scene, body_seconds="0.1")


def test_who_goes_away_is_let_go_at_once(play: Play) -> None:
    """What was asked for nobody is given up, and its place is free."""

    async def scene(app: App) -> None:
        free = held_model(app)
        caller = Caller(app)
        caller.send(*["good"] * 100)
        await caller.until(lambda: caller.received == 1)
        caller.leave()
        free.set()
        await caller.task
        assert app._bulks.open == 0
        assert app.snapshot()['ftdeploy_requests_total{route="/predict/bulk",status="499"}'] == 1

    play(scene)


def test_there_is_a_most_of_them(play: Play) -> None:
    """One too many is refused; when one is over, the next is taken."""

    async def scene(app: App) -> None:
        open_ones = [Caller(app), Caller(app)]
        for caller in open_ones:
            caller.send("good")
            await caller.until(lambda caller=caller: len(caller.lines()) == 1)  # type: ignore[misc]
        refused = Caller(app)
        await refused.task
        assert refused.status == 429
        assert refused.headers[b"retry-after"] == b"1"
        assert app.snapshot()['ftdeploy_shed_total{reason="bulk"}'] == 1
        for caller in open_ones:
            caller.send(more=False)
            await caller.answers()
        again = Caller(app)
        again.send("good", more=False)
        assert len(await again.answers()) == 1

    play(scene)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"content_type": "application/json"}, 415),
        ({"content_type": "application/x-ndjson", "content_encoding": "gzip"}, 415),
        ({"content_type": "application/jsonl; charset=utf-8"}, 200),
        ({}, 200),
    ],
)
def test_lines_are_what_it_takes(play: Play, headers: dict[str, str], status: int) -> None:
    """Under their names, and not compressed."""

    async def scene(app: App) -> None:
        caller = Caller(app, **headers)
        caller.send("good", more=False)
        await caller.task
        assert caller.status == status

    play(scene)


@pytest.mark.parametrize("body", [b"", b"\n", b'"good"'])
def test_nothing_is_no_line_and_a_line_needs_no_end(play: Play, body: bytes) -> None:
    """As many lines out as there are in."""

    async def scene(app: App) -> None:
        caller = Caller(app)
        caller.send(body, more=False)
        assert len(await caller.answers()) == bool(body)

    play(scene)


def test_a_failing_pass_fails_its_lines_and_the_stream_goes_on(play: Play) -> None:
    """The reason is in the log, and not in the answer."""

    async def scene(app: App) -> None:
        batcher = app.engine.batcher
        assert batcher is not None
        run = batcher._run

        def broken(rows: Any) -> Any:
            raise RuntimeError(f"a secret, {len(rows)} rows")

        batcher._run = broken
        caller = Caller(app)
        caller.send("good", "bad", 3)
        await caller.until(lambda: len(caller.lines()) == 3)
        batcher._run = run
        caller.send("good", more=False)
        found = await caller.answers()
        assert [line.get("error_type") for line in found] == ["backend", "backend", "validation", None]
        assert b"secret" not in caller.came

    play(scene)


def test_where_the_service_ends_the_last_line_says_so(play: Play) -> None:
    """What was taken is answered; from its index on nothing is."""

    async def scene(app: App) -> None:
        caller = Caller(app)
        caller.send(*["good"] * 10)
        await caller.until(lambda: len(caller.lines()) == 10)
        over = asyncio.Event()
        app.drain(over.set)
        await caller.until(lambda: app.engine.refusing)
        caller.send("good")
        caller.leave()
        found = await caller.answers()
        await over.wait()
        assert [line["index"] for line in found] == list(range(11))
        assert found[-1]["error_type"] == "unhealthy"

    play(scene, drain_seconds="0.01")


@pytest.mark.parametrize("state", ["refusing", "ending"])
def test_a_service_that_is_not_ready_or_about_to_end_refuses(play: Play, state: str) -> None:
    """As every other question, or because it would be ended at once."""

    async def scene(app: App) -> None:
        setattr(app.engine, state, True)
        caller = Caller(app)
        await caller.task
        assert caller.status == 503

    play(scene)


def test_the_most_may_be_none() -> None:
    """Who wants no bulk says so."""
    from ftdeploy.serve.limits import read_limits

    assert read_limits({}, {"FTDEPLOY_MAX_BULK": "0"}) == Limits(max_bulk=0)


def test_chunks_keep_to_rows_and_bytes() -> None:
    """And are never empty."""

    def sizes(lines: Sequence[bytes | None]) -> list[int]:
        return [len(chunk) for chunk in bulk._chunked(iter(lines))]

    assert sizes([]) == []
    assert sizes([b"a"] * 150) == [64, 64, 22]
    assert sizes([None] * 65) == [64, 1]
    assert sizes([b"a" * bulk.CHUNK_BYTES] * 2 + [b"a"]) == [1, 1, 1]
