"""Where the rows of a case come from: a split of a recipe, of a run's dataset, or a source of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ftdeploy.artifact import Artifact
from ftdeploy.dataset import SplitName, label_names, pair_columns, read_batches, read_profile
from ftdeploy.errors import ConfigError, DataError
from ftdeploy.pairs import join
from ftdeploy.prepare import prepare
from ftdeploy.prepare.clean import Rejected, as_text, clean_label
from ftdeploy.prepare.faults import check_label_map, no_column, no_rows
from ftdeploy.prepare.stream import FORMS, Opened, open_sources, read_source
from ftdeploy.recipe import Columns, DataSettings, dump_section, load_recipe
from ftdeploy.sources import describe, fingerprint
from ftdeploy.sources.cache import cache_folder, locked
from ftdeploy.stage import run_stage, stage_key
from ftdeploy.suite import Case
from ftdeploy.tasks import TASKS, Task

_BATCH_ROWS = 4096
#: Columns of a prepared split that are no part of a case: nothing is reported by them.
_INTERNAL = ("text", "text_pair", "label", "id", "group", "weight")
#: Names that a case has for columns of its own.
_TAKEN = ("text", "text_pair", "label", "id", "case")


@dataclass(frozen=True, kw_only=True)
class Raw:
    """A row before it is checked: its place in its source (from 1), and its cells."""

    place: int
    text: Any
    label: Any
    id: Any
    slices: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Given:
    """A case that can be read.

    Attributes:
        name: of the case.
        read: its rows, anew with every call.
        slices: columns to cut the rows by.
        identity: what decides its rows, as plain data.
        tidied: the rows were cleaned and their duplicates decided on before.
        distinct: of rows with one text the first is taken.
        names: the labels in the order of their ids, where that is known.
        pairs: a text is two, joined (`ftdeploy.pairs`).
        task: says what a label is.
        source, licence: where they come from, in words.
    """

    name: str
    read: Callable[[], Iterator[Raw]]
    slices: tuple[str, ...]
    identity: Mapping[str, Any]
    tidied: bool
    distinct: bool
    names: tuple[str, ...]
    source: str
    licence: str
    task: Task
    pairs: bool = False


def of_recipe(case: Case, task: str) -> Given:
    """A split of a recipe, prepared in the cache by the stage of a run; a split that stands there is taken as it is.

    Args:
        case: with a recipe.
        task: of the suite.

    Raises:
        ConfigError: the recipe is not valid, or of another task.
        SourceError: its rows cannot be had.
        DataError: they are not fit for the task, or the split is empty.
    """
    recipe = load_recipe(Path(str(case.recipe)))
    _check_task(case.name, f"the recipe {recipe.name}", recipe.task, task)
    key = stage_key(prepare, recipe, {})
    with locked(f"dataset {key}"):
        outcome = run_stage(prepare, recipe, {}, cache_folder() / "datasets" / key)
    return of_dataset(case.name, outcome.artifact, case.split, task)


def _check_task(case: str, whose: str, found: str, wanted: str) -> None:
    """Whether rows have the labels that a suite is about."""
    if found != wanted:
        raise ConfigError(
            f"case {case}: {whose} is of {found}, and the suite of {wanted}",
            cause="the suite does not say its `task`, or was written for other rows",
            fix=f"set `task: {found}` in the suite, with metrics of that task; or name other rows",
        )


def of_dataset(name: str, dataset: Artifact, split: SplitName, task: str) -> Given:
    """A split of a dataset artifact.

    Args:
        name: of the case.
        dataset: the artifact.
        split: which one.
        task: of the suite.

    Raises:
        ConfigError: the dataset is of another task.
        DataError: it is empty.
    """
    import pyarrow.parquet as pq

    _check_task(name, f"the dataset {dataset.path}", str(dataset.settings.get("task", task)), task)
    path = dataset.file(f"{split}.parquet")
    columns = pq.read_schema(path).names
    if not pq.read_metadata(path).num_rows:
        raise DataError(
            f"case {name}: {path} has no rows",
            cause=f"`data.split.{split}` leaves none of so few rows",
            fix="add rows, raise that share, or name another split",
        )
    source, licence = _provenance(read_profile(dataset))
    return Given(
        name=name,
        read=partial(_split_rows, path),
        slices=tuple(column for column in columns if column not in _INTERNAL),
        identity={"dataset": dataset.digest, "split": split},
        tidied=True,
        distinct=False,
        names=label_names(dataset),
        source=f"{split} rows of {source}",
        licence=licence,
        pairs=pair_columns(dataset) is not None,
        task=TASKS[task],
    )


def _split_rows(path: Path) -> Iterator[Raw]:
    place = 0
    for batch in read_batches(path, rows=_BATCH_ROWS):
        for row in batch.to_pylist():
            place += 1
            yield Raw(place=place, text=row["text"], label=row["label"], id=row["id"], slices=row)


def _provenance(profile: Mapping[str, Any]) -> tuple[str, str]:
    """Source and licence as the profile states them, of one source or several."""
    entries = profile.get("sources") or [profile]
    sources = [str(entry.get("source", "")) for entry in entries]
    licences = [str(entry["licence"]) for entry in entries if entry.get("licence")]
    return "; ".join(dict.fromkeys(sources)), "; ".join(dict.fromkeys(licences))


def of_source(case: Case, task: str) -> Given:
    """A source of the case's own; its rows are not tidied.

    Reading them raises DataError for a file that is not what its format says, a column that is not there, and a label
    of `label_map` that no row has.

    Args:
        case: with a source.
        task: of the suite; its labels are read as `prepare` reads them.

    Raises:
        SourceError: it cannot be had.
        DataError: its format cannot be told, or a slice has a name of ours.
        TypeError: the case has no source; the suite's model lets none through.
    """
    if case.source is None:
        raise TypeError(case.name)
    taken = [name for name in case.slices if name in _TAKEN]
    if taken:
        raise DataError(
            f"case {case.name}: a slice cannot be called {taken[0]!r}",
            cause="ftdeploy has a column of that name; by label and by case the rows are cut anyway",
            fix="rename the column, or leave it out",
        )
    described = describe(case.source)
    (opened,) = open_sources(DataSettings.model_construct(source=case.source))
    identity = {
        "source": dump_section(case.source),
        "content": fingerprint(case.source),
        "columns": dump_section(case.columns),
        "label_map": dict(case.label_map),
        "slices": list(case.slices),
        "task": task,
    }
    return Given(
        name=case.name,
        read=partial(_source_rows, case, opened, TASKS[task]),
        slices=case.slices,
        identity=identity,
        tidied=False,
        distinct=case.duplicates == "drop",
        names=(),
        source=described["source"],
        licence=described.get("licence", ""),
        pairs=case.columns.text_pair is not None,
        task=TASKS[task],
    )


def paired(text: Any, second: Any) -> str | Rejected | None:
    """The cells of two texts as one string; or why there is none."""
    first, other = as_text(text), as_text(second)
    if not isinstance(first, str) or not first.strip():
        return first
    if isinstance(other, Rejected):
        return Rejected(reason=f"has a second one that {other.reason}")
    return join(first, other) if other and other.strip() else Rejected(reason="has no second one beside it")


def _source_rows(case: Case, opened: Opened, task: Task) -> Iterator[Raw]:
    columns = case.columns
    parts = (columns.text, columns.text_pair, columns.label, columns.id)
    named = [*(name for name in parts if name is not None), *case.slices]
    seen: dict[str, None] = {}
    met: Counter[str] = Counter()
    forms = {name: getattr(columns, name) for name in FORMS}
    read = Columns(label=columns.label, **forms)
    data = DataSettings.model_construct(source=case.source, columns=read)
    for row in read_source(opened, data, wanted=tuple(named)):
        if not seen.keys() >= row.values.keys():
            seen.update(dict.fromkeys(row.values))
        text, label = _cells(row.values, case, task)
        called = clean_label(label)
        if isinstance(called, str):
            names = task.names(called)
            met.update(one for one in names if len(met) < _BATCH_ROWS or one in case.label_map)
            label = task.renamed(called, case.label_map) if case.label_map else called
        name = row.values.get(columns.id) if columns.id else row.name or None
        if columns.text_pair is not None:
            text = paired(text, row.values.get(columns.text_pair))
        yield Raw(place=row.place, text=text, label=label, id=name, slices=row.values)
    whose = f"case {case.name}"
    if not seen:
        raise no_rows(f"{whose}: {opened.path.name}")
    missing = [name for name in named if name not in seen]
    if missing:
        raise no_column(missing, seen, whose=whose, under="the case's `columns` or `slices`")
    check_label_map(whose, case.label_map, (label for label, _ in met.most_common()))


def _cells(row: Mapping[str, Any], case: Case, task: Task) -> tuple[Any, Any]:
    """Text and label of a row as the task reads them; instead of a label that is none of it, the reason."""
    columns = case.columns
    try:
        return task.read(row, columns.text, columns.label, columns.label_separator)
    except ValueError as error:
        return row.get(columns.text), Rejected(reason=f"does not fit: {error}")
