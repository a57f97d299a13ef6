"""Bad input of every kind through the whole program: its own exit code, three parts, nothing half-made."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny_run import TinyRun, changed_recipe, ftdeploy, refusal

pytestmark = pytest.mark.slow

GOOD = b"text,label\n" + b"".join(b"fine words %d,positive\nbad words %d,negative\n" % (n, n) for n in range(20))


@pytest.mark.parametrize(
    ("content", "data", "code", "words"),
    [
        (b"", {}, 5, "empty"),
        (b"text,label\n", {}, 5, "no rows"),
        (b"text,label\n" + b"good,1\n" * 3 + b"fine,1\n" * 3, {}, 5, "one label only"),
        (GOOD, {"columns": {"text": "txt"}}, 5, "the columns are: text, label"),
        (GOOD + b"caf\xe9,positive\n", {}, 5, "line 42"),
        (GOOD, {"labels": ["negative", "neutral"]}, 5, "'positive'"),
        (GOOD, {"clean": {"min_chars": 1000}}, 5, "no row of rows.csv is left after cleaning"),
        (GOOD, {"source": {"path": "rows.csv", "sha256": "0" * 64}}, 4, "sha256"),
        (GOOD, {"source": {"path": "row.csv"}}, 4, "does not exist"),
        (GOOD, {"colums": {"text": "text"}}, 3, "did you mean 'columns'?"),
        (GOOD, {"limit": "many"}, 3, "data.limit"),
    ],
)
def test_rows_that_are_not_fit(
    tiny: TinyRun, tmp_path: Path, content: bytes, data: dict[str, Any], *, code: int, words: str
) -> None:
    """Each is told with its place; the run's folder holds no artifact and no rest of one."""
    (tmp_path / "rows.csv").write_bytes(content)
    recipe = changed_recipe(tiny.recipe, tmp_path / "recipe.yaml", data={"source": {"path": "rows.csv"}} | data)
    assert words in refusal(ftdeploy("run", recipe, "--out", tmp_path / "run"), code)
    assert not list((tmp_path / "run").glob("[!.]*"))


def test_ten_megabytes_in_one_cell(tiny: TinyRun, tmp_path: Path) -> None:
    """An absurd cell is an error with its place, because a quote left open may have swallowed the file; who says that
    such texts are real gets it read. A text that is merely too long is set aside, counted and said."""
    (tmp_path / "rows.csv").write_bytes(GOOD + b'"' + b"x" * 10_000_000 + b'",positive\n')
    recipe = changed_recipe(tiny.recipe, tmp_path / "recipe.yaml", data={"source": {"path": "rows.csv"}})
    command = ("run", recipe, "--out", tmp_path / "run", "--until", "prepare")
    assert "10,000,000 characters" in refusal(ftdeploy(*command), 5)
    allowed = ftdeploy(*command, "--set", "data.clean.max_chars=20000000")
    assert "41 of 41 rows" in allowed.stderr
    (tmp_path / "rows.csv").write_bytes(GOOD + b'"' + b"x" * 100_000 + b'",positive\n')
    found = ftdeploy(*command)
    assert found.returncode == 0, found.stderr
    assert "40 of 41 rows" in found.stderr
    assert "1 set aside" in found.stderr


def _without_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()


def _as_pickle(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def _with_code(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps(config | {"auto_map": {"AutoModel": "modeling.Evil"}}))


def _cut_off(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-10])


def _unknown_architecture(folder: Path) -> None:
    (folder / "config.json").write_text(json.dumps({"model_type": "never-heard-of"}))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_without_tokenizer, "no tokenizer.json"),
        (_as_pickle, "pytorch_model.bin"),
        (_with_code, "auto_map"),
        (_cut_off, "announces"),
        (_unknown_architecture, "never-heard-of"),
    ],
)
def test_checkpoints_that_are_not_fit(tiny: TinyRun, tmp_path: Path, spoil: Callable[[Path], None], words: str) -> None:
    """Refused with exit code 6; the dataset, which is finished, is kept."""
    run = tiny.copy(tmp_path, until="prepare")
    shutil.copytree(tiny.recipe.parent / "model", tmp_path / "model")
    spoil(tmp_path / "model")
    recipe = changed_recipe(tiny.recipe, tmp_path / "recipe.yaml", model={"path": "model"})
    assert words in refusal(ftdeploy("run", recipe, "--out", run), 6)
    assert [path.name for path in run.glob("[!.]*") if not path.name.endswith(".work")] == ["dataset"]


def test_weights_that_are_no_numbers_stop_the_training(tiny: TinyRun, tmp_path: Path) -> None:
    """A loss that is not a number ends the run at once with exit code 7, and no checkpoint is made of it."""
    from safetensors.numpy import load_file, save_file

    run = tiny.copy(tmp_path, until="prepare")
    shutil.copytree(tiny.recipe.parent / "model", tmp_path / "model")
    weights = load_file(tmp_path / "model" / "model.safetensors")
    weights["embeddings.word_embeddings.weight"][5:] = float("nan")
    save_file(weights, tmp_path / "model" / "model.safetensors", metadata={"format": "pt"})
    recipe = changed_recipe(tiny.recipe, tmp_path / "recipe.yaml", model={"path": "model"})
    assert "the loss is nan at step 1 of 28" in refusal(ftdeploy("run", recipe, "--out", run), 7)
    assert not (run / "checkpoint").exists()
    assert not (run / "checkpoint.partial").exists()


def test_a_forced_device_that_is_not_there(tiny: TinyRun, tmp_path: Path) -> None:
    """CUDA that is asked for and missing is an error of its own, for training and for ONNX Runtime, not a slow run."""
    run = tiny.copy(tmp_path, until="export")
    assert "device cuda is forced" in refusal(ftdeploy("run", tiny.recipe, "--out", run, "--set", "device=cuda"), 18)
    said = refusal(ftdeploy("run", tiny.recipe, "--out", run, environment={"FTDEPLOY_DEVICE": "cuda"}), 18)
    assert "CUDAExecutionProvider is forced" in said


def test_the_device_that_was_chosen_is_told_with_the_reason(tiny: TinyRun) -> None:
    """Without a GPU, training runs on the CPU and says why."""
    assert "device: cpu (the driver shows no CUDA device)" in tiny.output
