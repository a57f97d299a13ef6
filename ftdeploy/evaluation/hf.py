"""The bridge to `evaluate`, both ways: its suites run here, and ours there.

`subtasks` makes of a suite's cases what `evaluate.EvaluationSuite` runs; `read_evaluate_suite` makes rows and gates of
such a suite. Data sets are read by `datasets`: local ones need no network.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from ftdeploy.errors import ConfigError, DataError, DependencyError, FtdeployError, did_you_mean
from ftdeploy.evaluation.cases import Rows, gather, join, keep
from ftdeploy.evaluation.listing import find_suite, read_suite
from ftdeploy.evaluation.origins import Given, Raw, paired
from ftdeploy.metrics import METRICS, SPAN_METRICS
from ftdeploy.pairs import TEXT_PAIR, with_two_columns
from ftdeploy.prepare.clean import Rejected
from ftdeploy.prepare.hub import class_names, stream
from ftdeploy.starter import supported_margin
from ftdeploy.suite import NonInferiority, Suite, suites_folder
from ftdeploy.tasks import TASKS, Task
from ftdeploy.user_code import import_file, line_in
from ftdeploy.validate.crosscheck import light_evaluate

#: What `evaluate` calls the tasks that are judged here; it has none of any number of labels, and none of numbers.
_TASKS = {
    "text-classification": "text-classification",
    "sentiment-analysis": "text-classification",
    "token-classification": "token-classification",
}
#: Metrics of `evaluate` by the names that they have here; its f1 is of one class, unless it is told an average, and of
#: what seqeval gives, f1 decides.
_CALLED = {"accuracy": "accuracy", "f1": "macro_f1", "seqeval": "entity_f1"}
#: Columns of a subtask that names none, as `evaluate` has them.
_COLUMNS = {"text-classification": ("text", "label"), "token-classification": ("tokens", "ner_tags")}


def subtasks(name: str) -> list[Any]:
    """The cases of a suite as `evaluate.evaluation_suite.SubTask`, for a class ``Suite`` in a module of one's own.

    Labels are class ids there, and ``label_mapping`` says which; the metrics are those of the suite, by the modules of
    ftdeploy, so that nothing is fetched.

    Args:
        name: of the suite, or the path of its file.

    Raises:
        ConfigError: there is no such suite, it has no cases, or `evaluate` has nothing that judges its task.
        FtdeployError: what reading its rows raises.
    """
    import datasets
    import evaluate
    from evaluate.evaluation_suite import SubTask

    suite = read_suite(find_suite(name))
    if not TASKS[suite.task].one_label:
        raise ConfigError(
            f"suite {suite.name} is of {suite.task}, which `evaluate` does not judge on such rows",
            cause="its text classification has one label a row, and its token classification wants words, not texts "
            "with character offsets",
            fix="run the suite with `ftdeploy eval`",
        )
    if not suite.cases:
        raise ConfigError(
            f"suite {suite.name} has no cases, and `evaluate` wants rows",
            cause="it is a suite of a run, whose rows are the run's own",
            fix="give it `cases:`",
        )
    metric = evaluate.combine([evaluate.load(_module(metric)) for metric in suite.metrics])
    made = []
    for case in suite.cases:
        rows = gather([case], seed=suite.seed, task=suite.task)
        ids = {label: place for place, label in enumerate(rows.names)}
        picked = rows.table.select(["text", "id"])
        table = (with_two_columns(picked) if rows.pairs else picked).to_pydict()
        labels = [ids[label] for label in rows.table["label"].to_pylist()]
        features = datasets.Features(
            {
                **dict.fromkeys(table, datasets.Value("string")),
                "label": datasets.ClassLabel(names=list(rows.names)),
            }
        )
        data = datasets.Dataset.from_dict({**table, "label": labels}, features=features)
        arguments = {"metric": metric, "input_column": "text", "label_column": "label", "label_mapping": ids}
        if rows.pairs:
            arguments["second_input_column"] = TEXT_PAIR
        made.append(SubTask(task_type="text-classification", data=data, args_for_task=arguments))
    return made


def _module(metric: str) -> str:
    """The file of a metric for `evaluate.load`."""
    return metric if metric.endswith(".py") else str(suites_folder() / "metrics" / f"{metric}.py")


def read_evaluate_suite(path: Path, *, gated: bool) -> tuple[Suite, Rows]:
    """A Python file with a class ``Suite`` of `evaluate`, as rows and rules.

    Each of its subtasks is a case. Its code runs with your rights, as `evaluate` runs it.

    Args:
        path: the file.
        gated: there will be a baseline: non-inferiority of each metric, by the margin that so many rows support.

    Raises:
        ConfigError: the file has no such class, a subtask is of another task than those known here or than the others,
            or its metric is not known.
        DataError: a data set cannot be read, or its labels cannot be told.
        DependencyError: `evaluate` is not installed.
    """
    try:
        with light_evaluate():
            return _read(path, gated=gated)
    except ModuleNotFoundError as error:
        if error.name not in ("datasets", "evaluate"):
            raise
        raise DependencyError(
            f"a Python suite needs the package {error.name}",
            cause="ftdeploy was installed without its training extra",
            fix="pip install 'ftdeploy[train]'",
        ) from error


def _read(path: Path, *, gated: bool) -> tuple[Suite, Rows]:
    tasks = _load(path)
    does = _task(tasks, path.name)
    metrics, parts = [], []
    for number, task in enumerate(tasks, start=1):
        where = f"{path.name}, subtask {number}"
        arguments = dict(task.args_for_task or {})
        metrics += [_metric(metric, does, where) for metric in _single(arguments.get("metric"))]
        given = _given(task, arguments, does, number, where)
        # What is behind a name may be another data set tomorrow, and code of the suite's own may make other rows.
        parts.append(keep(given, limit=None, seed=0, prefixed=len(tasks) > 1, refresh=True))
    rows = join(parts)
    names = tuple(dict.fromkeys(metrics))
    margin = supported_margin(len(rows), drop=0.0)
    gates = tuple(NonInferiority(kind="non-inferiority", metric=name, margin=margin) for name in names) if gated else ()
    return Suite(name=path.stem, task=does.name, metrics=names, gates=gates), rows


def _task(tasks: list[Any], name: str) -> Task:
    """What all of the subtasks are about."""
    for number, task in enumerate(tasks, start=1):
        if task.task_type not in _TASKS:
            raise ConfigError(
                f"{name}, subtask {number}: the task {task.task_type!r} is not one of {', '.join(_TASKS)}",
                cause="ftdeploy judges other models by suites of its own",
                fix="take the subtask out, or run the suite with `evaluate` itself",
            )
        if _TASKS[task.task_type] != _TASKS[tasks[0].task_type]:
            raise ConfigError(
                f"{name}, subtask {number}: the task {task.task_type!r} is another one than {tasks[0].task_type!r} "
                "before it",
                cause="a suite judges one model here",
                fix="make a file of each task's subtasks",
            )
    return TASKS[_TASKS[tasks[0].task_type]]


def _load(path: Path) -> list[Any]:
    """The subtasks of the class ``Suite`` in a file."""
    import evaluate

    try:
        module = import_file(path)
    except FtdeployError:
        raise
    except Exception as error:  # it is the user's code: whatever it raises is told in its own words
        raise ConfigError(
            f"{path} cannot be imported: {type(error).__name__}: {error}{line_in(error, path)}",
            cause="its code raises when it is imported",
            fix="run it with Python alone and correct it",
        ) from error
    found = getattr(module, "Suite", None)
    if not (isinstance(found, type) and issubclass(found, evaluate.EvaluationSuite)):
        raise ConfigError(
            f"{path} has no class Suite that is an evaluate.EvaluationSuite",
            cause="`evaluate` looks for a class of that very name",
            fix="call it Suite; huggingface.co/docs/evaluate says what is in it (`self.suite`, a list of SubTask)",
        )
    tasks = list(found(path.stem).suite)
    if not tasks:
        raise ConfigError(f"{path}: the suite has no subtasks", cause="its list is empty", fix="add a SubTask")
    return tasks


def _single(metric: Any) -> list[Any]:
    """The metrics of `evaluate.combine`; another one alone."""
    return list(getattr(metric, "evaluation_modules", None) or [metric])


def _metric(metric: Any, task: Task, where: str) -> str:
    """The name that a subtask's metric has here, or its file."""
    name = metric if isinstance(metric, str) else getattr(metric, "name", None)
    if metric is None:
        return task.metrics[0]  # accuracy and the F1 of seqeval, as `evaluate` has them
    if task.one_label and isinstance(name, str) and name.endswith(".py") and Path(name).is_file():
        stem = Path(name).stem
        return stem if stem in METRICS else str(Path(name).resolve())
    known = _CALLED.get(str(name), str(name))
    listed = METRICS if task.one_label else SPAN_METRICS
    if known not in listed:
        own = "; or name the .py file of an `evaluate.Metric`" if task.one_label else ""
        raise ConfigError(
            f"{where}: the metric {name!r} is not known for {task.name}",
            cause="metrics of the hub are not fetched",
            fix=did_you_mean(str(name), listed) + own,
        )
    return known


