"""`ftdeploy eval` as programs and people meet it: real processes, exit codes, what goes where."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tiny import WORDS, write_model_folder

from ftdeploy.errors import (
    ArtifactError,
    ConfigError,
    DataError,
    FtdeployError,
    GateFailed,
    GateInconclusive,
    SourceError,
)
from ftdeploy.verdict import read_report

LABELS = ("negative", "positive")
FAST = "resamples: 1000\ntiming_rows: 8\ntiming_rounds: 5\n"
CASES = "cases: [{name: films, source: {path: rows.csv}}]\n"
SUITES = {
    "good": CASES + "gates: [{kind: non-inferiority, metric: accuracy, margin: 0.2}]\n",
    "strict": CASES + "gates: [{kind: floor, metric: accuracy, minimum: 1}, {kind: flips, maximum: 0.5}]\n",
    "unsure": CASES + "gates: [{kind: floor, metric: accuracy, minimum: 0.88}]\n",
    "lost": "cases: [{name: films, source: {path: rwos.csv}}]\n",
    "column": "cases: [{name: films, source: {path: rows.csv}, columns: {text: txet}}]\n",
    "other-rows": f"cases: [{{name: films, source: {{path: rows.csv}}, digest: {'0' * 63}a}}]\n",
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with rows, of which the tiny model gets nine in ten right, suites, and two equal models."""
    folder = tmp_path_factory.mktemp("place")
    with (folder / "rows.csv").open("w", encoding="utf-8", newline="") as handle:
        rows = [(f"the film was {WORDS[n % 10]} {n}", LABELS[(n % 10 // 5) ^ (n % 10 == 0)]) for n in range(100)]
        csv.writer(handle).writerows([("text", "label"), *rows])
    for name, text in SUITES.items():
        (folder / f"{name}.yaml").write_text(f"version: 1\nname: {name}\n{FAST}{text}", encoding="utf-8")
    write_model_folder(folder / "new")
    write_model_folder(folder / "old", name="old")
    return folder


def ftdeploy(place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    settings = {**os.environ, "FTDEPLOY_CACHE": str(place / "cache"), "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    for name in ("FORCE_COLOR", "PY_COLORS", "CLICOLOR_FORCE"):
        settings.pop(name, None)
    command = [sys.executable, "-m", "ftdeploy", "eval", *arguments]
    return subprocess.run(command, cwd=place, env=settings, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "a suite is wanted"),
        (["good.yaml"], "what is to be judged?"),
        (["good.yaml", "more"], "more"),
        (["good.yaml", "--candidate", "new", "--device", "gpu"], "'gpu' is not one of auto, cpu, cuda"),
        (["good.yaml", "--candidate", "new", "--baseline", "old", "--absolute"], "it judges the candidate alone"),
        (["good.yaml", "--nonsense"], "--nonsense"),
        (["init"], "data"),
        (["history"], "folder"),
    ],
)
def test_wrong_usage(place: Path, arguments: list[str], words: str) -> None:
    """2, with a line that says what is wanted."""
    found = ftdeploy(place, *arguments)
    assert found.returncode == 2
    assert words in found.stderr
    assert found.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (["nothing"], ConfigError, "there is no suite nothing"),
        (["good.yaml"], ConfigError, "hold the candidate against a baseline"),
        (["good.yaml", "--set", "resamples=1"], ConfigError, "given with --set"),
        (["lost.yaml", "--absolute"], SourceError, "did you mean 'rows.csv'?"),
        (["other-rows.yaml", "--absolute"], SourceError, "0" * 63 + "a"),
        (["column.yaml", "--absolute"], DataError, "no column 'txet'"),
    ],
)
def test_faults_of_a_suite(place: Path, arguments: list[str], error: type[FtdeployError], words: str) -> None:
    """Each with the code of its kind and its three parts; no report is left behind."""
    found = ftdeploy(place, *arguments, "--candidate", "new", "--report", "none")
    assert found.returncode == error.exit_code, found.stderr
    for part in ("what:", "cause:", "fix:", words):
        assert part in found.stderr
    assert "Traceback" not in found.stderr
    assert not (place / "none").exists()


@pytest.mark.parametrize(("candidate", "words"), [("./nwe", "new"), ("http://127.0.0.1:9/", "127.0.0.1")])
def test_faults_of_a_model(place: Path, candidate: str, words: str) -> None:
    """A misspelt path, with what may have been meant, and a service that nobody runs; as JSON for programs."""
    found = ftdeploy(place, "unsure.yaml", "--candidate", candidate, "--json")
    document = json.loads(found.stdout)
    assert found.returncode == document["exit_code"] == SourceError.exit_code
    assert words in document["what"] + document["fix"]


@pytest.mark.parametrize(
    ("suite", "code", "verdict"),
    [
        ("good", 0, "pass"),
        ("strict", GateFailed.exit_code, "fail"),
        ("unsure", GateInconclusive.exit_code, "inconclusive"),
    ],
)
def test_a_verdict_is_an_exit_code_and_a_report(place: Path, suite: str, code: int, verdict: str) -> None:
    """Each gate in a line on stdout, the metrics, and where the report is, which stands there in any case."""
    found = ftdeploy(place, f"{suite}.yaml", "--candidate", "new", "--baseline", "old", "--report", f"out/{suite}")
    assert found.returncode == code, found.stderr
    report = read_report(place / "out" / suite / "report.json")
    assert report.verdict == verdict
    for gate in report.gates:
        assert f"{gate.verdict}: {gate.name}. {gate.explanation}" in found.stdout
    assert f"accuracy{'0.9000':>10} (" in found.stdout
    assert f"{verdict} on 100 rows; the report:\n  out/{suite}/report.html" in found.stdout
    assert "\x1b" not in found.stdout + found.stderr
    assert ("(exit code" in found.stderr) == bool(code)


def test_json_is_the_report(place: Path) -> None:
    """The same document that stands in the folder, alone on stdout, whatever the verdict; the exit code tells it."""
    found = ftdeploy(place, "strict.yaml", "--candidate", "new", "--absolute", "--json", "--report", "json")
    assert found.returncode == GateFailed.exit_code
    document = json.loads(found.stdout)
    assert document == json.loads((place / "json" / "report.json").read_text(encoding="utf-8"))
    assert document["absolute"] is True
    assert [gate["kind"] for gate in document["gates"]] == ["floor"]


def test_a_dry_run_runs_no_model(place: Path) -> None:
    """Rows with labels and digest, gates with what they want and what so many rows can tell."""
    plain = ftdeploy(place, "strict.yaml", "--dry-run")
    assert plain.returncode == 0, plain.stderr
    document: dict[str, Any] = json.loads(ftdeploy(place, "strict.yaml", "--dry-run", "--json").stdout)
    case = document["cases"][0]
    assert (case["rows"], case["labels"]) == (100, {"negative": 40, "positive": 60})
    for words in (case["digest"], "negative 40, positive 60", "floor: metric accuracy, minimum 1  alone",
                  "flips: maximum 0.5  against a baseline", "100 rows show it where"):  # fmt: skip
        assert words in plain.stdout


def test_suites_are_listed(place: Path) -> None:
    """Those that come along, with cases and gates."""
    listed = {one["name"]: one for one in json.loads(ftdeploy(place, "--list", "--json").stdout)}
    assert listed["sentiment-domains"]["cases"] == ["amazon", "tweets", "nyt"]
    assert listed["sentiment-domains"]["gates"] == 7
    plain = ftdeploy(place, "--list").stdout
    assert "amazon, tweets, nyt; 7 gates" in plain
    assert all(name in plain for name in listed)


def test_from_rows_to_a_verdict(place: Path) -> None:
    """`eval init`, then what it says to type: the plan, and an evaluation."""
    made = ftdeploy(place, "init", "rows.csv", "-o", "mine.yaml")
    assert made.returncode == 0, made.stderr
    assert made.stdout.splitlines()[-4:] == [
        "look at it:",
        "  python -m ftdeploy eval mine.yaml --dry-run",
        "judge a model:",
        "  python -m ftdeploy eval mine.yaml --candidate MODEL --baseline MODEL",
    ]
    assert ftdeploy(place, "init", "rows.csv", "-o", "mine.yaml").returncode == ConfigError.exit_code
    assert json.loads(ftdeploy(place, "init", "rows.csv", "-o", "other.yaml", "--json").stdout)["rows"] == 100
    assert ftdeploy(place, "mine.yaml", "--dry-run").returncode == 0
    fast = ("--set", "resamples=1000", "--set", "timing_rows=8", "--set", "timing_rounds=5")
    judged = ftdeploy(place, "mine.yaml", "--candidate", "new", "--baseline", "old", "--report", "mine", *fast)
    assert judged.returncode == 0, judged.stdout + judged.stderr


def test_init_says_that_the_first_line_is_taken_for_a_row(place: Path) -> None:
    """For people and for programs: who has column names there would lose them without a word."""
    rows = (place / "rows.csv").read_text(encoding="utf-8").partition("\n")[2]
    (place / "bare.csv").write_text(rows, encoding="utf-8")
    made = ftdeploy(place, "init", "bare.csv", "-o", "bare.yaml")
    (note,) = (line for line in made.stdout.splitlines() if line.startswith("note: "))
    assert note.startswith("note: the first line is taken for a row, and the columns are called column1, column2")
    document = json.loads(ftdeploy(place, "init", "bare.csv", "-o", "bare-too.yaml", "--json").stdout)
    assert [f"note: {line}" for line in document["notes"]] == [note]


def test_a_suite_of_evaluate(place: Path) -> None:
    """A Python file: with a baseline it has gates, without one it is a measurement; it has no keys to change."""
    (place / "theirs.py").write_text(
        "import csv, datasets, evaluate\nfrom evaluate.evaluation_suite import SubTask\n"
        "rows = list(csv.DictReader(open('rows.csv').read().splitlines()))\n"
        "data = datasets.Dataset.from_list(rows)\n"
        "class Suite(evaluate.EvaluationSuite):\n    def __init__(self, name):\n        super().__init__(name)\n"
        "        self.suite = [SubTask('text-classification', data)]\n",
        encoding="utf-8",
    )
    alone = ftdeploy(place, "theirs.py", "--candidate", "new", "--report", "alone")
    assert alone.returncode == 0, alone.stderr
    assert "no gate was asked" in alone.stdout
    assert "measured on " in alone.stdout
    assert "pass" not in alone.stdout
    assert json.loads((place / "alone" / "report.json").read_text("utf-8"))["verdict"] == "measured"
    assert "0.9000 (" in alone.stdout
    held = ftdeploy(place, "theirs.py", "--candidate", "new", "--baseline", "old", "--report", "held")
    assert held.returncode == 0, held.stderr
    assert "pass: accuracy at most" in held.stdout
    assert ftdeploy(place, "theirs.py", "--candidate", "new", "--set", "seed=1").returncode == 2


def test_reports_have_a_history(place: Path) -> None:
    """A page of those below a folder; none is told as such."""
    for _ in range(2):
        assert ftdeploy(place, "unsure.yaml", "--candidate", "new").returncode == GateInconclusive.exit_code
    found = ftdeploy(place, "history", "reports")
    assert found.returncode == 0, found.stderr
    page = place / found.stdout.strip()
    assert "unsure" in page.read_text(encoding="utf-8")
    assert json.loads(ftdeploy(place, "history", "reports", "--json").stdout) == {"page": "reports/history.html"}
    assert ftdeploy(place, "history", "nowhere").returncode == ArtifactError.exit_code


def test_help_of_each_word() -> None:
    """Instant: nothing heavy is imported; the usage of a word is what is typed."""
    code = (
        "import sys\nsys.argv = ['ftdeploy', 'eval', *sys.argv[1:]]\nfrom ftdeploy.__main__ import main\n"
        "try:\n    main()\nexcept SystemExit as ended:\n    assert ended.code == 0\n"
        "heavy = ('torch', 'pyarrow', 'numpy', 'evaluate', 'yaml')\n"
        "print(*(name for name in heavy if name in sys.modules))"
    )
    for arguments, usage in (
        (["--help"], "ftdeploy eval [OPTIONS] [SUITE] | init DATA | history FOLDER"),
        (["init", "--help"], "ftdeploy eval init [OPTIONS] {data}"),
        (["history", "--help"], "ftdeploy eval history [OPTIONS] {folder}"),
    ):
        command = [sys.executable, "-c", code, *arguments]
        settings = {**os.environ, "COLUMNS": "120"}
        found = subprocess.run(command, capture_output=True, text=True, check=True, env=settings)
        assert usage in found.stdout
        assert found.stdout.splitlines()[-1] == ""
