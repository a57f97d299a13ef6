"""Numbers and verdicts in words."""

from __future__ import annotations

import math

import pytest
from report_samples import alone, gate, metric, report, slices

from ftdeploy.validate import words
from ftdeploy.validate.gates import overall


@pytest.mark.parametrize(
    ("value", "unit", "said"),
    [(0.88444, "score", "0.8844"), (-0.0042, "difference", "-0.0042"), (0.0042, "difference", "+0.0042"),
     (2.414, "ratio", "2.41\u00d7"), (0.0123, "ratio", "0.012\u00d7"), (0.0, "ratio", "0.00\u00d7"),
     (0.0205, "share", "2.05%"), (math.nan, "score", "not known"), (math.inf, "ratio", "not known")],
)  # fmt: skip
def test_the_unit_says_how_a_number_is_written(value: float, unit: str, said: str) -> None:
    """A share is a percentage, a difference has a sign, a small ratio keeps its digits."""
    assert words.number(value, unit) == said


def test_a_limit_is_as_the_suite_says_it() -> None:
    """On which side passing lies; between the two for equivalence; 7% and not 7.000000000000001%."""
    assert words.limit(gate("non-inferiority")) == "≥ -0.02"
    assert words.limit(gate("equivalence")) == "±0.01"
    assert words.limit(gate("superiority")) == "≥ 0"
    assert words.limit(gate("calibration")) == "≤ +0.02"
    assert words.limit(gate("flips", limit=0.07)) == "≤ 7%"
    assert words.limit(gate("ratio")) == "≥ 1.5\u00d7"
    assert words.limit(gate("floor")) == "≥ 0.85"


def test_the_verdict_says_what_to_do() -> None:
    """In a sentence: how many gates, and what now; the rows where rows help, and the machine where they do not."""
    passed = report(gate())
    assert words.headline(passed) == "Pass: sentiment may be released"
    assert words.tally(passed) == "The only gate of the suite release passes, on 2,000 rows."
    assert words.advice(passed) == "Nothing is left to do."
    failed = report(gate("floor", "fail"), gate("floor", "inconclusive"), gate())
    assert words.headline(failed) == "Fail: sentiment must not be released"
    assert words.tally(failed) == (
        "Of the 3 gates of the suite release, 1 failed, 1 cannot tell, 1 passed, on 2,000 rows."
    )
    assert "another candidate" in words.advice(failed)
    unsure = report(gate("floor", "inconclusive", rows_to_decide=800), gate("slices", "inconclusive"))
    assert words.headline(unsure).startswith("Inconclusive: not enough evidence")
    assert words.advice(unsure).startswith("Evaluate on about 4,200 rows")
    noisy = report(gate("ratio", "inconclusive", rows_to_decide=None))
    assert words.advice(noisy).startswith("Measure on a quieter machine")


def test_without_gates_nothing_is_claimed() -> None:
    """A model that nothing was asked of is not said to be fit for release."""
    found = alone(gates=(), verdict=overall(()))
    assert words.headline(found) == "Measured: no gate was asked of sentiment"
    assert "no gate" in words.tally(found)
    assert "Nothing was decided" in words.advice(found)


def test_what_did_not_pass_comes_first() -> None:
    """Failed, then undecided, then passed; within these in the suite's order."""
    order = [one.verdict for one in words.by_weight(report().gates)]
    assert order == sorted(order, key=["fail", "inconclusive", "pass"].index)
    kinds = [one.kind for one in words.by_weight(report().gates) if one.verdict == "pass"]
    assert kinds[:2] == ["non-inferiority", "equivalence"]


def test_harm_is_a_fall_of_scores_and_a_rise_of_errors() -> None:
    """Known metrics have their side; one of the user's own is an error when it is held under a ceiling."""
    assert words.lower_is_better(report()) >= {"brier", "ece", "log_loss"}
    assert "accuracy" not in words.lower_is_better(report(gate("ceiling", metric="accuracy")))
    assert "mine" in words.lower_is_better(report(gate("ceiling", metric="mine")))
    worst = words.worst_slices(report(), "accuracy")
    assert [part.difference.value for part in worst] == sorted(part.difference.value for part in worst)
    errors = tuple(part.model_copy(update={"metric": "brier"}) for part in slices())
    harms = [part.difference.value for part in words.worst_slices(report(slices=errors), "brier")]
    assert harms == sorted(harms, reverse=True)


def test_without_a_baseline_the_worst_score_comes_first() -> None:
    """There is no difference to go by."""
    scores = [
        part.candidate.value for part in words.worst_slices(alone(metrics=(metric("accuracy", 0, 0),)), "accuracy")
    ]
    assert scores == sorted(scores)
    assert len(scores) == 5
