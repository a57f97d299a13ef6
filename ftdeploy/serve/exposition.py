"""Metrics as plain numbers: added up over processes, and written as Prometheus reads them.

A `Snapshot` is one process's metrics at one moment: ``name{label="value"}`` -> number, a histogram as its ``_bucket``
(cumulative), ``_sum`` and ``_count``. It holds nothing else, so it goes through a pipe as JSON. Whoever answers for
several processes does three things:

1. asks each living one for its snapshot;
2. keeps `accumulated` of one that ended, added to what it kept of others before: counters never fall, and what a dead
   process counted was counted (a gauge of it, its queue, is gone with it);
3. renders `added` of all of them.

`FAMILIES` says for each metric how the numbers of several processes become one.
Sources: "Exposition formats" (0.0.4) and "Metric and label naming", prometheus.io; OpenMetrics 1.0.0.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

TEXT = b"text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = b"application/openmetrics-text; version=1.0.0; charset=utf-8"

Snapshot = dict[str, float]


@dataclass(frozen=True, slots=True)
class Family:
    """One metric.

    Attributes:
        kind: ``unknown`` is what another version of ftdeploy may count and this one does not know.
        help: one sentence for people.
        over: how the values of several processes become one. Counters and histograms are summed.
    """

    kind: Literal["counter", "gauge", "histogram", "unknown"]
    help: str
    over: Literal["sum", "max", "min"] = "sum"


#: Every metric of the service, in the order in which it is written.
FAMILIES = {
    "ftdeploy_requests_total": Family("counter", "Requests answered."),
    "ftdeploy_request_duration_seconds": Family("histogram", "Time from a request's headers to the end of its answer."),
    "ftdeploy_requests_in_flight": Family("gauge", "Requests being answered."),
    "ftdeploy_shed_total": Family("counter", "Requests and connections refused because too much was in hand already."),
    "ftdeploy_connections": Family("gauge", "Open connections."),
    "ftdeploy_connections_ended_total": Family("counter", "Connections that were closed before they had asked."),
    "ftdeploy_ready": Family("gauge", "1 when questions are answered.", over="max"),
    "ftdeploy_queue_rows": Family("gauge", "Texts that wait for tokenizer or model."),
    "ftdeploy_queue_duration_seconds": Family("histogram", "Time that a text waited for the model."),
    "ftdeploy_forward_duration_seconds": Family("histogram", "Time of a forward pass."),
    "ftdeploy_forward_failures_total": Family("counter", "Forward passes that failed."),
    "ftdeploy_batch_rows": Family("histogram", "Texts in a forward pass."),
    "ftdeploy_batch_padded_tokens": Family("histogram", "Tokens in a forward pass, padding included."),
    "ftdeploy_batch_tokens_total": Family("counter", "Tokens in forward passes, without padding."),
    "ftdeploy_lanes": Family("gauge", "Forward passes that can run at the same time."),
    "ftdeploy_text_tokens": Family("histogram", "Tokens of an answered text, before it was cut."),
    "ftdeploy_texts_truncated_total": Family("counter", "Answered texts that were longer than the model reads."),
    "ftdeploy_tokens_unknown_total": Family("counter", "Tokens of answered texts that are not in the vocabulary."),
    "ftdeploy_answers_total": Family("counter", "Answered texts by their best label; from the 50th on they are other."),
    "ftdeploy_fallbacks_total": Family("counter", "Answered texts whose best label scored below its threshold."),
    "ftdeploy_confidence_ratio": Family("histogram", "Score of an answered text's best label."),
    "ftdeploy_cache_hits_total": Family("counter", "Texts answered from the cache."),
    "ftdeploy_cache_misses_total": Family("counter", "Texts that were not in the cache, while there is one."),
    "ftdeploy_cache_rows": Family("gauge", "Answers in the cache."),
    "ftdeploy_cache_limit_rows": Family("gauge", "Answers that the cache may hold (cache_rows)."),
    "ftdeploy_traffic_rows_total": Family("counter", "Texts recorded."),
    "ftdeploy_traffic_dropped_total": Family("counter", "Texts and true labels that could not be recorded."),
    "ftdeploy_feedback_rows_total": Family("counter", "True labels recorded."),
    "ftdeploy_drift_reference_rows": Family("gauge", "Rows that the drift reference was computed from.", over="max"),
    "ftdeploy_drift_evidence": Family("gauge", "Evidence of a change in the traffic; 10000 is an alarm.", over="max"),
    "ftdeploy_drift_alarm": Family("gauge", "1 while an alarm of drift stands.", over="max"),
    "ftdeploy_drift_alarms_total": Family("counter", "Alarms of drift."),
    "ftdeploy_shadow_ready": Family("gauge", "1 while a challenger answers unheard, too.", over="max"),
    "ftdeploy_shadow_sent_total": Family("counter", "Texts handed to the challenger."),
    "ftdeploy_shadow_dropped_total": Family("counter", "Texts that the challenger could not take at once."),
    "ftdeploy_shadow_failures_total": Family("counter", "Texts that the challenger could not answer."),
    "ftdeploy_shadow_texts_total": Family("counter", "Texts that champion and challenger have answered."),
    "ftdeploy_shadow_agreements_total": Family("counter", "Those to which both gave the same label."),
    "ftdeploy_shadow_flips_total": Family(
        "counter", "Those with another label, by the champion's and the challenger's."
    ),
    "ftdeploy_shadow_confidence_total": Family("counter", "Sum of the scores of the best label, of one of the two."),
    "ftdeploy_shadow_difference_ratio": Family("histogram", "Distance of the two best labels' scores."),
    "ftdeploy_alerts_total": Family("counter", "Alerts of drift by hook, sent or failed."),
    "ftdeploy_log_dropped_total": Family("counter", "Lines of the log that could not be written."),
    "ftdeploy_queue_limit_rows": Family("gauge", "Texts that may wait (max_queue)."),
    "ftdeploy_requests_limit": Family("gauge", "Requests that may be in flight (max_requests)."),
    "ftdeploy_connections_limit": Family("gauge", "Connections that may be open."),
    "ftdeploy_deadline_seconds": Family("gauge", "What a request may wait (timeout_seconds).", over="max"),
    "ftdeploy_model_info": Family("gauge", "The model that answers.", over="max"),
    "ftdeploy_build_info": Family("gauge", "The software that answers.", over="max"),
    "process_cpu_seconds_total": Family("counter", "Processor time, user and system."),
    "process_resident_memory_bytes": Family("gauge", "Resident memory; what processes share counts in each."),
    "process_virtual_memory_bytes": Family("gauge", "Virtual memory."),
    "process_open_fds": Family("gauge", "Open files, of the process with most.", over="max"),
    "process_max_fds": Family("gauge", "Files that a process may open.", over="min"),
    "process_start_time_seconds": Family("gauge", "Start of the youngest process, Unix time.", over="max"),
}
_UNKNOWN = Family("unknown", "")
_PARTS = ("_bucket", "_sum", "_count")
_JOIN: dict[str, Callable[[float, float], float]] = {"sum": operator.add, "max": max, "min": min}


def sample(name: str, /, **labels: str) -> str:
    """The key of a snapshot: a metric's name with its labels."""
    if not labels:
        return name
    pairs = ",".join(f'{key}="{_escape(value)}"' for key, value in labels.items())
    return f"{name}{{{pairs}}}"


