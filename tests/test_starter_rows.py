"""What a file of rows holds, found by looking; `tests/test_starter.py` has what becomes of it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from ftdeploy.origin import Source
from ftdeploy.starter_rows import look_at, one_line, scalar, slug, source_lines


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


@pytest.mark.parametrize("text", ["plain", "yes", "1.0", "a: b # c", "- dash", "{brace}", 'say "x"', "Größe", "a\tb"])
def test_a_scalar_is_read_back(text: str) -> None:
    """As the text that it was."""
    assert yaml.safe_load(scalar(text)) == text


def test_names() -> None:
    """Of services, and of what stands in comments."""
    assert [slug(name) for name in ("My Data (2024)", "2024", "überall")] == ["my-data-2024", "model-2024", "berall"]
    assert one_line("a\u2028b\nc") == "a?b?c"
