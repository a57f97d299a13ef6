"""Handing texts to a challenger never waits and never fails; what cannot be taken is dropped and counted."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import orjson
import pytest

from ftdeploy.errors import ServeError
from ftdeploy.serve.exposition import sample
from ftdeploy.serve.model import Scored
from ftdeploy.serve.shadow_feed import SHARE, SOCKET, Feed, read_share

SENT = "ftdeploy_shadow_sent_total"
FULL = sample("ftdeploy_shadow_dropped_total", reason="full")
SIZE = sample("ftdeploy_shadow_dropped_total", reason="size")


def answers(count: int) -> list[Scored]:
    nothing = np.zeros(1, dtype=np.float32)
    best = [{"label": "good", "score": 0.75}, {"label": "bad", "score": 0.25}]
    return [Scored(best, nothing, nothing)] * count


@contextmanager
def taking(folder: Path) -> Iterator[socket.socket]:
    """A challenger's end, which takes nothing by itself."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.bind(str(folder / SOCKET))
        end.settimeout(5)
        yield end
    (folder / SOCKET).unlink()


def offer(feed: Feed, texts: list[str]) -> None:
    async def once() -> None:
        feed.offer(texts, answers(len(texts)))
        await asyncio.sleep(0)

    asyncio.run(once())


def test_texts_go_with_the_answers_that_were_given(tmp_path: Path) -> None:
    """And the digest of who gave them, once there is somebody to take them."""
    with closing(Feed(tmp_path, "d" * 64, 1.0)) as feed:
        feed.look()
        offer(feed, ["nobody is there"])
        with taking(tmp_path) as end:
            feed.look()
            offer(feed, ["a", "ü\u2028"])
            assert orjson.loads(end.recv(1 << 20)) == {
                "champion": "d" * 64,
                "texts": ["a", "ü\u2028"],
                "labels": ["good"] * 2,
                "scores": [0.75] * 2,
            }
        assert feed.snapshot() == {SENT: 2, FULL: 0, SIZE: 0}


def test_it_is_done_after_the_answer(tmp_path: Path) -> None:
    """Not before the event loop has had its turn, in which the answer goes out."""

    async def once(feed: Feed) -> tuple[float, float]:
        feed.offer(["a"], answers(1))
        before = feed.snapshot()[SENT]
        await asyncio.sleep(0)
        return before, feed.snapshot()[SENT]

    with taking(tmp_path), closing(Feed(tmp_path, "d", 1.0)) as feed:
        feed.look()
        assert asyncio.run(once(feed)) == (0, 1)


def test_who_takes_nothing_holds_up_nobody(tmp_path: Path) -> None:
    """A few texts are held by the kernel; all others are dropped, and counted."""
    with taking(tmp_path), closing(Feed(tmp_path, "d", 1.0)) as feed:
        feed.look()
        for _ in range(2000):
            offer(feed, ["x" * 1000])
        found = feed.snapshot()
        assert found[SENT] < 1000 < found[FULL]
        assert found[SENT] + found[FULL] == 2000


def test_large_requests_go_in_parts(tmp_path: Path) -> None:
    """A text that no datagram holds is dropped alone."""
    with taking(tmp_path) as end, closing(Feed(tmp_path, "d", 1.0)) as feed:
        feed.look()
        offer(feed, ["x" * 60_000] * 3 + ["y" * 1_000_000] + ["z"])
        found: list[str] = []
        while len(found) < 4:
            found += orjson.loads(end.recv(1 << 20))["texts"]
        assert [text[0] for text in found] == ["x", "x", "x", "z"]
        assert feed.snapshot() == {SENT: 4, FULL: 0, SIZE: 1}


def test_a_challenger_that_is_gone_is_forgotten_until_the_next_one(tmp_path: Path) -> None:
    """Whether its socket is still there, as after a crash, or not. Nothing is counted as dropped."""
    with closing(Feed(tmp_path, "d", 1.0)) as feed:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
            end.bind(str(tmp_path / SOCKET))
            feed.look()
            offer(feed, ["a"])
        offer(feed, ["b"])
        feed.look()
        offer(feed, ["c"])
        (tmp_path / SOCKET).unlink()
        with taking(tmp_path) as again:
            feed.look()
            offer(feed, ["d"])
            assert orjson.loads(again.recv(1 << 20))["texts"] == ["d"]
        offer(feed, ["e"])
        assert feed.snapshot() == {SENT: 2, FULL: 0, SIZE: 0}


@pytest.mark.parametrize(("share", "least", "most"), [(0.0, 0, 0), (0.25, 20, 85)])
def test_a_share_of_the_requests_is_taken(tmp_path: Path, share: float, least: int, most: int) -> None:
    """By chance, so that no pattern of the traffic meets one of ours."""
    with taking(tmp_path) as end, closing(Feed(tmp_path, "d", share)) as feed:
        feed.look()
        end.setblocking(False)
        for _ in range(200):
            offer(feed, ["a"])
            try:
                end.recv(1 << 20)
            except BlockingIOError:
                continue
        assert least <= feed.snapshot()[SENT] <= most


def test_a_share_that_is_none_is_refused() -> None:
    """At the start, in three parts."""
    assert read_share({}) == 1.0
    assert read_share({SHARE: " 0.1 "}) == 0.1
    for wrong in ("10%", "-0.1", "1.5", "nan"):
        with pytest.raises(ServeError, match="a share from 0 to 1 is wanted"):
            read_share({SHARE: wrong})
