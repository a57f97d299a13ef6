"""Text files: unpacking, decoding, and saying precisely what is wrong with one that is not text."""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from ftdeploy.errors import DataError

SUFFIXES_PACKED = (".gz", ".bz2", ".xz", ".zst", ".zip")

_PIECE = 1 << 20
_SHOWN = 10
_DAMAGED = (EOFError, lzma.LZMAError, zlib.error, zipfile.BadZipFile, NotImplementedError, RuntimeError)
_MAGIC = (
    (b"PK\x03\x04", "a zip archive (an Excel .xlsx is one)", "save the sheet as CSV in UTF-8, or name a `member`"),
    (b"\xd0\xcf\x11\xe0", "an old Excel or Word document", "save the sheet as CSV in UTF-8"),
    (b"%PDF", "a PDF", "extract its text into CSV or JSON Lines"),
    (b"PAR1", "a parquet file", "set `format: parquet`"),
    (b"SQLite format 3", "an SQLite database", "export the table as CSV"),
    (b"\x1f\x8b", "packed with gzip", "let its name end in .gz, or unpack it"),
    (b"<!DOCTYPE", "a web page", "download the file itself, not the page about it"),
    (b"<html", "a web page", "download the file itself, not the page about it"),
    (b"version https://git-lfs", "a pointer of Git LFS", "run `git lfs pull`"),
)  # fmt: skip
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def open_bytes(path: Path) -> BinaryIO:
    """The bytes of a file, unpacked where its name ends in .gz, .bz2, .xz, .zst or .zip.

    Raises:
        DataError: a zip archive that does not hold exactly one file, or is damaged.
    """
    suffix = path.suffix.lower()
    if suffix == ".gz":
        return cast("BinaryIO", gzip.open(path, "rb"))
    if suffix == ".bz2":
        return cast("BinaryIO", bz2.open(path, "rb"))
    if suffix == ".xz":
        return cast("BinaryIO", lzma.open(path, "rb"))
    if suffix == ".zst":
        import pyarrow as pa  # the parquet files need it anyway; Python has no Zstandard before 3.14

        # Buffered, because Arrow's streams cannot read a line.
        return io.BufferedReader(cast("io.RawIOBase", pa.input_stream(path, compression="zstd")))
    if suffix == ".zip":
        return _open_zip(path)
    return path.open("rb")


def _open_zip(path: Path) -> BinaryIO:
    names = zipped(path)
    with unpacking(path), zipfile.ZipFile(path) as opened:
        if len(names) == 1:
            return cast("BinaryIO", opened.open(names[0]))  # it keeps the file open for as long as it lives
    listed = ", ".join(names[:_SHOWN]) + (" ..." if len(names) > _SHOWN else "")
    raise DataError(
        f"{path.name} holds {len(names):,} files, and one is wanted" + (f": {listed}" if names else ""),
        cause="an archive of several files does not say which of them holds the rows",
        fix="name it as `data.source.member`",
    )


def zipped(path: Path) -> list[str]:
    """The files in a zip archive, without the notes on them that macOS puts beside.

    Raises:
        DataError: it is damaged.
    """
    with unpacking(path), zipfile.ZipFile(path) as opened:
        return [info.filename for info in opened.infolist()
                if not info.is_dir() and not info.filename.startswith("__MACOSX/")]  # fmt: skip


@contextmanager
def unpacking(path: Path) -> Iterator[None]:
    """Whatever the unpackers raise of damaged data becomes one error; the disk's own errors stay.

    Raises:
        DataError: the packed file is damaged.
    """
    try:
        yield
    except _DAMAGED as error:
        raise _damaged(path, error) from error
    except OSError as error:
        # gzip, bz2 and Arrow say that data is damaged with an OSError without a number.
        if error.errno is not None or path.suffix.lower() not in SUFFIXES_PACKED:
            raise
        raise _damaged(path, error) from error


