"""`ftdeploy monitor` on a bundle whose traffic was recorded by the service's own recorder."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from monitor_samples import START, features, reference
from tiny import write_bundle

from ftdeploy.drift import WIDTH, Features, write_reference
from ftdeploy.errors import ArtifactError, ConfigError, DataError, DriftFound, GateInconclusive
from ftdeploy.monitor import monitor_bundle
from ftdeploy.monitor.result import MonitorReport
from ftdeploy.serve.model import bundle_digest
from ftdeploy.serve.traffic import Answered, Recorder
from ftdeploy.serve.traffic_options import TrafficOptions

LABELS = ("negative", "positive")


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    made = tmp_path / "run" / "bundle"
    write_bundle(made)
    write_reference(made / "src" / "model" / "drift_reference.npz", reference())
    return made


def serve(bundle: Path, rows: Features) -> None:
    """Traffic of one request a minute, beside the bundle."""
    recorder = Recorder(bundle.parent / "traffic", digest=bundle_digest(bundle / "src"), options=TrafficOptions(),
                        projection=np.eye(WIDTH, dtype=np.float32))  # fmt: skip
    for row in range(len(rows)):
        recorder.record(Answered(
            id=f"request-{row}", time=START + 60 * row, labels=[LABELS[rows.labels[row]]],
            confidences=[float(rows.confidence[row])], tokens=[int(rows.tokens[row])],
            unknown=[float(rows.unknown[row])], truncated=[bool(rows.truncated[row])],
            embeddings=[rows.embedding[row]],
        ))  # fmt: skip
    recorder.close()


def test_drift_is_reported_and_refused(bundle: Path) -> None:
    """Page, JSON by the schema, and a queue beside the bundle; the verdict is an error of its own."""
    serve(bundle, features(300, seed=5, away=3.0)[0])
    found = monitor_bundle(bundle)
    assert found.folder == bundle.parent / "drift"
    assert {path.name for path in found.folder.iterdir()} == {"drift.html", "drift.json", "to_label.csv"}
    body = json.loads((found.folder / "drift.json").read_text(encoding="utf-8"))
    assert MonitorReport.model_validate({"schema_": body.pop("schema")} | body) == found.report
    assert len((found.folder / "to_label.csv").read_text(encoding="utf-8").splitlines()) == 101
    with pytest.raises(DriftFound, match="drifted"):
        found.refuse()


def test_like_the_reference_it_passes_and_replaces_the_report(bundle: Path) -> None:
    """No error; a second report takes the place of the first, and nothing half-made is left."""
    serve(bundle, features(300, seed=5)[0])
    for _ in range(2):
        monitor_bundle(bundle).refuse()
    assert sorted(path.name for path in bundle.parent.iterdir()) == ["bundle", "drift", "traffic"]


def test_too_few_rows_are_inconclusive(bundle: Path) -> None:
    """Also where only --since and --until leave few; the report is written, without a queue."""
    serve(bundle, features(300, seed=5, away=3.0)[0])
    found = monitor_bundle(bundle, since=START + 60 * 290)
    assert found.report.rows == 10
    assert not (found.folder / "to_label.csv").exists()
    with pytest.raises(GateInconclusive, match="too few"):
        found.refuse()


def test_traffic_of_another_bundle_is_told(bundle: Path, tmp_path: Path) -> None:
    """Not that little was served: how many rows are left out, on the page, too, and what to do about it."""
    other = tmp_path / "run" / "other"
    write_bundle(other, name="other")
    serve(other, features(300, seed=5)[0])
    found = monitor_bundle(bundle)
    assert (found.report.rows, found.report.skipped) == (0, 300)
    with pytest.raises(GateInconclusive, match="300 more are left out, as another bundle answered them") as caught:
        found.refuse()
    assert "this bundle was not served there" in caught.value.cause
    assert "name the bundle that was served" in caught.value.fix
    assert "300 more are left out" in (found.folder / "drift.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("later", [0, 60])
def test_a_time_that_ends_before_it_begins_is_refused(bundle: Path, later: int) -> None:
    """Before anything is read or written: no traffic lies in it, however much there is."""
    serve(bundle, features(60, seed=5)[0])
    with pytest.raises(ConfigError, match="--since is not before --until"):
        monitor_bundle(bundle, since=START + later, until=START)
    assert not (bundle.parent / "drift").exists()


def test_equal_traffic_makes_an_equal_report(bundle: Path) -> None:
    """But for the time that it was made at."""
    serve(bundle, features(120, seed=5, away=1.0)[0])
    one, two = (monitor_bundle(bundle).report.model_copy(update={"created": ""}) for _ in range(2))
    assert one == two


def test_what_is_refused(bundle: Path, tmp_path: Path) -> None:
    """No traffic, a folder with other things, a reference that cannot be read: before anything is written."""
    with pytest.raises(DataError, match="no traffic"):
        monitor_bundle(bundle)
    serve(bundle, features(60, seed=5)[0])
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("mine")
    with pytest.raises(ConfigError, match="mine"):
        monitor_bundle(bundle, report=tmp_path / "mine")
    (bundle / "src" / "model" / "drift_reference.npz").write_bytes(b"no archive")
    with pytest.raises(ArtifactError, match="drift reference"):
        monitor_bundle(bundle)
    assert not (bundle.parent / "drift").exists()
