"""Passages of real contracts (CUAD) that are longer than the model reads, each with any number of labels, through the
whole of FLOW: windows and sets of labels at once, with thresholds."""

from __future__ import annotations

import json
import runpy
import sys
from itertools import groupby
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from checkpoints import ROOT, SMALL, write_recipe, write_tiny_checkpoint
from real_data import MIRROR
from sklearn.metrics import f1_score
from tiny_run import TinyRun, artifact, ftdeploy, run_to_the_end
from transformers import AutoModelForSequenceClassification
from workspace import serving

from ftdeploy.dataset import read_split
from ftdeploy.metrics import resolve, score
from ftdeploy.predictor import Predictor
from ftdeploy.signature import read_signature
from ftdeploy.tasks.said import numbered, sigmoid
from ftdeploy.temperature import of_the_same_logits
from ftdeploy.verdict import read_report
from ftdeploy.windows import Windows

CATEGORIES = ("Audit Rights", "Governing Law", "Insurance")
WINDOWS: dict[str, Any] = {"overlap": 8, "most": 8, "pooling": "mean"}
LENGTH = 32
SUITE: dict[str, Any] = {
    "name": "tiny-passages",
    "metrics": ["label_f1", "label_macro_f1", "label_f1:Governing Law"],
    "gates": [
        {"kind": "non-inferiority", "metric": "label_f1", "margin": 0.3},
        {"kind": "slices", "metric": "label_f1", "margin": 0.5, "rule": "none-worse"},
        {"kind": "flips", "maximum": 0.5},
        {"kind": "robustness", "perturbation": "whitespace", "maximum": 0.5, "rows": 32},
        {"kind": "consistency", "maximum": 0.5, "rows": 32},
    ],
    **SMALL,
}  # fmt: skip


