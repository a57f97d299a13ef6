"""`ftdeploy monitor`: the command, its times, and what it shows."""

from __future__ import annotations

import json as json_
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ftdeploy.monitor import Monitored

_STYLES = {"drift": "red", "small": "green", "same": "green", "open": "yellow", "none": "green",
           "inconclusive": "yellow"}  # fmt: skip


def monitor(  # noqa: PLR0917  # typer reads them
    bundle: Annotated[Path, typer.Argument(help="The bundle's folder.", show_default=False)],
    traffic: Annotated[
        Path | None, typer.Option(help="Where its service recorded; `traffic` beside the bundle when left out.")
    ] = None,
    since: Annotated[
        str | None, typer.Option(help="Only rows from this time on: 2026-03-01 or 2026-03-01T12:00.")
    ] = None,
    until: Annotated[str | None, typer.Option(help="Only rows before this time; times are UTC.")] = None,
    report: Annotated[
        Path | None, typer.Option(help="The report's folder; `drift` beside the bundle when left out.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout, for programs.")] = False,
) -> None:
    """Hold what a service recorded against what its bundle was made of: what shifted, since when, at which cost.

    Exit codes: 0 no drift was found, 19 drift, 11 too few rows to tell; the report is written in any case.
    """
    from ftdeploy.errors import DriftFound, GateInconclusive
    from ftdeploy.monitor import monitor_bundle

    found = monitor_bundle(bundle, traffic=traffic, since=_seconds(since, "--since"), until=_seconds(until, "--until"),
                           report=report)  # fmt: skip
    if json:
        from ftdeploy.console import print_json
        from ftdeploy.monitor import REPORT

        print_json(json_.loads((found.folder / REPORT).read_text(encoding="utf-8")))
    else:
        _show(found)
    try:
        found.refuse()
    except (DriftFound, GateInconclusive) as error:
        if json:  # the report is on stdout already, and says why
            raise typer.Exit(error.exit_code) from error
        raise


def _seconds(stated: str | None, option: str) -> float | None:
    """Unix seconds of an ISO time; one without a zone is UTC."""
    if stated is None:
        return None
    try:
        found = datetime.fromisoformat(stated)
    except ValueError as error:
        raise typer.BadParameter(f"{stated!r} is no time such as 2026-03-01T12:00", param_hint=option) from error
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def _show(found: Monitored) -> None:
    from ftdeploy.console import show_line
    from ftdeploy.monitor import PAGE

    report = found.report
    for test in report.tests:
        show_line(f"[{_STYLES[test.state]}]{test.state:<5}[/] {{}}: {{}}", test.name, test.explanation)
    if report.accuracy:
        trust = "valid" if report.accuracy.valid else "not valid"
        show_line("estimated accuracy {} ({} to {}), {}: {}", f"{report.accuracy.value:.3f}",
                  f"{report.accuracy.lower:.3f}", f"{report.accuracy.upper:.3f}", trust,
                  report.accuracy.reason)  # fmt: skip
    if report.feedback and not report.measured:
        show_line("accuracy on {} labelled rows {} ({} to {})", f"{report.feedback.rows:,}",
                  f"{report.feedback.value:.3f}", f"{report.feedback.lower:.3f}",
                  f"{report.feedback.upper:.3f}")  # fmt: skip
    for one in report.measured:
        show_line("{} of whole answers on {} labelled rows {} ({} to {})", one.metric, f"{report.measured_rows:,}",
                  f"{one.value:.3f}", f"{one.lower:.3f}", f"{one.upper:.3f}")  # fmt: skip
    show_line(f"\n[{_STYLES[report.verdict]}]{report.verdict}[/]: {{}}\n{{}}", report.summary, found.folder / PAGE)
