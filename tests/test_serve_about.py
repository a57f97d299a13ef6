"""What a bundle says of itself: its report in short, and no service that stops for a report that cannot be read."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import orjson
import pytest
from report_samples import report

from ftdeploy.serve.about import describe_bundle, report_summary
from ftdeploy.serve.limits import Limits
from ftdeploy.signature import Signature
from ftdeploy.verdict import Report


def _written(folder: Path, found: Report) -> Path:
    path = folder / "report.json"
    body = found.model_dump(mode="json")
    path.write_text(json.dumps({"schema": body.pop("schema_")} | body), encoding="utf-8")
    return path


def test_a_report_is_told_by_verdict_metrics_and_gates(tmp_path: Path) -> None:
    """The numbers are those of the report; gates are counted by verdict; no row of the test data comes with it."""
    whole = report()
    found = report_summary(_written(tmp_path, whole))
    assert found is not None
    assert (found["verdict"], found["suite"], found["rows"]) == (whole.verdict, whole.suite, whole.rows)
    assert found["confidence"] == whole.confidence
    for one, metric in zip(found["metrics"], whole.metrics, strict=True):
        assert one["metric"] == metric.metric
        scored = metric.candidate
        assert (one["value"], one["lower"], one["upper"]) == (scored.value, scored.lower, scored.upper)
        assert one["baseline"] == metric.baseline.value
    assert [gate["name"] for gate in found["gates"]] == [gate.name for gate in whole.gates]
    assert sum(found["counts"].values()) == len(whole.gates)
    assert found["counts"]["fail"] == sum(gate.verdict == "fail" for gate in whole.gates) > 0
    assert not any(golden.text in orjson.dumps(found).decode() for golden in whole.golden)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "No such file"),
        ("{}", "schema"),
        ("[]", "list"),
        ("half {", "Expecting"),
        ('{"schema": 1}', "format 1"),
        ('{"schema": 2, "verdict": "pass", "gates": null}', "not iterable"),
    ],
)
def test_a_report_that_cannot_be_read_is_logged_and_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: str | None, said: str
) -> None:
    """Missing, damaged, or of another format: there is none, and the log says why."""
    path = tmp_path / "report.json"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    with caplog.at_level(logging.WARNING):
        assert report_summary(path) is None
    assert said in caplog.text


def test_the_description_names_model_and_limits() -> None:
    """Also how its task's answers are shown, and whether a key is wanted."""
    signature = Signature(name="tiny", task="text-classification", labels=("a", "b"), max_length=32)
    limits = Limits(max_texts=5, max_chars=70)
    found = describe_bundle(signature, limits, digest="d" * 64, report=None, auth=True)
    assert (found["name"], found["labels"], found["max_length"]) == ("tiny", ("a", "b"), 32)
    assert found["limits"] == {"max_texts": 5, "max_chars": 70, "max_body_bytes": limits.max_body_bytes}
    assert (found["view"], found["auth"], found["digest"]) == ("labels", True, "d" * 64)
    assert (found["fallback"], found["thresholds"]) == (None, {})
    unsure = signature.model_copy(update={"fallback": "other", "thresholds": {"a": 0.8}})
    found = describe_bundle(unsure, limits, digest="d" * 64, report=None)
    assert (found["fallback"], found["thresholds"]) == ("other", {"a": 0.8})
