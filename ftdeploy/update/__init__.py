"""`ftdeploy update`: a challenger made of the champion and new labelled rows; it takes the champion's place if it is
better on the new rows and no worse on the old ones.

::

    REGISTRY/NAME/updates/<key>/   one for each champion and set of rows: a run that is resumed after a kill
      new.parquet  rows.npy        the new rows, cleared of identifiers; keys of every text that was ever learned
      recipe.yaml  begun.json      the challenger's, and what it is made of
      dataset/ ... bundle/         its run, until the version is entered
      outcome.json                 written last

Killed anywhere, the same command goes on where it was; done, it says so; asked again by hand, what could not be decided
is judged anew. The version is entered into the registry
whatever the verdict, with the report beside it in ``update/``; only a pass is promoted.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ftdeploy import progress
from ftdeploy.artifact import MANIFEST, Artifact, open_artifact
from ftdeploy.errors import ArtifactError, FtdeployError, GateFailed, GateInconclusive, LockedError, StorageError
from ftdeploy.files import whole, write_text
from ftdeploy.pairs import with_two_columns
from ftdeploy.pipeline import FLOW, Watch, locked, run_recipe
from ftdeploy.recipe import Recipe, as_text, load_recipe
from ftdeploy.registry import RECIPE, Registry
from ftdeploy.stage import Outcome as StageOutcome
from ftdeploy.stage import Stage
from ftdeploy.tasks import TASKS, require_training
from ftdeploy.update.challenger import challenger_recipe, split_counts, without_floors
from ftdeploy.update.collect import NewRows, TooFewRows, collect
from ftdeploy.update.gates import judge
from ftdeploy.update.outcome import (
    BEGUN,
    Begun,
    Outcome,
    gate_verdicts,
    read_begun,
    read_outcome,
    updates_below,
    write_begun,
    write_outcome,
)
from ftdeploy.update.promotion import promote_once, was_promoted
from ftdeploy.verdict import Report, read_report

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Outcome", "Updated", "update"]

UPDATES, ROWS, KEYS = "updates", "new.parquet", "rows.npy"
#: Beside a version's artifacts: the report of the gates that it had to pass, and the keys of the texts that it learned.
REPORT = "update"
#: Holds what is not cleared of identifiers yet, while it is read; a kill leaves it to the next update to remove.
_READING = ".reading"
_DIGITS = 12


def unseen(_stage: Stage, _outcome: StageOutcome | None, _seconds: float) -> None:
    """Nobody watches the stages."""


@dataclass(frozen=True, kw_only=True)
class Updated:
    """What an update did.

    Attributes:
        outcome: the challenger and its verdict; None where there is nothing new to learn.
        champion: version of the champion now.
        promoted: the challenger is it.
        repeated: the same was done before, and nothing was left to do.
        said: how it went, in a sentence.
        report: folder of the report; None without an outcome.
    """

    outcome: Outcome | None
    champion: str
    promoted: bool
    repeated: bool
    said: str
    report: Path | None

    def refuse(self) -> None:
        """Say by an error what the verdict is, unless it is a pass or there was nothing to do.

        Raises:
            GateFailed: a gate failed.
            GateInconclusive: none failed, but one could not tell.
        """
        if self.outcome is None or self.outcome.verdict == "pass":
            return
        failed = self.outcome.verdict == "fail"
        listed = "\n".join(f"  {verdict}: {name}" for name, verdict in self.outcome.gates.items() if verdict != "pass")
        raise (GateFailed if failed else GateInconclusive)(
            f"the challenger is not promoted; {self.champion} stays the champion:\n{listed}",
            cause="it is not better on the new rows, or worse on the old ones; labels may be wrong"
            if failed
            else "there are too few test rows to tell the challenger from the champion, or labels that say little",
            fix=f"open {self.report}/report.html; "
            + ("look at the labels of the new rows" if failed else "look at the labels, label more, and update again"),
        )


def update(home: Path, *, files: Sequence[Path] = (), traffic: Path | None = None, promote: bool = False,
           patient: bool = False, overrides: Sequence[str] = (), watch: Watch = unseen) -> Updated:  # fmt: skip
    """Make a challenger of the champion and new labelled rows, judge it, and enter it into the registry.

    Args:
        home: the folder REGISTRY/NAME.
        files: of labelled rows, with the columns of the champion's recipe.
        traffic: a folder of recorded traffic whose feedback is learned from; None takes none.
        promote: make it the champion if it passes.
        patient: after a challenger that did not pass, wait for `update.min_rows` further rows before the next.
        overrides: ``section.key=value`` settings laid over the champion's recipe.
        watch: told of each stage of the challenger's run.

    Raises:
        ArtifactError: there is no champion, or one without the run that it was made by.
        ConfigError: its task trains nothing.
        TooFewRows: there are too few new rows.
        DataError: there are rows that cannot be learned from (see `collect`).
        LockedError: another update is at work.
        FtdeployError: what a run and an evaluation raise; the next update goes on there.
    """
    registry = Registry(home.absolute())
    champion = champion_of(registry)
    recipe = load_recipe(champion / RECIPE, overrides=overrides)
    require_training(TASKS[recipe.task], "`ftdeploy update`")
    dataset = open_artifact(champion / "dataset", kind="dataset")
    updates = registry.root / UPDATES
    with locked(updates):
        seen = _seen(champion)
        rows = collect(recipe, dataset, files=files, traffic=traffic, seen=seen, work=updates / _READING)
        progress.say(rows.said())
        if not len(rows) and rows.known:
            said = f"nothing to do: the champion {champion.name} has seen all of these rows"
            return Updated(outcome=None, champion=champion.name, promoted=False, repeated=True, said=said, report=None)
        begun = Begun(champion=champion.name, settings=_digest(recipe), rows=len(rows), digest=rows.digest)
        folder = updates / _key(begun)
        tried = [one.rows for place, one, _ in updates_below(updates)
                 if patient and one.champion == champion.name and place != folder]  # fmt: skip
        _check_enough(rows, recipe, tried=max(tried, default=0))
        if read_begun(folder) is None:
            _begin(folder, begun, rows, recipe, champion=champion, dataset=dataset, seen=seen)
        return _finish(registry, folder, begun, promote=promote, watch=watch)


def update_cut_off(home: Path, *, overrides: Sequence[str] = (), watch: Watch = unseen) -> Updated | None:
    """Go on with an update of the champion, with the same settings, that was killed before its end, and promote the
    challenger if it passes; None where there is none.

    Args:
        home: the folder REGISTRY/NAME.
        overrides: settings laid over the champion's recipe.
        watch: told of each stage.

    Raises:
        LockedError: another update is at work.
        FtdeployError: as `update`.
    """
    registry = Registry(home.absolute())
    champion = champion_of(registry)
    settings = _digest(load_recipe(champion / RECIPE, overrides=overrides))
    with locked(registry.root / UPDATES):
        for folder, begun, outcome in updates_below(registry.root / UPDATES):
            if (begun.champion, begun.settings) == (champion.name, settings) and _left(registry, outcome):
                return _finish(registry, folder, begun, promote=True, watch=watch)
    return None


def _left(registry: Registry, outcome: Outcome | None) -> bool:
    """Whether something of an update is left to do."""
    if outcome is None:
        return True
    return outcome.verdict == "pass" and not was_promoted(registry, str(outcome.version))


def _finish(registry: Registry, folder: Path, begun: Begun, *, promote: bool, watch: Watch) -> Updated:
    outcome = read_outcome(folder)
    repeated = outcome is not None
    if outcome is None:
        outcome = _challenge(registry, folder, begun, watch=watch)
    elif outcome.verdict == "inconclusive" and outcome.version is not None and not promote:
        # Somebody asks again: costs are measured anew, and a quieter machine may tell.
        outcome, repeated = _judged(registry, folder, begun, outcome.version, again=True), False
    _tidy(folder, outcome)
    changed = promote and outcome.verdict == "pass" and promote_once(registry, outcome)
    return _updated(registry, outcome, repeated=repeated and not changed)


def champion_of(registry: Registry) -> Path:
    """The champion's folder, with all that an update goes on from.

    Raises:
        ArtifactError: there is no champion, or only a part of its run.
    """
    champion = registry.champion()
    if champion is None:
        raise ArtifactError(
            f"{registry.root} has no champion",
            cause="nothing was entered or promoted yet, or another folder is meant",
            fix=f"ftdeploy registry add RUN {registry.root} --recipe RECIPE, then ftdeploy registry promote",
        )
    lacking = [kind for kind in ("dataset", "checkpoint", "bundle") if not (champion / kind / MANIFEST).is_file()]
    if lacking:
        raise ArtifactError(
            f"the champion {champion.name} has no {' and no '.join(lacking)} to go on from",
            cause="only a part of its run was entered",
            fix="enter the whole folder of a run with `ftdeploy registry add`",
        )
    if not (champion / RECIPE).is_file():
        raise ArtifactError(
            f"the champion {champion.name} has no {RECIPE} to go on from",
            cause="it was entered without the recipe that it was run with",
            fix=f"enter it once more, with that: ftdeploy registry add RUN {registry.root} --recipe RECIPE",
        )
    return champion


def _seen(version: Path) -> NDArray[np.uint64]:
    """Keys of the texts that a version and those before it were updated with."""
    path = version / REPORT / KEYS
    return np.load(path) if path.is_file() else np.empty((0, 2), dtype=np.uint64)


def _check_enough(rows: NewRows, recipe: Recipe, *, tried: int) -> None:
    least = recipe.update.min_rows
    if tried and len(rows) < tried + least:
        raise TooFewRows(
            f"{rows.said()}; a challenger of {tried:,} rows was made before",
            cause="it did not pass, and hardly more rows would lead to the same",
            fix=f"wait for {tried + least - len(rows):,} further ones, or update without --auto",
        )
    if len(rows) < least:
        raise TooFewRows(
            f"{rows.said()}; at least {least:,} new ones are wanted",
            cause="little was labelled yet, or most of it is known",
            fix="send further labels to /feedback, give --data, or lower update.min_rows knowingly",
        )


def _digest(recipe: Recipe) -> str:
    return hashlib.sha256(as_text(recipe).encode()).hexdigest()


def _key(begun: Begun) -> str:
    """The same champion, rows and settings are the same update."""
    parts = f"{begun.champion}\n{begun.settings}\n{begun.digest}"
    return hashlib.sha256(parts.encode()).hexdigest()[:_DIGITS]


def _begin(folder: Path, begun: Begun, rows: NewRows, recipe: Recipe, *, champion: Path, dataset: Artifact,
           seen: NDArray[np.uint64]) -> None:  # fmt: skip
    """Write down what the challenger is made of; what says that all of it is there last."""
    import pyarrow.parquet as pq

    with whole(folder / ROWS) as path:
        table = rows.table if recipe.data.pairs is None else with_two_columns(rows.table)
        pq.write_table(table, path, compression="zstd")
    with whole(folder / KEYS) as path, path.open("wb") as handle:
        np.save(handle, np.unique(np.concatenate([seen, rows.keys]), axis=0))
    made = challenger_recipe(recipe, champion=champion, dataset=dataset, rows=folder / ROWS)
    write_text(folder / RECIPE, as_text(made))
    write_begun(folder, begun)


def _challenge(registry: Registry, folder: Path, begun: Begun, *, watch: Watch) -> Outcome:
    try:
        run_recipe(without_floors(load_recipe(folder / RECIPE)), folder, watch=watch)
    except (GateFailed, GateInconclusive) as error:
        progress.say(f"the challenger does not pass the suite of its own run: {error.what}")
        found = read_report(folder / "report" / "report.json")
        return _note(registry, folder, begun, found, run=folder, report=folder / "report")
    except (LockedError, StorageError):
        raise
    except FtdeployError:
        # The same would happen again: what is cut off is gone on with, and this would stand in the way of other rows.
        (folder / BEGUN).unlink(missing_ok=True)
        raise
    version = registry.enter(folder, (folder / RECIPE).read_text(encoding="utf-8"))
    return _judged(registry, folder, begun, version)


def _judged(registry: Registry, folder: Path, begun: Begun, version: str, *, again: bool = False) -> Outcome:
    """Hold a version against the champion; the keys beside the report say that it is done."""
    run = registry.folder(version)
    report = run / REPORT
    if again or not (report / KEYS).is_file():
        recipe = load_recipe(folder / RECIPE)
        judge(recipe, champion=registry.folder(begun.champion), challenger=run, report=report)
        with whole(report / KEYS) as path:
            shutil.copyfile(folder / KEYS, path)
    found = read_report(report / "report.json")
    return _note(registry, folder, begun, found, run=run, report=report, version=version)


def _note(registry: Registry, folder: Path, begun: Begun, found: Report, *, run: Path, report: Path,
          version: str | None = None) -> Outcome:  # fmt: skip
    outcome = Outcome(
        verdict=found.verdict,
        begun=begun,
        version=version,
        splits=split_counts(open_artifact(run / "dataset", kind="dataset")),
        report=str(report.relative_to(registry.root)),
        gates=gate_verdicts(found),
    )
    write_outcome(folder, outcome)
    return outcome


def _tidy(folder: Path, outcome: Outcome) -> None:
    """Remove the run of a challenger that the registry has."""
    for stage in FLOW if outcome.version else ():
        shutil.rmtree(folder / stage.writes, ignore_errors=True)


def _updated(registry: Registry, outcome: Outcome, *, repeated: bool) -> Updated:
    champion = champion_of(registry).name
    said = _said(registry, outcome, champion)
    return Updated(
        outcome=outcome,
        champion=champion,
        promoted=champion == outcome.version,
        repeated=repeated,
        said=f"nothing to do, these rows were used before: {said}" if repeated else said,
        report=registry.root / outcome.report,
    )


def _said(registry: Registry, outcome: Outcome, champion: str) -> str:
    name = f"the challenger {outcome.version}" if outcome.version else "a challenger"
    challenger = f"{name} of {outcome.begun.rows:,} new rows"
    if outcome.verdict != "pass":
        return f"{challenger} did not pass ({outcome.verdict}); {champion} stays the champion"
    if champion == outcome.version:
        return f"{challenger} passed and is the champion"
    if was_promoted(registry, str(outcome.version)):
        return f"{challenger} passed and was the champion; somebody has gone back to {champion}"
    return f"{challenger} passed; it is not the champion yet"
