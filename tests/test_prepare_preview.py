"""The dry run: what `prepare` would do, shown and not done."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import pytest
from test_cli import ftdeploy, without
from test_prepare import dataset, many, recipe, write_jsonl

from ftdeploy.dataset import read_profile
from ftdeploy.errors import DataError, DependencyError
from ftdeploy.prepare.peek import read_sample
from ftdeploy.prepare.preview import SECTIONS, Section, as_lines, preview
from ftdeploy.prepare.stream import open_sources

DIRTY = [
    {"text": "<b>bold</b>  claim", "label": "a"},
    {"text": "ask me@example.org or @me", "label": "b"},
    {"text": "", "label": "a"},
    {"text": "Der Film war viel zu lang und das Ende hat uns alle enttäuscht.", "label": "a"},
]
CLEAN = {"strip_html": True, "min_words": 2, "language": {}}


def write(folder: Path, lines: list[dict[str, Any]]) -> Path:
    folder.mkdir(exist_ok=True)
    return write_jsonl(folder / "rows.jsonl", lines)


def test_every_rule_says_how_many_rows_it_would_change_or_set_aside(tmp_path: Path) -> None:
    """Rules that are on, also those without work; reports; rules that are off by what they would do; with examples."""
    path = write(tmp_path, [*many(60), *DIRTY, {"text": "one", "label": "a"}])
    found = preview(recipe(path, clean=CLEAN))
    assert found["rows"]["read"] == 65
    assert found["rows"]["all"] is True
    assert found["rows"]["cleaned"] == 63
    changed = found["changed"]
    assert {name: changed[name]["rows"] for name in changed} == {
        "html": 1, "white_space": 1, "unicode_nfc": 0, "control_characters": 0,
    }  # fmt: skip
    assert changed["html"]["examples"] == [{"before": "<b>bold</b>  claim", "after": "bold  claim"}]
    assert changed["html"]["share"] == pytest.approx(1 / 65)
    aside = {reason: one["rows"] for reason, one in found["set_aside"].items() if one["rows"]}
    assert aside == {"text is empty": 1, "text has fewer words than min_words": 1}
    assert found["set_aside"]["text is longer than max_chars"]["rows"] == 0
    assert found["reported"]["language"]["rows"] == 1
    unused = found["rules_that_are_off_would_change_or_report"]
    assert {name: one["rows"] for name, one in unused.items()} == {"emails": 1, "handles": 1}
    assert "html" not in unused
    assert sum(found["labels"].values()) == found["rows"]["cleaned"]
    assert found["lengths"]["words"]["0"] == 2


def test_a_preview_agrees_with_the_run(tmp_path: Path) -> None:
    """The counts of the profile are those that were foretold."""
    path = write(tmp_path, [*many(80), *DIRTY, *many(5)])
    found, profile = preview(recipe(path, clean=CLEAN)), read_profile(dataset(path, clean=CLEAN))
    for section, key in (("changed", "changed"), ("set_aside", "rejected"), ("reported", "reported")):
        foretold = {name: one["rows"] for name, one in found[section].items() if one["rows"]}
        assert foretold == {name: one["rows"] for name, one in profile[key].items()}
    assert found["rows"]["kept"] == profile["kept"]
    assert found["rows"]["duplicates"] == profile["duplicates"]
    assert found.get("duplicates_and_splits", {}).get("near_duplicates") == profile.get("near_duplicates")


def test_only_so_many_rows_are_read_and_zero_reads_all(tmp_path: Path) -> None:
    """The beginning, and whether that was all."""
    path = write(tmp_path, many(100))
    some, everything = preview(recipe(path), rows=30), preview(recipe(path), rows=0)
    assert (some["rows"]["read"], some["rows"]["all"]) == (30, False)
    assert (everything["rows"]["read"], everything["rows"]["all"]) == (100, True)


def test_rows_that_prepare_would_refuse_are_previewed_all_the_same(tmp_path: Path) -> None:
    """The reason is a section, and the other sections are there; rows that cannot be read are an error."""
    path = write(tmp_path, [{"text": f"text {n}", "label": "only"} for n in range(20)])
    found = preview(recipe(path))
    assert "one label only" in found["prepare_would_refuse_these_rows"]["what"]
    assert found["labels"] == {"only": 20}
    with pytest.raises(DataError, match="no column 'txt'"):
        preview(recipe(path, columns={"text": "txt"}))
    nothing = preview(recipe(write(tmp_path / "empty", [{"text": "", "label": "a"}])))
    assert nothing["rows"]["cleaned"] == 0
    assert "lengths" not in nothing


def test_rows_with_identifiers_are_shown_redacted(tmp_path: Path) -> None:
    """No example, of whatever rule, shows what privacy would replace; nor do rows that are set aside."""
    email = "jane.doe@example.org"
    text = f"<p>write to   {email} about case"
    lines: list[dict[str, Any]] = [{"text": f"{text} {n}</p> http://x.org/{n}", "label": "ab"[n % 2]}
                                   for n in range(40)]  # fmt: skip
    lines += [{"text": f"{email} <b>alone</b>", "label": None}]
    sections = {"clean": {"strip_html": True, "boilerplate": {"min_rows": 5}}, "privacy": {"policy": "redact"}}
    found = preview(recipe(write(tmp_path, lines), **sections))
    shown = json.dumps(found)
    assert found["changed"]["html"]["rows"] == 41
    assert "jane.doe" not in shown
    assert "[EMAIL]" in shown
    assert found["privacy"]["types"]["email"]["found"] == 40


def test_a_section_is_added_by_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A function of what was seen is shown under its name, and left out where it has nothing to show."""
    monkeypatch.setitem(cast("dict[str, Section]", SECTIONS), "mine", lambda seen: {"first": seen.sample.rows[0][1]})
    monkeypatch.setitem(cast("dict[str, Section]", SECTIONS), "none", lambda _seen: {})
    found = preview(recipe(write(tmp_path, many(20))))
    assert found["mine"] == {"first": "text number 0"}
    assert "none" not in found
    assert ("line", "first  text number 0") in list(as_lines(found))


