"""`ftdeploy eval`: the command itself with a suite, and the words `init` and `history` beside it."""

from __future__ import annotations

import dataclasses
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

if TYPE_CHECKING:
    from ftdeploy.evaluation.cases import Rows
    from ftdeploy.suite import Suite
    from ftdeploy.verdict import Report

_STYLES = {"pass": "green", "fail": "red", "inconclusive": "yellow"}
_DEVICES = ("auto", "cpu", "cuda")
_SUITE = "A YAML file, the name of a suite of --list, or a Python file with an evaluate.EvaluationSuite."
_CANDIDATE = (
    "What is judged: a bundle, a model folder, a checkpoint, a name on the hub, or the http:// address of a service."
)


class SuiteGroup(TyperGroup):
    """A command with an argument of its own and words beside it: what is none of the words is the argument."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put an empty argument in front of a word; else let options stand on both sides of the argument."""
        if args and args[0] in self.commands:
            return super().parse_args(ctx, ["", *args])
        ctx.allow_interspersed_args = True
        return super().parse_args(ctx, args)

    def get_params(self, ctx: Any) -> list[Any]:
        """The parameters; the usage of a word is shown without the argument, which does not stand before it."""
        found = super().get_params(ctx)
        return found if ctx.command is self else [one for one in found if one.param_type_name != "argument"]


eval_app = typer.Typer(
    cls=SuiteGroup,
    invoke_without_command=True,
    subcommand_metavar="| init DATA | history FOLDER",
    add_completion=False,
    epilog="Exit codes: 0 every gate passed, or none was asked, 10 a gate failed, 11 a gate could not decide; the "
    "report is written in any case. `ftdeploy --help` lists the others.",
)

JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout, for programs.")]


def _separator(given: str | None) -> str | None:
    from ftdeploy.origin import SEPARATOR_CHARS

    if given is not None and not 1 <= len(given) <= SEPARATOR_CHARS:
        raise typer.BadParameter(f"1 to {SEPARATOR_CHARS} characters are wanted")
    return given


SeparatorOption = Annotated[
    str | None,
    typer.Option(callback=_separator, help="What stands between labels, where a cell holds any number of them."),
]


