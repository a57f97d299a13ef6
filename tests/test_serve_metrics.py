"""What is counted, and what a histogram says of it."""

from __future__ import annotations

import itertools
from random import Random

import numpy as np
import pytest

from ftdeploy.encoded import Encoded
from ftdeploy.serve.exposition import Snapshot, sample
from ftdeploy.serve.metrics import (
    LABELS,
    ROWS,
    SECONDS,
    SHARES,
    SHED,
    TOKENS,
    Flow,
    Histogram,
    Metrics,
    Texts,
    build_info,
)
from ftdeploy.serve.model import Scored


def scored(label: str, score: float) -> Scored:
    """An answer whose best label is this one."""
    answer = [{"label": label, "score": score}, {"label": "worse", "score": 1 - score}]
    nothing = np.zeros(2, dtype=np.float32)
    return Scored(answer=answer, embedding=nothing, logits=nothing)


def encoded(tokens: int, *, cut_to: int | None = None, unknown: int = 0) -> Encoded:
    """A text of so many tokens."""
    return Encoded(ids=[0] * (tokens if cut_to is None else cut_to), length=tokens, unknown=unknown)


def test_requests_are_counted_by_route_and_status() -> None:
    """One counter for each pair."""
    metrics = Metrics()
    for status in (200, 200, 422):
        metrics.observe("/predict", status, 0.01)
    found = metrics.snapshot()
    assert found[sample("ftdeploy_requests_total", route="/predict", status="200")] == 2
    assert found[sample("ftdeploy_requests_total", route="/predict", status="422")] == 1


def test_a_histogram_is_cumulative_and_adds_up() -> None:
    """A value on a bound belongs to that bucket; +Inf holds all; sum and count fit."""
    metrics = Metrics()
    for seconds in (0.001, 0.0011, 0.3, 99.0):
        metrics.observe("/predict", 200, seconds)
    found = metrics.snapshot()
    name = "ftdeploy_request_duration_seconds"
    buckets = [found[sample(f"{name}_bucket", route="/predict", le=str(float(bound)))] for bound in SECONDS]
    assert dict(zip(SECONDS, buckets, strict=True))[0.001] == 1
    assert dict(zip(SECONDS, buckets, strict=True))[0.0015] == 2
    assert buckets == sorted(buckets)
    assert buckets[-1] == 3
    assert found[sample(f"{name}_bucket", route="/predict", le="+Inf")] == 4
    assert found[sample(f"{name}_count", route="/predict")] == 4
    assert found[sample(f"{name}_sum", route="/predict")] == pytest.approx(0.001 + 0.0011 + 0.3 + 99.0)


def test_bounds_ascend_and_latencies_are_told_within_two_thirds() -> None:
    """From 0.5 ms to 30 s, no bucket is wider than two thirds of its lower bound."""
    for bounds in (SECONDS, ROWS, TOKENS, SHARES):
        assert list(bounds) == sorted(set(bounds))
    assert (SECONDS[0], SECONDS[-1]) == (0.0005, 30)
    assert max(high / low for low, high in itertools.pairwise(SECONDS)) < 1.67


def test_quantiles_of_the_buckets_are_those_of_the_values() -> None:
    """As `histogram_quantile` interpolates, p50 and p99 of log-normal latencies come out within a fifth."""
    random = Random(3)  # noqa: S311  # the same values every time
    values = sorted(random.lognormvariate(-4.5, 0.8) for _ in range(5000))
    histogram = Histogram(SECONDS)
    for value in values:
        histogram.add(value)
    found = histogram.snapshot("x")
    for share in (0.5, 0.99):
        rank, low, before = share * len(values), 0.0, 0.0
        for bound in SECONDS:
            count = found[sample("x_bucket", le=str(float(bound)))]
            if count >= rank:
                told = low + (bound - low) * (rank - before) / (count - before)
                break
            low, before = bound, count
        assert told == pytest.approx(values[int(rank)], rel=0.2)


