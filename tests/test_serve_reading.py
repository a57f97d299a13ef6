"""How much of a packet is read at once, and a head without its wish."""

from __future__ import annotations

import httptools
import pytest

from ftdeploy.serve.reading import PIPELINED, few, wishless_head

GET = b"GET / HTTP/1.1\r\n\r\n"


class Counter:
    """How many requests began."""

    begun = 0

    def on_message_begin(self) -> None:
        """One more."""
        self.begun += 1


@pytest.mark.parametrize("request_line", [GET, b"POST /HTTP/x HTTP/1.1\r\nContent-Length: 5\r\n\r\nHTTP/"])
def test_no_more_requests_begin_than_may_wait(request_line: bytes) -> None:
    """Whatever stands in paths and bodies; and every byte is read in the end."""
    data = request_line * 100
    parser = httptools.HttpRequestParser(counter := Counter())
    at = 0
    while at < len(data):
        end = few(data, at)
        before = counter.begun
        parser.feed_data(data[at:end])
        assert 0 < counter.begun - before <= PIPELINED + 1 or end == len(data)
        at = end
    assert counter.begun == 100


def test_what_holds_few_requests_is_read_at_once() -> None:
    """However large it is: a body of megabytes is no pile of requests."""
    data = GET * (PIPELINED - 1) + b"x" * 100_000
    assert few(data, 0) == len(data)
    assert few(data, 50) == len(data)


def test_a_head_loses_its_wish_and_nothing_else() -> None:
    """Method, target, version and the other headers are as they were."""
    scope = {"method": "POST", "http_version": "1.0"}
    headers = [(b"host", b"x"), (b"upgrade", b"h2c"), (b"connection", b"Upgrade"), (b"content-length", b"3")]
    found = wishless_head(scope, b"/a?b", headers)
    assert found == b"POST /a?b HTTP/1.0\r\nhost: x\r\nconnection: Upgrade\r\ncontent-length: 3\r\n\r\n"
