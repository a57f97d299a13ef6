"""Identifiers planted wherever a row can hold one: none of them may be found in a single byte that a run writes."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from ftdeploy import progress
from ftdeploy.artifact import Artifact
from ftdeploy.dataset import read_profile, read_split
from ftdeploy.errors import ConfigError, DataError, FtdeployError
from ftdeploy.prepare import prepare
from ftdeploy.prepare.preview import preview
from ftdeploy.recipe import Recipe
from ftdeploy.stage import run_stage

SECRET = "a secret of the tests, long enough"  # noqa: S105  # of the tests
KEY = {"key": "PRIVACY_TEST_KEY"}
#: One value a type; what a test plants, and greps for.
PLANTED = {
    "email": "petra.quill@klinik-nord.de",
    "phone": "(415) 555-2671",
    "ssn": "536-22-8914",
    "mrn": "MRN 83746521",
    "card": "4539 1488 0343 6467",
    "iban": "DE89 3704 0044 0532 0130 00",
    "ip": "203.0.113.77",
    "url": "https://people.example/petra-quill",
    "date": "1987-04-23",
    "device": "00:1B:44:11:3A:B7",
    "name": "Dr. Quillfeather",
}
#: The part of each that must not be seen; grepping for "MRN" or "Dr." would find our own words.
NEEDLES = {kind: value.removeprefix("MRN ").removeprefix("Dr. ") for kind, value in PLANTED.items()}


def plain_rows(count: int) -> list[dict[str, Any]]:
    return [
        {
            "text": f"the nurse wrote sentence {'abcdefghij'[n % 10]}{'klmnopqrst'[n // 10]}",
            "label": "ab"[n % 2],
            "who": f"p{n}",
            "pid": f"n{n}",
            "site": "north",
        }
        for n in range(count)
    ]


def planted_rows() -> list[dict[str, Any]]:
    """Rows with every identifier in every place, among them rows that cleaning changes or sets aside."""
    rows = plain_rows(100)
    for number, value in enumerate(PLANTED.values()):
        said = f"we noted {value} for the file"
        more = {"who": f"x{number}", "pid": f"y{number}", "site": "north"}
        rows += [
            {"text": said, "label": "a"} | more,
            {"text": f"  spaced   out: {value}\x00 and\u200b more ", "label": "a"}
            | more,  # cleaning shows it as example
            {"text": f"{said} " + "blah " * 300, "label": "b"} | more,  # too long
            {"text": "", "label": value} | more,  # set aside, with an identifier for a label
            {"text": f"again, {value} was here", "label": "a"} | more,
            {"text": f"Again, {value} was  here", "label": "b"} | more,  # the same text with another label
            {"text": f"a row of site {number}", "label": "b", "who": value, "pid": value, "site": value},
            {"text": f"label of kind {number}", "label": None} | more,
        ]
    return rows


def run(folder: Path, rows: list[dict[str, Any]], *, privacy: Mapping[str, Any], **data: Any) -> Artifact:
    source = folder / "source" / "rows.jsonl"
    source.parent.mkdir(exist_ok=True)
    source.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return run_stage(prepare, recipe(source, privacy, **data), {}, folder / "out" / "dataset").artifact


def recipe(source: Path, privacy: Mapping[str, Any], **data: Any) -> Recipe:
    columns = {"id": "pid", "group": "who"}
    section = {
        "source": {"path": str(source)},
        "columns": columns,
        "slices": ["site"],
        "clean": {"max_chars": 400},
        "privacy": privacy,
    }
    head = {"version": 1, "name": "demo", "task": "text-classification", "model": {"path": "none"}}
    return Recipe.model_validate(head | {"data": section | data})


def written(folder: Path) -> dict[str, bytes]:
    """Every file, and every parquet table once more without compression."""
    found = {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    for path in list(found):
        if path.endswith(".parquet"):
            found[path + " (unpacked)"] = json.dumps(pq.read_table(path).to_pylist(), ensure_ascii=False).encode()
    return found


def leaks(content: Mapping[str, bytes], needles: Mapping[str, str] = NEEDLES) -> list[tuple[str, str]]:
    """(file, type) wherever a value stands, as it is, without its separators, or in base 64."""
    found = []
    for name, data in content.items():
        for kind, value in needles.items():
            forms = [
                value,
                value.lower(),
                value.replace(" ", "").replace("-", ""),
                json.dumps(value)[1:-1],
                base64.b64encode(value.encode()).decode().rstrip("="),
            ]
            if any(form.encode() in data for form in forms if len(form) > 5):
                found.append((name, kind))
    return found


@pytest.fixture
def secret(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv(KEY["key"], SECRET)
    return SECRET


def test_the_search_finds_what_is_there(tmp_path: Path) -> None:
    """Without privacy the planted values are found in all files that hold texts: the other tests search in earnest."""
    made = run(tmp_path, planted_rows(), privacy={"policy": "keep", "ids": "keep"})
    found = leaks(written(made.path))
    assert {kind for _, kind in found} == set(PLANTED)
    assert {Path(name.removesuffix(" (unpacked)")).name for name, _ in found} >= {
        "train.parquet",
        "rejected.parquet",
        "profile.json",
    }


@pytest.mark.parametrize("policy", ["redact", "pseudonymise", "drop"])
@pytest.mark.parametrize("ids", ["replace", "hash"])
def test_no_byte_of_the_run_folder_holds_an_identifier(tmp_path: Path, secret: str, policy: str, ids: str) -> None:
    """Text, label, id, group, slice, rows set aside, examples of cleaning: nothing raw, nor the secret."""
    made = run(tmp_path, planted_rows(), privacy={"policy": policy, "ids": ids} | KEY)
    content = written(tmp_path / "out")
    assert leaks(content) == []
    assert not any(secret.encode() in data for data in content.values())
    assert read_profile(made)["changed"]["white_space"]["examples"]
    assert made.facts["train"]


def test_near_duplicates_and_boilerplate_are_shown_without_identifiers(tmp_path: Path) -> None:
    """What the profile quotes of other parts of prepare has passed the guard as well."""
    rows = [
        row | {"text": f"{row['text']} {n} of many words that nearly all agree, signed by petra.quill@klinik-nord.de"}
        for n, row in enumerate(plain_rows(100))
    ]
    rows += [row | {"pid": f"z{n}", "text": row["text"] + "!"} for n, row in enumerate(rows[:30])]
    made = run(tmp_path, rows, privacy={}, duplicates={"near": "report"}, clean={"boilerplate": {"action": "report"}})
    assert leaks(written(tmp_path / "out")) == []
    assert read_profile(made)["privacy"]["types"]["email"]["found"] >= 100


def test_what_people_are_told_holds_no_identifier(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Progress lines count; the dry run shows texts as they would be written; nothing is printed."""
    said: list[str] = []

    class Listener:
        def task(self, name: str, total: float | None) -> Any:
            return progress._Silent().task(name, total)

        def say(self, message: str) -> None:
            said.append(message)

    with progress.reporting(Listener()):
        run(tmp_path, planted_rows(), privacy={})
        shown = preview(recipe(tmp_path / "source" / "rows.jsonl", {}))
    content = {"said": "\n".join(said).encode(), "preview": json.dumps(shown, ensure_ascii=False).encode()}
    printed = capsys.readouterr()
    assert leaks(content | {"printed": (printed.out + printed.err).encode()}) == []
    assert any("email (redact)" in line for line in said)


