"""The page of a search: everything that was found stands on it, as text, and it needs nothing else."""

from __future__ import annotations

import html
import math
import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from search_samples import (
    CANDIDATES,
    DROPPED,
    FLIPS,
    FP32,
    SENSITIVITY,
    WINNER,
    measured,
    only_fp32,
    scores,
    search,
    unmade,
)

from ftdeploy.compress.outcome import Budget, CandidateResult, Confirmation, Flip, Scored, SearchResult, Sensitivity
from ftdeploy.compress.page import PAGE, direction, duration, page, proof, ranked, sentence, write_page

EVIL = "</script><script>alert(1)</script><img src=x onerror='alert(2)'> \" ' & {{ 7 * 7 }}"
#: The sign, which looks like an x.
TIMES = "\u00d7"
VOID = {"meta", "input", "br", "link", "img"}


class Reader(HTMLParser):
    """Reads a page as a browser without script does: tags that close, their attributes, and the text of each row."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.rows: list[str] = []
        self.text = ""
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note it."""
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note it."""
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        """Every end has its beginning, and nothing overlaps."""
        assert self.open, f"</{tag}> without a beginning"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Text that is shown."""
        if not {"style", "script", "title"} & set(self.open[-1:]):
            self.text += data
            if "tr" in self.open:
                self.rows[-1] += data


def read(result: SearchResult) -> Reader:
    found = Reader(page(result))
    assert not found.open
    return found


def charts(source: str) -> list[ET.Element]:
    return [ET.fromstring(one) for one in re.findall(r'<svg class="chart".*?</svg>', source, re.DOTALL)]  # noqa: S314


def row_of(name: str, found: Reader) -> str:
    """The row of a candidate in the table of all: its name follows the number in the first cell."""
    (row,) = [row for row in found.rows if re.match(rf"\s*\d+\s+{re.escape(name)}(?! \+)(?=\W|[a-z])", row)]
    return row


def test_the_verdict_comes_first_with_speed_size_and_score() -> None:
    """One sentence says what wins, and by how much; fp32 and an unproven winner are called what they are."""
    assert sentence(search()) == (
        f"{WINNER} wins: 5.02 times the throughput of fp32, 8.20 times smaller (11.2 MB), accuracy 0.8844 (-0.0030), "
        "macro_f1 0.8841 (-0.0030)."
    )
    assert sentence(only_fp32()).startswith("fp32 stays as it is: 91.7 MB, accuracy 0.8874")
    assert "too few to prove" in sentence(search(verdict="undecided"))
    assert proof(search()) == "Non-inferior to fp32 by the gate, on 1,004 validation rows."
    assert proof(search(verdict="undecided")) == "within max_drop", "the winner's reason"
    assert proof(only_fp32()) == "Nothing was better."
    slow = measured("small", speedup=0.8, smaller=3, difference=0)
    assert "0.80 times the throughput of fp32 (slower)" in sentence(search([FP32, slow], winner="small"))
    found = read(search())
    assert found.text.index(sentence(search())) < found.text.index("validation rows")


def test_the_one_look_at_the_test_rows_is_told() -> None:
    """Whom it judged, with which numbers, and whether it was confirmed; without one the page says so."""
    for accepted, said in ((True, "was confirmed (why)"), (False, "was not confirmed and does not go on (why)")):
        look = Confirmation(candidate=WINNER, rows=2011, metrics=scores(-0.004), accepted=accepted, reason="why")
        text = read(search(confirmation=look)).text
        assert f"On the 2,011 test rows, looked at once: {WINNER} {said}." in text
        assert "accuracy 0.8834 (-0.0040, -0.0100 to +0.0020)" in text
    assert "The test rows were not looked at." in read(search()).text


