"""Notes of what has to go: they hold in files that are open, and do not tell what they are about."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from ftdeploy.serve.deletions import NAME, Deletion, add_deletions, deletion, read_deletions, rewrite, seal
from ftdeploy.serve.encryption import TrafficKey
from ftdeploy.serve.segments import OpenFile, read_lines

KEYS = [None, TrafficKey(bytes(32))]


def opened(folder: Path, key: TrafficKey | None, *subjects: str, time: float = 100.0) -> OpenFile:
    """A file with a row for each subject."""
    file = OpenFile(folder, "segment", key)
    for number, subject in enumerate(subjects):
        row = {"id": f"r{number}", "subject": subject, "time": time}
        file.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE), 1, fsync=False)
    return file


def subjects(path: Path, key: TrafficKey | None) -> list[str]:
    return [orjson.loads(line)["subject"] for line in read_lines(path, key)]


@pytest.mark.parametrize("key", KEYS)
def test_an_open_file_is_sealed_without_what_has_to_go(tmp_path: Path, key: TrafficKey | None) -> None:
    """Of a file that keeps rows, the others stay in their order; one that loses all is not kept at all."""
    add_deletions(tmp_path, [deletion("subject", "anna", time=100.0)])
    for kept in (["bert", "carl"], []):
        file = opened(tmp_path, key, "anna", *kept, "anna")
        file.close()
        seal(file.path, rows=file.rows, key=key, fsync=True)
        sealed = file.path.with_suffix("")
        assert not file.path.exists()
        assert (subjects(sealed, key) if sealed.exists() else []) == kept
        sealed.unlink(missing_ok=True)


def test_a_note_is_for_what_was_recorded_before_it(tmp_path: Path) -> None:
    """Somebody may come back."""
    note = deletion("subject", "anna", time=100.0)
    assert note.covers({"subject": "anna", "time": 100.0})
    assert not note.covers({"subject": "anna", "time": 100.1})
    assert not note.covers({"subject": "bert", "time": 1.0})
    assert not note.covers({"subject": None, "time": 1.0})
    add_deletions(tmp_path, [note])
    assert read_deletions(tmp_path) == [note]
    assert b"anna" not in (tmp_path / NAME).read_bytes()


def test_a_note_goes_when_no_row_can_be_left_that_it_is_for(tmp_path: Path) -> None:
    """A day later at the earliest, and not while a file is open that was begun before."""
    day = 86_400.0
    first, second, third = (deletion("id", "r", time=time) for time in (1000.0, 1000.0 + day / 2, 1001.0 + day))
    add_deletions(tmp_path, [first])
    add_deletions(tmp_path, [second])
    assert read_deletions(tmp_path) == [first, second]
    left = tmp_path / "segment-19700101T000000Z-1-1.jsonl.open"
    left.touch()
    add_deletions(tmp_path, [third])
    assert read_deletions(tmp_path) == [first, second, third]
    left.unlink()
    add_deletions(tmp_path, [third])
    assert read_deletions(tmp_path) == [second, third, third]


def test_half_a_note_is_none(tmp_path: Path) -> None:
    """As no half one is ever put in place, it is somebody else's; what is whole counts."""
    note = Deletion(by="id", salt="00", digest="x", time=1.0)
    add_deletions(tmp_path, [note])
    with (tmp_path / NAME).open("ab") as handle:
        handle.write(b'{"by":"id"')
    assert read_deletions(tmp_path) == [note]


@pytest.mark.parametrize("key", KEYS)
def test_rewriting_replaces_a_file_in_one_step_and_keeps_its_age(tmp_path: Path, key: TrafficKey | None) -> None:
    """Retention goes on counting; nothing is written where nothing has to go; no leftovers lie beside it."""
    file = opened(tmp_path, key, "anna", "bert")
    file.close()
    seal(file.path, rows=2, key=key, fsync=False)
    sealed = file.path.with_suffix("")
    before = sealed.stat()
    assert rewrite(sealed, [deletion("subject", "zoe", time=200.0)], key=key) == -1
    assert sealed.stat().st_ino == before.st_ino
    assert rewrite(sealed, [deletion("subject", "anna", time=200.0)], key=key) == 1
    assert sealed.stat().st_mtime_ns == before.st_mtime_ns
    assert subjects(sealed, key) == ["bert"]
    assert list(tmp_path.iterdir()) == [sealed]
