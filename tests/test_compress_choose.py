"""The choice among measured candidates: a rule that noise does not sway."""

from __future__ import annotations

import pytest

from ftdeploy.compress import _instead
from ftdeploy.compress.choose import choose, pareto
from ftdeploy.compress.outcome import CandidateResult, Costs, Scored, Status
from ftdeploy.recipe import CompressSettings, Goal


def candidate(name: str, *, speed: float, size: int = 100, accuracy: float = 0.9, status: Status = "kept",
              latency: float = 0.001) -> CandidateResult:  # fmt: skip
    """A measured candidate; fp32 has speed 1 and size 100."""
    costs = Costs(
        throughputs=(speed,) * 5, latencies_p50=(latency,) * 5, latencies_p95=(2 * latency,) * 5, size=size,
        speedup=speed, speedup_lower=speed, speedup_upper=speed, times_smaller=100 / size, noise=0.0,
    )  # fmt: skip
    scored = Scored(value=accuracy, difference=accuracy - 0.9, lower=accuracy - 0.9, upper=0.0, verdict="pass")
    steps = () if name == "fp32" else (name,)
    return CandidateResult(name=name, steps=steps, status=status, reason="", metrics={"accuracy": scored}, costs=costs)


FP32 = candidate("fp32", speed=1.0)


SPEEDS = {"int8": 2.0, "int8+vocabulary": 2.1, "student-a+int8": 5.0, "student-a+int8+vocabulary": 5.1,
          "first-token+int8": 2.2, "int8+no-arena": 2.3, "other": 1.5}  # fmt: skip


@pytest.mark.parametrize(
    ("names", "winner", "expected"),
    [
        # Not the same student without the trimming, which is faster.
        (tuple(SPEEDS)[:4], "student-a+int8+vocabulary", "int8"),
        # What it says of the whole model says nothing of students.
        (tuple(SPEEDS)[:4], "int8+vocabulary", "student-a+int8"),
        (("int8", "int8+vocabulary"), "int8+vocabulary", "int8"),
        (("int8", "int8+vocabulary"), "int8", "int8+vocabulary"),
        (("int8",), "int8", "fp32"),
        # Nor the same answers by other session options, or without what nobody reads.
        (("first-token+int8", "int8", "other"), "first-token+int8", "other"),
        (("int8", "int8+no-arena"), "int8+no-arena", "fp32"),
    ],
)
def test_one_that_does_not_hold_goes_with_its_students_siblings(
    names: tuple[str, ...], winner: str, expected: str
) -> None:
    """Where the test rows refuse the winner, the best goes on that was sure before: another one, and of no refused
    student."""
    found = [
        candidate(name, speed=SPEEDS[name], accuracy=0.91).model_copy(
            update={"steps": tuple(name.removesuffix("+no-arena").split("+"))}
        )
        for name in names
    ]
    chosen = next(one for one in found if one.name == winner)
    assert _instead(chosen, [FP32, *found], CompressSettings(min_gain=1.1)) == expected


@pytest.mark.parametrize("others", [[], [candidate("slow", speed=0.5)], [candidate("equal", speed=1.0)]])
def test_fp32_stays_where_nothing_gains_and_anything_would_do(others: list[CandidateResult]) -> None:
    """Also where the recipe asks for no gain at all (`min_gain: 1`), and where fp32 is alone."""
    assert choose([FP32, *others], CompressSettings(min_gain=1.0, allow_slower=True)).name == "fp32"


def test_an_error_that_rises_is_not_certain() -> None:
    """Where lower is better, what scores worse on the validation rows, with an interval beyond half of what is allowed,
    does not go on in the place of a winner that the test rows refused; what scores better does."""

    def of_errors(name: str, speed: float, difference: float) -> CandidateResult:
        mae = Scored(value=2 + difference, difference=difference, lower=difference - 0.3, upper=difference + 0.3,
                     verdict="pass", greater_is_better=False)  # fmt: skip
        return candidate(name, speed=speed).model_copy(update={"metrics": {"mae": mae}})

    fp32 = FP32.model_copy(update={"metrics": of_errors("fp32", 1.0, 0.0).metrics})
    chosen, others = of_errors("winner", 5.0, 0.0), [of_errors("worse", 4.0, 0.15), of_errors("better", 2.0, -0.15)]
    settings = CompressSettings(max_drop={"mae": 0.5})
    assert _instead(chosen, [fp32, chosen, *others], settings) == "better"


