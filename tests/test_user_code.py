"""Files of the user's own, imported by their path."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from ftdeploy.user_code import import_file, line_in


def test_a_file_is_a_module_of_its_own(tmp_path: Path) -> None:
    """Two of one name do not meet; dataclasses find their module, also where annotations are strings; imported again,
    it is read again."""
    code = "from __future__ import annotations\nfrom dataclasses import dataclass, fields\n\n@dataclass\nclass Row:\n"
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "rows.py").write_text(f"{code}    {name}: int = 1\n", encoding="utf-8")
    first, second = (import_file(tmp_path / name / "rows.py") for name in ("a", "b"))
    assert [field.name for field in first.fields(first.Row)] == ["a"]
    assert [field.name for field in second.fields(second.Row)] == ["b"]
    assert sys.modules[first.Row.__module__] is first
    (tmp_path / "a" / "rows.py").write_text("x = 22\n", encoding="utf-8")
    assert import_file(tmp_path / "a" / "rows.py").x == 22


def test_what_a_file_raises_passes_through(tmp_path: Path) -> None:
    """With the line in it; nothing half-made can be imported by its name."""
    path = tmp_path / "bad.py"
    path.write_text("x = 1\ny = x / 0\n", encoding="utf-8")
    before = set(sys.modules)
    with pytest.raises(ZeroDivisionError) as caught:
        import_file(path)
    assert line_in(caught.value, path) == " (line 2: y = x / 0)"
    assert line_in(caught.value, tmp_path / "other.py") == ""
    assert not {name for name in set(sys.modules) - before if "bad" in name}
    (tmp_path / "rows.txt").write_text("", encoding="utf-8")
    with pytest.raises(ImportError, match=r"does not end in \.py"):
        import_file(tmp_path / "rows.txt")
