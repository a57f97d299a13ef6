"""A challenger: answers the texts of live traffic unheard, and counts where it would have answered otherwise.

It is a process of its own, with the code that its bundle carries, so that nothing that it does can reach those who
answer: it may crash or hang. It runs when nobody else wants the processor (SCHED_IDLE), with one thread, on the CPU.
Texts come as datagrams (`ftdeploy.serve.shadow_feed`), are kept in memory until they are answered, and are written
nowhere.

What it counts stands in the metrics of the service, and every ten seconds in a file of its own beside its bundle,
``shadow/CHAMPION-RANDOM.json``, for `ftdeploy registry shadow`: such files are added up, so any number of services
may write them, as often as they are started.
"""

from __future__ import annotations

import faulthandler
import json
import logging
import os
import secrets
import select
import signal
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from ftdeploy.batching import by_length
from ftdeploy.errors import FtdeployError
from ftdeploy.serve.limits import read_limits
from ftdeploy.serve.log_options import read_log_options
from ftdeploy.serve.logs import configure_logs, flush_logs
from ftdeploy.serve.model import bundle_digest, forward_of, joined, open_model
from ftdeploy.serve.shadow_counts import Best, Comparisons
from ftdeploy.serve.shadow_feed import SOCKET
from ftdeploy.serve.totals import Totals
from ftdeploy.signature import read_signature

if TYPE_CHECKING:
    from ftdeploy.predictor import Predictor
    from ftdeploy.serve.model import Scored

log = logging.getLogger("ftdeploy.serve.shadow")  # this module runs as __main__

#: While so many texts wait, no more are taken.
MOST_WAITING = 512
#: Seconds between two looks whether there is room again.
_FULL_SECONDS = 0.05
#: Texts that are answered before the counts are looked at again.
AT_ONCE = 64
#: What a forward pass has when the supervisor has gone, in seconds.
_GRACE = 4.0
#: Larger than any datagram that Linux lets pass by default, bytes.
_DATAGRAM = 1 << 20
#: Seconds between two publications of the metrics, and of the file.
TICK = 1.0
SAVE = 10.0
#: A forward pass that takes longer hangs, and so ends the process, in seconds. No one waits for it, and it has the
#: processor only when nobody else wants it.
HANG_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Compared:
    """A text, and what the champion answered."""

    champion: str
    text: str
    best: Best


class Inbox:
    """Texts that wait for the challenger; a thread takes them from the socket as soon as they come. It ends the process
    when the supervisor has gone, whatever hangs in it.

    Args:
        address: of the socket; what stands there goes.
        above: ends when the supervisor does.
    """

    def __init__(self, address: Path, above: int) -> None:
        address.unlink(missing_ok=True)
        self._end = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._end.bind(str(address))
        self._above = above
        self._waiting: deque[Compared] = deque()
        self._news = threading.Condition()
        self.over = False
        threading.Thread(target=self._read, name="inbox", daemon=True).start()

    def take(self, most: int, *, seconds: float) -> list[Compared]:
        """The oldest texts; none when none comes for so long, or the supervisor has gone."""
        with self._news:
            self._news.wait_for(lambda: self._waiting or self.over, seconds)
            return [self._waiting.popleft() for _ in range(min(most, len(self._waiting)))]

    def _read(self) -> None:
        while not self.over:
            room = len(self._waiting) < MOST_WAITING  # else they are dropped where they are counted, at the other end
            wanted = [self._above, self._end.fileno()] if room else [self._above]
            ready, _, _ = select.select(wanted, [], [], None if room else _FULL_SECONDS)
            if self._end.fileno() in ready:
                self._sort_in(self._end.recv(_DATAGRAM))
            if self._above in ready and not os.read(self._above, 1):
                self.over = True
        with self._news:
            self._news.notify()
        time.sleep(_GRACE)  # the process ends by itself before that, unless it hangs
        os._exit(1)

    def _sort_in(self, datagram: bytes) -> None:
        found = orjson.loads(datagram)
        rows = [
            Compared(found["champion"], text, (label, score))
            for text, label, score in zip(found["texts"], found["labels"], found["scores"], strict=True)
        ]
        with self._news:
            self._waiting.extend(rows)
            self._news.notify()


