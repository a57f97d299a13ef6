"""The folder of a report: whole or not at all, and nobody's things are overwritten."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from ftdeploy.errors import ConfigError
from ftdeploy.evaluation.folder import check_folder, default_folder

BODY = '{"schema": 2, "suite": "a", "gates": [], "candidate": {}}'


def test_the_default_says_suite_model_and_time() -> None:
    """In UTC, and as one name of a folder whatever the suite is called."""
    now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert default_folder("my/suite: x", "abcdef0123456789", now) == Path(
        "reports/my-suite-x-abcdef012345-20260102T030405Z"
    )
    assert default_folder("../..", "ab", now).parent == Path("reports")


def test_an_earlier_report_may_be_replaced(tmp_path: Path) -> None:
    """And so may nothing, or an empty folder."""
    check_folder(tmp_path / "new")
    check_folder(tmp_path)
    (tmp_path / "report.json").write_text(BODY, encoding="utf-8")
    (tmp_path / "flips.csv").write_text("", encoding="utf-8")
    check_folder(tmp_path)


@pytest.mark.parametrize("name", ["artifact.json", "notes/mine.txt"])
def test_what_is_more_than_a_report_stays(tmp_path: Path, name: str) -> None:
    """The report of a run is sealed; somebody's folder is somebody's."""
    (tmp_path / "report.json").write_text(BODY, encoding="utf-8")
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("{}", encoding="utf-8")
    with pytest.raises(ConfigError, match="no report of `ftdeploy eval`"):
        check_folder(tmp_path)


@pytest.mark.parametrize("body", ["{}", "[1]", "not json", None])
def test_what_is_no_report_stays(tmp_path: Path, body: str | None) -> None:
    """Also a file, and a report.json of something else."""
    target = tmp_path / "target"
    if body is None:
        target.write_text("a file", encoding="utf-8")
    else:
        target.mkdir()
        (target / "report.json").write_text(body, encoding="utf-8")
    with pytest.raises(ConfigError):
        check_folder(target)
    assert target.exists()


def test_a_replacement_that_a_crash_cut_in_half_is_mended(tmp_path: Path) -> None:
    """The earlier report is back in its place."""
    old = tmp_path / "target.old"
    old.mkdir()
    (old / "report.json").write_text(BODY, encoding="utf-8")
    check_folder(tmp_path / "target")
    assert (tmp_path / "target" / "report.json").read_text(encoding="utf-8") == BODY
    assert not old.exists()
