"""The cache of fetched files: content-addressed, filled by rename, safe for several processes at once."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ftdeploy.artifact import digest_of, sha256_file
from ftdeploy.errors import FtdeployError, SourceError, StorageError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


def cache_folder() -> Path:
    """``FTDEPLOY_CACHE``, else ``ftdeploy`` in the user's cache folder (``XDG_CACHE_HOME``, else ``~/.cache``).

    Raises:
        SourceError: it lies in a home that this process does not have.
    """
    named = os.environ.get("FTDEPLOY_CACHE")
    home = os.environ.get("XDG_CACHE_HOME")
    try:
        if named:
            return Path(named).expanduser()
        return (Path(home) if home else Path.home() / ".cache") / "ftdeploy"
    except RuntimeError as error:
        raise SourceError(
            f"there is no folder for the cache: {error}",
            cause="HOME is not set and the user has no home, as in some containers; or FTDEPLOY_CACHE names ~NOBODY",
            fix="set FTDEPLOY_CACHE to a folder that you may write",
        ) from error


def digest_path(path: Path) -> str:
    """sha256 of a file, or one digest over a folder's files; links to files are followed, as hub caches use them."""
    if path.is_file():
        return sha256_file(path)
    files = (item for item in path.rglob("*") if item.is_file() and ".git" not in item.relative_to(path).parts)
    return digest_of({item.relative_to(path).as_posix(): sha256_file(item) for item in files})


def mismatch(name: str, *, stated: str, found: str) -> SourceError:
    """The error for bytes that are not the stated ones; it names both sums."""
    return SourceError(
        f"{name} has sha256 {found}, and {stated} is expected",
        cause="the file was changed where it comes from, the download was damaged, or the recipe states another file",
        fix="if you trust the new file, state its sha256 in the recipe; otherwise fetch it again. It was not kept",
    )


@contextmanager
def locked(name: str) -> Iterator[Path]:
    """Hold one entry of the cache while the block fills it; yields the cache folder.

    The lock belongs to the operating system and dies with its process.

    Raises:
        SourceError: the cache folder cannot be written.
        StorageError: its disk is full.
    """
    from filelock import FileLock

    folder = cache_folder()
    key = hashlib.sha256(name.encode()).hexdigest()[:32]
    try:
        (folder / "locks").mkdir(parents=True, exist_ok=True)
        with FileLock(folder / "locks" / f"{key}.lock"):
            yield folder
    except OSError as error:
        raise _unwritable(folder, error) from error


def _unwritable(folder: Path, error: OSError) -> FtdeployError:
    why = error.strerror or str(error)
    what = f"the cache {folder} cannot be filled: {why}" + (f" ({error.filename})" if error.filename else "")
    if error.errno in _FULL:
        return StorageError(
            what, cause="the disk or the quota is full", fix="free space there, or set FTDEPLOY_CACHE to another folder"
        )
    return SourceError(
        what,
        cause="it belongs to another user, its file system is read-only, or a file is in the way",
        fix="set FTDEPLOY_CACHE to a folder that you may write",
    )


def cached_file(sha256: str) -> Path | None:
    """The verified file with this sha256, or None.

    A file that was damaged in the cache is removed where the cache can be written. What cannot be read is not there.
    """
    folder = cache_folder() / "files" / sha256
    try:
        held = sorted(path for path in folder.iterdir() if not path.name.endswith(".part"))
    except OSError:
        return None
    for found in held:
        with suppress(OSError):
            if sha256_file(found) == sha256:
                return found
            found.unlink()
    return None


def read_note(path: Path) -> str | None:
    """The sha256 that a note in the cache holds; None where there is none, or the note is not one."""
    try:
        text = path.read_text(encoding="ascii")
    except (OSError, ValueError):
        return None
    return text if re.fullmatch("[0-9a-f]{64}", text) else None


def write_note(path: Path, sha256: str) -> None:
    """Keep a sha256 under a name: the whole note appears by rename, or none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".part")
    part = Path(temporary)
    try:
        with os.fdopen(handle, "w", encoding="ascii") as opened:
            opened.write(sha256)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def add_file(name: str, *, sha256: str | None, write: Callable[[Path], None]) -> Path:
    """Fill the cache with one file: ``write`` fills a temporary path, which is checked and then renamed.

    Args:
        name: the file's name in the cache.
        sha256: what it must have; None accepts any (the caller then keeps the sum that is found).
        write: fetches the content.

    Raises:
        SourceError: another sha256; the file is not kept.
    """
    base = cache_folder() / "files"
    base.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=base, suffix=".part")
    os.close(handle)
    part = Path(temporary)
    try:
        write(part)
        found = sha256_file(part)
        if sha256 is not None and found != sha256:
            raise mismatch(name, stated=sha256, found=found)
        target = base / found / Path(name).name
        target.parent.mkdir(exist_ok=True)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    return target
