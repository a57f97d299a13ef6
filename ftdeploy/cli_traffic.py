"""`ftdeploy traffic`: what a service has recorded."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

traffic_app = typer.Typer(
    help="What a service has recorded: ls, export, delete. Encrypted files want FTDEPLOY_TRAFFIC_KEY or _KEY_FILE.",
    no_args_is_help=True,
    add_completion=False,
)

FolderArgument = Annotated[
    Path, typer.Argument(help="The folder; `traffic` beside the bundle, or FTDEPLOY_TRAFFIC.", show_default=False)
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout, for programs.")]


@traffic_app.command("ls")
def list_(folder: FolderArgument, json: JsonOption = False) -> None:
    """List the files: kind, rows, bytes, begun, sealed or still written, encrypted."""
    from ftdeploy.console import print_json, show_line, show_table
    from ftdeploy.serve.encryption import read_key
    from ftdeploy.traffic import list_traffic

    found = list_traffic(folder, key=read_key())
    if json:
        print_json([dataclasses.asdict(one) | {"begun": one.begun.isoformat()} for one in found])
        return
    if not found:
        show_line("{} holds no traffic", folder)
        return
    table = []
    for one in found:
        state = ("sealed" if one.sealed else "open") + (", encrypted" if one.encrypted else "")
        rows = "no key" if one.rows is None else str(one.rows)
        table.append((one.name, rows, str(one.bytes), f"{one.begun:%Y-%m-%d %H:%M:%S}", state))
    show_table(("file", "rows", "bytes", "begun", "state"), table)


@traffic_app.command()
def export(
    folder: FolderArgument,
    out: Annotated[Path, typer.Option("--out", "-o", help="JSON lines, or CSV when it ends so.", show_default=False)],
    json: JsonOption = False,
) -> None:
    """Write all rows with their true labels into one file, decrypted."""
    from ftdeploy.console import print_json, show_line
    from ftdeploy.traffic import export_traffic

    rows = export_traffic(folder, out)
    if json:
        print_json({"out": str(out), "rows": rows})
    else:
        show_line("{} rows in {}", rows, out)


@traffic_app.command()
def delete(
    folder: FolderArgument,
    request_id: Annotated[list[str] | None, typer.Option(help="The X-Request-Id of an answer. Repeatable.")] = None,
    subject_id: Annotated[list[str] | None, typer.Option(help="The X-Subject-Id of questions. Repeatable.")] = None,
    json: JsonOption = False,
) -> None:
    """Delete what was recorded under ids until now, true labels with it, in sealed files and in a running service's."""
    from ftdeploy.console import print_json, show_line
    from ftdeploy.traffic import delete_traffic

    if not request_id and not subject_id:
        raise typer.BadParameter("say what to delete", param_hint="--request-id / --subject-id")
    done = delete_traffic(folder, requests=request_id or [], subjects=subject_id or [])
    if json:
        print_json(dataclasses.asdict(done))
        return
    show_line("{} rows deleted from sealed files", done.rows)
    if done.sealed:
        show_line("{} open files were sealed by their services, without what had to go", done.sealed)
    for name in done.pending:
        show_line("{} is still open; its writer leaves out what has to go when it seals it", name)
