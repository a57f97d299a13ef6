"""A folder with a report of a command: there whole or not at all, in the place of an earlier one."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ftdeploy.artifact import recover
from ftdeploy.errors import StorageError


@contextmanager
def whole_report(target: Path) -> Iterator[Path]:
    """An empty folder to write into; it takes the place of ``target`` when the block ends well.

    Args:
        target: nothing, or an earlier report, which comes back where the block fails.

    Raises:
        StorageError: the disk refuses.
    """
    partial = target.with_name(target.name + ".partial")
    old = target.with_name(target.name + ".old")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        yield partial
        if target.exists():
            shutil.rmtree(old, ignore_errors=True)
            target.rename(old)
        partial.rename(target)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        recover(target)
        raise StorageError(
            f"the report cannot be written to {target}: {error.strerror or error}",
            cause="no permission, a file in the way, or a full or read-only disk",
            fix="name another folder with --report",
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