def test_what_is_shed_is_there_before_it_happens() -> None:
    """A counter that appears with its first event hides that event from `rate`. Refused connections count beside the
    requests."""
    metrics = Metrics()
    assert all(metrics.snapshot()[sample("ftdeploy_shed_total", reason=reason)] == 0 for reason in SHED)
    metrics.shed["queue"] += 1
    metrics.connections.refused += 2
    metrics.connections.open = 7
    found = metrics.snapshot()
    assert found[sample("ftdeploy_shed_total", reason="queue")] == 1
    assert found[sample("ftdeploy_shed_total", reason="connections")] == 2
    assert found["ftdeploy_connections"] == 7


def test_a_forward_pass_is_counted_once_and_its_rows_wait_each() -> None:
    """Rows, padded and true tokens, time in the model and before it, failures, and the pace that Retry-After tells."""
    flow = Flow()
    flow.note([3, 5], [0.001, 0.2], 0.01, failed=False)
    flow.note([4], [0.0], 0.5, failed=True)
    found = flow.snapshot()
    assert (found["ftdeploy_batch_rows_sum"], found["ftdeploy_batch_rows_count"]) == (3, 2)
    assert (found["ftdeploy_batch_padded_tokens_sum"], found["ftdeploy_batch_tokens_total"]) == (14, 12)
    assert found["ftdeploy_forward_duration_seconds_sum"] == pytest.approx(0.51)
    assert found["ftdeploy_queue_duration_seconds_count"] == 3
    assert found[sample("ftdeploy_queue_duration_seconds_bucket", le="0.001")] == 2
    assert found["ftdeploy_forward_failures_total"] == 1
    assert 0.001 < flow.seconds_a_row < 0.5


def test_the_pace_is_of_rows_and_not_of_passes() -> None:
    """A pass of one row now and then says little about what sixty rows take."""
    flow = Flow()
    for _ in range(200):
        flow.note([5] * 60, [0.0] * 60, 0.6, failed=False)
        flow.note([5], [0.0], 0.1, failed=False)
    assert flow.seconds_a_row == pytest.approx(0.7 / 61, rel=0.1)


def test_texts_are_counted_by_length_label_and_confidence() -> None:
    """The length before cutting, what was cut, tokens out of the vocabulary; every label from the start."""
    texts = Texts()
    texts.note([encoded(5, unknown=2), encoded(900, cut_to=512)], [scored("good", 0.97), scored("good", 0.55)])
    found = texts.snapshot(["bad", "good"])
    assert (found["ftdeploy_text_tokens_sum"], found["ftdeploy_text_tokens_count"]) == (905, 2)
    assert (found["ftdeploy_texts_truncated_total"], found["ftdeploy_tokens_unknown_total"]) == (1, 2)
    assert found[sample("ftdeploy_answers_total", label="good")] == 2
    assert found[sample("ftdeploy_answers_total", label="bad")] == 0
    assert found[sample("ftdeploy_confidence_ratio_bucket", le="0.6")] == 1


def test_many_labels_do_not_make_many_series() -> None:
    """From the 50th on they share one, also beside a label of that name."""

    def series(labels: list[str], *answers: str) -> Snapshot:
        texts = Texts()
        texts.note([encoded(3)] * len(answers), [scored(label, 0.5) for label in answers])
        return {key: value for key, value in texts.snapshot(labels).items() if key.startswith("ftdeploy_answers")}

    labels = [f"label {number}" for number in range(200)]
    found = series(labels, labels[0], labels[60], labels[199])
    assert len(found) == LABELS + 1
    assert found[sample("ftdeploy_answers_total", label="other")] == 2
    assert series(["other", *labels], "other", labels[199])[sample("ftdeploy_answers_total", label="other")] == 2


def test_the_software_is_named() -> None:
    """Versions as labels, so that a change of them can be laid over a change of anything else."""
    ((key, value),) = build_info("1.2.3").items()
    assert value == 1
    assert 'version="1.2.3"' in key
    assert 'onnxruntime="' in key
