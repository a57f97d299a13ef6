"""The queue: unsure and new rows first, none like another, and safe to open."""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path

import numpy as np
from monitor_samples import SIGNATURE, features, window

from ftdeploy.monitor.to_label import to_label, write_queue
from ftdeploy.pairs import join


def test_unsure_and_new_rows_are_taken() -> None:
    """Of rows that are alike in embedding terms, those of low confidence and of high score."""
    found, _ = features(1000, seed=1)
    scores = np.random.default_rng(1).standard_normal(1000)
    queue = to_label(window(found), scores, count=50, seed=1)
    assert len(queue) == len(set(queue.tolist())) == 50
    assert found.confidence[queue].mean() < found.confidence.mean()
    assert scores[queue].mean() > scores.mean()
    np.testing.assert_array_equal(queue, to_label(window(found), scores, count=50, seed=1))


def test_rows_are_spread_out() -> None:
    """Two clusters of candidates are both among the first two rows; repeats are not asked for twice."""
    found, _ = features(40, seed=1)
    embedding = np.zeros_like(found.embedding)
    embedding[20:, 0] = 9
    embedding[:, 1] = np.arange(40) * 0.01
    embedding[5] = embedding[4]
    spread = dataclasses.replace(found, embedding=embedding, confidence=np.full(40, 0.5))
    queue = to_label(window(spread), np.zeros(40), count=40, seed=1)
    assert len(queue) == 39
    assert (queue[0] < 20) != (queue[1] < 20)


def test_labelled_rows_are_left_out() -> None:
    """Whoever gave a label is not asked again; nothing is left of a window that is all labelled."""
    found, truths = features(100, seed=1)
    assert len(to_label(window(found, truths), np.zeros(100), count=10, seed=1)) == 0
    truths[:90] = -1
    assert (to_label(window(found, truths), np.zeros(100), count=100, seed=1) < 90).all()


def test_numbers_are_asked_for_by_how_new_they_are() -> None:
    """Nothing says how sure a model is of one: what stands in that place is the number."""
    found, _ = features(200, seed=1)
    scores = np.random.default_rng(1).standard_normal(200)
    there = window(found)
    queue = to_label(there, scores, count=10, seed=1, unsure=False)
    moved = window(dataclasses.replace(found, confidence=np.arange(200.0)))
    np.testing.assert_array_equal(queue, to_label(moved, scores, count=10, seed=1, unsure=False))
    assert scores[queue].min() > np.median(scores)


def test_the_file_shows_the_whole_answer(tmp_path: Path) -> None:
    """For whoever corrects it; and no confidence where there is none."""
    found, _ = features(2, seed=1)
    there = dataclasses.replace(window(found), answers=['["a", "b"]', None])
    write_queue(tmp_path / "q.csv", there, np.array([0, 1]), np.zeros(2), SIGNATURE.labels, unsure=False)
    with (tmp_path / "q.csv").open(encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert [row["predicted"] for row in rows] == ['["a", "b"]', SIGNATURE.labels[found.labels[1]]]
    assert [row["confidence"] for row in rows] == ["", ""]


def test_whoever_labels_sees_both_texts(tmp_path: Path) -> None:
    """In two columns, safe to open each."""
    found, _ = features(3, seed=1)
    seen = window(found, text=join("a film", "=cmd()"))
    write_queue(tmp_path / "q.csv", seen, np.array([1]), np.zeros(3), SIGNATURE.labels)
    with (tmp_path / "q.csv").open(encoding="utf-8", newline="") as handle:
        (row,) = list(csv.DictReader(handle))
    assert (row["text"], row["text_pair"]) == ("a film", "'=cmd()")


def test_the_file_has_texts_only_when_kept_and_no_formulas(tmp_path: Path) -> None:
    """A text that begins like a formula is only shown by a spreadsheet; ids, confidence and an empty label."""
    found, _ = features(3, seed=1)
    for text, names in ((None, []), ("=cmd()", ["text"])):
        seen = window(found, text=text)
        write_queue(tmp_path / "q.csv", seen, np.array([2, 0]), np.zeros(3), SIGNATURE.labels)
        with (tmp_path / "q.csv").open(encoding="utf-8", newline="") as handle:
            head, *rows = list(csv.reader(handle))
        assert head == ["request", "row", "time", "predicted", "confidence", "novelty", "label", *names]
        assert [row[0] for row in rows] == ["request-2", "request-0"]
        assert [row[6] for row in rows] == ["", ""]
        assert rows[0][5] == "0.5000"
        if text:
            assert rows[0][7] == "'=cmd()"
