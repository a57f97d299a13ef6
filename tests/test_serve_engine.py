"""The states of a service: loading, ready, failed, stuck, draining."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

import pytest
from tiny import write_model_folder, write_source

from ftdeploy.encoded import Encoded
from ftdeploy.serve.app import App, create_app
from ftdeploy.serve.engine import SWITCH_SECONDS, Engine, lanes_of
from ftdeploy.serve.limits import Limits
from ftdeploy.serve.model import Scored, bundle_digest, open_model
from ftdeploy.serve.wire import Refusal


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FTDEPLOY_TRAFFIC", "off")
    write_model_folder(tmp_path / "src" / "model", serve={"timeout_seconds": 0.3})
    return tmp_path / "src"


async def until(condition: Callable[[], bool]) -> None:
    """Wait until something has come about."""
    while not condition():  # noqa: ASYNC110  # a state of another thread sets no event
        await asyncio.sleep(0.01)


def live(source: Path, scene: Callable[[Engine], Coroutine[Any, Any, None]]) -> None:
    """Run a scene with an engine that was started."""

    async def stage() -> None:
        engine = Engine(source)
        await engine.start()
        try:
            await scene(engine)
        finally:
            await engine.stop()

    asyncio.run(stage())


def test_it_is_loading_until_it_is_warm_and_refuses_meanwhile(source: Path) -> None:
    """Readiness comes after the warm-up, never before."""

    async def scene(engine: Engine) -> None:
        assert engine.state() == "loading"
        with pytest.raises(Refusal, match="loading") as caught:
            engine.require_ready()
        assert caught.value.status == 503
        await engine.loaded()
        assert engine.state() == "ready"
        engine.require_ready()
        (row,), (scored,) = await engine.ask(["superb"], "r1")
        assert scored.answer[0]["label"] == "positive"
        assert not row.truncated()

    live(source, scene)


def test_a_thread_that_computes_is_asked_for_the_interpreter_soon(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Recording and drift detection would hold up loop and lanes for five milliseconds at a time."""
    asked: list[float] = []
    monkeypatch.setattr("sys.setswitchinterval", asked.append)

    async def scene(engine: Engine) -> None:
        await engine.loaded()
        assert asked == [SWITCH_SECONDS]

    live(source, scene)


def test_a_broken_model_is_failed_with_the_reason_and_the_process_lives(source: Path) -> None:
    """Health can then tell why; an exit would only make BentoML start it again and again."""
    (source / "model" / "model.onnx").write_bytes(b"not a model")

    async def scene(engine: Engine) -> None:
        await engine.loaded()
        assert engine.state() == "failed"
        with pytest.raises(Refusal, match=r"model\.onnx"):
            engine.require_ready()

    live(source, scene)


def test_a_forward_pass_that_hangs_turns_readiness_off_until_it_comes_back(source: Path) -> None:
    """A wedged session is seen, its request gets 503, and new ones are refused instead of queued."""
    free = threading.Event()

    async def scene(engine: Engine) -> None:
        await engine.loaded()
        assert engine.batcher is not None
        run = engine.batcher._run

        def hang(rows: Sequence[Encoded]) -> Sequence[Scored]:
            free.wait(20)
            return run(rows)

        engine.batcher._run = hang
        with pytest.raises(Refusal, match="no answer within") as caught:
            await engine.ask(["good"], "r1")
        assert caught.value.status == 503
        await until(lambda: engine.state() == "stuck")
        with pytest.raises(Refusal, match="stuck"):
            engine.require_ready()
        free.set()
        await until(lambda: engine.state() == "ready")
        await engine.ask(["good"], "r2")

    live(source, scene)


def test_long_texts_are_tokenised_off_the_event_loop(source: Path) -> None:
    """A request of 100,000 characters does not make the others wait for its tokens."""
    seen: list[int] = []

    async def scene(engine: Engine) -> None:
        await engine.loaded()
        assert engine._predictor is not None
        encode = engine._predictor.encode

        def watched(texts: Sequence[str]) -> list[Encoded]:
            seen.append(threading.get_ident())
            return encode(texts)

        engine._predictor.encode = watched  # type: ignore[method-assign]  # watched, not replaced
        await engine.ask(["good"], "r1")
        await engine.ask(["good " * 20_000], "r2")

    live(source, scene)
    assert seen[0] == threading.get_ident()
    assert seen[1] != threading.get_ident()


