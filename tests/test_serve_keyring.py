"""The keys in force: found in the same steps whatever is asked for, read again, and their last use kept."""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ftdeploy.serve.keyring import KeyRing, merge_uses, read_uses, uses_path
from ftdeploy.serve.keys import Key, KeysError, make_key, write_keys


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    with caplog.at_level(logging.INFO, logger="ftdeploy.serve.keyring"):
        yield caplog


def ring_with(path: Path, *names: str) -> tuple[KeyRing, list[bytes], list[Key]]:
    """A ring over a new file with keys of these names."""
    made = [make_key(name, ["predict"]) for name in names]
    write_keys(path, [key for key, _ in made])
    return KeyRing(path), [secret.encode() for _, secret in made], [key for key, _ in made]


def until(condition: Callable[[], bool]) -> None:
    """Wait until something has come about on another thread."""
    while not condition():
        time.sleep(0.005)


def test_a_key_is_found_by_its_whole_secret_only(path: Path) -> None:
    """Not by its id, a part, another key's secret, one character more, or anything else of bytes."""
    ring, (one, other), _ = ring_with(path, "one", "other")
    found = ring.find(one)
    assert found is not None
    assert (found.name, found.scopes) == ("one", frozenset({"predict"}))
    assert ring.find(other) is not None
    swapped = one[:17] + other[17:]
    last = one[:-1] + (b"0" if one[-1:] != b"0" else b"1")
    wrong = [b"", one[:-1], one + b" ", one.upper(), swapped, last, b"-" * len(one), b"\xff" * len(one), b"x" * 60_000]
    assert [ring.find(token) for token in wrong] == [None] * len(wrong)


