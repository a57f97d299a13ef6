"""The command line as programs and people meet it: real processes, exit codes, what goes where."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, packages_distributions, requires, version
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from ftdeploy.__main__ import EXTRAS
from ftdeploy.artifact import LAYOUT, seal
from ftdeploy.errors import ArtifactError, ConfigError, DependencyError, SourceError

ROOT = Path(__file__).parents[1]
HEAVY = ("torch", "transformers", "onnxruntime", "onnx", "pyarrow", "pydantic", "numpy", "scipy", "bentoml", "yaml")
#: Colours that a CI may force would say nothing about a pipe.
PLAIN = {
    name: value for name, value in os.environ.items() if name not in ("FORCE_COLOR", "PY_COLORS", "CLICOLOR_FORCE")
}
BROKEN = """\
version: 1
name: demo
task: text-classification
data: {source: {path: rows.csv}}
model: {path: model}
trian: {epochs: 1}
train: {epochs: 0}
"""
SOUND = BROKEN.replace("trian: {epochs: 1}\n", "").replace("epochs: 0", "epochs: 1")


def ftdeploy(*arguments: str | Path, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ftdeploy", *map(str, arguments)]
    return subprocess.run(command, cwd=folder, env=PLAIN, capture_output=True, text=True, check=False)


def test_help_imports_nothing_heavy() -> None:
    """Not the frameworks, and not even numpy, pydantic or yaml: help answers at once."""
    code = (
        "import sys\nsys.argv = ['ftdeploy', '--help']\nfrom ftdeploy.__main__ import main\n"
        "try:\n    main()\nexcept SystemExit as ended:\n    assert ended.code == 0\n"
        f"sys.stderr.write(' '.join(name for name in {HEAVY!r} if name in sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "run" in found.stdout
    assert found.stderr == ""


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--help"], 0),
        ([], 2),
        (["bogus"], 2),
        (["run"], 2),
        (["run", "recipe.yaml", "--nonsense"], 2),
        (["run", "recipe.yaml", "--until", "bogus"], 2),
        (["serve", "bundle", "--port", "0"], 2),
        (["schema", "bogus"], 2),
        (["run", "missing.yaml"], ConfigError.exit_code),
        (["run", "recipe.yaml"], ConfigError.exit_code),
        (["check", "recipe.yaml"], ConfigError.exit_code),
        (["check", "sound.yaml"], ConfigError.exit_code),
        (["run", "sound.yaml"], SourceError.exit_code),
        (["show", "empty"], ArtifactError.exit_code),
        (["verify", "missing"], ArtifactError.exit_code),
        (["serve", "empty"], ArtifactError.exit_code),
        (["bench", "empty"], ArtifactError.exit_code),
        (["init", "missing.csv"], ConfigError.exit_code),
        (["init", "missing.csv", "-o", "new.yaml"], SourceError.exit_code),
    ],
)
def test_exit_codes(tmp_path: Path, arguments: list[str], code: int) -> None:
    """Usage is 2, each class of error has its own; nothing ends in a traceback."""
    (tmp_path / "recipe.yaml").write_text(BROKEN, encoding="utf-8")
    (tmp_path / "sound.yaml").write_text(SOUND, encoding="utf-8")
    (tmp_path / "empty").mkdir()
    found = ftdeploy(*arguments, folder=tmp_path)
    assert found.returncode == code, found.stderr
    assert "Traceback" not in found.stderr + found.stdout


def test_an_unknown_stage_names_those_there_are(tmp_path: Path) -> None:
    """Before the recipe is read."""
    found = ftdeploy("run", "missing.yaml", "--until", "trian", folder=tmp_path)
    assert "prepare, train, export" in found.stderr


def test_a_broken_recipe_lists_every_problem_in_plain_lines(tmp_path: Path) -> None:
    """On stderr, with lines and a suggestion, without escape codes or carriage returns; stdout stays empty."""
    (tmp_path / "recipe.yaml").write_text(BROKEN, encoding="utf-8")
    found = ftdeploy("run", "recipe.yaml", "--set", "seed=-1", folder=tmp_path)
    assert found.stdout == ""
    assert not {"\x1b", "\r"} & set(found.stderr)
    assert "recipe.yaml: 3 problems" in found.stderr
    for words in ("line 6: trian: unknown key (did you mean 'train'?)", "line 7: train.epochs:", "seed: Input should"):
        assert words in found.stderr
    assert not (tmp_path / "runs").exists()


def test_errors_for_programs(tmp_path: Path) -> None:
    """With --json the error is a document on stdout, and stderr holds none of it."""
    (tmp_path / "recipe.yaml").write_text(BROKEN, encoding="utf-8")
    found = ftdeploy("run", "recipe.yaml", "--json", folder=tmp_path)
    document = json.loads(found.stdout)
    assert (document["error_type"], document["exit_code"]) == ("ConfigError", found.returncode)
    assert [problem["path"] for problem in document["problems"]] == ["trian", "train.epochs"]
    assert "trian" not in found.stderr


def test_check_names_every_section_that_cannot_be_used(tmp_path: Path) -> None:
    """Rows and checkpoint are both missing: both are told."""
    (tmp_path / "recipe.yaml").write_text(SOUND, encoding="utf-8")
    found = ftdeploy("check", "recipe.yaml", "--json", folder=tmp_path)
    assert [problem["path"] for problem in json.loads(found.stdout)["problems"]] == ["data.source", "model"]


@pytest.mark.parametrize("what", ["recipe", "suite", "report", "monitor"])
def test_schemas_are_json_schema(what: str) -> None:
    """Of the draft that they name: every reference leads somewhere, every object says its keys and closes the list."""
    schema = json.loads(ftdeploy("schema", what).stdout)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["title"] == f"ftdeploy {'drift report' if what == 'monitor' else what}"
    references = re.findall(r'"\$ref": "#/\$defs/(\w+)"', json.dumps(schema))
    assert references
    assert set(references) == set(schema["$defs"])
    for part in (schema, *schema["$defs"].values()):
        assert part["type"] == "object"
        assert part["additionalProperties"] is False
        assert set(part.get("required", ())) <= set(part["properties"])


def sealed(folder: Path, kind: Any, made_from: tuple[str, ...] = ()) -> str:
    made = folder.parent / "made"
    for name in LAYOUT[kind].required:
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        (made / name).write_text(f"{kind} {name}", encoding="utf-8")
    facts = {"rows": 1234, "share": 0.5}
    return seal(
        made, target=folder, kind=kind, made_by=f"{kind}@1", made_from=made_from, key="", settings={}, facts=facts
    ).digest


def test_show_tells_facts_and_lineage(tmp_path: Path) -> None:
    """In the order of the flow, parents by name; as JSON for programs; one artifact alone too."""
    run = tmp_path / "[/]run"
    run.mkdir(parents=True)
    first = sealed(run / "dataset", "dataset")
    second = sealed(run / "report", "report", (first,))
    lines = ftdeploy("show", run).stdout.splitlines()
    assert lines[0] == f"dataset {first[:12]}  by dataset@1"
    assert lines[3] == f"report {second[:12]}  by report@1  from dataset {first[:12]}"
    assert "    rows   1,234" in lines
    document = json.loads(ftdeploy("show", run, "--json").stdout)
    assert document["report"]["made_from"] == [document["dataset"]["digest"]] == [first]
    assert list(json.loads(ftdeploy("show", run / "report", "--json").stdout)) == ["report"]


def test_verify_says_what_is_intact_and_what_is_not(tmp_path: Path) -> None:
    """File by file; a changed one ends with the code of a changed artifact."""
    sealed(tmp_path / "dataset", "dataset")
    sealed(tmp_path / "report", "report")
    found = ftdeploy("verify", tmp_path)
    assert found.returncode == 0
    assert [line.split()[:2] for line in found.stdout.splitlines()] == [["intact", "dataset"], ["intact", "report"]]
    document = json.loads(ftdeploy("verify", tmp_path, "--json").stdout)
    assert list(document) == ["dataset", "report"]
    assert document["report"]["files"] == len(LAYOUT["report"].required)
    assert document["report"]["digest"] in found.stdout
    (tmp_path / "report" / "flips.csv").write_text("other", encoding="utf-8")
    found = ftdeploy("verify", tmp_path)
    assert found.returncode == ArtifactError.exit_code
    assert "flips.csv was changed" in found.stderr


def test_doctor_answers_programs() -> None:
    """The same groups as for people, with the versions of what a bundle needs."""
    found = json.loads(ftdeploy("doctor", "--json").stdout)
    assert {"machine", "choices", "libraries", "traps"} == set(found)
    for name in ("bentoml", "numpy", "onnxruntime", "tokenizers"):
        assert found["libraries"][name] == version(name)
    plain = ftdeploy("doctor").stdout
    assert found["libraries"]["numpy"] in plain
    assert "\x1b" not in plain


def test_init_writes_a_recipe_that_run_takes_further(tmp_path: Path) -> None:
    """What it prints can be copied: the recipe is valid as far as its checkpoint."""
    rows = "".join(f"{'good' if n % 2 else 'bad'} film {n},{'pos' if n % 2 else 'neg'}\n" for n in range(40))
    (tmp_path / "rows.csv").write_text("review,stars\n" + rows, encoding="utf-8")
    found = ftdeploy("init", "rows.csv", "-o", "mine.yaml", "--text", "review", "--label", "stars", folder=tmp_path)
    assert found.returncode == 0, found.stderr
    assert found.stdout.splitlines() == [
        "wrote mine.yaml",
        "  task          text-classification",
        "  text column   review",
        "  label column  stars",
        "  rows          40",
        "  labels        neg, pos",
        "check it:",
        "  python -m ftdeploy check mine.yaml",
        "run it:",
        "  python -m ftdeploy run mine.yaml",
    ]
    ran = ftdeploy("run", "mine.yaml", "--until", "prepare", "--json", folder=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)["dataset"]["facts"]["rows"] == 40
    assert "[" not in ran.stderr.splitlines()[0]


def test_init_says_what_it_guessed(tmp_path: Path) -> None:
    """Which columns, for people and for programs; names with brackets and spaces stay as they are, and the command that
    is shown can be copied."""
    rows = "".join(f"a {'good' if n % 2 else 'bad'} film {n},{n % 2}\n" for n in range(40))
    (tmp_path / "rows.csv").write_text("[b]review,[/]label\n" + rows, encoding="utf-8")
    found = ftdeploy("init", "rows.csv", "-o", "[/] mine.yaml", "--text", "[b]review", folder=tmp_path)
    lines = found.stdout.splitlines()
    assert lines[:4] == [
        "wrote [/] mine.yaml",
        "  task          text-classification",
        "  text column   [b]review",
        "  label column  [/]label (guessed; --label names another column)",
    ]
    assert "  python -m ftdeploy check '[/] mine.yaml'" in lines
    document = json.loads(ftdeploy("init", "rows.csv", "-o", "new.yaml", "--json", folder=tmp_path).stdout)
    assert document["guessed"] == ["text", "label"]
    assert (document["text"], document["label"]) == ("[b]review", "[/]label")
    assert (document["recipe"], document["rows"], document["labels"]) == ("new.yaml", 40, ["0", "1"])


def test_init_says_that_a_number_may_be_estimated(tmp_path: Path) -> None:
    """Which way it took a column of numbers, and the option for the other; the recipe runs."""
    rows = "".join(f"a {'good' if n % 2 else 'bad'} film {n},{n % 5}\n" for n in range(60))
    (tmp_path / "rows.csv").write_text("text,stars\n" + rows, encoding="utf-8")
    note = "note: stars holds numbers, and each is taken for a label; --task text-regression estimates them"
    assert note in ftdeploy("init", "rows.csv", "-o", "labels.yaml", folder=tmp_path).stdout.splitlines()
    made = ftdeploy("init", "rows.csv", "-o", "mine.yaml", "--task", "text-regression", folder=tmp_path)
    lines = made.stdout.splitlines()
    assert (lines[1], lines[5]) == ("  task          text-regression", "  numbers       0 to 4")
    assert "note:" not in made.stdout
    ran = ftdeploy("run", "mine.yaml", "--until", "prepare", "--json", folder=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)["dataset"]["facts"]["rows"] == 60


def without(module: str, *arguments: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """A command in an installation that lacks a module."""
    code = (
        f"import sys; sys.modules[{module!r}] = None; sys.argv = ['ftdeploy', *sys.argv[1:]]\n"
        "from ftdeploy.__main__ import main; main()"
    )
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, cwd=folder, env=PLAIN, capture_output=True, text=True, check=False)


def test_a_missing_extra_is_named(tmp_path: Path) -> None:
    """With the command that installs it; a module that no extra brings is a fault and keeps its trace."""
    rows = "".join(f"a {'good' if n % 2 else 'bad'} film {n},{n % 2}\n" for n in range(40))
    (tmp_path / "rows.csv").write_text("text,label\n" + rows, encoding="utf-8")
    (tmp_path / "recipe.yaml").write_text(SOUND, encoding="utf-8")
    found = without("pyarrow", "run", "recipe.yaml", "--until", "prepare", folder=tmp_path)
    assert found.returncode == DependencyError.exit_code, found.stderr
    assert "pip install 'ftdeploy[train]'" in found.stderr
    assert "Traceback" not in found.stderr
    assert [path.name for path in (tmp_path / "runs" / "demo").iterdir()] == [".lock"]
    found = without("pyarrow", "run", "recipe.yaml", "--until", "prepare", "--json", folder=tmp_path)
    assert json.loads(found.stdout)["error_type"] == "DependencyError"
    found = without("yaml", "check", "recipe.yaml", folder=tmp_path)
    assert found.returncode == 1
    assert "Traceback" in found.stderr


@pytest.mark.parametrize("extra", EXTRAS)
def test_extras_bring_the_modules_that_are_said_to_come_with_them(extra: str) -> None:
    """Each module belongs to a distribution that pyproject.toml lists under the extra, or to one that such a one
    needs."""
    listed = {
        canonicalize_name(wanted.name)
        for wanted in map(Requirement, requires("ftdeploy") or ())
        if wanted.marker is not None and wanted.marker.evaluate({"extra": extra})
    }
    needed = listed | {
        canonicalize_name(Requirement(line).name) for name in listed if installed(name) for line in requires(name) or ()
    }
    owners = packages_distributions()
    for module in EXTRAS[extra]:
        assert {canonicalize_name(name) for name in owners[module]} & needed, module


def installed(name: str) -> bool:
    try:
        return bool(version(name))
    except PackageNotFoundError:
        return False


def test_an_interrupt_ends_cleanly(tmp_path: Path) -> None:
    """Ctrl-C while a stage works: 130, one line and no traceback, nothing half-made, and the folder is free again."""
    (tmp_path / "rows.csv").write_text("text,label\n", encoding="utf-8")
    (tmp_path / "slow.py").write_text(
        "import pathlib, time\ndef load(path):\n    pathlib.Path('started').touch()\n    yield time.sleep(600)\n",
        encoding="utf-8",
    )
    (tmp_path / "recipe.yaml").write_text(
        SOUND.replace("path: rows.csv", 'path: rows.csv, loader: "slow.py:load"'), encoding="utf-8"
    )
    command = [sys.executable, "-m", "ftdeploy", "run", "recipe.yaml"]
    # A shell's background job ignores Ctrl-C, and so does all that it starts; the tests may well be one.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        process = subprocess.Popen(command, cwd=tmp_path, env=PLAIN, stderr=subprocess.PIPE, text=True)
    finally:
        signal.signal(signal.SIGINT, before)
    with process:
        while not (tmp_path / "started").exists():
            assert process.poll() is None
            time.sleep(0.02)
        second = ftdeploy("run", "recipe.yaml", folder=tmp_path)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate()
    assert second.returncode == 13
    assert process.returncode == 130
    assert "interrupted; finished stages are kept" in said
    assert "Traceback" not in said
    assert [path.name for path in (tmp_path / "runs" / "demo").iterdir()] == [".lock"]


def test_a_closed_pipe_is_no_crash() -> None:
    """`ftdeploy schema | head -1` ends without a traceback."""
    pipe = f"{sys.executable} -m ftdeploy schema | head -1"
    found = subprocess.run(["sh", "-c", pipe], capture_output=True, text=True, check=True)
    assert found.stdout == "{\n"
    assert found.stderr == ""