def test_texts_at_the_tokenizer_count_as_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not fit is refused before it is tokenised, with Retry-After; what fits is answered."""
    monkeypatch.setenv("FTDEPLOY_TRAFFIC", "off")
    write_model_folder(tmp_path / "src" / "model", serve={"max_queue": 8})
    free = threading.Event()
    long = ["good " * 2000]

    async def scene(engine: Engine) -> None:
        await engine.loaded()
        assert engine._predictor is not None
        encode = engine._predictor.encode
        encoded: list[int] = []

        def held(texts: Sequence[str]) -> list[Encoded]:
            encoded.append(len(texts))
            assert free.wait(20)
            return encode(texts)

        engine._predictor.encode = held  # type: ignore[method-assign]  # held, not replaced
        kept = [asyncio.create_task(engine.ask(long * 4, f"r{number}")) for number in range(2)]
        await until(lambda: encoded == [4])
        for texts in (long, ["good"]):
            with pytest.raises(Refusal, match="8 texts are waiting") as caught:
                await engine.ask(texts, "r2")
            assert caught.value.status == 429
            assert caught.value.headers[0][0] == b"retry-after"
        assert engine.snapshot()["ftdeploy_queue_rows"] == 8
        free.set()
        for rows, _ in await asyncio.gather(*kept):
            assert len(rows) == 4
        assert encoded == [4, 4]

    live(tmp_path / "src", scene)


def test_the_time_at_the_tokenizer_counts_as_waiting(source: Path) -> None:
    """A request behind others at the tokenizer is told in time, and is never tokenised after that."""
    free = threading.Event()

    async def scene(engine: Engine) -> None:
        await engine.loaded()
        assert engine._predictor is not None
        encode = engine._predictor.encode
        encoded: list[str] = []

        def held(texts: Sequence[str]) -> list[Encoded]:
            encoded.append(texts[0][:4])
            assert free.wait(20)
            return encode(texts)

        engine._predictor.encode = held  # type: ignore[method-assign]  # held, not replaced
        asked = [asyncio.create_task(engine.ask([word * 2000], word)) for word in ("good ", "bad  ")]
        for found in await asyncio.gather(*asked, return_exceptions=True):
            assert isinstance(found, Refusal)
            assert (found.status, found.error_type) == (503, "timeout")
        free.set()
        await engine.ask(["best " * 2000], "later")
        assert encoded == ["good", "best"]

    live(source, scene)


def test_draining_answers_what_is_in_flight_then_refuses_then_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Health turns bad at once, late arrivals are still taken for a moment, and the end waits for the last answer."""
    monkeypatch.setenv("FTDEPLOY_TRAFFIC", "off")
    write_source(tmp_path / "src", serve={"drain_seconds": 0.05})
    order: list[str] = []

    async def stage(app: App) -> None:
        await app.start()
        await app.engine.loaded()
        ended = asyncio.Event()
        app._in_flight += 1  # a request that is being answered

        def end() -> None:
            order.append("ended")
            ended.set()

        app.drain(end)
        assert app.engine.state() == "draining"
        app.engine.require_ready()
        await until(lambda: app.engine.refusing)
        with pytest.raises(Refusal, match="draining"):
            app.engine.require_ready()
        await asyncio.sleep(0.1)
        order.append("answered")
        app._in_flight -= 1
        app._idle.set()
        await ended.wait()
        await app.stop()

    async def run() -> None:
        await stage(create_app(tmp_path / "src"))

    asyncio.run(run())
    assert order == ["answered", "ended"]


