"""The page of a drift report: everything that was found, as text, and nothing from elsewhere."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
from html_reader import Reader
from monitor_samples import SIGNATURE, features, joined, window
from test_monitor_report import report

from ftdeploy.monitor.page import render
from ftdeploy.monitor.result import MeasuredResult

FOREIGN = re.compile(r"https?://|src=|@import|url\(|<link|<iframe")


def test_a_drift_is_shown_from_the_answer_to_the_rows() -> None:
    """Verdict, tests, change, cost, labels, slices, queue; charts as inline images."""
    seen, truths = features(400, seed=5)
    mixed = joined(seen, features(400, seed=6, away=3.0)[0])
    found = report(window(mixed, np.concatenate([truths, np.full(400, -1)]))).model_copy(update={"to_label": 100})
    source = render(found)
    text = Reader(source).text
    for shown in ("Drift of tiny", "The traffic has drifted", "embedding (MMD)", "✕ drift", "Since when", "away",
                  "What it costs", "400 rows with feedback", "Prequential accuracy", *SIGNATURE.labels,
                  "predicted: positive", "to_label.csv", "UTC"):  # fmt: skip
        assert shown in text
    assert source.count("<svg") == 5
    assert not FOREIGN.search(source)


def test_no_drift_and_too_few_rows_have_a_page() -> None:
    """The answer stands there, and no part is empty."""
    assert "No drift was found" in Reader(render(report(window(features(300, seed=5)[0])))).text
    few = Reader(render(report(window(features(10, seed=5)[0])))).text
    assert "too few" in few
    assert "What shifted" not in few


def test_an_estimate_that_is_not_valid_says_so() -> None:
    """In the tile and beside the number."""
    text = Reader(render(report(window(features(300, seed=5, away=5.0)[0])))).text
    assert "not to be relied on" in text
    assert "cannot be relied on" in text


def test_names_cannot_break_out() -> None:
    """Labels and languages are text."""
    seen = window(features(200, seed=5)[0])
    evil = dataclasses.replace(seen, languages=["<script>alert(1)</script>"] * 200)
    assert "<script" not in render(report(evil))


def test_whole_answers_have_a_part_of_their_own() -> None:
    """With the task's metrics; the page says then what it means by accuracy, which is of one label a row."""
    seen, truths = features(400, seed=5)
    found = report(window(seen, truths))
    assert "whole answers" not in Reader(render(found)).text.lower()
    measured = (MeasuredResult(metric="label_f1", value=0.75, lower=0.7, upper=0.8),)
    text = Reader(render(found.model_copy(update={"measured": measured, "measured_rows": 400}))).text
    for shown in ("label_f1 on 400 labelled rows", "Whole answers, where labels came back", "0.700 to 0.800",
                  "Accuracies elsewhere on this page are of one label a row"):  # fmt: skip
        assert shown in text
