"""`ftdeploy monitor` as a command: exit codes, JSON, times."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from monitor_samples import features, reference
from test_monitor import serve
from tiny import write_bundle
from tiny_run import ftdeploy, refusal

from ftdeploy.drift import write_reference


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("monitor") / "bundle"
    write_bundle(made)
    write_reference(made / "src" / "model" / "drift_reference.npz", reference())
    serve(made, features(300, seed=5, away=3.0)[0])
    return made


def test_drift_has_an_exit_code_of_its_own(bundle: Path) -> None:
    """19, with every test and the page on the screen."""
    found = ftdeploy("monitor", bundle)
    told = refusal(found, 19)
    assert "drifted" in told
    assert "embedding (MMD): differs" in found.stdout
    assert str(bundle.parent / "drift" / "drift.html") in found.stdout


def test_json_is_the_report(bundle: Path) -> None:
    """On stdout alone, with the same exit code; too few rows are 11."""
    found = ftdeploy("monitor", bundle, "--json")
    assert found.returncode == 19
    assert json.loads(found.stdout)["verdict"] == "drift"
    assert found.stderr == ""
    few = ftdeploy("monitor", bundle, "--json", "--since", "2026-03-01T00:10", "--until", "2026-03-01T01:30+01:00")
    assert few.returncode == 11
    assert json.loads(few.stdout)["rows"] == 20


def test_what_is_no_bundle_is_told_as_such(bundle: Path) -> None:
    """Not as a file inside of it that cannot be read."""
    assert "nix does not exist" in refusal(ftdeploy("monitor", bundle / "nix"), 12)
    assert "is not an artifact" in refusal(ftdeploy("monitor", bundle.parent), 12)


def test_what_is_no_time_is_wrong_usage(bundle: Path) -> None:
    """With an example of what is one."""
    found = ftdeploy("monitor", bundle, "--since", "yesterday")
    assert found.returncode == 2
    assert "2026-03-01T12:00" in found.stderr