def test_the_handlers_of_signals_are_given_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the end the process reacts to signals as before."""
    monkeypatch.setenv("FTDEPLOY_TRAFFIC", "off")
    write_source(tmp_path / "src")
    calls: list[int] = []

    def servers_own(number: int, frame: object) -> None:  # noqa: ARG001  # the signature of a handler
        calls.append(number)

    async def run() -> None:
        app = create_app(tmp_path / "src")
        await app.start()
        assert signal.getsignal(signal.SIGTERM) is not servers_own
        await app.stop()
        assert signal.getsignal(signal.SIGTERM) is servers_own

    before = signal.signal(signal.SIGTERM, servers_own)
    try:
        asyncio.run(run())
    finally:
        signal.signal(signal.SIGTERM, before)
    assert calls == []


def test_the_digest_is_the_bundles_and_outside_of_one_the_models(source: Path) -> None:
    """A bundle that is being developed has a name too."""
    outside = bundle_digest(source)
    assert len(outside) == 64
    (source.parent / "artifact.json").write_text('{"digest": "abc"}', encoding="utf-8")
    assert bundle_digest(source) == "abc"
    (source.parent / "artifact.json").write_text("{}", encoding="utf-8")
    assert bundle_digest(source) == outside


def test_the_session_has_the_threads_of_one_lane(source: Path) -> None:
    """ONNX Runtime is told, so that lanes do not fight for processors."""
    predictor, lanes = open_model(source / "model", Limits(threads=6, lanes=2))
    assert lanes == 2
    assert predictor.session.get_session_options().intra_op_num_threads == 3


def test_the_engine_can_be_stopped_while_it_loads(source: Path) -> None:
    """A service that is told to end early ends, and nothing starts to answer behind its back."""
    engines: list[Engine] = []

    async def scene(engine: Engine) -> None:
        assert engine.state() == "loading"
        engines.append(engine)

    live(source, scene)
    assert engines[0].state() == "loading"


def test_a_model_that_was_opened_before_is_not_opened_again(source: Path) -> None:
    """Not even its file is needed: a worker has it of the process that forked it. Its part of the lanes is its own."""

    async def scene(engine: Engine) -> None:
        await engine.loaded()
        assert engine.state() == "ready"
        assert engine.batcher is not None
        assert engine.batcher.lanes == 2
        (_, scored) = await engine.ask(["a superb film"], "r1")
        assert scored[0].answer[0]["label"] == "positive"

    engine = Engine(source)
    engine.limits = Limits(threads=3)
    engine.open()
    assert engine.opened
    engine.take_part(0, 2)
    (source / "model" / "model.onnx").unlink()

    async def stage() -> None:
        await engine.start()
        await scene(engine)
        await engine.stop()

    asyncio.run(stage())


@pytest.mark.parametrize(("lanes", "parts", "shares"), [(4, 1, [4]), (5, 2, [3, 2]), (8, 3, [3, 3, 2]), (1, 2, [1, 1])])
def test_lanes_are_divided_among_workers(lanes: int, parts: int, shares: list[int]) -> None:
    """All of them, and none goes without."""
    assert [lanes_of(lanes, index, parts) for index in range(parts)] == shares


@pytest.mark.parametrize("cache_rows", [0, 10])
def test_crowding_is_told_before_anything_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache_rows: int
) -> None:
    """With the time after which to come again, which is rounded up; not where the cache may have the answer."""
    monkeypatch.setenv("FTDEPLOY_TRAFFIC", "off")
    limits = {"max_wait_seconds": 0.5, "lanes": 1, "cache_rows": cache_rows}
    write_model_folder(tmp_path / "src" / "model", serve=limits)

    async def scene(engine: Engine) -> None:
        assert engine.crowding() is None
        await engine.loaded()
        assert engine.crowding() is None
        batcher = engine.batcher
        assert batcher is not None
        for _ in range(100):
            batcher.flow.note([2], [0.0], 0.3, failed=False)
        engine._coming = 4
        found = engine.crowding()
        if cache_rows:
            assert found is None
            return
        assert found is not None
        assert (found.status, found.shed, found.headers) == (429, "queue", ((b"retry-after", b"2"),))
        with pytest.raises(Refusal, match="4 texts are waiting already") as caught:
            await engine.ask(["good"], "r1")
        assert caught.value.status == 429
        engine._coming = 0
        await engine.ask(["good"], "r2")

    live(tmp_path / "src", scene)
