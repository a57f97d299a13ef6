"""The command line. Each command has the name of the thing that it does; heavy imports wait until it runs."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ftdeploy.cli_eval import SeparatorOption, eval_app
from ftdeploy.cli_keys import keys_app
from ftdeploy.cli_monitor import monitor
from ftdeploy.cli_registry import registry_app
from ftdeploy.cli_traffic import traffic_app
from ftdeploy.cli_update import update

if TYPE_CHECKING:
    from ftdeploy.errors import FtdeployError
    from ftdeploy.stage import Outcome, Stage

_EPILOG = (
    "Exit codes: 0 done, 2 wrong usage, 3 recipe, 4 source, 5 data, 6 checkpoint, 7 training, 8 export parity, "
    "9 compression, 10 a gate failed, 11 a gate could not decide, 12 artifact changed, 13 folder in use, 14 disk, "
    "15 stage contract, 16 dependency, 17 service, 18 device, 19 drift, 130 interrupted."
)

app = typer.Typer(
    help="From a transformers checkpoint to a measured, gated, monitored HTTP service: one recipe in, one bundle out.",
    epilog=_EPILOG,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

RecipeArgument = Annotated[Path, typer.Argument(help="The recipe, a YAML file.", show_default=False)]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", help="Change a key for this run: section.key=value. Can be repeated.")
]
OutOption = Annotated[Path | None, typer.Option("--out", "-o", help="The run's folder; runs/NAME when left out.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout, for programs.")]

app.add_typer(eval_app, name="eval")
app.add_typer(keys_app, name="keys")
app.add_typer(registry_app, name="registry")
app.add_typer(traffic_app, name="traffic")


@app.command()
def init(  # noqa: PLR0917  # typer reads them
    data: Annotated[Path, typer.Argument(help="Your rows: a CSV, TSV, JSONL or Parquet file.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", "-o", help="Where to write the recipe.")] = Path("recipe.yaml"),
    text: Annotated[str | None, typer.Option(help="The column with the text; guessed when left out.")] = None,
    label: Annotated[str | None, typer.Option(help="The column with the label; guessed when left out.")] = None,
    text_pair: Annotated[str | None, typer.Option(help="The column with a second text, where rows have two.")] = None,
    label_separator: SeparatorOption = None,
    task: Annotated[
        str | None,
        typer.Option(
            help="Of a column of numbers: text-regression estimates them, text-classification takes each for a label; "
            "guessed when left out."
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Write a commented starter recipe for your own data."""
    from ftdeploy.console import called, print_json, show_facts, show_line
    from ftdeploy.starter import write_starter

    made = write_starter(data, out, text=text, label=label, text_pair=text_pair, separator=label_separator, task=task)
    guessed = [role for role, named in (("text", text), ("label", label)) if named is None]
    if json:
        print_json(dataclasses.asdict(made) | {"guessed": guessed})
        return
    show_line("wrote {}", out)
    columns = {"text": made.text, **({"second text": text_pair} if text_pair else {}), "label": made.label}
    hint = {role: f" (guessed; --{role} names another column)" for role in guessed}
    facts = {f"{role} column": column + hint.get(role, "") for role, column in columns.items()}
    told = "{:g} to {:g}".format(*made.numbers) if made.numbers else ", ".join(made.labels)
    show_facts({"task": made.task} | facts | {"rows": made.rows, "numbers" if made.numbers else "labels": told})
    for note in made.notes:
        show_line("[yellow]note:[/] {}", note)
    show_line("check it:\n  {1} check {0}\nrun it:\n  {1} run {0}", shlex.quote(str(out)), called())


@app.command()
def check(recipe: RecipeArgument, set_: SetOption = None, json: JsonOption = False) -> None:
    """Find every error of a recipe before anything runs: keys, sources, checkpoint, and rough cost."""
    from ftdeploy.check import check_recipe
    from ftdeploy.console import ConsoleReporter, print_json, show_facts, show_line
    from ftdeploy.progress import reporting
    from ftdeploy.recipe import load_recipe

    with reporting(ConsoleReporter()):
        found = check_recipe(load_recipe(recipe, overrides=set_ or ()))
    if json:
        print_json(found)
        return
    show_line("[green]{} is valid[/]", recipe)
    show_facts(found)