def family_of(key: str) -> str:
    """The name of the family that a sample belongs to."""
    name = key.partition("{")[0]
    if name in FAMILIES:
        return name
    return next((stem for part in _PARTS if (stem := name.removesuffix(part)) in FAMILIES), name)


def added(snapshots: Iterable[Snapshot]) -> Snapshot:
    """The snapshots of several processes as one: summed, or the largest or smallest where `FAMILIES` says so."""
    found: Snapshot = {}
    for snapshot in snapshots:
        for key, value in snapshot.items():
            before = found.get(key)
            found[key] = value if before is None else _JOIN[_family(key).over](before, value)
    return found


def accumulated(snapshot: Snapshot) -> Snapshot:
    """What stays true of a process that ended: its counters and histograms."""
    return {key: value for key, value in snapshot.items() if _family(key).kind in ("counter", "histogram")}


def render(snapshot: Snapshot, *, openmetrics: bool = False) -> bytes:
    """A snapshot as Prometheus reads it.

    Args:
        snapshot: of one process or of several.
        openmetrics: as OpenMetrics instead of the text format.
    """
    families: dict[str, list[str]] = {name: [] for name in FAMILIES}
    for key in snapshot:
        families.setdefault(family_of(key), []).append(key)
    lines: list[str] = []
    for name, keys in families.items():
        if keys:
            lines += _head(name, openmetrics=openmetrics)
            lines += [f"{key} {snapshot[key]!r}" for key in keys]
    if openmetrics:
        lines.append("# EOF")
    return ("\n".join(lines) + "\n").encode()


def _head(name: str, *, openmetrics: bool) -> Iterator[str]:
    family = _family(name)
    kind = "untyped" if family.kind == "unknown" and not openmetrics else family.kind
    if openmetrics and kind == "counter":
        name = name.removesuffix("_total")
    if family.help:
        yield f"# HELP {name} {family.help}"
    yield f"# TYPE {name} {kind}"


def _family(key: str) -> Family:
    return FAMILIES.get(family_of(key), _UNKNOWN)


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