@pytest.mark.parametrize(
    ("lines", "data"),
    [
        (["text,label", "fine,a", '"petra.quill@klinik-nord.de"x,b'], {}),
        (["petra.quill@klinik-nord.de,1987-04-23", "second,row"], {}),
        (["text,label", "one,petra.quill@klinik-nord.de", "two,b"], {"labels": ["b", "c"]}),
        (["text,label,part", "one,a,petra.quill@klinik-nord.de", "two,b,train"], {"split": {"column": "part"}}),
        (
            ["text,label,when", "one,a,petra.quill@klinik-nord.de", "two,b,2020-01-01"],
            {"split": {"by": "time"}, "columns": {"time": "when"}},
        ),
        (["text,label", *[f"said {n},{'petra.quill@klinik-nord.de' if n == 3 else 'b'}" for n in range(40)]], {}),
    ],
)
def test_errors_name_place_and_no_value(tmp_path: Path, lines: list[str], data: dict[str, Any]) -> None:
    """A broken row, a missing header, an unknown label, a wrong split or time: the error quotes no identifier, nor does
    its chain."""
    path = tmp_path / "rows.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    made = recipe(path, {}, **({"columns": {}, "slices": []} | data))
    with pytest.raises(FtdeployError) as caught:
        run_stage(prepare, made, {}, tmp_path / "out" / "dataset")
    text = json.dumps(caught.value.as_dict(), ensure_ascii=False)
    assert leaks({"error": text.encode()}) == []
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_fail_gives_place_and_type_and_never_the_value(tmp_path: Path) -> None:
    """The policy `fail` ends the run at the row."""
    rows = [
        *plain_rows(30),
        {"text": "write to petra.quill@klinik-nord.de", "label": "a", "who": "g", "pid": "i", "site": "s"},
    ]
    with pytest.raises(DataError, match=r"the row at 31 holds an identifier of type 'email' in the text") as caught:
        run(tmp_path, rows, privacy={"policies": {"email": "fail"}})
    assert leaks({"error": json.dumps(caught.value.as_dict()).encode()}) == []
    assert not list((tmp_path / "out").rglob("*.parquet"))


