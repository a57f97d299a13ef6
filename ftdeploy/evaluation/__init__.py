"""`ftdeploy eval`: any model held against another, or judged alone, by a suite, on the rows of the suite's cases.

What `validate` does for the model of a run, with the same engine and the same report, for whatever answers texts.
"""

from __future__ import annotations

import hashlib
import re
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ftdeploy import progress
from ftdeploy.artifact import MANIFEST, Artifact
from ftdeploy.batching import SERVED, Batching
from ftdeploy.errors import ConfigError, DataError, ModelError, Problem, did_you_mean, first_of
from ftdeploy.evaluation.cases import Rows, gather, rows_of_run
from ftdeploy.evaluation.folder import check_folder, default_folder, store, utc_now
from ftdeploy.evaluation.plan import in_words
from ftdeploy.models import Model, open_model
from ftdeploy.models.local import served_batching
from ftdeploy.models.predictions import predictions_folder
from ftdeploy.signature import read_signature
from ftdeploy.suite import Ratio, Suite, wants_baseline
from ftdeploy.tasks import TASKS
from ftdeploy.validate.evaluation import evaluate_models
from ftdeploy.verdict import Compared, Report, refuse

if TYPE_CHECKING:
    from collections.abc import Sequence

#: What a model is called in a report, where nothing but its address says it.
_LAST_PART = re.compile(r"[^/\\]+(?=[/\\]*$)")
#: A name that transformers gives to a class when nobody named it.
_UNNAMED = re.compile(r"LABEL_\d+")


@dataclass(frozen=True, kw_only=True)
class Evaluated:
    """A report, and the folder that it stands in."""

    report: Report
    folder: Path

    def refuse(self) -> None:
        """Stop unless every gate passed.

        Raises:
            GateFailed: a gate failed.
            GateInconclusive: none failed, but one could not tell.
        """
        files = dict.fromkeys(("report.json", "report.html"), "")
        refuse(Artifact(kind="report", path=self.folder, digest="", made_by="eval@1", files=files))


def evaluate_suite(suite: Suite, *, candidate: str, baseline: str | None = None, absolute: bool = False,
                   rows: Rows | None = None, report: Path | None = None, device: str = "auto",
                   refresh: bool = False) -> Evaluated:  # fmt: skip
    """Judge a model by a suite, and write the report, whatever the verdict.

    Args:
        suite: the rules and the cases.
        candidate: what is judged: whatever `ftdeploy.models.open_model` opens.
        baseline: what it is held against. None takes the fp32 export in the candidate's run folder.
        absolute: judge the candidate alone; gates that want a baseline are not asked.
        rows: what it is run on; None takes the suite's cases, or without any the test rows of the run that the
            candidate, or else the baseline, stands in.
        report: the report's folder; None takes one below ``reports``.
        device: ``auto``, ``cpu`` or ``cuda``.
        refresh: read rows and ask models anew, whatever is kept of them.

    Raises:
        ConfigError: gates want a baseline and there is none; the report's folder holds something else; a gate or a
            golden row wants what the rows or models do not have; rows are of another task than the suite.
        DataError: a case has a label that the candidate does not have.
        ModelError: a model is of another task than the suite.
        FtdeployError: what `gather`, `open_model` and the engine raise.
    """
    if report is not None:
        check_folder(report)
    if baseline is None and not absolute:
        baseline = beside(candidate)
        _check_baseline(suite, baseline)
    with ExitStack() as opened:
        judged = opened.enter_context(closing(open_model(candidate, device=device, task=suite.task)))
        _check_task(judged, suite)
        rows = rows or rows_for(suite, candidate=candidate, baseline=baseline, refresh=refresh)
        batching = SERVED if judged.folder is None else served_batching(judged.folder)
        held = None
        if baseline is not None and not absolute:
            held = _open(baseline, rows, judged, device=device, batching=batching, task=suite.task)
            opened.enter_context(closing(held))
            _check_task(held, suite)
        if _counts_only(judged.labels, rows):
            wanted = held.labels if held is not None and not _counts_only(held.labels, rows) else rows.names
            judged.close()
            judged = opened.enter_context(closing(open_model(candidate, device=device, labels=wanted, task=suite.task)))
        if TASKS[suite.task].one_label:
            _check_labels(rows, judged)
        now = utc_now()
        found, answers = evaluate_models(
            suite,
            rows.table,
            candidate=judged,
            baseline=held,
            dataset=_dataset(rows),
            name=_name(judged),
            task=suite.task,
            pairs=rows.pairs,
            batching=batching,
            device=device,
            cases=rows.cases,
            cache=predictions_folder(),
            refresh=refresh,
            created=now.isoformat().replace("+00:00", "Z"),
        )
    target = report or default_folder(suite.name, found.candidate.digest, now)
    check_folder(target)
    store(found, answers, target)
    return Evaluated(report=found, folder=target)


def _check_task(model: Model, suite: Suite) -> None:
    """Whether a model answers what a suite asks; services and checkpoints were asked for just that when opened."""
    task = suite.task if model.folder is None else read_signature(model.folder).task
    if task != suite.task:
        raise ModelError(
            f"{model.name} does {task}, and suite {suite.name} judges {suite.task}",
            cause="the suite does not say its `task`, or was written for other models",
            fix=f"set `task: {task}` in the suite, with metrics of that task; or judge another model",
        )


