"""`ftdeploy update --auto`: drift, then an update, then the gates, then a promotion; one command, for cron.

Most of its runs find nothing to do, and end well: no drift, or too little traffic to tell. Drift without enough labels
to learn from is told as drift; a challenger that does not pass, by its verdict.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ftdeploy import progress
from ftdeploy.errors import ConfigError, DriftFound
from ftdeploy.monitor import QUEUE, Monitored, monitor_bundle
from ftdeploy.pipeline import Watch
from ftdeploy.recipe import load_recipe
from ftdeploy.registry import RECIPE, Registry
from ftdeploy.tasks import TASKS, require_training
from ftdeploy.update import Updated, champion_of, unseen, update, update_cut_off
from ftdeploy.update.collect import TooFewRows

#: Where the report on drift goes, in the registry's folder.
DRIFT = "drift"


def update_by_itself(home: Path, *, files: Sequence[Path] = (), traffic: Path | None = None,
                     overrides: Sequence[str] = (), watch: Watch = unseen) -> Updated:  # fmt: skip
    """Go on with an update that was cut off; else update, without files only where the traffic has drifted. Whichever
    challenger passes becomes the champion.

    Args:
        home: the folder REGISTRY/NAME.
        files: of labelled rows.
        traffic: a folder of recorded traffic; None is, without files, the champion's own.
        overrides: settings laid over the champion's recipe.
        watch: told of each stage.

    Raises:
        ConfigError: the champion's task trains nothing.
        DriftFound: the traffic has drifted, and there are too few labels to learn from.
        FtdeployError: what `update` and `monitor_bundle` raise.
    """
    champion = champion_of(Registry(home.absolute()))
    require_training(TASKS[load_recipe(champion / RECIPE, overrides=overrides).task], "`ftdeploy update`")
    resumed = update_cut_off(home, overrides=overrides, watch=watch)
    if resumed is not None:
        return resumed
    if files:
        return update(home, files=files, traffic=traffic, promote=True, overrides=overrides, watch=watch)
    folder = traffic or default_traffic(champion)
    found = monitor_bundle(champion / "bundle", traffic=folder, report=home.absolute() / DRIFT)
    progress.say(found.report.summary)
    if found.report.verdict != "drift":
        said = f"nothing to do: {found.report.summary}"
        return Updated(outcome=None, champion=champion.name, promoted=False, repeated=False, said=said, report=None)
    try:
        return update(home, traffic=folder, promote=True, patient=True, overrides=overrides, watch=watch)
    except TooFewRows as few:
        raise _drift(found, few) from few


def default_traffic(champion: Path) -> Path:
    """Where the service of a champion records by itself.

    Raises:
        ConfigError: nowhere, as `FTDEPLOY_TRAFFIC` says.
    """
    from ftdeploy.serve.traffic_options import traffic_folder

    folder = traffic_folder(champion / "bundle" / "src")
    if folder is None:
        raise ConfigError(
            "FTDEPLOY_TRAFFIC is off, so that there is no traffic to learn from",
            cause="it is set in this shell",
            fix="unset it, or name the folder with --traffic",
        )
    return folder


def _drift(found: Monitored, few: TooFewRows) -> DriftFound:
    return DriftFound(
        f"{found.report.summary} No challenger is made: {few.what}",
        cause=few.cause,
        fix=f"label the rows of {found.folder / QUEUE}, and {few.fix}",
    )
