"""Tuning: Optuna searches the space that a recipe names for better settings, on the validation rows alone.

Each trial is the recipe with other values, prepared and trained by the stages of a run; trials that share their rows
share one dataset. The study stands in one SQLite file: killed at any moment, a rerun goes on with the trial that was
broken off, from its last checkpoint, and ends as if nothing had happened. A training that diverges is a failed trial
and no end of the study. Of the checkpoints only the best trial's is kept.

What comes out is a recipe: the file as it was, comments and all, with the best trial's values in it.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftdeploy import progress
from ftdeploy.artifact import Artifact
from ftdeploy.document import read_yaml
from ftdeploy.errors import TrainingError
from ftdeploy.files import write_json, write_text
from ftdeploy.page import render_page
from ftdeploy.pipeline import locked
from ftdeploy.prepare import prepare
from ftdeploy.recipe import Recipe, TuneSettings, dump_section, load_recipe
from ftdeploy.scale import run_all
from ftdeploy.sources import fingerprint
from ftdeploy.stage import run_stage
from ftdeploy.tasks import TASKS, require_training
from ftdeploy.train import train
from ftdeploy.tune.rewrite import rewrite
from ftdeploy.tune.space import check_space, current, grid, read_space, settings_of
from ftdeploy.tune.study import Plan, most_epochs, opened, unfinished
from ftdeploy.tune.summary import page, summarise
from ftdeploy.tune.trial import run_trial, sweep

if TYPE_CHECKING:
    import optuna

FOLDER = "tuning"
RESULT, PAGE = "tuning.json", "tuning.html"
#: What may change while a study goes on: how long it searches, and what it gives up early.
_FREE = frozenset({"trials", "timeout_seconds", "pruner"})
_HEADER = (
    "# {name}: {metric} {value:.4f} on the validation rows, the best of {trials} trials of `ftdeploy tune`.\n"
    "# The next `ftdeploy tune` writes this file anew: copy it before changing it.\n"
)


def tune(path: Path, out: Path, *, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Search, and write the best recipe beside the recipe; study, result and page into ``out / "tuning"``.

    Args:
        path: the recipe's file; its section ``tune`` says what is searched.
        out: the run's folder, whose dataset is shared with ``ftdeploy run``.
        overrides: ``section.key=value`` settings laid over the file; they are part of the best recipe.

    Returns:
        What ``tuning.json`` holds: ``trials``, ``best``, ``importance``, and ``recipe``, the path of the best recipe.

    Raises:
        ConfigError: the task trains nothing, the space names what no recipe can have, or ``out`` holds the study of
            something else.
        LockedError: another run is at work in ``out``.
        TrainingError: no trial finished.
        FtdeployError: whatever prepare and train raise that has nothing to do with a trial's values.
    """
    recipe = load_recipe(path, overrides=overrides)
    require_training(TASKS[recipe.task], "`ftdeploy tune`")
    settings = check_space(path, overrides, recipe)
    with locked(out):
        dataset = run_stage(prepare, recipe, {}, out / prepare.writes).artifact
        plan = _plan(path, overrides, recipe, settings, out=out, dataset=dataset)
        with opened(plan) as study:
            _queue(study, plan, recipe)
            sweep(study, plan)
            waiting = _waiting(study, settings)
        run_all(partial(run_trial, plan=plan), waiting)
        with opened(plan) as study:
            found = summarise(study, plan, name=recipe.name)
        found["recipe"] = None if found["best"] is None else str(_write_best(path, overrides, found))
        write_json(plan.home / RESULT, found)
        write_text(plan.home / PAGE, render_page(page(found)))
    if found["best"] is None:
        raise _nothing_finished(found, plan.home)
    return found


def best_path(path: Path) -> Path:
    """Where the best recipe of a recipe's study is written: beside it, because its paths are relative to its folder."""
    return path.with_name(f"{path.stem}.tuned{path.suffix}")


def _plan(path: Path, overrides: Sequence[str], recipe: Recipe, settings: TuneSettings, *, out: Path,
          dataset: Artifact) -> Plan:  # fmt: skip
    space = read_space(settings)
    metric = settings.metric or TASKS[recipe.task].metrics[0]
    searched = {name: value for name, value in dump_section(settings).items() if name not in _FREE}
    parts = {
        "dataset": dataset.digest,
        "model": dict(fingerprint(recipe.model)),
        "sections": {name: dump_section(getattr(recipe, name)) for name in train.sections},
        "searched": searched | {"metric": metric},
    }
    return Plan(
        recipe=path,
        overrides=tuple(overrides),
        out=out,
        home=out / FOLDER,
        settings=settings,
        space=space,
        metric=metric,
        seed=recipe.seed if settings.seed is None else settings.seed,
        epochs=most_epochs(recipe, space),
        key=hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest(),
        ends=None if settings.timeout_seconds is None else time.monotonic() + settings.timeout_seconds,
    )


def _queue(study: optuna.Study, plan: Plan, recipe: Recipe) -> None:
    """Settings that are tried before any that the sampler draws: all of a grid; else the recipe's own, so that the best
    is known to be better than what there was."""
    if plan.settings.sampler == "grid":
        first = grid(plan.space, seed=plan.seed)[: plan.settings.trials]
    else:
        own = current(recipe, plan.space)
        first = [] if own is None else [own]
    for values in first:
        study.enqueue_trial(values, skip_if_exists=True)


def _waiting(study: optuna.Study, settings: TuneSettings) -> list[int | None]:
    """Trials to run: those that were broken off, by number, then as many new ones as are still wanted."""
    trials = study.get_trials(deepcopy=False)
    broken = unfinished(study)
    # Every combination of a grid was queued.
    wanted = min(settings.trials, len(trials)) if settings.sampler == "grid" else settings.trials
    ended = sum(trial.state.is_finished() for trial in trials)
    if ended or broken:
        progress.say(f"going on with a study: {ended} trials ended, {len(broken)} broken off")
    return [*broken, *[None] * max(0, wanted - ended - len(broken))]


def _nothing_finished(found: dict[str, Any], home: Path) -> TrainingError:
    errors = [one["error"]["what"] for one in found["trials"] if one["error"]]
    if not errors:
        return TrainingError(
            f"none of {len(found['trials'])} trials finished",
            cause="the time was over before the first one ended, or every trial was ended early",
            fix="raise tune.timeout_seconds, or set tune.pruner: none",
        )
    return TrainingError(
        f"none of {len(found['trials'])} trials finished; the last one that failed says: {errors[-1]}",
        cause="the space holds no settings that this checkpoint can be trained with",
        fix=f"change tune.space (smaller learning rates, most likely), and remove {home}, which keeps what was tried",
    )


def _write_best(path: Path, overrides: Sequence[str], found: dict[str, Any]) -> Path:
    best = found["best"]
    settings = [*overrides, *settings_of(best["settings"])]
    data, _ = read_yaml(path, overrides=settings)
    given = [setting.partition("=") for setting in settings]
    values = [(key.strip(), _read(value)) for key, _, value in given]
    text, kept = rewrite(path.read_text(encoding="utf-8"), values, data)
    if not kept:
        progress.say("the recipe's layout is unusual: the best recipe was written without its comments")
    header = _HEADER.format(name=best_path(path).name, metric=found["metric"], value=best["value"],
                            trials=len(found["trials"]))  # fmt: skip
    write_text(best_path(path), header + text)
    return best_path(path)


def _read(value: str) -> Any:
    import yaml

    return yaml.safe_load(value)
