"""The reference of every key, generated from the schema."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from ftdeploy.cli import app
from ftdeploy.recipe import recipe_schema
from ftdeploy.reference import as_markdown
from ftdeploy.suite import suite_schema
from ftdeploy.verdict import report_schema

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("schema", [recipe_schema, suite_schema, report_schema])
def test_every_key_of_every_section_is_in_it(schema: Any) -> None:
    """Each section has a heading, and each of its keys a row with a meaning."""
    found = schema()
    text = as_markdown(found)
    sections = text.split("\n## ")
    assert len(sections) == 1 + len(found["$defs"])
    for body in (found, *found["$defs"].values()):
        keys = [f"| `{key}` |" for key in body["properties"]]
        assert any(all(key in section for key in keys) for section in sections), body["title"]
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    assert all(line.replace("\\|", "").count("|") == 5 for line in rows)
    assert not [line for line in rows if line.endswith("|  |")]


def test_the_reference_beside_the_recipes_is_of_this_version() -> None:
    """recipes/REFERENCE.md is what `ftdeploy schema --markdown` prints."""
    printed = CliRunner().invoke(app, ["schema", "--markdown"])
    assert printed.exit_code == 0
    assert (ROOT / "recipes" / "REFERENCE.md").read_text(encoding="utf-8") == printed.stdout
