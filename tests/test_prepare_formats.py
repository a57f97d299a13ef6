"""Files that are neither tables nor JSON: lines of text and label, folders of texts, and all that is packed."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from ftdeploy.errors import DataError
from ftdeploy.origin import Source
from ftdeploy.prepare.read import Row, read_rows


def rows(path: Path, **settings: Any) -> list[Row]:
    source = Source.model_validate({"path": str(path)} | settings)
    return list(read_rows(source, path, wanted=("text", "label")))


def pairs(path: Path, **settings: Any) -> list[tuple[Any, Any]]:
    return [(row.values["text"], row.values["label"]) for row in rows(path, **settings)]


def test_every_line_of_the_financial_phrasebank(mirror: Path) -> None:
    """`sentence@label` in ISO-8859-1, as it is published; one sentence holds an @ of its own."""
    path = mirror / "finance-phrasebank.txt"
    lines = path.read_bytes().decode("iso-8859-1").splitlines()
    found = pairs(path, format="lines", delimiter="@", encoding="iso-8859-1")
    assert [f"{text}@{label}" for text, label in found] == [line.strip() for line in lines]
    assert set(Counter(label for _, label in found)) == {"positive", "neutral", "negative"}


@given(left=st.text(st.sampled_from("ab@ "), min_size=1), right=st.text("ab", min_size=1))
def test_the_last_delimiter_divides_a_line_or_the_first(
    tmp_path_factory: pytest.TempPathFactory, left: str, right: str
) -> None:
    """Whatever stands before the last one is text; with `cut: first` the label stands in front."""
    path = tmp_path_factory.getbasetemp() / "lines.txt"
    path.write_text(f"{left}@{right}\n")
    assert pairs(path, format="lines", delimiter="@") == [(left.strip(), right)]
    path.write_text(f"{right}@{left}\n")
    assert pairs(path, format="lines", delimiter="@", cut="first") == [(left.strip(), right)]


def test_long_delimiters_empty_lines_and_names(tmp_path: Path) -> None:
    """A delimiter of several characters; the columns in another order or of another name; places are lines."""
    path = tmp_path / "a.txt"
    path.write_text("one ||| x ||| a\r\n\r\n  \ntwo ||| b")
    found = rows(path, format="lines", delimiter=" ||| ", names=["quote", "kind"])
    assert [(row.place, dict(row.values)) for row in found] == [
        (1, {"quote": "one ||| x", "kind": "a"}),
        (4, {"quote": "two", "kind": "b"}),
    ]


def test_a_line_without_the_delimiter(tmp_path: Path) -> None:
    """It is named by its number."""
    path = tmp_path / "a.txt"
    path.write_text("one@a\ntwo\n")
    with pytest.raises(DataError, match="line 2 has no '@' between text and label"):
        rows(path, format="lines", delimiter="@")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"format": "lines"}, "wants a delimiter"),
        ({"format": "lines", "delimiter": "@", "names": ["a", "a"]}, "two different names"),
        ({"format": "csv", "delimiter": "::"}, "goes with format lines"),
        ({"subset": "x"}, "subset goes with hub"),
    ],
)
def test_settings_that_do_not_fit_the_format(settings: dict[str, Any], words: str) -> None:
    """Refused with the recipe, before anything is read."""
    with pytest.raises(ValidationError, match=words):
        Source.model_validate({"path": "a.txt"} | settings)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "reviews"
    for name, text in {
        "good/b.txt": "fine\nfilm\n", "good/a.txt": "a gem", "bad/x/1.txt": "dull", "bad/README.md": "about",
        ".hidden/z.txt": "no", "bad/.2.txt": "no", "bad/empty.txt": "",
    }.items():  # fmt: skip
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        (made / name).write_text(text)
    (made / "good" / "c.txt.gz").write_bytes(gzip.compress(b"packed"))
    return made


def test_a_folder_of_texts(folder: Path) -> None:
    """A row a file: the whole text, the folder's name as label, the path as id, in the order of the paths."""
    found = rows(folder, format="folder")
    assert [(row.name, row.values["label"], row.values["text"]) for row in found] == [
        ("bad/empty.txt", "bad", ""),
        ("bad/x/1.txt", "x", "dull"),
        ("good/a.txt", "good", "a gem"),
        ("good/b.txt", "good", "fine\nfilm\n"),
        ("good/c.txt.gz", "good", "packed"),
    ]
    assert found[1].values["folder"] == "bad/x"


