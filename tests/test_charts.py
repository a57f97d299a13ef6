"""Charts as SVG: where the values land, what is told of them, and that nothing in a name can break out."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from ftdeploy.charts import Series, bar_chart, interval_chart, xy_chart
from ftdeploy.svg import STYLE

LINE = Series(name="loss", points=[(1, 0.9), (2, 0.5), (3, 0.7)])


def dots(chart: str) -> list[tuple[float, float]]:
    return [(float(dot.get("cx", "nan")), float(dot.get("cy", "nan"))) for dot in ET.fromstring(chart).iter("circle")]  # noqa: S314  # our own


def words(chart: str) -> list[str]:
    return [element.text or "" for element in ET.fromstring(chart).iter("text")]  # noqa: S314  # our own


def test_higher_values_stand_higher_and_later_ones_further_right() -> None:
    """The axes point where people expect."""
    first, second, third = dots(xy_chart([LINE], title="t", x="epoch", y="loss"))
    assert first[0] < second[0] < third[0]
    assert first[1] < third[1] < second[1], "SVG counts from the top"
    assert second[0] - first[0] == pytest.approx(third[0] - second[0], abs=0.02)


def test_a_logarithmic_axis_has_equal_factors_equally_far_apart() -> None:
    """For learning rates: 1e-5, 1e-4, 1e-3 are evenly spaced, and the ticks are round."""
    rates = Series(name="r", points=[(1e-5, 1), (1e-4, 1), (1e-3, 1)], kind="dots")
    chart = xy_chart([rates], title="t", x="rate", y="y", log_x=True)
    places = [x for x, _ in dots(chart)]
    assert places[1] - places[0] == pytest.approx(places[2] - places[1], abs=0.05)
    assert {"1e-05", "0.0001", "0.001"} <= set(words(chart))


def test_whole_numbers_get_whole_ticks() -> None:
    """There is no trial 1.5."""
    ticks = words(xy_chart([LINE], title="t", x="trial", y="loss"))
    assert {"1", "2", "3"} <= set(ticks)
    assert "1.5" not in ticks


def test_choices_are_named_below_their_places() -> None:
    """Every name is there, also of a choice that no point has."""
    chart = xy_chart(
        [Series(name="s", points=[(1, 0.5)], kind="dots")], title="t", x="k", y="y", names=["linear", "cosine"]
    )
    assert {"linear", "cosine"} <= set(words(chart))


def test_a_single_point_or_equal_values_make_a_chart() -> None:
    """No division by a range of nothing."""
    for points in ([(1.0, 0.5)], [(1.0, 0.5), (2.0, 0.5)], [(1.0, 0.0)]):
        found = dots(xy_chart([Series(name="s", points=points)], title="t", x="x", y="y"))
        assert len(found) == len(points)
        assert all(0 < x < 640 and 0 < y < 280 for x, y in found)
    assert len(dots(xy_chart([Series(name="s", points=[(1e-4, 1)])], title="t", x="x", y="y", log_x=True))) == 1


def test_steps_go_level_before_they_jump() -> None:
    """The best so far holds until a better one comes."""
    root = ET.fromstring(xy_chart([Series(name="best", points=[(1, 1), (2, 3)], kind="step")], title="t", x="x", y="y"))  # noqa: S314
    (line,) = root.iter("polyline")
    (x1, y1), (x2, y2), (x3, y3) = [tuple(map(float, pair.split(","))) for pair in str(line.get("points")).split()]
    assert y1 == y2 > y3
    assert x1 < x2 == x3


def test_lines_differ_by_more_than_colour() -> None:
    """For people who see no colours: another dash each, also in the legend, which names every series."""
    series = [Series(name=f"run {n}", points=[(1, n), (2, n + 1)]) for n in range(3)]
    chart = xy_chart(series, title="t", x="x", y="y")
    root = ET.fromstring(chart)  # noqa: S314  # our own
    assert len({line.get("stroke-dasharray") for line in root.iter("polyline")}) == 3
    assert {"run 0", "run 1", "run 2"} <= set(words(chart))


def test_a_chart_is_told_to_people_who_cannot_see_it() -> None:
    """It is an image with a name, and every point has a title."""
    root = ET.fromstring(xy_chart([LINE], title="Loss of the run", x="epoch", y="loss"))  # noqa: S314  # our own
    assert root.get("role") == "img"
    assert str(root.get("aria-label")).startswith("Loss of the run. ")
    assert all(dot.find("title") is not None for dot in root.iter("circle"))


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", 'a"b & c', "größer"])
def test_a_name_cannot_break_out(name: str) -> None:
    """Names come from data and recipes; the markup stays well-formed and holds them as text."""
    for chart in (
        xy_chart([Series(name=name, points=[(1, 1)], titles=[name]), LINE], title=name, x=name, y=name),
        bar_chart({name: 1.0}, title=name),
        interval_chart([(name, 0.5, 0.4, 0.6)], title=name, x=name),
    ):
        assert "<script" not in chart
        assert any(name in (text.text or "") for text in ET.fromstring(chart).iter("title"))  # noqa: S314  # our own


def test_bars_are_as_long_as_their_values() -> None:
    """From zero, so that twice the value is twice the length; and a value of zero is still to be seen."""
    root = ET.fromstring(bar_chart({"a": 0.5, "b": 0.25, "c": 0.0}, title="t"))  # noqa: S314  # our own
    widths = [float(bar.get("width", "nan")) for bar in root.iter("rect")]
    assert widths[0] == pytest.approx(2 * widths[1], rel=1e-3)
    assert widths[2] > 0


def test_an_interval_holds_its_value() -> None:
    """The dot stands between the ends, on one scale for all rows."""
    root = ET.fromstring(interval_chart([("a", 0.5, 0.4, 0.7), ("b", 0.4, 0.4, 0.4)], title="t", x="x"))  # noqa: S314
    first, second = [line for line in root.iter("line") if line.get("class") == "range"]
    (a, _), (b, _) = dots(ET.tostring(root, encoding="unicode"))
    assert float(str(first.get("x1"))) < a < float(str(first.get("x2")))
    assert float(str(first.get("x1"))) == float(str(second.get("x1"))) == b


def test_the_dark_has_colours_of_its_own() -> None:
    """Every colour that a chart uses is defined twice."""
    light, dark = STYLE.split("prefers-color-scheme: dark")
    for number in range(6):
        assert f"--c{number}:" in light
        assert f"--c{number}:" in dark