def test_instead_of_fp32_there_is_fp32() -> None:
    """It is not held against itself, so that nothing refuses it."""
    assert _instead(FP32, [FP32, candidate("slow", speed=0.5)], CompressSettings()) == "fp32"


@pytest.mark.parametrize(
    ("others", "expected"),
    [
        ([candidate("slow", speed=0.5)], "fp32"),
        ([candidate("hardly", speed=1.05)], "fp32"),
        ([candidate("fast", speed=2.0, accuracy=0.85)], "fast"),
        ([candidate("fast", speed=2.0, accuracy=0.85), candidate("as fast", speed=1.9, accuracy=0.89)], "as fast"),
        ([candidate("fast", speed=2.0, accuracy=0.85), candidate("slower", speed=1.7, accuracy=0.95)], "fast"),
        ([candidate("just", speed=1.12, accuracy=0.85), candidate("slow", speed=0.99, accuracy=0.95)], "just"),
        ([candidate("fast", speed=2.0), candidate("as fast and small", speed=1.95, size=50, accuracy=0.89)],
         "as fast and small"),
        ([candidate("likely", speed=2.0, accuracy=0.91, status="undecided"), candidate("proven", speed=1.95)],
         "proven"),
        ([candidate("dropped", speed=9.0, status="dropped"), candidate("kept", speed=2.0)], "kept"),
    ],
)  # fmt: skip
def test_the_fastest_wins_and_among_equals_the_smaller_and_the_better(
    others: list[CandidateResult], expected: str
) -> None:
    """fp32 stays unless something is `min_gain` times as fast; within that factor of the best, size, proof and score
    decide, in this order; what is no faster than fp32, or lost too much, is never chosen over it."""
    assert choose([FP32, *others], CompressSettings(min_gain=1.1)).name == expected


def test_the_smallest_wins_where_that_is_the_objective_but_nothing_slower_than_fp32_is_shipped() -> None:
    """Unless the recipe says that it may be slower."""
    trials = [FP32, candidate("small", speed=0.5, size=25), candidate("fast", speed=3.0, size=50)]
    assert choose(trials, CompressSettings(objective="smallest")).name == "fast"
    assert choose(trials, CompressSettings(objective="smallest", allow_slower=True)).name == "small"


def test_weights_trade_speed_for_size_and_latency() -> None:
    """Twice as fast counts as much as twice as small where both weigh the same, and latency counts where it is asked
    for."""
    fast, small = candidate("fast", speed=4.0, size=100), candidate("small", speed=2.0, size=20)
    assert choose([FP32, fast, small], CompressSettings(objective=Goal(throughput=1, size=1))).name == "small"
    assert choose([FP32, fast, small], CompressSettings(objective=Goal(throughput=1, size=0.3))).name == "fast"
    quick = candidate("quick", speed=1.5, latency=0.0001)
    assert choose([FP32, fast, quick], CompressSettings(objective=Goal(throughput=0, latency=1))).name == "quick"


def test_the_front_holds_what_nothing_beats() -> None:
    """At least as good in score, throughput and size, and better in one, beats; equal points stand side by side."""
    fast, slow = candidate("fast", speed=3.0, accuracy=0.88), candidate("slow", speed=2.0, accuracy=0.87)
    twin = candidate("twin", speed=3.0, accuracy=0.88)
    small = candidate("small", speed=1.5, size=10, accuracy=0.8)
    assert pareto([FP32, fast, slow, twin, small]) == {"fp32", "fast", "twin", "small"}