def refuse_binary(path: Path, kind: str) -> None:
    """Refuse a file that is not text of any kind, or is empty.

    Raises:
        DataError: names what the file is, and how to get text out of it.
    """
    start = read_bytes(path, 64)
    if not start:
        raise DataError(
            f"{path.name} is empty", cause="an export that failed, or the wrong file", fix="name the file with the rows"
        )
    for magic, what, fix in _MAGIC:
        if start.lstrip()[: len(magic)].lower() == magic.lower():
            raise DataError(
                f"{path.name} is {what}, and {kind} is wanted",
                cause="the name of a file does not decide what is in it",
                fix=fix,
            )


def open_text(path: Path, encoding: str) -> Iterator[str]:
    """The lines of a text file with their ends, decoded; a byte order mark is dropped.

    Raises:
        DataError: bytes that are not in the encoding, with line, byte offset and a suggestion.
    """
    codec = "utf-8-sig" if encoding == "utf-8" else encoding
    try:
        with unpacking(path), open_bytes(path) as raw, io.TextIOWrapper(raw, encoding=codec, newline="") as handle:
            yield from handle
    except UnicodeError as error:
        raise _not_in_encoding(path, encoding) from error


def read_bytes(path: Path, count: int) -> bytes:
    """The first bytes of a file, unpacked.

    Raises:
        DataError: the packed file is damaged.
    """
    with unpacking(path), open_bytes(path) as raw:
        return raw.read(count)


def guess_encoding(data: bytes) -> str | None:
    """An encoding that fits the bytes: by its mark, else UTF-8, Windows-1252, ISO-8859-1 in this order."""
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return encoding
    if data.count(0) * 4 > len(data):
        return "utf-16-le" if data[1::2].count(0) > data[::2].count(0) else "utf-16-be"
    for encoding in ("utf-8", "cp1252", "iso-8859-1"):
        try:
            # A multi-byte character may be cut at the end of the sample, which is not a fault.
            codecs.getincrementaldecoder(encoding)().decode(data)
        except UnicodeDecodeError:
            continue
        return encoding
    return None


def _damaged(path: Path, error: Exception) -> DataError:
    return DataError(
        f"{path.name} cannot be unpacked: {error}",
        cause="the file is cut off or damaged, or its name ends as that of a packed file and it is not packed",
        fix="fetch or pack it again",
    )


def _not_in_encoding(path: Path, encoding: str) -> DataError:
    line, offset, bad = _locate(path, encoding)
    guess = guess_encoding(read_bytes(path, 1 << 18)[: 1 << 18])
    with open_bytes(path) as raw:
        around = guess_encoding(raw.read(offset + 200)[max(0, offset - 200) :]) if guess == encoding else guess
    suggested = around if around and around != encoding else "cp1252"
    return DataError(
        f"{path.name} is not {encoding} text: line {line}, byte offset {offset}: {bad}",
        cause="the file was written in another encoding, often by a spreadsheet, or was damaged",
        fix=f"try `data.source.encoding: {suggested}`, or convert the file to UTF-8",
    )


def _locate(path: Path, encoding: str) -> tuple[int, int, str]:
    """Line (from 1), byte offset (from 0) and description of the first bytes that cannot be decoded."""
    decoder = codecs.getincrementaldecoder(encoding)()
    line, read = 1, 0
    with open_bytes(path) as raw:
        while True:
            piece = raw.read(_PIECE)
            pending = decoder.getstate()[0]
            try:
                line += decoder.decode(piece, final=not piece).count("\n")
            except UnicodeDecodeError as error:
                start = error.object[: error.start].decode(encoding, "replace")
                bad = " ".join(f"0x{byte:02x}" for byte in error.object[error.start : error.end][:4])
                return line + start.count("\n"), read - len(pending) + error.start, f"{bad} ({error.reason})"
            except UnicodeError as error:  # utf-16 without a mark raises this and no position
                return line, read, str(error)
            read += len(piece)
            if not piece:
                return line, read, "unexpected end"
