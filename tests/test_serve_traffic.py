"""Traffic segments: no text in them, sealed by rename, kept within bounds, and never in the way of an answer."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from ftdeploy.errors import DependencyError
from ftdeploy.serve.deletions import seal_leftovers
from ftdeploy.serve.encryption import TrafficKey
from ftdeploy.serve.segments import OpenFile, keep_within
from ftdeploy.serve.traffic import (
    QUEUE_ROWS,
    Answered,
    Feedback,
    Recorder,
    random_projection,
    read_segment,
    stored_projection,
)
from ftdeploy.serve.traffic_options import TrafficOptions

DIGEST = "0123456789abcdef" * 4


def answered(name: str, rows: int = 1, seed: int = 0) -> Answered:
    """A request that was answered, with random embeddings of width 8."""
    embeddings = np.random.default_rng(seed).normal(size=(rows, 8)).astype(np.float32)
    return Answered(
        id=name,
        time=1_700_000_000.1234,
        labels=["good"] * rows,
        confidences=[0.75] * rows,
        tokens=list(range(2, 2 + rows)),
        unknown=[0.25] * rows,
        truncated=[False] * rows,
        embeddings=list(embeddings),
    )


def recorder(folder: Path, **options: float | str) -> Recorder:
    """A recorder with the given options."""
    return Recorder(folder, digest=DIGEST, options=TrafficOptions(**options))  # type: ignore[arg-type]  # a test's


def until(condition: Callable[[], object]) -> None:
    """Wait until the background thread has brought something about."""
    for _ in range(400):
        if condition():
            return
        time.sleep(0.02)
    pytest.fail("it did not come about")


def test_a_segment_holds_every_fact_and_the_projected_embedding(tmp_path: Path) -> None:
    """One line per text; the embedding comes back as the float16 projection of what the model gave."""
    writer = recorder(tmp_path)
    request = answered("r1", rows=3)
    writer.record(request)
    writer.close()
    (path,) = tmp_path.iterdir()
    assert path.match(f"segment-*-{os.getpid()}-1.jsonl")
    rows = list(read_segment(path))
    assert [(row["id"], row["row"], row["tokens"]) for row in rows] == [("r1", 0, 2), ("r1", 1, 3), ("r1", 2, 4)]
    assert rows[0] | {"embedding": None} == {
        "id": "r1", "row": 0, "time": 1_700_000_000.123, "digest": DIGEST, "label": "good", "confidence": 0.75,
        "tokens": 2, "unknown": 0.25, "truncated": False, "cached": False, "embedding": None, "subject": None,
        "language": "und",
    }  # fmt: skip
    expected = np.stack(request.embeddings) @ random_projection(DIGEST, 8)
    np.testing.assert_allclose(np.stack([row["embedding"] for row in rows]), expected, rtol=2e-3, atol=2e-3)


def test_the_projection_of_the_drift_reference_is_used(tmp_path: Path) -> None:
    """Served embeddings then lie in the same space as the remembered ones."""
    np.savez(tmp_path / "reference.npz", projection=np.eye(8, 4, dtype=np.float32))
    assert stored_projection(tmp_path / "missing.npz") is None
    options = TrafficOptions()
    projection = stored_projection(tmp_path / "reference.npz")
    writer = Recorder(tmp_path / "traffic", digest=DIGEST, options=options, projection=projection)
    request = answered("r1")
    writer.record(request)
    writer.close()
    (path,) = (tmp_path / "traffic").iterdir()
    (row,) = read_segment(path)
    np.testing.assert_allclose(row["embedding"], request.embeddings[0][:4], rtol=2e-3, atol=2e-3)


def test_segments_are_sealed_by_rows_and_only_the_running_one_is_open(tmp_path: Path) -> None:
    """A sealed segment has its final name and is never written again."""
    writer = recorder(tmp_path, segment_rows=2)
    for index in range(5):
        writer.record(answered(f"r{index}"))
    writer.close()
    sealed = sorted(tmp_path.glob("segment-*.jsonl"))
    assert [len(list(read_segment(path))) for path in sealed] == [2, 2, 1]
    assert [row["id"] for path in sealed for row in read_segment(path)] == [f"r{index}" for index in range(5)]
    assert not list(tmp_path.glob("*.open"))


def test_a_segment_is_sealed_when_it_is_old(tmp_path: Path) -> None:
    """A quiet service still hands its rows over."""
    writer = recorder(tmp_path, segment_seconds=0.05)
    writer.record(answered("r1"))
    until(lambda: list(tmp_path.glob("segment-*.jsonl")))
    writer.close()


def test_the_oldest_segments_go_when_there_are_too_many_bytes(tmp_path: Path) -> None:
    """Retention counts sealed bytes, goes by age, and leaves open segments alone."""
    for index in range(5):
        path = tmp_path / f"segment-2026010{index}T000000Z-1-1.jsonl"
        path.write_bytes(b"x" * 100)
        os.utime(path, (index, index))
    (tmp_path / "segment-20260101T000000Z-2-1.jsonl.open").write_bytes(b"x" * 1000)
    keep_within(tmp_path, 250)
    assert sorted(path.name[8:16] for path in tmp_path.glob("*.jsonl")) == ["20260103", "20260104"]
    assert len(list(tmp_path.glob("*.open"))) == 1


def test_a_killed_writer_leaves_a_segment_that_the_next_start_seals(tmp_path: Path) -> None:
    """kill -9, then a half last line: the next recorder keeps what is whole, and leaves a living writer's alone."""
    code = (
        "import sys, time; sys.path.insert(0, sys.argv[2]); from pathlib import Path; "
        "from test_serve_traffic import answered, recorder; "
        "writer = recorder(Path(sys.argv[1])); writer.record(answered('r1', rows=3)); time.sleep(60)"
    )
    child = subprocess.Popen([sys.executable, "-c", code, str(tmp_path), str(Path(__file__).parent)])
    try:
        until(lambda: [path for path in tmp_path.glob("*.open") if path.stat().st_size])
        (left,) = tmp_path.glob("*.open")
        seal_leftovers(tmp_path)
        assert left.exists(), "the writer lives: its segment is not ours to seal"
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    with left.open("ab") as handle:
        handle.write(b'{"id":"half')
    recorder(tmp_path).close()
    (sealed,) = tmp_path.iterdir()
    assert sealed.suffix == ".jsonl"
    assert [row["row"] for row in read_segment(sealed)] == [0, 1, 2]


