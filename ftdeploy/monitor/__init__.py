"""`monitor`: what the service recorded, held against what the bundle was made of."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from ftdeploy.artifact import no_artifact, recover
from ftdeploy.drift import read_reference
from ftdeploy.errors import ArtifactError, ConfigError, DriftFound, GateInconclusive
from ftdeploy.files import write_json, write_text
from ftdeploy.monitor.options import read_options
from ftdeploy.monitor.report import make_report
from ftdeploy.monitor.result import MonitorReport, monitor_schema
from ftdeploy.monitor.to_label import to_label, write_queue
from ftdeploy.monitor.window import Window, read_window
from ftdeploy.report_folder import whole_report
from ftdeploy.signature import read_signature
from ftdeploy.tasks import TASKS

if TYPE_CHECKING:
    from ftdeploy.metrics import Floats

__all__ = ["MonitorReport", "Monitored", "monitor_bundle", "monitor_schema"]

PAGE, REPORT, QUEUE = "drift.html", "drift.json", "to_label.csv"
#: Nothing else is in a report's folder, so that only a report is ever replaced.
_FILES = frozenset({PAGE, REPORT, QUEUE})
_SEED = 13


@dataclass(frozen=True, kw_only=True)
class Monitored:
    """A report and where it is.

    Attributes:
        report: the report.
        folder: holds drift.html, drift.json and, where there is anything to label, to_label.csv.
    """

    report: MonitorReport
    folder: Path

    @property
    def _advice(self) -> str:
        if not self.report.to_label:
            return "see whether the model is still the right one for these texts"
        return f"label the rows of {QUEUE} and train with them"

    def refuse(self) -> None:
        """Say by an error what the verdict is, unless there is no drift.

        Raises:
            DriftFound: the traffic has drifted.
            GateInconclusive: there are too few rows to tell.
        """
        page = self.folder / PAGE
        if self.report.verdict == "drift":
            raise DriftFound(
                self.report.summary,
                cause="the texts that come in differ from those that the bundle was made of",
                fix=f"open {page}; {self._advice}",
            )
        if self.report.verdict == "inconclusive" and self.report.skipped:
            raise GateInconclusive(
                self.report.summary,
                cause="this bundle was not served there, or not for long; or --since and --until leave little of it",
                fix="name the bundle that was served, or its traffic with --traffic; or wait for more",
            )
        if self.report.verdict == "inconclusive":
            raise GateInconclusive(
                self.report.summary,
                cause="little was served yet, or --since and --until leave little",
                fix="wait for more traffic, or take a longer time",
            )


def monitor_bundle(bundle: Path, *, traffic: Path | None = None, since: float | None = None,
                   until: float | None = None, report: Path | None = None) -> Monitored:  # fmt: skip
    """Hold the traffic of a bundle against its drift reference, and write a report.

    Args:
        bundle: its folder.
        traffic: where its service recorded; None is where it does so by itself (`traffic` beside the bundle, or
            `FTDEPLOY_TRAFFIC`).
        since, until: unix seconds; None is all there is.
        report: the report's folder; None is ``drift`` beside the bundle. An earlier report there is replaced.

    Raises:
        ArtifactError: this is no bundle, or a damaged one.
        DataError: there is no traffic.
        ConfigError: the report's folder holds other things, or ``since`` is not before ``until``.
        StorageError: the disk refuses.
    """
    from ftdeploy.serve.model import bundle_digest
    from ftdeploy.serve.traffic_options import traffic_folder

    if since is not None and until is not None and since >= until:
        raise ConfigError(
            "--since is not before --until, so that no row lies between them",
            cause="they were exchanged, or one of them is of another day or zone; times without a zone are UTC",
            fix="give the earlier one as --since",
        )
    source = bundle / "src"
    if not (source / "model").is_dir():
        raise no_artifact(bundle)
    signature = read_signature(source / "model")
    options = read_options(signature.monitor)
    try:
        reference = read_reference(source / "model" / "drift_reference.npz")
        reference["sample"], reference["length_counts"]
    except (OSError, ValueError, KeyError) as error:
        raise ArtifactError(
            f"the drift reference of {bundle} cannot be read: {error}",
            cause="the bundle is damaged, or was made by hand",
            fix="make the bundle again with `ftdeploy run`",
        ) from error
    target = report or bundle.resolve().parent / "drift"
    _check_folder(target)
    digest = bundle_digest(source)
    folder = traffic or traffic_folder(source) or bundle.resolve().parent / "traffic"
    task = TASKS[signature.task]
    labels = task.summaries(signature.labels)
    window = read_window(folder, task, labels, digest=digest, since=since, until=until)
    found, scores = make_report(reference, window, signature, options, digest=digest, seed=_SEED, now=datetime.now(UTC))
    count = 0 if task.vectors else options.label_rows  # nobody can say which vector is right
    return _store(found, window, scores, target, count=count, labels=labels, unsure=task.probabilities)


def _check_folder(target: Path) -> None:
    recover(target)
    if target.exists() and not (target.is_dir() and {path.name for path in target.iterdir()} <= _FILES):
        raise ConfigError(
            f"{target} exists already, and is no report of `ftdeploy monitor`",
            cause="--report names a folder with other things in it",
            fix="name another folder, or move this one away",
        )


def _store(found: MonitorReport, window: Window, scores: Floats, target: Path, *, count: int,
           labels: tuple[str, ...], unsure: bool) -> Monitored:  # fmt: skip
    from ftdeploy.monitor.page import render

    with whole_report(target) as partial:
        if found.verdict != "inconclusive" and count:
            queue = to_label(window, scores, count=count, seed=_SEED, unsure=unsure)
            write_queue(partial / QUEUE, window, queue, scores, labels, unsure=unsure)
            found = found.model_copy(update={"to_label": len(queue)})
        body = found.model_dump(mode="json")
        write_json(partial / REPORT, {"schema": body.pop("schema_")} | body)
        write_text(partial / PAGE, render(found))
    return Monitored(report=found, folder=target)
