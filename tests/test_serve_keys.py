"""Keys and their file: random, kept as hashes, replaced in one step, and never quoted when it is damaged."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ftdeploy.errors import StorageError
from ftdeploy.serve.keys import (
    LENGTH,
    KeysError,
    locked,
    make_key,
    read_keys,
    readable_by_others,
    write_beside,
    write_keys,
)


def test_a_key_says_which_it_is_and_is_kept_as_a_hash() -> None:
    """Prefix, id and 256 random bits; its record has the hash of the whole, and shows not even that by itself."""
    key, secret = make_key("web", ["predict"])
    assert re.fullmatch(r"ftd_[0-9a-f]{12}_[0-9a-f]{64}", secret)
    assert len(secret) == LENGTH
    assert secret[4:16] == key.id
    assert key.sha256 == hashlib.sha256(secret.encode()).hexdigest()
    assert key.sha256 not in repr(key)
    other, another = make_key("web", ["predict"])
    assert (other.id, another) != (key.id, secret)


def test_what_is_written_is_read_and_holds_no_secret(tmp_path: Path) -> None:
    """With its times; readable by its owner alone, also where the old file was not."""
    until = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)
    made = [make_key("a", ["predict", "admin"], expires=until), make_key("b", ["feedback"])]
    path = tmp_path / "keys.json"
    path.write_text("old", encoding="utf-8")
    path.chmod(0o644)
    assert readable_by_others(path) == "0644"
    write_keys(path, [key for key, _ in made])
    assert read_keys(path) == tuple(key for key, _ in made)
    assert readable_by_others(path) is None
    content = path.read_text(encoding="utf-8")
    assert all(secret.rpartition("_")[2] not in content for _, secret in made)
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_stays_one(tmp_path: Path) -> None:
    """What it points to is replaced: a link from /etc into a volume is common."""
    (tmp_path / "real").mkdir()
    write_keys(tmp_path / "real" / "keys.json", [])
    link = tmp_path / "keys.json"
    link.symlink_to(tmp_path / "real" / "keys.json")
    key, _ = make_key("a", ["predict"])
    write_keys(link, [key])
    assert link.is_symlink()
    assert read_keys(tmp_path / "real" / "keys.json") == (key,)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a file away")
def test_root_leaves_the_file_to_the_service_it_belongs_to(tmp_path: Path) -> None:
    """A key that root adds must not take the file from the service's user."""
    path = tmp_path / "keys.json"
    write_keys(path, [])
    os.chown(path, 12345, 12346)
    write_keys(path, [])
    with locked(path):
        pass
    write_beside(tmp_path / "beside", b"", owner=path)
    for made in ("keys.json", "keys.json.lock", "beside"):
        assert ((tmp_path / made).stat().st_uid, (tmp_path / made).stat().st_gid) == (12345, 12346)


GOOD = '{"id": "%s", "name": "%s", "scopes": ["predict"], "created": "2026-01-01T00:00:00Z", "sha256": "%s"}'
ONE = GOOD % ("0" * 12, "a", "0" * 64)
TWICE = {"same-name": GOOD % ("1" * 12, "a", "0" * 64), "same-id": GOOD % ("0" * 12, "b", "0" * 64)}
ODD = {
    "scope": ONE.replace("predict", "ftd_hush"),
    "no-scope": ONE.replace('"predict"', ""),
    "key": ONE.replace("sha256", "ftd_hush"),
    "hash": ONE.replace("0" * 64, "ftd_hush"),
    "name": ONE.replace('"a"', '"ftd_hush\\n"'),
    "time": ONE.replace("00Z", "00"),
} | {name: f"{ONE}, {other}" for name, other in TWICE.items()}
DAMAGED = {
    "empty": "",
    "half": '{"version": 1, "keys": [' + ONE,
    "no-json": "ftd_hush",
    "list": "[]",
    "version": '{"version": 2, "keys": []}',
} | {name: f'{{"version": 1, "keys": [{keys}]}}' for name, keys in ODD.items()}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED.keys())
def test_a_damaged_file_is_told_and_not_quoted(tmp_path: Path, content: str) -> None:
    """Somebody may have put a secret where a hash belongs; what stands there goes into no log."""
    path = tmp_path / "keys.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(KeysError, match="is damaged") as caught:
        read_keys(path)
    error = caught.value
    assert str(path) in error.what
    assert "hush" not in error.what + error.cause + error.fix
    assert error.__cause__ is None


def test_no_keys_are_right_too(tmp_path: Path) -> None:
    """When the last one is revoked, nobody may ask; the file is not damaged by that."""
    write_keys(tmp_path / "keys.json", [])
    assert read_keys(tmp_path / "keys.json") == ()


def test_what_is_no_file_is_told(tmp_path: Path) -> None:
    """Missing, a folder, a pipe that would be waited for, below a file."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").touch()
    for name, told in (("missing", "no such file"), (".", "no file"), ("pipe", "no file"), ("file/x", "no such file")):
        with pytest.raises(KeysError, match=f"cannot be read: .*{told}"):
            read_keys(tmp_path / name)


def test_a_place_that_takes_no_file_is_a_storage_error(tmp_path: Path) -> None:
    """In words, for the lock and for the file, and nothing half is left."""
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match=r"keys\.json\.lock"), locked(tmp_path / "file" / "keys.json"):
        pass
    with pytest.raises(StorageError, match=r"keys\.json cannot be written"):
        write_keys(tmp_path / "missing" / "keys.json", [])
    (tmp_path / "folder").mkdir()
    with pytest.raises(StorageError, match="folder cannot be written"):
        write_keys(tmp_path / "folder", [])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_the_lock_lets_one_in_at_a_time(tmp_path: Path) -> None:
    """Each block sees nobody else in it."""
    path = tmp_path / "keys.json"
    inside = most = 0

    def work() -> None:
        nonlocal inside, most
        for _ in range(20):
            with locked(path):
                inside += 1
                most = max(most, inside)
                time.sleep(0.0005)
                inside -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1
    assert stat.S_IMODE((tmp_path / "keys.json.lock").stat().st_mode) == 0o600
