"""Finding a file's encoding, on text in languages that tell encodings apart."""

# ruff: noqa: RUF001 - letters that look alike are what tells encodings apart
from __future__ import annotations

import codecs
import gzip
from pathlib import Path

import pytest

from ftdeploy.prepare.encoding import find_encoding

TEXTS = {
    "german": "Die Straße führt über die Brücke; schöne Häuser stehen da — „gut“.\n",
    "french": "L’été dernier, nous avons été à la plage; où l’on goûtait des crêpes à 3 €.\n",
    "russian": "Привет, это обычный русский текст для проверки кодировки.\n",
    "polish": "Zażółć gęślą jaźń; to jest zwykły polski tekst o życiu w mieście.\n",
    "greek": "Αυτό είναι ένα ελληνικό κείμενο για δοκιμή κωδικοποίησης.\n",
    "japanese": "これは日本語の文章です。今日は天気がいいですね。\n",
}


@pytest.mark.parametrize(
    ("language", "encoding"),
    [
        ("german", "utf-8"), ("german", "utf-8-sig"), ("german", "utf-16"), ("german", "utf-16-le"),
        ("french", "utf-32"), ("german", "cp1252"), ("french", "cp1252"), ("russian", "cp1251"),
        ("russian", "koi8-r"), ("polish", "cp1250"),
        ("greek", "cp1253"), ("japanese", "shift_jis"), ("japanese", "euc_jp"),
    ],
)  # fmt: skip
def test_text_reads_as_it_was_written(tmp_path: Path, language: str, encoding: str) -> None:
    """Whatever the encoding is called, decoding with it gives the text back."""
    text = "plain words come first\n" * 20 + TEXTS[language] * 20
    path = tmp_path / "a.txt.gz"
    path.write_bytes(gzip.compress(text.encode(encoding)))
    found = find_encoding(path)
    assert gzip.decompress(path.read_bytes()).decode(found.encoding).lstrip("\ufeff") == text
    assert found.reason


def test_what_would_be_control_characters_is_no_text(tmp_path: Path) -> None:
    """ISO 8859 has control characters where Windows has quotes and the euro; no text holds those, however few and odd
    its accents are."""
    path = tmp_path / "a.csv"
    text = "Ich möchte mein Geld zurück\ncafÃ© machine arrived broken, itâ€™s useless\n"
    path.write_bytes(text.encode("cp1252"))
    assert path.read_bytes().decode(find_encoding(path).encoding) == text


def test_one_late_byte_decides_against_utf8(tmp_path: Path) -> None:
    """All of the file is looked at, not its beginning; a character cut in two by a piece's edge is no fault."""
    path = tmp_path / "a.txt"
    path.write_bytes(b"x" * ((1 << 20) - 1) + "é\n".encode() * 3)
    assert find_encoding(path).encoding == "utf-8"
    path.write_bytes(b"words\n" * 400_000 + "café\n".encode("cp1252"))
    assert codecs.lookup(find_encoding(path).encoding).name != "utf-8"
    path.write_bytes(b"words \xc3")
    assert find_encoding(path).encoding != "utf-8"


def test_bytes_that_are_no_text_still_get_an_encoding(tmp_path: Path) -> None:
    """ISO-8859-1 has a character for every byte; the reason says that it is no finding."""
    path = tmp_path / "a.txt"
    path.write_bytes(bytes(range(1, 256)) * 30)
    found = find_encoding(path)
    path.read_bytes().decode(found.encoding)
    assert "UTF-8" in found.reason
