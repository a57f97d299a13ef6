"""`ftdeploy traffic` as programs and people meet it: real processes, exit codes, what goes where."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from test_traffic import asked, labelled, writer

from ftdeploy.serve.encryption import KEY, TrafficKey

SECRET = bytes(range(32))


def traffic(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    settings = {**os.environ, "COLUMNS": "200"}
    for name in ("FORCE_COLOR", "PY_COLORS", "CLICOLOR_FORCE", KEY):
        settings.pop(name, None)
    command = [sys.executable, "-m", "ftdeploy", "traffic", *arguments]
    return subprocess.run(command, env=settings | environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("traffic")
    one = writer(place, TrafficKey(SECRET))
    for name, subject in (("r1", "anna"), ("r2", "bert"), ("r3", "anna")):
        one.record(asked(name, subject))
    one.record_feedback([labelled("r2")])
    one.close()
    return place


def test_an_encrypted_folder_wants_its_key(folder: Path, tmp_path: Path) -> None:
    """Without it files are listed and not read, with another one the error has three parts; nothing is exported."""
    assert traffic("ls", str(folder)).stdout.count("no key") == 2
    refused = traffic("export", str(folder), "--out", str(tmp_path / "out.csv"), **{KEY: "ff" * 32})
    assert refused.returncode == 17
    assert "the key is another one" in refused.stderr
    assert "cause:" in refused.stderr
    assert "fix:" in refused.stderr
    assert not list(tmp_path.iterdir())


def test_list_export_and_delete(folder: Path, tmp_path: Path) -> None:
    """What was deleted is in no list and no export afterwards."""
    key = {KEY: SECRET.hex()}
    listed = json.loads(traffic("ls", str(folder), "--json", **key).stdout)
    assert sorted((one["kind"], one["rows"]) for one in listed) == [("feedback", 1), ("segment", 3)]
    done = traffic("delete", str(folder), "--subject-id", "anna", "--json", **key)
    assert json.loads(done.stdout) == {"rows": 2, "requests": 2, "sealed": 0, "pending": []}
    told = traffic("export", str(folder), "--out", str(tmp_path / "out.jsonl"), **key)
    assert told.returncode == 0
    (row,) = map(json.loads, (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines())
    assert (row["id"], row["true_label"]) == ("r2", "good")


def test_to_delete_nothing_in_particular_is_wrong_usage(folder: Path) -> None:
    """Rather than nothing, or all."""
    done = traffic("delete", str(folder))
    assert done.returncode == 2
    assert "--request-id" in done.stderr
