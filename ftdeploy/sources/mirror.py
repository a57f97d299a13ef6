"""A mirror: a folder with the files themselves and an ``index.json``, for sites without a network.

``index.json`` is a list of ``{"file", "url", "sha256", "bytes", "licence", "about"}``. ``url`` is the address that a
recipe names; for a package it is ``pypi:name==version``.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ftdeploy.artifact import sha256_file
from ftdeploy.errors import SourceError
from ftdeploy.sources.cache import mismatch


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One file of the mirror."""

    file: Path
    address: str
    sha256: str
    licence: str = ""
    about: str = ""


def mirror_folder() -> Path | None:
    """The folder that ``FTDEPLOY_MIRROR`` names, or None. A ``~`` that cannot be resolved stays as it is."""
    named = os.environ.get("FTDEPLOY_MIRROR")
    return Path(os.path.expanduser(named)) if named else None  # noqa: PTH111 - Path.expanduser raises without a home


def absence() -> str:
    """Why the mirror did not help, for an error message."""
    folder = mirror_folder()
    return "no mirror is set (FTDEPLOY_MIRROR)" if folder is None else f"the mirror {folder} does not list it"


def find_entry(address: str, *, sha256: str | None) -> Entry | None:
    """The mirror's entry for an address. Among several, as wheel and source distribution of one package, the one with
    the stated sha256; without a stated one a wheel. An entry with the sha256 will do under any address.

    Raises:
        SourceError: ``index.json`` is missing or is not such a list.
    """
    entries = _read_index()
    same = [entry for entry in entries if _normal(entry.address) == _normal(address)]
    stated = [entry for entry in (*same, *entries) if entry.sha256 == sha256]
    wheels = [entry for entry in same if entry.file.suffix == ".whl"]
    # An entry with another sha256 is given all the same: whoever reads the file says which sum is wrong.
    return next(iter((*stated, *wheels, *same)), None)


def mirrored_file(address: str, *, sha256: str | None) -> Path | None:
    """The mirror's verified file for an address, in place, or None.

    Raises:
        SourceError: the file is missing in the mirror, or its sha256 is not the stated one.
    """
    entry = find_entry(address, sha256=sha256)
    if entry is None:
        return None
    if not entry.file.is_file():
        raise SourceError(
            f"{entry.file} is listed in the mirror's index.json and does not exist",
            cause="the mirror was copied in part",
            fix="copy the file into the mirror, or unset FTDEPLOY_MIRROR to fetch it from the network",
        )
    found, stated = sha256_file(entry.file), sha256 or entry.sha256
    if found != stated:
        raise mismatch(f"{entry.file} (mirror of {address})", stated=stated, found=found)
    return entry.file


def _normal(address: str) -> str:
    # Names of packages are equal but for case, and runs of -_. (PEP 503).
    return re.sub(r"[-_.]+", "-", address).lower() if address.startswith("pypi:") else address


def _read_index() -> list[Entry]:
    folder = mirror_folder()
    if folder is None:
        return []
    index = folder / "index.json"
    try:
        listed: list[dict[str, Any]] = json.loads(index.read_text(encoding="utf-8"))
        entries = [
            Entry(
                file=folder / str(item["file"]),
                address=str(item["url"]),
                sha256=str(item["sha256"]),
                licence=str(item.get("licence", "")),
                about=str(item.get("about", "")),
            )
            for item in listed
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise SourceError(
            f"the mirror's {index} cannot be read: {error}",
            cause="FTDEPLOY_MIRROR names a folder without an index, or the index is not a list of files",
            fix="write index.json as a list of {file, url, sha256, bytes, licence, about}, or unset FTDEPLOY_MIRROR",
        ) from error
    outside = [e.file for e in entries if not e.file.resolve().is_relative_to(folder.resolve())]
    if outside:
        raise SourceError(
            f"the mirror's index.json points outside of it: {outside[0]}",
            cause="the index was made for another folder",
            fix="name files relative to the mirror's own folder",
        )
    return entries