@app.command()
def preview(
    recipe: RecipeArgument,
    rows: Annotated[int, typer.Option(min=0, help="How many of the first rows to read; 0 reads all.")] = 5000,
    set_: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Show what preparing the data would change, set aside and report, rule by rule; nothing is written."""
    from ftdeploy.console import ConsoleReporter, print_json, show_line
    from ftdeploy.prepare.preview import as_lines
    from ftdeploy.prepare.preview import preview as preview_recipe
    from ftdeploy.progress import reporting
    from ftdeploy.recipe import load_recipe

    with reporting(ConsoleReporter()):
        found = preview_recipe(load_recipe(recipe, overrides=set_ or ()), rows=rows)
    if json:
        print_json(found)
        return
    styles = {"title": "\n[bold]{}[/]", "line": "  {}", "before": "  [red]{}[/]", "after": "  [green]{}[/]"}
    for style, line in as_lines(found):
        show_line(styles[style], line)


@app.command()
def run(
    recipe: RecipeArgument,
    until: Annotated[str | None, typer.Option(help="Stop after this stage.")] = None,
    set_: SetOption = None,
    out: OutOption = None,
    json: JsonOption = False,
) -> None:
    """Run a recipe: prepare, train, export, compress, validate, package. What has not changed is skipped.

    A report with a gate that did not pass ends the run with 10 or 11, also with --until validate.
    """
    from ftdeploy.console import ConsoleReporter, print_json
    from ftdeploy.pipeline import FLOW, PAGE, run_recipe
    from ftdeploy.progress import reporting
    from ftdeploy.recipe import load_recipe

    if until is not None and until not in [stage.name for stage in FLOW]:
        raise typer.BadParameter(f"{until!r} is not one of {', '.join(s.name for s in FLOW)}", param_hint="--until")
    parsed = load_recipe(recipe, overrides=set_ or ())
    folder = out or Path("runs") / parsed.name
    with reporting(ConsoleReporter()):
        artifacts = run_recipe(parsed, folder, until=until, watch=_show_stage)
    document = {kind: _as_json(artifact) for kind, artifact in artifacts.items()}
    refused = _refusal(artifacts)
    if json:
        print_json(document if refused is None else refused.as_dict() | {"artifacts": document})
    else:
        _show_end(artifacts[FLOW[-1].writes if until is None else _written_by(until)], folder / PAGE)
    if refused is not None:
        if json:
            raise typer.Exit(refused.exit_code)
        raise refused


@app.command()
def cross_validate(
    recipe: RecipeArgument,
    folds: Annotated[int | None, typer.Option(min=2, help="How many; the recipe's number when left out.")] = None,
    set_: SetOption = None,
    out: OutOption = None,
    json: JsonOption = False,
) -> None:
    """Train a recipe once for each fold: mean and interval of each metric, and predictions for the rows held out."""
    from ftdeploy.console import ConsoleReporter, print_json, show_facts, show_line
    from ftdeploy.crossvalidate import FOLDER, PAGE
    from ftdeploy.crossvalidate import cross_validate as divide_and_train
    from ftdeploy.progress import reporting
    from ftdeploy.recipe import load_recipe

    overrides = [*(set_ or ()), *([] if folds is None else [f"cross_validation.folds={folds}"])]
    parsed = load_recipe(recipe, overrides=overrides)
    folder = out or Path("runs") / parsed.name
    with reporting(ConsoleReporter()):
        found = divide_and_train(parsed, folder)
    if json:
        print_json(found)
        return
    for name, metric in found["metrics"].items():
        show_line("[bold]{}[/]", name)
        pooled = metric["pooled"]
        show_facts({
            "by fold": " ".join(f"{value:.4f}" for value in metric["folds"]),
            "mean": f"{metric['mean']:.4f}  ({metric['lower']:.4f} to {metric['upper']:.4f})",
            "all rows together": f"{pooled['value']:.4f}  ({pooled['lower']:.4f} to {pooled['upper']:.4f})",
        })  # fmt: skip
    show_line("\n{}", folder / FOLDER / PAGE)


@app.command()
def tune(
    recipe: RecipeArgument,
    trials: Annotated[
        int | None, typer.Option(min=1, help="Settings to try; the recipe's number when left out.")
    ] = None,
    set_: SetOption = None,
    out: OutOption = None,
    json: JsonOption = False,
) -> None:
    """Search better settings for a recipe, on its validation rows, and write them as a new recipe beside it."""
    from ftdeploy.console import ConsoleReporter, called, print_json, show_facts, show_line
    from ftdeploy.progress import reporting
    from ftdeploy.recipe import load_recipe
    from ftdeploy.tune import FOLDER, PAGE
    from ftdeploy.tune import tune as search
    from ftdeploy.tune.space import settings_of

    overrides = [*(set_ or ()), *([] if trials is None else [f"tune.trials={trials}"])]
    folder = out or Path("runs") / load_recipe(recipe, overrides=overrides).name
    with reporting(ConsoleReporter()):
        found = search(recipe, folder, overrides=overrides)
    if json:
        print_json(found)
        return
    for one in found["trials"]:
        mark = "[green]best[/]" if one["trial"] == found["best"]["trial"] else "    "
        value = "" if one["value"] is None else f"{one['value']:.4f}"
        settings = ", ".join(settings_of(one["settings"]))
        show_line(f"{mark} {one['trial']:>4}  {{:<12}} {{:>8}}  {{}}", one["state"], value, settings)
    if found["importance"]:
        show_line("\nimportance of each key for {}", found["metric"])
        show_facts(found["importance"])
    show_line(
        "\n{}\nrun the best settings:\n  {} run {}", folder / FOLDER / PAGE, called(), shlex.quote(found["recipe"])
    )


@app.command()
def serve(  # noqa: PLR0917  # typer reads them
    bundle: Annotated[Path, typer.Argument(help="The bundle's folder.", show_default=False)],
    host: Annotated[
        str, typer.Option(help="Address to listen on; 0.0.0.0 for all of IPv4, :: for all of IPv6.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 3000,
    keys: Annotated[
        Path | None, typer.Option(help="Want a bearer key of this file (`ftdeploy keys`); open when left out.")
    ] = None,
    tls_cert: Annotated[
        Path | None, typer.Option(help="Speak HTTPS: PEM file of the certificate, chain included.")
    ] = None,
    tls_key: Annotated[Path | None, typer.Option(help="PEM file of the certificate's key.")] = None,
    workers: Annotated[
        int | None, typer.Option(min=0, help="Processes that answer; 0 takes one for every eight threads.")
    ] = None,
    shadow: Annotated[
        Path | None, typer.Option(help="Bundle of a challenger, which answers live traffic unheard; see /metrics.")
    ] = None,
    shadow_share: Annotated[
        float | None, typer.Option(min=0, max=1, help="Share of the requests that it answers; all when left out.")
    ] = None,
) -> None:
    """Serve a bundle over HTTP: /predict, KServe v2, health, metrics, and a page at /."""
    from ftdeploy.serve import serve as serve_bundle

    raise typer.Exit(
        serve_bundle(
            bundle,
            host=host,
            port=port,
            keys=keys,
            tls=(tls_cert, tls_key),
            workers=workers,
            shadow=shadow,
            shadow_share=shadow_share,
        )
    )


app.command()(monitor)
app.command()(update)


@app.command()
def show(
    folder: Annotated[Path, typer.Argument(help="A run's folder, or one artifact's.", show_default=False)],
    json: JsonOption = False,
) -> None:
    """Show the facts and the lineage of a run or of one artifact."""
    from ftdeploy.artifact import MANIFEST, open_artifact
    from ftdeploy.console import print_json, show_facts, show_line
    from ftdeploy.run_folder import read_run

    if (folder / MANIFEST).is_file():
        one = open_artifact(folder)
        artifacts = {one.kind: one}
    else:
        artifacts = read_run(folder)
    if json:
        print_json({kind: _as_json(artifact) for kind, artifact in artifacts.items()})
        return
    names = {artifact.digest: kind for kind, artifact in artifacts.items()}
    for kind, artifact in artifacts.items():
        parents = ", ".join(str(names.get(digest, "?")) + " " + digest[:12] for digest in artifact.made_from)
        source = f"  from {parents}" if parents else ""
        show_line("[bold]{}[/] {}  by {}{}", kind, artifact.digest[:12], artifact.made_by, source)
        show_facts(artifact.facts, indent="    ")


@app.command()
def verify(
    folder: Annotated[Path, typer.Argument(help="A run's folder, or one artifact's.", show_default=False)],
    json: JsonOption = False,
) -> None:
    """Check that artifacts are as they were sealed, file by file."""
    from ftdeploy.artifact import MANIFEST, open_artifact
    from ftdeploy.console import print_json, show_line
    from ftdeploy.run_folder import read_run

    found = [open_artifact(folder)] if (folder / MANIFEST).is_file() else list(read_run(folder).values())
    if json:
        print_json({one.kind: {"path": str(one.path), "digest": one.digest, "files": len(one.files)} for one in found})
        return
    for artifact in found:
        show_line("[green]intact[/] {} {} ({} files)", artifact.kind, artifact.digest, len(artifact.files))


@app.command()
def bench(  # noqa: PLR0917  # typer reads them
    candidate: Annotated[Path, typer.Argument(help="A bundle, or an onnx or compressed artifact.", show_default=False)],
    against: Annotated[
        str | None, typer.Option(help="A folder, or contenders with commas between; the onnx artifact beside it.")
    ] = None,
    rounds: Annotated[int, typer.Option(min=3, help="Alternating rounds.")] = 9,
    rows: Annotated[int, typer.Option(min=32, help="Rows in a round.")] = 512,
    margin: Annotated[float, typer.Option(min=0, max=1, help="Drop of a metric that a contender may show.")] = 0.01,
    tune: Annotated[bool, typer.Option("--tune", help="Measure how the bundle's service is best set up here.")] = False,
    json: JsonOption = False,
) -> None:
    """Measure a model against another, side by side in one run: throughput, latency, size.

    Contenders are other ways to run the same fine-tuned model, also compared by their metrics on the test rows: fp32,
    torch, torch-bf16, openvino, openvino-fp32, openvino-int8, openvino-qdq, optimum-int8, inc-tuned, ort-int8.
    """
    from ftdeploy.bench import bench_folders, bench_service
    from ftdeploy.bench.contenders import contenders_in
    from ftdeploy.bench.peers import bench_peers
    from ftdeploy.console import ConsoleReporter, print_json, show_line
    from ftdeploy.progress import reporting

    try:
        names = contenders_in(against or "")
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--against") from error
    if tune and against is not None:
        raise typer.BadParameter("it measures the bundle's service alone, and --against is given", param_hint="--tune")
    with reporting(ConsoleReporter()):
        if tune:
            found = bench_service(candidate)
        elif names:
            found = bench_peers(candidate, names, rounds=rounds, rows=rows, margin=margin)
        else:
            found = bench_folders(candidate, None if against is None else Path(against), rounds=rounds, rows=rows)
    if json:
        print_json(found)
        return
    for line in found["table"]:
        show_line("{}", line)


@app.command()
def doctor(json: JsonOption = False) -> None:
    """Say what this machine and this installation have: versions, processor, providers, GPU, known traps."""
    from ftdeploy.console import out, print_json, show_facts
    from ftdeploy.doctor import examine

    found = examine()
    if json:
        print_json(found)
        return
    for title, facts in found.items():
        out.print(f"[bold]{title}[/]")
        show_facts(facts)


@app.command()
def schema(
    what: Annotated[str, typer.Argument(help="recipe, suite, report or monitor.")] = "recipe",
    markdown: Annotated[bool, typer.Option("--markdown", help="A reference for people instead.")] = False,
) -> None:
    """Print the JSON Schema of a recipe, with the meaning of every key; editors complete and check from it."""
    from ftdeploy.console import print_json
    from ftdeploy.monitor.result import monitor_schema
    from ftdeploy.recipe import recipe_schema
    from ftdeploy.reference import as_markdown
    from ftdeploy.suite import suite_schema
    from ftdeploy.verdict import report_schema

    schemas = {"recipe": recipe_schema, "suite": suite_schema, "report": report_schema,
               "monitor": monitor_schema}  # fmt: skip
    if what not in schemas:
        raise typer.BadParameter(f"{what!r} is not one of {', '.join(schemas)}", param_hint="WHAT")
    found = schemas[what]()
    if markdown:
        typer.echo(as_markdown(found), nl=False)
    else:
        print_json(found)


def _show_stage(stage: Stage, outcome: Outcome | None, seconds: float) -> None:
    from rich.markup import escape

    from ftdeploy.console import err

    if outcome is None:
        err.print(f"[bold]{stage.name}[/]")
    elif outcome.skipped:
        err.print(f"  skipping {stage.name}: nothing changed ({outcome.artifact.digest[:12]})")
    else:
        place = escape(str(outcome.artifact.path))
        err.print(f"  {stage.name} wrote {place} ({outcome.artifact.digest[:12]}) in {seconds:.1f} s")


def _refusal(artifacts: Mapping[Any, Any]) -> FtdeployError | None:
    """Why the run's report would not become a bundle; None without a report, or when every gate passed."""
    from ftdeploy.errors import GateFailed, GateInconclusive
    from ftdeploy.verdict import refuse

    try:
        if "report" in artifacts:
            refuse(artifacts["report"])
    except (GateFailed, GateInconclusive) as error:
        return error
    return None


def _show_end(artifact: Any, page: Path) -> None:
    from ftdeploy.console import called, show_facts, show_line

    show_line("\n[bold]{}[/] {}", artifact.kind, artifact.path)
    show_facts({"digest": artifact.digest, **artifact.facts})
    show_line("\nthe run on one page:\n  {}", page)
    if artifact.kind == "bundle":
        show_line("\nserve it:\n  {} serve {}", called(), shlex.quote(str(artifact.path)))


def _written_by(name: str) -> Any:
    from ftdeploy.pipeline import FLOW

    return next(stage.writes for stage in FLOW if stage.name == name)


def _as_json(artifact: Any) -> dict[str, Any]:
    return {
        "path": str(artifact.path),
        "digest": artifact.digest,
        "made_by": artifact.made_by,
        "made_from": list(artifact.made_from),
        "facts": dict(artifact.facts),
        "settings": dict(artifact.settings),
    }