def test_every_candidate_is_there_with_its_numbers_or_its_reason() -> None:
    """Chain, status, reason, score, interval, speed, noise, latency, size, memory, invariance, and time to make it."""
    found = read(search())
    for one in CANDIDATES:
        row = row_of(one.name, found)
        assert one.status in row.lower()
        assert one.reason in row
    row = row_of(WINNER, found)
    for shown in ("0.8844 (-0.0030)", "-0.0090 to +0.0030", f"5.02{TIMES}", "4.92 to 5.10", "±1.2%", "1.37 ms",
                  "p95 2.41 ms", "11.2 MB", f"8.20{TIMES} smaller", "210.0 MB memory", "0 of 256 labels",
                  "made in 41 s", "winner"):  # fmt: skip
        assert shown in row, shown
    assert "0.8412 (-0.0462)" in row_of(DROPPED.name, found)
    assert "4,210 rows would decide" in row_of("sparse-2:4 + inc-dynamic", found)


def test_a_name_that_does_not_tell_the_chain_has_it_beside() -> None:
    """The steps are shown in their order."""
    named = measured("mine", speedup=2, smaller=2, difference=0).model_copy(
        update={"steps": ("trimmed", "inc-dynamic")}
    )
    assert "trimmed → inc-dynamic" in row_of("mine", read(search([FP32, named], winner="mine")))


def test_what_was_not_made_is_listed_once_a_reason() -> None:
    """Failed, cut and skipped, with all that it holds for."""
    found = read(search())
    part = found.text[found.text.index("Failed: a tool or the model") : found.text.index("Whether a row's answer")]
    assert part.count("all input arrays must have the same shape") == 1
    for number, one in ranked(search()).items():
        assert (f"{number}\u00a0{one.name}" in part) == (one.status in ("failed", "cut", "skipped"))
    assert "Failed: a tool or the model" not in read(search(CANDIDATES[:3], winner="inc-dynamic")).text


def test_each_metric_is_plotted_against_throughput_latency_and_size() -> None:
    """Every measured candidate has its number in every plot and in the list below, where its name stands."""
    source = page(search())
    plots = charts(source)
    shown = {number: one for number, one in ranked(search()).items() if one.costs is not None}
    assert [str(plot.get("aria-label")).split(". ")[0] for plot in plots] == [
        f"{metric} against {axis}" for metric in ("accuracy", "macro_f1") for axis in ("throughput", "latency", "size")
    ]
    for plot in plots:
        labels = [text for text in plot.iter("text") if "number" in str(text.get("class"))]
        assert sorted(int(text.text or "") for text in labels) == sorted(shown)
        titles = [str(glyph.findtext("title")) for glyph in plot.iter("path")]
        for number, one in shown.items():
            assert any(title.startswith(f"{number} {one.name}: ") for title in titles)
    legend = re.findall(r"<li><b>(\d+)</b>.*?</svg> (.*?)(?: <span|</li>)", source)
    assert {int(number): html.unescape(name) for number, name in legend} == {n: one.name for n, one in shown.items()}


def test_better_is_further_up_and_to_the_side_that_the_axis_says() -> None:
    """Faster is right in throughput and left in latency, smaller is left, and a higher score is higher."""
    fast = measured("fast", speedup=4, smaller=4, difference=0.002)
    for plot, side in zip(charts(page(search([FP32, fast], winner="fast")))[:3], (1, -1, -1), strict=True):
        places = {str(path.findtext("title")).split(":")[0][2:]: _place(path) for path in plot.iter("path")}
        assert (places["fast"][0] - places["fp32"][0]) * side > 0
        assert places["fast"][1] < places["fp32"][1], "SVG counts from the top"


def _place(path: ET.Element) -> tuple[float, float]:
    x, y = re.findall(r"-?[\d.]+", str(path.get("d")))[:2]
    return float(x), float(y)


def test_the_margin_is_drawn_below_zero_and_only_where_there_is_one() -> None:
    """The tinted side is above it; a metric that max_drop does not name has none."""
    plots = charts(page(search(max_drop={"accuracy": 0.01})))
    for plot in plots[:3]:
        (zero,), (limit,) = (
            [line for line in plot.iter("line") if line.get("class") == kind] for kind in ("zero", "limit")
        )
        assert float(str(zero.get("y1"))) < float(str(limit.get("y1")))
        (tint,) = [rect for rect in plot.iter("rect") if rect.get("class") == "allowed"]
        bottom = float(str(tint.get("y"))) + float(str(tint.get("height")))
        assert bottom == pytest.approx(float(str(limit.get("y1"))))
    for plot in plots[3:]:
        assert not [line for line in plot.iter("line") if line.get("class") == "limit"]


