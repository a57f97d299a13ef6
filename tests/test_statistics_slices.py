"""Many slices at once: Holm's correction, the two rules, and the worst slice."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftdeploy.metrics import METRICS, SCORE_METRICS, Ids
from ftdeploy.statistics import (
    SlicesResult,
    compare,
    compare_accuracy,
    estimate,
    holm,
    p_inferior,
    p_worse,
    slices_non_inferior,
    worst,
)
from ftdeploy.statistics.slices import Rule

ACCURACY, MACRO_F1 = METRICS["accuracy"], METRICS["macro_f1"]
Rows = tuple[Ids, Ids, Ids]


def rows(lost: list[int], each: int = 200, gained: int = 4) -> tuple[Rows, dict[str, Ids]]:
    """Slices of so many rows, by how many of them the candidate loses; a tenth is wrong before, some are gained."""
    parts = []
    for count in lost:
        references = np.arange(each) % 2
        baseline = np.where(np.arange(each) < each // 10, 1 - references, references)
        candidate = baseline.copy()
        candidate[:gained] = references[:gained]
        candidate[each - count :] = 1 - references[each - count :]
        parts.append((references, baseline, candidate))
    references, baseline, candidate = (np.concatenate(column) for column in zip(*parts, strict=True))
    return (references, baseline, candidate), {
        chr(ord("a") + at): np.arange(at * each, (at + 1) * each) for at in range(len(lost))
    }


def judged(lost: list[int], margin: float, rule: Rule, each: int = 200) -> SlicesResult:
    """The verdict on such slices."""
    found, groups = rows(lost, each)
    return slices_non_inferior(ACCURACY, *found, groups=groups, classes=2, margin=margin, rule=rule)


def test_holm_by_hand() -> None:
    """0.01 * 3, then 0.02 * 2, then 0.4 * 1; in the given order, never above 1, ties alike."""
    assert holm([0.4, 0.01, 0.02]) == pytest.approx([0.4, 0.03, 0.04])
    assert holm([0.04, 0.03, 0.03]) == pytest.approx([0.09, 0.09, 0.09])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.floats(0.001, 0.2))
def test_holm_rejects_as_its_procedure_does(values: list[float], level: float) -> None:
    """Step by step: the smallest against level / m, the next against level / (m - 1), until one is not rejected."""
    rejected = set()
    for step, index in enumerate(sorted(range(len(values)), key=lambda at: values[at])):
        if values[index] * (len(values) - step) > level:
            break
        rejected.add(index)
    assert {at for at, value in enumerate(holm(values)) if value <= level} == rejected


@pytest.mark.parametrize(
    ("lost", "rule", "verdict"),
    [
        ([4] * 10, "all-proven", "pass"),
        ([4] * 10, "none-worse", "pass"),
        ([4] * 9 + [10], "all-proven", "inconclusive"),
        ([4] * 9 + [10], "none-worse", "pass"),
        ([4] * 9 + [40], "all-proven", "fail"),
        ([4] * 9 + [40], "none-worse", "fail"),
        # Every slice just as bad, and none of them alone a proof: together they do not pass.
        ([16] * 10, "all-proven", "inconclusive"),
        ([16] * 10, "none-worse", "inconclusive"),
    ],
)
def test_verdicts_of_both_rules(lost: list[int], rule: Rule, verdict: str) -> None:
    """Ten slices of 200 rows at a margin of 0.06: all fine, one in doubt, one clearly worse, all of them in doubt."""
    found = judged(lost, 0.06, rule)
    assert (found.verdict, found.rule) == (verdict, rule)


def test_what_is_hurt_most_comes_first() -> None:
    """With a p of its own, and one that counts for all slices."""
    found = judged([4, 40, 4, 12], 0.06, "all-proven")
    assert [one.name for one in found.slices] == ["b", "d", "a", "c"]
    bad, doubtful, fine, _ = found.slices
    assert (bad.verdict, doubtful.verdict, fine.verdict) == ("fail", "inconclusive", "pass")
    assert bad.adjusted_worse == pytest.approx(4 * bad.p_worse)
    assert fine.adjusted_inferior >= fine.p_inferior
    assert found.pooled.rows == 800


def test_where_lower_is_better_a_rise_is_the_harm() -> None:
    """The Brier score of a candidate that is sure of wrong answers in one slice."""
    (references, baseline, candidate), groups = rows([0, 60])
    sure = np.array([[0.9, 0.1], [0.1, 0.9]])
    found = slices_non_inferior(SCORE_METRICS["brier"], references, baseline, candidate, groups, classes=2, margin=0.1,
                                resamples=2000, baseline_scores=sure[baseline],
                                candidate_scores=sure[candidate])  # fmt: skip
    assert (found.verdict, found.slices[0].name) == ("fail", "b")
    assert found.slices[0].comparison.difference > 0.1 > found.slices[1].comparison.difference


def test_rows_to_decide_are_said_where_they_are_known() -> None:
    """Of the slice that needs most; not where a slice lies beyond the margin, which more rows would not mend."""
    doubtful = judged([4] * 9 + [10], 0.06, "all-proven")
    assert doubtful.rows_to_decide == doubtful.slices[0].comparison.rows_to_decide
    assert judged([17, 17], 0.06, "all-proven").rows_to_decide is None
    assert judged([4, 4], 0.06, "all-proven").rows_to_decide is None


def test_no_slices_are_an_error() -> None:
    """Not a pass."""
    ids = np.zeros(3, dtype=np.int64)
    with pytest.raises(ValueError, match="no slice"):
        slices_non_inferior(ACCURACY, ids, ids, ids, {}, classes=2, margin=0.1)
    with pytest.raises(ValueError, match="no slice"):
        worst(ACCURACY, ids, ids, {}, classes=2)


@pytest.mark.parametrize("metric", [ACCURACY, MACRO_F1])
def test_p_values_say_what_the_interval_says(metric: object) -> None:
    """Below 5% just where the end of the interval excludes the margin, on either side."""
    chosen = ACCURACY if metric is ACCURACY else MACRO_F1
    found, _ = rows([9])
    for margin in (0.01, 0.03, 0.05, 0.055, 0.06, 0.08):
        one = (compare_accuracy(*found, margin=margin) if chosen is ACCURACY
               else compare(chosen, *found, classes=2, margin=margin))  # fmt: skip
        inferior = p_inferior(chosen, *found, classes=2, margin=margin)
        worse = p_worse(chosen, *found, classes=2, margin=margin)
        assert (inferior < 0.05) is (one.verdict == "pass")
        assert (worse < 0.05) is (one.upper < -margin)
        assert inferior + worse >= 1


def _rates(lost: list[float], margin: float, rule: Rule, verdict: str, tries: int = 400) -> float:
    """Share of evaluations with a verdict: ten slices of 100 rows, by the share of rows that the candidate loses."""
    random = np.random.default_rng(3)
    hits = 0
    for _ in range(tries):
        counts = [int(random.binomial(100, one)) for one in lost]
        found, groups = rows(counts, each=100, gained=0)
        hits += slices_non_inferior(ACCURACY, *found, groups=groups, classes=2, margin=margin,
                                    rule=rule).verdict == verdict  # fmt: skip
    return hits / tries


def test_one_bad_slice_passes_at_most_5_times_in_100() -> None:
    """By the default rule, however good the nine others are; and the noise of 400 evaluations."""
    assert _rates([0.1] + [0.0] * 9, 0.1, "all-proven", "pass") <= 0.05 + 3 * (0.05 * 0.95 / 400) ** 0.5


def test_ten_slices_at_the_margin_raise_an_alarm_at_most_5_times_in_100() -> None:
    """None is worse by more than the margin: by Holm's correction any alarm at all is that rare."""
    assert _rates([0.1] * 10, 0.1, "none-worse", "fail") <= 0.05 + 3 * (0.05 * 0.95 / 400) ** 0.5


