"""Every kind of bad input that a user's file can hold: a three-part error that names the place, never a crash."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from ftdeploy.artifact import Artifact
from ftdeploy.errors import ConfigError, DataError, FtdeployError, SourceError
from ftdeploy.prepare import prepare
from ftdeploy.recipe import Recipe, load_recipe
from ftdeploy.stage import run_stage

GOOD = b"text,label\n" + b"".join(b"good %d,1\nbad %d,0\n" % (n, n) for n in range(20))


def run(path: Path, **data: Any) -> Artifact:
    """The stage over one file; nothing of it may stay when it fails."""
    source = {"path": str(path)} | data.pop("source", {})
    sections = {"version": 1, "name": "demo", "task": "text-classification", "model": {"path": "none"}}
    recipe = Recipe.model_validate(sections | {"data": {"source": source} | data})
    return run_stage(prepare, recipe, {}, path.parent / "out" / "dataset").artifact


def refused(path: Path, content: bytes, kind: type[FtdeployError] = DataError, **data: Any) -> FtdeployError:
    """The error for a file with this content, after checking its three parts and that nothing is left."""
    path.write_bytes(content)
    with pytest.raises(kind) as caught:
        run(path, **data)
    assert all((caught.value.what, caught.value.cause, caught.value.fix))
    out = path.parent / "out"
    assert not out.exists() or not list(out.iterdir())
    return caught.value


def test_good_file_passes(tmp_path: Path) -> None:
    """What the tests below vary is fit for the task."""
    (tmp_path / "a.csv").write_bytes(GOOD)
    assert run(tmp_path / "a.csv").facts["rows"] == 40


def test_missing_file(tmp_path: Path) -> None:
    """Before anything is made; the sibling that was meant is named."""
    (tmp_path / "rows.csv").write_bytes(GOOD)
    with pytest.raises(SourceError, match="does not exist") as caught:
        run(tmp_path / "row.csv")
    assert "rows.csv" in caught.value.fix


@pytest.mark.parametrize(
    ("columns", "words", "hint"),
    [
        ({"text": "txt"}, "no column 'txt'; the columns are: text, label", "did you mean 'text'?"),
        ({"label": "lable"}, "no column 'lable'", "did you mean 'label'?"),
        ({"text": "txt", "label": "kind"}, "no column 'txt', 'kind'", "did you mean 'text'?"),
        ({"group": "patient"}, "no column 'patient'", "data.columns"),
    ],
)
def test_wrong_column_lists_those_there_are(tmp_path: Path, columns: dict[str, str], words: str, hint: str) -> None:
    """In every format; all wrong names at once."""
    error = refused(tmp_path / "a.csv", GOOD, columns=columns)
    assert words in error.what
    assert hint in error.fix
    lines = b"".join(b'{"text": "t%d", "label": "%d"}\n' % (n, n % 2) for n in range(20))
    assert words in refused(tmp_path / "a.jsonl", lines, columns=columns).what


def test_wrong_column_in_parquet(tmp_path: Path) -> None:
    """Parquet is read by column, and still all columns are listed."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    pq.write_table(pa.table({"review": ["a", "b"], "label": [1, 2]}), buffer)
    assert "the columns are: review, label" in refused(tmp_path / "a.parquet", buffer.getvalue()).what


def test_wrong_column_is_found_before_a_long_file_is_read(tmp_path: Path) -> None:
    """The broken last line of a long file is never reached."""
    lines = b"".join(b'{"txt": "t%d", "label": "%d"}\n' % (n, n % 2) for n in range(6000)) + b"{broken"
    assert "no column 'text'" in refused(tmp_path / "a.jsonl", lines).what


def test_slice_column_is_wanted_too(tmp_path: Path) -> None:
    """A slice that no row has is an error and not an empty table."""
    assert "no column 'site'" in refused(tmp_path / "a.csv", GOOD, slices=["site"]).what


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "a.csv is empty"),
        (b"text,label\n", "holds no rows"),
        (b"\n\n\n", "holds no rows"),
        (b"text,label\n,\n , \n", "no row of a.csv is left after cleaning (2 read; text is empty: 2)"),
        (b"text,label\nx,\ny,\n", "label is missing: 2"),
        (b"text,label\nonly,same\nrows,same\nhere,same\n", "one label only: 'same'"),
        (b"text,label\na,x\nb,x\nc,x\nd,y\n", "fewer than 3 rows: 'y' (1)"),
    ],
)
def test_too_little(tmp_path: Path, content: bytes, words: str) -> None:
    """Empty file, header only, nothing after cleaning, one class, a class of one."""
    assert words in refused(tmp_path / "a.csv", content).what


