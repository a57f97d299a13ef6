"""What people see: bars on a terminal, plain lines elsewhere, errors in three parts."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from ftdeploy import console, progress
from ftdeploy.console import ConsoleReporter, number, print_json, show_error, show_facts, show_line, show_table
from ftdeploy.errors import ArtifactError, ConfigError, Problem
from ftdeploy.progress import reporting


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What stderr shows, on a terminal."""
    written = io.StringIO()
    monkeypatch.setattr(console, "err", Console(file=written, force_terminal=True, width=100))
    return written


def test_elsewhere_lines_are_plain(capsys: pytest.CaptureFixture[str]) -> None:
    """No escape codes, no carriage returns; a task is silent, and what is said goes to stderr."""
    with reporting(ConsoleReporter()), progress.task("train", 3) as advance:
        advance(1)
        progress.say("device: cpu [no GPU] :smile:")
    shown = capsys.readouterr()
    assert shown.err == "    device: cpu [no GPU] :smile:\n"
    assert shown.out == ""


def test_a_terminal_shows_a_bar(screen: io.StringIO) -> None:
    """With the name and how much is done."""
    with reporting(ConsoleReporter()), progress.task("train", 3) as advance:
        advance(1)
        advance(2)
    assert "train" in screen.getvalue()
    assert "3/3" in screen.getvalue()


def test_a_bar_shows_its_name_as_it_is(screen: io.StringIO) -> None:
    """A file called [/red] is no markup."""
    with reporting(ConsoleReporter()), progress.task("fetch [/red][x]", 3) as advance:
        advance(3)
    assert "fetch [/red][x]" in screen.getvalue()


def test_a_task_of_unknown_length_has_a_bar_too(screen: io.StringIO) -> None:
    """Nothing is divided by a total that is not there."""
    with reporting(ConsoleReporter()), progress.task("export"):
        pass
    assert "export" in screen.getvalue()


def test_without_a_reporter_nothing_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """The library is silent by itself, and again after the reporting block."""
    with reporting(ConsoleReporter()):
        pass
    with progress.task("train", 3) as advance:
        advance(1)
        progress.say("anything")
    assert capsys.readouterr() == ("", "")


def test_an_error_has_three_parts_and_every_problem(capsys: pytest.CaptureFixture[str]) -> None:
    """On stderr, in plain words; brackets of the user's are not taken for markup."""
    problems = [Problem(path="a[0].b", message="is [bold]wrong[/]", line=3), Problem(path="c", message="is missing")]
    show_error(ConfigError("r.yaml: 2 problems", cause="the cause", fix="the fix", problems=problems), as_json=False)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.splitlines() == [
        "The configuration is not valid (exit code 3)",
        "  what:  r.yaml: 2 problems",
        "           line 3: a[0].b: is [bold]wrong[/]",
        "           c: is missing",
        "  cause: the cause",
        "  fix:   the fix",
    ]


def test_an_error_for_a_program_is_json_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    """One document, with everything that a person would read."""
    error = ArtifactError("what ü", cause="why", fix="how")
    show_error(error, as_json=True)
    assert json.loads(capsys.readouterr().out) == error.as_dict()


def test_long_lines_are_not_broken(capsys: pytest.CaptureFixture[str]) -> None:
    """A path of 300 characters stays on one line, to be copied."""
    show_facts({"path": "/x" * 150})
    assert capsys.readouterr().out == f"  path  {'/x' * 150}\n"


def test_facts_are_aligned_and_brackets_stay(capsys: pytest.CaptureFixture[str]) -> None:
    """One a line, values in a column."""
    show_facts({"a": "[red]x", "[/]er": 3})
    assert capsys.readouterr().out == "  a      [red]x\n  [/]er  3\n"
    show_facts({})
    assert capsys.readouterr().out == ""


def test_a_path_is_shown_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    """Brackets in a folder's name are no markup, braces no placeholders."""
    show_line("[bold]wrote[/] {0} and {0}", "runs/[/][red]{1}")
    assert capsys.readouterr().out == "wrote runs/[/][red]{1} and runs/[/][red]{1}\n"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (True, "true"),
        (None, "null"),
        (0.87654, "0.8765"),
        (-3.5, "-3.5000"),
        (1234.6, "1,235"),
        (1234567, "1,234,567"),
        ("text", "text"),
    ],
)
def test_numbers_as_a_person_reads_them(value: object, words: str) -> None:
    """Truth values and null as in JSON, four digits of a fraction, thousands apart."""
    assert number(value) == words


def test_json_keeps_text_readable(capsys: pytest.CaptureFixture[str]) -> None:
    """Not escaped, and what JSON has no form for becomes its text."""
    print_json({"ü": number})
    assert "ü" in capsys.readouterr().out


def test_a_table_has_columns_as_wide_as_they_must_be(capsys: pytest.CaptureFixture[str]) -> None:
    """On stdout, without spaces at the ends; brackets in cells are no markup."""
    show_table(("name", "state"), [("a longer name", "[bold]"), ("b", "")])
    assert capsys.readouterr().out == "name           state\na longer name  [bold]\nb\n"
