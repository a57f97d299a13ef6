"""Files that are there whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ftdeploy.files import whole, write_json, write_text


def test_a_failed_write_leaves_what_was_there(tmp_path: Path) -> None:
    """The old file stays, and nothing half-written beside it."""
    path = tmp_path / "a.txt"
    write_text(path, "old")

    def fail() -> None:
        with whole(path) as partial:
            partial.write_text("half", encoding="utf-8")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert path.read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_is_replaced_and_its_folder_made(tmp_path: Path) -> None:
    """JSON with its letters as they are."""
    path = tmp_path / "new" / "a.json"
    write_json(path, {"a": 1})
    write_json(path, {"a": "größer"})
    assert json.loads(path.read_text(encoding="utf-8")) == {"a": "größer"}
    assert "größer" in path.read_text(encoding="utf-8")
    assert list(path.parent.iterdir()) == [path]