def test_what_privacy_leaves_nothing_of_is_told_of_privacy(tmp_path: Path) -> None:
    """Where its policy set most rows aside, columns and limits are not what is wrong."""
    rows = b"text,label\n" + b"".join(b"write to me%d@example.org,%d\n" % (n, n % 2) for n in range(8))
    error = refused(tmp_path / "a.csv", rows + b",1\n", privacy={"policy": "drop"})
    assert "(9 read; holds an identifier of type email: 8, text is empty: 1)" in error.what
    assert "data.privacy" in error.cause
    assert "data.columns" not in error.cause
    other = refused(tmp_path / "a.csv", b"text,label\nme@example.org,1\n,0\n,1\n", privacy={"policy": "drop"})
    assert "data.columns" in other.cause


def test_empty_rows_among_good_ones_are_no_error(tmp_path: Path) -> None:
    """They are set aside and counted."""
    (tmp_path / "a.csv").write_bytes(GOOD + b",\n\n,1\nx,\n")
    made = run(tmp_path / "a.csv")
    assert (made.facts["rows"], made.facts["rejected"]) == (40, 3)


def test_label_outside_the_named_ones(tmp_path: Path) -> None:
    """Each one with its count, first place, and the label that was meant."""
    rows = b"text,label\n" + b"".join(b"t%d,%s\n" % (n, b"good" if n % 2 else b"bad") for n in range(20))
    error = refused(tmp_path / "a.csv", rows + b"x,goood\ny,goood\n", labels=["good", "bad"])
    assert "'goood' (2 rows, first at 22; did you mean 'good'?)" in error.what
    assert "no row has the label 'ugly'" in refused(tmp_path / "a.csv", rows, labels=["good", "bad", "ugly"]).what


def test_label_that_only_duplicates_carried(tmp_path: Path) -> None:
    """A label whose rows all contradict others is as rare as one that is not there."""
    assert "'2' (0)" in refused(tmp_path / "a.csv", GOOD + b"good 1,2\ngood 2,2\ngood 3,2\n").what


def test_bytes_that_are_not_utf8_are_named_by_line_and_offset(tmp_path: Path) -> None:
    """Line, offset, the bytes, and an encoding that fits; with that encoding it runs."""
    content = GOOD + "caf\u00e9 \u2013 na\u00efve,1\n".encode("cp1252")
    offset = content.index(b"\xe9")
    error = refused(tmp_path / "a.csv", content)
    assert f"line 42, byte offset {offset}: 0xe9" in error.what
    assert "encoding: cp1252" in error.fix
    assert run(tmp_path / "a.csv", source={"encoding": "cp1252"}).facts["rows"] == 41


def test_offset_is_right_beyond_the_first_piece_and_across_its_edge(tmp_path: Path) -> None:
    """The file is read in pieces of 1 MiB; a character may lie across an edge, and the fault further on."""
    filler = b'"' + b"x" * ((1 << 20) - len(GOOD) - 2) + "\u00e9".encode()
    content = GOOD + filler + b'",1\nbroken \xff,0\n'
    error = refused(tmp_path / "a.csv", content)
    assert f"line 43, byte offset {content.index(bytes([255]))}: 0xff" in error.what


@pytest.mark.parametrize(
    ("encoding", "suggested"), [("utf-16", "utf-16"), ("utf-16-le", "utf-16-le"), ("latin-1", "cp1252")]
)
def test_suggested_encoding_fits(tmp_path: Path, encoding: str, suggested: str) -> None:
    """Spreadsheets write UTF-16 with a mark, some tools without one; Windows writes cp1252."""
    content = GOOD.decode().replace("good 1,", "g\u00f6\u00f6d 1,").encode(encoding)
    error = refused(tmp_path / "a.csv", content)
    assert f"encoding: {suggested}`" in error.fix
    assert run(tmp_path / "a.csv", source={"encoding": suggested}).facts["rows"] == 40


def test_cut_off_character_at_the_end(tmp_path: Path) -> None:
    """The last byte of a multi-byte character is missing."""
    assert "line 42" in refused(tmp_path / "a.csv", GOOD + "x\u00e9".encode()[:-1]).what


def _xlsx() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as packed:
        packed.writestr("xl/workbook.xml", "<workbook/>")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (_xlsx(), "Excel"),
        (b"%PDF-1.7\n", "PDF"),
        (b"PAR1xxxx", "parquet"),
        (b"\x1f\x8b\x08\x00", "gzip"),
        (b"<!doctype html><html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
        (b"SQLite format 3\x00", "SQLite"),
    ],
)
def test_file_that_is_something_else(tmp_path: Path, content: bytes, words: str) -> None:
    """What it really is, whatever its name says."""
    for name in ("a.csv", "a.jsonl"):
        assert words in refused(tmp_path / name, content).what


