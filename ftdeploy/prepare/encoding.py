"""Which encoding a text file is in, found by looking at all of it.

A byte order mark decides; then UTF-8, whose multi-byte patterns hardly ever arise by chance; only then a guess among
the legacy encodings. Nothing here holds more than a piece of the file.
"""

from __future__ import annotations

import codecs
from dataclasses import dataclass
from pathlib import Path

from ftdeploy.errors import DependencyError
from ftdeploy.prepare.text import guess_encoding, open_bytes, read_bytes, unpacking

_PIECE = 1 << 20
_SAMPLE = 1 << 16  # bytes of lines that are not plain ASCII, from which a legacy encoding is guessed
_ZEROS = 1 << 12  # bytes in which UTF-16 shows
# As good as the best, in charset-normalizer's measure of mess (0 to 1).
_ALIKE = 0.01
#: The legacy encodings of the Encoding Standard (https://encoding.spec.whatwg.org), those that are written in the
#: wild; without this list DOS code pages win over Windows-1252 on texts with few accents.
_LEGACY = (
    "cp1252", "iso8859_1", "iso8859_2", "iso8859_3", "iso8859_4", "iso8859_5", "iso8859_6", "iso8859_7", "iso8859_8",
    "iso8859_10", "iso8859_13", "iso8859_14", "iso8859_15", "iso8859_16", "cp866", "koi8_r", "koi8_u", "mac_roman",
    "mac_cyrillic", "cp874", "cp1250", "cp1251", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257", "cp1258",
    "gb18030", "big5", "euc_jp", "shift_jis", "cp932", "euc_kr", "cp949",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Found:
    """An encoding, and why it was taken."""

    encoding: str
    reason: str


def find_encoding(path: Path) -> Found:
    """The encoding in which all of a text file can be read.

    Args:
        path: the file; unpacked where its name says that it is packed.

    Raises:
        DataError: the packed file is damaged.
        DependencyError: it is not UTF-8, and charset-normalizer is not installed.
    """
    start = read_bytes(path, _ZEROS)
    for mark, name in ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"),
                       (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16")):  # fmt: skip
        if start.startswith(mark):
            return Found(encoding=name, reason="it begins with that encoding's byte order mark")
    if start.count(0) * 4 > len(start):
        return Found(encoding=str(guess_encoding(start)), reason="every other byte of its beginning is zero")
    if _decodes(path, "utf-8"):
        return Found(encoding="utf-8", reason="all of it is valid UTF-8")
    sample = _accented(path)
    for name in _likely(sample):
        if _decodes(path, name):
            return Found(encoding=name, reason="it is not UTF-8, and this fits best; a guess: name it if you know it")
    return Found(encoding="iso-8859-1", reason="it is not UTF-8 and nothing else fits; every byte is a letter in this")


def _likely(sample: bytes) -> list[str]:
    """Legacy encodings for the sample, best first; Windows-1252 before others that fit as well, for it is by far the
    most frequent, and single-byte encodings of the Latin alphabet differ in few letters."""
    try:
        from charset_normalizer import from_bytes
    except ImportError as error:
        raise DependencyError(
            "`encoding: auto` needs the package charset-normalizer for a file that is not UTF-8",
            cause="ftdeploy was installed without its training extra, which brings it",
            fix="pip install charset-normalizer, or name the encoding",
        ) from error
    matches = list(from_bytes(sample, cp_isolation=list(_LEGACY)))
    matches = [match for match in matches if not _controls(sample, match.encoding)] or matches
    close = [match for match in matches if match.chaos <= min(m.chaos for m in matches) + _ALIKE]
    western = any("cp1252" in match.could_be_from_charset for match in close)
    names = (["cp1252"] if western else []) + [match.encoding for match in matches]
    fallback = guess_encoding(sample)
    return list(dict.fromkeys([codecs.lookup(name).name for name in (*names, fallback or "cp1252")]))


def _controls(sample: bytes, encoding: str) -> bool:
    """Whether bytes become control characters that no text holds: what ISO 8859 makes of Windows' quotes and dashes."""
    return any("\x80" <= char <= "\x9f" and char != "\x85" for char in sample.decode(encoding, "replace"))


def _decodes(path: Path, encoding: str) -> bool:
    decoder = codecs.getincrementaldecoder(encoding)()
    with unpacking(path), open_bytes(path) as raw:
        while piece := raw.read(_PIECE):
            try:
                decoder.decode(piece)
            except UnicodeError:
                return False
    try:
        decoder.decode(b"", final=True)
    except UnicodeError:
        return False
    return True


def _accented(path: Path) -> bytes:
    """The first lines with bytes beyond ASCII: they alone tell legacy encodings apart."""
    kept: list[bytes] = []
    size = 0
    with unpacking(path), open_bytes(path) as raw:
        while size < _SAMPLE and (line := raw.readline(_SAMPLE)):
            if not line.isascii():
                kept.append(line)
                size += len(line)
    return b"".join(kept)
