"""Files of recorded rows: names, half-written ends, and what is removed for its age."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from ftdeploy.serve.encryption import TrafficKey
from ftdeploy.serve.segments import OpenFile, begun, files, keep_within, read_lines, whole_length


def stamped(folder: Path, days: float) -> Path:
    """A sealed file that was begun so many days ago."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(time.time() - days * 86_400))
    path = folder / f"segment-{stamp}-1-1.jsonl"
    path.write_bytes(b"x" * 100)
    return path


def test_files_are_found_by_kind_and_state(tmp_path: Path) -> None:
    """Other files of the folder are none, and names say when a file was begun."""
    names = ("segment-20260101T000000Z-1-1.jsonl", "segment-20260102T000000Z-1-2.jsonl.enc",
             "feedback-20260101T000000Z-1-3.jsonl.open", "deletions.jsonl", "segment-x.jsonl.bak")  # fmt: skip
    for name in names:
        (tmp_path / name).touch()
    assert [path.name for path in files(tmp_path)] == list(names[:3])
    assert [path.name for path in files(tmp_path, sealed=False)] == [names[2]]
    assert [path.name for path in files(tmp_path, "segment")] == list(names[:2])
    assert begun(tmp_path / names[0]) == 1_767_225_600
    assert begun(tmp_path / "deletions.jsonl") == 0


@pytest.mark.parametrize("key", [None, TrafficKey(bytes(32))])
def test_what_is_whole_of_a_file_is_known_without_its_key(tmp_path: Path, key: TrafficKey | None) -> None:
    """A crash leaves half a line, or half a record; where nothing is whole, there is no row."""
    file = OpenFile(tmp_path, "feedback", key)
    assert whole_length(file.path) == 0
    file.write(b"{}\n", 1, fsync=False)
    whole = file.size
    assert whole_length(file.path) == whole
    file.write(b"{}\n", 1, fsync=False)
    file.close()
    os.truncate(file.path, file.size - 1)
    assert whole_length(file.path) == whole
    assert list(read_lines(file.path, key)) == [b"{}\n"]


def test_sealed_files_go_when_they_were_begun_too_long_ago(tmp_path: Path) -> None:
    """By the beginning, so that no row is kept for longer; the last one, too. No folder is no error."""
    old, new = stamped(tmp_path, 31), stamped(tmp_path, 29)
    keep_within(tmp_path, 1000, 30)
    assert (old.exists(), new.exists()) == (False, True)
    keep_within(tmp_path, 1000, 28)
    assert not new.exists()
    keep_within(tmp_path / "missing", 1000, 30)
