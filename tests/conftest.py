"""Fixtures that several test files share."""

from __future__ import annotations

import pytest
from tiny_run import TinyRun, make_tiny_run


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyRun:
    """The tiny recipe and its finished run; copy it before changing anything."""
    return make_tiny_run(tmp_path_factory.mktemp("tiny"))