def test_an_error_is_in_the_table_and_in_no_plot() -> None:
    """Where up is better. Its limit stands on the other side of zero."""
    mae = Scored(value=1.0, difference=0.1, lower=0.05, upper=0.15, verdict="pass", greater_is_better=False)
    fast = measured("fast", speedup=4, smaller=4, difference=0.002)
    some = [one.model_copy(update={"metrics": {**one.metrics, "mae": mae}}) for one in (FP32, fast)]
    source = page(search(some, winner="fast", max_drop={"accuracy": 0.01, "mae": 0.2}))
    assert "mae against" not in source
    assert "mae 1.0000 (+0.1000)" in source
    assert "0.2 may be lost" in source


def test_of_numbers_the_nearer_one_is_right() -> None:
    """None is equal to what is true."""
    worse = Flip(id="1", text="t", label="3", fp32="3.2", winner="-5")
    assert direction(worse) == "right to wrong"
    assert direction(worse.model_copy(update={"fp32": "-5", "winner": "3.2"})) == "wrong to right"


def test_status_front_and_winner_are_told_by_shape_too() -> None:
    """Another outline for each status, filled on the front, and one ring, round the winner."""
    plot = charts(page(search()))[0]
    shapes: dict[str, set[str]] = {}
    for path in plot.iter("path"):
        status = str(path.findtext("title")).rpartition("; ")[2]
        shapes.setdefault(status, set()).add(re.sub(r"[-\d. ]+", "", str(path.get("d"))))
        number = int(str(path.findtext("title")).split(" ")[0])
        assert str(path.get("class")).endswith("full" if ranked(search())[number].pareto else "open")
    assert all(len(outlines) == 1 for outlines in shapes.values())
    assert len(set.union(*shapes.values())) == len(shapes) == 3
    (ring,) = [circle for circle in plot.iter("circle") if circle.get("class") == "ring"]
    (glyph,) = [path for path in plot.iter("path") if f" {WINNER}: " in str(path.findtext("title"))]
    assert float(str(ring.get("cx"))) - 5.5 == pytest.approx(_place(glyph)[0], abs=0.01)


@pytest.mark.parametrize("count", [2, 13, 60])
def test_numbers_do_not_cover_one_another(count: int) -> None:
    """Also where many candidates crowd: hardly any two numbers overlap, and none leaves the plot."""
    crowd = [
        measured(f"candidate-{n}", speedup=1 + (n * 7 % 60) / 12, smaller=1 + n % 8, difference=-(n * 11 % 60) / 8000)
        for n in range(1, count)
    ]
    for plot in charts(page(search([FP32, *crowd], winner="candidate-1"))):
        _, _, width, height = map(float, str(plot.get("viewBox")).split())
        boxes = []
        for text in plot.iter("text"):
            if "number" in str(text.get("class")):
                x, y, half = float(str(text.get("x"))), float(str(text.get("y"))), 3.5 * len(text.text or "")
                boxes.append((x - half, y - 10, x + half, y))
        assert len(boxes) == count
        assert all(x1 > 0 and x2 < width and y1 > 0 and y2 < height for x1, y1, x2, y2 in boxes)
        over = sum(
            a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
            for index, a in enumerate(boxes)
            for b in boxes[:index]
        )
        assert over <= count // 20


def test_every_flip_is_there_in_both_directions_and_can_be_filtered() -> None:
    """Each row has text, id, labels and direction; without script the filter is hidden and the table whole."""
    found = read(search())
    rows = [attributes for tag, attributes in found.tags if tag == "tr" and "data-direction" in attributes]
    assert len(rows) == len(FLIPS)
    for flip in FLIPS:
        (row,) = [row for row in found.rows if f"{flip.id}\n" in row]
        assert flip.text in row
        assert ("right to wrong" if flip.fp32 == flip.label else "wrong to right") in row
    assert [attributes["data-direction"] for attributes in rows].count("wrong to right") == 6
    assert "9 of 1,004 validation rows" in found.text
    assert not [row for row in rows if "hidden" in row]
    (form,) = [attributes for tag, attributes in found.tags if tag == "form"]
    assert "hidden" in form
    options = {attributes["value"] for tag, attributes in found.tags if tag == "option"}
    assert {"right to wrong", "wrong to right", "positive", "negative"} <= options


