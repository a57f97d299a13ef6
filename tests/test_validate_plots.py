"""What reports draw: where things stand, and that all of it is told in words too."""

from __future__ import annotations

import math
from typing import get_args
from xml.etree import ElementTree as ET

import pytest
from report_samples import KINDS, bins, cost, gate

from ftdeploy.statistics import Verdict
from ftdeploy.validate.plots import (
    Point,
    calibration_error,
    gate_bar,
    interval_bars,
    reliability_diagram,
    rounds_plot,
    trend_plot,
    verdict_shape,
)
from ftdeploy.verdict import Reliability, ReliabilityBin


def read(chart: object) -> ET.Element:
    return ET.fromstring(str(chart))  # noqa: S314 - our own


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "golden"])
def test_a_gate_passes_when_its_line_lies_in_the_tinted_part(kind: str) -> None:
    """For every kind of gate: passing by numbers is passing by the picture; equivalence is tinted in the middle."""
    one = next(gate(found) for found in KINDS if found == kind)
    bar = gate_bar(one)
    assert bar is not None
    assert bar.allowed is not None
    start, width = bar.allowed
    inside = start <= bar.lower and bar.upper <= start + width + 0.01
    higher, lower = one.lower >= one.limit, one.upper <= one.limit
    assert inside == {"higher": higher, "lower": lower, "inside": lower and one.lower >= -one.limit}[one.better]
    assert 0 <= bar.lower <= bar.value <= bar.upper <= 100
    assert len(bar.limits) == (2 if kind == "equivalence" else 1)


def test_golden_rows_have_no_interval() -> None:
    """Each is as stated or not."""
    assert gate_bar(gate("golden")) is None


def test_the_same_on_both_sides_is_marked_where_the_unit_has_such_a_place() -> None:
    """No difference, or a ratio of one; a score has none."""
    zero = {kind: bar.zero for kind in KINDS if (bar := gate_bar(gate(kind)))}
    assert zero["floor"] is zero["flips"] is None
    assert zero["ratio"] is not None
    middle = gate_bar(gate("equivalence"))
    assert middle is not None
    assert middle.zero == pytest.approx(sum(middle.limits) / 2, abs=0.02)


def test_ends_that_nobody_knows_lie_at_the_edge() -> None:
    """An infinite or missing number does not take the picture away."""
    bar = gate_bar(gate("floor", upper=math.inf, lower=math.nan))
    assert bar is not None
    assert bar.upper == 100
    assert 0 <= bar.lower <= 100


def test_intervals_of_one_table_share_a_scale() -> None:
    """Equal numbers lie at equal places, and the upright is where it is said to be."""
    first, second = interval_bars([(0.0, -0.1, 0.1), (0.1, 0.0, 0.2)], zero=0.0)
    assert first.upper == second.value
    assert first.zero == first.value == second.lower


def test_the_calibration_error_is_that_of_the_bins() -> None:
    """Weighted by rows; of nothing it is nothing."""
    one = ReliabilityBin(lower=0.8, upper=0.87, rows=30, confidence=0.85, accuracy=0.75)
    other = ReliabilityBin(lower=0.93, upper=1, rows=10, confidence=0.97, accuracy=0.99)
    assert calibration_error([one, other]) == pytest.approx((30 * 0.1 + 10 * 0.02) / 40)
    assert calibration_error([]) == 0


def test_a_reliability_diagram_has_each_bin_of_both_models() -> None:
    """A point and a bar with its rows each; overconfident points lie under the diagonal; absolute leaves one out."""
    found = Reliability(baseline=bins(0.01), candidate=bins(0.06)[2:])
    chart = read(reliability_diagram(found, absolute=False))
    circles = [mark for mark in chart.iter("circle") if mark.get("class") == "dot"]
    squares = [mark for mark in chart.iter("rect") if mark.get("class") == "dot"]
    assert (len(squares), len(circles)) == (len(found.baseline), len(found.candidate))
    bars = [bar for bar in chart.iter("rect") if str(bar.get("class")).startswith("count")]
    assert len(bars) == len(found.baseline) + len(found.candidate)
    assert any("720 rows" in str(bar.findtext("title")) for bar in bars)
    assert "0.0100" in str(chart.get("aria-label"))
    (ideal,) = [line for line in chart.iter("line") if line.get("class") == "ideal"]
    x1, x2, y1, y2 = (float(str(ideal.get(name))) for name in ("x1", "x2", "y1", "y2"))
    for mark in circles:
        x, y = float(str(mark.get("cx"))), float(str(mark.get("cy")))
        assert y > y1 + (y2 - y1) * (x - x1) / (x2 - x1), "SVG counts from the top"
    lone = str(reliability_diagram(found, absolute=True))
    assert "baseline" not in lone


def test_each_round_is_a_dot_of_its_model() -> None:
    """Side by side on one scale; a size has no rounds and no picture; absolute leaves the baseline out."""
    chart = read(rounds_plot(cost("latency_p50", 0.0069, 0.44), "Latency", absolute=False))
    told = [str(dot.findtext("title")) for dot in chart.iter("circle")]
    assert sum(one.startswith("baseline") for one in told) == sum(one.startswith("candidate") for one in told) == 7
    assert all("ms" in one for one in told)
    places = {one: float(str(dot.get("cx"))) for one, dot in zip(told, chart.iter("circle"), strict=True)}
    assert max(place for one, place in places.items() if one.startswith("candidate")) < min(
        place for one, place in places.items() if one.startswith("baseline")
    )
    assert rounds_plot(cost("size", 1e6, 0.5), "Size", absolute=False) is None
    assert "baseline" not in str(rounds_plot(cost("throughput", 400, 2), "Throughput", absolute=True))


def test_one_round_is_a_picture_too() -> None:
    """There is no spread to show."""
    one = cost("throughput", 400, 2).model_copy(update={"baseline_rounds": (400.0,), "candidate_rounds": (800.0,)})
    assert len(list(read(rounds_plot(one, "Throughput", absolute=False)).iter("circle"))) == 2


def points(count: int) -> list[Point]:
    verdicts = get_args(Verdict)
    return [Point(name=f"day {n}", value=0.8 + n / 1000, lower=0.79, upper=0.9, even=None if n == 1 else 0.8,
                  verdict=verdicts[n % 3]) for n in range(count)]  # fmt: skip


@pytest.mark.parametrize("count", [1, 2, 7, 200])
def test_a_trend_shows_every_report_in_its_order(count: int) -> None:
    """Each with its interval, from left to right, inside the picture; the baseline where there was one."""
    chart = read(trend_plot(points(count), title="accuracy"))
    marks = [mark for mark in chart.iter("path") if mark.get("class") == "dot"]
    assert [str(mark.findtext("title")).split(":")[0] for mark in marks] == [f"day {n}" for n in range(count)]
    places = [float(str(line.get("x1"))) for line in chart.iter("line") if line.get("class") == "whisker"]
    assert places == sorted(places)
    assert len(places) == count
    assert 0 < places[0] <= places[-1] < 440
    assert sum(line.get("class") == "even" for line in chart.iter("line")) == count - (count > 1)


def test_verdicts_differ_in_shape() -> None:
    """Colour alone does not tell them apart for everybody."""
    shapes = {"".join(filter(str.isalpha, verdict_shape(one, 10, 10, 5))) for one in get_args(Verdict)}
    assert len(shapes) == 3
