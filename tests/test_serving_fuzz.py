"""A part of the attacks of `benchmarks/serving_fuzz.py`, against a tiny bundle; and that the attacker has eyes."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from benchmarks.serving_attacks import GOOD, Attack, post
from benchmarks.serving_fuzz import PATIENCE, campaign, render, strike
from benchmarks.serving_service import bentoml_serve, serving
from tiny import write_bundle


def test_a_served_bundle_does_not_mind(tmp_path: Path) -> None:
    """Each answer is one that its request may have, nothing hangs, no file stays open, and good questions are answered
    as ever. What it costs in memory takes more requests to see."""
    bundle = write_bundle(tmp_path / "run" / "bundle").path
    settings = {"FTDEPLOY_BODY_SECONDS": f"{PATIENCE:g}", "FTDEPLOY_TRAFFIC": "off"}
    with serving(bentoml_serve(bundle), log=tmp_path / "log", **settings) as one:
        report = asyncio.run(campaign(one, requests=400, seed=7, rounds=1))
    report.memory.clear()
    report.memory += [0, 0]
    assert not report.failures(), "\n".join(render(report))
    assert report.watched.asked > 5
    assert sum(outcomes.total() for outcomes in report.outcomes.values()) == 400


@contextmanager
def saying(said: bytes) -> Iterator[int]:
    """A server that says the same to everybody and closes."""

    async def serve(port: asyncio.Future[int], stop: asyncio.Event) -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(GOOD)
            writer.write(said)
            with contextlib.suppress(ConnectionError):
                await writer.drain()
            writer.close()

        async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
            port.set_result(server.sockets[0].getsockname()[1])
            await stop.wait()

    loop = asyncio.new_event_loop()
    port: asyncio.Future[int] = loop.create_future()
    stop = asyncio.Event()
    there = threading.Event()
    port.add_done_callback(lambda _port: there.set())
    thread = threading.Thread(target=lambda: loop.run_until_complete(serve(port, stop)))
    thread.start()
    there.wait()
    try:
        yield port.result()
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()


def _answer(status: bytes, body: bytes, *headers: bytes) -> bytes:
    lines = b"".join(line + b"\r\n" for line in headers)
    return b"HTTP/1.1 " + status + b" X\r\n" + lines + b"content-length: %d\r\n\r\n" % len(body) + body


@pytest.mark.parametrize(
    ("said", "ids", "complaint"),
    [(_answer(b"500", b'{"error":"","error_type":""}'), (), "answered"), (_answer(b"400", b"Bad"), (), "400 with"),
     (_answer(b"200", b"[]") * 2, (), "2 answers"), (_answer(b"200", b"[]", b"x-request-id: b"), ("a",), "other ids"),
     (b"HTTP/1.1 200 OK\r\nx: y\r\ncontent-length: 9\r\n\r\n[", (), "cut off"), (b"220 smtp\r\n", (), "220 smtp"),
     (_answer(b"200", b"[]", b"x-request-id: a"), ("a", "b"), "1 of 2")],
    ids=["500", "no-json", "one-too-many", "not-mine", "cut-off", "no-http", "one-too-few"],
)  # fmt: skip
def test_the_attacker_sees_what_is_wrong(said: bytes, ids: tuple[str, ...], complaint: str) -> None:
    """Or no finding would mean nothing."""
    with saying(said) as port:
        attack = Attack(pieces=(post(GOOD),), allowed=frozenset({"2xx", "4xx"}), ids=ids)
        assert complaint in asyncio.run(strike(attack, port)).complaint
