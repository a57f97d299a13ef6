"""The report: verdict, since when, cost, labels, parts and slices of a window."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from monitor_samples import SIGNATURE, features, joined, reference, window

from ftdeploy.monitor.options import MonitorOptions
from ftdeploy.monitor.report import make_report
from ftdeploy.monitor.result import MonitorReport
from ftdeploy.monitor.window import Window
from ftdeploy.tasks import TASKS

REFERENCE = reference()
NOW = datetime(2026, 3, 2, tzinfo=UTC)


def report(found: Window, **changes: Any) -> MonitorReport:
    without = changes.pop("without", ())
    there = {name: values for name, values in REFERENCE.items() if name not in without}
    made, scores = make_report(there, found, SIGNATURE, MonitorOptions(**changes), digest="ab" * 32, seed=1, now=NOW)
    assert len(scores) == len(found)
    return made


def test_too_few_rows_are_no_verdict() -> None:
    """None from 20 rows however far away they are, and none from none."""
    for rows in (0, 20, 49):
        found = report(window(features(rows, seed=1, away=9.0)[0]))
        assert found.verdict == "inconclusive"
        assert "too few" in found.summary
        assert not found.tests


def test_no_drift() -> None:
    """Rows like the reference: no alarm, no change, a valid estimate near the truth."""
    seen, truths = features(1000, seed=5)
    found = report(window(seen))
    assert found.verdict == "none"
    assert found.changes == ()
    assert found.accuracy is not None
    assert found.accuracy.valid
    assert found.accuracy.lower < float((seen.labels == truths).mean()) < found.accuracy.upper
    assert found.feedback is None


def test_drift_is_dated() -> None:
    """Rows from the 400th on are foreign: one row a minute, so from 06:40 on."""
    mixed = joined(features(400, seed=5)[0], features(400, seed=6, away=3.0)[0])
    found = report(window(mixed))
    assert found.verdict == "drift"
    (change,) = found.changes
    assert change.lower <= "2026-03-01T06:40:00Z" <= change.upper
    assert change.effect > 0
    assert "since about 2026-03-01 06:" in found.summary
    assert found.timeline[0].score < 0.5 < found.timeline[-1].score
    assert sum(part.rows for part in found.timeline) == 800
    whole = report(window(features(400, seed=6, away=3.0)[0]))
    assert whole.changes == ()
    assert "from the first row on" in whole.summary


def test_feedback_gives_the_true_accuracy() -> None:
    """Counted over labelled rows, with Wilson's interval and a curve; also where rows are too few for the tests."""
    seen, truths = features(300, seed=5)
    truths[::2] = -1
    right = int((truths[1::2] == seen.labels[1::2]).sum())
    for rows, told in ((window(seen, truths), right), (window(seen.take(np.arange(4)), truths[:4]), None)):
        found = report(rows)
        assert found.feedback is not None
        assert found.feedback.rows == (truths[: len(rows)] >= 0).sum()
        assert found.feedback.lower <= found.feedback.value <= found.feedback.upper
        assert found.feedback.right == (told if told is not None else found.feedback.right)
        assert len(found.feedback.curve) == min(200, found.feedback.rows)


def test_slices_and_labels_cover_the_rows() -> None:
    """Slices of one kind add up; labels with reference and estimate."""
    found = report(window(features(500, seed=5)[0]))
    for kind in ("length", "predicted"):
        assert sum(part.rows for part in found.slices if part.name.startswith(kind)) == 500
    assert {one.label for one in found.labels} == set(SIGNATURE.labels)
    assert sum(one.predicted for one in found.labels) == pytest.approx(1)
    assert found.labels_identified


def test_an_old_reference_is_read() -> None:
    """Of format 1: tests and change points, no estimate, and labels only as predicted."""
    old = [name for name in REFERENCE if name.startswith(("confusion", "reliability", "shift", "atc", "truncated"))]
    found = report(window(features(300, seed=5, away=3.0)[0]), without=old)
    assert found.verdict == "drift"
    assert found.accuracy is None
    assert found.labels_identified is None
    assert found.labels[0].estimated is None


def test_languages_are_slices() -> None:
    """Where the service guessed them."""
    seen = window(features(200, seed=5)[0])
    spoken = Window(**{**vars(seen), "languages": ["en"] * 150 + ["de"] * 50})
    found = report(spoken)
    assert {part.name: part.rows for part in found.slices if "language" in part.name} == {
        "language: en": 150,
        "language: de": 50,
    }


@pytest.mark.parametrize(
    ("task", "labels", "told", "answers", "expected"),
    [
        ("multi-label-classification", ("a", "b"), ['["a", "b"]', "[]"], ['["a"]', "[]"], {"label_recall": 0.5}),
        ("token-classification", ("O", "B-a", "I-a"), ['[[0,4,"a"]]', "[]"], ['[[0,4,"a"]]', '[[2,4,"a"]]'],
         {"entity_precision": 0.5, "accuracy": 0.5}),
        ("text-regression", ("score",), ["1", "3"], ["2", "3"], {"mae": 0.5}),
    ],
)  # fmt: skip
def test_whole_answers_are_measured_where_labels_came_back(
    task: str, labels: tuple[str, ...], told: list[str], answers: list[str], expected: dict[str, float]
) -> None:
    """By the task's metrics, with intervals; fewer than ten rows say nothing, and numbers are not right or wrong."""
    kind = TASKS[task]
    signature = SIGNATURE.model_copy(update={"task": task, "labels": labels})
    seen, _ = features(40, seed=5)
    truths = np.full(40, -1)
    if not kind.number:
        names = kind.summaries(labels)
        truths[:20] = [names.index(kind.summary(one)) for one in told * 10]
    found = dataclasses.replace(window(seen), truths=truths, told=[*told * 10, *[None] * 20], answers=answers * 20)
    made, _ = make_report(REFERENCE, found, signature, MonitorOptions(), digest="ab" * 32, seed=1, now=NOW)
    measured = {one.metric: one for one in made.measured}
    assert tuple(measured) == kind.measures
    assert made.measured_rows == 20
    for name, value in expected.items():
        assert measured[name].value == pytest.approx(value)
        assert measured[name].lower < value < measured[name].upper
    assert (made.feedback is None) == kind.number
    few = dataclasses.replace(found, told=[*told, *[None] * 38])
    made, _ = make_report(REFERENCE, few, signature, MonitorOptions(), digest="ab" * 32, seed=1, now=NOW)
    assert made.measured == ()
