"""What the service counts. Written by the event loop alone, so there are no locks; read out as a `Snapshot`.

One request costs one `Metrics.observe`, one text one line of `Texts.note`, one forward pass one `Flow.note`.
prometheus_client is not used: BentoML puts it into a mode that keeps files in one folder shared by every service of a
user, which the next service to start wipes; and its counters cost several times as much.
"""

from __future__ import annotations

import platform
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ftdeploy.serve.exposition import Snapshot, sample
from ftdeploy.serve.thresholds import sure_enough
from ftdeploy.tasks import TASKS

if TYPE_CHECKING:
    from ftdeploy.serve.model import Counted, Scored
    from ftdeploy.signature import Signature

#: Upper bounds of latencies, seconds: six a decade, 0.5 ms to 30 s, so that a quantile is told within a third.
SECONDS = (0.0005, 0.00075,
           *(round(step * scale, 5) for scale in (0.001, 0.01, 0.1, 1) for step in (1, 1.5, 2, 3, 5, 7.5)),
           10, 15, 20, 30)  # fmt: skip
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
TOKENS = (8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384)
SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)
#: Why a request or a connection was shed.
SHED = ("queue", "requests", "large_bodies", "connections", "deadline", "bulk")
#: Why a connection was closed on our side: among others headers that did not come, an answer that nobody read.
ENDED = ("overloaded", "head_timeout", "too_large", "not_http", "stalled")
#: Labels with a counter of their own; the answers with another label are counted together.
LABELS = 50
OTHER = "other"
#: Weight of the latest forward pass in the pace from which waiting times are told.
PACE = 0.1