def test_name_that_tells_no_format(tmp_path: Path) -> None:
    """The known endings are listed."""
    error = refused(tmp_path / "rows.dat", GOOD)
    assert ".csv" in error.cause
    assert "data.source.format" in error.fix


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"one,two,three\n", "line 42 has 3 fields where 2 are expected"),
        (b"one\n", "line 42 has 1 fields where 2 are expected"),
        (b'"two\nlines",1\nx,y,z\n', "line 44 has 3 fields"),
        (b'"never closed,1\nx,1\n', "unexpected end of data"),
        (b'"closed" too early,1\n', "near line 42"),
    ],
)
def test_ragged_and_badly_quoted_rows(tmp_path: Path, line: bytes, words: str) -> None:
    """Named by line, counting the lines inside quotes."""
    assert words in refused(tmp_path / "a.csv", GOOD + line).what


def test_a_line_that_tells_spreadsheets_the_delimiter_is_no_row(tmp_path: Path) -> None:
    """`sep=;` before the header names the delimiter, is nobody's row, and counts among the lines."""
    divided = b"sep=;\r\n" + GOOD.replace(b",", b";")
    assert "line 43 has 1 fields where 2 are expected" in refused(tmp_path / "a.csv", divided + b"one\n").what
    (tmp_path / "a.csv").write_bytes(divided)
    assert run(tmp_path / "a.csv").facts["rows"] == 40


def test_a_header_of_one_column_asks_for_the_delimiter(tmp_path: Path) -> None:
    """Where the rows have more fields, the sign between columns is an unusual one."""
    error = refused(tmp_path / "a.csv", b"text^label\n" + b"one, two^yes\n" * 9)
    assert "line 2 has 2 fields, and the header is one: 'text^label'" in error.what
    assert "data.source.delimiter" in error.fix


def test_quotes_can_be_plain_text(tmp_path: Path) -> None:
    """`quotes: false` is what the error suggests, and it works."""
    (tmp_path / "a.csv").write_bytes(GOOD + b'"never closed,1\n')
    assert run(tmp_path / "a.csv", source={"quotes": False}).facts["rows"] == 41


def test_delimiters_at_the_end_of_lines_are_forgiven(tmp_path: Path) -> None:
    """Spreadsheets write them for empty columns."""
    (tmp_path / "a.csv").write_bytes(GOOD + b"fine,1,,\n")
    assert run(tmp_path / "a.csv").facts["rows"] == 41


def test_column_that_stands_twice(tmp_path: Path) -> None:
    """Nobody can tell which one is meant."""
    assert "two columns named 'text'" in refused(tmp_path / "a.csv", b"text,label,text\na,b,c\n").what


def test_no_header_and_no_names(tmp_path: Path) -> None:
    """The error says how many names are wanted."""
    error = refused(tmp_path / "a.csv", GOOD, source={"header": False})
    assert "names: [column1, column2]" in error.fix


def test_nul_bytes_are_removed(tmp_path: Path) -> None:
    """In CSV and in JSON; they are control characters like others."""
    (tmp_path / "a.csv").write_bytes(GOOD + b"nul\x00 byte,1\n")
    assert run(tmp_path / "a.csv").facts["rows"] == 41
    lines = b"".join(b'{"text": "t%d \\u0000", "label": "%d"}\n' % (n, n % 2) for n in range(20))
    (tmp_path / "a.jsonl").write_bytes(lines)
    assert run(tmp_path / "a.jsonl").facts["rows"] == 20


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b'{"text": "cut o', "line 21, column 10"),
        (b"{'text': 'single quotes'}", "line 21, column 2"),
        (b'{"text": 1} {"text": 2}', "line 21, column 13"),
        (b'["text", "label"]', "line 21 holds a list"),
        (b"42", "line 21 holds a int"),
        (b"[" * 100_000, "line 21"),
        (b'{"text": "x", "label": 1' + b"0" * 5000 + b"}", "line 21"),
    ],
)
def test_broken_json_line(tmp_path: Path, line: bytes, words: str) -> None:
    """Line and column; a line that is no object; nesting without end; a number without end."""
    good = b"".join(b'{"text": "t%d", "label": "%d"}\n' % (n, n % 2) for n in range(20))
    assert words in refused(tmp_path / "a.jsonl", good + line).what


def test_json_array_instead_of_lines(tmp_path: Path) -> None:
    """The commonest mistake has an error of its own, with the command that converts."""
    error = refused(tmp_path / "a.json", json.dumps([{"text": "a", "label": "b"}], indent=1).encode())
    assert "one JSON array" in error.what
    assert "json.load" in error.fix


