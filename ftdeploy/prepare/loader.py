"""A loader: the user's own generator of rows, for a file in a format of its own."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ftdeploy.errors import DataError, SourceError, did_you_mean
from ftdeploy.user_code import import_file, line_in

Loader = Callable[[Path], Iterator[Mapping[str, Any]]]


def load_rows(loader: Path, path: Path) -> Iterator[Mapping[str, Any]]:
    """The rows that a loader yields for a path.

    Args:
        loader: ``file.py:function``.
        path: the source's file or folder.

    Raises:
        SourceError: no such file or function, or the file cannot be imported.
        DataError: the function raised, or yielded something else than dictionaries.
    """
    file, _, name = str(loader).rpartition(":")
    function = _find_function(Path(file), name)
    try:
        for number, row in enumerate(function(path), start=1):
            _check_row(row, f"{Path(file).name}:{name}", number)
            yield row
    except DataError:
        raise
    except Exception as error:  # it is the user's code: whatever it raises is told in its own words
        raise DataError(
            f"the loader {Path(file).name}:{name} raised {type(error).__name__}: {error}{line_in(error, Path(file))}",
            cause="a fault in the loader, or a file that is not what it expects",
            fix=f"run it alone: `python -c \"import {Path(file).stem} as m; print(next(iter(m.{name}('FILE'))))\"`",
        ) from error


def _check_row(row: object, loader: str, number: int) -> None:
    if not isinstance(row, Mapping):
        raise DataError(
            f"{loader} yielded a {type(row).__name__} as row {number}",
            cause="a loader yields one dictionary for a row",
            fix='yield {"text": ..., "label": ...}',
        )


def _find_function(file: Path, name: str) -> Loader:
    if not file.is_file():
        siblings = [item.name for item in file.parent.glob("*.py")] if file.parent.is_dir() else []
        raise SourceError(
            f"the loader's file {file} does not exist",
            cause="`loader` is file.py:function, relative to the recipe's own folder",
            fix=did_you_mean(file.name, siblings) or "correct the path",
        )
    try:
        module = import_file(file)
    except Exception as error:  # as above: the user's code
        raise SourceError(
            f"the loader's file {file.name} cannot be imported: {type(error).__name__}: {error}{line_in(error, file)}",
            cause="a fault in the file, or a package that is not installed",
            fix=f"run `python {file}` and correct what it says",
        ) from error
    function = getattr(module, name, None)
    if not callable(function):
        functions = [key for key, value in vars(module).items() if inspect.isfunction(value)]
        raise SourceError(
            f"{file.name} has no function {name!r}",
            cause="`loader` names a function that is not there",
            fix=did_you_mean(name, functions) or "define it: it is given the path and yields dictionaries",
        )
    found: Loader = function
    return found
