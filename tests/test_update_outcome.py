"""What an update writes down: when it was begun, and what came of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from ftdeploy.errors import ArtifactError
from ftdeploy.update.outcome import (
    Begun,
    Outcome,
    read_begun,
    read_outcome,
    updates_below,
    write_begun,
    write_outcome,
)

BEGUN = Begun(champion="0" * 12, settings="s", rows=300, digest="d")
OUTCOME = Outcome(verdict="pass", begun=BEGUN, version="1" * 12, splits={"train": 150}, report="r", gates={"g": "pass"})


def test_updates_are_found_with_what_came_of_them(tmp_path: Path) -> None:
    """Finished or not; folders of other things, and locks, are none."""
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
    (tmp_path / ".lock").touch()
    write_begun(tmp_path / "a", BEGUN)
    write_begun(tmp_path / "b", BEGUN)
    write_outcome(tmp_path / "b", OUTCOME)
    assert list(updates_below(tmp_path)) == [(tmp_path / "a", BEGUN, None), (tmp_path / "b", BEGUN, OUTCOME)]
    assert list(updates_below(tmp_path / "nowhere")) == []


def test_a_damaged_file_is_told(tmp_path: Path) -> None:
    """It is not taken for an update that was not begun."""
    assert read_begun(tmp_path) is None
    assert read_outcome(tmp_path) is None
    (tmp_path / "begun.json").write_text("{}", encoding="utf-8")
    (tmp_path / "outcome.json").write_text('{"format": 2', encoding="utf-8")
    with pytest.raises(ArtifactError, match=r"begun\.json cannot be read"):
        read_begun(tmp_path)
    with pytest.raises(ArtifactError, match=r"outcome\.json cannot be read"):
        read_outcome(tmp_path)
