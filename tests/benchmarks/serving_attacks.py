"""Requests as nobody should send them, for `serving_fuzz.py`: each kind is a function of a random generator.

Sources: RFC 9110 and 9112 (what a message is), "HTTP Desync Attacks" (Kettle, 2019: smuggling), slowhttptest (Slowloris
and its kin), "Parsing JSON is a Minefield" (Seriot, 2016).
"""

from __future__ import annotations

import gzip
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

ANY: frozenset[str] = frozenset({"2xx", "4xx", "closed"})
REFUSED: frozenset[str] = frozenset({"4xx", "closed"})
PREDICT = b"POST /predict HTTP/1.1\r\nHost: x\r\n"
GOOD = b'{"inputs":"a superb film"}'


@dataclass(frozen=True, kw_only=True)
class Attack:
    """What is sent over one connection, and what may come of it.

    Attributes:
        pieces: bytes to send and seconds to wait, in order. The rest is not sent when the server closes.
        end: ``read`` until an answer or the end, ``half`` closes our direction first, ``close`` and ``reset`` leave
            without reading.
        allowed: outcomes that are right: ``2xx``, ``4xx``, ``closed`` (without an answer).
        ids: X-Request-Id of the answers that have to come, in this order, and no others.
        answers: how many answers there may be at most.
    """

    pieces: tuple[bytes | float, ...]
    end: Literal["read", "half", "close", "reset"] = "read"
    allowed: frozenset[str] = ANY
    ids: tuple[str, ...] = ()
    answers: int = 1


Kind = Callable[[random.Random], Attack]


def post(body: bytes, *headers: bytes, path: bytes = b"/predict") -> bytes:
    """A whole request."""
    lines = b"".join(line + b"\r\n" for line in headers)
    return b"POST " + path + b" HTTP/1.1\r\nHost: x\r\n" + lines + b"Content-Length: %d\r\n\r\n" % len(body) + body


