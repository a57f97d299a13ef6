"""Fixtures that several test files share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tiny_run import TinyRun, make_tiny_run

if TYPE_CHECKING:
    from workspace import Workspace


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyRun:
    """The tiny recipe and its finished run; copy it before changing anything."""
    return make_tiny_run(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def sentiment(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """The real recipe, run once: real data, real checkpoint, real training."""
    from workspace import prepare_workspace  # stands beside the end-to-end tests, which alone ask for this

    return prepare_workspace(tmp_path_factory.mktemp("workspace"))