def test_the_worst_slice() -> None:
    """Its name and score; the lower end is the slices' lowest, the upper end is looser than the slice's own."""
    (references, _, candidate), groups = rows([4, 30, 4])
    found = worst(ACCURACY, references, candidate, groups, classes=2)
    ends = [estimate(ACCURACY, references[part], candidate[part], 2) for part in groups.values()]
    assert (found.name, found.rows) == ("b", 200)
    assert found.value == ends[1].value
    assert found.lower == min(one.lower for one in ends)
    assert found.upper > ends[1].upper
    reverse = worst(SCORE_METRICS["brier"], references, candidate, groups, classes=2,
                    scores=np.eye(2)[candidate])  # fmt: skip
    assert reverse.name == "b"
    assert reverse.value == pytest.approx(2 - 2 * found.value)
    assert reverse.lower < reverse.value < reverse.upper


@settings(max_examples=10)
@given(st.integers(0, 1000))
def test_the_worst_of_equal_slices_is_not_taken_for_bad(seed: int) -> None:
    """Twenty slices that are all right in 90% of the rows: the upper end holds it, though the worst is far below."""
    random = np.random.default_rng(seed)
    references = np.zeros(2000, dtype=np.int64)
    predictions = (random.random(2000) < 0.1).astype(np.int64)
    groups = {str(at): np.arange(at * 100, at * 100 + 100) for at in range(20)}
    found = worst(ACCURACY, references, predictions, groups, classes=2, resamples=4000, confidence=0.999)
    assert found.lower < 0.9 < found.upper
