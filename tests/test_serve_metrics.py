"""The metrics are what Prometheus reads: checked with its own parser."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from ftdeploy.serve.metrics import SECONDS, Metrics


def _families(metrics: Metrics) -> dict[str, dict[tuple[str, tuple[tuple[str, str], ...]], float]]:
    text = metrics.render([("extra_total", "counter", "Something.", 3)], {"name": 'a"b\\c\n', "digest": "d"}).decode()
    return {
        family.name: {(s.name, tuple(sorted(s.labels.items()))): s.value for s in family.samples}
        for family in text_string_to_metric_families(text)
    }


def test_requests_are_counted_by_route_and_status() -> None:
    """One counter for each pair."""
    metrics = Metrics()
    for status in (200, 200, 422):
        metrics.observe("/predict", status, 0.01)
    found = _families(metrics)["ftdeploy_requests"]
    assert found["ftdeploy_requests_total", (("route", "/predict"), ("status", "200"))] == 2
    assert found["ftdeploy_requests_total", (("route", "/predict"), ("status", "422"))] == 1


def test_the_latency_histogram_is_cumulative_and_adds_up() -> None:
    """A value on a bound belongs to that bucket; +Inf holds all; sum and count fit."""
    metrics = Metrics()
    for seconds in (0.001, 0.002, 0.3, 99.0):
        metrics.observe("/predict", 200, seconds)
    found = _families(metrics)["ftdeploy_request_seconds"]
    buckets = [found["ftdeploy_request_seconds_bucket", (("le", str(b)), ("route", "/predict"))] for b in SECONDS]
    assert buckets[:2] == [1, 2]
    assert buckets == sorted(buckets)
    assert found["ftdeploy_request_seconds_bucket", (("le", "+Inf"), ("route", "/predict"))] == 4
    assert found["ftdeploy_request_seconds_count", (("route", "/predict"),)] == 4
    assert found["ftdeploy_request_seconds_sum", (("route", "/predict"),)] == 0.001 + 0.002 + 0.3 + 99.0


def test_further_samples_process_facts_and_the_model_are_there() -> None:
    """Label values are escaped as the format wants it."""
    found = _families(Metrics())
    assert found["extra"] == {("extra_total", ()): 3}
    assert found["process_resident_memory_bytes"]["process_resident_memory_bytes", ()] > 1e6
    assert found["ftdeploy_model_info"] == {("ftdeploy_model_info", (("digest", "d"), ("name", 'a"b\\c\n'))): 1}
