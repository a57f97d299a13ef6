"""Writing the report: JSON for machines, JUnit XML for CI, CSV of the flipped rows, and a page for people."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

from ftdeploy.files import csv_cell
from ftdeploy.measure import amount
from ftdeploy.validate.answers import Answers, flips
from ftdeploy.verdict import GateResult, Report, SliceResult

if TYPE_CHECKING:
    from jinja2 import Template

#: Flipped rows on the page; flips.csv has all.
_SHOWN_FLIPS = 100
#: Slices on the page, the greatest harm first; report.json has all.
_SHOWN_SLICES = 20
#: Gaps between groups on the page, the widest first; report.json has all.
_SHOWN_GAPS = 20
#: With more labels than this the page lists the commonest confusions instead of the matrices.
_MATRIX_LABELS = 10
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write_report(report: Report, answers: Answers, folder: Path) -> None:
    """Write ``report.json``, ``junit.xml``, ``flips.csv`` and ``report.html`` into a folder that exists."""
    body = report.model_dump(mode="json")
    body = {"schema": body.pop("schema_")} | body
    (folder / "report.json").write_text(json.dumps(body, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    (folder / "junit.xml").write_bytes(junit(report))
    _write_flips(answers, folder / "flips.csv")
    (folder / "report.html").write_text(page(report, answers), encoding="utf-8")


def junit(report: Report) -> bytes:
    """One test case per gate, as JUnit XML.

    An inconclusive gate is an ``error`` and not ``skipped``: CI shows skipped tests as green, and nothing was shown to
    be well.
    """
    verdicts = [gate.verdict for gate in report.gates]
    counts = {
        "tests": str(len(verdicts)),
        "failures": str(verdicts.count("fail")),
        "errors": str(verdicts.count("inconclusive")),
    }
    root = ET.Element("testsuites", counts)
    suite = ET.SubElement(
        root, "testsuite", {"name": _xml(f"{report.name} {report.suite}")} | counts | {"skipped": "0"}
    )
    for gate in report.gates:
        case = ET.SubElement(
            suite, "testcase", {"classname": _xml(f"{report.name}.{gate.kind}"), "name": _xml(gate.name)}
        )
        if gate.verdict == "pass":
            ET.SubElement(case, "system-out").text = _xml(gate.explanation)
        else:
            tag = "failure" if gate.verdict == "fail" else "error"
            ET.SubElement(case, tag, {"type": gate.verdict, "message": _xml(gate.explanation)})
    ET.indent(root)
    return bytes(ET.tostring(root, encoding="utf-8", xml_declaration=True)) + b"\n"


def _xml(text: str) -> str:
    """Text without the characters that XML 1.0 cannot hold."""
    return _NOT_XML.sub("\ufffd", text)


@dataclass(frozen=True, kw_only=True)
class Flip:
    """A row that the baseline has right and the candidate wrong."""

    id: str
    text: str
    label: str
    baseline: str
    baseline_score: float
    candidate: str
    candidate_score: float
    columns: dict[str, str]


def _flipped(answers: Answers) -> Iterator[Flip]:
    before, after = answers.baseline, answers.candidate
    for row in flips(answers):
        yield Flip(
            id=answers.ids[row],
            text=answers.texts[row],
            label=answers.labels[answers.references[row]],
            baseline=answers.labels[before.predictions[row]],
            baseline_score=before.scores[row],
            candidate=answers.labels[after.predictions[row]],
            candidate_score=after.scores[row],
            columns={name: values[row] for name, values in answers.columns.items()},
        )


def _write_flips(answers: Answers, path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle)
        scores = ("baseline", "baseline_score", "candidate", "candidate_score")
        writer.writerow(("id", "label", *scores, *map(csv_cell, answers.columns), "text"))
        for flip in _flipped(answers):
            # The scores are ours; everything else comes from the data.
            before = (csv_cell(flip.baseline), f"{flip.baseline_score:.4f}")
            after = (csv_cell(flip.candidate), f"{flip.candidate_score:.4f}")
            columns = map(csv_cell, flip.columns.values())
            writer.writerow((csv_cell(flip.id), csv_cell(flip.label), *before, *after, *columns, csv_cell(flip.text)))


def page(report: Report, answers: Answers) -> str:
    """The report as one HTML page that needs nothing else."""
    flipped = list(_flipped(answers))
    return _template().render(
        report=report,
        counts={verdict: sum(gate.verdict == verdict for gate in report.gates)
                for verdict in ("pass", "fail", "inconclusive")},
        bars=[_gate_bar(gate) for gate in report.gates],
        tables=_slice_tables(report.slices),
        matrices=_matrices(report) if len(report.confusion.labels) <= _MATRIX_LABELS else None,
        confusions=_confusions(report),
        costs={cost.cost: cost for cost in report.costs},
        flips=flipped[:_SHOWN_FLIPS],
        shown_gaps=_SHOWN_GAPS,
        more_flips=max(0, len(flipped) - _SHOWN_FLIPS),
    )  # fmt: skip


@cache
def _template() -> Template:
    from jinja2 import Environment, StrictUndefined

    # Texts of the data go onto the page: everything is escaped, and nothing is marked as safe.
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.globals["amount"] = amount
    return environment.from_string(Path(__file__).with_name("report.html").read_text(encoding="utf-8"))


@dataclass(frozen=True, kw_only=True)
class Bar:
    """An interval on a line: positions in percent of the width."""

    value: float
    lower: float
    upper: float
    limit: float
    zero: float | None
    better: str


def _bar(value: float, lower: float, upper: float, *, limit: float, better: str, zero: float | None,
         span: Sequence[float] = ()) -> Bar:  # fmt: skip
    shown = [value, lower, upper, limit, *span, *([] if zero is None else [zero])]
    low, high = min(shown), max(shown)
    room = (high - low or 1.0) * 0.12

    def place(number: float) -> float:
        return round(100 * (number - low + room) / (high - low + 2 * room), 2)

    return Bar(value=place(value), lower=place(lower), upper=place(upper), limit=place(limit), better=better,
               zero=None if zero is None else place(zero))  # fmt: skip


def _gate_bar(gate: GateResult) -> Bar | None:
    if gate.kind == "golden":
        return None
    # Where candidate and baseline are equal: no difference, or a ratio of one.
    zero = {"non-inferiority": 0.0, "ratio": 1.0}.get(gate.kind)
    return _bar(gate.value, gate.lower, gate.upper, limit=gate.limit, better=gate.better, zero=zero)


def _slice_tables(slices: Sequence[SliceResult]) -> list[dict[str, Any]]:
    """A table per metric: its slices with bars that share one scale."""
    tables = []
    for metric in dict.fromkeys(part.metric for part in sorted(slices, key=lambda part: part.metric)):
        parts = [part for part in slices if part.metric == metric][:_SHOWN_SLICES]
        span = [end for part in parts for end in (part.difference.lower, part.difference.upper)]
        bars = [
            _bar(d.value, d.lower, d.upper, limit=0.0, better="higher", zero=0.0, span=span)
            for d in (part.difference for part in parts)
        ]
        more = sum(part.metric == metric for part in slices) - len(parts)
        tables.append({"metric": metric, "rows": list(zip(parts, bars, strict=True)), "more": more})
    return tables


def _matrices(report: Report) -> list[dict[str, Any]]:
    """Both confusion matrices with each cell's share of its true label, for the shading."""
    found = []
    for name, counts in (("baseline", report.confusion.baseline), ("candidate", report.confusion.candidate)):
        rows = [[(count, count / max(1, sum(row))) for count in row] for row in counts]
        found.append({"name": name, "rows": list(zip(report.confusion.labels, rows, strict=True))})
    return found


def _confusions(report: Report) -> list[tuple[str, str, int, int]]:
    """(true, predicted, baseline's rows, candidate's rows), the candidate's commonest mistakes first."""
    labels, before, after = report.confusion.labels, report.confusion.baseline, report.confusion.candidate
    cells = [
        (labels[i], labels[j], before[i][j], after[i][j])
        for i in range(len(labels))
        for j in range(len(labels))
        if i != j and (before[i][j] or after[i][j])
    ]
    return sorted(cells, key=lambda cell: (-cell[3], -cell[2], cell[:2]))[:20]
