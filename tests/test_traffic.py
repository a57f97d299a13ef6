"""Recorded traffic for whoever runs a service: deletion that holds everywhere, the join with true labels, exports."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from test_serve_traffic import DIGEST, answered

from ftdeploy.errors import StorageError
from ftdeploy.serve.encryption import KEY, TrafficError, TrafficKey
from ftdeploy.serve.segments import files
from ftdeploy.serve.traffic import Answered, Feedback, Recorder
from ftdeploy.serve.traffic_options import TrafficOptions
from ftdeploy.traffic import delete_traffic, export_traffic, list_traffic, read_labels, read_traffic

KEYS = [None, TrafficKey(bytes(32))]


def asked(name: str, subject: str | None = None, text: str = "") -> Answered:
    """A request about somebody, answered just now."""
    import dataclasses

    return dataclasses.replace(answered(name), time=time.time(), subject=subject, texts=[text])


def labelled(name: str, label: str = "good", **fields: float) -> Feedback:
    return Feedback(**({"id": name, "row": 0, "label": label, "time": time.time()} | fields))  # type: ignore[arg-type]  # a test's


def writer(folder: Path, key: TrafficKey | None = None, **options: object) -> Recorder:
    return Recorder(folder, digest=DIGEST, options=TrafficOptions(**options), key=key)  # type: ignore[arg-type]  # a test's


def until(condition: Callable[[], object]) -> None:
    while not condition():
        time.sleep(0.01)


def ids(folder: Path, key: TrafficKey | None = None) -> list[str]:
    return [row["id"] for row in read_traffic(folder, key=key)]


@pytest.mark.parametrize(
    ("damaged", "told"),
    [
        (b'{"id": "two", "ro\n', "line 2 is no row"),
        (b"\0\0\0\n", "line 2 is no row"),
        (b"7\n", "line 2 is no row"),
        (b'{"id": "two", "row": 0, "subject": null, "time": 1.0, "embedding": "AAA"}\n', "line 2 has no embedding"),
    ],
)
def test_a_damaged_line_is_told_with_its_file_and_place(tmp_path: Path, damaged: bytes, told: str) -> None:
    """To whoever reads the traffic, exports it or deletes from it; nothing is written then."""
    one = writer(tmp_path)
    for name in ("one", "two", "three"):
        one.record(asked(name))
    one.close()
    (path,) = files(tmp_path)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + damaged + lines[2])
    with pytest.raises(TrafficError, match=f"{path.name} was changed: {told}") as caught:
        ids(tmp_path)
    assert "move the file away" in caught.value.fix
    with pytest.raises(TrafficError, match="line 2"):
        export_traffic(tmp_path, tmp_path / "out.jsonl")
    assert not (tmp_path / "out.jsonl").exists()


def test_nothing_is_deleted_from_a_file_with_a_damaged_line(tmp_path: Path) -> None:
    """It stays as it is, and is told."""
    one = writer(tmp_path)
    one.record(asked("one", "anna"))
    one.close()
    (path,) = files(tmp_path)
    content = path.read_bytes() + b"{\n"
    path.write_bytes(content)
    with pytest.raises(TrafficError, match="line 2 is no row"):
        delete_traffic(tmp_path, subjects=["anna"])
    assert path.read_bytes() == content


@pytest.mark.parametrize("key", KEYS)
def test_what_is_deleted_is_gone_from_sealed_files(tmp_path: Path, key: TrafficKey | None) -> None:
    """By subject with all its requests and their true labels, by request; what is left reads as before. The names are
    too long to stand in an encrypted file by chance."""
    one = writer(tmp_path, key)
    for name, subject in (("request-1", "anna"), ("request-2", "bert"), ("request-3", "anna"), ("request-4", None)):
        one.record(asked(name, subject))
    one.record_feedback([labelled("request-1"), labelled("request-2")])
    one.close()
    assert len(ids(tmp_path, key)) == 4
    done = delete_traffic(tmp_path, subjects=["anna"], requests=["request-4"], key=key)
    assert (done.rows, done.requests, done.pending) == (4, 3, ())
    assert ids(tmp_path, key) == ["request-2"]
    assert set(read_labels(tmp_path, key=key)) == {("request-2", 0)}
    content = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert not [word for word in (b"anna", b"request-1", b"request-4") if word in content]
    assert delete_traffic(tmp_path, subjects=["anna"], key=key).rows == 0


@pytest.mark.parametrize("key", KEYS)
def test_what_is_deleted_is_gone_from_the_open_file_of_a_running_service(
    tmp_path: Path, key: TrafficKey | None
) -> None:
    """Its writer seals what it has without it, at once; it goes on, and the same subject may be recorded again."""
    one = writer(tmp_path, key)
    for name, subject in (("r1", "anna"), ("r2", "bert")):
        one.record(asked(name, subject))
    until(lambda: one.written == 2)
    (left,) = files(tmp_path, sealed=False)
    done = delete_traffic(tmp_path, subjects=["anna"], key=key)
    assert (done.sealed, done.pending) == (1, ())
    assert not left.exists()
    assert ids(tmp_path, key) == ["r2"]
    if key is None:
        assert not [path for path in tmp_path.iterdir() if b"anna" in path.read_bytes()]
    time.sleep(0.01)
    one.record(asked("r3", "anna"))
    one.close()
    assert ids(tmp_path, key) == ["r2", "r3"]


def test_readers_leave_out_what_a_writer_has_yet_to_seal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that hangs keeps its file open; nobody reads from it what has to go."""
    monkeypatch.setattr("ftdeploy.serve.deletions.stamp", lambda folder: 0)  # noqa: ARG005  # this writer never looks
    one = writer(tmp_path)
    one.record(asked("r1", "anna"))
    one.record(asked("r2"))
    until(lambda: one.written == 2)
    done = delete_traffic(tmp_path, requests=["r1"], patience=0.1)
    assert len(done.pending) == 1
    assert ids(tmp_path) == ["r2"]
    one.close()
    assert ids(tmp_path) == ["r2"]
    assert b'"r1"' not in b"".join(path.read_bytes() for path in tmp_path.iterdir())


