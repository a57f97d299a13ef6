"""The cache of fetched files: content-addressed, filled by rename, safe for several processes at once."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ftdeploy.artifact import digest_of, sha256_file
from ftdeploy.errors import SourceError


def cache_folder() -> Path:
    """``FTDEPLOY_CACHE``, else ``ftdeploy`` in the user's cache folder (``XDG_CACHE_HOME``, else ``~/.cache``)."""
    named = os.environ.get("FTDEPLOY_CACHE")
    if named:
        return Path(named).expanduser()
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "ftdeploy"


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
    """Hold one entry of the cache while the block runs; yields the cache folder.

    The lock belongs to the operating system and dies with its process.

    Raises:
        SourceError: the cache folder cannot be written.
    """
    from filelock import FileLock

    folder = cache_folder()
    key = hashlib.sha256(name.encode()).hexdigest()[:32]
    try:
        (folder / "locks").mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / "locks" / f"{key}.lock")
        lock.acquire()
    except PermissionError as error:
        raise SourceError(
            f"the cache {folder} cannot be written: {error.strerror}",
            cause="it belongs to another user, or the file system is read-only",
            fix="set FTDEPLOY_CACHE to a folder that you may write",
        ) from error
    try:
        yield folder
    finally:
        lock.release()


def cached_file(sha256: str) -> Path | None:
    """The verified file with this sha256, or None. A file that was damaged in the cache is removed."""
    folder = cache_folder() / "files" / sha256
    for found in folder.iterdir() if folder.is_dir() else ():
        if found.name.endswith(".part"):
            continue
        if sha256_file(found) == sha256:
            return found
        found.unlink()
    return None


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
