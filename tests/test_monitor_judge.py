"""The verdict on a window: no alarm by luck, none for trifles, and one for what matters."""

from __future__ import annotations

import dataclasses

import numpy as np
from monitor_samples import features, joined, reference

from ftdeploy.monitor.judge import judge_window
from ftdeploy.monitor.options import MonitorOptions
from ftdeploy.statistics import holm

OPTIONS = MonitorOptions()
REFERENCE = reference()


def test_false_alarms_of_all_tests_together_are_at_most_nominal() -> None:
    """Of 30 windows of 60 rows at 5%, more than 6 with any alarm have a chance of 1 in 1,000."""
    alarms = [judge_window(REFERENCE, features(60, seed=100 + seed)[0], OPTIONS, seed=seed) for seed in range(30)]
    assert sum(bool(one.drifted) for one in alarms) <= 6


def test_a_shift_of_the_embedding_is_drift() -> None:
    """Both tests of the embedding say so; what did not change says nothing."""
    found = judge_window(REFERENCE, features(300, seed=5, away=3.0)[0], OPTIONS, seed=1)
    assert [test.name for test in found.drifted] == ["embedding (MMD)", "embedding (classifier)"]
    assert found.classified.effect > 0.8


def test_each_feature_can_be_the_one_that_drifted() -> None:
    """Labels, confidence, length, unknown tokens, cut texts: each alone is named."""
    plain, _ = features(400, seed=5)
    for name, changes in {
        "predicted labels": {"labels": np.ones(400, dtype=np.int64)},
        "confidence": {"confidence": plain.confidence * 0.7},
        "length": {"tokens": plain.tokens * 3},
        "unknown tokens": {"unknown": np.full(400, 0.3)},
        "cut texts": {"truncated": np.ones(400, dtype=np.bool_)},
    }.items():
        found = judge_window(REFERENCE, dataclasses.replace(plain, **changes), OPTIONS, seed=1)  # type: ignore[arg-type]
        assert [test.name for test in found.drifted] == [name]


def test_effect_sizes_have_their_usual_names() -> None:
    """Each feature has those of its kind, the embedding none; longer texts have them above 0."""
    plain, _ = features(400, seed=5)
    found = judge_window(REFERENCE, dataclasses.replace(plain, tokens=plain.tokens * 3), OPTIONS, seed=1)
    sizes = {test.name: test.sizes for test in found.tests}
    assert sizes["predicted labels"].keys() == sizes["cut texts"].keys() == {"Cohen's h"}
    assert sizes["confidence"].keys() == sizes["unknown tokens"].keys() == {"Cohen's d", "Wasserstein distance"}
    assert sizes["length"]["Cohen's d"] > 1
    assert sizes["length"]["Wasserstein distance"] > 30
    assert sizes["embedding (MMD)"] == {}


def test_trifles_are_told_and_are_no_alarm() -> None:
    """Many rows make a twentieth that is cut significant, and it stays below what matters."""
    plain, _ = features(40_000, seed=5)
    more = dataclasses.replace(plain, truncated=plain.truncated | (np.random.default_rng(1).random(40_000) < 0.06))
    known = reference(20_000)
    found = judge_window(known, more, OPTIONS, seed=1)
    states = {test.name: test.state for test in found.tests}
    assert states["cut texts"] == "small"
    assert not found.drifted
    strict = judge_window(known, more, MonitorOptions(min_effect=0.03), seed=1)
    assert "cut texts" in [test.name for test in strict.drifted]


def test_many_rows_show_that_nothing_changed_and_few_do_not() -> None:
    """`same` where the whole interval is below what matters, `open` where it is not."""
    for rows, state in ((3000, "same"), (60, "open")):
        found = judge_window(REFERENCE, features(rows, seed=7)[0], OPTIONS, seed=1)
        assert {test.name: test.state for test in found.tests}["cut texts"] == state


def test_p_values_are_adjusted_for_all_tests() -> None:
    """By Holm's procedure, over those that were made; a reference of format 1 knows of no cut texts."""
    found = judge_window(REFERENCE, features(100, seed=5, away=0.5)[0], OPTIONS, seed=1)
    assert [test.adjusted for test in found.tests] == holm([test.p for test in found.tests])
    old = {name: values for name, values in REFERENCE.items() if name != "truncated_counts"}
    assert len(judge_window(old, features(100, seed=5)[0], OPTIONS, seed=1).tests) == len(found.tests) - 1


def test_a_mixture_is_a_smaller_effect_than_the_whole() -> None:
    """Effects grow with the share of foreign rows."""
    foreign, plain = features(400, seed=5, away=4.0)[0], features(400, seed=6)[0]
    part = joined(plain.take(np.arange(200)), foreign.take(np.arange(200)))
    half, whole = (judge_window(REFERENCE, one, OPTIONS, seed=1) for one in (part, foreign))
    for one, two in zip(half.tests[:2], whole.tests[:2], strict=True):
        assert one.state == "drift"
        assert one.effect < two.effect
