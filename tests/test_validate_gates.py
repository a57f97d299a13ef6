"""Gates: verdicts and the words for them."""

from __future__ import annotations

import numpy as np
import pytest
from scripted import sure

from ftdeploy.measure import Cost, CostRatio
from ftdeploy.suite import Floor, Gate, NonInferiority, Ratio, RatioName, Suite
from ftdeploy.validate.answers import Answers
from ftdeploy.validate.gates import Evidence, judge, overall
from ftdeploy.verdict import GateResult, GoldenResult


def _answers(rows: int, wrong: int, lost: int) -> Answers:
    """Two labels in turn; both models have the first rows wrong, the candidate some more."""
    references = np.arange(rows, dtype=np.int64) % 2
    baseline = references.copy()
    baseline[:wrong] = 1 - baseline[:wrong]
    candidate = baseline.copy()
    candidate[wrong : wrong + lost] = 1 - candidate[wrong : wrong + lost]
    names = [str(index) for index in range(rows)]
    return Answers(
        ids=names,
        texts=names,
        columns={},
        labels=("no", "yes"),
        references=references,
        baseline=sure(baseline),
        candidate=sure(candidate, 0.8),
    )


def _judge(gate: Gate, answers: Answers | None = None, *, identical: bool = False,
           ratio: tuple[float, float, float] = (1, 1, 1)) -> GateResult:  # fmt: skip
    lower, value, upper = ratio
    names: tuple[Cost, ...] = ("size", "throughput", "latency_p50", "latency_p95", "memory")
    costs = {
        name: CostRatio(cost=name, baseline=2.0, candidate=2 * value, ratio=value, lower=lower, upper=upper,
                        confidence=0.98)
        for name in names
    }  # fmt: skip
    evidence = Evidence(answers=answers or _answers(100, 0, 0), costs=costs, identical=identical, timing_rows=8)
    (found,) = judge(Suite(gates=(gate,), resamples=1000), evidence, ())
    return found


@pytest.mark.parametrize(
    ("rows", "lost", "verdict", "words"),
    [
        (1000, 2, "pass", "the drop is at most"),
        (1000, 30, "fail", "more than the tolerated drop of 0.0200"),
        (200, 2, "inconclusive", "200 rows cannot exclude a drop of"),
    ],
)
def test_non_inferiority(rows: int, lost: int, verdict: str, words: str) -> None:
    """The numbers of the verdict are the statistics', and the words say them."""
    gate = NonInferiority(kind="non-inferiority", metric="accuracy", margin=0.02)
    found = _judge(gate, _answers(rows, rows // 10, lost))
    assert found.verdict == verdict
    assert words in found.explanation
    assert found.difference == found.value == pytest.approx(-lost / rows)
    assert found.limit == -0.02
    assert (found.rows_to_decide is not None) == (verdict == "inconclusive")
    if found.rows_to_decide:
        assert f"About {found.rows_to_decide:,} rows would do" in found.explanation


@pytest.mark.parametrize(
    ("wrong", "minimum", "verdict"), [(100, 0.87, "pass"), (100, 0.895, "inconclusive"), (100, 0.91, "fail")]
)
def test_floor(wrong: int, minimum: float, verdict: str) -> None:
    """The lower end of the interval has to reach the minimum; a score under it fails."""
    found = _judge(Floor(kind="floor", metric="accuracy", minimum=minimum), _answers(1000, wrong, 0))
    assert found.verdict == verdict
    assert found.value == found.candidate == 0.9
    assert (found.lower >= minimum) == (verdict == "pass")


def test_rows_that_a_floor_asks_for_decide() -> None:
    """With that many rows and the same score the floor passes."""
    gate = Floor(kind="floor", metric="accuracy", minimum=0.89)
    few = _judge(gate, _answers(500, 50, 0))
    assert few.verdict == "inconclusive"
    assert few.rows_to_decide
    rows = 10 * round(1.2 * few.rows_to_decide / 10)
    assert _judge(gate, _answers(rows, rows // 10, 0)).verdict == "pass"


@pytest.mark.parametrize(
    ("ratio", "verdict"),
    [((1.1, 1.2, 1.3), "pass"), ((0.9, 1.1, 1.3), "inconclusive"), ((0.8, 0.9, 1.1), "fail"), ((1, 1, 1), "pass")],
)
def test_ratio_with_a_minimum(ratio: tuple[float, float, float], verdict: str) -> None:
    """Throughput passes when even the lower bound does, and fails when the median does not."""
    found = _judge(Ratio(kind="ratio", metric="throughput", minimum=1.0), ratio=ratio)
    assert (found.verdict, found.better) == (verdict, "higher")


@pytest.mark.parametrize("metric", ["size", "latency_p50", "latency_p95", "memory"])
@pytest.mark.parametrize(
    ("ratio", "verdict"), [((0.5, 0.6, 0.9), "pass"), ((0.5, 0.9, 1.1), "inconclusive"), ((0.9, 1.1, 1.2), "fail")]
)
def test_ratio_with_a_maximum(metric: RatioName, ratio: tuple[float, float, float], verdict: str) -> None:
    """Size, latency and memory are the other way round."""
    found = _judge(Ratio(kind="ratio", metric=metric, maximum=1.0), ratio=ratio)
    assert (found.verdict, found.better) == (verdict, "lower")


def test_the_baseline_itself_loses_nothing() -> None:
    """Equal bytes pass non-inferiority where so few rows alone could not."""
    gate = NonInferiority(kind="non-inferiority", metric="macro_f1", margin=0.001)
    few = _answers(20, 2, 0)
    assert _judge(gate, few).verdict == "inconclusive"
    same = _judge(gate, few, identical=True)
    assert (same.verdict, same.lower, same.upper, same.rows_to_decide) == ("pass", 0, 0, None)


def test_golden_rows_are_one_gate() -> None:
    """Each wrong one is named with what came out."""
    rows = [
        GoldenResult(text="fine", label="yes", baseline="yes", candidate="no"),
        GoldenResult(text="bad", label="no", baseline="no", candidate="no"),
    ]
    evidence = Evidence(answers=_answers(10, 0, 0), costs={}, identical=False, timing_rows=8)
    (found,) = judge(Suite(gates=()), evidence, rows)
    assert (found.verdict, found.value, found.baseline) == ("fail", 0.5, 1)
    assert "'fine' came out as no, not yes" in found.explanation
    (right,) = judge(Suite(gates=()), evidence, rows[1:])
    assert right.verdict == "pass"


def test_one_failure_outweighs_what_cannot_be_told() -> None:
    """fail before inconclusive before pass."""
    size = Ratio(kind="ratio", metric="size", maximum=1.0)
    verdicts = {bound: _judge(size, ratio=(0.5, value, bound)) for value, bound in ((0.6, 0.9), (0.9, 1.1), (1.1, 1.2))}
    passed, unsure, failed = verdicts.values()
    assert overall([passed, unsure, failed]) == "fail"
    assert overall([passed, unsure]) == "inconclusive"
    assert overall([passed]) == "pass"