def test_a_folder_that_cannot_be_written_costs_rows_and_nothing_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Rows are dropped and counted, it is logged once, and recording goes on when the folder is back."""
    blocked = tmp_path / "traffic"
    blocked.write_text("a file stands where the folder should be", encoding="utf-8")
    writer = recorder(blocked)
    for index in range(3):
        writer.record(answered(f"r{index}"))
        until(partial(lambda expected: writer.dropped == expected, index + 1))
    assert [record.levelname for record in caplog.records].count("ERROR") == 1
    blocked.unlink()
    writer.record(answered("r9", rows=2))
    until(lambda: writer.written == 2)
    writer.close()
    (path,) = blocked.iterdir()
    assert [row["id"] for row in read_segment(path)] == ["r9", "r9"]
    assert writer.dropped == 3


def test_a_disk_that_takes_a_row_now_and_then_is_one_failure(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk at its limit fails and works in turns; that is logged once, and its end once, with what it cost."""
    monkeypatch.setattr("ftdeploy.serve.traffic.SETTLED", 0.5)
    folder = tmp_path / "traffic"
    writer = recorder(folder, segment_rows=1)
    for index in range(6):
        if index % 2:
            folder.rename(tmp_path / f"kept-{index}")
            folder.write_text("in the way", encoding="utf-8")
        elif index:
            folder.unlink()
        writer.record(answered(f"r{index}"))
        until(partial(lambda expected: writer.written + writer.dropped == expected, index + 1))
    assert (writer.written, writer.dropped) == (3, 3)
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    folder.unlink()
    time.sleep(0.5)
    writer.record(answered("r6"))
    until(lambda: writer.written == 4)
    writer.close()
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]
    assert caplog.records[-1].getMessage().endswith("; 3 rows were not")