def test_no_flips_need_no_table_and_no_script() -> None:
    """It says so in words."""
    source = page(search(flips=()))
    assert "<script" not in source
    assert 'id="flips"' not in source
    assert f"None: {WINNER} has right what fp32 has right" in source


def test_a_batch_s_influence_is_told_in_words() -> None:
    """For each that is not within tolerance; a winner at risk is warned of above everything else."""
    found = read(search())
    part = found.text[found.text.index("Whether a row's answer") :]
    for one in CANDIDATES:
        if one.invariance and not one.invariance.within_tolerance:
            assert re.search(rf"{re.escape(one.name)}\s*: 3 of 256 rows get another label", part), one.name
    assert "Batches matter." not in found.text
    risky = read(search(winner="inc-dynamic")).text
    assert risky.index("Batches matter.") < risky.index("Throughput")


def test_layers_are_shown_by_what_they_lose() -> None:
    """Every one with its bar, relative to the worst; those in float are marked by more than colour."""
    source = page(search())
    for one in SENSITIVITY:
        assert one.layer in source
    widths = [float(width) for width in re.findall(r'<rect[^>]* width="([\d.]+)%" /></svg></td>', source)]
    assert len(widths) == len(SENSITIVITY)
    assert widths[1] / widths[0] == pytest.approx(0.82, abs=0.01)
    assert source.count('<span class="badge">float</span>') == 2
    assert "What each layer loses" not in page(only_fp32())


def test_zeros_are_said_to_gain_no_speed_where_there_are_some() -> None:
    """With what was measured of them; without such candidates nothing is said."""
    assert re.search(rf"Zeros alone gain no speed.*sparse-2:4 \+ inc-dynamic \(2\.40{TIMES}", read(search()).text)
    for steps in (("unstructured-0.5",), ("magnitude 50%",), ("inc-prune-4:8",)):
        one = unmade(" + ".join(steps), "skipped", "no time")
        assert "Zeros alone" in page(search([FP32, one], winner="fp32", verdict="fp32"))
    assert "Zeros alone" not in page(search(CANDIDATES[:6], winner="inc-dynamic"))


def test_the_time_that_was_given_and_taken_is_told() -> None:
    """And what it was a multiple of, where it was one."""
    found = read(search()).text
    assert "12 min 36 s given (3.0 times the fine-tuning run's 4 min 12 s), 10 min 12 s taken, 81% of it." in found
    minutes = read(search(budget=Budget(seconds=60, spent=90))).text
    assert "1 min 0 s given, 1 min 30 s taken, 150% of it." in minutes
    assert [duration(number) for number in (0.04, 59.4, 60, 3599.7, 7260)] == [
        "0.0 s",
        "59 s",
        "1 min 0 s",
        "1 h 0 min",
        "2 h 1 min",
    ]


def test_what_the_temperature_does_is_told_where_one_was_fitted() -> None:
    """The winner's own; where fp32 goes on, the export tells it."""
    assert "Temperature 1.439 (fitted): on 1,004 validation rows log loss 0.3212 -&gt; 0.2959" in page(search())
    assert "Temperature" not in page(only_fp32())


