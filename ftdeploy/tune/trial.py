"""One trial: a recipe with other values, prepared and trained by the stages of a run."""

from __future__ import annotations

import gc
import json
import math
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftdeploy import progress
from ftdeploy.artifact import Artifact, open_artifact
from ftdeploy.errors import ConfigError, DataError, FtdeployError, ModelError, TrainingError
from ftdeploy.prepare import prepare
from ftdeploy.recipe import Recipe, load_recipe
from ftdeploy.stage import run_stage, stage_key
from ftdeploy.train import train
from ftdeploy.tune.space import settings_of
from ftdeploy.tune.study import EPOCH, Plan, begin, best, draw, opened, unfinished

if TYPE_CHECKING:
    import optuna

#: User attributes of a trial in the study.
VALUES, ERROR, FACTS, CHECKPOINT = "values", "error", "facts", "checkpoint"


def run_trial(number: int | None, *, plan: Plan) -> None:
    """Run one trial and note what came of it in the study. The study is all that trials share.

    Args:
        number: of a trial that was begun before; None begins another.
        plan: of the study.

    Raises:
        FtdeployError: what has nothing to do with the trial's values: a missing checkpoint, a full disk. The trial
            stays begun, and the next run goes on with it.
    """
    if plan.ends is not None and time.monotonic() > plan.ends:
        return
    with opened(plan) as study:
        trial = begin(study, plan, number)
        values = draw(study, trial, plan)
        trial.set_user_attr(VALUES, values)
        progress.say(f"trial {trial.number + 1}: {', '.join(settings_of(values))}")
        try:
            with _hushed():
                checkpoint = _train(plan, study, trial, values)
        except _Pruned:
            last = study.get_trials(deepcopy=False)[trial.number].last_step or 0
            _tell(study, trial, state="PRUNED")
            progress.say(f"trial {trial.number + 1}: ended early, after epoch {last / EPOCH:g}")
        except _Unfit as unfit:
            trial.set_user_attr(ERROR, unfit.error.as_dict())
            _tell(study, trial, state="FAIL")
            progress.say(f"trial {trial.number + 1}: failed, {unfit.error.what}")
        else:
            value = objective(checkpoint, plan.metric)
            trial.set_user_attr(FACTS, dict(checkpoint.facts))
            trial.set_user_attr(CHECKPOINT, checkpoint.digest)
            study.tell(trial, value)
            first = best(study) == trial.number
            progress.say(f"trial {trial.number + 1}: {plan.metric} {value:.4f}{', the best so far' if first else ''}")
        sweep(study, plan)
    gc.collect()  # the Trainer refers to itself; its model would stay beside the next trial's


def sweep(study: optuna.Study, plan: Plan) -> None:
    """Remove what trials left on the disk, but for the best and those that were begun."""
    kept = {trial_folder(plan.home, number).name for number in (best(study), *unfinished(study)) if number is not None}
    for folder in plan.home.glob("trial-*"):
        if folder.name not in kept:
            shutil.rmtree(folder)


def trial_folder(home: Path, number: int) -> Path:
    """Where a trial's artifacts stand; people count from 1."""
    return home / f"trial-{number + 1}"


def objective(checkpoint: Artifact, metric: str) -> float:
    """A metric on the validation rows, of the weights that training kept.

    Args:
        checkpoint: a checkpoint artifact.
        metric: a metric of the task, or ``loss``.
    """
    kept = {name: value for name, value in checkpoint.facts.items() if name.startswith("validation_")}
    if f"validation_{metric}" in kept:
        return float(kept[f"validation_{metric}"])
    # The facts have the task's metrics; the entry of the same evaluation has the others.
    history: list[dict[str, Any]] = json.loads(checkpoint.file("history.json").read_text(encoding="utf-8"))
    wanted = {name.replace("validation_", "eval_", 1): value for name, value in kept.items()}
    same = [entry for entry in history if all(entry.get(name) == value for name, value in wanted.items())]
    epoch = float(checkpoint.facts["best_epoch"])
    return float(min(same, key=lambda entry: abs(entry["epoch"] - epoch))[f"eval_{metric}"])


class _Pruned(Exception):  # noqa: N818  # a decision, and no fault
    """The trial is ended early."""


class _Unfit(Exception):  # noqa: N818  # likewise: what the values are to blame for
    """The values cannot be trained with."""

    def __init__(self, error: FtdeployError) -> None:
        super().__init__(error.what)
        self.error = error


def _train(plan: Plan, study: optuna.Study, trial: optuna.Trial, values: Mapping[str, Any]) -> Artifact:
    folder = trial_folder(plan.home, trial.number)
    try:
        recipe = load_recipe(plan.recipe, overrides=[*plan.overrides, *settings_of(values)])
        dataset = _dataset(plan, recipe, folder)
        with progress.listening(_judge(plan, study, trial)):
            return run_stage(train, recipe, {"dataset": dataset}, folder / train.writes).artifact
    except (TrainingError, ConfigError) as error:
        raise _Unfit(error) from error
    except (DataError, ModelError) as error:
        # A checkpoint has too few positions for a length, say, or a teacher other labels.
        blamed = ("data.",) if isinstance(error, DataError) else ("model.", "train.teacher")
        if not any(key.startswith(blamed) for key in values):
            raise
        raise _Unfit(error) from error


def _dataset(plan: Plan, recipe: Recipe, folder: Path) -> Artifact:
    """The run's dataset; one of the trial's own where its values change the rows."""
    common = open_artifact(plan.out / prepare.writes, kind=prepare.writes, check_content=False)
    shared = stage_key(prepare, recipe, {}) == common.key
    target = plan.out / prepare.writes if shared else folder / prepare.writes
    return run_stage(prepare, recipe, {}, target).artifact


def _judge(plan: Plan, study: optuna.Study, trial: optuna.Trial) -> progress.Listener:
    """Tells the study of each evaluation, and ends the training that the pruner gives up."""
    # After a kill the training goes on from its last checkpoint, and may evaluate again what it reported.
    told = set(study.get_trials(deepcopy=False)[trial.number].intermediate_values)

    def listen(evaluation: progress.Evaluation) -> None:
        step = round(evaluation.epoch * EPOCH)
        value = evaluation.metrics[plan.metric]
        if step not in told and math.isfinite(value):
            told.add(step)
            trial.report(value, step)
        if trial.should_prune():
            raise _Pruned

    return listen


def _tell(study: optuna.Study, trial: optuna.Trial, *, state: str) -> None:
    from optuna.trial import TrialState

    study.tell(trial, state=TrialState[state])


@contextmanager
def _hushed() -> Iterator[None]:
    """Stages show their bars and not their lines, and a training that is broken off leaves no bar behind."""
    reporter = _Hushed(progress.current())
    try:
        with progress.reporting(reporter):
            yield
    finally:
        reporter.close()


class _Hushed:
    def __init__(self, shown: progress.Reporter) -> None:
        self._shown = shown
        self._open: list[ExitStack] = []

    def task(self, name: str, total: float | None) -> AbstractContextManager[progress.Advance]:
        stack = ExitStack()
        self._open.append(stack)

        @contextmanager
        def held() -> Iterator[Callable[[float], None]]:
            with stack:
                yield stack.enter_context(self._shown.task(name, total))

        return held()

    def say(self, message: str) -> None:
        """Nothing: a line for each epoch of each trial hides the trials."""

    def close(self) -> None:
        for stack in reversed(self._open):
            stack.close()