class Histogram:
    """How often values fell between bounds.

    Args:
        bounds: upper bounds, ascending; a value on a bound belongs below it.
    """

    __slots__ = ("_bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total: float = 0

    def add(self, value: float) -> None:
        """Count a value."""
        self.counts[bisect_left(self._bounds, value)] += 1
        self.total += value

    def extend(self, values: Sequence[float]) -> None:
        """Count some values; as often `add`, at half the cost."""
        bounds, counts = self._bounds, self.counts
        for value in values:
            counts[bisect_left(bounds, value)] += 1
        self.total += sum(values)

    def snapshot(self, name: str, /, **labels: str) -> Snapshot:
        """Its samples."""
        found: Snapshot = {}
        count = 0
        for bound, here in zip((*map(float, self._bounds), "+Inf"), self.counts, strict=True):
            count += here
            found[sample(f"{name}_bucket", **labels, le=str(bound))] = count
        found[sample(f"{name}_sum", **labels)] = self.total
        found[sample(f"{name}_count", **labels)] = count
        return found


class Connections:
    """The connections of one process; counted by its HTTP protocol.

    Attributes:
        open: now.
        limit: most at the same time.
        refused: let go because there were too many.
        ended: reason -> connections closed by us before a request was complete; the reasons are `ENDED`.
    """

    def __init__(self) -> None:
        self.open = self.limit = self.refused = 0
        self.ended = dict.fromkeys(ENDED, 0)


class Metrics:
    """Requests by route and status, their latency, and what was shed.

    Attributes:
        shed: reason -> requests; the reasons are `SHED`.
    """

    def __init__(self) -> None:
        self.connections = Connections()
        self.shed = dict.fromkeys(SHED, 0)
        self._routes: dict[str, tuple[dict[int, int], Histogram]] = {}

    def observe(self, route: str, status: int, seconds: float) -> None:
        """Count one answered request.

        Args:
            route: one of a fixed set, never what the client typed.
            status: HTTP status.
            seconds: from the first byte of the request to the last of the answer.
        """
        found = self._routes.get(route)
        if found is None:
            found = self._routes[route] = ({}, Histogram(SECONDS))
        statuses, latency = found
        statuses[status] = statuses.get(status, 0) + 1
        latency.add(seconds)

    def snapshot(self) -> Snapshot:
        """Everything counted here."""
        found: Snapshot = {}
        for route, (statuses, latency) in sorted(self._routes.items()):
            for status, count in sorted(statuses.items()):
                found[sample("ftdeploy_requests_total", route=route, status=str(status))] = count
            found |= latency.snapshot("ftdeploy_request_duration_seconds", route=route)
        shed = self.shed | {"connections": self.connections.refused}
        found |= {sample("ftdeploy_shed_total", reason=reason): count for reason, count in shed.items()}
        ended = self.connections.ended.items()
        found |= {sample("ftdeploy_connections_ended_total", reason=reason): count for reason, count in ended}
        found["ftdeploy_connections"] = self.connections.open
        found["ftdeploy_connections_limit"] = self.connections.limit
        return found


class Flow:
    """What went through the model. Written by the batcher alone."""

    def __init__(self) -> None:
        self.rows = Histogram(ROWS)
        self.padded = Histogram(TOKENS)
        self.waited = Histogram(SECONDS)
        self.forward = Histogram(SECONDS)
        self.tokens = 0
        self.failed = 0
        self._seconds, self._rows = 0.001, 1.0  # of one pass, moving averages

    def note(self, lengths: Sequence[int], waited: Sequence[float], seconds: float, *, failed: bool) -> None:
        """Count one forward pass.

        Args:
            lengths: tokens of each of its rows.
            waited: seconds in the queue of each of its rows.
            seconds: that it took.
            failed: it raised an error.
        """
        self.rows.add(len(lengths))
        self.padded.add(len(lengths) * max(lengths))
        self.forward.add(seconds)
        self.waited.extend(waited)
        self.tokens += sum(lengths)
        self.failed += failed
        self._seconds += PACE * (seconds - self._seconds)
        self._rows += PACE * (len(lengths) - self._rows)

    @property
    def seconds_a_row(self) -> float:
        """What a row took of late, in the lane that it was in."""
        return self._seconds / self._rows

    def snapshot(self) -> Snapshot:
        """Everything counted here."""
        return {
            **self.waited.snapshot("ftdeploy_queue_duration_seconds"),
            **self.forward.snapshot("ftdeploy_forward_duration_seconds"),
            **self.rows.snapshot("ftdeploy_batch_rows"),
            **self.padded.snapshot("ftdeploy_batch_padded_tokens"),
            "ftdeploy_batch_tokens_total": self.tokens,
            "ftdeploy_forward_failures_total": self.failed,
        }


class Texts:
    """What was answered: lengths, cuts, labels, confidence. What a drift looks like before anything measures it.

    Args:
        signature: of the model; labels and confidence are its own, whatever was answered in their place.
    """

    def __init__(self, signature: Signature | None = None) -> None:
        self._signature = signature if signature is not None and signature.fallback else None
        self._sure = signature is None or TASKS[signature.task].probabilities
        self._fallbacks = 0
        self._lengths = Histogram(TOKENS)
        self._confidence = Histogram(SHARES)
        self._labels: Counter[str] = Counter()
        self._truncated = 0
        self._unknown = 0

    def note(self, rows: Sequence[Counted], scored: Sequence[Scored]) -> None:
        """Count the texts of an answered request."""
        lengths, confidence, labels = self._lengths.counts, self._confidence.counts, self._labels
        tokens, certain = 0, 0.0
        for row, one in zip(rows, scored, strict=True):  # `Histogram.add` twice, without its calls
            (label, score), length = one.summary, row.length
            lengths[bisect_left(TOKENS, length)] += 1
            tokens += length
            if self._sure:  # vectors and numbers are none that could be sure of anything
                confidence[bisect_left(SHARES, score)] += 1
                certain += score
            labels[label] += 1
            self._unknown += row.unknown
            if row.truncated():
                self._truncated += 1
        self._lengths.total += tokens
        self._confidence.total += certain
        if self._signature is not None:
            self._fallbacks += sum(not sure_enough(one.answer, self._signature) for one in scored)

    def snapshot(self, labels: Sequence[str]) -> Snapshot:
        """Everything counted here.

        Args:
            labels: of the model.
        """
        found = self._lengths.snapshot("ftdeploy_text_tokens")
        found["ftdeploy_texts_truncated_total"] = self._truncated
        found["ftdeploy_tokens_unknown_total"] = self._unknown
        for label in labels[:LABELS]:
            found[sample("ftdeploy_answers_total", label=label)] = self._labels[label]
        rest = sum(self._labels[label] for label in labels[LABELS:])
        if len(labels) > LABELS:
            key = sample("ftdeploy_answers_total", label=OTHER)
            found[key] = found.get(key, 0) + rest
        found["ftdeploy_fallbacks_total"] = self._fallbacks
        return found | self._confidence.snapshot("ftdeploy_confidence_ratio")


def build_info(version: str) -> Snapshot:
    """The software, as a number that is always 1."""
    import onnxruntime

    labels = {"version": version, "python": platform.python_version(), "onnxruntime": onnxruntime.__version__}
    return {sample("ftdeploy_build_info", **labels): 1}