@eval_app.callback()
def evaluate(  # noqa: PLR0917  # typer reads them
    ctx: typer.Context,
    suite: Annotated[str, typer.Argument(help=_SUITE, show_default=False, metavar="SUITE")] = "",
    candidate: Annotated[str | None, typer.Option(help=_CANDIDATE)] = None,
    baseline: Annotated[
        str | None,
        typer.Option(help="What it is held against, likewise; the fp32 export of the same run when left out."),
    ] = None,
    absolute: Annotated[bool, typer.Option("--absolute", help="Judge it alone, without a baseline.")] = False,
    report: Annotated[
        Path | None, typer.Option(help="The report's folder; reports/SUITE-DIGEST-TIME when left out.")
    ] = None,
    device: Annotated[str, typer.Option(help="Where models run: auto, cpu or cuda.")] = "auto",
    refresh: Annotated[
        bool, typer.Option("--refresh", help="Read the rows and ask the models anew, whatever the cache holds.")
    ] = False,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Change a key of the suite for this run: a.b=value. Repeatable.")
    ] = None,
    list_: Annotated[bool, typer.Option("--list", help="List the suites that can be named.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show rows, gates and what the rows can decide; run no model.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Judge a model by a suite: any model, against another or alone, on rows of your own; with a report."""
    if ctx.invoked_subcommand is not None:
        return
    if list_:
        _show_list(json=json)
        return
    if not suite:
        raise typer.BadParameter("a suite is wanted; --list shows those there are", param_hint="SUITE")
    if device not in _DEVICES:
        raise typer.BadParameter(f"{device!r} is not one of {', '.join(_DEVICES)}", param_hint="--device")
    if absolute and baseline is not None:
        raise typer.BadParameter("it judges the candidate alone, and --baseline is given", param_hint="--absolute")
    if candidate is None and not dry_run:
        raise typer.BadParameter("what is to be judged? (--dry-run runs no model)", param_hint="--candidate")
    from ftdeploy.console import ConsoleReporter
    from ftdeploy.progress import reporting

    with reporting(ConsoleReporter()):
        read, rows = _read(suite, set_ or [], baseline=baseline is not None)
        if dry_run:
            _show_plan(read, rows, candidate=candidate, baseline=baseline, refresh=refresh, json=json)
            return
        from ftdeploy.evaluation import evaluate_suite

        found = evaluate_suite(read, candidate=str(candidate), baseline=baseline, absolute=absolute, rows=rows,
                               report=report, device=device, refresh=refresh)  # fmt: skip
    if json:
        _print_report(found.folder)
    else:
        _show_report(found.report, found.folder)
    _end(found, json=json)


@eval_app.command()
def init(  # noqa: PLR0917  # typer reads them
    data: Annotated[Path, typer.Argument(help="Your rows: a CSV, TSV, JSONL or Parquet file.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", "-o", help="Where to write the suite.")] = Path("suite.yaml"),
    text: Annotated[str | None, typer.Option(help="The column with the text; guessed when left out.")] = None,
    label: Annotated[str | None, typer.Option(help="The column with the label; guessed when left out.")] = None,
    text_pair: Annotated[str | None, typer.Option(help="The column with a second text, where rows have two.")] = None,
    label_separator: SeparatorOption = None,
    json: JsonOption = False,
) -> None:
    """Write a commented suite for your own rows, with margins that so many rows can support."""
    from ftdeploy.console import ConsoleReporter, called, print_json, show_facts, show_line
    from ftdeploy.evaluation.starter import write_suite
    from ftdeploy.progress import reporting

    with reporting(ConsoleReporter()):
        made = write_suite(data, out, text=text, label=label, text_pair=text_pair, separator=label_separator)
    if json:
        print_json(dataclasses.asdict(made))
        return
    show_line("wrote {}", out)
    show_facts({
        "task": made.task,
        "text column": made.text + ("" if text else " (guessed; --text names another column)"),
        "label column": made.label + ("" if label else " (guessed; --label names another column)"),
        "rows": made.rows,
        "labels": ", ".join(f"{name} {count:,}" for name, count in made.labels.items()),
        "margin": made.margin,
    })  # fmt: skip
    for note in made.notes:
        show_line("[yellow]note:[/] {}", note)
    command = f"{called()} eval {shlex.quote(str(out))}"
    show_line("look at it:\n  {0} --dry-run\njudge a model:\n  {0} --candidate MODEL --baseline MODEL", command)


@eval_app.command()
def history(
    folder: Annotated[Path, typer.Argument(help="A folder of reports, such as reports.", show_default=False)],
    json: JsonOption = False,
) -> None:
    """Write a page of all reports below a folder: how metrics and verdicts went over time."""
    from ftdeploy.console import print_json, show_line
    from ftdeploy.errors import StorageError
    from ftdeploy.validate.history import write_history

    try:
        page = write_history(folder)
    except OSError as error:
        raise StorageError(
            f"the page cannot be written into {folder}: {error.strerror or error}",
            cause="no permission, or a full or read-only disk",
            fix="free space, or copy the reports to a folder that you may write",
        ) from error
    if json:
        print_json({"page": str(page)})
        return
    show_line("{}", page)


def _read(suite: str, overrides: list[str], *, baseline: bool) -> tuple[Suite, Rows | None]:
    """The suite; and its rows, where it is one of `evaluate`, which brings its own."""
    from ftdeploy.evaluation.listing import find_suite, read_suite

    path = find_suite(suite)
    if path.suffix != ".py":
        return read_suite(path, overrides=overrides), None
    if overrides:
        raise typer.BadParameter("a Python suite has no keys to change", param_hint="--set")
    from ftdeploy.evaluation.hf import read_evaluate_suite

    return read_evaluate_suite(path, gated=baseline)


def _show_list(*, json: bool) -> None:
    from ftdeploy.console import print_json, show_line
    from ftdeploy.evaluation.listing import list_suites

    found = list_suites()
    if json:
        print_json([dataclasses.asdict(one) for one in found])
        return
    width = max((len(one.name) for one in found), default=0)
    for one in found:
        golden = f", {one.golden} golden rows" if one.golden else ""
        cases = f"{', '.join(one.cases) or 'the test rows of a run'}; {one.gates} gates{golden}"
        show_line("[bold]{}[/]  {}\n" + " " * (width + 2) + "{}", f"{one.name:<{width}}", one.note or cases, one.path)


def _show_plan(suite: Suite, rows: Rows | None, *, candidate: str | None, baseline: str | None, refresh: bool,
               json: bool) -> None:  # fmt: skip
    from ftdeploy.console import print_json, show_facts, show_line
    from ftdeploy.evaluation import rows_for
    from ftdeploy.evaluation.plan import plan

    found = plan(suite, rows or rows_for(suite, candidate=candidate, baseline=baseline, refresh=refresh))
    if json:
        print_json(found)
        return
    show_line("[bold]{}[/]  {} rows, {} gates, {} golden rows", found["suite"], f"{found['rows']:,}",
              len(found["gates"]), found["golden"])  # fmt: skip
    for case in found["cases"]:
        show_line("\n[bold]case {}[/]", case["name"])
        labels = ", ".join(f"{label} {count:,}" for label, count in case["labels"].items())
        facts = {"rows": case["rows"], "labels": labels, "digest": case["digest"], "source": case["source"]}
        show_facts(facts | ({"licence": case["licence"]} if case["licence"] else {}))
    show_line("\ncut by {}\n", ", ".join(found["slices"]))
    for gate in found["gates"]:
        style = "yellow" if gate["enough"] is False else "bold"
        against = "against a baseline" if gate["baseline"] else "alone"
        show_line(f"[{style}]{{}}[/]  {{}}\n    {{}}", gate["gate"], against, gate["decides"])
    for note in found["notes"]:
        show_line("[yellow]note:[/] {}", note)


def _show_report(report: Report, folder: Path) -> None:
    """The verdict of each gate, the metrics, and where the report is."""
    from ftdeploy.console import show_line

    for gate in report.gates:
        case = f" ({gate.case})" if gate.case else ""
        show_line(f"[{_STYLES[gate.verdict]}]{gate.verdict}[/]: {{}}{{}}. {{}}", gate.name, case, gate.explanation)
    width = max((len(result.metric) for result in report.metrics), default=0)
    heads = ("candidate",) if report.absolute else ("baseline", "candidate", "difference")
    show_line("\n[bold]{}[/]", f"{'metric':<{width}}  " + "  ".join(f"{head:>26}" for head in heads))
    for result in report.metrics:
        cells = [getattr(result, head) for head in heads]
        told = (f"{cell.value:>8.4f} ({cell.lower:.4f} to {cell.upper:.4f})" for cell in cells)
        show_line("{}", f"{result.metric:<{width}}  " + "  ".join(f"{cell:>26}" for cell in told))
    if not report.absolute:
        show_line("{} rows went from right to wrong, {} from wrong to right", f"{report.right_to_wrong:,}",
                  f"{report.wrong_to_right:,}")  # fmt: skip
    if not report.gates:
        show_line("no gate was asked: this is a measurement, and no verdict")
    show_line("\n[bold]{}[/] on {} rows; the report:\n  {}", report.verdict, f"{report.rows:,}", folder / "report.html")


def _print_report(folder: Path) -> None:
    import json

    from ftdeploy.console import print_json

    print_json(json.loads((folder / "report.json").read_text(encoding="utf-8")))


def _end(found: Any, *, json: bool) -> None:
    from ftdeploy.errors import GateFailed, GateInconclusive

    try:
        found.refuse()
    except (GateFailed, GateInconclusive) as error:
        if json:  # the report is on stdout already, and says why
            raise typer.Exit(error.exit_code) from error
        raise
