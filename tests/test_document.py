"""YAML into frozen models: every way in which a document can be wrong, and that all of it is said at once."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Literal, Self

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field, model_validator

from ftdeploy.document import Section, parse, read_yaml
from ftdeploy.errors import ConfigError


class Inner(Section):
    """A section in a section."""

    size: int = Field(default=1, ge=1)
    """A number."""
    mode: Literal["fast", "small"] = "fast"
    """A word."""


class Document(Section):
    """A document."""

    name: str
    """A text."""
    inner: Inner = Inner()
    """A section."""
    many: tuple[Inner, ...] = ()
    """Sections."""

    @model_validator(mode="after")
    def _is_no_other(self) -> Self:
        if self.name == "other":
            raise ValueError("this is another document")
        return self


def load(folder: Path, text: str, *overrides: str) -> Document:
    path = folder / "document.yaml"
    path.write_text(text, encoding="utf-8")
    data, lines = read_yaml(path, overrides=overrides)
    return parse(Document, data, path=path, lines=lines)


def problems(folder: Path, text: str, *overrides: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(folder, text, *overrides)
    return [str(problem) for problem in caught.value.problems]


def refused(folder: Path, text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(folder, text)
    return caught.value.what


def test_a_fault_of_the_whole_document_is_a_problem_too(tmp_path: Path) -> None:
    """It has no key to stand at."""
    assert problems(tmp_path, "name: other\n") == ["line 1: (document): this is another document"]


def test_all_problems_at_once_with_path_line_and_suggestion(tmp_path: Path) -> None:
    """A misspelt key, a wrong word, a wrong number and a missing key: four problems, in the order of the file."""
    text = "nmae: x\ninner:\n  sizee: 3\n  mode: smal\nmany:\n  - size: 2\n  - size: none\n"
    assert problems(tmp_path, text) == [
        "line 1: name: is required",
        "line 1: nmae: unknown key (did you mean 'name'?)",
        "line 3: inner.sizee: unknown key (did you mean 'size'?)",
        "line 4: inner.mode: 'smal' is not one of 'fast' or 'small' (did you mean 'small'?)",
        "line 7: many[1].size: Input should be a valid integer, unable to parse string as an integer, not 'none'",
    ]


def test_an_unknown_key_like_no_other_lists_what_there_is(tmp_path: Path) -> None:
    """Nothing is close, so all keys are named."""
    assert problems(tmp_path, "name: x\ninner: {zzz: 1}\n") == ["line 2: inner.zzz: unknown key (known: mode, size)"]


def test_a_key_that_stands_twice(tmp_path: Path) -> None:
    """YAML would silently take the last one; both lines are named."""
    text = "name: x\ninner:\n  size: 1\n  size: 2\nname: y\n"
    assert problems(tmp_path, text) == [
        "line 4: inner.size: stands twice, first on line 3",
        "line 5: name: stands twice, first on line 1",
    ]


@pytest.mark.parametrize("text", ["", "# only a comment\n", "- a\n- b\n", "just text\n", "3\n", "null\n"])
def test_a_document_that_is_no_mapping(tmp_path: Path, text: str) -> None:
    """An empty file, a list, a scalar: said as such."""
    assert problems(tmp_path, text) == ["line 1: (document): a mapping of sections is expected"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name: [1\n", "flow sequence that begins on line 1"),
        ("name: x\n inner: 3\n", "line 2"),
        ("name: 'open\n", "quoted scalar that begins on line 1"),
        ("name: a: b\n", "mapping values are not allowed here"),
        ("name: x\n---\nname: y\n", "document"),
        ("name: !!python/object/apply:os.system [ls]\n", "could not determine a constructor"),
        ("name: \x07\n", "not allowed"),
        ("name: 2020-99-99\n", "month must be in 1..12"),
        ("name: 0b_\n", "invalid literal"),
        ("name: !!int ''\n", "index out of range"),
        ("name: !!timestamp x\n", "not valid YAML"),
        ("name: " + "[" * 100_000, "recursion"),
        ("name: &a [*a]\n", "recursion"),
    ],
)
def test_text_that_is_no_yaml(tmp_path: Path, text: str, words: str) -> None:
    """Whatever PyYAML raises is an error in words, and nothing in a document runs or ends the process."""
    assert words in refused(tmp_path, text)


def test_aliases_that_multiply_are_refused(tmp_path: Path) -> None:
    """Ten levels of nine aliases are 3,486,784,401 entries in 400 characters."""
    levels = ["l0: &l0 [x, x, x, x, x, x, x, x, x]"]
    levels += [f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]" for n in range(1, 10)]
    assert "aliases that multiply" in refused(tmp_path, "name: x\n" + "\n".join(levels) + "\n")


def test_anchors_and_merge_keys_work(tmp_path: Path) -> None:
    """Ordinary YAML reuse is not in the way of the guards."""
    loaded = load(tmp_path, "name: x\ninner: &i {size: 4}\nmany: [*i, {<<: *i, mode: small}]\n")
    assert loaded.many == (Inner(size=4), Inner(size=4, mode="small"))


def test_not_utf_8_says_line_and_byte(tmp_path: Path) -> None:
    """Latin-1 in a comment is where people meet this."""
    path = tmp_path / "document.yaml"
    path.write_bytes(b"name: x\n# caf\xe9\n")
    with pytest.raises(ConfigError, match=r"not UTF-8 text \(line 2, byte 14\)"):
        read_yaml(path)


def test_a_byte_order_mark_is_no_part_of_the_first_key(tmp_path: Path) -> None:
    """Some editors write one."""
    assert load(tmp_path, "\ufeffname: x\n").name == "x"


@pytest.mark.parametrize("name", ["missing.yaml", "folder", "x" * 300, "a\0b"])
def test_a_file_that_cannot_be_read(tmp_path: Path, name: str) -> None:
    """Missing, a folder, a name that no file can have."""
    (tmp_path / "folder").mkdir()
    with pytest.raises(ConfigError, match="cannot be read"):
        read_yaml(tmp_path / name)


def test_set_lays_values_over_the_file(tmp_path: Path) -> None:
    """Existing keys, keys that are not there yet, lists, and null."""
    loaded = load(tmp_path, "name: x\ninner:\n", "inner.size=7", "inner.mode=small", "many=[{size: 2}]", "name=y")
    assert loaded == Document(name="y", inner=Inner(size=7, mode="small"), many=(Inner(size=2),))


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("inner.size", "inner.size: --set wants section.key=value"),
        ("=3", "=3: --set wants section.key=value"),
        ("name.first=3", "name.first: --set goes through 'name', which is not a section"),
        ("inner.size=[1", "inner.size: --set value '[1' is not valid YAML (quote it)"),
        ("inner.size=2020-99-99", "inner.size: --set value '2020-99-99' is not valid YAML (quote it)"),
        ("inner.size=0", "inner.size: Input should be greater than or equal to 1, not 0 (given with --set)"),
        ("inner.sise=2", "inner.sise: unknown key (given with --set) (did you mean 'size'?)"),
        ("innr.size=2", "innr: unknown key (given with --set) (did you mean 'inner'?)"),
        ("many=[{}, {size: 0}]", "many[1].size: Input should be greater than or equal to 1, not 0 (given with --set)"),
    ],
)
def test_set_that_is_wrong(tmp_path: Path, setting: str, words: str) -> None:
    """Names the key as it was given, and no line, because it stands on none."""
    assert problems(tmp_path, "name: x\ninner:\n  size: 3\n", setting) == [words]


@pytest.mark.parametrize("value", ["yes", "3", "2.5", "off"])
def test_yaml_that_is_no_text(tmp_path: Path, value: str) -> None:
    """Labels like yes and 3 are the commonest surprise of YAML; the hint says what to do."""
    (problem,) = problems(tmp_path, f"name: {value}\n")
    assert "put it in quotes" in problem


def test_a_long_value_is_not_repeated_in_full(tmp_path: Path) -> None:
    """A megabyte in the wrong place does not become a megabyte of message."""
    (problem,) = problems(tmp_path, f"name: x\ninner: {'y' * 1_000_000}\n")
    assert len(problem) < 300


@given(text=st.text(st.sampled_from("name: inner\n-[]{}&*!|>'\"%#,?\t@`~01x"), max_size=60))
@settings(max_examples=300)
def test_no_text_raises_anything_else(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    """Whatever stands in the file, it loads or is refused in words."""
    folder = tmp_path_factory.getbasetemp()
    with suppress(ConfigError):
        load(folder, text)
