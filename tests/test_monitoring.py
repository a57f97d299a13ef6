"""The dashboard and the alert rules in a bundle ask for what its service says, as Grafana and Prometheus read it."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import prometheus_client.parser
import pytest
import yaml
from tiny import ROOT, write_source

from ftdeploy.serve.app import create_app
from ftdeploy.serve.exposition import FAMILIES, added, family_of
from ftdeploy.serve.shadow_counts import Comparisons
from ftdeploy.serve.shadow_feed import Feed

DASHBOARD = json.loads((ROOT / "bentos" / "grafana.json").read_bytes())
ALERTS = ROOT / "bentos" / "alerts.yaml"
RULES = yaml.safe_load(ALERTS.read_bytes())["groups"][0]["rules"]
#: What Prometheus adds to every sample of a scrape.
ADDED = {"job", "instance"}
#: What Grafana puts into an expression by itself.
BUILT_IN = {"__rate_interval"}


def panels() -> list[dict[str, Any]]:
    """Everything on the dashboard that shows something."""
    return [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def expressions() -> Iterator[tuple[str, str]]:
    """Where, and the PromQL there: of panels, annotations, variables and alerts."""
    for panel in panels():
        for target in panel["targets"]:
            yield panel["title"], target["expr"]
    for annotation in DASHBOARD["annotations"]["list"]:
        yield annotation["name"], annotation["expr"]
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["name"], variable["query"]["query"]
    for rule in RULES:
        yield rule["alert"], rule["expr"]


EXPRESSIONS = list(expressions())
NAME = re.compile(r"\b(?:ftdeploy|process)_[a-z0-9_]+\b")


@pytest.fixture(scope="module")
def exposed(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, set[str]], set[str]]:
    """What a service that was asked something says: sample name -> its labels; and the names of its routes."""
    source = tmp_path_factory.mktemp("bundle") / "src"
    write_source(source)

    async def stage() -> tuple[str, set[str]]:
        app = create_app(source)
        await app.start()
        await app.engine.loaded()
        app.engine.feed = Feed(source, app.engine.digest, 1.0)
        challenger = Comparisons("b" * 64)
        challenger.note(app.engine.digest, [("positive", 0.9)], [("negative", 0.6)])
        app.of_all = lambda own: added([own, challenger.snapshot()])  # a process of its own, under `ftdeploy serve`
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://here") as client:
            assert (await client.post("/predict", json={"inputs": "good"})).status_code == 200
            text = (await client.get("/metrics")).text
        await app.stop()
        return text, {name for name, _ in app._routes.values()}

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FTDEPLOY_TRAFFIC", "off")
        text, routes = asyncio.run(stage())
    found: dict[str, set[str]] = {}
    for family in prometheus_client.parser.text_string_to_metric_families(text):
        for one in family.samples:
            found.setdefault(one.name, set()).update(one.labels)
    return found, routes


# The expressions


@pytest.mark.parametrize(("where", "expression"), EXPRESSIONS, ids=[where for where, _ in EXPRESSIONS])
def test_every_metric_and_every_label_of_an_expression_is_exposed(
    exposed: tuple[dict[str, set[str]], set[str]], where: str, expression: str
) -> None:
    """A typing error would be an empty panel, or an alert that never comes."""
    samples, _ = exposed
    names = NAME.findall(expression)
    assert names, where
    for name in names:
        assert name in samples, f"{where}: {name}"
    for name, selector in re.findall(r"(\b(?:ftdeploy|process)_[a-z0-9_]+)\{(.*?)\}", expression):
        for label in re.findall(r'(\w+)\s*[=!]~?\s*"', selector):
            assert label in samples[name] | ADDED, f"{where}: {name} has no label {label}"
    known = ADDED.union(*(samples[name] for name in names))
    for grouped in re.findall(r"\b(?:by|on|without|ignoring)\s*\((.*?)\)", expression):
        assert {label.strip() for label in grouped.split(",")} <= known, f"{where}: by ({grouped})"
    for opening, closing in ("()", "[]", "{}"):
        assert expression.count(opening) == expression.count(closing), where


@pytest.mark.parametrize(("where", "expression"), EXPRESSIONS, ids=[where for where, _ in EXPRESSIONS])
def test_counters_are_read_by_their_growth_and_gauges_are_not(where: str, expression: str) -> None:
    """The sum of a counter since its start says nothing; the rate of a gauge is wrong after it fell."""
    for name in NAME.findall(expression):
        kind = FAMILIES[family_of(name)].kind
        grows = re.search(rf"\b(rate|increase)\({name}\b", expression) is not None
        if not expression.startswith("label_values("):
            assert grows is (kind != "gauge"), f"{where}: {name}"


def test_every_metric_of_the_service_has_its_place_on_the_dashboard() -> None:
    """What nobody looks at need not be measured. The deadline is what an alert compares with."""
    shown = {family_of(name) for _, expression in EXPRESSIONS for name in NAME.findall(expression)}
    assert shown == set(FAMILIES), "bentos/grafana.json shows every metric, beside those of bentos/alerts.yaml"


def test_quantiles_keep_the_bounds() -> None:
    """`histogram_quantile` of a sum without `le` is nothing."""
    for where, expression in EXPRESSIONS:
        for bucket in re.findall(r"\w+_bucket", expression):
            assert re.search(r"by \((?:[\w, ]*\b)?le\b", expression), f"{where}: {bucket}"
        assert expression.count("histogram_quantile") <= expression.count("_bucket"), where


# What Grafana reads


def test_the_dashboard_is_one_that_grafana_imports() -> None:
    """The fields without which it refuses or shows nothing; no id of another installation."""
    assert DASHBOARD["schemaVersion"] >= 36
    assert DASHBOARD["title"]
    assert re.fullmatch(r"[\w-]{1,40}", DASHBOARD["uid"])
    assert DASHBOARD["id"] is None
    assert {"from", "to"} == set(DASHBOARD["time"])
    for panel in panels():
        assert panel["type"] in ("timeseries", "stat", "heatmap", "table")
        assert panel["title"]
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert panel["fieldConfig"].keys() == {"defaults", "overrides"}
        references = [target["refId"] for target in panel["targets"]]
        assert len(set(references)) == len(references) > 0
        assert all(target["datasource"] == panel["datasource"] for target in panel["targets"])
    titles = [panel["title"] for panel in panels()]
    assert len(set(titles)) == len(titles)


def test_panels_have_ids_of_their_own_and_do_not_overlap() -> None:
    """On a grid of 24 columns, under the row that they belong to."""
    everything = DASHBOARD["panels"]
    ids = [panel["id"] for panel in everything]
    assert len(set(ids)) == len(ids)
    for panel in everything:
        place = panel["gridPos"]
        assert 0 <= place["x"] < place["x"] + place["w"] <= 24
        assert place["h"] > 0
    for one, other in itertools.combinations([panel["gridPos"] for panel in everything], 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        above = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or above, (one, other)
    rows = [panel["title"] for panel in everything if panel["type"] == "row"]
    assert everything[0]["type"] == "row"
    assert rows == [
        "Traffic",
        "Latency",
        "Saturation",
        "Errors and shedding",
        "Model",
        "Drift",
        "Process",
        "Challenger",
    ]


def test_every_variable_is_declared_and_used() -> None:
    """Data source, model, instance and route can be chosen."""
    declared = {variable["name"] for variable in DASHBOARD["templating"]["list"]}
    text = json.dumps(DASHBOARD)
    used = set(re.findall(r"\$\{?(\w+)\}?", text)) - {"__all"}
    assert used - BUILT_IN == declared == {"datasource", "model", "instance", "route"}


# What Prometheus reads


def test_every_alert_says_how_bad_and_what_to_do() -> None:
    """Severity, a summary with the instance or a number, a description; names that are not used twice."""
    assert len({rule["alert"] for rule in RULES}) == len(RULES)
    for rule in RULES:
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
        assert re.fullmatch(r"Ftdeploy[A-Z]\w+", rule["alert"])
        assert rule["labels"]["severity"] in ("critical", "warning", "info")
        assert rule["annotations"].keys() == {"summary", "description"}
        assert re.fullmatch(r"\d+[smh]", rule.get("for", "1m"))
        assert re.search(r"[<>=]=?\s*[\d.]+|absent", rule["expr"])


def test_what_alerts_leave_out_are_probes_of_the_service(exposed: tuple[dict[str, set[str]], set[str]]) -> None:
    """Each alternative of an excluded route is one that there is, and no route that answers questions is left out."""
    _, routes = exposed
    for rule in RULES:
        for excluded in re.findall(r'route!~"(.*?)"', rule["expr"]):
            for alternative in excluded.split("|"):
                assert [route for route in routes if re.fullmatch(alternative, route)], (rule["alert"], alternative)
            for route in ("/predict", "/v2/models/{name}/infer"):
                assert route in routes
                assert not re.fullmatch(excluded, route)


#: For each alert what must make it fire, a sample a minute.
SERIES = {
    "FtdeployNotReady": {"ftdeploy_ready": "0x20"},
    "FtdeployErrors": {
        'ftdeploy_requests_total{status="200", route="/predict"}': "0+95x20",
        'ftdeploy_requests_total{status="500", route="/predict"}': "0+5x20",
    },
    "FtdeployForwardFailures": {"ftdeploy_forward_failures_total": "0x5 1x15"},
    "FtdeployShedding": {
        'ftdeploy_requests_total{status="200", route="/predict"}': "0+90x20",
        'ftdeploy_requests_total{status="429", route="/predict"}': "0+10x20",
        'ftdeploy_shed_total{reason="queue"}': "0+10x20",
    },
    "FtdeploySlow": {
        'ftdeploy_request_duration_seconds_bucket{route="/predict", le="20"}': "0+50x20",
        'ftdeploy_request_duration_seconds_bucket{route="/predict", le="30"}': "0+100x20",
        'ftdeploy_request_duration_seconds_bucket{route="/predict", le="+Inf"}': "0+100x20",
        "ftdeploy_deadline_seconds": "30x20",
    },
    "FtdeployQueueFilling": {"ftdeploy_queue_rows": "900x20", "ftdeploy_queue_limit_rows": "1024x20"},
    "FtdeployRestarts": {"process_start_time_seconds": "1x3 2x3 3x3 4x11", "ftdeploy_build_info": "1x20"},
    "FtdeployDrift": {"ftdeploy_drift_alarm": "0x5 1x15"},
    "FtdeployTrafficDropped": {"ftdeploy_traffic_dropped_total": "0+1x20"},
    "FtdeployFiles": {
        "process_open_fds": "950x20", "process_max_fds": "1000x20", "ftdeploy_build_info": "1x20",
    },
    "FtdeployLogDropped": {"ftdeploy_log_dropped_total": "0+1x20"},
    "FtdeployTruncation": {"ftdeploy_texts_truncated_total": "0+1x20", "ftdeploy_text_tokens_count": "0+5x20"},
    "FtdeployGone": {"other": "1x20"},
}  # fmt: skip
#: A day's work: half of a probe's answers are 503, and nobody need get up for that.
QUIET = {
    "ftdeploy_ready": "1x20",
    'ftdeploy_requests_total{status="200", route="/predict"}': "0+100x20",
    'ftdeploy_requests_total{status="503", route="/readyz"}': "0+100x20",
    'ftdeploy_shed_total{reason="queue"}': "0x20",
    'ftdeploy_request_duration_seconds_bucket{route="/predict", le="20"}': "0+100x20",
    'ftdeploy_request_duration_seconds_bucket{route="/predict", le="+Inf"}': "0+100x20",
    "ftdeploy_deadline_seconds": "30x20",
    "ftdeploy_queue_rows": "100x20",
    "ftdeploy_queue_limit_rows": "1024x20",
    "process_start_time_seconds": "1x20",
    "ftdeploy_build_info": "1x20",
    "ftdeploy_traffic_dropped_total": "7x20",
    "process_open_fds": "50x20",
    "process_max_fds": "1000x20",
}


@pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is not installed (Debian: apt install prometheus)"
)
def test_promtool_takes_the_rules_and_each_fires_when_it_should(tmp_path: Path) -> None:
    """By Prometheus' own engine over made-up series: each alert alone, and none on a quiet day."""

    def series(values: dict[str, str]) -> list[dict[str, str]]:
        where = 'job="ftdeploy", instance="a"'
        return [
            {"series": f"{key[:-1]}, {where}}}" if key.endswith("}") else f"{key}{{{where}}}", "values": values[key]}
            for key in values
        ]

    assert SERIES.keys() == {rule["alert"] for rule in RULES}
    expressions = {rule["alert"]: rule["expr"] for rule in RULES}
    tests: list[dict[str, Any]] = []
    for alert, values in SERIES.items():
        asked = f"count(({expressions[alert]})) > bool 0"
        fired = {"expr": asked, "eval_time": "15m", "exp_samples": [{"labels": "{}", "value": 1}]}
        tests.append({"interval": "1m", "input_series": series(values), "promql_expr_test": [fired]})
    still = [{"expr": expression, "eval_time": "15m", "exp_samples": []} for expression in expressions.values()]
    tests.append({"interval": "1m", "input_series": series(QUIET), "promql_expr_test": still})
    path = tmp_path / "tests.yaml"
    path.write_text(yaml.safe_dump({"rule_files": [str(ALERTS)], "tests": tests}), encoding="utf-8")
    for command in (["check", "rules", str(ALERTS)], ["test", "rules", str(path)]):
        done = subprocess.run(["promtool", *command], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