@pytest.mark.parametrize("content", [b'["a", "x"]\n["b", "y"]\n', b'[["a", "x"], ["b", "y"]]', b"[1, 2]\n[3, 4]\n"])
def test_json_lists_are_no_array_of_rows(tmp_path: Path, content: bytes) -> None:
    """What converts an array of objects would die on these; what they lack is told."""
    error = refused(tmp_path / "a.jsonl", content)
    assert error.what == "a.jsonl, line 1 holds a list, and an object is wanted"
    assert "lists or bare values" in error.cause
    assert "json.load" not in error.fix


def test_json_array_on_one_line(tmp_path: Path) -> None:
    """As `json.dump` writes it."""
    assert "one JSON array" in refused(tmp_path / "a.json", json.dumps([{"text": "a", "label": "b"}]).encode()).what


def test_damaged_parquet_and_gzip(tmp_path: Path) -> None:
    """Cut off files say so."""
    assert "cannot be read as parquet" in refused(tmp_path / "a.parquet", b"PAR1 and then nothing").what
    assert "cannot be read as parquet" in refused(tmp_path / "a.parquet", b"").what
    assert "cannot be unpacked" in refused(tmp_path / "a.csv.gz", GOOD).what


def test_sha256_that_does_not_match(tmp_path: Path) -> None:
    """Both sums are named before a row is read."""
    error = refused(tmp_path / "a.csv", GOOD, SourceError, source={"sha256": "0" * 64})
    assert "0" * 64 in error.what


def _loader(tmp_path: Path, code: str) -> dict[str, str]:
    (tmp_path / "mine.py").write_text(code)
    return {"loader": f"{tmp_path}/mine.py:load"}


@pytest.mark.parametrize(
    ("code", "kind", "words"),
    [
        ("def load(path):\n    yield {'text': 'a', 'label': 'b'}\n    int('x')\n", DataError, "(line 3: int('x'))"),
        ("def load(path):\n    yield ['a', 'b']\n", DataError, "yielded a list as row 1"),
        ("def load(path):\n    return 5\n", DataError, "raised TypeError"),
        ("def laod(path): ...\n", SourceError, "no function 'load'"),
        ("import nowhere_to_be_found\n", SourceError, "nowhere_to_be_found"),
        ("def load(path:\n", SourceError, "SyntaxError"),
    ],
)
def test_loader_that_fails(tmp_path: Path, code: str, kind: type[FtdeployError], words: str) -> None:
    """The user's own code is told by its own line."""
    error = refused(tmp_path / "a.csv", GOOD, kind, source=_loader(tmp_path, code))
    assert words in error.what
    if "laod" in code:
        assert "did you mean 'laod'?" in error.fix


def test_loader_file_that_is_missing(tmp_path: Path) -> None:
    """Known before the stage begins, because its content belongs to the key."""
    error = refused(tmp_path / "a.csv", GOOD, SourceError, source={"loader": f"{tmp_path}/yours.py:load"})
    assert "yours.py does not exist" in error.what


def test_loader_form_and_reserved_names_are_configuration_errors(tmp_path: Path) -> None:
    """What can be known from the recipe alone is known before any row is read, all at once."""
    (tmp_path / "r.yaml").write_text(
        "version: 1\nname: demo\ntask: text-classification\nmodel: {path: m}\n"
        "data: {source: {path: a.csv, loader: mine.py, encoding: utf-9}, slices: [text], columns: {text: t}}\n"
    )
    with pytest.raises(ConfigError) as caught:
        load_recipe(tmp_path / "r.yaml")
    messages = " ".join(str(problem) for problem in caught.value.problems)
    assert "wants file.py:function" in messages
    assert "utf-9" in messages
    assert "'text' is a name that ftdeploy uses" in messages


def test_too_few_groups(tmp_path: Path) -> None:
    """A label whose rows are all in one group cannot stand in three splits."""
    rows = b"text,label,g\n" + b"".join(b"t%d,%d,g%d\n" % (n, n % 2, n % 2) for n in range(40))
    error = refused(tmp_path / "a.csv", rows, columns={"group": "g"})
    assert "no rows in a split" in error.what
    assert "group" in error.fix


def test_folder_instead_of_a_file(tmp_path: Path) -> None:
    """`member` or `path` may name a folder by mistake."""
    (tmp_path / "rows").mkdir()
    (tmp_path / "rows" / "a.csv").write_bytes(GOOD)
    with pytest.raises(DataError, match="is a folder"):
        run(tmp_path / "rows")
