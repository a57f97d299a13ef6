"""What a file of rows holds, found by looking; `tests/test_starter.py` has what becomes of it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from ftdeploy.errors import DataError
from ftdeploy.origin import Source
from ftdeploy.starter_rows import look_at, one_line, reading_notes, scalar, slug, source_lines


def test_columns_and_labels(tmp_path: Path) -> None:
    """The long column, the one with few values, and how many rows each label has with a text."""
    rows = "".join(f"message number {n},{'yes' if n % 3 else 'no'}\n" for n in range(30)) + ",no\n"
    (tmp_path / "rows.csv").write_text("says,answer\n" + rows, encoding="utf-8")
    found = look_at(tmp_path / "rows.csv")
    assert (found.text, found.label, dict(found.counts)) == ("says", "answer", {"yes": 20, "no": 10})
    assert found.columns["says"].filled == 30
    assert found.columns["answer"].mean_chars == pytest.approx((20 * 3 + 11 * 2) / 31)


def test_the_lines_say_how_the_file_is_read(tmp_path: Path) -> None:
    """They are YAML of the very source."""
    source = Source(path=tmp_path / "a: b.csv", encoding="cp1252", delimiter=";", header=False, names=("one", "two: 2"))
    lines = source_lines(source, tmp_path / "a: b.csv", tmp_path / "new" / "suite.yaml")
    read = yaml.safe_load("\n".join(lines))
    assert read == {
        "path": "../a: b.csv", "encoding": "cp1252", "delimiter": ";", "header": False, "names": ["one", "two: 2"],
    }  # fmt: skip


def _table(path: Path, head: str, tail: str = "", *, count: int = 60) -> Path:
    """Rows of a text, one of two labels, and what else each ends with, below a first line."""
    rows = [f"message number {n},{('spam', 'ham')[n % 2]}{tail}" for n in range(count)]
    path.write_text("\n".join([head, *rows, ""]), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("head", "tail", "columns"),
    [
        ("v1,v2,,,", ",,,", ["v1", "v2"]),
        ("v1,v2,,,", ",and so on,,", ["v1", "v2"]),
        ("text,label,source,source", ",web,shop", ["text", "label", "source"]),
        ("Review,Sentiment,2023,2024", ",1,2", ["Review", "Sentiment", "2023", "2024"]),
        ("text,label,topic", ",topic", ["text", "label", "topic"]),
    ],
)
def test_a_header_with_odd_names_is_one(tmp_path: Path, head: str, tail: str, columns: list[str]) -> None:
    """Columns without a name, twice the same, a year, or a word that is a cell, too; what has no name is no column."""
    found = look_at(_table(tmp_path / "rows.csv", head, tail))
    assert (found.source.header, list(found.columns), found.rows) == (True, columns, 60)
    assert (found.text, found.label) == (columns[0], columns[1])
    assert list(reading_notes(found)) == []


@pytest.mark.parametrize("named", [{"text": "says", "label": "mood"}, {"label": "mood"}])
def test_columns_that_are_named_make_the_first_line_a_header(tmp_path: Path, named: dict[str, str]) -> None:
    """Whatever else stands in it; without names it is taken for a row, which is told."""
    rows = _table(tmp_path / "rows.csv", "says,mood,2023", ",1")
    found = look_at(rows, **named)
    assert (found.text, found.label, found.rows, found.source.header) == ("says", "mood", 60, True)
    with pytest.raises(DataError, match="there is no column 'mod'; the columns are: says, mood, 2023"):
        look_at(rows, text="says", label="mod")
    taken = look_at(_table(tmp_path / "none.csv", "a first message,spam"))
    assert (taken.rows, taken.source.names) == (61, ("column1", "column2"))
    (note,) = reading_notes(taken)
    assert "the first line is taken for a row, and the columns are called column1, column2" in note


@pytest.mark.parametrize("first", ["a message,query", "query,z", "hello there,y"])
def test_one_word_as_columns_have_it_makes_no_header(tmp_path: Path, first: str) -> None:
    """It may as well be a label or a short text; two columns have such names where it is a header."""
    text, label = first.split(",")
    rows = "".join(f"{text} {n},{label}\nno {n},n\n" for n in range(9))
    (tmp_path / "rows.csv").write_text(f"{first}\n{rows}", encoding="utf-8")
    assert look_at(tmp_path / "rows.csv").rows == 19


@pytest.mark.parametrize("text", ["plain", "yes", "1.0", "a: b # c", "- dash", "{brace}", 'say "x"', "Größe", "a\tb"])
def test_a_scalar_is_read_back(text: str) -> None:
    """As the text that it was."""
    assert yaml.safe_load(scalar(text)) == text


def test_names() -> None:
    """Of services, and of what stands in comments."""
    assert [slug(name) for name in ("My Data (2024)", "2024", "überall")] == ["my-data-2024", "model-2024", "berall"]
    assert one_line("a\u2028b\nc") == "a?b?c"
