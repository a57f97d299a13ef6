"""The history of a registry: lines that a crash cut off do no harm, others do, and who was champion before whom."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from ftdeploy.registry.history import Action, Event, RegistryError, append, read_history, reigns


def history(*steps: tuple[Action, str]) -> list[Event]:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    return [Event(time=now, action=action, digest=digest, before=None, why="") for action, digest in steps]


def test_what_is_written_is_read(tmp_path: Path) -> None:
    """Times with their zone, line breaks in a reason, and nothing before the first line."""
    path = tmp_path / "history.jsonl"
    assert read_history(path) == ()
    append(path, "promote", "a", before=None, why="two\nlines \u2028 ü")
    append(path, "rollback", "b", before="a", why="")
    first, second = read_history(path)
    assert (first.action, first.digest, first.before, first.why) == ("promote", "a", None, "two\nlines \u2028 ü")
    assert (second.before, second.time.tzinfo) == ("a", UTC)
    assert path.read_bytes().count(b"\n") == 2


@pytest.mark.parametrize("left", [0, 1, 40])
def test_a_line_that_was_cut_off_counts_for_nothing(tmp_path: Path, left: int) -> None:
    """Wherever the crash came, and the next line stands on its own."""
    path = tmp_path / "history.jsonl"
    append(path, "promote", "a", before=None, why="first")
    whole = path.read_bytes()
    append(path, "promote", "b", before="a", why="second")
    path.write_bytes(whole + path.read_bytes()[len(whole) :][:left])
    assert [event.digest for event in read_history(path)] == ["a"]
    append(path, "promote", "c", before="a", why="third")
    assert [event.digest for event in read_history(path)] == ["a", "c"]


@pytest.mark.parametrize("line", ["{}", "no JSON", '{"time":"2026-01-01","action":"boil","digest":"a","before":null}'])
def test_a_whole_line_that_is_none_is_an_error(tmp_path: Path, line: str) -> None:
    """With its number: nobody rolls back by a history that somebody edited."""
    path = tmp_path / "history.jsonl"
    append(path, "promote", "a", before=None, why="first")
    path.write_bytes(path.read_bytes() + line.encode() + b"\n")
    with pytest.raises(RegistryError, match="line 2 is none that was written there"):
        read_history(path)


@pytest.mark.parametrize(
    ("steps", "found"),
    [
        ((), ()),
        ((("enter", "a"), ("shadow", "a")), ()),
        ((("promote", "a"), ("enter", "b"), ("promote", "b")), ("a", "b")),
        ((("promote", "a"), ("promote", "b"), ("rollback", "a")), ("a",)),
        ((("promote", "a"), ("promote", "b"), ("promote", "a"), ("rollback", "b")), ("a", "b")),
        # cut off: a promotion, the first one, a rollback, and one to a champion that reigned twice
        ((("promote", "a"), ("promote", "b"), ("found", "a")), ("a",)),
        ((("promote", "a"), ("found", "")), ()),
        ((("promote", "a"), ("promote", "b"), ("rollback", "a"), ("found", "b")), ("a", "b")),
        ((("promote", "a"), ("promote", "b"), ("promote", "a"), ("rollback", "b"), ("found", "a")), ("a", "b", "a")),
        # set by hand: on an old one, and on a third
        ((("promote", "a"), ("promote", "b"), ("promote", "c"), ("found", "a")), ("a", "b", "c", "a")),
        ((("promote", "a"), ("found", "c")), ("a", "c")),
    ],
)  # fmt: skip
def test_who_was_champion_before_whom(steps: tuple[tuple[Action, str], ...], found: tuple[str, ...]) -> None:
    """Promotions come on top, rollbacks take away, and what was cut off has not been."""
    assert reigns(history(*steps)) == found