def _given(task: Any, arguments: Mapping[str, Any], does: Task, number: int, where: str) -> Given:
    data, called = _data(task, where)
    usual_text, usual_label = _COLUMNS[does.name]
    text, label = (
        str(arguments.get(name) or usual)
        for name, usual in (("input_column", usual_text), ("label_column", usual_label))
    )
    second = arguments.get("second_input_column") if does.pairs else None
    columns = data.column_names or list(next(iter(data), {}))
    missing = [name for name in (text, second, label) if name is not None and name not in columns]
    if missing:
        raise DataError(
            f"{where}: there is no column {missing[0]!r}; the columns are: {', '.join(columns)}",
            cause="input_column, second_input_column or label_column names a column that the data set does not have",
            fix=did_you_mean(missing[0], columns),
        )
    names: tuple[str, ...]
    if does.per_token:
        names, read = (), partial(_tagged_rows, data, text, label, str(arguments.get("join_by") or " "), does)
    else:
        meant = _names(data, label, arguments.get("label_mapping"), where)
        names, read = tuple(dict.fromkeys(meant.values())), partial(_rows, data, text, second, label, meant)
    return Given(
        name=called or f"task-{number}",
        read=read,
        slices=(),
        identity={"subtask": where, "columns": [text, second, label]},
        tidied=True,  # `evaluate` judges what is there, and so do we
        distinct=False,
        names=names,
        source=_described(task),
        licence=str(getattr(data.info, "license", "") or ""),
        pairs=second is not None,
        task=does,
    )