def test_lines_for_people_show_before_and_after(tmp_path: Path) -> None:
    """With escapes for what a terminal would act upon."""
    path = write(tmp_path, [*many(20), {"text": "a\x1b[31mred\x07 <i>word</i>", "label": "a"}])
    lines = list(as_lines(preview(recipe(path, clean={"strip_html": True}))))
    assert ("title", "changed") in lines
    assert ("before", "    - a\\x1b[31mred\\x07 <i>word</i>") in lines
    assert ("after", "    + a\\x1b[31mred\\x07 word") in lines
    assert all(text.isprintable() for _, text in lines)


def test_the_command_writes_nothing(tmp_path: Path) -> None:
    """Plain lines when piped, JSON for programs, and no file beside those that were there."""
    write(tmp_path, [*many(40), *DIRTY])
    (tmp_path / "recipe.yaml").write_text(
        "version: 1\nname: demo\ntask: text-classification\nmodel: {path: none}\n"
        "data: {source: {path: rows.jsonl}, clean: {strip_html: true}}\n",
        encoding="utf-8",
    )
    before = sorted(tmp_path.rglob("*"))
    told = ftdeploy("preview", "recipe.yaml", "--rows", "10", folder=tmp_path)
    assert told.returncode == 0, told.stderr
    assert "\x1b" not in told.stdout
    assert "  read" in told.stdout
    asked = ftdeploy(
        "preview", "recipe.yaml", "--rows", "0", "--json", "--set", "data.clean.urls=remove", folder=tmp_path
    )
    document = json.loads(asked.stdout)
    assert document["changed"]["html"]["rows"] == 1
    assert document["changed"]["urls"]["rows"] == 0
    assert sorted(tmp_path.rglob("*")) == before


def test_a_sample_counts_each_row_once(tmp_path: Path) -> None:
    """Also where rules make it read the rows beforehand."""
    made = recipe(write(tmp_path, many(50)), clean={"boilerplate": {}, "length_outliers": {}})
    sources = open_sources(made.data)
    texts: list[str] = []
    sample = read_sample(made.data, sources, task=made.task, seed=1, most=20, visit=texts.append)
    assert sample.read == len(sample.rows) == len(texts) == 20
    assert [source.read for source in sources] == [0]


@pytest.mark.parametrize(
    ("module", "rule"), [("ftfy", "data.clean.fix_mojibake=true"), ("py3langid", "data.clean.language={}")]
)
def test_a_rule_without_its_library_names_the_extra(tmp_path: Path, module: str, rule: str) -> None:
    """Only where the rule is on; without it neither `run` nor `preview` asks for the library."""
    write(tmp_path, many(40))
    (tmp_path / "recipe.yaml").write_text(
        "version: 1\nname: demo\ntask: text-classification\nmodel: {path: none}\ndata: {source: {path: rows.jsonl}}\n",
        encoding="utf-8",
    )
    command = ("run", "recipe.yaml", "--until", "prepare")
    lacking = without(module, *command, "--set", rule, folder=tmp_path)
    assert lacking.returncode == DependencyError.exit_code, lacking.stderr
    assert "pip install 'ftdeploy[data]'" in lacking.stderr
    for works in (command, ("preview", "recipe.yaml")):
        assert without(module, *works, folder=tmp_path).returncode == 0
