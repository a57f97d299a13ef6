"""The window: rows of what the service's own recorder wrote, in order, of this bundle, within the times."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ftdeploy.drift import WIDTH
from ftdeploy.errors import DataError
from ftdeploy.monitor.window import read_window
from ftdeploy.serve.traffic import Answered, Feedback, Recorder
from ftdeploy.serve.traffic_options import TrafficOptions
from ftdeploy.tasks import TASKS

LABELS = ("negative", "positive")
TASK = TASKS["text-classification"]
DIGEST = "ab" * 32


def record(folder: Path, times: list[float], *, digest: str = DIGEST, label: str = "positive") -> None:
    recorder = Recorder(folder, digest=digest, options=TrafficOptions(), projection=np.eye(WIDTH, dtype=np.float32))
    for time in times:
        recorder.record(Answered(
            id=f"request-{time:g}", time=time, labels=[label, "negative"], confidences=[0.75, 0.5], tokens=[7, 40],
            unknown=[0.0, 0.25], truncated=[False, True], embeddings=[np.full(WIDTH, 0.5, dtype=np.float32)] * 2,
        ))  # fmt: skip
    recorder.close()
    for path in folder.glob("segment-*-1.jsonl"):  # the next recorder of this process and second takes the same name
        path.rename(path.with_name(f"{path.stem}{times[0]:g}.jsonl"))


def test_rows_come_in_the_order_of_time(tmp_path: Path) -> None:
    """Of several segments, with every feature as it was recorded; nothing is known of true labels and texts."""
    record(tmp_path, [30.0])
    record(tmp_path, [10.0, 20.0])
    found = read_window(tmp_path, TASK, LABELS, digest=DIGEST)
    assert found.times.tolist() == [10, 10, 20, 20, 30, 30]
    assert found.rows.tolist() == [0, 1] * 3
    assert found.features.labels.tolist() == [1, 0] * 3
    assert found.features.confidence.tolist() == [0.75, 0.5] * 3
    assert found.features.tokens.tolist() == [7, 40] * 3
    assert found.features.unknown.tolist() == [0, 0.25] * 3
    assert found.features.truncated.tolist() == [False, True] * 3
    np.testing.assert_array_equal(found.features.embedding, np.full((6, WIDTH), 0.5, dtype=np.float32))
    assert (found.truths == -1).all()
    assert set(found.texts) == {None}


def test_true_labels_and_languages_come_with_the_rows(tmp_path: Path) -> None:
    """As feedback told them, and as the service guessed."""
    recorder = Recorder(tmp_path, digest=DIGEST, options=TrafficOptions(), projection=np.eye(WIDTH, dtype=np.float32))
    recorder.record(Answered(
        id="request", time=10.0, labels=["positive", "negative"], confidences=[0.75, 0.5], tokens=[7, 40],
        unknown=[0.0, 0.25], truncated=[False, True], embeddings=[np.zeros(WIDTH, dtype=np.float32)] * 2,
        texts=["This was the best film that I have seen in a long time.", ""],
    ))  # fmt: skip
    assert recorder.record_feedback([Feedback(id="request", row=1, label="positive", time=11.0)])
    recorder.close()
    found = read_window(tmp_path, TASK, LABELS, digest=DIGEST)
    assert found.truths.tolist() == [-1, 1]
    assert (found.told, found.answers) == ([None, "positive"], ["positive", "negative"])
    assert found.languages[0] == "en"


def test_times_bound_the_window(tmp_path: Path) -> None:
    """From ``since`` on, and before ``until``."""
    record(tmp_path, [10.0, 20.0, 30.0])
    assert read_window(tmp_path, TASK, LABELS, digest=DIGEST, since=20, until=30).times.tolist() == [20, 20]


def test_rows_of_others_are_left_out_and_counted(tmp_path: Path) -> None:
    """Of another bundle, and with labels that this one does not have."""
    record(tmp_path, [10.0], digest="cd" * 32)
    record(tmp_path, [20.0], label="neutral")
    found = read_window(tmp_path, TASK, LABELS, digest=DIGEST)
    assert found.times.tolist() == [20]
    assert found.skipped == 3


def test_no_traffic_is_an_error_and_an_empty_folder_an_empty_window(tmp_path: Path) -> None:
    """Nothing that was ever recorded is told apart from nothing at that time."""
    with pytest.raises(DataError, match="no traffic"):
        read_window(tmp_path / "none", TASK, LABELS, digest=DIGEST)
    found = read_window(tmp_path, TASK, LABELS, digest=DIGEST)
    assert len(found) == 0
    assert found.features.embedding.shape == (0, WIDTH)


@pytest.mark.parametrize(
    ("task", "answer", "told", "truth"),
    [
        ("multi-label-classification", '["b"]', '["a", "b"]', 1),
        ("multi-label-classification", '["b"]', "[]", 0),
        ("multi-label-classification", '["b"]', "a", -1),
        ("token-classification", "[]", '[[0,4,"a"]]', 1),
        ("text-regression", "3.5", "4", -1),
    ],
)
def test_a_whole_answer_stands_beside_what_is_true(tmp_path: Path, task: str, answer: str, told: str,
                                                   truth: int) -> None:  # fmt: skip
    """And rows are counted by the summary of both, where there is one; a label of another task is no class."""
    labels = TASKS[task].summaries(TASKS[task].head(("a", "b")))
    recorder = Recorder(tmp_path, digest=DIGEST, options=TrafficOptions(), projection=np.eye(WIDTH, dtype=np.float32))
    recorder.record(Answered(
        id="request", time=10.0, labels=[labels[0]] * 2, confidences=[0.75, 0.5], tokens=[7, 40], unknown=[0.0, 0.25],
        truncated=[False, True], embeddings=[np.zeros(WIDTH, dtype=np.float32)] * 2, answers=[answer, None],
    ))  # fmt: skip
    assert recorder.record_feedback([Feedback(id="request", row=0, label=told, time=11.0)])
    recorder.close()
    found = read_window(tmp_path, TASKS[task], labels, digest=DIGEST)
    assert (found.told, found.answers) == ([told, None], [answer, None])
    assert found.truths.tolist() == [truth, -1]
