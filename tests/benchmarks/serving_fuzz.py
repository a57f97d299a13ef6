"""Attack a served bundle with some thousands of bad requests, byte by byte, and see whether it minds.

Usage: ``python tests/benchmarks/serving_fuzz.py BUNDLE [--requests 20000] [--seed 0] [--connections 64]``. Starts
``bentoml serve`` on a free port with a patience of three seconds, sends what `serving_attacks.py` makes, and asks good
questions beside it all the time. Prints outcomes by kind, memory and open files, and ends with 1 when one of them is
wrong: an outcome that the kind does not allow, any 5xx but a counted 503 refusal, a connection that hangs, an answer
that is no HTTP or belongs to another request, a wrong answer to a good question, 10 MB or more of growth after the
warm-up, files left open, a process that is gone or another one.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import re
import socket
import struct
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # tests import it from there

from benchmarks.serving_attacks import GOOD, KINDS, Attack, Kind, good, post
from benchmarks.serving_service import Service, bentoml_serve, serving

#: Seconds for headers and bodies, given to the service.
PATIENCE = 3.0
#: Seconds in which every connection must have come to an end: headers, body, five seconds of lingering, and reserve.
HANG = 4 * PATIENCE + 5 + 15
GROWTH = 10_000_000
_HEAD = re.compile(rb"HTTP/1\.1 (\d{3}) [^\r\n]*\r\n((?:[a-z0-9-]+: [^\r\n]*\r\n)*)\r\n")


class NoHttpError(Exception):
    """What came back is no answer."""


@dataclass(frozen=True)
class Answer:
    """One answer: status, headers by lower-case name, body."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes

    def last(self) -> bool:
        """Whether no other comes after it."""
        return self.headers.get(b"connection", b"").lower() == b"close"

    def check(self, *, bodiless: bool) -> None:
        """An error is our JSON.

        Raises:
            NoHttpError: it is something else.
        """
        if self.status < 400 or (bodiless and not self.body):
            return
        try:
            found = json.loads(self.body)
        except ValueError:
            found = {}
        if set(found) != {"error", "error_type"}:
            raise NoHttpError(f"{self.status} with {self.body[:80]!r}")


def take_answer(received: bytearray, *, bodiless: bool) -> Answer | None:
    """The first whole answer, taken out of what was received; None when it is not whole yet.

    Args:
        received: shortened by the answer.
        bodiless: of a HEAD request: the length is said, and no body comes.

    Raises:
        NoHttpError: it is no HTTP.
    """
    if not received:
        return None
    found = _HEAD.match(received)
    if found is None:
        if b"\r\n\r\n" in received or not b"HTTP/1.1 ".startswith(received[:9]):
            raise NoHttpError(bytes(received[:80]))
        return None
    lines = (line.split(b": ", 1) for line in bytes(found[2]).splitlines())
    headers = dict(lines)
    status = int(found[1])
    said = bodiless and received[found.end() : found.end() + 1] != b"{"  # what is no HTTP is told so, HEAD or not
    length = 0 if said or status == 100 else int(headers[b"content-length"])
    if len(received) < found.end() + length:
        return None
    body = bytes(received[found.end() : found.end() + length])
    del received[: found.end() + length]
    return Answer(status, headers, body)


@dataclass
class Result:
    """What came of an attack."""

    outcome: str
    answers: list[Answer] = field(default_factory=list)
    complaint: str = ""


async def strike(attack: Attack, port: int) -> Result:
    """Carry out one attack."""
    result = Result("closed")
    received = bytearray()
    try:
        async with asyncio.timeout(HANG):
            reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**22)
            try:
                closed = await _exchange(attack, reader, writer, received, result)
            finally:
                _reset(writer)
    except TimeoutError:
        return Result("HANG", result.answers, f"no end after {HANG:g} s")
    except NoHttpError as wrong:
        return Result("BROKEN", result.answers, str(wrong))
    except OSError:
        return Result("unreachable", [], "could not connect")
    if attack.end in ("close", "reset"):
        return Result("left")
    if received and closed:
        result.complaint = "" if attack.allowed >= {"closed"} else "an answer was cut off"
    return _judged(attack, result)


