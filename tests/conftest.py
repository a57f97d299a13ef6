"""Fixtures that several test files share."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from real_data import MIRROR
from tiny_run import TinyRun, make_tiny_run

if TYPE_CHECKING:
    from workspace import Workspace

# As the command line has it: threads that spin while they wait cost a training beside other work most of its time.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests over the real run measure: `make test` gives them the machine to themselves, after all others."""
    for item in items:
        if "sentiment" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.alone)


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder with the real data (see ``ftdeploy/sources/mirror.py``), set as FTDEPLOY_MIRROR for the test."""
    if not (MIRROR / "index.json").is_file():
        pytest.fail(
            f"{MIRROR} is no mirror: this test reads real data from a folder with an index.json, which FTDEPLOY_MIRROR "
            "names or which stands as ../shared/data beside the checkout"
        )
    monkeypatch.setenv("FTDEPLOY_MIRROR", str(MIRROR))
    return MIRROR


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyRun:
    """The tiny recipe and its finished run; copy it before changing anything."""
    return make_tiny_run(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def sentiment(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """The real recipe, run once: real data, real checkpoint, real training."""
    from workspace import prepare_workspace  # stands beside the end-to-end tests, which alone ask for this

    return prepare_workspace(tmp_path_factory.mktemp("workspace"))
