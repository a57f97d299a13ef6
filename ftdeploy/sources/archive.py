"""Taking a file or folder out of a wheel, zip or tar, bounded and without following anything out of it.

What is taken stands in the cache by the archive's sha256 and appears there by rename; its digest is kept beside it
and checked at every use.
"""

from __future__ import annotations

import hashlib
import lzma
import shutil
import stat
import sys
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

from ftdeploy.errors import SourceError, did_you_mean, first_of
from ftdeploy.sources.cache import cache_folder, digest_path, locked, read_note, write_note

# Text packs to a tenth; what grows more than this is no data set.
_MAX_RATIO, _MIN_BOUND = 200, 1 << 30
_MAX_FILES = 100_000
_PIECE = 1 << 20
_SHOWN = 10

# zipfile raises RuntimeError for an encrypted member and NotImplementedError for an unknown compression.
_DAMAGED = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    NotImplementedError,
    RuntimeError,
)

Opener = Callable[[], BinaryIO]


def take(archive: Path, member: str, *, sha256: str) -> Path:
    """The unpacked file or folder.

    Args:
        archive: a wheel, zip or tar (.gz, .bz2, .xz).
        member: a path inside; ``outer.tar.gz/inner.csv`` reaches into an archive inside; empty takes everything.
        sha256: of the archive; the name of the cache's entry.

    Raises:
        SourceError: not an archive, no such member, a link or a path that leads out, far more than it should hold, or
            a cache that cannot be written.
        StorageError: the cache's disk is full.
    """
    key = hashlib.sha256(member.encode()).hexdigest()[:16]
    entry = cache_folder() / "unpacked" / sha256 / key
    found = entry / "content" / (PurePosixPath(member).name or "all")
    # Looked for before the lock is asked for, so that a cache that others filled can be read-only.
    if _is_whole(found, entry / "digest"):
        return found
    with locked(f"{sha256}/{key}"):
        if _is_whole(found, entry / "digest"):
            return found  # another process unpacked it while this one waited
        shutil.rmtree(entry, ignore_errors=True)
        entry.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(dir=entry.parent, prefix="part-"))
        try:
            (scratch / "content").mkdir()
            unpacked = scratch / "content" / found.name
            _unpack(archive, member.strip("/"), unpacked, bound=max(_MIN_BOUND, _MAX_RATIO * archive.stat().st_size))
            write_note(scratch / "digest", digest_path(unpacked))
            scratch.rename(entry)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        return found


def _is_whole(found: Path, note: Path) -> bool:
    try:
        return found.exists() and digest_path(found) == read_note(note)
    except OSError:
        return False  # gone while it was read, or not for us to read


def read_text(archive: Path, patterns: tuple[str, ...]) -> str:
    """The first member whose name fits a pattern, as text; empty when there is none. At most 1 MB is read.

    Raises:
        SourceError: not an archive, or a damaged one.
    """
    with _files(archive, sys.maxsize) as files:
        for pattern in patterns:
            for name in sorted(files, key=lambda name: (name.count("/"), name)):
                if fnmatch(name, pattern):
                    with files[name]() as handle:
                        return handle.read(_PIECE).decode("utf-8", "replace")
    return ""


def _unpack(archive: Path, member: str, target: Path, *, bound: int) -> None:
    with _files(archive, bound) as files:
        below = f"{member}/" if member else ""
        inside = {name[len(below) :]: read for name, read in files.items() if name.startswith(below)}
        if member in files:
            _write({"": files[member]}, target, bound)
        elif inside:
            _write(inside, target, bound)
        else:
            outer = next((name for name in files if member.startswith(f"{name}/")), None)
            if outer is None:
                raise _no_member(archive, member, list(files))
            with tempfile.TemporaryDirectory(dir=target.parent.parent) as scratch:
                nested = Path(scratch) / PurePosixPath(outer).name
                _write({"": files[outer]}, nested, bound)
                _unpack(nested, member[len(outer) + 1 :], target, bound=bound)


