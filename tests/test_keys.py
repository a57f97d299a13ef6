"""Keys for whoever runs a service: made, listed, revoked, and refused with a reason."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ftdeploy.errors import StorageError
from ftdeploy.keys import add_key, list_keys, read_expiry, revoke_key
from ftdeploy.serve.keyring import KeyRing, merge_uses, read_uses
from ftdeploy.serve.keys import KeysError, read_keys

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


def test_a_key_that_is_added_opens_and_one_that_is_revoked_does_not(path: Path) -> None:
    """By name or by id; the others stay, in the order of their making, and uses go with their key."""
    made = [add_key(path, name, ["admin", "predict", "predict"]) for name in ("a", "b", "c")]
    assert made[0].key.scopes == ("predict", "admin")
    assert made[0].secret not in repr(made[0])
    assert KeyRing(path).find(made[1].secret.encode()) is not None
    merge_uses(path, {made[0].key.id: 1e9, made[1].key.id: 2e9})
    assert revoke_key(path, "a") == made[0].key
    assert list(read_uses(path)) == [made[1].key.id]
    assert revoke_key(path, made[2].key.id) == made[2].key
    assert read_keys(path) == (made[1].key,)
    assert KeyRing(path).find(made[2].secret.encode()) is None


def test_the_list_says_what_is_known_of_each(path: Path) -> None:
    """Last use, and whether it has expired by now."""
    used = add_key(path, "used", ["predict"], expires="2h").key
    add_key(path, "unused", ["admin"])
    merge_uses(path, {used.id: 1e9})
    first, second = list_keys(path)
    assert (first.key.name, first.used, first.expired) == ("used", datetime.fromtimestamp(1e9, UTC), False)
    assert (second.key.name, second.used, second.expired) == ("unused", None, False)


def test_a_name_is_taken_once(path: Path) -> None:
    """Until it is revoked."""
    add_key(path, "a", ["predict"])
    before = path.read_bytes()
    with pytest.raises(KeysError, match="already") as caught:
        add_key(path, "a", ["admin"])
    assert "revoke a" in caught.value.fix
    assert path.read_bytes() == before
    revoke_key(path, "a")
    add_key(path, "a", ["admin"])


@pytest.mark.parametrize("name", ["", " a", "a b", "a\n", "-a", "ü", "x" * 65, "../a"])
def test_a_name_that_would_spoil_a_log_is_refused(path: Path, name: str) -> None:
    """Nothing is written for it."""
    with pytest.raises(KeysError, match="is no name"):
        add_key(path, name, ["predict"])
    assert not path.exists()


def test_a_wrong_scope_is_told_with_the_right_one(path: Path) -> None:
    """And no scope at all opens nothing."""
    with pytest.raises(KeysError, match="no scope 'predcit'") as caught:
        add_key(path, "a", ["predcit"])
    assert caught.value.fix == "did you mean 'predict'?"
    with pytest.raises(KeysError, match="wants a scope") as caught:
        add_key(path, "a", [])
    assert "admin, feedback, predict" in caught.value.fix


def test_what_is_not_there_cannot_be_revoked(path: Path) -> None:
    """A near name is offered; without a file nothing is made beside it."""
    with pytest.raises(KeysError, match="no such file"):
        revoke_key(path, "a")
    assert list(path.parent.iterdir()) == []
    add_key(path, "web-shop", ["predict"])
    with pytest.raises(KeysError, match="no key 'webshop'") as caught:
        revoke_key(path, "webshop")
    assert caught.value.fix == "did you mean 'web-shop'?"
    revoke_key(path, "web-shop")
    with pytest.raises(KeysError) as caught:
        revoke_key(path, "web-shop")
    assert caught.value.fix == "the file has no keys"


def test_a_damaged_file_is_not_written_over(path: Path) -> None:
    """It may be mended by hand."""
    path.write_text("{", encoding="utf-8")
    with pytest.raises(KeysError, match="is damaged"):
        add_key(path, "a", ["predict"])
    assert path.read_text(encoding="utf-8") == "{"


def test_a_folder_that_is_not_there_is_a_storage_error(tmp_path: Path) -> None:
    """A key that was shown and not kept would be worse."""
    with pytest.raises(StorageError, match=r"missing/keys\.json\.lock"):
        add_key(tmp_path / "missing" / "keys.json", "a", ["predict"])


def test_keys_that_are_added_at_the_same_time_all_stay(path: Path) -> None:
    """The file is read and written under a lock."""
    threads = [
        threading.Thread(target=lambda n=number: [add_key(path, f"k{n}-{i}", ["predict"]) for i in range(5)])
        for number in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(read_keys(path)) == 20


@pytest.mark.parametrize(
    ("text", "end"),
    [("12h", NOW + timedelta(hours=12)), ("90d", NOW + timedelta(days=90)), ("8w", NOW + timedelta(weeks=8)),
     ("2030-01-31", datetime(2030, 1, 31, tzinfo=UTC)),
     ("2030-01-31T10:00+02:00", datetime(2030, 1, 31, 8, tzinfo=UTC))],
)  # fmt: skip
def test_an_end_is_a_span_or_a_date(text: str, end: datetime) -> None:
    """Dates are UTC where they say nothing else."""
    assert read_expiry(text, now=NOW) == end


@pytest.mark.parametrize("text", ["", "90", "90 d", "d", "-1d", "1.5d", "90x", "tomorrow", "2030-13-01", "123456d"])
def test_what_is_no_end_is_told(text: str) -> None:
    """With what is one."""
    with pytest.raises(KeysError, match="no span and no date") as caught:
        read_expiry(text, now=NOW)
    assert "90d" in caught.value.fix


@pytest.mark.parametrize("text", ["0d", "2026-05-04", "2020-01-01"])
def test_an_end_lies_ahead(text: str) -> None:
    """A key that has expired already is a typing error."""
    with pytest.raises(KeysError, match="has passed already"):
        read_expiry(text, now=NOW)


def test_an_end_beyond_the_calendar_is_told() -> None:
    """And no traceback of a date."""
    with pytest.raises(KeysError, match="no span and no date"):
        read_expiry("99999w", now=NOW.replace(year=9000))
