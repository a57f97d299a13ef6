"""Python files of the user's own, imported by their path: loaders of rows, suites of `evaluate`.

Their code runs with the user's rights. What it raises passes through: whoever imports a file says what it was for.
"""

from __future__ import annotations

import hashlib
import importlib.util
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import ModuleType


def import_file(file: Path) -> ModuleType:
    """Import a file anew; no other import finds it, and it finds nothing of another one of its name.

    Args:
        file: exists, and its name ends in .py.

    Raises:
        Exception: whatever its code raises.
    """
    name = f"_ftdeploy_{file.stem}_{hashlib.sha256(str(file.resolve()).encode()).hexdigest()[:12]}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:  # only for suffixes that Python does not import
        raise ImportError(f"{file} is not a Python file: its name does not end in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickle look their classes up there, and may do so later
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def line_in(error: BaseException, file: Path) -> str:
    """The last line of a traceback inside a file, as `` (line 3: x = 1 / 0)``; empty where none is."""
    inside = [frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename) == file]
    return f" (line {inside[-1].lineno}: {inside[-1].line})" if inside else ""
