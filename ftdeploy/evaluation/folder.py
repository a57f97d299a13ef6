"""Where a report stands: written beside its place and renamed, so that it is there whole or not at all."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path

from ftdeploy.artifact import MANIFEST, recover
from ftdeploy.errors import ConfigError
from ftdeploy.report_folder import whole_report
from ftdeploy.validate.answers import Answers
from ftdeploy.validate.render import write_report
from ftdeploy.verdict import Report

#: Where reports go that no folder is named for.
REPORTS = Path("reports")


def default_folder(suite: str, digest: str, now: datetime) -> Path:
    """``reports/SUITE-DIGEST-TIME``, by the suite's name, the candidate's digest, and the time in UTC."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", suite).strip("-.") or "suite"
    return REPORTS / f"{name}-{digest[:12]}-{now.astimezone(UTC):%Y%m%dT%H%M%SZ}"


def check_folder(target: Path) -> None:
    """Refuse a place for a report, before anything is computed.

    Raises:
        ConfigError: something stands there that is no earlier report of ours, or more than that.
    """
    recover(target)
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return
    if target.is_dir() and _is_report(target):
        return
    raise ConfigError(
        f"{target} exists already, and is no report of `ftdeploy eval`",
        cause="--report names a folder with other things in it, or the report of a run",
        fix="name another folder, or move this one away",
    )


def _is_report(folder: Path) -> bool:
    if (folder / MANIFEST).exists() or any(path.is_dir() for path in folder.iterdir()):
        return False
    try:
        body = json.loads((folder / "report.json").read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(body, dict) and {"schema", "suite", "gates", "candidate"} <= body.keys()


def store(report: Report, answers: Answers, target: Path) -> None:
    """Write a report into a folder; an earlier one there is replaced.

    Args:
        report, answers: what the engine made.
        target: what `check_folder` let through.

    Raises:
        StorageError: the disk refuses.
    """
    with whole_report(target) as partial:
        write_report(report, answers, partial)


def utc_now() -> datetime:
    """The time, in UTC, without fractions of a second."""
    return datetime.now(UTC).replace(microsecond=0)
