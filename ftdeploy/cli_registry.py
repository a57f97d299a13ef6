"""`ftdeploy registry`: the versions of a service, and which of them is the champion."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from ftdeploy.registry import Registry
    from ftdeploy.registry.shadow_report import Shadowed

#: Pairs of labels that people see; programs see all.
_SHOWN_FLIPS = 20

registry_app = typer.Typer(
    help="The versions of a service: add, ls, promote, rollback, shadow, prune, history. "
    "`ftdeploy serve REGISTRY/NAME/champion/bundle` follows the champion.",
    no_args_is_help=True,
    add_completion=False,
)

RootArgument = Annotated[Path, typer.Argument(help="The folder REGISTRY/NAME.", show_default=False)]
VersionArgument = Annotated[
    str, typer.Argument(help="Of `ls`; its first four digits are enough where they are no other's.", show_default=False)
]
WhyOption = Annotated[str, typer.Option(help="For the history.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout, for programs.")]


@registry_app.command()
def add(
    run: Annotated[Path, typer.Argument(help="The folder of a finished run.", show_default=False)],
    root: RootArgument,
    recipe: Annotated[
        Path | None, typer.Option(help="The recipe that it was run with; `ftdeploy update` goes on from it.")
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="As it was given to `run`: section.key=value. Can be repeated.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Copy a finished run into the registry, which is made where there is none. It is not the champion by that."""
    from ftdeploy.console import called, print_json, show_line
    from ftdeploy.recipe import as_text, load_recipe
    from ftdeploy.registry import RECIPE, Registry

    registry = Registry(root)
    text = None if recipe is None else as_text(load_recipe(recipe.absolute(), overrides=set_ or ()))
    known = registry.versions()
    version = registry.enter(run, text)
    if json:
        print_json({"version": version, "path": str(registry.folder(version))})
        return
    show_line("{} was entered before" if version in known else "entered {}", version)
    if text is not None and (registry.folder(version) / RECIPE).read_text(encoding="utf-8") != text:
        show_line("it keeps the recipe that it was entered with, which is another one")
    if registry.champion() is None:
        show_line("make it the champion:\n  {} registry promote {} {}", called(), root, version)


@registry_app.command("ls")
def list_(root: RootArgument, json: JsonOption = False) -> None:
    """List the versions, oldest first: name, when it came, what it holds, and which is champion or shadow."""
    from ftdeploy.console import print_json, show_line, show_table
    from ftdeploy.registry import Registry

    registry = Registry(root)
    registry.require()
    found = _versions(registry)
    if json:
        print_json(found)
        return
    if not found:
        show_line("{} has no versions", root)
        return
    show_table(
        ("version", "model", "entered", "holds", ""),
        [(one["version"], one["name"], _time(one["entered"]), " ".join(one["holds"]), one["is"]) for one in found],
    )


@registry_app.command()
def promote(root: RootArgument, version: VersionArgument, why: WhyOption = "by hand", json: JsonOption = False) -> None:
    """Make a version the champion, in one step; services that follow the pointer lose no request."""
    from ftdeploy.registry import Registry

    registry = Registry(root)
    before = registry.champion()
    registry.promote(version, why=why)
    _show_change(registry, before, json=json)


@registry_app.command()
def rollback(root: RootArgument, why: WhyOption = "by hand", json: JsonOption = False) -> None:
    """Make the champion before this one the champion again; once more leads to the one before that."""
    from ftdeploy.registry import Registry

    registry = Registry(root)
    before = registry.champion()
    registry.rollback(why=why)
    _show_change(registry, before, json=json)