def test_a_full_disk_costs_rows_and_leaves_whole_lines(tmp_path: Path) -> None:
    """ENOSPC in the middle of a write (a file size limit stands in for the disk): what is sealed can be read."""
    code = (
        "import resource, signal, sys, time; sys.path.insert(0, sys.argv[2]); from pathlib import Path\n"
        "from test_serve_traffic import answered, recorder\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))\n"
        "writer = recorder(Path(sys.argv[1]))\n"
        "for index in range(20):\n"
        "    writer.record(answered(f'r{index}'))\n"
        "    while writer.written + writer.dropped <= index: time.sleep(0.01)\n"
        "writer.close()\n"
        "print(writer.written, writer.dropped)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path), str(Path(__file__).parent)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    written, dropped = map(int, done.stdout.split())
    kept = [row["id"] for path in tmp_path.glob("segment-*.jsonl") for row in read_segment(path)]
    assert len(kept) == len(set(kept)) == written > 0
    assert written + dropped == 20
    assert dropped > 0
    for path in tmp_path.iterdir():
        assert path.read_bytes().endswith(b"\n")


def test_a_queue_that_is_full_drops_and_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that hangs cannot make the service grow."""
    monkeypatch.setattr("ftdeploy.serve.traffic.TICK", 3600)
    writer = recorder(tmp_path)
    rows = 100
    for _ in range(QUEUE_ROWS // rows + 3):
        writer.record(answered("r", rows=rows))
    assert writer.dropped >= 2 * rows
    writer.close()
    assert writer.written + writer.dropped == (QUEUE_ROWS // rows + 3) * rows


def test_sampling_keeps_a_request_whole(tmp_path: Path) -> None:
    """About the stated share of the requests is kept, each with all its texts; 0 keeps none."""
    writer = recorder(tmp_path, sample=0.5)
    for index in range(400):
        writer.record(answered(f"r{index}", rows=2))
    writer.close()
    rows = [row["id"] for path in tmp_path.iterdir() for row in read_segment(path)]
    assert 100 < len(set(rows)) < 300
    assert len(rows) == 2 * len(set(rows))
    none = recorder(tmp_path / "none", sample=0)
    none.record(answered("r"))
    none.close()
    assert not (tmp_path / "none").exists()


def test_the_random_projection_belongs_to_the_bundle_and_keeps_distances() -> None:
    """The same for the same digest, another for another; distances stay within a third on average."""
    assert np.array_equal(random_projection(DIGEST, 384), random_projection(DIGEST, 384))
    assert not np.array_equal(random_projection(DIGEST, 384), random_projection("f" + DIGEST[1:], 384))
    points = np.random.default_rng(1).normal(size=(60, 384))
    small = points @ random_projection(DIGEST, 384)
    ratio = np.linalg.norm(small[1:] - small[:-1], axis=1) / np.linalg.norm(points[1:] - points[:-1], axis=1)
    assert abs(ratio.mean() - 1) < 1 / 3


def test_labels_that_the_disk_cannot_follow_are_refused_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of a request or none, so that whoever sent them may send them again."""
    monkeypatch.setattr("ftdeploy.serve.traffic.TICK", 3600)
    writer = recorder(tmp_path)
    labels = [Feedback("r1", 0, "good", time.time())] * 100
    taken = [writer.record_feedback(labels) for _ in range(QUEUE_ROWS // 100 + 1)]
    assert taken == [True] * (QUEUE_ROWS // 100) + [False]
    assert writer.dropped == 100
    writer.close(30)
    assert writer.labelled == QUEUE_ROWS


def test_labels_that_were_accepted_wait_for_the_disk_and_no_more_are_meanwhile(tmp_path: Path) -> None:
    """Those of before it is known are written when the disk is back, which needs nothing else to be recorded."""
    blocked = tmp_path / "traffic"
    blocked.write_text("a file stands where the folder should be", encoding="utf-8")
    writer = recorder(blocked)
    assert writer.record_feedback([Feedback("r1", 0, "good", 1.5)])
    until(lambda: not writer.record_feedback([]))
    assert not writer.record_feedback([Feedback("r2", 0, "bad", 2.5)])
    assert (writer.labelled, writer.dropped) == (0, 1)
    blocked.unlink()
    until(lambda: writer.labelled == 1)
    writer.close()
    assert [row["id"] for path in blocked.iterdir() for row in read_segment(path)] == ["r1"]
    assert writer.dropped == 1


def test_where_answers_cannot_be_written_labels_are_refused_until_that_settles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is known before the first label comes; afterwards one is taken, which says whether the disk is back."""
    blocked = tmp_path / "traffic"
    blocked.write_text("a file stands where the folder should be", encoding="utf-8")
    writer = recorder(blocked)
    writer.record(answered("r1"))
    until(lambda: writer.dropped == 1)
    assert not writer.record_feedback([Feedback("r1", 0, "good", 1.5)])
    blocked.unlink()
    monkeypatch.setattr("ftdeploy.serve.traffic.SETTLED", 0)
    assert writer.record_feedback([Feedback("r1", 0, "good", 1.5)])
    until(lambda: writer.labelled == 1)
    writer.close()


def test_labels_that_nobody_could_write_are_dropped_and_hold_up_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not the disk's fault, and trying again would not help."""
    monkeypatch.setattr("ftdeploy.serve.traffic.SETTLED", 0)
    writer = recorder(tmp_path)
    assert writer.record_feedback([Feedback("r1", 0, "\ud800", 1.5)])
    until(lambda: writer.dropped == 1)
    assert writer.record_feedback([Feedback("r2", 0, "good", 2.5)])
    until(lambda: writer.labelled == 1)
    writer.close()
    assert [row["id"] for path in tmp_path.iterdir() for row in read_segment(path)] == ["r2"]


def test_labels_in_hand_when_it_ends_are_counted(tmp_path: Path) -> None:
    """The disk did not come back."""
    blocked = tmp_path / "traffic"
    blocked.write_text("a file stands where the folder should be", encoding="utf-8")
    writer = recorder(blocked)
    assert writer.record_feedback([Feedback("r1", 0, "good", 1.5)] * 3)
    writer.close()
    assert (writer.labelled, writer.dropped) == (0, 3)


def test_identifiers_in_kept_texts_are_masked_in_their_place(tmp_path: Path) -> None:
    """What recognisers find is in no file of the traffic, and the words around it stand where they stood."""
    text = "Mrs. Jane Doe (MRN 00123456, jane.doe@example.org) took clonidine on 03/14/2019."
    writer = recorder(tmp_path, text=True, redact=True)
    writer.record(dataclasses.replace(answered("r1"), texts=[text]))
    writer.close()
    (path,) = tmp_path.iterdir()
    written = path.read_bytes()
    assert not any(secret in written for secret in (b"Jane", b"Doe", b"00123456", b"example.org", b"2019"))
    (row,) = read_segment(path)
    assert len(row["text"]) == len(text)
    assert row["text"].index("clonidine") == text.index("clonidine")


def test_masking_wants_its_library_before_anything_is_answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A recorder that could not mask phone numbers does not begin; one that keeps no text needs nothing."""
    monkeypatch.setattr("ftdeploy.privacy.mask.importlib.util.find_spec", lambda _name: None)
    with pytest.raises(DependencyError, match="`monitor"):
        recorder(tmp_path, text=True, redact=True)
    recorder(tmp_path, redact=True).close()


def test_texts_that_wait_are_bounded_by_their_characters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where texts are kept, a disk that hangs would hold many large ones; where they are not, only beginnings wait."""
    monkeypatch.setattr("ftdeploy.serve.traffic.TICK", 3600)
    monkeypatch.setattr("ftdeploy.serve.traffic.QUEUE_CHARS", 1000)
    writer = recorder(tmp_path, text=True)
    for _ in range(3):
        writer.record(dataclasses.replace(answered("r"), texts=["x" * 400]))
    assert writer.dropped == 1
    writer.close()
    assert writer.written == 2


def test_answers_and_true_labels_that_wait_are_bounded_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The entities of a long document are many, answered or told; each in a queue of its own, and the queue is free
    again when it was written."""
    monkeypatch.setattr("ftdeploy.serve.traffic.TICK", 3600)
    monkeypatch.setattr("ftdeploy.serve.traffic.QUEUE_CHARS", 1000)
    writer = recorder(tmp_path)
    for _ in range(3):
        writer.record(dataclasses.replace(answered("r"), answers=["x" * 400]))
    label = Feedback("r", 0, "x" * 400, time.time())
    assert [writer.record_feedback([label]) for _ in range(3)] == [True, True, False]
    assert writer.dropped == 2
    writer._tick()  # what the background thread does, which sleeps here
    assert writer.record_feedback([label])
    writer.close()
    assert (writer.written, writer.labelled) == (2, 3)
    (path,) = tmp_path.glob("segment-*.jsonl")
    assert [row["answer"] for row in read_segment(path)] == ["x" * 400] * 2


@pytest.mark.parametrize(("policy", "synced"), [("never", 0), ("seal", 1), ("always", 4)])
def test_the_disk_is_waited_for_as_the_policy_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, policy: str, synced: int
) -> None:
    """Of a file never, once when it is sealed, or after every write, too."""
    seen: list[str] = []
    fsync = os.fsync

    def counted(handle: int) -> None:
        seen.append(str(Path(f"/proc/self/fd/{handle}").readlink()))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", counted)
    writer = recorder(tmp_path, fsync=policy)
    for number in range(3):
        writer.record(answered(f"r{number}"))
        until(partial(lambda expected: writer.written == expected, number + 1))
    writer.close()
    assert sum(name.endswith(".open") for name in seen) == synced


def test_rows_go_by_age_while_the_service_is_quiet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody has to ask anything for what is too old to go."""
    monkeypatch.setattr("ftdeploy.serve.traffic.RETENTION", 0.01)
    old = tmp_path / "feedback-20200101T000000Z-1-1.jsonl"
    old.write_bytes(b"{}\n")
    writer = recorder(tmp_path, max_days=30)
    until(lambda: not old.exists())
    writer.close()


def test_a_crash_leaves_an_encrypted_segment_that_the_next_start_seals(tmp_path: Path) -> None:
    """Without its key, too; half a last record is cut."""
    key = TrafficKey(bytes(32))
    left = OpenFile(tmp_path, "segment", key)
    left.write(b'{"id":"r1","row":0,"time":1.0,"subject":null}\n', 1, fsync=False)
    left.close()
    with left.path.open("ab") as handle:
        handle.write(b"\0\0\0\x40half")
    recorder(tmp_path).close()
    (sealed,) = tmp_path.iterdir()
    assert sealed == left.path.with_suffix("")
    assert [row["id"] for row in read_segment(sealed, key=key)] == ["r1"]