def test_the_pattern_chooses_files(folder: Path) -> None:
    """`files` may name a part of the tree, or everything; a flat folder has no labels of its own."""
    assert [row.name for row in rows(folder, format="folder", files="bad/*.md")] == ["bad/README.md"]
    assert len(rows(folder, format="folder", files="**/*")) == 6
    assert [row.values["label"] for row in rows(folder / "bad" / "x", format="folder")] == [None]


def test_folders_that_hold_no_texts(folder: Path) -> None:
    """What there is instead is told by its endings; a file is no folder; a binary file is named."""
    with pytest.raises(DataError, match=r"fits '\*\*/\*\.text'; files by their endings: \.txt 4"):
        rows(folder, format="folder", files="**/*.text")
    with pytest.raises(DataError, match="is a file, and format folder wants a folder"):
        rows(folder / "good" / "a.txt", format="folder")
    (folder / "good" / "d.txt").write_bytes(b"%PDF-1.4")
    with pytest.raises(DataError, match=r"d\.txt is a PDF"):
        rows(folder, format="folder")


def test_each_file_of_a_folder_may_have_its_own_encoding(folder: Path) -> None:
    """With `encoding: auto`; otherwise the file that is not in it is named."""
    (folder / "good" / "a.txt").write_bytes("schöne Grüße aus Köln, für jeden Anlaß".encode("cp1252"))
    (folder / "good" / "b.txt").write_bytes("schöne Grüße".encode())
    found = {row.name: row.values["text"] for row in rows(folder, format="folder", encoding="auto")}
    assert found["good/a.txt"] == "schöne Grüße aus Köln, für jeden Anlaß"
    assert found["good/b.txt"] == "schöne Grüße"
    with pytest.raises(DataError, match=r"a\.txt is not utf-8 text"):
        rows(folder, format="folder")


CONTENT = b"text,label\n" + b"".join(b"text number %d,a\n" % place for place in range(5000))


def packed(folder: Path, suffix: str) -> Path:
    path = folder / f"rows.csv{suffix}"
    if suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("inside/rows.csv", CONTENT)
    elif suffix == ".zst":
        import pyarrow as pa

        with pa.output_stream(path, compression="zstd") as stream:
            stream.write(CONTENT)
    else:
        packs: dict[str, Callable[[bytes], bytes]] = {
            ".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress,
        }  # fmt: skip
        path.write_bytes(packs[suffix](CONTENT))
    return path


@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".xz", ".zst", ".zip"])
def test_packed_files_are_read_and_damaged_ones_named(tmp_path: Path, suffix: str) -> None:
    """By the ending of the name; a file that was cut off is an error, not fewer rows."""
    path = packed(tmp_path, suffix)
    assert [row.values["text"] for row in rows(path)] == [f"text number {place}" for place in range(5000)]
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="cannot be unpacked"):
        rows(path)
    path.write_bytes(b"text,label\nplain,a\n")
    with pytest.raises(DataError, match="cannot be unpacked"):
        rows(path)


def test_a_zip_with_several_files_names_them(tmp_path: Path) -> None:
    """Which one is meant is for the recipe to say."""
    path = packed(tmp_path, ".zip")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("other.csv", CONTENT)
    with pytest.raises(DataError, match=r"holds 2 files, and one is wanted: inside/rows\.csv, other\.csv") as caught:
        rows(path)
    assert "member" in caught.value.fix


def test_a_zip_may_be_named_anyhow_and_be_made_on_a_mac(tmp_path: Path) -> None:
    """The format is that of the file inside; macOS's notes beside it are none."""
    path = tmp_path / "export.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("rows.csv", CONTENT)
        archive.writestr("__MACOSX/._rows.csv", b"\x00\x05\x16\x07")
    assert len(rows(path)) == 5000
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("more.csv", CONTENT)
    with pytest.raises(DataError, match=r"holds 2 files, and one is wanted: rows\.csv, more\.csv"):
        rows(path)