def test_a_service_under_load_loses_no_other_row_while_there_is_deleted(tmp_path: Path) -> None:
    """Two workers write, seal and keep within their bounds; each row that nobody deleted is read once."""
    code = (
        "import sys, time; sys.path.insert(0, sys.argv[2]); from pathlib import Path\n"
        "from test_traffic import asked, writer\n"
        "one = writer(Path(sys.argv[1]), segment_rows=20)\n"
        "for number in range(300):\n"
        "    one.record(asked(f'{sys.argv[3]}-{number}', 'anna' if number % 3 == 0 else None)); time.sleep(0.003)\n"
        "one.close(30)\n"
    )
    folder = tmp_path / "traffic"
    command = [sys.executable, "-c", code, str(folder), str(Path(__file__).parent)]
    children = [subprocess.Popen([*command, name]) for name in ("a", "b")]
    until(lambda: folder.is_dir() and list(files(folder)))
    while any(child.poll() is None for child in children):
        assert delete_traffic(folder, subjects=["anna"]).pending == ()
    assert [child.returncode for child in children] == [0, 0]
    delete_traffic(folder, subjects=["anna"])
    expected = sorted(f"{name}-{number}" for name in ("a", "b") for number in range(300) if number % 3)
    assert sorted(ids(folder)) == expected


def test_a_deletion_that_was_killed_leaves_nothing_behind(tmp_path: Path) -> None:
    """What it wrote beside a file has rows in it, too: the next one removes it."""
    one = writer(tmp_path)
    one.record(asked("r1", "anna"))
    one.close()
    beside = tmp_path / ".segment-20260101T000000Z-1-1.jsonl.rewrite"
    beside.write_text("anna", encoding="utf-8")
    delete_traffic(tmp_path, subjects=["anna"])
    assert not beside.exists()


def test_the_last_label_wins_whatever_the_order_of_the_files(tmp_path: Path) -> None:
    """Several workers write it; the time says which was last. A label without an answer joins nothing."""
    one, other = writer(tmp_path), writer(tmp_path)
    one.record(asked("r1"))
    one.record_feedback([labelled("r1", "late", time=200.0)])
    other.record_feedback([labelled("r1", "early", time=100.0), labelled("r9", "lost")])
    one.close()
    other.close()
    (row,) = read_traffic(tmp_path)
    assert row["true_label"] == "late"
    assert read_labels(tmp_path)["r1", 0] == ("late", 200.0)


def test_an_export_has_every_row_with_its_label(tmp_path: Path) -> None:
    """JSON lines or CSV; no cell is a formula; a place that cannot be written is an error and leaves nothing."""
    one = writer(tmp_path / "traffic", text=True)
    one.record(asked("r1", "anna", "=1+1"))
    one.record(asked("r2", None, "plain, with a comma"))
    one.record_feedback([labelled("r2", "bad")])
    one.close()
    for name in ("out.jsonl", "out.csv"):
        assert export_traffic(tmp_path / "traffic", tmp_path / name) == 2
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [(row["text"], row["true_label"], len(row["embedding"])) for row in lines] == [
        ("=1+1", None, 32),
        ("plain, with a comma", "bad", 32),
    ]
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as handle:
        cells = list(csv.DictReader(handle))
    assert [row["text"] for row in cells] == ["'=1+1", "plain, with a comma"]
    assert len([name for name in cells[0] if name.startswith("embedding_")]) == 32
    with pytest.raises(StorageError):
        export_traffic(tmp_path / "traffic", tmp_path / "missing" / "out.csv")


def test_files_are_listed_with_and_without_their_key(tmp_path: Path) -> None:
    """Rows of an encrypted file cannot be counted without it; reading them is an error that says what is missing."""
    key = TrafficKey(bytes(32))
    one = writer(tmp_path, key)
    one.record(asked("r1"))
    one.record_feedback([labelled("r1")])
    one.close()
    assert [(found.kind, found.rows, found.encrypted) for found in list_traffic(tmp_path)] == [
        ("feedback", None, True), ("segment", None, True),
    ]  # fmt: skip
    assert [found.rows for found in list_traffic(tmp_path, key=key)] == [1, 1]
    with pytest.raises(TrafficError, match="there is no key") as raised:
        list(read_traffic(tmp_path))
    assert KEY in raised.value.fix
    with pytest.raises(TrafficError, match="no folder"):
        list(read_traffic(tmp_path / "missing"))
