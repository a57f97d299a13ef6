"""`ftdeploy keys`: the bearer keys of a service."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from ftdeploy.serve.keys import Key

_FILE = "The keys file, which `ftdeploy serve --keys` and FTDEPLOY_KEYS name."

keys_app = typer.Typer(
    help="The bearer keys of a service: add, ls, revoke. Running services take a change within two seconds.",
    no_args_is_help=True,
    add_completion=False,
)

FileOption = Annotated[Path, typer.Option("--file", "-f", help=_FILE, envvar="FTDEPLOY_KEYS", show_default=False)]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout, for programs.")]


@keys_app.command()
def add(
    name: Annotated[str, typer.Argument(help="Whose key it is; stands in lists and logs.", show_default=False)],
    file: FileOption,
    scope: Annotated[
        list[str] | None,
        typer.Option(help="predict, feedback or admin (metrics). Repeatable; predict when left out."),
    ] = None,
    expires: Annotated[
        str | None, typer.Option(help="After a span such as 90d (h, d, w), or at a date; never when left out.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Make a key and print it on stdout: this once, as the file keeps its hash only."""
    from ftdeploy.console import err, print_json
    from ftdeploy.keys import add_key

    made = add_key(file, name, scope or ["predict"], expires=expires)
    if json:
        print_json(_facts(made.key) | {"file": str(file), "key": made.secret})
        return
    err.print("the key is shown this once; send it as `Authorization: Bearer KEY`")
    typer.echo(made.secret)


@keys_app.command("ls")
def list_(file: FileOption, json: JsonOption = False) -> None:
    """List the keys: scopes, age, expiry, last use. Never their secrets, which nobody has."""
    from ftdeploy.console import print_json, show_line, show_table
    from ftdeploy.keys import list_keys

    found = list_keys(file)
    if json:
        print_json(
            [
                _facts(one.key) | {"expired": one.expired, "last_used": one.used and one.used.isoformat()}
                for one in found
            ]
        )
        return
    if not found:
        show_line("{} has no keys: every request that wants one is refused", file)
        return
    rows = []
    for one in found:
        key = one.key
        until = "never" if key.expires is None else f"{key.expires:%Y-%m-%d %H:%M}"
        used = "never" if one.used is None else f"{one.used:%Y-%m-%d %H:%M:%S}"
        expires = f"{until} (expired)" if one.expired else until
        rows.append((key.name, key.id, ", ".join(key.scopes), f"{key.created:%Y-%m-%d}", expires, used))
    show_table(("name", "id", "scopes", "created", "expires", "last used"), rows)


@keys_app.command()
def revoke(
    name: Annotated[str, typer.Argument(help="The key's name or id.", show_default=False)],
    file: FileOption,
    json: JsonOption = False,
) -> None:
    """Take a key out of the file: it is refused from then on."""
    from ftdeploy.console import print_json, show_line
    from ftdeploy.keys import revoke_key

    gone = revoke_key(file, name)
    if json:
        print_json(_facts(gone) | {"file": str(file)})
        return
    show_line("revoked {} ({}); running services refuse it within two seconds", gone.name, gone.id)


def _facts(key: Key) -> dict[str, Any]:
    return {
        "name": key.name,
        "id": key.id,
        "scopes": list(key.scopes),
        "created": key.created.isoformat(),
        "expires": None if key.expires is None else key.expires.isoformat(),
    }