def _write(files: dict[str, Opener], target: Path, bound: int) -> None:
    left = bound
    for name, read in files.items():
        path = target / name if name else target
        path.parent.mkdir(parents=True, exist_ok=True)
        with read() as source, path.open("wb") as handle:
            while piece := source.read(_PIECE):
                left -= len(piece)
                if left < 0:
                    raise _too_large(target.name, bound)
                handle.write(piece)


@contextmanager
def _files(archive: Path, bound: int) -> Iterator[dict[str, Opener]]:
    """The regular files of an archive: name -> a function that opens it. Links and devices are not among them."""
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as opened:
                yield _zip_files(opened, archive)
        elif tarfile.is_tarfile(archive):
            with tarfile.open(archive) as packed:
                yield _tar_files(packed, archive, bound)
        else:
            raise SourceError(
                f"{archive.name} is not an archive, and a member of it is wanted",
                cause="`member` stands beside a plain file, or the download is not what it should be",
                fix="remove `member`, or name a wheel, zip or tar archive",
            )
    except (*_DAMAGED, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk's; gzip and bz2 say that data is damaged with an OSError without a number
        raise SourceError(
            f"{archive.name} cannot be unpacked: {error}",
            cause="the archive is damaged, encrypted or cut off, or names a path outside of itself",
            fix="fetch it again, or unpack it by hand and use `path:`",
        ) from error


def _zip_files(opened: zipfile.ZipFile, archive: Path) -> dict[str, Opener]:
    infos = [info for info in opened.infolist() if not info.is_dir()]
    # The upper half of external_attr is the Unix mode.
    plain = [info for info in infos if not stat.S_ISLNK(info.external_attr >> 16)]
    _check_names([info.filename for info in plain], archive)
    return {info.filename: _zip_opener(opened, info) for info in plain}


def _zip_opener(opened: zipfile.ZipFile, info: zipfile.ZipInfo) -> Opener:
    return lambda: cast("BinaryIO", opened.open(info))


def _tar_files(packed: tarfile.TarFile, archive: Path, bound: int) -> dict[str, Opener]:
    infos = []
    for info in packed:
        if info.offset_data + info.size > bound:
            raise _too_large(archive.name, bound)
        if info.isreg():
            infos.append(info)
    files = {info.name.removeprefix("./"): _tar_opener(packed, info) for info in infos}
    _check_names(list(files), archive)
    return files


def _tar_opener(packed: tarfile.TarFile, info: tarfile.TarInfo) -> Opener:
    # A regular file always has a reader; only links and devices have none.
    return lambda: cast("BinaryIO", packed.extractfile(info))


def _check_names(names: list[str], archive: Path) -> None:
    bad = [
        n for n in names if PurePosixPath(n).is_absolute() or ".." in PurePosixPath(n).parts or set(n) & {"\\", "\0"}
    ]
    if bad or len(names) > _MAX_FILES:
        raise SourceError(
            f"{archive.name} is refused: it names {bad[0]!r}" if bad else f"{archive.name} holds {len(names):,} files",
            cause="an archive whose paths lead out of it, or with far too many files, is an attack or is damaged",
            fix="do not use this archive; get the data from somebody you trust",
        )


def _too_large(name: str, bound: int) -> SourceError:
    return SourceError(
        f"{name} unpacks to more than {bound:,} bytes and was refused",
        cause="it is a decompression bomb, or an unusually compressible data set",
        fix="unpack it by hand if you trust it, and use `path:`",
    )


def _no_member(archive: Path, member: str, names: list[str]) -> SourceError:
    hint = did_you_mean(member, names)
    return SourceError(
        f"{archive.name} has no member {member!r}",
        cause="the path inside the archive is misspelt, or the archive is another version",
        fix=hint if hint.startswith("did you mean") else f"it holds: {first_of(names, _SHOWN)}",
    )