def _described(task: Any) -> str:
    """What the data set of a subtask is called in reports: no path of this machine."""
    if not isinstance(task.data, str):
        return "data set of the suite's own code"
    return ", ".join(filter(None, (f"data set {Path(task.data).name}", task.subset, task.split)))


def _data(task: Any, where: str) -> tuple[Any, str]:
    """The rows of a subtask, and what they are called; those behind a name are read as a stream."""
    import datasets

    if not isinstance(task.data, str):
        data, name = task.data, ""
    else:
        from evaluate.evaluator.utils import choose_split

        try:
            split = task.split or choose_split(task.data, task.subset)
            data = stream(task.data, subset=task.subset, split=split)
        except (ValueError, OSError, TypeError, KeyError, datasets.exceptions.DatasetsError) as error:
            raise DataError(
                f"{where}: the data set {task.data!r} cannot be loaded: {' '.join(str(error).split())[:300]}",
                cause="its name, subset or split is wrong, or it is on the hub and there is no network",
                fix="correct it; a local folder in the hub's layout needs no network",
            ) from error
        name = "-".join(filter(None, (Path(task.data).name, task.subset, split)))
    return (data.map(task.data_preprocessor) if task.data_preprocessor else data), name


def _names(data: Any, column: str, mapping: Mapping[str, Any] | None, where: str) -> dict[Any, str]:
    """Label as the data set has it -> label of the model.

    ``label_mapping`` goes from the model's labels to those of the data set; of several labels that it gives one number,
    the first is taken.
    """
    if mapping:
        found: dict[Any, str] = {}
        for label, value in mapping.items():
            found.setdefault(value, str(label))
        return found
    named = getattr((data.features or {}).get(column), "names", None)
    if named:
        return dict(enumerate(map(str, named)))
    values = sorted({row[column] for row in data}, key=str)
    if not all(isinstance(value, str) for value in values):
        raise DataError(
            f"{where}: the labels are {', '.join(map(str, values[:10]))}, and nothing says which label is which",
            cause="the column holds numbers, and there is no label_mapping",
            fix='give args_for_task a label_mapping, as {"negative": 0, "positive": 1}',
        )
    return {value: value for value in values}


def _rows(data: Any, text: str, second: str | None, label: str, names: Mapping[Any, str]) -> Iterator[Raw]:
    for place, row in enumerate(data, start=1):
        found = row[label]
        told = row[text] if second is None else paired(row[text], row[second])
        yield Raw(place=place, text=told, label=names.get(found, found), id=None, slices={})


def _tagged_rows(data: Any, tokens: str, tags: str, between: str, task: Task) -> Iterator[Raw]:
    """Rows of words and their tags as texts with spans."""
    named = class_names(data.features).get(tags)
    for place, row in enumerate(data, start=1):
        words, told = row[tokens], row[tags] if named is None else named(row[tags])
        text = between.join(map(str, words)) if isinstance(words, list) else words
        try:
            text, label = task.read({"text": text, "tokens": words, "tags": told}, "text", "tags")
        except ValueError as error:
            label = Rejected(reason=f"does not fit: {error}")
        yield Raw(place=place, text=text, label=label, id=None, slices={})