async def _exchange(attack: Attack, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, received: bytearray,
                    result: Result) -> bool:  # fmt: skip
    """Send and read; whether the server closed."""
    bodiless = attack.pieces[:1] != () and isinstance(attack.pieces[0], bytes) and attack.pieces[0].startswith(b"HEAD ")
    sending = asyncio.create_task(_send(attack, writer))
    try:
        if attack.end in ("close", "reset"):
            await sending
            return False
        wanted = max(attack.answers, len(attack.ids))
        grace: float | None = None  # after the last answer that may come, one more would be seen
        while True:
            while (answer := take_answer(received, bodiless=bodiless)) is not None:
                if answer.status != 100:
                    result.answers.append(answer)
                    answer.check(bodiless=bodiless)
            if len(result.answers) >= wanted:
                grace = 0.02
            try:
                piece = await asyncio.wait_for(reader.read(65_536), grace)
            except TimeoutError:
                if sending.done():
                    return False
                continue
            except ConnectionError:
                return True
            if not piece:
                return True
            received += piece
    finally:
        sending.cancel()
        with suppress(asyncio.CancelledError, ConnectionError):
            await sending


async def _send(attack: Attack, writer: asyncio.StreamWriter) -> None:
    for piece in attack.pieces:
        if isinstance(piece, bytes):
            writer.write(piece)
            await writer.drain()
        else:
            await asyncio.sleep(piece)
    if attack.end == "half":
        writer.write_eof()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close without leaving a port behind that rests for a minute: there are not enough of them."""
    connection = writer.get_extra_info("socket")
    with suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def _judged(attack: Attack, result: Result) -> Result:
    """The outcome's name, and what is wrong with it."""
    answers = result.answers
    statuses = [answer.status for answer in answers]
    first = statuses[0] if statuses else None
    result.outcome = "closed" if first is None else str(first)
    kind = "closed" if first is None else f"{first // 100}xx"
    if any(status >= 500 and status != 503 for status in statuses):
        result.complaint = f"answered {statuses}"
    elif kind not in attack.allowed and first not in (429, 503):
        result.complaint = result.complaint or f"{result.outcome} is not allowed"
    elif len(answers) > max(attack.answers, len(attack.ids)):
        result.complaint = f"{len(answers)} answers: {statuses}"
    elif attack.ids:
        told = [answer.headers.get(b"x-request-id", b"").decode() for answer in answers]
        wrong = [(name, got) for name, got in zip(attack.ids, told, strict=False) if got not in ("", name)]
        if wrong or (len(answers) < len(attack.ids) and not (answers and answers[-1].last())):
            result.complaint = f"{len(answers)} of {len(attack.ids)} answers, other ids than asked for: {wrong[:3]}"
    return result


@dataclass
class Watched:
    """What became of the good questions."""

    asked: int = 0
    slowest: float = 0.0
    refused: int = 0
    complaints: list[str] = field(default_factory=list)


async def watch(port: int, expected: str, stop: asyncio.Event, found: Watched) -> None:
    """Ask a good question again and again, over a new connection each time, and look at the answers."""
    draw = random.Random(1)  # noqa: S311  # test data
    while not stop.is_set():
        began = time.monotonic()
        attack = good(draw)
        result = await strike(attack, port)
        found.asked += 1
        found.slowest = max(found.slowest, time.monotonic() - began)
        status = result.answers[0].status if result.answers else None
        if status in (429, 503):
            found.refused += 1
        elif result.complaint or status != 200:
            found.complaints.append(f"{result.outcome}: {result.complaint}")
        elif json.loads(result.answers[0].body)[0]["label"] != expected:
            found.complaints.append(f"answered {result.answers[0].body!r}")
        await asyncio.sleep(0.05)


@dataclass
class Report:
    """What a run found.

    Attributes:
        outcomes: kind -> outcome -> how many.
        complaints: a few of each kind, with what was sent.
        memory: bytes, after the warm-up and after each round.
        files: open ones, after the warm-up and at the end.
    """

    outcomes: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    complaints: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    wrong: int = 0
    memory: list[int] = field(default_factory=list)
    files: tuple[int, int] = (0, 0)
    watched: Watched = field(default_factory=Watched)
    alive: bool = True

    @property
    def grown(self) -> int:
        """Bytes, from after the warm-up to the end."""
        return self.memory[-1] - self.memory[0]

    def failures(self) -> list[str]:
        """What is wrong, a line each; empty when nothing is."""
        checks = (
            (self.wrong, f"{self.wrong} attacks had another outcome than they may have"),
            (self.watched.complaints, f"good questions were answered wrongly: {self.watched.complaints[:3]}"),
            (self.grown >= GROWTH, f"memory grew by {self.grown / 1e6:.1f} MB"),
            (self.files[1] > self.files[0], f"open files: {self.files[0]} before, {self.files[1]} after"),
            (not self.alive, "the service ended, or a worker was started anew"),
        )
        return [text for bad, text in checks if bad]