def test_hostile_texts_stay_texts() -> None:
    """Names, reasons, layers, labels, rows and notes: nothing breaks out, and everything can be read."""
    named = measured(EVIL, speedup=2, smaller=2, difference=0, steady=False).model_copy(update={"reason": EVIL})
    failed = CandidateResult(name=f"2 {EVIL}", steps=(EVIL, EVIL), status="failed", reason=EVIL)
    flip = Flip(id=EVIL, text=EVIL, label=EVIL, fp32=EVIL, winner="b")
    result = search(
        [FP32, named, failed], winner=EVIL, flips=(flip,), notes=(EVIL,), explanation=EVIL, provider=EVIL,
        sensitivity=(Sensitivity(layer=EVIL, parameters=1, logit_error=0.5),), objective={EVIL: 1.0},
    )  # fmt: skip
    found = read(result)
    assert [tag for tag, _ in found.tags].count("script") == 1
    assert not [tag for tag, _ in found.tags if tag == "img"]
    assert not [name for _, attributes in found.tags for name in attributes if name.startswith("on")]
    assert found.text.count(EVIL) >= 14
    assert "49" not in found.text.split(EVIL)[1][:5]


@pytest.mark.parametrize("result", [search(), only_fp32()], ids=["many", "one"])
def test_it_needs_nothing_else(result: SearchResult, tmp_path: Path) -> None:
    """One file that loads nothing, with a language, a title and headings, and a name for every picture."""
    write_page(result, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [PAGE]
    source = (tmp_path / PAGE).read_text(encoding="utf-8")
    found = Reader(source)
    assert source.startswith("<!doctype html>")
    for tag, attributes in found.tags:
        assert tag not in ("link", "img", "iframe", "object", "base")
        assert "src" not in attributes
        assert attributes.get("href", "#").startswith("#")
        if tag == "svg":
            assert attributes.get("aria-hidden") == "true" or attributes["aria-label"]
    assert "url(" not in source
    assert "@import" not in source
    names = [tag for tag, _ in found.tags]
    assert names.count("h1") == names.count("main") == 1
    assert "title" in names[: names.index("style")]
    assert ("html", {"lang": "en"}) in found.tags
    identifiers = [attributes["id"] for _, attributes in found.tags if "id" in attributes]
    assert len(identifiers) == len(set(identifiers))
    for _, attributes in found.tags:
        assert attributes.get("href", "#batches")[1:] in identifiers


def test_one_candidate_alone_makes_a_page() -> None:
    """fp32 alone: no plot, and words instead."""
    source = page(only_fp32())
    assert not charts(source)
    assert "only fp32 was measured" in source
    bare = CandidateResult(name="fp32", steps=(), status="kept", reason="the export itself")
    assert "no candidate was measured" in page(search([bare], verdict="fp32", winner="fp32", flips=(), sensitivity=()))


def test_extreme_values_are_shown_as_numbers() -> None:
    """Equal, tiny and huge ones, nothing allowed to be lost, no budget, names without end: never NaN, never outside."""
    same = measured("same", speedup=1.0, smaller=1.0, difference=0.0)
    tiny = measured("x" * 300, speedup=900.0, smaller=90_000.0, difference=-0.8, status="dropped")
    layer = Sensitivity(layer="/a" * 200, parameters=0, logit_error=0.0)
    for margins in ({}, {"accuracy": 0.0}, {"accuracy": 0.9}):
        result = search([FP32, same, tiny], winner="same", max_drop=margins, sensitivity=(layer, layer), rows=1,
                        budget=Budget(seconds=0, spent=0, training=0), flips=FLIPS[:1] * 500)  # fmt: skip
        source = page(result)
        assert not re.search(r"\b(nan|inf)\b", Reader(source).text, re.IGNORECASE)
        for plot in charts(source):
            _, _, width, height = map(float, str(plot.get("viewBox")).split())
            for element in plot.iter():
                places = {name: float(str(element.get(name))) for name in ("x", "y", "x1", "x2", "y1", "y2", "cx", "cy")
                          if element.get(name)}  # fmt: skip
                for name, value in places.items():
                    assert math.isfinite(value)
                    assert -1 <= value <= (width if "x" in name else height) + 1


def test_a_long_text_is_cut_and_the_page_says_where_the_whole_is() -> None:
    """A novel as a row does not drown the others."""
    flip = Flip(id="long", text="word " * 10_000, label="a", fp32="a", winner="b")
    source = page(search(flips=(flip,)))
    assert source.count("word ") == 120
    assert "candidates.json, beside this page" in source
