"""Reports are there whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from ftdeploy.errors import StorageError
from ftdeploy.report_folder import whole_report


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def write(target: Path, name: str, error: Exception | None = None) -> None:
    with whole_report(target) as partial:
        (partial / name).touch()
        if error is not None:
            raise error


def test_a_later_report_takes_the_place_of_an_earlier_one(tmp_path: Path) -> None:
    """Nothing of the earlier one is left, in the folder or beside it."""
    write(tmp_path / "there" / "report", "one")
    write(tmp_path / "there" / "report", "two")
    assert names(tmp_path / "there") == {"report", "report/two"}


@pytest.mark.parametrize(("error", "told"), [(OSError(28, "No space left"), StorageError), (ValueError(), ValueError)])
def test_a_report_that_fails_leaves_the_earlier_one(tmp_path: Path, error: Exception, told: type[Exception]) -> None:
    """A disk that refuses is told in three parts; another error is left as it is."""
    write(tmp_path / "report", "one")
    with pytest.raises(told):
        write(tmp_path / "report", "two", error)
    assert names(tmp_path) == {"report", "report/one"}