def test_every_question_takes_the_same_steps(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether the id is known or not, the shape right or not: one hash of as many bytes, one comparison of two digests
    in constant time, and where there is no such id, with one that nothing hashes to."""
    ring, (secret,), _ = ring_with(path, "one")
    compared: list[tuple[int, int]] = []
    hashed: list[int] = []
    real, digest = hmac.compare_digest, hashlib.sha256

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((len(one), len(other)))
        return real(one, other)

    def sha256(data: bytes) -> object:
        hashed.append(len(data))
        return digest(data)

    monkeypatch.setattr("ftdeploy.serve.keyring.hmac.compare_digest", compare)
    monkeypatch.setattr("ftdeploy.serve.keyring.hashlib.sha256", sha256)
    unknown = b"ftd_" + b"0" * 12 + secret[16:]
    wrong = secret[:-1] + (b"0" if secret[-1:] != b"0" else b"1")
    for token in (secret, wrong, unknown, b"", b"x" * 50_000):
        ring.find(token)
    assert compared == [(32, 32)] * 5
    assert hashed == [len(secret)] * 5


def test_a_changed_file_is_read_again_and_an_unchanged_one_is_not(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Added keys are taken and revoked ones refused; a key that stays keeps what is known of its use."""
    ring, (one, other), (first, _) = ring_with(path, "one", "other")
    entry = ring.find(one)
    assert entry is not None
    entry.use.at = 5.0
    third, secret = make_key("third", ["admin"])
    write_keys(path, [first, third])
    ring.reload()
    assert ring.find(other) is None
    assert (ring.find(secret.encode()) or entry).name == "third"
    again = ring.find(one)
    assert again is not None
    assert again.use is entry.use
    monkeypatch.setattr("ftdeploy.serve.keyring.read_keys", None)
    ring.reload()
    assert len(ring) == 2


@pytest.mark.parametrize("damage", ["half", "gone"])
def test_damage_while_running_leaves_the_last_good_keys(path: Path, log: pytest.LogCaptureFixture, damage: str) -> None:
    """The log says so, once; when the file is whole again it counts."""
    ring, (secret,), keys = ring_with(path, "one")
    if damage == "half":
        path.write_bytes(path.read_bytes()[:-20])
    else:
        path.unlink()
    for _ in range(3):
        ring.reload()
    assert ring.find(secret) is not None
    (told,) = [record.message for record in log.records]
    assert str(path) in told
    assert "the 1 keys that were read last stay in force" in told
    write_keys(path, [])
    ring.reload()
    assert ring.find(secret) is None
    write_keys(path, keys)
    ring.reload()
    assert ring.find(secret) is not None


def test_a_ring_over_a_damaged_file_is_none(path: Path) -> None:
    """At the start there are no last good keys."""
    path.write_text("{}", encoding="utf-8")
    with pytest.raises(KeysError):
        KeyRing(path)


def test_the_watch_reads_and_keeps_and_ends(
    path: Path, log: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the background, while nothing asks; the end writes what is not kept yet."""
    monkeypatch.setattr("ftdeploy.serve.keyring.TICK", 0.01)
    monkeypatch.setattr("ftdeploy.serve.keyring.KEEP_SECONDS", 0.02)
    ring, (secret,), (key,) = ring_with(path, "one")
    entry = ring.find(secret)
    assert entry is not None
    ring.start()
    try:
        assert f"requests want one of the 1 keys of {path}" in log.text
        entry.use.at = 1e9
        until(lambda: key.id in read_uses(path))
        write_keys(path, [])
        until(lambda: ring.find(secret) is None)
        write_keys(path, [key])
        until(lambda: ring.find(secret) is not None)
        monkeypatch.setattr("ftdeploy.serve.keyring.KEEP_SECONDS", 1e6)
        entry = ring.find(secret)
        assert entry is not None
        entry.use.at = 2e9
    finally:
        ring.close()
    assert read_uses(path)[key.id] == datetime.fromtimestamp(2e9, UTC)
    assert not any(thread.name == "keys" for thread in threading.enumerate())


def test_the_start_takes_what_the_file_holds_by_then(path: Path) -> None:
    """A worker may be forked days after the file was read: a key that was revoked meanwhile opens nothing."""
    ring, (one,), _ = ring_with(path, "one")
    key, secret = make_key("later", ["predict"])
    write_keys(path, [key])
    ring.start()
    try:
        assert ring.find(one) is None
        assert ring.find(secret.encode()) is not None
    finally:
        ring.close()


def test_the_watch_outlives_whatever_goes_wrong(
    path: Path, log: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without it no key could be revoked any more."""
    monkeypatch.setattr("ftdeploy.serve.keyring.TICK", 0.01)
    ring, (secret,), _ = ring_with(path, "one")
    broken = threading.Event()
    real = ring.reload

    def reload() -> None:
        if not broken.is_set():
            broken.set()
            raise RuntimeError("odd")
        real()

    ring.start()
    try:
        monkeypatch.setattr(ring, "reload", reload)
        broken.wait()
        write_keys(path, [])
        until(lambda: ring.find(secret) is None)
    finally:
        ring.close()
    assert "watching" in log.text


def test_others_that_may_read_the_file_are_a_warning_once_a_mode(path: Path, log: pytest.LogCaptureFixture) -> None:
    """It holds hashes, but who may write it opens the service."""
    ring, _, _ = ring_with(path, "one")
    path.chmod(0o644)
    for _ in range(2):
        ring.reload()
        path.touch()
    assert [record.levelname for record in log.records if "mode 0644" in record.message] == ["WARNING"]
    path.chmod(0o600)
    ring.reload()
    path.chmod(0o666)
    ring.reload()
    assert "mode 0666" in log.text


# Last use


def test_uses_are_merged_the_later_one_of_two(path: Path) -> None:
    """What another process wrote stays; seconds, UTC."""
    write_keys(path, [])
    merge_uses(path, {"a": 100.9, "b": 200.0})
    merge_uses(path, {"a": 50.0, "c": 300.0})
    merge_uses(path, {"b": 250.0}, without=["c"])
    assert read_uses(path) == {"a": datetime.fromtimestamp(100, UTC), "b": datetime.fromtimestamp(250, UTC)}
    assert uses_path(path).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("content", ["", "[]", '{"a": 5}', '{"a": "soon"}', "\xff"])
def test_damaged_uses_are_unknown_and_replaced(path: Path, content: str) -> None:
    """They are no reason not to serve."""
    write_keys(path, [])
    uses_path(path).write_text(content, encoding="latin-1")
    assert read_uses(path) == {}
    merge_uses(path, {"b": 200.0})
    assert list(read_uses(path)) == ["b"]


def test_a_time_without_a_zone_is_utc(path: Path) -> None:
    """As somebody may have written it by hand."""
    uses_path(path).write_text('{"a": "2026-01-01T00:00:00"}', encoding="utf-8")
    merge_uses(path, {"a": 5.0})
    assert read_uses(path) == {"a": datetime(2026, 1, 1, tzinfo=UTC)}


def test_several_processes_lose_none_of_each_others_uses(path: Path) -> None:
    """Each writes its own ids again and again, at the same time as the others; in the end all are there."""
    write_keys(path, [])
    code = (
        "import sys\nfrom pathlib import Path\nfrom ftdeploy.serve.keyring import merge_uses\n"
        "for n in range(25): merge_uses(Path(sys.argv[1]), {f'{sys.argv[2]}-{n}': 1e9 + n, 'all': 1e9 + n})"
    )
    command = [sys.executable, "-c", code, str(path)]
    processes = [subprocess.Popen([*command, str(number)], env=os.environ) for number in range(3)]
    assert [process.wait() for process in processes] == [0, 0, 0]
    found = json.loads(uses_path(path).read_bytes())
    assert len(found) == 76
    assert found["all"] == "2001-09-09T01:47:04Z"


def test_a_disk_that_refuses_is_told_of_once_and_tried_again(
    path: Path, log: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A keys file on a read-only mount is common; what was not kept is kept when that is over."""
    ring, (secret,), (key,) = ring_with(path, "one")
    entry = ring.find(secret)
    assert entry is not None
    entry.use.at = (datetime.now(UTC) - timedelta(hours=1)).timestamp()
    blocked = uses_path(path)
    blocked.mkdir()
    for _ in range(3):
        ring.keep_uses()
    assert [record.levelname for record in log.records] == ["WARNING"]
    assert "when keys were last used is not kept" in log.text
    blocked.rmdir()
    ring.keep_uses()
    assert key.id in read_uses(path)
    monkeypatch.setattr("ftdeploy.serve.keyring.merge_uses", None)
    ring.keep_uses()  # nothing new: nothing is written