def passages(most: int) -> list[dict[str, Any]]:
    """Two clauses after one another in a contract each, with those of `CATEGORIES` that stand in it; without any about
    half as many as with some."""
    clauses = runpy.run_path(str(ROOT / "recipes" / "sources" / "cuad.py"))["_clauses"]
    found: dict[bool, list[dict[str, Any]]] = {True: [], False: []}
    for contract, group in groupby(clauses(MIRROR / "cuad-master-clauses.csv"), key=lambda one: one[0]["contract"]):
        every = list(group)
        for start in range(0, len(every) - 1, 2):
            some = every[start : start + 2]
            names = sorted({name for _, categories in some for name in categories if name in CATEGORIES})
            text = " ".join(row["text"] for row, _ in some)
            found[bool(names)].append({"text": text, "clauses": names, "contract": contract})
    labelled = found[True][: 2 * most // 3]
    return [*labelled, *found[False][:: len(found[False]) * 2 // len(labelled)]]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> TinyRun:
    """A finished run of a tiny model with 32 tokens on them."""
    folder = tmp_path_factory.mktemp("passages")
    rows = passages(900)
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    write_tiny_checkpoint(folder / "model", texts=[row["text"] for row in rows])
    document: dict[str, Any] = {
        "version": 1,
        "name": "tiny-passages",
        "task": "multi-label-classification",
        "data": {
            "source": {"path": "rows.jsonl"},
            "columns": {"text": "text", "label": "clauses", "group": "contract"},
            "split": {"test": 0.25, "validation": 0.25},
        },
        "model": {"path": str(folder / "model"), "max_length": LENGTH, "windows": WINDOWS},
        "train": {
            "epochs": 6,
            "learning_rate": 1e-3,
            "batch_size": 16,
            "precision": "fp32",
            "early_stopping": {"patience": 6},
        },
        "export": {"embedding_layer": 1, "thresholds": "f1"},
        "compress": {"candidates": ["ort-dynamic"], "max_drop": {"label_f1": 0.3}, "rows": 32, "rounds": 3},
        "validate": {"suite": SUITE},
        "package": {"tune_service": False},
    }
    return run_to_the_end(write_recipe(folder / "recipe.yaml", document))


@pytest.fixture(scope="module")
def rows(run: TinyRun) -> tuple[list[str], list[str]]:
    """Texts and labels of its test rows."""
    table = read_split(artifact(run.run, "dataset"), "test")
    return table["text"].to_pylist(), table["label"].to_pylist()


def _label_f1(truths: list[str], said: list[str]) -> float:
    table, (references, predictions) = numbered(truths, said)
    return score(resolve("label_f1", table), references, predictions, len(table))


def test_every_stage_is_about_whole_passages(run: TinyRun, rows: tuple[list[str], list[str]]) -> None:
    """As many answers as passages in the report, of labels that the model has learned; the export says of them what the
    checkpoint says of their windows, pooled, and training measured the same of its validation rows."""
    report = read_report(run.run / "report" / "report.json")
    texts, truths = rows
    assert report.rows == len(texts)
    by_name = {metric.metric: metric.candidate.value for metric in report.metrics}
    assert by_name["label_f1"] > 0.5, "the tiny model has learned nothing, and nothing here is proven"
    onnx, model = run.run / "onnx", run.run / "bundle" / "src" / "model"
    exported, shipped = read_signature(onnx), read_signature(model)
    assert exported.windows == shipped.windows == Windows.model_validate(WINDOWS)
    predictor = Predictor(onnx, device="cpu")
    encoded = predictor.encode(texts[:30])
    assert len(encoded) > 60, "the passages are hardly longer than a window"
    assert max(len(row.ids) for row in encoded) <= LENGTH
    network = AutoModelForSequenceClassification.from_pretrained(run.run / "checkpoint").eval()
    with torch.inference_mode():
        windows = [network(input_ids=torch.tensor([row.ids])).logits[0].numpy() for row in encoded]
    owners = np.array([row.text for row in encoded])
    tokens = np.array([len(row.ids) for row in encoded])
    own = [np.flatnonzero(owners == text) for text in range(30)]
    expected = np.stack([np.average([windows[at] for at in places], axis=0, weights=tokens[places]) for places in own])
    np.testing.assert_allclose(predictor.predict(texts[:30]).logits, expected, atol=1e-4)
    served = Predictor(model, device="cpu")
    found = _label_f1(truths, served.task.said(served.predict(texts), shipped).labels)
    assert by_name["label_f1"] == pytest.approx(found, abs=0.02)


def test_thresholds_are_of_passages(run: TinyRun, rows: tuple[list[str], list[str]]) -> None:
    """Found on validation rows by pooled logits, the same cuts in what ships; a label holds where the pooled logits
    reach its own."""
    exported, shipped = (read_signature(run.run / part) for part in ("onnx", "bundle/src/model"))
    assert exported.thresholds, "no label has a threshold of its own, and nothing here is proven"
    assert dict(shipped.thresholds) == pytest.approx(
        of_the_same_logits(exported.thresholds, exported.temperature, shipped.temperature)
    )
    predictor = Predictor(run.run / "bundle" / "src" / "model", device="cpu")
    texts, _ = rows
    outputs = predictor.predict(texts)
    shares = sigmoid(outputs.logits / shipped.temperature)
    least = np.array([shipped.thresholds.get(label, 0.5) for label in shipped.labels], dtype=np.float32)
    expected = [sorted(np.array(shipped.labels)[row].tolist()) for row in shares >= least]
    assert [json.loads(label) for label in predictor.task.said(outputs, shipped).labels] == expected
    validation = read_split(artifact(run.run, "dataset"), "validation")
    logits = Predictor(run.run / "onnx", device="cpu").predict(validation["text"].to_pylist()).logits
    share = sigmoid(logits / exported.temperature)
    truths = np.array(
        [[label in json.loads(one) for label in exported.labels] for one in validation["label"].to_pylist()]
    )
    for label, threshold in exported.thresholds.items():
        column = exported.labels.index(label)
        own, half = (f1_score(truths[:, column], share[:, column] >= cut) for cut in (threshold, 0.5))
        assert own > half, "a threshold stands where it gains"
        # Half of the best F1 (Lipton et al. 2014), which it is of the rows that it was found on.
        best = max(f1_score(truths[:, column], share[:, column] >= cut) for cut in np.unique(share[:, column]))
        assert threshold == pytest.approx(best / 2, abs=0.02)


def test_what_decides_may_stand_in_any_window(run: TinyRun, rows: tuple[list[str], list[str]], tmp_path: Path) -> None:
    """Behind a passage that has no label, what a clause says is heard; behind the last window it is not read, and the
    service says so. Its protocols go by the same answers as the model."""
    predictor = Predictor(run.run / "bundle" / "src" / "model", device="cpu")
    signature, (texts, truths) = predictor.signature, rows
    lengths = np.bincount([row.text for row in predictor.encode(texts)])
    short = lengths <= WINDOWS["most"] // 2 - 1
    nothing = texts[next(at for at in range(len(texts)) if truths[at] == "[]" and short[at] and lengths[at] > 1)]
    some = [(texts[at], json.loads(truths[at])) for at in np.flatnonzero(short) if truths[at] != "[]"][:20]
    behind = [f"{nothing} {text}" for text, _ in some]
    before = predictor.predict([nothing]).logits[0]
    after = predictor.predict(behind).logits
    risen = [after[at][signature.labels.index(name)] > before[signature.labels.index(name)]
             for at, (_, names) in enumerate(some) for name in names]  # fmt: skip
    assert np.mean(risen) > 0.9
    beyond = f"{nothing} " * 20
    unread = Predictor(run.run / "onnx", device="cpu").predict([beyond, f"{beyond} {some[0][0]}"]).logits
    np.testing.assert_allclose(unread[0], unread[1], atol=1e-4)
    asked = [*behind, beyond]
    with serving([sys.executable, "-m", "ftdeploy", "serve", str(run.run / "bundle")], cwd=tmp_path) as url:
        reply = httpx.post(f"{url}/predict", json={"inputs": asked, "parameters": {"details": True}}, timeout=60).json()
        tensor = {"name": "text", "shape": [len(asked)], "datatype": "BYTES", "data": asked}
        infer = httpx.post(f"{url}/v2/models/tiny-passages/infer", json={"inputs": [tensor]}, timeout=60).json()
    assert reply["truncated"] == [False] * len(behind) + [True]
    held = [
        {one["label"] for one in answer if one["score"] >= signature.thresholds.get(one["label"], 0.5)}
        for answer in reply["predictions"]
    ]
    labels = next(one["data"] for one in infer["outputs"] if one["name"] == "label")
    assert [set(json.loads(label)) for label in labels] == held
    said = [set(json.loads(label)) for label in predictor.task.said(predictor.predict(asked), signature).labels]
    assert sum(one == other for one, other in zip(held, said, strict=True)) >= len(asked) - 1


def test_a_suite_judges_passages(run: TinyRun, tmp_path: Path) -> None:
    """`ftdeploy eval`, on the very rows as a file of somebody's own: the figures of the run's report."""
    rows = read_split(artifact(run.run, "dataset"), "test")
    lines = [json.dumps({"text": row["text"], "clauses": json.loads(row["label"])}) for row in rows.to_pylist()]
    (tmp_path / "rows.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    suite = SUITE | {
        "task": "multi-label-classification",
        "cases": [{"name": "own", "source": {"path": "rows.jsonl"}, "columns": {"label": "clauses"}}],
    }
    (tmp_path / "suite.yaml").write_text(json.dumps(suite), encoding="utf-8")
    found = ftdeploy(
        "eval", tmp_path / "suite.yaml", "--candidate", run.run / "bundle", "--report", tmp_path / "report"
    )
    assert found.returncode in (0, 10, 11), found.stderr
    ours, theirs = (read_report(folder / "report.json") for folder in (tmp_path / "report", run.run / "report"))
    assert ours.rows == theirs.rows
    for one, other in zip(ours.metrics, theirs.metrics, strict=True):
        assert one.candidate.value == pytest.approx(other.candidate.value, abs=0.02)
