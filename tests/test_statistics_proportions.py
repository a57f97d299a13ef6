"""Shares of rows: Tango's interval and Clopper and Pearson's, against their definitions and exactly computed rates."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.stats import binom, binomtest, norm

from ftdeploy.statistics import compare_accuracy, share
from ftdeploy.statistics.proportions import p_values, tango, tango_score
from ftdeploy.statistics.result import Comparison


def _compare(rows: int, lost: int, gained: int, margin: float) -> Comparison:
    references = np.zeros(rows, dtype=np.int64)
    baseline, candidate = references.copy(), references.copy()
    baseline[:gained], candidate[gained : gained + lost] = 1, 1
    return compare_accuracy(references, baseline, candidate, margin=margin)


@given(st.integers(1, 300), st.data())
def test_shares_have_clopper_and_pearsons_ends(of: int, data: st.DataObject) -> None:
    """Each end one-sided at 95%: SciPy's two-sided ones at 90%."""
    hits = data.draw(st.integers(0, of))
    found = share(hits, of)
    theirs = binomtest(hits, of).proportion_ci(confidence_level=0.9, method="exact")
    assert (found.lower, found.upper) == pytest.approx((theirs.low, theirs.high))
    assert found.value == hits / of


def test_no_rows_have_no_share() -> None:
    """Neither have more hits than rows."""
    for hits, of in ((0, 0), (3, 2), (-1, 5)):
        with pytest.raises(ValueError, match="is no share"):
            share(hits, of)


def _likelihood(lost: int, gained: int, rows: int, shift: float) -> float:
    """The likeliest share of losses that goes with a shift, by search."""

    def minus(share_lost: float) -> float:
        parts = np.array([share_lost, share_lost + shift, 1 - 2 * share_lost - shift])
        counts = np.array([lost, gained, rows - lost - gained])
        return float(-(counts * np.log(np.maximum(parts, 1e-300))).sum())

    low, high = max(0.0, -shift), (1 - shift) / 2
    return float(minimize_scalar(minus, bounds=(low, high), method="bounded", options={"xatol": 1e-12}).x)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 200), st.floats(-0.5, 0.5))
def test_the_score_is_the_one_of_the_likeliest_shares(lost: int, gained: int, more: int, shift: float) -> None:
    """Tango's closed form against a search for the likeliest share under the hypothesis."""
    rows = lost + gained + more
    likeliest = _likelihood(lost, gained, rows, shift)
    variance = rows * (2 * likeliest + shift - shift**2)
    expected = (gained - lost - rows * shift) / np.sqrt(variance)
    assert tango_score(lost, gained, rows, shift, 0.0) == pytest.approx(expected, rel=1e-3, abs=1e-3)


@given(st.integers(0, 40), st.integers(0, 40), st.integers(1, 500))
def test_at_no_margin_it_is_mcnemars_test(lost: int, gained: int, more: int) -> None:
    """With Yates' half row: z = (gained - lost -+ 1/2) / sqrt(gained + lost)."""
    if lost + gained:
        inferior, worse = p_values(lost, gained, lost + gained + more, 0.0)
        root = np.sqrt(lost + gained)
        assert inferior == pytest.approx(norm.sf((gained - lost - 0.5) / root))
        assert worse == pytest.approx(norm.cdf((gained - lost + 0.5) / root))


@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 3000), st.sampled_from([0.9, 0.95, 0.99]))
def test_ends_are_where_the_p_value_is_the_level(lost: int, gained: int, more: int, confidence: float) -> None:
    """The interval holds what is not rejected, and the observed difference; extremes included."""
    rows = lost + gained + more + 1
    low, high = tango(lost, gained, rows, confidence)
    assert -1 <= low < (gained - lost) / rows < high <= 1
    assert p_values(lost, gained, rows, -low)[0] == pytest.approx(1 - confidence, rel=1e-3)
    assert p_values(lost, gained, rows, -high)[1] == pytest.approx(1 - confidence, rel=1e-3)


def _false_passes(rows: int, margin: float, gains: float) -> float:
    """The exact probability that a candidate worse by just the margin passes."""
    losses = margin + gains
    total = 0.0
    for lost in range(int(binom.ppf(1 - 1e-6, rows, losses)) + 1):
        gained = np.arange(int(binom.ppf(1 - 1e-6, rows - lost, gains / (1 - losses))) + 1 if gains else 1)
        passes = [p_values(lost, int(one), rows, margin)[0] < 0.05 for one in gained]
        total += binom.pmf(lost, rows, losses) * (passes * binom.pmf(gained, rows - lost, gains / (1 - losses))).sum()
    return total


@pytest.mark.parametrize("rows", [20, 50, 200, 1000])
@pytest.mark.parametrize("expected", [1.5, 3, 5, 10])
@pytest.mark.parametrize("gains", [0.0, 0.01])
def test_a_candidate_worse_by_the_margin_passes_at_most_5_times_in_100(
    rows: int, expected: float, gains: float
) -> None:
    """Computed exactly, where so many losses are expected that counts are coarse; plain, it would be up to 7%."""
    assert _false_passes(rows, min(expected / rows, 0.3), gains) <= 0.05


@pytest.mark.parametrize(
    ("lost", "gained", "verdict"),
    [(0, 20, "pass"), (10, 10, "pass"), (30, 10, "inconclusive"), (60, 20, "fail")],
)
def test_verdicts(lost: int, gained: int, verdict: str) -> None:
    """Of 2,000 rows at a margin of 0.0125."""
    found = _compare(2000, lost, gained, 0.0125)
    assert found.verdict == verdict
    assert found.difference == pytest.approx((gained - lost) / 2000)
    assert (found.baseline, found.candidate) == (1 - gained / 2000, 1 - lost / 2000)


@given(st.integers(100, 600), st.integers(0, 12), st.integers(0, 12))
@settings(max_examples=40)
def test_rows_to_decide_do_decide(rows: int, lost: int, gained: int) -> None:
    """With so many rows, and a few in a hundred more, and the same shares the verdict is pass."""
    found = _compare(rows, lost, gained, 0.02)
    assert (found.rows_to_decide is None) == (found.verdict != "inconclusive")
    if found.rows_to_decide is not None and found.rows_to_decide < 100_000:
        scale = 1.25 * found.rows_to_decide / rows
        again = _compare(round(rows * scale), round(lost * scale), round(gained * scale), 0.02)
        if abs(again.difference - found.difference) < 1e-3:
            assert again.verdict == "pass"