async def attack_all(service: Service, report: Report, numbers: Iterable[int], *, seed: int, connections: int) -> None:
    """Attacks, some at the same time; each depends on the seed and its number alone."""
    numbers = iter(numbers)
    kinds, weights = zip(*KINDS, strict=True)

    async def attacker() -> None:
        for number in numbers:
            draw = random.Random(f"{seed}/{number}")  # noqa: S311  # test data
            kind: Kind = draw.choices(kinds, weights)[0]
            attack = kind(draw)
            result = await strike(attack, service.port)
            name = kind.__name__
            report.outcomes[name][result.outcome] += 1
            if result.complaint:
                report.wrong += 1
                sent = b"".join(piece for piece in attack.pieces if isinstance(piece, bytes))
                report.complaints[name].append(f"#{number} {result.complaint}; sent {sent[:300]!r}")

    await asyncio.gather(*(attacker() for _ in range(connections)))


async def settled(service: Service) -> tuple[int, int]:
    """Memory and files when nothing is going on any more: no fewer files for some seconds."""
    still = 0
    files = service.files()
    while still < 6:
        await asyncio.sleep(0.5)
        now = service.files()
        still = still + 1 if now >= files else 0
        files = now
    return service.memory(), files


async def campaign(service: Service, *, requests: int, seed: int, connections: int = 64, rounds: int = 4) -> Report:
    """Warm up with the requests of a round, of another seed, then attack, with good questions beside."""
    report, stop = Report(), asyncio.Event()
    pids = service.pids()
    reference = await strike(Attack(pieces=(post(GOOD),)), service.port)
    expected = json.loads(reference.answers[0].body)[0]["label"]
    size = requests // rounds
    await attack_all(service, Report(), range(size), seed=seed + 1, connections=connections)
    memory, files = await settled(service)
    report.memory.append(memory)
    watching = asyncio.create_task(watch(service.port, expected, stop, report.watched))
    for number in range(rounds):
        numbers = range(number * size, (number + 1) * size)
        await attack_all(service, report, numbers, seed=seed, connections=connections)
        if number + 1 == rounds:
            stop.set()
            await watching
        memory, files_after = await settled(service)
        report.memory.append(memory)
    report.files = (files, files_after)
    report.alive = service.process.poll() is None and service.pids() == pids
    return report


def render(report: Report) -> Iterator[str]:
    """The table, and what is wrong."""
    total: Counter[str] = Counter()
    for name, outcomes in report.outcomes.items():
        total.update(outcomes)
        found = ", ".join(f"{outcome} {count}" for outcome, count in sorted(outcomes.items()))
        yield f"{name:20} {sum(outcomes.values()):>6}  {found}"
    yield f"{'all':20} {sum(total.values()):>6}  " + ", ".join(
        f"{name} {count}" for name, count in sorted(total.items())
    )
    watched = report.watched
    yield (f"good questions beside: {watched.asked}, slowest {watched.slowest:.2f} s, {watched.refused} refused, "
           f"{len(watched.complaints)} wrong")  # fmt: skip
    rounds = ", ".join(f"{memory / 1e6:.1f}" for memory in report.memory)
    yield f"memory {report.grown / 1e6:+.1f} MB ({rounds}), open files {report.files[0]} -> {report.files[1]}"
    for name, lines in report.complaints.items():
        yield from (f"WRONG {name}: {line}" for line in lines[:5])
    yield from (f"FAILED {line}" for line in report.failures())


def main() -> int:
    """Print the report; 1 when something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--connections", type=int, default=64)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ftdeploy-fuzz-") as folder:
        log = Path(folder) / "log"
        patience = {"FTDEPLOY_BODY_SECONDS": f"{PATIENCE:g}", "FTDEPLOY_TRAFFIC": "off"}
        with serving(bentoml_serve(asked.bundle), log=log, **patience) as service:
            report = asyncio.run(
                campaign(service, requests=asked.requests, seed=asked.seed, connections=asked.connections)
            )
        for line in render(report):
            sys.stdout.write(line + "\n")
        if report.failures():
            sys.stdout.write("the end of the log:\n" + log.read_text(encoding="utf-8", errors="replace")[-3000:] + "\n")
        return 1 if report.failures() else 0


if __name__ == "__main__":
    sys.exit(main())
