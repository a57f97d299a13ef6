"""`ftdeploy keys` as programs and people meet it: real processes, exit codes, what goes where."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ftdeploy.errors import ServeError, StorageError
from ftdeploy.serve.keyring import KeyRing, merge_uses
from ftdeploy.serve.keys import read_keys

SECRET = re.compile(r"ftd_[0-9a-f]{12}_[0-9a-f]{64}")


def keys(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    settings = {**os.environ, "COLUMNS": "200"}
    for name in ("FORCE_COLOR", "PY_COLORS", "CLICOLOR_FORCE", "FTDEPLOY_KEYS"):
        settings.pop(name, None)
    command = [sys.executable, "-m", "ftdeploy", "keys", *arguments]
    return subprocess.run(command, cwd=folder, env=settings | environment, capture_output=True, text=True, check=False)


def test_a_key_is_shown_once_alone_on_stdout(tmp_path: Path) -> None:
    """So that a shell can take it, and a program it with what belongs to it; no file and no list has it afterwards."""
    shown = keys(tmp_path, "add", "web", "--file", "keys.json")
    assert shown.returncode == 0
    assert SECRET.fullmatch(shown.stdout.strip())
    assert not SECRET.search(shown.stderr)
    told = keys(tmp_path, "add", "ops", "--scope", "admin", "--scope", "feedback", "--expires", "90d", "--json",
                FTDEPLOY_KEYS="keys.json")  # fmt: skip
    made = json.loads(told.stdout)
    assert SECRET.fullmatch(made["key"])
    assert (made["name"], made["scopes"], made["file"]) == ("ops", ["feedback", "admin"], "keys.json")
    ring = KeyRing(tmp_path / "keys.json")
    assert ring.find(shown.stdout.strip().encode()) is not None
    assert ring.find(made["key"].encode()) is not None
    listed = keys(tmp_path, "ls", "-f", "keys.json").stdout + keys(tmp_path, "ls", "-f", "keys.json", "--json").stdout
    content = listed + "".join(path.read_text(encoding="utf-8") for path in tmp_path.iterdir())
    assert not SECRET.search(content)
    assert all(key.sha256 not in listed for key in read_keys(tmp_path / "keys.json"))


def test_the_list_shows_scopes_expiry_and_last_use(tmp_path: Path) -> None:
    """For people in a table, for programs as JSON."""
    file = ("--file", "keys.json")
    assert "has no keys" not in keys(tmp_path, "add", "web", *file).stdout
    keys(tmp_path, "add", "ops", "--scope", "admin", "--expires", "2999-01-01", *file)
    web, _ = read_keys(tmp_path / "keys.json")
    merge_uses(tmp_path / "keys.json", {web.id: 1e9})
    head, first, second = keys(tmp_path, "ls", *file).stdout.splitlines()
    assert head.split("  ")[0] == "name"
    assert re.fullmatch(rf"web +{web.id} +predict +\S+ +never +2001-09-09 01:46:40", first)
    assert re.fullmatch(r"ops +\S+ +admin +\S+ +2999-01-01 00:00 +never", second)
    found = json.loads(keys(tmp_path, "ls", *file, "--json").stdout)
    assert [(one["name"], one["last_used"], one["expired"]) for one in found] == [
        ("web", "2001-09-09T01:46:40+00:00", False),
        ("ops", None, False),
    ]


def test_a_revoked_key_is_gone(tmp_path: Path) -> None:
    """And an empty file says what that means."""
    keys(tmp_path, "add", "web", "--file", "keys.json")
    gone = keys(tmp_path, "revoke", "web", "--file", "keys.json", "--json")
    assert json.loads(gone.stdout)["name"] == "web"
    assert read_keys(tmp_path / "keys.json") == ()
    assert "has no keys: every request that wants one is refused" in keys(tmp_path, "ls", "-f", "keys.json").stdout


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["add", "web", "--scope", "predit", "-f", "keys.json"], ServeError.exit_code, "did you mean 'predict'?"),
        (["add", "web", "-f", "missing/keys.json"], StorageError.exit_code, "missing/keys.json"),
        (["ls", "-f", "keys.json"], ServeError.exit_code, "no such file"),
        (["revoke", "web", "-f", "keys.json"], ServeError.exit_code, "no such file"),
        (["ls"], 2, "--file"),
        (["add", "-f", "keys.json"], 2, "name"),
        ([], 2, "revoke"),
    ],
)
def test_what_is_wrong_is_told_with_an_exit_code(tmp_path: Path, arguments: list[str], code: int, told: str) -> None:
    """Three parts for people, the same for programs, and no file of it."""
    found = keys(tmp_path, *arguments)
    assert found.returncode == code, found.stderr
    assert told in found.stdout + found.stderr
    assert list(tmp_path.iterdir()) == []
    if code != 2:
        as_data = json.loads(keys(tmp_path, *arguments, "--json").stdout)
        assert as_data["exit_code"] == code
        assert {"what", "cause", "fix"} <= set(as_data)
