"""The format of drift.json: every key documented, and a report of each kind valid by the published schema."""

from __future__ import annotations

from monitor_samples import features, window
from test_monitor_report import report

from ftdeploy.monitor.result import MonitorReport, monitor_schema


def test_a_report_survives_being_written() -> None:
    """Dumped and read again it is the same, drift or not."""
    for rows in (10, 100):
        found = report(window(features(rows, seed=1, away=3.0)[0]))
        assert MonitorReport.model_validate_json(found.model_dump_json()) == found


def test_every_key_is_documented() -> None:
    """Of the report and of all that is in it; ``schema`` is the key in the file."""
    schema = monitor_schema()
    assert "schema" in schema["properties"]
    for body in (schema, *schema["$defs"].values()):
        assert all(value.get("description") for value in body["properties"].values()), body["title"]
