"""A model's answers to many rows: computed in pieces, so that memory does not grow with the rows, and kept.

A file in the cache is an ``.npy`` of NumPy, readable by `numpy.load`, with the sha256 of all that is before it as its
last 32 bytes, which NumPy does not read.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from ftdeploy import progress
from ftdeploy.errors import ModelError, StorageError
from ftdeploy.models.model import Model, no_advance
from ftdeploy.sources.cache import cache_folder

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

#: Rows that are held at a time. The batches of a piece are made within it, and a dynamically quantized model answers a
#: little by its batch-mates: another number gives other answers.
PIECE = 8192
#: Raised when the same inputs would give other answers.
_VERSION = 1
_SHA256 = 32  # bytes
_READ = 1 << 20
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


def predictions_folder() -> Path:
    """``predictions`` in the cache folder (``FTDEPLOY_CACHE``, else ``~/.cache/ftdeploy``).

    Raises:
        SourceError: the cache lies in a home that this process does not have.
    """
    return cache_folder() / "predictions"


def text_digest(texts: pa.ChunkedArray | Sequence[str]) -> str:
    """sha256 of a column of texts in their order, hexadecimal; how the column is cut into chunks has no say."""
    found = hashlib.sha256()
    for piece in _pieces(texts):
        for text in piece:
            told = text.encode("utf-8", "surrogatepass")
            found.update(len(told).to_bytes(8, "little"))  # without it, ("ab", "c") would be ("a", "bc")
            found.update(told)
    return found.hexdigest()


def predict(model: Model, texts: pa.ChunkedArray | Sequence[str], *, data_digest: str, cache: Path | None,
            refresh: bool = False, advance: Callable[[float], None] = no_advance) -> NDArray[np.float32]:  # fmt: skip
    """A model's probabilities for many rows: out of the cache where they are in it, else computed and put there.

    Args:
        model: answers; one that is not ``cacheable`` is always asked.
        texts: the rows; null is an empty text.
        data_digest: of the texts (`text_digest`), or of the file and the selection that they are from.
        cache: the folder (`predictions_folder`); None keeps nothing.
        refresh: ask the model again, and replace what is in the cache.
        advance: told the rows done.

    Returns:
        float32, shape (rows, labels), in the order of the texts; out of the cache it is mapped into memory, read-only.

    Raises:
        ModelError: the model answers with what is no number.
        StorageError: the cache cannot be written.
    """
    shape = (len(texts), len(model.labels))
    if cache is None or not model.cacheable:
        found = np.empty(shape, dtype=np.float32)
        for start, scores in _answers(model, texts, advance):
            found[start : start + len(scores)] = scores
        return found
    file = cache / f"{_key(model, data_digest, len(texts))}.npy"
    with _locked(file):
        _sweep(file)
        kept = None if refresh else _read(file, shape)
        if kept is not None:
            progress.say(f"{model.name}: the answers to {shape[0]:,} rows are in the cache")
            advance(shape[0])
            return kept
        _write(file, shape, (scores for _, scores in _answers(model, texts, advance)))
        kept = _read(file, shape)
    if kept is None:
        raise StorageError(
            f"{file} is not what was written to it a moment ago",
            cause="the disk is at fault, or another program writes into the cache",
            fix="set FTDEPLOY_CACHE to a folder on another disk",
        )
    return kept


def _key(model: Model, data_digest: str, rows: int) -> str:
    """What decides the answers, as one name."""
    told = {
        "version": _VERSION,
        "model": model.digest,
        "labels": model.labels,
        "conditions": dict(model.conditions),
        "data": data_digest,
        "rows": rows,
        "piece": PIECE,
    }
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def _pieces(texts: pa.ChunkedArray | Sequence[str]) -> Iterator[list[str]]:
    """The texts, `PIECE` at a time."""
    column: Any = texts
    for start in range(0, len(column), PIECE):
        piece = column[start : start + PIECE]  # of pyarrow too: a slice, nothing is copied
        piece = piece.to_pylist() if hasattr(piece, "to_pylist") else piece
        yield ["" if text is None else str(text) for text in piece]


def _answers(model: Model, texts: pa.ChunkedArray | Sequence[str],
             advance: Callable[[float], None]) -> Iterator[tuple[int, NDArray[np.float32]]]:  # fmt: skip
    """(first row, scores) of each piece."""
    start = 0
    for piece in _pieces(texts):
        scores = model.scores(piece, advance=advance)
        odd = np.flatnonzero(~np.isfinite(scores).all(axis=1))
        if len(odd):
            raise ModelError(
                f"{model.name} answers row {start + int(odd[0])} with {scores[odd[0]].tolist()}",
                cause="its weights are damaged, or it overflows in the precision that it runs in",
                fix="try it on another device; otherwise the model cannot be evaluated",
            )
        yield start, scores
        start += len(piece)


def _read(file: Path, shape: tuple[int, int]) -> NDArray[np.float32] | None:
    """The answers in a file; None where there is none, or where it is damaged, which is said."""
    try:
        with file.open("rb") as handle:
            size = os.fstat(handle.fileno()).st_size
            sound = size > _SHA256 and _sum(handle, size - _SHA256) == handle.read(_SHA256)
    except FileNotFoundError:
        return None
    found: NDArray[np.float32] | None = np.load(file, mmap_mode="r", allow_pickle=False) if sound and shape[0] else None
    if found is None and sound:  # nothing can be mapped of an array without rows
        return np.empty(shape, dtype=np.float32)
    if found is None or found.shape != shape or found.dtype != np.float32:
        progress.say(f"{file} is damaged; the model is asked again")
        return None
    return found


def _sum(handle: BinaryIO, size: int) -> bytes:
    """sha256 of the next bytes of a file."""
    found = hashlib.sha256()
    while size and (piece := handle.read(min(size, _READ))):
        found.update(piece)
        size -= len(piece)
    return found.digest()


def _write(file: Path, shape: tuple[int, int], pieces: Iterable[NDArray[np.float32]]) -> None:
    """Write answers as they come; the whole file appears by rename, or none."""
    part = file.with_suffix(".part")
    try:
        with _storing(file.parent), part.open("w+b") as handle:
            header = {"descr": "<f4", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(handle, header)  # type: ignore[no-untyped-call]  # NumPy 1.26 has no types
            for piece in pieces:
                handle.write(piece.astype("<f4").tobytes())
            size = handle.tell()
            handle.seek(0)
            handle.write(_sum(handle, size))
            handle.flush()
            os.fsync(handle.fileno())
            part.replace(file)
    finally:
        part.unlink(missing_ok=True)


def _sweep(held: Path) -> None:
    """Remove what processes that were killed have left: nobody holds its lock any more.

    Args:
        held: the file whose lock is held here.
    """
    from filelock import FileLock, Timeout

    held.with_suffix(".part").unlink(missing_ok=True)
    for part in held.parent.glob("*.part"):
        try:
            with FileLock(part.with_suffix(".lock"), blocking=False):
                part.unlink(missing_ok=True)
        except Timeout:
            continue  # it is being written


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    """Hold a file of the cache; who wants the same answers waits for them. The lock dies with its process."""
    from filelock import FileLock

    with _storing(file.parent):
        file.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(file.with_suffix(".lock"))
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _storing(cache: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        full = error.errno in _FULL
        raise StorageError(
            f"the cache of answers {cache} cannot be written: {error.strerror or error}",
            cause="the disk or the quota is full" if full else "it belongs to another user, or is read-only",
            fix="free space there, or set FTDEPLOY_CACHE to another folder"
            if full
            else "set FTDEPLOY_CACHE to a folder that you may write",
        ) from error