def _check_labels(rows: Rows, model: Model) -> None:
    """Whether a model has the labels of the rows, one of which it is to choose."""
    for case, counts in rows.labels.items():
        odd = next((label for label in counts if label not in model.labels), None)
        if odd is not None:
            raise DataError(
                f"case {case}: {counts[odd]:,} row(s) have the label {odd!r}, first {_first(rows, case, odd)}, and "
                f"{model.name} has {first_of(tuple(map(repr, model.labels)), 10)}",
                cause="the data calls a label otherwise than the model does, or the model was trained without it",
                fix=f"{did_you_mean(odd, model.labels)}; name it in the case's `label_map`, correct the rows, or leave "
                "them out",
            )


def _first(rows: Rows, case: str, label: str) -> str:
    """Id of the first row of a case with a label."""
    table = rows.table
    cases = table["case"].to_pylist() if len(rows.cases) > 1 else [case] * len(rows)
    return str(table["id"][list(zip(cases, table["label"].to_pylist(), strict=True)).index((case, label))])


def rows_for(suite: Suite, *, candidate: str | None, baseline: str | None, refresh: bool = False) -> Rows:
    """The rows that a suite is run on.

    Args:
        suite: with cases, or without.
        candidate, baseline: the models, whose run has the rows of a suite without cases.
        refresh: read them anew.

    Raises:
        ConfigError: there are no cases, and no model in the folder of a run.
        FtdeployError: what `gather` raises.
    """
    if suite.cases:
        pooled = any(not gate.case for gate in suite.gates if not isinstance(gate, Ratio))  # costs count no evidence
        return gather(suite.cases, seed=suite.seed, task=suite.task, pooled=pooled, refresh=refresh)
    for run in filter(None, (_run_of(candidate), _run_of(baseline))):
        if (run / "dataset" / MANIFEST).is_file():
            progress.say(f"the suite has no cases: the test rows of {run} are taken")
            return rows_of_run(run, task=suite.task, refresh=refresh)
    raise ConfigError(
        f"suite {suite.name} has no cases, and there is no run whose test rows could be taken",
        cause="neither candidate nor baseline stands in the folder of a run, beside its dataset",
        fix="give the suite `cases:`; `ftdeploy eval init DATA.csv` writes a suite with one",
    )


def beside(candidate: str) -> str | None:
    """The fp32 export in the run folder of a model, to hold the model against; None where there is none."""
    run = _run_of(candidate)
    if run is None or Path(candidate).resolve() == (run / "onnx").resolve() or not (run / "onnx" / MANIFEST).is_file():
        return None
    progress.say(f"no --baseline is given: {run / 'onnx'} is taken, the fp32 export of the same run")
    return str(run / "onnx")


def _run_of(place: str | None) -> Path | None:
    """The folder of the run that a model stands in."""
    if place is None or place.startswith(("http://", "https://")):
        return None
    folder = Path(place).expanduser()
    return folder.parent if (folder / MANIFEST).is_file() else None


def _check_baseline(suite: Suite, baseline: str | None) -> None:
    wanting = [gate for gate in suite.gates if wants_baseline(gate)]
    if baseline is not None or not wanting:
        return
    raise ConfigError(
        f"suite {suite.name}: {len(wanting)} of {len(suite.gates)} gates hold the candidate against a baseline, and "
        "there is none",
        cause="--baseline is not given, and no fp32 export stands beside the candidate",
        fix="name one with --baseline; or judge the candidate alone by the other gates with --absolute",
        problems=[
            Problem(path=f"gates[{place}]", message=in_words(gate))
            for place, gate in enumerate(suite.gates)
            if wants_baseline(gate)
        ],
    )


def _open(place: str, rows: Rows, other: Model, *, device: str, batching: Batching, task: str) -> Model:
    """The baseline; where it only counts its labels, with those of the candidate or of the rows."""
    model = open_model(place, device=device, batching=batching, task=task)
    if not _counts_only(model.labels, rows):
        return model
    model.close()
    wanted = rows.names if _counts_only(other.labels, rows) else other.labels
    return open_model(place, device=device, batching=batching, labels=wanted, task=task)


def _counts_only(labels: Sequence[str], rows: Rows) -> bool:
    """Whether a model has no names for its labels, and the rows have."""
    return bool(labels) and all(_UNNAMED.fullmatch(label) for label in labels) and not set(rows.names) <= set(labels)


def _dataset(rows: Rows) -> Compared:
    digest = rows.cases[0].digest
    if len(rows.cases) > 1:
        digest = hashlib.sha256("".join(f"{case.name}\0{case.digest}\n" for case in rows.cases).encode()).hexdigest()
    return Compared(made_by="; ".join(case.source for case in rows.cases), digest=digest,
                    name=", ".join(case.name for case in rows.cases), kind="dataset")  # fmt: skip


def _name(model: Model) -> str:
    """What the model calls itself; else the last part of its address."""
    if model.folder is not None:
        return read_signature(model.folder).name
    found = _LAST_PART.search(model.name)
    return found.group() if found else model.name