@registry_app.command()
def shadow(
    root: RootArgument,
    version: Annotated[
        str | None, typer.Argument(help="The challenger from now on; without it, what there is.", show_default=False)
    ] = None,
    off: Annotated[bool, typer.Option("--off", help="No challenger any more.")] = False,
    why: WhyOption = "by hand",
    json: JsonOption = False,
) -> None:
    """Have a version answer live traffic unheard beside the champion, and show where it would have answered otherwise.

    Services that serve REGISTRY/NAME/champion/bundle follow within a second.
    """
    from ftdeploy.console import print_json, show_line
    from ftdeploy.registry import Registry
    from ftdeploy.registry.shadow_report import read_shadow

    if off and version is not None:
        raise typer.BadParameter("name a version, or --off", param_hint="--off")
    registry = Registry(root)
    registry.require()
    before = registry.shadow()
    if off or version is not None:
        registry.challenge(version, why=why)
    now = registry.shadow()
    shown = now or before
    comparisons = read_shadow(shown) if shown else ()
    if json:
        document = {"shadow": now.name if now else None, "shown": shown.name if shown else None}
        print_json(document | {"comparisons": [one.as_dict() for one in comparisons]})
        return
    show_line("{} is the challenger" if now else "there is no challenger", now.name if now else "")
    if shown and not comparisons:
        show_line("{} has answered nothing yet that was written down (every ten seconds)", shown.name)
    for one in comparisons:
        _show_comparison(shown.name if shown else "", one)


@registry_app.command()
def prune(
    root: RootArgument,
    keep: Annotated[int, typer.Option(min=0, help="So many of the newest versions stay.")] = 5,
    why: WhyOption = "by hand",
    json: JsonOption = False,
) -> None:
    """Delete the oldest versions. The champion, the one that `rollback` leads to and the challenger always stay."""
    from ftdeploy.console import print_json, show_line
    from ftdeploy.registry import Registry

    gone = Registry(root).prune(keep, why=why)
    if json:
        print_json({"removed": list(gone)})
        return
    show_line("removed {}", ", ".join(gone) or "nothing")


@registry_app.command()
def history(root: RootArgument, json: JsonOption = False) -> None:
    """Show what was done, when and why, oldest first."""
    from ftdeploy.console import print_json, show_line, show_table
    from ftdeploy.registry import Registry

    registry = Registry(root)
    registry.require()
    events = registry.history()
    if json:
        print_json([event.as_dict() for event in events])
        return
    if not events:
        show_line("nothing was done in {}", root)
        return
    rows = [
        (_time(event.time.isoformat()), event.action, event.digest, event.before or "", " ".join(event.why.split()))
        for event in events
    ]
    show_table(("time (UTC)", "action", "version", "before", "why"), rows)


def _show_comparison(challenger: str, one: Shadowed) -> None:
    from ftdeploy.console import show_facts, show_line

    show_line("\n{} beside champion {}", challenger, one.champion)
    ends = f"{one.agreement:.4f}  ({one.lower:.4f} to {one.upper:.4f})"
    given, found = one.confidence
    means = f"champion {given:.4f}, challenger {found:.4f}, apart {one.apart:.4f}"
    flips = {f"{before} -> {after}": texts for before, after, texts in one.flips[:_SHOWN_FLIPS]}
    show_facts({"texts": one.texts, "agreement": ends, "confidence": means} | flips)


def _versions(registry: Registry) -> list[dict[str, Any]]:
    from ftdeploy.artifact import LAYOUT
    from ftdeploy.serve.generation import signature_of

    entered = {event.digest: event.time.isoformat() for event in registry.history() if event.action == "enter"}
    pointers = {"champion": registry.champion(), "shadow": registry.shadow()}
    found = []
    for name in registry.versions():
        folder = registry.folder(name)
        found.append({
            "version": name,
            "name": signature_of(folder / "bundle").get("name"),
            "entered": entered.get(name),
            "holds": [kind for kind in LAYOUT if (folder / kind).is_dir()],
            "is": " ".join(role for role, target in pointers.items() if target == folder),
            "path": str(folder),
        })  # fmt: skip
    return found


def _show_change(registry: Registry, before: Path | None, *, json: bool) -> None:
    from ftdeploy.console import print_json, show_line

    now = registry.champion()
    names = {"champion": now.name if now else None, "before": before.name if before else None}
    if json:
        print_json(names)
    elif names["champion"] == names["before"]:
        show_line("{} is the champion already", names["champion"])
    else:
        show_line("{} is the champion; before: {}", names["champion"], names["before"] or "none")


def _time(text: str | None) -> str:
    return (text or "").replace("T", " ").removesuffix("+00:00")
