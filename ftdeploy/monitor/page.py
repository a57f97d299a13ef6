"""A drift report as a page: the answer first, then what shifted, since when, at which cost, and what to label."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from ftdeploy.charts import Series, interval_chart, xy_chart
from ftdeploy.page import Page, Part, Table, render_page

if TYPE_CHECKING:
    from ftdeploy.monitor.result import MonitorReport, PartResult

_VERDICTS = {"drift": "drift", "none": "no drift", "inconclusive": "too few rows"}
_STATES = {"drift": "✕ drift", "small": "✓ too small to matter", "same": "✓ the same", "open": "? not told"}
_MOST_LABELS = 12


def render(report: MonitorReport) -> str:
    """The page as HTML that needs nothing else."""
    when = f" From {_when(report.first)} to {_when(report.last)}." if report.first and report.last else ""
    return render_page(Page(
        title=f"Drift of {report.name}",
        summary=report.summary + when,
        tiles=list(_tiles(report)),
        parts=list(_parts(report)),
    ))  # fmt: skip


def _tiles(report: MonitorReport) -> Iterator[tuple[str, str]]:
    yield "verdict", _VERDICTS[report.verdict]
    yield "rows", f"{report.rows:,}"
    if report.accuracy:
        trusted = "" if report.accuracy.valid else ", not to be relied on"
        yield f"estimated accuracy{trusted}", _percent(report.accuracy.value)
    if report.feedback and not report.measured:
        yield f"accuracy on {report.feedback.rows:,} labelled rows", _percent(report.feedback.value)
    if report.measured:
        first = report.measured[0]
        yield f"{first.metric} on {report.measured_rows:,} labelled rows", f"{first.value:.3f}"
    if report.accuracy:
        yield "accuracy of the reference", _percent(report.accuracy.reference)


def _parts(report: MonitorReport) -> Iterator[Part]:
    if report.tests:
        yield _shifted(report)
        yield _since(report)
    if report.accuracy or report.feedback:
        yield _cost(report)
    if report.measured:
        yield _measured(report)
    if report.labels:
        yield _labels(report)
    if report.slices:
        yield _slices(report)
    if report.to_label:
        yield Part(
            heading="What to label next",
            text=f"{report.to_label} rows, those first that the model is least sure of, where it says so, and that are "
            "least like the reference, far from one another. Any first part of the list is spread out, too.",
            links=[("to_label.csv", "to_label.csv")],
        )
    yield _about(report)


def _shifted(report: MonitorReport) -> Part:
    return Part(
        heading="What shifted",
        text="Effects go from 0 to 1: of labels, confidence, length, unknown tokens and cut texts the share of rows "
        "that stand elsewhere than in the reference. There is drift where a difference is shown (p at most "
        f"{report.level:g}, adjusted for all tests together) and at least {report.min_effect:g}, of MMD "
        f"{report.tests[0].least:g}. Intervals hold together.",
        charts=[interval_chart([(test.name, test.effect, test.lower, test.upper) for test in report.tests],
                               title="Effects", x="effect")],
        table=Table(
            columns=("Test", "Verdict", "#Effect", "#Interval", "#p, adjusted", "Method", "Other sizes"),
            rows=[(test.name, _STATES[test.state], f"{test.effect:.3f}", f"{test.lower:.3f} to {test.upper:.3f}",
                   _p(test.adjusted), test.method, _sizes(test.sizes)) for test in report.tests],
        ),
    )  # fmt: skip


def _sizes(sizes: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.2f}" for name, value in sizes.items()) or "-"


def _since(report: MonitorReport) -> Part:
    parts = report.timeline
    chart = [
        xy_chart([_line("likeness", [part.score for part in parts], parts)],
                 title="How unlike the reference", x=_axis(report),
                 y="probability to be new"),
        xy_chart([_line("confidence", [part.confidence for part in parts], parts)],
                 title="Mean confidence", x=_axis(report), y="confidence"),
    ]  # fmt: skip
    if len(parts) == 1:
        chart = []
    if not report.changes:
        text = "No change within this time is shown: what differs, differs from the first row on."
        if report.verdict == "none":
            text = "No change within this time is shown."
        return Part(heading="Since when", text=text, charts=chart)
    return Part(
        heading="Since when",
        text="Points at which the traffic became less like the reference, or more like it again. An interval is of one "
        "point alone.",
        charts=chart,
        table=Table(
            columns=("Time", "Interval", "Direction", "#Effect", "#p"),
            rows=[(_when(one.time), f"{_when(one.lower)} to {_when(one.upper)}", "away" if one.effect > 0 else "back",
                   f"{abs(one.effect):.2f}", _p(one.p)) for one in report.changes],
        ),
    )  # fmt: skip


def _cost(report: MonitorReport) -> Part:
    rows, charts = [], []
    estimate, feedback = report.accuracy, report.feedback
    text = ""
    if estimate:
        rows.append(("reference, true labels", _percent(estimate.reference), ""))
        rows.append((f"estimate by {estimate.estimator}", _percent(estimate.value),
                     f"{_percent(estimate.lower)} to {_percent(estimate.upper)}"))  # fmt: skip
        rows += [(f"by {name}", _percent(value), "") for name, value in estimate.others.items()]
        trust = "may be relied on" if estimate.valid else "cannot be relied on"
        text = f"The estimate without labels {trust}: {estimate.reason}. "
        series = [_line("estimated", [part.estimated or 0.0 for part in report.timeline], report.timeline)]
        known = [(n + 1.0, part.accuracy) for n, part in enumerate(report.timeline) if part.accuracy is not None]
        if known:
            series.append(Series(name="true, labelled rows", points=known, kind="dots"))
        if len(report.timeline) > 1:
            charts.append(xy_chart(series, title="Accuracy over time", x=_axis(report), y="accuracy"))
    if feedback:
        rows.append((f"{feedback.rows:,} rows with feedback", _percent(feedback.value),
                     f"{_percent(feedback.lower)} to {_percent(feedback.upper)}"))  # fmt: skip
        text += "Rows with feedback are a sample only as far as nobody chose them."
        points = [(n + 1.0, value) for n, (_, value) in enumerate(feedback.curve)]
        titles = [f"{_when(time)}: {_percent(value)}" for time, value in feedback.curve]
        if len(points) > 1:
            charts.append(xy_chart([Series(name="prequential accuracy", points=points, titles=titles)],
                                   title="Prequential accuracy", x="rows with feedback, in the order of time",
                                   y="accuracy"))  # fmt: skip
    return Part(heading="What it costs", text=text, charts=charts,
                table=Table(columns=("Accuracy", "#Value", "#Interval"), rows=rows))  # fmt: skip


def _measured(report: MonitorReport) -> Part:
    rows = [(one.metric, f"{one.value:.3f}", f"{one.lower:.3f} to {one.upper:.3f}") for one in report.measured]
    text = f"Whole answers beside what is true, on {report.measured_rows:,} rows with feedback, which are a sample "
    text += "only as far as nobody chose them."
    if report.feedback:
        text += " Accuracies elsewhere on this page are of one label a row, by which rows are counted: the first of "
        text += "several, or the kind that most spans have."
    return Part(heading="Whole answers, where labels came back", text=text,
                table=Table(columns=("Metric", "#Value", "#Interval"), rows=rows))  # fmt: skip


def _labels(report: MonitorReport) -> Part:
    known = report.labels[0].estimated is not None
    columns = ["Label", "#Predicted, reference", "#Predicted, now"]
    if known:
        columns += ["#True, reference", "#True, now, estimated", "#Interval"]
    rows = []
    for one in report.labels[:_MOST_LABELS]:
        cells = [one.label, _percent(one.predicted_reference), _percent(one.predicted)]
        if known:
            cells += [_percent(one.true_reference), _percent(one.estimated),
                      f"{_percent(one.lower)} to {_percent(one.upper)}"]  # fmt: skip
        rows.append(cells)
    text = ""
    if known:
        text = "True shares are estimated as if texts of a label were as before, and only labels more or less frequent."
    if report.labels_identified is False:
        text += " The model mixes some labels up too much for that here: do not rely on it."
    if len(report.labels) > _MOST_LABELS:
        text += f" The {_MOST_LABELS} labels that moved most; drift.json has all."
    return Part(heading="Labels", text=text.strip(), table=Table(columns=columns, rows=rows))


def _slices(report: MonitorReport) -> Part:
    labelled = any(part.labelled for part in report.slices)
    estimated = any(part.estimated is not None for part in report.slices)
    columns = ["Slice", "#Rows", "#Share", "#Confidence", "#Unlike the reference"]
    columns += ["#Estimated accuracy"] if estimated else []
    columns += ["#True accuracy", "#Interval"] if labelled else []
    rows = []
    for part in report.slices:
        cells = [part.name, f"{part.rows:,}", _percent(part.share), f"{part.confidence:.3f}", f"{part.score:.2f}"]
        cells += [_percent(part.estimated)] if estimated else []
        if labelled:
            cells += [_percent(part.accuracy),
                      f"{_percent(part.lower)} to {_percent(part.upper)}" if part.labelled else "-"]  # fmt: skip
        rows.append(cells)
    return Part(
        heading="Slices",
        text="Unlike the reference: the mean probability that a classifier gives a row to be of this traffic; 0.5 is "
        "alike.",
        table=Table(columns=columns, rows=rows),
    )


def _about(report: MonitorReport) -> Part:
    skipped = f" {report.skipped:,} rows of other bundles were left out." if report.skipped else ""
    return Part(
        heading="What was compared",
        text=f"{report.rows:,} rows of traffic with {report.reference_rows:,} rows that the model was not trained on; "
        f"bundle {report.digest[:12]}, {_when(report.created)}.{skipped} All numbers are in drift.json.",
        links=[("drift.json", "drift.json")],
    )


def _line(name: str, values: Sequence[float], parts: Sequence[PartResult]) -> Series:
    titles = [
        f"from {_when(part.name)}, {part.rows:,} rows: {value:.3f}" for part, value in zip(parts, values, strict=True)
    ]
    return Series(name=name, points=[(n + 1.0, value) for n, value in enumerate(values)], titles=titles)


def _axis(report: MonitorReport) -> str:
    return f"parts of about {report.timeline[0].rows:,} rows, in the order of time"


def _when(time: str) -> str:
    """An ISO time to the minute, for people."""
    return time[:16].replace("T", " ") + " UTC"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value * 100:.1f}%"


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"  # noqa: PLR2004  # as p-values are written
