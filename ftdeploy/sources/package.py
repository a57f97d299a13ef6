"""A file of the Python package index: cache, mirror, index. It is fetched by pip, and none of its code runs.

``pip download`` executes the build code of a source distribution to learn its dependencies, which data has none of.
So pip's finder and session, which know the user's index, find-links, certificates, proxies and credentials, are used
to find and fetch the one file (``pip_fetch.py``, in a process of its own).
"""

from __future__ import annotations

import email.parser
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from ftdeploy import progress
from ftdeploy.errors import SourceError
from ftdeploy.sources.archive import read_text
from ftdeploy.sources.cache import add_file, cache_folder, cached_file, locked, read_note, write_note
from ftdeploy.sources.mirror import absence, mirrored_file

_SCRIPT = Path(__file__).with_name("pip_fetch.py")


def fetch(pinned: str, *, sha256: str | None) -> Path:
    """The wheel or source distribution of a pinned package, checked.

    Args:
        pinned: ``name==version``.
        sha256: of the file; it also picks among wheel and source distribution. Without it a wheel is preferred, and
            the file that was taken first is kept for later.

    Raises:
        SourceError: neither cache, mirror nor index has it, or its sha256 is another one.
    """
    found = _cached(pinned, sha256) or mirrored_file(f"pypi:{pinned}", sha256=sha256)
    if found is not None:
        return found
    with locked(pinned):
        found = _cached(pinned, sha256)
        if found is not None:
            return found
        with tempfile.TemporaryDirectory(prefix="ftdeploy-") as scratch, progress.task(f"fetch {pinned}"):
            fetched = _ask_pip(pinned, sha256, Path(scratch))
            kept = add_file(fetched.name, sha256=sha256, write=lambda part: _move(fetched, part))
        if sha256 is None:
            write_note(_note(pinned), kept.parent.name)
        return kept


def licence(pinned: str, *, sha256: str | None) -> str:
    """The licence that a package's metadata states, empty for none or when the package was not fetched yet."""
    found = _cached(pinned, sha256) or mirrored_file(f"pypi:{pinned}", sha256=sha256)
    if found is None:
        return ""
    text = read_text(found, ("*.dist-info/METADATA", "*/PKG-INFO"))
    stated = email.parser.HeaderParser().parsestr(text)
    first: str = (stated["License-Expression"] or stated["License"] or "").strip().partition("\n")[0]
    return "" if first == "UNKNOWN" else first


def _cached(pinned: str, sha256: str | None) -> Path | None:
    known = sha256 or read_note(_note(pinned))
    return None if known is None else cached_file(known)


def _note(pinned: str) -> Path:
    return cache_folder() / "packages" / re.sub(r"[-_.]+(?=.*==)", "-", pinned).lower()


def _move(fetched: Path, part: Path) -> None:
    with fetched.open("rb") as source, part.open("wb") as target:
        while piece := source.read(1 << 20):
            target.write(piece)


def _ask_pip(pinned: str, sha256: str | None, folder: Path) -> Path:
    name, _, version = pinned.partition("==")
    command = [sys.executable, str(_SCRIPT), name, version, sha256 or "", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own script, no shell
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        answer = {"error": (done.stderr.strip().splitlines() or ["pip ended without a word"])[-1]}
    if "file" in answer:
        return folder / str(answer["file"])
    raise SourceError(
        f"package {pinned} cannot be had: it is not in the cache ({cache_folder()}), {absence()}, "
        f"and pip has no file for it: {answer['error']}",
        cause="this machine is offline, the package index has no such version, or the sha256 is of another file",
        fix="see `pip config list` for the index that is asked; or put the file into a mirror folder that "
        f"FTDEPLOY_MIRROR names, listed with the url pypi:{pinned}",
    )
