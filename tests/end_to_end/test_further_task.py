"""A further task is one file: here one that judges dialogues, through FLOW and bundle by the Protocol alone."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from checkpoints import sentences, write_tiny_checkpoint
from dialogues import BETWEEN, Dialogues
from tiny_run import ftdeploy, refusal
from tokenizers import Tokenizer
from tokenizers.processors import TemplateProcessing
from workspace import serving

from ftdeploy.predictor import Predictor
from ftdeploy.tasks import TASKS


def _write(folder: Path) -> Path:
    """A recipe on turns that are real texts: what the last one says."""
    rows = sentences()
    with (folder / "dialogues.jsonl").open("w", encoding="utf-8") as handle:
        for number in range(120):
            turns = [rows[(number * 31 + step) * 7 % len(rows)] for step in (0, 1000, 2000)[: 1 + number % 3]]
            told = {"text": [turn["text"] for turn in turns], "label": turns[-1]["label"]}
            handle.write(json.dumps(told) + "\n")
    write_tiny_checkpoint(folder / "model", vocabulary=600)
    tokenizer = Tokenizer.from_file(str(folder / "model" / "tokenizer.json"))
    ends = [(token, tokenizer.token_to_id(token)) for token in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    tokenizer.save(str(folder / "model" / "tokenizer.json"))
    gates = [{"kind": "non-inferiority", "metric": "accuracy", "margin": 0.3}]
    document = {
        "version": 1,
        "name": "dialogues",
        "task": Dialogues.name,
        "data": {"source": {"path": "dialogues.jsonl"}, "split": {"test": 0.3, "validation": 0.2}},
        "model": {"path": "model", "max_length": 64},
        "train": {"epochs": 1, "batch_size": 16, "precision": "fp32"},
        "export": {"embedding_layer": 1},
        "compress": {"candidates": [], "max_drop": {"accuracy": 0.2}, "rows": 32, "rounds": 3},
        "validate": {"suite": {"name": "dialogues", "metrics": ["accuracy"], "gates": gates, "resamples": 1000,
                               "timing_rows": 16, "timing_rounds": 5}},
        "package": {"tune_service": False, "drift_rows": 200},
    }  # fmt: skip
    (folder / "recipe.yaml").write_text(json.dumps(document), encoding="utf-8")
    return folder / "recipe.yaml"


def _with_it(folder: Path) -> Path:
    """A copy of ftdeploy with the file and its line in `TASKS`; and one in what bundles carry."""
    here = Path(__file__).resolve().parents[2]
    for part in ("ftdeploy", "bentos", "evaluation_suites"):
        shutil.copytree(here / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copyfile(Path(__file__).with_name("dialogues.py"), folder / "ftdeploy" / "tasks" / "dialogues.py")
    last = "from ftdeploy.tasks.token_classification import TokenClassification\n"
    for name, before, after in (
        ("tasks", last, f"{last}from ftdeploy.tasks.dialogues import Dialogues\n"),
        ("tasks", "MultiLabelClassification(),", "MultiLabelClassification(), Dialogues(),"),
        ("serve", '    "tasks/pieces.py",\n', '    "tasks/pieces.py",\n    "tasks/dialogues.py",\n'),
    ):
        path = folder / "ftdeploy" / name / "__init__.py"
        text = path.read_text(encoding="utf-8")
        assert text.count(before) == 1, before
        path.write_text(text.replace(before, after), encoding="utf-8")
    return folder


def test_a_further_task_is_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its line it goes through prepare, train, export, compress, validate and package by the real command, and its
    bundle is served. No other module has heard of it: what a row is, and how it is encoded, is its own."""
    recipe = _write(tmp_path)
    assert "is not a task" in refusal(ftdeploy("run", recipe, "--out", tmp_path / "run"), 3)
    monkeypatch.setenv("PYTHONPATH", str(_with_it(tmp_path / "program")))
    monkeypatch.chdir(tmp_path)  # `python -m` looks into the working folder first
    found = ftdeploy("run", recipe, "--out", tmp_path / "run")
    assert found.returncode == 0, found.stderr
    model = tmp_path / "run" / "bundle" / "src" / "model"
    monkeypatch.setitem(TASKS, Dialogues.name, Dialogues())
    predictor = Predictor(model, device="cpu")
    text = f"a good film{BETWEEN}a bad film"
    separator = predictor.tokenizer.token_to_id("[SEP]")
    row, long = predictor.encode([text, f"{'a film ' * 100}{BETWEEN}a bad film"])
    assert row.ids.count(separator) == 2, "the turns are one text"
    assert long.ids[-4:-1] == row.ids[-4:-1], "the last turn was cut, and not the first"
    expected = predictor.task.decode(predictor.predict([text]), predictor.signature)[0]
    command = [sys.executable, "-m", "ftdeploy", "serve", str(tmp_path / "run" / "bundle")]
    with serving(command, cwd=tmp_path) as url:
        answer: Any = httpx.post(f"{url}/predict", json={"inputs": text}).json()
        assert [one["label"] for one in answer] == [one["label"] for one in expected]
        assert answer[0]["score"] == pytest.approx(expected[0]["score"], abs=1e-5)
        assert httpx.get(f"{url}/about").json()["task"] == Dialogues.name
