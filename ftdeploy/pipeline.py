"""The program: one tuple of stages, run in order, each skipped when nothing that it reads has changed."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from filelock import AcquireReturnProxy, FileLock, Timeout

from ftdeploy.artifact import MANIFEST, Artifact, Kind, open_artifact
from ftdeploy.compress import compress
from ftdeploy.errors import GateFailed, GateInconclusive, LockedError, StorageError
from ftdeploy.export import export
from ftdeploy.package import package
from ftdeploy.prepare import prepare
from ftdeploy.recipe import Recipe
from ftdeploy.stage import Outcome, Stage, run_stage
from ftdeploy.train import train
from ftdeploy.validate import validate

FLOW: tuple[Stage, ...] = (prepare, train, export, compress, validate, package)
#: The page of a run, in its folder.
PAGE = "index.html"

#: Told before a stage (outcome None) and after it (with what came of it and the seconds it took).
Watch = Callable[[Stage, Outcome | None, float], None]


def run_recipe(recipe: Recipe, out: Path, *, until: str | None = None,
               watch: Watch = lambda _stage, _outcome, _seconds: None) -> dict[Kind, Artifact]:  # fmt: skip
    """Run a recipe into a folder, one subfolder an artifact.

    Args:
        recipe: what to do.
        out: the run's folder; finished stages in it are taken as they are.
        until: name of the last stage to run; None runs all.
        watch: told of each stage.

    Returns:
        The artifacts, by kind.

    Raises:
        LockedError: another run is at work in ``out``.
        FtdeployError: whatever a stage raises; finished stages stay.
    """
    flow = FLOW[: 1 + [stage.name for stage in FLOW].index(until)] if until else FLOW
    artifacts: dict[Kind, Artifact] = {}
    news = False
    with locked(out):
        for stage in flow:
            watch(stage, None, 0.0)
            started = time.monotonic()
            try:
                outcome = run_stage(stage, recipe, artifacts, out / stage.writes)
            except (GateFailed, GateInconclusive):
                _retire(out / stage.writes)
                _show(recipe, artifacts, out, news=news)
                raise
            artifacts[stage.writes] = outcome.artifact
            news = news or not outcome.skipped
            watch(stage, outcome, time.monotonic() - started)
        _show(recipe, artifacts, out, news=news)
    return artifacts


def _show(recipe: Recipe, artifacts: dict[Kind, Artifact], out: Path, *, news: bool) -> None:
    """The page of the run, written anew when there is something new."""
    from ftdeploy.overview import write_overview  # jinja2; a run with nothing changed ends without it

    if not news and (out / PAGE).is_file():
        return
    try:
        write_overview(recipe.name, artifacts, out / PAGE)
    except OSError as error:
        raise StorageError(
            f"{out / PAGE} cannot be written: {error.strerror}",
            cause="a full or read-only disk, or a folder of that name in the way",
            fix=f"free space (`df -h {out}`) and run again; finished stages are kept",
        ) from error


def locked(out: Path) -> AcquireReturnProxy[Any]:
    """The folder's lock, held until the block ends; the system drops it with the process, however that ends.

    Raises:
        LockedError: another run holds it.
        StorageError: the folder cannot be made.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        return FileLock(out / ".lock").acquire(timeout=0)
    except Timeout as error:
        raise LockedError(
            f"another run is at work in {out}",
            cause="the same recipe was started twice, or two recipes share a folder",
            fix="wait for it to end, or give this run a folder of its own with --out",
        ) from error
    except OSError as error:
        raise StorageError(
            f"{out} cannot be written: {error.strerror}",
            cause="no permission, a file in the way, or a full or read-only disk",
            fix="give another folder with --out",
        ) from error


def _retire(bundle: Path) -> None:
    """Move the bundle of an earlier run aside: it passed, but not with what is here now. Nothing is lost."""
    if not (bundle / MANIFEST).is_file():
        return
    old = open_artifact(bundle, kind="bundle", check_content=False)
    aside = bundle.parent / "superseded" / f"bundle-{old.digest[:12]}"
    if aside.exists():
        shutil.rmtree(bundle)  # the very same one was kept before
        return
    aside.parent.mkdir(exist_ok=True)
    bundle.rename(aside)
