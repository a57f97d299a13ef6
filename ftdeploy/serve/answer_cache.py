"""Answers kept for texts that come again, without keeping the texts.

An answer is found by a 128-bit digest of its text (BLAKE2b, RFC 7693) under a key that is drawn anew for each process:
what is in memory can neither be read nor be compared with digests of known texts. Nothing but the text goes into it,
since a cache belongs to one model. The row that was asked for longest ago goes first.

Two things to know before switching it on: where int8 takes one scale for a whole batch, an answer depends a little on
the rows beside it, and the kept one is that of its first batch; and whoever may ask can tell by the time that it takes
whether a text was asked before.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b

from ftdeploy.serve.exposition import Snapshot
from ftdeploy.serve.model import Counted, Scored

DIGEST_BYTES = 16


@dataclass(frozen=True, slots=True)
class Remembered:
    """What is known of a text without its tokens, which would be the text; as of `Encoded`."""

    length: int
    kept: int
    unknown: int

    def truncated(self) -> bool:
        """Whether the text was cut."""
        return self.length > self.kept


class AnswerCache:
    """Used by the event loop alone. With two labels and an embedding of 384 numbers a row takes about 2.4 kB.

    Args:
        rows: most answers that are kept.
    """

    def __init__(self, rows: int) -> None:
        self._most = rows
        self._held: OrderedDict[bytes, tuple[Remembered, Scored]] = OrderedDict()
        self._key = os.urandom(32)
        self._hits = self._misses = 0

    async def through(self, texts: list[str],
                      ask: Callable[[list[str]], Awaitable[tuple[Sequence[Counted], Sequence[Scored]]]],
                      ) -> tuple[Sequence[Counted], Sequence[Scored], Sequence[bool]]:  # fmt: skip
        """Answers to some texts, in their order, asking only for those that are not here, each once.

        Args:
            texts: at least one.
            ask: the model.

        Returns:
            What is known of the texts, the answers, and which of them the model was not asked for.
        """
        keys = [self._digest(text) for text in texts]
        found = {key: self._held[key] for key in keys if key in self._held}
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in found}
        if missing:
            rows, scored = await ask(list(missing.values()))
            for key, row, one in zip(missing, rows, scored, strict=True):
                # Rows of their batch's arrays would keep the whole arrays.
                own = replace(one, embedding=one.embedding.copy(), logits=one.logits.copy())
                found[key] = Remembered(row.length, row.kept, row.unknown), own
        cached = [missing.pop(key, None) is None for key in keys]
        for key in keys:
            self._held[key] = found[key]
            self._held.move_to_end(key)
        while len(self._held) > self._most:
            self._held.popitem(last=False)
        self._hits += sum(cached)
        self._misses += len(cached) - sum(cached)
        return [found[key][0] for key in keys], [found[key][1] for key in keys], cached

    def _digest(self, text: str) -> bytes:
        return blake2b(text.encode(errors="surrogatepass"), digest_size=DIGEST_BYTES, key=self._key).digest()

    def snapshot(self) -> Snapshot:
        """What it does, for the metrics."""
        return {
            "ftdeploy_cache_hits_total": self._hits,
            "ftdeploy_cache_misses_total": self._misses,
            "ftdeploy_cache_rows": len(self._held),
            "ftdeploy_cache_limit_rows": self._most,
        }
