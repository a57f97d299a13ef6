"""Fixtures that several test files share."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from tiny_run import TinyRun
    from workspace import Workspace

# Before numpy and torch are imported, which read these once, and so before any helper is.
# As the command line has it: threads that spin while they wait cost a training beside other work most of its time.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")
if "PYTEST_XDIST_WORKER" in os.environ:
    # There is a worker for each processor: more threads than one each only wait for each other's.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# The same commit passes or fails the same way each time: the cases of a property are drawn from its name. Whoever looks
# for cases that nobody has seen draws others, and more of them: `pytest tests --hypothesis-profile=search`.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.register_profile("search", max_examples=2000, deadline=None, print_blob=True)
settings.load_profile("repeatable")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests over the real run measure: `make test` gives them the machine to themselves, after all others."""
    for item in items:
        if "sentiment" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.alone)


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder with the real data (see ``ftdeploy/sources/mirror.py``), set as FTDEPLOY_MIRROR for the test."""
    from real_data import MIRROR

    if not (MIRROR / "index.json").is_file():
        pytest.fail(
            f"{MIRROR} is no mirror: this test reads real data from a folder with an index.json, which FTDEPLOY_MIRROR "
            "names or which stands as ../shared/data beside the checkout"
        )
    monkeypatch.setenv("FTDEPLOY_MIRROR", str(MIRROR))
    return MIRROR


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyRun:
    """The tiny recipe and its finished run, one for all workers; copy it before changing anything."""
    from tiny_run import shared_tiny_run

    base = tmp_path_factory.getbasetemp()
    return shared_tiny_run((base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "tiny")


@pytest.fixture(scope="session")
def sentiment(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """The real recipe, run once: real data, real checkpoint, real training."""
    from workspace import prepare_workspace  # stands beside the end-to-end tests, which alone ask for this

    return prepare_workspace(tmp_path_factory.mktemp("workspace"))
