"""Files that are there whole or not at all, and cells of CSV that spreadsheets only show."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A path to write to, in the place of ``path``; it takes that name when the block ends well.

    A crash leaves the file that was there before, or none.

    Args:
        path: the file; its folder is made when missing.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    try:
        yield partial
        descriptor = os.open(partial, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file, UTF-8, whole or not at all."""
    with whole(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: Path, document: Any) -> None:
    """Write a JSON file for machines and people, whole or not at all."""
    write_text(path, json.dumps(document, indent=1, ensure_ascii=False) + "\n")


def csv_cell(text: str) -> str:
    """A cell that spreadsheets show instead of running: they take what begins like this for a formula (OWASP, "CSV
    Injection")."""
    return f"'{text}" if text.startswith(_FORMULA) else text