def drip(content: bytes, seconds: float, pieces: int) -> tuple[bytes | float, ...]:
    """A few bytes at a time."""
    size = max(1, len(content) // pieces)
    found: list[bytes | float] = []
    for start in range(0, len(content), size):
        found += [content[start : start + size], seconds / pieces]
    return tuple(found)


def noise(draw: random.Random, most: int) -> bytes:
    """Random bytes."""
    return draw.randbytes(draw.randint(1, most))


# Slow, half and gone


def slow_head(draw: random.Random) -> Attack:
    """Headers that drip in without an end (Slowloris)."""
    content = PREDICT + b"".join(b"X-%d: %d\r\n" % (number, number) for number in range(40))
    return Attack(pieces=drip(content, draw.uniform(3, 6), draw.randint(5, 60)), allowed=REFUSED)


def slow_body(draw: random.Random) -> Attack:
    """A body that drips in, by length or in chunks (R.U.D.Y.)."""
    if draw.random() < 0.5:
        return Attack(pieces=(PREDICT + b"Content-Length: 500\r\n\r\n", *drip(b"{" * 400, 6, 40)), allowed=REFUSED)
    head = PREDICT + b"Transfer-Encoding: chunked\r\n\r\n"
    return Attack(pieces=(head, *drip(b"1\r\n{\r\n" * 60, 6, 60)), allowed=REFUSED)


def half_head(draw: random.Random) -> Attack:
    """A head that stops somewhere."""
    whole = post(GOOD, b"X-Padding: " + b"p" * draw.randint(0, 4000))
    return Attack(pieces=(whole[: draw.randint(1, whole.index(b"\r\n\r\n") + 3)],), allowed=REFUSED)


def half_body(draw: random.Random) -> Attack:
    """A body that stops somewhere."""
    body = b'{"inputs":"' + b"x" * draw.choice((10, 1000, 70_000)) + b'"}'
    cut = draw.randint(1, len(body) - 1)
    return Attack(pieces=(post(body)[: -len(body) + cut],), allowed=REFUSED)


def left_early(draw: random.Random) -> Attack:
    """Whole, half or nothing sent, and gone at once: closed, reset, or only our direction closed."""
    whole = post(GOOD)
    sent = whole if draw.random() < 0.5 else whole[: draw.randint(0, len(whole))]
    return Attack(pieces=(sent,), end=draw.choice(("close", "reset", "half")))


# Framing


def bad_chunks(draw: random.Random) -> Attack:
    """Sizes that are none, negative, endless; line ends that are missing."""
    body = draw.choice((
        b"ZZ\r\n{}\r\n0\r\n\r\n", b"-1\r\n{}\r\n0\r\n\r\n", b"0x2\r\n{}\r\n0\r\n\r\n", b"2\n{}\n0\n\n",
        b"2\r\n{}0\r\n\r\n",
        b"2\r\n{}\r\r0\r\n\r\n", b"ffffffffffffffff\r\n{}", b"fffffffffffffffff\r\n{}", b"7fffffffffffffff\r\n{}",
        b" 2\r\n{}\r\n0\r\n\r\n", b"2 \r\n{}\r\n0\r\n\r\n", b"\r\n2\r\n{}\r\n0\r\n\r\n", b"1\r\n{}\r\n0\r\n\r\n",
        b"2\r\n{}\r\n0\r\nX", b"2\r\n{}\r\n0\r\nBad Trailer\r\n\r\n", b"+2\r\n{}\r\n0\r\n\r\n",
        b"2_0\r\n{}\r\n0\r\n\r\n",
    ))  # fmt: skip
    return Attack(pieces=(PREDICT + b"Transfer-Encoding: chunked\r\n\r\n" + body,), allowed=REFUSED)


def odd_chunks(draw: random.Random) -> Attack:
    """Right, though nobody does it: extensions, trailers, one byte a chunk, leading zeros, large hexadecimal digits."""
    extension = draw.choice((b"", b";a=b", b';a="b;c"', b";" + b"e" * draw.randint(1, 3000)))
    size = draw.randint(1, 9)
    pieces = [GOOD[at : at + size] for at in range(0, len(GOOD), size)]
    zeros = b"0" * draw.randint(0, 9)
    chunks = b"".join(zeros + b"%X" % len(piece) + extension + b"\r\n" + piece + b"\r\n" for piece in pieces)
    trailers = draw.choice((b"", b"X-T: 1\r\n", b"Content-Length: 3\r\n", b"Content-Encoding: gzip\r\nHost: y\r\n"))
    sent = PREDICT + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n" + trailers + b"\r\n"
    return Attack(pieces=(sent,) if draw.random() < 0.5 else drip(sent, 0.2, 9))


def smuggled(draw: random.Random) -> Attack:
    """One message to one reader, two to another: whatever is unclear is refused, and nothing after it is answered."""
    hidden = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
    head = draw.choice((
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        b"Content-Length: 5\r\nContent-Length: 6\r\n", b"Content-Length: 5\r\nContent-Length: 5\r\n",
        b"Content-Length: 5, 6\r\n", b"Content-Length: +5\r\n", b"Content-Length: -5\r\n", b"Content-Length: 0x5\r\n",
        b"Content-Length: 5 5\r\n", b"Content-Length: \r\n", b"Content-Length : 5\r\n", b"Content-Length: 5;\r\n",
        b"Content-Length: 18446744073709551621\r\n", b"Transfer-Encoding: xchunked\r\n", b"Transfer-Encoding: \r\n",
        b"Transfer-Encoding: chunked, identity\r\n", b"Transfer-Encoding: chunked, chunked\r\n",
        b"Transfer-Encoding: identity\r\n", b"Transfer-Encoding : chunked\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", b"Transfer-Encoding: chunked\r\n b\r\n",
        b"Transfer-Encoding:\x0bchunked\r\n", b'Transfer-Encoding: "chunked"\r\n',
        b"X: y\nTransfer-Encoding: chunked\r\n",
        b"Content-Length\x00: 5\r\n", b"X: a\rContent-Length: 5\r\n", b" Content-Length: 5\r\n",
    ))  # fmt: skip
    body = draw.choice((b"0\r\n\r\n", b"0\r\n\r\n\r\n", b"5\r\nGPOST\r\n0\r\n\r\n"))
    return Attack(pieces=(PREDICT + head + b"\r\n" + body + hidden,), end="read", allowed=REFUSED)


# Heads


def huge_head(draw: random.Random) -> Attack:
    """A long line, a long value, many headers, or one folded for ever."""
    size = draw.choice((9_000, 66_000, 200_000, 1_000_000))
    filler = draw.choice((
        b"X: " + b"v" * size + b"\r\n", b"N" * size + b": v\r\n", b"A: b\r\n" * (size // 6),
        b"X: y\r\n" + b" folded\r\n" * (size // 9), b"Cookie: " + b"a=b;" * (size // 4) + b"\r\n",
    ))  # fmt: skip
    if draw.random() < 0.3:
        return Attack(pieces=(b"GET /" + b"a" * size + b" HTTP/1.1\r\nHost: x\r\n\r\n",), allowed=REFUSED)
    return Attack(pieces=(PREDICT + filler + b"Content-Length: %d\r\n\r\n" % len(GOOD) + GOOD,))


def odd_head(draw: random.Random) -> Attack:
    """Injection, NUL, bare CR and LF, bytes that are no text, no Host, two of them, an id that is no id."""
    line = draw.choice((
        b"X-Request-Id: a\r\nX-Evil: 1", b"X-Request-Id: a%0d%0aSet-Cookie: x=1", b"X-Request-Id: \x00", b"X: \x00",
        b"X-Request-Id: " + b"i" * 5000, b"X-Request-Id: \xff\xfe", b"X\x00Y: 1", b": empty", b"no colon", b"X: \x7f",
        b"X: a\nY: b", b"X: a\rY: b", b"Host: y", b"Host:", b"\x80: 1", b"Content-Type: " + noise(draw, 40),
        b"Accept: " + b"*/*," * 500, b"Authorization: Bearer " + b"z" * 5000, b"Connection: close, keep-alive, x",
        b"Connection: " + b"," * 900, b"X: " + noise(draw, 200), b"Range: bytes=0-1", b"Trailer: Content-Length",
        b"Inference-Header-Content-Length: 99999999999999999999", b"TE: trailers", b"Proxy-Connection: keep-alive",
    ))  # fmt: skip
    return Attack(pieces=(post(GOOD, line),))


def odd_line(draw: random.Random) -> Attack:
    """Methods, targets and versions of every sort."""
    method = draw.choice((b"GET", b"PUT", b"DELETE", b"TRACE", b"PATCH", b"OPTIONS", b"HEAD", b"CONNECT", b"PRI",
    b"get",
                          b"BREW", b"", b"M-SEARCH", b"SOURCE", b"POST\x00", b"\xff", b"A" * 300))  # fmt: skip
    target = draw.choice((
        b"/predict", b"*", b"http://other/predict", b"https://u:p@x:99999/predict", b"//predict", b"/predict/..", b"",
        b"/%2e%2e/%2e%2e/etc/passwd", b"/predict%00", b"/%", b"/%zz", b"/%ff%fe", b"/\xc3\xa4", b"?q", b"#f", b"x:443",
        b"/predict?" + b"q" * 5000, b"/\x00", b"/metrics;x", b"/v2/models/%F0%9F%92%A9/infer", b"/" + noise(draw, 30),
        b"/v2/models/a/versions/b/infer", b"/docs.json", b"/static_content/../x", b"\\predict", b"/predict#f", b"/a b",
    ))  # fmt: skip
    version = draw.choice(
        (b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.0", b"HTTP/0.9", b"HTTP/2", b"HTTP/9.9", b"HTTP/1.10", b"", b"x")
    )
    ending = draw.choice((b"Host: x\r\n\r\n", b"\r\n", b"Host: x\r\nContent-Length: 2\r\n\r\n{}"))
    return Attack(
        pieces=(method + b" " + target + b" " + version + b"\r\n" + ending,), end=draw.choice(("read", "half"))
    )


def other_protocol(draw: random.Random) -> Attack:
    """TLS, HTTP/2, HTTP/0.9, SSH, SMTP, a proxy's greeting, noise."""
    hello = draw.choice((
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + noise(draw, 500),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00",
        b"GET /\r\n", b"GET /\r\n\r\n", b"SSH-2.0-OpenSSH_9\r\n", b"EHLO x\r\n", b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n",
        b"\x00" * 1000, b"\r\n" * 2000, b"\r\n\r\n", b"\n", noise(draw, 3000), b"HTTP/1.1 200 OK\r\n\r\n",
    ))  # fmt: skip
    return Attack(pieces=(hello,), allowed=REFUSED)


def upgrade(draw: random.Random) -> Attack:
    """WebSocket and HTTP/2 in the clear are not spoken: the request is answered as if they had not been asked for."""
    ids = ("u1", "u2")
    wish = draw.choice((
        (b"Connection: Upgrade", b"Upgrade: h2c"), (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c",
        b"HTTP2-Settings: AA"),
        (b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Version: 13",
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="),
        (b"Connection: Upgrade", b"Upgrade: TLS/1.0"), (b"Connection: Upgrade", b"Upgrade: x"),
    ))  # fmt: skip
    first = post(GOOD, b"X-Request-Id: u1", *wish)
    second = post(GOOD, b"X-Request-Id: u2")
    pieces = (first + second,) if draw.random() < 0.5 else (first, 0.1, second)
    return Attack(pieces=pieces, ids=ids, answers=2, allowed=frozenset({"2xx"}))


def pipelined(draw: random.Random) -> Attack:
    """Many requests in one packet: answers come in order, and each belongs to its request."""
    ids = tuple(f"p{number}" for number in range(draw.choice((2, 10, 60, 300))))
    paths = (b"/predict", b"/nowhere", b"/v2")
    sent = b"".join(
        post(draw.choice((GOOD, b"{", b'{"inputs":[]}')), b"X-Request-Id: " + name.encode(), path=draw.choice(paths))
        for name in ids
    )
    return Attack(pieces=(sent,) if draw.random() < 0.7 else drip(sent, 0.3, 7), ids=ids, answers=len(ids))


def pipelined_then_junk(draw: random.Random) -> Attack:
    """What is no HTTP, behind a request that is: the answer to that one comes first."""
    return Attack(pieces=(post(GOOD, b"X-Request-Id: j1") + draw.choice((b"\x00\x01", b"JUNK\r\n\r\n",
    b"GET / HTP\r\n\r\n")),),
                  ids=("j1",), answers=2)  # fmt: skip


def expecting(draw: random.Random) -> Attack:
    """Expect: 100-continue, before a body that comes, that is too large, or that was sent without waiting."""
    head = PREDICT + b"Expect: " + draw.choice((b"100-continue", b"100-CONTINUE", b"200-ok", b"")) + b"\r\n"
    length = draw.choice((len(GOOD), 90_000_000))
    return Attack(pieces=(head + b"Content-Length: %d\r\n\r\n" % length, draw.choice((0.0, 0.1)), GOOD))


# Bodies


def compressed(draw: random.Random) -> Attack:
    """Bombs: a few kilobytes that would be megabytes."""
    bomb = gzip.compress(b" " * draw.choice((1_000_000, 10_000_000)), 9)
    coding = draw.choice((b"gzip", b"deflate", b"br", b"zstd", b"gzip, gzip", b"x-gzip", b"GZIP"))
    return Attack(pieces=(post(bomb, b"Content-Encoding: " + coding),), allowed=REFUSED)


def large(draw: random.Random) -> Attack:
    """Too many bytes, texts or characters."""
    body = draw.choice((
        b"x" * draw.choice((70_000, 2_100_000, 5_000_000)), b'{"inputs":"' + b"ab " * 40_000 + b'"}',
        b'{"inputs":[' + b'"a",' * 300 + b'"a"]}', b'{"inputs":[' + b"[]," * 300_000 + b"[]]}",
        b'{"inputs":["' + b"a" * 90_000 + b'","' + b"b " * 40_000 + b'"]}',
        b'{"inputs":"' + b"\\u0000" * 20_000 + b'"}',
        b'{"inputs":"' + "e\u0301".encode() * 30_000 + b'"}', b'{"' + b"k" * 1_000_000 + b'":1}',
        b'{"inputs":"' + "\u202e\ufdfa".encode() * 15_000 + b'"}',
        b'{"inputs":"a","parameters":{"' + b"k" * 90_000 + b'":1}}',
    ))  # fmt: skip
    return Attack(pieces=(post(body),))


def odd_json(draw: random.Random) -> Attack:
    """Wrong UTF-8, NaN, huge numbers, deep nesting, duplicate keys, surrogates, wrong types, empty lists."""
    deep = draw.choice((100, 1000, 1025, 100_000))
    number = b"9" * draw.choice((19, 40, 5000))
    value = draw.choice((
        b"NaN", b"Infinity", b"-Infinity", b"1e999", number, b"-" + number, b"1." + number, b"1e-999", b"null",
        b"true", b"[]",
        b"{}", b'""', b"[[]]", b"[null]", b'["a",1]', b'{"a":1}', b'"\\ud800"', b'"\\udfff\\ud800"', b'"\xff"',
        b'"\xc0\x80"',
        b'"\xed\xa0\x80"', b'"\xf4\x90\x80\x80"', b'"\x00"', b'"\\u0000"', b'"\\x"', b'"', b"'a'", b"[" * deep,
        b"[" * deep + b"]" * deep,
        b'{"a":' * deep, b"[1,]", b"01", b"+1", b".5", b"0x1", b"/**/1", b'"a" "b"', b'"\xef\xbb\xbf"',
        b'"a"}{"inputs":"b"',
    ))  # fmt: skip
    body = draw.choice((
        b'{"inputs":' + value + b"}", b'{"inputs":"a","inputs":' + value + b"}",
        b'{"inputs":"a","parameters":' + value + b"}",
        b'{"inputs":"a","parameters":{"top_k":' + value + b"}}",
        b'{"inputs":"a","parameters":{"details":' + value + b"}}", value,
        b'{"inputs":[{"name":"text","datatype":"BYTES","shape":[1],"data":[' + value + b"]}]}", b"\xef\xbb\xbf" + GOOD,
        b'{"inputs":[{"name":"text","datatype":"BYTES","shape":' + value + b',"data":["a"]}]}',
        '{"inputs":"a"}'.encode("utf-16"),
    ))  # fmt: skip
    return Attack(
        pieces=(post(body, path=draw.choice((b"/predict", b"/predict", b"/v2/models/NAME/infer", b"/invocations"))),)
    )


def mutated(draw: random.Random) -> Attack:
    """A good request with some bytes changed, taken out, doubled or moved."""
    sent = bytearray(post(GOOD, b"Content-Type: application/json", b"Accept: */*"))
    for _ in range(draw.choice((1, 1, 2, 5, 20))):
        at = draw.randrange(len(sent))
        change = draw.randrange(5)
        if change == 0:
            sent[at] = draw.randrange(256)
        elif change == 1:
            del sent[at : at + draw.randint(1, 9)]
        elif change == 2:
            sent[at:at] = sent[at : at + draw.randint(1, 30)]
        elif change == 3:
            sent[at:at] = noise(draw, 9)
        else:
            sent[at] ^= 1 << draw.randrange(8)
    return Attack(pieces=(bytes(sent),), answers=3)


def flood(draw: random.Random) -> Attack:
    """A connection that says nothing, or an empty line."""
    return Attack(pieces=(draw.choice((b"", b"\r\n", b"P")),), end=draw.choice(("read", "close", "reset")))


def good(draw: random.Random) -> Attack:
    """As it should be, in pieces or at once."""
    name = f"g{draw.randrange(10**9)}"
    sent = post(GOOD, b"X-Request-Id: " + name.encode())
    pieces = (sent,) if draw.random() < 0.5 else drip(sent, 0.1, draw.randint(2, 20))
    return Attack(pieces=pieces, ids=(name,), allowed=frozenset({"2xx"}))


#: Each kind and how often it comes. The slow ones take seconds each.
KINDS: tuple[tuple[Kind, int], ...] = (
    (slow_head, 1), (slow_body, 1), (half_head, 2), (half_body, 2), (left_early, 10), (bad_chunks, 8), (odd_chunks, 6),
    (smuggled, 12), (huge_head, 3), (odd_head, 10), (odd_line, 12), (other_protocol, 4), (upgrade, 4), (pipelined, 2),
    (pipelined_then_junk, 2), (expecting, 4), (compressed, 2), (large, 3), (odd_json, 20), (mutated, 30), (flood, 2),
    (good, 4),
)  # fmt: skip
