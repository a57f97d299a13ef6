"""Fixtures of the end-to-end tests."""

from __future__ import annotations

import pytest
from workspace import Workspace, prepare_workspace


@pytest.fixture(scope="session")
def sentiment(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """The real recipe, run once: real data, real checkpoint, real training."""
    return prepare_workspace(tmp_path_factory.mktemp("workspace"))
