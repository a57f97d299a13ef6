"""Snapshots: what adds up over processes and how, and that Prometheus and OpenMetrics' own parsers read them."""

from __future__ import annotations

import json

import prometheus_client.openmetrics.parser
import prometheus_client.parser
import pytest

from ftdeploy.serve.exposition import FAMILIES, Snapshot, accumulated, added, family_of, render, sample
from ftdeploy.serve.metrics import SECONDS, Flow, Metrics

AWKWARD = 'a"b\\c\nd{e},f="g'


def some(*seconds: float) -> Snapshot:
    """A process that answered some requests and ran a batch."""
    metrics, flow = Metrics(), Flow()
    for one in seconds:
        metrics.observe("/predict", 200, one)
    metrics.shed["queue"] += len(seconds)
    flow.note([3, 5], [0.001, 0.002], 0.01, failed=False)
    ready = {
        "ftdeploy_ready": len(seconds) % 2,
        "ftdeploy_queue_rows": len(seconds),
        "process_max_fds": 1000 + len(seconds),
    }
    return {**metrics.snapshot(), **flow.snapshot(), **ready, sample("ftdeploy_model_info", name=AWKWARD): 1}


@pytest.mark.parametrize("openmetrics", [False, True])
def test_a_snapshot_is_what_the_parsers_read(openmetrics: bool) -> None:
    """Sample by sample the same numbers under the same names, escaped labels included, each family with type and help;
    OpenMetrics' parser is strict."""
    snapshot = some(0.001, 0.3)
    text = render(snapshot, openmetrics=openmetrics).decode()
    parser = prometheus_client.openmetrics.parser if openmetrics else prometheus_client.parser
    found: Snapshot = {}
    for family in parser.text_string_to_metric_families(text):
        assert family.documentation
        assert family.type in ("counter", "gauge", "histogram"), family.name
        found |= {sample(one.name, **one.labels): one.value for one in family.samples}
    assert found == {key: value for key, value in snapshot.items() if not key.startswith("ftdeploy_texts")}
    assert sample("ftdeploy_model_info", name=AWKWARD) in found


def test_every_family_follows_the_naming_conventions() -> None:
    """Counters end in _total and nothing else does; the unit of a histogram is its last word; names are snake case."""
    for name, family in FAMILIES.items():
        assert name.startswith(("ftdeploy_", "process_"))
        assert name.endswith("_total") is (family.kind == "counter"), name
        assert family.help.endswith("."), name
        assert name.replace("_", "").islower(), name
        if family.kind == "histogram":
            assert name.rpartition("_")[2] in ("seconds", "rows", "tokens", "ratio"), name
        if family.kind != "gauge":
            assert family.over == "sum", name


def test_counters_and_histograms_are_summed_and_gauges_follow_their_rule() -> None:
    """Two processes as one: as if one process had answered everything."""
    together = added([some(0.001, 0.002), some(0.3)])
    one = some(0.001, 0.002, 0.3)
    for key in one:
        if "requests" in key or "request_duration" in key or "shed" in key:
            assert together[key] == pytest.approx(one[key]), key
    assert together["ftdeploy_queue_rows"] == 3
    assert together["ftdeploy_ready"] == 1
    assert together["process_max_fds"] == 1001
    assert together[sample("ftdeploy_model_info", name=AWKWARD)] == 1
    assert together["ftdeploy_batch_rows_count"] == 2


def test_what_only_one_process_has_stays() -> None:
    """A route that one worker alone was asked for, a second model beside the first; nothing at all is nothing."""
    only = {sample("ftdeploy_model_info", name="other"): 1.0, "ftdeploy_connections": 2.0}
    assert added([some(0.1), only]) == {**some(0.1), **added([only, {"ftdeploy_connections": 0}])}
    assert added([]) == {}


def test_a_process_that_ended_leaves_what_it_counted() -> None:
    """Counters and histograms never fall; its queue and its memory are gone. Kept snapshots add up as living ones."""
    kept = accumulated(some(0.1, 0.2))
    assert kept["ftdeploy_requests_total" + '{route="/predict",status="200"}'] == 2
    assert kept[sample("ftdeploy_request_duration_seconds_count", route="/predict")] == 2
    assert not [key for key in kept if FAMILIES[family_of(key)].kind == "gauge"]
    assert accumulated(added([kept, kept])) == added([kept, kept])


def test_a_snapshot_goes_through_json() -> None:
    """Workers send it over a pipe."""
    snapshot = some(0.1)
    assert json.loads(json.dumps(snapshot)) == snapshot


def test_what_another_version_counts_is_passed_on() -> None:
    """While a bundle is swapped for another, two versions answer: what only one knows is summed and says untyped."""
    stranger = {"ftdeploy_new_total": 2.0}
    text = render(added([stranger, stranger])).decode()
    assert text == "# TYPE ftdeploy_new_total untyped\nftdeploy_new_total 4.0\n"


def test_a_family_is_found_by_any_of_its_samples() -> None:
    """A histogram's parts belong to it; a name that only ends like one does not."""
    assert family_of(sample("ftdeploy_batch_rows_bucket", le="+Inf")) == "ftdeploy_batch_rows"
    assert family_of("ftdeploy_batch_rows_sum") == "ftdeploy_batch_rows"
    assert family_of("ftdeploy_other_count") == "ftdeploy_other_count"
    assert len(SECONDS) == len(set(SECONDS))
