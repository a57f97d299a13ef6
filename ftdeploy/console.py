"""What people see: progress bars on a terminal, plain lines elsewhere. Only the command line uses this."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.markup import escape

from ftdeploy.errors import ConfigError, FtdeployError
from ftdeploy.progress import Advance

# Progress and messages go to stderr, results to stdout, so that `--json` can be piped.
# Texts are shown as they are: no colours for numbers, no pictures for :words:.
err = Console(stderr=True, highlight=False, emoji=False, soft_wrap=True)
out = Console(highlight=False, emoji=False, soft_wrap=True)


class ConsoleReporter:
    """A `progress.Reporter` for people."""

    @contextmanager
    def task(self, name: str, total: float | None) -> Iterator[Advance]:
        """A bar on a terminal; silent elsewhere, where `say` and the stage lines tell enough."""
        if not err.is_terminal:
            yield lambda _steps: None
            return
        from rich import progress as rich

        shown = (rich.TextColumn("  {task.description}", markup=False), rich.BarColumn(), rich.MofNCompleteColumn())
        with rich.Progress(
            rich.SpinnerColumn(), *shown, rich.TimeRemainingColumn(), console=err, transient=True
        ) as bars:
            bar = bars.add_task(name, total=total)

            def advance(steps: float) -> None:
                bars.advance(bar, steps)

            yield advance

    def say(self, message: str) -> None:
        """One indented line."""
        err.print(f"    {escape(message)}")


def show_error(error: FtdeployError, *, as_json: bool) -> None:
    """The three parts of an error on stderr; as JSON on stdout when a program reads."""
    if as_json:
        print_json(error.as_dict())
        return
    err.print(f"[bold red]{error.title}[/] (exit code {error.exit_code})")
    err.print(f"  [bold]what:[/]  {escape(error.what)}")
    for problem in error.problems if isinstance(error, ConfigError) else ():
        err.print(f"           {escape(str(problem))}")
    err.print(f"  [bold]cause:[/] {escape(error.cause)}")
    err.print(f"  [bold]fix:[/]   {escape(error.fix)}")


def print_json(document: Any) -> None:
    """A document on stdout, for programs."""
    sys.stdout.write(json.dumps(document, indent=1, ensure_ascii=False, default=str) + "\n")


def show_line(message: str, *values: object) -> None:
    """A line on stdout; each ``{}`` in it takes a path or other text as it is, brackets and all."""
    out.print(message.format(*(escape(str(value)) for value in values)))


def show_facts(facts: Mapping[str, Any], *, indent: str = "  ") -> None:
    """Facts, one a line, aligned."""
    width = max((len(name) for name in facts), default=0)
    for name, value in facts.items():
        out.print(f"{indent}{escape(f'{name:<{width}}')}  {escape(number(value))}")


def show_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows to stdout in columns as wide as they must be; what looks like markup in them is shown as it is."""
    table = [head, *rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        out.print("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip(), markup=False)


def number(value: object) -> str:
    """A value as a person reads it: four digits of a fraction, thousands apart, small numbers by their power."""
    if isinstance(value, bool) or value is None:
        return "null" if value is None else str(value).lower()
    if isinstance(value, float):
        if 0 < abs(value) < 0.001:  # noqa: PLR2004
            return f"{value:.1e}"
        return f"{value:.4f}" if abs(value) < 100 else f"{value:,.0f}"  # noqa: PLR2004
    if isinstance(value, int):
        return f"{value:,}"
    return str(value)


def called() -> str:
    """How the user can call ftdeploy again: by name where that is found, else as it was called this time."""
    if sys.argv[0].endswith("__main__.py"):
        return "python -m ftdeploy"
    return "ftdeploy" if shutil.which("ftdeploy") else sys.argv[0]
