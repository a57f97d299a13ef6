"""Prometheus metrics of the service, in the text format, without per-path labels for unknown paths.

Written by the event loop alone, so there are no locks. prometheus_client is not used: BentoML puts it into a mode
that keeps files in one folder shared by every service of a user, which the next service to start wipes.
Source: "Exposition formats", prometheus.io (version 0.0.4).
"""

from __future__ import annotations

import resource
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"
#: Upper bounds of the latency histogram, seconds.
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

Sample = tuple[str, str, str, float]
"""name, type (counter or gauge), help, value."""


class Metrics:
    """Requests by route and status, and their latency."""

    def __init__(self) -> None:
        self._requests: Counter[tuple[str, int]] = Counter()
        self._buckets: dict[str, list[int]] = {}
        self._sums: Counter[str] = Counter()

    def observe(self, route: str, status: int, seconds: float) -> None:
        """Count one answered request.

        Args:
            route: one of a fixed set, never what the client typed.
            status: HTTP status.
            seconds: from the first byte of the request to the last of the answer.
        """
        self._requests[route, status] += 1
        buckets = self._buckets.get(route)
        if buckets is None:
            buckets = self._buckets[route] = [0] * (len(SECONDS) + 1)
        buckets[bisect_left(SECONDS, seconds)] += 1
        self._sums[route] += seconds  # type: ignore[assignment]  # Counter adds floats as well

    def render(self, samples: list[Sample], info: Mapping[str, str]) -> bytes:
        """Everything in the text format.

        Args:
            samples: further single values, read when asked for.
            info: labels of ``ftdeploy_model_info``.
        """
        lines = [*self._request_lines(), *self._latency_lines()]
        for name, kind, text, value in (*samples, *_process()):
            lines += [f"# HELP {name} {text}", f"# TYPE {name} {kind}", f"{name} {value!r}"]
        labels = ",".join(f'{name}="{_escape(value)}"' for name, value in info.items())
        name = "ftdeploy_model_info"
        lines += [f"# HELP {name} The model that answers.", f"# TYPE {name} gauge", f"{name}{{{labels}}} 1"]
        return ("\n".join(lines) + "\n").encode()

    def _request_lines(self) -> Iterator[str]:
        yield "# HELP ftdeploy_requests_total Requests answered."
        yield "# TYPE ftdeploy_requests_total counter"
        for (route, status), count in sorted(self._requests.items()):
            yield f'ftdeploy_requests_total{{route="{route}",status="{status}"}} {count}'

    def _latency_lines(self) -> Iterator[str]:
        name = "ftdeploy_request_seconds"
        yield f"# HELP {name} Time from request to answer."
        yield f"# TYPE {name} histogram"
        for route, buckets in sorted(self._buckets.items()):
            total = 0
            for bound, count in zip((*SECONDS, "+Inf"), buckets, strict=True):
                total += count
                yield f'{name}_bucket{{route="{route}",le="{bound}"}} {total}'
            yield f'{name}_sum{{route="{route}"}} {self._sums[route]!r}'
            yield f'{name}_count{{route="{route}"}} {total}'


def _process() -> Iterator[Sample]:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    yield "process_cpu_seconds_total", "counter", "Processor time.", usage.ru_utime + usage.ru_stime
    try:
        with open("/proc/self/statm", encoding="ascii") as handle:  # noqa: PTH123  # not a file to keep a Path for
            pages = int(handle.read().split()[1])
    except OSError:
        return
    yield "process_resident_memory_bytes", "gauge", "Resident memory.", float(pages * resource.getpagesize())


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
