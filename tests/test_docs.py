"""What documents itself: functions, commands, recipe keys, exit codes."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from ftdeploy import cli
from ftdeploy.errors import EXIT_CODES
from ftdeploy.recipe import load_recipe, recipe_schema
from ftdeploy.suite import suite_schema
from ftdeploy.verdict import report_schema

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "ftdeploy").rglob("*.py"))
RECIPES = sorted((ROOT / "recipes").glob("*.yaml"))
#: Classes whose methods are documented in the Protocol that they follow.
FOLLOW = {
    "MultiLabelClassification": "Task",
    "TextClassification": "Task",
    "TextRegression": "Task",
    "TokenClassification": "Task",
    "FeatureExtraction": "Task",
    "Accuracy": "Metric",
    "MacroF1": "Metric",
}

Named = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def public(body: list[ast.stmt], prefix: str = "") -> Iterator[tuple[str, Named]]:
    for node in body:
        if isinstance(node, Named) and not node.name.startswith("_"):
            yield prefix + node.name, node
            if isinstance(node, ast.ClassDef) and node.name not in FOLLOW:
                yield from public(node.body, f"{node.name}.")


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_everything_public_says_what_it_is_for(path: Path) -> None:
    """Modules, classes, functions and methods have a docstring."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree)
    assert [name for name, node in public(tree.body) if not ast.get_docstring(node)] == []


def test_undocumented_methods_are_those_of_a_protocol() -> None:
    """The exception above stands for something: the Protocol has the method and its words."""
    defined = {
        node.name: {name: bool(ast.get_docstring(method)) for name, method in public(node.body)}
        for path in SOURCES
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef)
    }
    for name, protocol in FOLLOW.items():
        assert defined[name]
        assert all(defined[protocol][method] for method in defined[name])


def keys(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for title, part in {"": schema, **schema["$defs"]}.items():
        for name, body in part["properties"].items():
            # Where a key and the section behind it have the same words, the schema says them once.
            section = schema["$defs"].get(body.get("$ref", "").rpartition("/")[2], {})
            yield f"{title}.{name}", section | body


@pytest.mark.parametrize("schema", [recipe_schema, suite_schema, report_schema])
def test_every_key_is_documented(schema: Any) -> None:
    """`ftdeploy schema` prints a sentence about each."""
    undocumented = [name for name, body in keys(schema()) if not str(body.get("description", "")).strip()]
    assert undocumented == []


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.name)
def test_every_recipe_loads(path: Path) -> None:
    """The shipped recipes are valid, and named as their files are."""
    assert load_recipe(path).name == path.stem


def key_lines(path: Path) -> dict[str, int]:
    """Dotted name -> number of the line, from 0, of every key of a YAML file."""
    found: dict[str, int] = {}

    def walk(node: yaml.Node, prefix: str) -> None:
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                found.setdefault(prefix + key.value, key.start_mark.line)
                walk(value, f"{prefix}{key.value}.")

    root = yaml.compose(path.read_text(encoding="utf-8"))
    assert root is not None
    walk(root, "")
    return found


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.name)
def test_every_key_of_a_recipe_has_a_comment(path: Path) -> None:
    """On its line, or on the line above."""
    lines = path.read_text(encoding="utf-8").splitlines()
    found = key_lines(path)
    bare = []
    for name, number in found.items():
        above = lines[number - 1].strip() if number else ""
        if " #" not in lines[number] and not above.startswith("#"):
            bare.append(name)
    assert bare == []


def test_the_sentiment_recipe_shows_every_section() -> None:
    """It is the recipe that people begin with; the reference has the keys that it leaves at their defaults."""
    shown = key_lines(ROOT / "recipes" / "sentiment.yaml")
    assert set(recipe_schema()["properties"]) - {"cross_validation", "device", "tune"} <= set(shown)


def test_every_command_has_help() -> None:
    """Each command, argument and option says what it is."""
    commands = dict(typer.main.get_command(cli.app).commands)  # type: ignore[attr-defined]  # a group has them
    wanted = {"init", "check", "run", "eval", "monitor", "serve", "show", "verify", "bench", "doctor", "schema"}
    assert set(commands) >= wanted
    below = [(f"{name} {word}", one) for name, group in commands.items() for word, one in
             getattr(group, "commands", {}).items()]  # fmt: skip
    commands |= dict(below)
    assert set(commands) >= {"eval init", "eval history"}
    for name, command in commands.items():
        assert command.help, name
        for parameter in command.params:
            assert getattr(parameter, "help", ""), f"{name} {parameter.name}"


def test_help_names_every_exit_code() -> None:
    """The epilog and `EXIT_CODES` are the same list; beside them 0, 2 and 130."""
    listed = [int(number) for number in re.findall(r"\b(\d+) [a-z]", cli._EPILOG)]
    assert listed == [0, 2, *EXIT_CODES, 130]


def test_every_error_class_says_when_it_is_raised() -> None:
    """Its docstring is its documentation."""
    assert all(inspect.getdoc(one) != inspect.getdoc(Exception) and inspect.getdoc(one) for one in EXIT_CODES.values())


@pytest.mark.parametrize(
    "page", [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "recipes").glob("*.md"))]
)
def test_links_lead_somewhere(page: Path) -> None:
    """Each link of a page to another one, or to a heading, finds it; headings are named as GitHub does."""
    for target, _, heading in (link.partition("#") for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8"))):
        if target.startswith(("http:", "https:")):
            continue
        found = (page.parent / target).resolve() if target else page
        assert found.exists(), f"{page.name}: {target}"
        if heading:
            headings = re.findall(r"^#+ (.*)$", found.read_text("utf-8"), flags=re.MULTILINE)
            assert heading in {re.sub(r"[^\w -]", "", one.lower()).replace(" ", "-") for one in headings}, heading