class Shadow:
    """The challenger's model and what it has shown.

    Args:
        source: its bundle's source folder.
        totals: where its metrics are left.
        state: the folder of its file; made when there is something to write.
    """

    def __init__(self, source: Path, totals: Totals, state: Path) -> None:
        signature = read_signature(source / "model")
        self._limits = replace(read_limits(signature.serve), threads=1, lanes=1)
        self._source = source
        self._totals = totals
        self._state = state
        self._run = secrets.token_hex(4)
        self._since = time.time()
        self._complained = False
        self.counts = Comparisons(bundle_digest(source))
        self.about = {"bundle": signature.name, "digest": self.counts.challenger}

    def run(self, inbox_at: Path, above: int) -> None:
        """Answer what comes until the supervisor ends.

        Raises:
            FtdeployError: the model is unusable.
            OSError: there can be no socket.
        """
        predictor, _ = open_model(self._source / "model", self._limits)
        step_aside()
        inbox = Inbox(inbox_at, above)
        log.info("answers unheard as a challenger, on %s", predictor.provider)
        published = saved = 0.0
        while not inbox.over:
            found = inbox.take(AT_ONCE, seconds=TICK)
            self._compare(predictor, found)
            now = time.monotonic()
            if now - published >= TICK:
                published = now
                self._totals.publish(self.counts.snapshot())
            if now - saved >= SAVE:
                saved = now
                self.save()
        self._totals.publish(self.counts.snapshot())
        self.save()

    def _compare(self, predictor: Predictor, rows: Sequence[Compared]) -> None:
        encoded = predictor.encode([row.text for row in rows]) if rows else []
        forward = forward_of(predictor)
        lengths = [len(one.ids) for one in encoded]
        answered: dict[int, Scored] = {}
        for batch in by_length(lengths, tokens=self._limits.batch_tokens, rows=self._limits.batch_rows):
            faulthandler.dump_traceback_later(HANG_SECONDS, exit=True)  # a thread in C: it asks for no interpreter
            try:
                answered |= zip(batch, forward([encoded[index] for index in batch]), strict=True)
            except Exception:
                log.exception("a forward pass over %d rows failed", len(batch))
            finally:
                faulthandler.cancel_dump_traceback_later()
        failed = {one.text for index, one in enumerate(encoded) if index not in answered}
        self.counts.failed += len(failed)
        whole = [number for number in range(len(rows)) if number not in failed]
        place = {number: at for at, number in enumerate(whole)}
        kept = [index for index, one in enumerate(encoded) if one.text in place]
        if not kept:
            return
        _, scored = joined(
            predictor,
            [rows[number].text for number in whole],
            [replace(encoded[index], text=place[encoded[index].text]) for index in kept],
            [answered[index] for index in kept],
        )
        for number, one in zip(whole, scored, strict=True):
            self.counts.note(rows[number].champion, [rows[number].best], [one.summary])

    def save(self) -> None:
        """Write the counts down, a file for each champion. What the disk refuses is told once, and in the metrics."""
        for champion, pair in self.counts.pairs.items():
            document: dict[str, Any] = {
                "format": 1,
                "champion": champion,
                "challenger": self.counts.challenger,
                "since": self._since,
                "until": time.time(),
                **pair.as_dict(),
            }
            path = self._state / f"{champion}-{self._run}.json"
            fresh = path.with_suffix(".new")
            try:
                self._state.mkdir(exist_ok=True)
                fresh.write_bytes(orjson.dumps(document, option=orjson.OPT_INDENT_2))
                fresh.replace(path)
            except OSError as error:
                if not self._complained:
                    log.error("what the challenger showed cannot be written to %s: %s", path, error.strerror)  # noqa: TRY400  # no traceback: the sentence says it
                self._complained = True


def step_aside() -> None:
    """Have the processor only when nobody else wants it, where the system knows such a rule."""
    try:
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    except (OSError, AttributeError) as error:
        log.debug("no idle scheduling: %s", error)


def main() -> None:
    """Run as ``python -m ftdeploy.serve.shadow ORDER``; ORDER is what `ShadowWatch` writes as JSON."""
    faulthandler.enable()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(19)  # until the model is open: on a busy machine it would never be, with no share at all
    order = json.loads(sys.argv[1])
    totals = Path(order["totals"])
    configure_logs(read_log_options(), {})
    try:
        shadow = Shadow(Path(__file__).resolve().parents[2], Totals(totals, order["name"]), Path(order["state"]))
        configure_logs(read_log_options(), shadow.about)
        shadow.run(totals / SOCKET, sys.stdin.fileno())
    except FtdeployError as error:
        log.error("the challenger cannot be used: %s. %s. %s", error.what, error.cause, error.fix)  # noqa: TRY400  # three parts say more than a traceback
        flush_logs()
        os._exit(error.exit_code)
    flush_logs()
    os._exit(0)  # the inbox's thread may be in the middle of a read


if __name__ == "__main__":
    main()
