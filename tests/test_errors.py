"""Errors: three parts, one exit code a class."""

from __future__ import annotations

import json

import pytest

from ftdeploy import errors
from ftdeploy.errors import EXIT_CODES, ConfigError, FtdeployError, Problem, did_you_mean, first_of


def test_every_class_has_an_exit_code_of_its_own() -> None:
    """A script can tell every kind of failure apart, and from wrong usage (2), a crash (1) and an interrupt (130)."""
    classes = [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, FtdeployError)]
    assert set(EXIT_CODES.values()) == set(classes) - {FtdeployError}
    assert sorted(EXIT_CODES) == list(range(3, 3 + len(EXIT_CODES)))
    assert all(code == one.exit_code for code, one in EXIT_CODES.items())
    assert len({one.title for one in EXIT_CODES.values()}) == len(EXIT_CODES)


@pytest.mark.parametrize("kind", EXIT_CODES.values())
def test_three_parts_survive_as_plain_data(kind: type[FtdeployError]) -> None:
    """What a program reads with --json is what a person reads."""
    error = kind("what happened", cause="why", fix="what to do")
    found = json.loads(json.dumps(error.as_dict()))
    assert (found["what"], found["cause"], found["fix"]) == ("what happened", "why", "what to do")
    assert (found["error_type"], found["exit_code"]) == (kind.__name__, kind.exit_code)
    assert str(error) == "what happened"


def test_a_config_error_carries_every_problem() -> None:
    """In order, with path, line and hint."""
    problems = [
        Problem(path="a.b", message="is wrong", line=3, hint="did you mean 'c'?"),
        Problem(path="d", message="x"),
    ]
    error = ConfigError("2 problems", cause="c", fix="f", problems=iter(problems))
    assert [str(problem) for problem in error.problems] == ["line 3: a.b: is wrong (did you mean 'c'?)", "d: x"]
    assert error.as_dict()["problems"] == [
        {"path": "a.b", "line": 3, "message": "is wrong", "hint": "did you mean 'c'?"},
        {"path": "d", "line": None, "message": "x", "hint": ""},
    ]


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("lable", "did you mean 'label'?"),
        ("LABEL", "known: label, text"),
        ("", "known: label, text"),
        ("zzz", "known: label, text"),
    ],
)
def test_did_you_mean(word: str, hint: str) -> None:
    """The close word, or all that there are."""
    assert did_you_mean(word, ["text", "label"]) == hint


@pytest.mark.parametrize(("names", "told"), [([], ""), (["a", "b"], "a, b"), (["a", "b", "c"], "a, b and 1 more")])
def test_first_names_of_many(names: list[str], told: str) -> None:
    """As many as there is room for; that there are others is said where there are."""
    assert first_of(names, 2) == told


def test_did_you_mean_among_nothing() -> None:
    """Nothing is known, so nothing is said."""
    assert did_you_mean("word", []) == ""
