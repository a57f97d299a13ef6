"""Encrypted traffic: a key that is right or an error that says why, and a file that nobody changed."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import pytest

from ftdeploy.errors import DependencyError
from ftdeploy.serve.encryption import HEADER, KEY, KEY_FILE, MAGIC, Framing, TrafficError, TrafficKey, read_key
from ftdeploy.serve.segments import OpenFile, read_lines

SECRET = "0123456789abcdef" * 4
LINES = (b'{"id":"one"}\n{"id":"two"}\n', b'{"id":"three"}\n')


def written(folder: Path, key: TrafficKey | None) -> Path:
    """A file of two records."""
    file = OpenFile(folder, "segment", key)
    for lines in LINES:
        file.write(lines, 1, fsync=True)
    file.close()
    return file.path


def test_the_key_comes_from_the_environment_or_a_file(tmp_path: Path) -> None:
    """The same key either way, none without both; it is not shown where objects are."""
    (tmp_path / "key").write_text(f"{SECRET}\n", encoding="ascii")
    one, other = read_key({KEY: SECRET}), read_key({KEY_FILE: str(tmp_path / "key")})
    assert one == other
    assert one is not None
    assert one.secret == bytes.fromhex(SECRET)
    assert "secret" not in repr(one)
    assert read_key({KEY: " "}) is None


@pytest.mark.parametrize(
    ("environment", "what"),
    [
        ({KEY: SECRET[:-2]}, "holds no key"),
        ({KEY: "x" * 64}, "holds no key"),
        ({KEY: SECRET, KEY_FILE: "/somewhere"}, "both"),
        ({KEY_FILE: "/no/such/file"}, "cannot be read"),
    ],
)
def test_a_wrong_key_is_told_in_three_parts_without_repeating_it(environment: dict[str, str], what: str) -> None:
    """A service does not start with it, rather than record what nobody can read, or in the clear."""
    with pytest.raises(TrafficError, match=what) as raised:
        read_key(environment)
    told = raised.value.what + raised.value.cause + raised.value.fix
    assert raised.value.cause
    assert raised.value.fix
    assert environment.get(KEY, "none") not in told


def test_a_key_without_the_package_is_an_error_that_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bundles do not ask for it, as most record nothing that wants encrypting."""
    found = builtins.__import__

    def without(name: str, *arguments: Any, **named: Any) -> Any:
        if name.startswith("cryptography"):
            raise ImportError("No module named 'cryptography'")
        return found(name, *arguments, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(DependencyError) as raised:
        read_key({KEY: SECRET})
    assert "pip install cryptography" in raised.value.fix


def test_a_file_is_read_with_its_key_and_shows_nothing_without(tmp_path: Path) -> None:
    """All lines come back; no word of them stands in it; another key and none are told apart from damage."""
    key = TrafficKey(bytes(32))
    path = written(tmp_path, key)
    assert b"".join(read_lines(path, key)) == b"".join(LINES)
    assert b"three" not in path.read_bytes()
    assert path.read_bytes()[:5] == MAGIC
    with pytest.raises(TrafficError, match="another"):
        list(read_lines(path, TrafficKey(bytes(31) + b"x")))
    with pytest.raises(TrafficError, match="there is no key"):
        list(read_lines(path))


@pytest.mark.parametrize("place", [6, 14, 28, 40, -1])
def test_a_changed_byte_is_noticed_wherever_it_is(tmp_path: Path, place: int) -> None:
    """In the key's mark, the salt and the records: nothing is read that was not written."""
    key = TrafficKey(bytes(32))
    path = written(tmp_path, key)
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    with pytest.raises(TrafficError):
        list(read_lines(path, key))


def test_records_cannot_change_places_nor_files(tmp_path: Path) -> None:
    """The number of a record is its nonce, and each file has a key of its own: the same lines never look the same."""
    key = TrafficKey(bytes(32))
    one, other = Framing(key), Framing(key)
    first, second = (one.record(b"same\n") for _ in range(2))
    assert first != second
    assert other.record(b"same\n") != first
    swapped = tmp_path / "segment-20260101T000000Z-1-1.jsonl.enc"
    swapped.write_bytes(one.header + second + first)
    with pytest.raises(TrafficError, match="not what was written"):
        list(read_lines(swapped, key))


def test_a_crash_in_the_middle_of_a_record_loses_that_record(tmp_path: Path) -> None:
    """Cut anywhere, what is whole is read."""
    key = TrafficKey(bytes(32))
    path = written(tmp_path, key)
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        assert b"".join(read_lines(path, key)) in (b"", LINES[0])
    assert len(content) > HEADER.size
