"""Clients that ask a service without a pause, and the processes behind it, for tests of what happens meanwhile."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

BODY = json.dumps({"inputs": "a superb film"})


@dataclass
class Answers:
    """What the clients saw.

    Attributes:
        outcomes: statuses; ``refused`` is no connection, ``closed`` a connection that ended before its answer.
        digests: of the models that answered, in the order of their first answer.
        pause: the longest time between two answers, seconds.
    """

    outcomes: Counter[int | str] = field(default_factory=Counter)
    digests: list[str] = field(default_factory=list)
    pause: float = 0.0
    last: float = field(default_factory=time.monotonic)
    over: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def until(self, more: int) -> None:
        """Wait for so many more good answers; not for ever."""
        wanted = self.outcomes[200] + more
        for _ in range(1200):
            if self.outcomes[200] >= wanted:
                return
            time.sleep(0.05)
        raise AssertionError(f"no {more} more answers came: {self.outcomes}")

    def note(self, outcome: int | str, digest: str | None = None) -> None:
        """Count one."""
        with self.lock:
            self.outcomes[outcome] += 1
            if outcome == 200:
                now = time.monotonic()
                self.pause, self.last = max(self.pause, now - self.last), now
                if digest and digest not in self.digests:
                    self.digests.append(digest)


@contextmanager
def hammering(port: int, clients: int = 6, *, keep_alive: bool = True) -> Iterator[Answers]:
    """Ask on so many connections until the block ends, and then until every answer is there.

    Args:
        port: of the service.
        clients: connections.
        keep_alive: ask again on the same one.
    """
    answers = Answers()
    threads = [threading.Thread(target=_ask, args=(port, answers, keep_alive)) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield answers
    finally:
        answers.over.set()
        for thread in threads:
            thread.join()


def _ask(port: int, answers: Answers, keep_alive: bool) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    headers = {"Content-Type": "application/json"} | ({} if keep_alive else {"Connection": "close"})
    while not answers.over.is_set():
        try:
            if connection.sock is None:
                connection.connect()
        except OSError:
            answers.note("refused")
            time.sleep(0.02)
            continue
        try:
            connection.request("POST", "/predict", BODY, headers)
            reply = connection.getresponse()
            reply.read()
            answers.note(reply.status, reply.headers["x-model-digest"])
        except (OSError, http.client.HTTPException):
            answers.note("closed")
            connection.close()
    connection.close()


def ask(port: int, path: str = "/predict", body: str | None = BODY) -> tuple[int, Mapping[str, str], str]:
    """Status, headers and text of one answer, on a connection of its own; a GET when there is no body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("POST" if body else "GET", path, body, {"Content-Type": "application/json"})
        reply = connection.getresponse()
        return reply.status, {name.lower(): value for name, value in reply.getheaders()}, reply.read().decode()
    finally:
        connection.close()


def children(pid: int) -> list[int]:
    """The processes that a process has started and that are there."""
    try:
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()]
    except FileNotFoundError:
        return []


def zygote_of(supervisor: int) -> int:
    """The zygote, when there is exactly one."""
    (found,) = children(supervisor)
    return found


def workers_of(supervisor: int) -> list[int]:
    """The workers of all generations."""
    return [worker for zygote in children(supervisor) for worker in children(zygote)]


def alive(pid: int) -> bool:
    """Whether a process runs; a dead one that nobody has taken note of does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def gone(pids: list[int]) -> bool:
    """Whether all of them end; waits, but not for ever."""
    for _ in range(600):
        if not any(alive(pid) for pid in pids):
            return True
        time.sleep(0.05)
    return False
