"""What a worker hands to the challenger: texts with the answers that were given, when somebody takes them at once.

The challenger (`ftdeploy.serve.shadow`) takes datagrams at a socket in the private folder of the service. Handing over
is one system call that never waits: where the challenger is slow, hangs or has crashed, texts are dropped and counted.
The kernel holds a few datagrams at most (`net.unix.max_dgram_qlen`), so nothing piles up.
"""

from __future__ import annotations

import asyncio
import errno
import os
import random
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from ftdeploy.errors import ServeError
from ftdeploy.serve.exposition import Snapshot, sample

if TYPE_CHECKING:
    from ftdeploy.serve.model import Scored

#: The challenger's socket, in the folder of the metrics.
SOCKET = "shadow"
SHARE = "FTDEPLOY_SHADOW_SHARE"
#: Texts in a datagram at most.
_MOST = 64


def read_share(environment: Mapping[str, str] | None = None) -> float:
    """The share of requests that the challenger answers, too: `FTDEPLOY_SHADOW_SHARE`, by default all.

    Raises:
        ServeError: it is no share.
    """
    text = (os.environ if environment is None else environment).get(SHARE, "").strip()
    try:
        share = float(text or 1)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise ServeError(
            f"{SHARE} is {text!r}, and a share from 0 to 1 is wanted",
            cause="a typing error, or a percentage was written",
            fix="write 0.1 for a tenth of the requests, or leave it out for all",
        )
    return share


class Feed:
    """One worker's end. Used by its event loop alone.

    Args:
        folder: the private one of the service.
        champion: digest of the bundle that answers.
        share: of the requests that are handed over.
    """

    def __init__(self, folder: Path, champion: str, share: float) -> None:
        self._address = str(folder / SOCKET)
        self._champion = champion
        self._share = share
        self._end: socket.socket | None = None
        self._random = random.Random()  # noqa: S311  # which requests are compared is no secret
        self._sent = 0
        self._dropped = dict.fromkeys(("full", "size"), 0)

    def look(self) -> None:
        """See whether there is a challenger; called every second."""
        if not os.path.lexists(self._address):
            self.close()
        elif self._end is None:
            self._end = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._end.setblocking(False)

    def close(self) -> None:
        """Hand over nothing more."""
        if self._end is not None:
            self._end.close()
            self._end = None

    def offer(self, texts: Sequence[str], scored: Sequence[Scored]) -> None:
        """Hand over the texts of a request, once its answer has been given. Returns at once."""
        if self._end is not None and self._random.random() < self._share:
            asyncio.get_running_loop().call_soon(self._hand_over, texts, scored)

    def _hand_over(self, texts: Sequence[str], scored: Sequence[Scored]) -> None:
        for start in range(0, len(texts), _MOST):
            self._send(texts[start : start + _MOST], scored[start : start + _MOST])

    def _send(self, texts: Sequence[str], scored: Sequence[Scored]) -> None:
        if self._end is None:
            return
        message = {
            "champion": self._champion,
            "texts": texts,
            "labels": [one.summary[0] for one in scored],
            "scores": [one.summary[1] for one in scored],
        }
        try:
            self._end.sendto(orjson.dumps(message), self._address)
            self._sent += len(texts)
        except BlockingIOError:
            self._dropped["full"] += len(texts)
        except (FileNotFoundError, ConnectionRefusedError):
            self.close()
        except (OSError, TypeError) as error:
            half = len(texts) // 2
            if half and isinstance(error, OSError) and error.errno == errno.EMSGSIZE:
                self._send(texts[:half], scored[:half])
                self._send(texts[half:], scored[half:])
            else:
                self._dropped["size"] += len(texts)

    def snapshot(self) -> Snapshot:
        """Everything counted here."""
        dropped = {
            sample("ftdeploy_shadow_dropped_total", reason=reason): texts for reason, texts in self._dropped.items()
        }
        return {"ftdeploy_shadow_sent_total": self._sent, **dropped}
