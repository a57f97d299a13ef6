"""A run of what has been run: only what a change reaches is made again; what was changed by hand is refused."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from checkpoints import SUITE
from tiny_run import STAGES, TinyRun, artifact, changed_recipe, digests, ftdeploy, refusal, remains

from ftdeploy.errors import ArtifactError
from ftdeploy.session import open_session

pytestmark = pytest.mark.slow


def _done(printed: str) -> dict[str, str]:
    """Stage -> ``skipping`` or ``wrote``, as the lines say."""
    skipped = dict.fromkeys(re.findall(r"skipping (\w+): nothing changed", printed), "skipping")
    wrote = dict.fromkeys(re.findall(r"(\w+) wrote \S+ \(\w+\) in [\d.]+ s", printed), "wrote")
    found = skipped | wrote
    return {stage: found[stage] for stage in STAGES if stage in found}


def test_nothing_changed_nothing_done(tiny: TinyRun, tmp_path: Path) -> None:
    """Every stage is skipped, and not one file is touched."""
    run = tiny.copy(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    found = ftdeploy("run", tiny.recipe, "--out", run)
    assert found.returncode == 0, found.stderr
    assert _done(found.stderr) == dict.fromkeys(STAGES, "skipping")
    assert {path: path.stat().st_mtime_ns for path in before} == before


@pytest.mark.parametrize(
    ("change", "again"),
    [
        ({"validate": {"suite": SUITE | {"confidence": 0.9}}}, ["validate", "package"]),
        ({"package": {"description": "another"}}, ["package"]),
        ({"serve": {"max_texts": 7}}, ["compress", "validate", "package"]),
        ({"monitor": {"traffic": {"enabled": False}}}, ["package"]),
    ],
)
def test_a_change_reaches_the_stages_that_read_it(
    tiny: TinyRun, tmp_path: Path, change: dict[str, dict[str, object]], again: list[str]
) -> None:
    """A section of the recipe concerns the stages that name it and those that read their artifacts, no other."""
    run = tiny.copy(tmp_path)
    found = ftdeploy("run", changed_recipe(tiny.recipe, tmp_path / "recipe.yaml", **change), "--out", run)
    assert found.returncode == 0, found.stderr
    assert _done(found.stderr) == {stage: "wrote" if stage in again else "skipping" for stage in STAGES}
    assert remains(run) == []


def test_until_set_out_and_json(tiny: TinyRun, tmp_path: Path) -> None:
    """`--until` stops after a stage, `--set` changes a key for this run, `--json` prints what a program reads."""
    run = tmp_path / "elsewhere" / "run"
    found = ftdeploy("run", tiny.recipe, "--out", run, "--until", "prepare", "--set", "data.split.test=0.5", "--json")
    assert found.returncode == 0, found.stderr
    printed = json.loads(found.stdout)
    assert list(printed) == ["dataset"]
    assert printed["dataset"]["facts"]["test"] == 200
    assert printed["dataset"]["settings"]["data"]["split"]["test"] == 0.5
    assert printed["dataset"]["digest"] == artifact(run, "dataset").digest
    assert [path.name for path in run.iterdir() if path.is_dir()] == ["dataset"]
    unknown = ftdeploy("run", tiny.recipe, "--out", run, "--until", "pack")
    assert unknown.returncode == 2
    assert "prepare, train, export, compress, validate, package" in unknown.stderr


def test_without_out_the_run_goes_where_the_recipe_is_named(tiny: TinyRun, tmp_path: Path,
                                                            monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    """By default into runs/NAME below the working directory; a relative folder works to the last stage."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(tiny.run, tmp_path / "runs" / "tiny", ignore=shutil.ignore_patterns("bundle", "report"))
    found = ftdeploy("run", tiny.recipe)
    assert found.returncode == 0, found.stderr
    assert found.stdout.splitlines()[1] == "bundle runs/tiny/bundle"
    assert found.stdout.splitlines()[-1] == "  python -m ftdeploy serve runs/tiny/bundle"
    assert set(digests(tmp_path / "runs" / "tiny")) == set(STAGES.values())


def _append(path: Path) -> None:
    with path.open("ab") as handle:
        handle.write(b"x")


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


def _flip_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _add_beside(path: Path) -> None:
    path.with_name("notes.txt").write_text("mine", encoding="utf-8")


@pytest.mark.parametrize(
    ("file", "damage", "words"),
    [
        ("dataset/train.parquet", _append, "train.parquet was changed"),
        ("checkpoint/config.json", Path.unlink, "config.json is missing"),
        ("onnx/model.onnx", _flip_byte, "model.onnx was changed"),
        ("compressed/model.onnx", _truncate, "model.onnx was changed"),
        ("compressed/artifact.json", _flip_byte, "was changed or damaged after it was sealed"),
        ("report/report.json", _add_beside, "notes.txt was added"),
        ("bundle/src/service.py", _append, "src/service.py was changed"),
    ],
)
def test_what_was_changed_by_hand_is_refused(
    tiny: TinyRun, tmp_path: Path, file: str, damage: Callable[[Path], None], words: str
) -> None:
    """Each kind of damage to a sealed artifact ends run and verify with exit code 12, and nothing is overwritten."""
    run = tiny.copy(tmp_path)
    damage(run / file)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    assert words in refusal(ftdeploy("run", tiny.recipe, "--out", run), 12)
    assert words in refusal(ftdeploy("verify", run), 12)
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file() and path.name != ".lock"} == before


def test_a_truncated_model_is_refused_in_words(tiny: TinyRun, tmp_path: Path) -> None:
    """Whoever opens it, with or without a manifest, is told what it is and what to do."""
    shutil.copyfile(tiny.run / "onnx" / "model.onnx", tmp_path / "model.onnx")
    _truncate(tmp_path / "model.onnx")
    with pytest.raises(ArtifactError) as caught:
        open_session(tmp_path / "model.onnx")
    assert str(tmp_path / "model.onnx") in caught.value.what
    assert caught.value.cause
    assert caught.value.fix


def test_an_artifact_that_was_removed_is_made_again(tiny: TinyRun, tmp_path: Path) -> None:
    """The error's own advice works: without the damaged folder, the run makes it anew and goes on."""
    run = tiny.copy(tmp_path)
    shutil.rmtree(run / "report")
    found = ftdeploy("run", tiny.recipe, "--out", run)
    assert found.returncode == 0, found.stderr
    assert _done(found.stderr) == {
        stage: "wrote" if stage in ("validate", "package") else "skipping" for stage in STAGES
    }
