"""The study: Optuna's record of all trials in one SQLite file, that outlives a kill at any moment."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftdeploy.errors import ConfigError, StorageError
from ftdeploy.recipe import Recipe, TuneSettings
from ftdeploy.tune.space import Dimension

if TYPE_CHECKING:
    import optuna

FILE = "study.db"
_NAME = "tune"
_KEY = "key"
#: The place of an evaluation is given to pruners in hundredths of an epoch: batch sizes may differ between trials.
EPOCH = 100


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What every trial of a study needs to know; plain data, so that it can go to another process.

    Attributes:
        recipe: the recipe's file.
        overrides: what was given with ``--set``.
        out: the run's folder.
        home: the study's folder in it.
        settings: the section ``tune``.
        space: its dimensions.
        metric: what is made better.
        seed: of the sampler.
        epochs: the most that a trial can train, for hyperband.
        key: sha256 of everything that makes two studies different ones.
        ends: when no further trial begins, on the monotonic clock; None is never.
    """

    recipe: Path
    overrides: tuple[str, ...]
    out: Path
    home: Path
    settings: TuneSettings
    space: Sequence[Dimension]
    metric: str
    seed: int
    epochs: int
    key: str
    ends: float | None

    @property
    def maximise(self) -> bool:
        """Whether more is better: for every metric, and not for the loss."""
        return self.metric != "loss"


@contextmanager
def opened(plan: Plan) -> Iterator[optuna.Study]:
    """The study of a plan, made when there is none.

    Raises:
        ConfigError: the folder holds the study of something else.
        StorageError: its file cannot be read or written.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)  # ftdeploy says itself what a trial came to
    plan.home.mkdir(parents=True, exist_ok=True)
    with _storage(plan.home / FILE) as storage:
        study = optuna.create_study(
            storage=storage, study_name=_NAME, load_if_exists=True,
            direction="maximize" if plan.maximise else "minimize", pruner=_pruner(plan),
        )  # fmt: skip
        noted = study.user_attrs.get(_KEY)
        if noted is None:
            study.set_user_attr(_KEY, plan.key)
        elif noted != plan.key:
            raise ConfigError(
                f"{plan.home} holds a study of another recipe, other data or another space",
                cause="something that decides the result of a trial was changed, so that its trials cannot be compared "
                "with new ones",
                fix=f"give another folder with --out, or remove {plan.home} to begin anew; more `trials`, another "
                "pruner or a timeout go on with a study",
            )
        yield study


@contextmanager
def _storage(file: Path) -> Iterator[optuna.storages.RDBStorage]:
    import optuna
    from sqlalchemy.exc import DatabaseError

    storage = None
    try:
        storage = optuna.storages.RDBStorage(f"sqlite:///{file.resolve()}")
        yield storage
    except (DatabaseError, optuna.exceptions.StorageInternalError) as error:
        raise StorageError(
            f"the study in {file} cannot be read or written: {str(error.__cause__ or error).splitlines()[0]}",
            cause="the disk is full or read-only, or the file is damaged",
            fix=f"free space and run again; if the file is damaged, remove {file.parent} to begin anew",
        ) from error
    finally:
        if storage is not None:
            storage.remove_session()
            storage.engine.dispose()


def sampler(plan: Plan, number: int, key: str) -> optuna.samplers.BaseSampler:
    """The sampler for one value of one trial, or (key empty) for those that it draws together.

    It is seeded by both, and not once for the study: after a kill the values are those that would have come.
    """
    import optuna

    word = hashlib.sha256(f"{plan.seed}/{number}/{key}".encode()).digest()
    seed = int.from_bytes(word[:4], "little")
    if plan.settings.sampler == "tpe":
        return optuna.samplers.TPESampler(seed=seed, n_startup_trials=plan.settings.startup_trials)
    return optuna.samplers.RandomSampler(seed=seed)


def draw(study: optuna.Study, trial: optuna.Trial, plan: Plan) -> dict[str, Any]:
    """The values of a trial, key by key; those that it has already stay."""
    values = {}
    study.sampler = sampler(plan, trial.number, "")
    _ = trial.relative_params  # drawn when first asked for: what the sampler draws together, it draws here
    for one in plan.space:
        study.sampler = sampler(plan, trial.number, one.key)
        values[one.key] = one.suggest(trial)
    return values


def unfinished(study: optuna.Study) -> list[int]:
    """Numbers of the trials that were begun and not ended."""
    from optuna.trial import TrialState

    return [trial.number for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))]


def begin(study: optuna.Study, plan: Plan, number: int | None) -> optuna.Trial:
    """The next trial, or one that was begun before, to go on with.

    Args:
        study: of the plan.
        plan: seeds the sampler.
        number: of the trial that was begun; None begins another.
    """
    import optuna
    from optuna.trial import TrialState

    trials = study.get_trials(deepcopy=False)
    if number is None:
        queued = [trial.number for trial in trials if trial.state == TrialState.WAITING]
        study.sampler = sampler(plan, min(queued, default=len(trials)), "")
        return study.ask()
    study.sampler = sampler(plan, number, "")
    frozen = next(trial for trial in trials if trial.number == number)
    return optuna.Trial(study, frozen._trial_id)  # noqa: SLF001  # Optuna gives no other way to a trial's id


def best(study: optuna.Study) -> int | None:
    """The number of the best finished trial; None when there is none."""
    from optuna.trial import TrialState

    if not study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
        return None
    return study.best_trial.number


def most_epochs(recipe: Recipe, space: Sequence[Dimension]) -> int:
    """The most epochs that a trial can train."""
    for one in space:
        if one.key == "train.epochs":
            return int(max([*one.choices.values(), *([one.range.high] if one.range else [])]))
    return recipe.train.epochs


def _pruner(plan: Plan) -> optuna.pruners.BasePruner:
    import optuna

    if plan.settings.pruner == "median":
        return optuna.pruners.MedianPruner(n_startup_trials=plan.settings.startup_trials)
    if plan.settings.pruner == "hyperband":
        return optuna.pruners.HyperbandPruner(min_resource=EPOCH, max_resource=EPOCH * plan.epochs)
    return optuna.pruners.NopPruner()
