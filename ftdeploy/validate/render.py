"""Writing the report: JSON for machines, JUnit XML for CI, CSV of the flipped rows, a page and a summary for people."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree as ET

from ftdeploy.files import write_json
from ftdeploy.validate.answers import Answers
from ftdeploy.validate.flipped import write_flips
from ftdeploy.validate.markdown import summary
from ftdeploy.validate.page import page
from ftdeploy.verdict import GateResult, Report

#: The text for a pull request, beside ``report.json``.
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write_report(report: Report, answers: Answers, folder: Path) -> None:
    """Write ``report.json``, ``report.html``, ``summary.md``, ``junit.xml`` and ``flips.csv``.

    Args:
        report: what was found.
        answers: that it was made from.
        folder: where to; it exists.

    Raises:
        OSError: the folder cannot be written.
    """
    body = report.model_dump(mode="json")
    write_json(folder / "report.json", {"schema": body.pop("schema_")} | body)
    (folder / "junit.xml").write_bytes(junit(report))
    write_flips(answers, folder / "flips.csv")
    (folder / "report.html").write_text(page(report, answers), encoding="utf-8")
    (folder / "summary.md").write_text(summary(report), encoding="utf-8")


def junit(report: Report) -> bytes:
    """One test case per gate, as JUnit XML; no clock goes into it.

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
    properties = ET.SubElement(suite, "properties")
    for name, value in _properties(report).items():
        ET.SubElement(properties, "property", {"name": _xml(name), "value": _xml(value)})
    for gate in report.gates:
        _test_case(suite, report, gate)
    ET.indent(root)
    return bytes(ET.tostring(root, encoding="utf-8", xml_declaration=True)) + b"\n"


def _properties(report: Report) -> dict[str, str]:
    """What was judged, so that a result can be traced without the report."""
    found = {"verdict": report.verdict, "task": report.task, "rows": str(report.rows)}
    sides = {"baseline": report.baseline, "candidate": report.candidate, "dataset": report.dataset}
    for name, one in sides.items():
        if not (report.absolute and name == "baseline"):
            found |= {name: one.name or one.made_by, f"{name}.digest": one.digest}
    return found | {f"case.{case.name}.digest": case.digest for case in report.cases}


def _test_case(suite: ET.Element, report: Report, gate: GateResult) -> None:
    name = ".".join(part for part in (report.name, gate.kind, gate.case) if part)
    case = ET.SubElement(suite, "testcase", {"classname": _xml(name), "name": _xml(gate.name)})
    if gate.verdict == "pass":
        ET.SubElement(case, "system-out").text = _xml("\n".join((gate.explanation, *gate.details)))
        return
    tag = "failure" if gate.verdict == "fail" else "error"
    found = ET.SubElement(case, tag, {"type": gate.verdict, "message": _xml(gate.explanation)})
    if gate.details:
        found.text = _xml("\n".join(gate.details))


def _xml(text: str) -> str:
    """Text without the characters that XML 1.0 cannot hold."""
    return _NOT_XML.sub("\ufffd", text)
