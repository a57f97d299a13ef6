"""The challenger against the champion: better on new rows, no worse on old ones, golden rows and budgets kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from ftdeploy.artifact import Artifact, open_artifact
from ftdeploy.errors import DataError
from ftdeploy.evaluation import Evaluated, evaluate_suite
from ftdeploy.evaluation.cases import join, keep
from ftdeploy.evaluation.origins import Given, Raw, of_dataset
from ftdeploy.origin import Source
from ftdeploy.recipe import Recipe
from ftdeploy.suite import Case, Equivalence, Flips, Gate, NonInferiority, Ratio, Suite, Superiority
from ftdeploy.tasks import TASKS, Task
from ftdeploy.update.challenger import NEW

OLD = "old"
#: They hold a compressed model against what it was made of, and another training is no compression.
_OF_COMPRESSION = (Flips, Equivalence, Ratio)
#: Tolerated on the old rows where neither the recipe nor its suite says it.
_MARGIN = 0.02


def judge(recipe: Recipe, *, champion: Path, challenger: Path, report: Path) -> Evaluated:
    """Hold a challenger against the champion, and write the report, whatever the verdict.

    Args:
        recipe: the challenger's.
        champion: folder of a run: a bundle and its dataset, whose test rows are the old ones.
        challenger: likewise; of its test rows those that are new count.
        report: the report's folder.

    Raises:
        DataError: there are no new test rows.
        FtdeployError: what `evaluate_suite` raises.
    """
    old = of_dataset(OLD, _dataset(champion), "test", recipe.task)
    new = _only_new(of_dataset(NEW, _dataset(challenger), "test", recipe.task))
    seed = recipe.validate_.suite.seed
    rows = join([keep(given, limit=None, seed=seed, prefixed=True, refresh=False) for given in (old, new)])
    return evaluate_suite(
        challenger_suite(recipe, [case.name for case in rows.cases]),
        candidate=str(challenger / "bundle"),
        baseline=str(champion / "bundle"),
        rows=rows,
        report=report,
        device=recipe.device,
    )


def challenger_suite(recipe: Recipe, names: Sequence[str]) -> Suite:
    """The gates of the recipe's suite that say something of a model trained anew, on the old rows; and those of
    `update`.

    Args:
        recipe: with its suite and its section `update`.
        names: of the cases.
    """
    suite, settings = recipe.validate_.suite, recipe.update
    task = TASKS[recipe.task]
    metric = settings.metric or task.metrics[0]
    margin = settings.margin
    kept: list[Gate] = []
    for gate in suite.gates:
        if isinstance(gate, _OF_COMPRESSION):
            continue
        moved: dict[str, object] = {"case": OLD}
        if isinstance(gate, NonInferiority) and margin is not None:
            moved["margin"] = margin
        kept.append(gate.model_copy(update=moved))
    if not any(isinstance(gate, NonInferiority) and gate.metric == metric for gate in kept):
        kept.append(NonInferiority(kind="non-inferiority", metric=metric, margin=margin or _MARGIN, case=OLD))
    gates = (
        Superiority(kind="superiority", metric=metric, by=settings.by, case=NEW),
        *_beyond_chance(task, metric),
        *kept,
        *(Ratio(kind="ratio", metric=cost, maximum=most) for cost, most in settings.budgets.items()),
    )
    cases = tuple(Case(name=name, source=Source(path=Path(f"{name}.parquet"))) for name in names)
    own = {"name": f"{suite.name}-update", "task": recipe.task, "cases": cases, "gates": gates}
    return suite.model_copy(update=own)


def _beyond_chance(task: Task, metric: str) -> Iterator[Gate]:
    """Labels that were mixed up still tell which of them is frequent, and a challenger that has learned that alone is
    right more often."""
    if task.beyond_chance is not None and task.beyond_chance != metric:
        yield Superiority(kind="superiority", metric=task.beyond_chance, by=0.0, case=NEW)


def _dataset(run: Path) -> Artifact:
    return open_artifact(run / "dataset", kind="dataset")


def _only_new(given: Given) -> Given:
    def read() -> Iterator[Raw]:
        return (row for row in given.read() if str(row.id).startswith(f"{NEW}:"))

    if next(read(), None) is None:
        raise DataError(
            "none of the new rows is a test row",
            cause="they belong to so few groups or near duplicates that none could be held out, or stand in train too",
            fix="add rows, or raise update.test",
        )
    return replace(given, read=read, identity={**given.identity, "only": NEW})