@pytest.mark.parametrize("secret_is", [None, "short"])
def test_a_missing_secret_is_told_before_anything_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, secret_is: str | None
) -> None:
    """Even a source that does not exist is not looked for; and the secret is not quoted."""
    monkeypatch.delenv(KEY["key"], raising=False)
    if secret_is:
        monkeypatch.setenv(KEY["key"], secret_is)
    made = recipe(tmp_path / "there-is-none.jsonl", {"policy": "pseudonymise"} | KEY)
    with pytest.raises(ConfigError, match=KEY["key"]) as caught:
        run_stage(prepare, made, {}, tmp_path / "out" / "dataset")
    assert "short" not in json.dumps(caught.value.as_dict()).replace("too short", "")
    assert not (tmp_path / "out").exists()


def test_names_of_the_recipe_stand_in_no_manifest(tmp_path: Path) -> None:
    """The list is itself of people: neither settings nor profile hold it; another list is another key."""
    rows = [
        *plain_rows(40),
        {"text": "Zbigniew Ostrowski came back", "label": "a", "who": "g", "pid": "i", "site": "s"},
    ]
    made = run(tmp_path, rows, privacy={"names": ["Zbigniew Ostrowski"]})
    assert leaks(written(tmp_path / "out"), {"name": "Ostrowski"}) == []
    texts = [text for name in ("train", "validation", "test") for text in read_split(made, name)["text"].to_pylist()]
    assert "[NAME] came back" in texts
    assert run(tmp_path, rows, privacy={"names": ["Somebody Else"]}).key != made.key


_KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
import test_prepare_privacy_leaks as here
def die(made, where):
    made.rejected.close()
    os.kill(os.getpid(), signal.SIGKILL)
import ftdeploy.prepare as stage_module
stage_module.distribute = die
here.run(Path({folder!r}), here.planted_rows(), privacy={{}})
"""


def test_what_a_killed_run_leaves_behind_holds_no_identifier(tmp_path: Path) -> None:
    """kill -9 between the two passes: the temporary file and the half-written rows are guarded already."""
    code = _KILLED.format(tests=str(Path(__file__).parent), folder=str(tmp_path))
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=False, env=os.environ | {"PYTHONPATH": ""}
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    left = {path.name: path for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert "spool.tmp" in left
    texts = pq.read_table(left["spool.tmp"]).to_pylist()
    assert leaks(written(tmp_path / "out") | {"spool (unpacked)": json.dumps(texts).encode()}) == []
