"""`ftdeploy update`: the command, and what it shows."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from ftdeploy.stage import Outcome, Stage
    from ftdeploy.update import Updated


def update(  # noqa: PLR0917  # typer reads them
    registry: Annotated[Path, typer.Argument(help="The folder REGISTRY/NAME.", show_default=False)],
    data: Annotated[
        list[Path] | None,
        typer.Option(help="New labelled rows, with the columns of the champion's recipe. Repeatable."),
    ] = None,
    traffic: Annotated[
        Path | None,
        typer.Option(
            help="What a service recorded, with texts: its feedback is learned from. With --auto and without --data, "
            "`traffic` beside the champion's bundle when left out."
        ),
    ] = None,
    auto: Annotated[
        bool,
        typer.Option("--auto", help="For cron: without --data only after drift; promote a challenger that passes."),
    ] = False,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Change a key of the champion's recipe: section.key=value.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout, for programs.")] = False,
) -> None:
    """Make a challenger of the champion and new labelled rows; it must be better on new rows, no worse on old ones.

    Killed at any point, the same command goes on; done before, it says so. Exit codes: 0 passed or nothing to do, 10 a
    gate failed, 11 a gate could not decide, 5 too few labelled rows (with --auto: 19, there is drift, too).
    """
    if not (data or traffic or auto):
        raise typer.BadParameter("what is to be learned from? (or --auto)", param_hint="--data / --traffic")
    from ftdeploy.console import ConsoleReporter, called, show_line
    from ftdeploy.errors import GateFailed, GateInconclusive
    from ftdeploy.progress import reporting
    from ftdeploy.update import update as by_hand
    from ftdeploy.update.auto import update_by_itself

    with reporting(ConsoleReporter()):
        do = update_by_itself if auto else by_hand
        found = do(registry, files=data or (), traffic=traffic, overrides=set_ or (), watch=_show_stage)
    if json:
        _print(found)
    else:
        _show(found)
        if found.outcome is not None and found.outcome.verdict == "pass" and not found.promoted:
            place = shlex.quote(str(registry))
            show_line("make it the champion:\n  {} registry promote {} {}", called(), place, found.outcome.version)
    try:
        found.refuse()
    except (GateFailed, GateInconclusive) as error:
        if json:  # the gates are on stdout already
            raise typer.Exit(error.exit_code) from error
        raise


def _print(found: Updated) -> None:
    from ftdeploy.console import print_json

    outcome: dict[str, Any] | None = None if found.outcome is None else found.outcome.model_dump(mode="json")
    print_json({
        "verdict": None if found.outcome is None else found.outcome.verdict,
        "champion": found.champion,
        "promoted": found.promoted,
        "repeated": found.repeated,
        "said": found.said,
        "report": None if found.report is None else str(found.report),
        "outcome": outcome,
    })  # fmt: skip


def _show(found: Updated) -> None:
    from ftdeploy.console import show_line

    styles = {"pass": "green", "fail": "red", "inconclusive": "yellow"}
    for name, verdict in (found.outcome.gates if found.outcome else {}).items():
        show_line(f"[{styles[verdict]}]{verdict:<12}[/] {{}}", name)
    if found.report is not None:
        show_line("{}", found.report / "report.html")
    show_line("{}", found.said)


def _show_stage(stage: Stage, outcome: Outcome | None, seconds: float) -> None:
    from ftdeploy.console import err

    if outcome is None:
        err.print(f"[bold]{stage.name}[/]")
    else:
        err.print(f"    {'nothing changed' if outcome.skipped else f'done in {seconds:.1f} s'}")
