"""What a cascade gives for what it costs, by the share of the texts that go on to the second model.

    python tests/benchmarks/cascade_shares.py runs/sentiment

Takes the cascade that a run ships (`compressed`) and moves its margin; both models stay as they are. Prints a Markdown
table: the throughput beside fp32 (alternating rounds, with the range of their ratios), of the test rows the share that
went on, the accuracy, the shares that the first and the second model answer otherwise than fp32, and what the accuracy
falls by at most, at 95%. Shares are of the validation rows. Read the speed on an idle machine.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from ftdeploy.artifact import open_artifact
from ftdeploy.compress.cascade import MARGIN, distances, margin_at
from ftdeploy.console import show_line
from ftdeploy.dataset import SplitName, label_names, read_split
from ftdeploy.measure import cost_ratio, measure
from ftdeploy.metrics import METRICS
from ftdeploy.predictor import Predictor
from ftdeploy.statistics import compare


def main(run: Path, shares: list[float], *, rounds: int) -> None:
    """Print a row a share: none is the student alone, all the second model, with the student's work besides."""
    fp32, shipped, dataset = run / "onnx", run / "compressed", open_artifact(run / "dataset")
    texts: dict[SplitName, list[str]] = {
        split: read_split(dataset, split)["text"].to_pylist() for split in ("validation", "test")
    }
    teacher = Predictor(fp32)
    labels = read_split(dataset, "test")["label"].to_pylist()
    references = teacher.task.targets(labels, label_names(dataset))
    before = teacher.predict(texts["test"]).logits.argmax(axis=1)
    with tempfile.TemporaryDirectory() as folder:
        alone = _with_margin(shipped, Path(folder, "alone"), -np.inf)
        student = {split: Predictor(alone).predict(rows).logits for split, rows in texts.items()}
        margins = {f"{share:.0%}": margin_at(student["validation"], share) for share in shares}
        made = {"0%": alone, **{name: _with_margin(shipped, Path(folder, name), at) for name, at in margins.items()}}
        found = measure({"fp32": fp32, **made}, texts["validation"], rounds=rounds, rows=512)
        show_line("| share | times fp32 | of the test rows | accuracy | otherwise: first, second | falls by at most |")
        show_line("|---|---|---|---|---|---|")
        show_line(f"| fp32 | 1 | | {np.mean(before == references):.4f} | | |")
        for name, place in made.items():
            ratio = cost_ratio(found["fp32"], found[name], "throughput")
            after = Predictor(place).predict(texts["test"]).logits.argmax(axis=1)
            one = compare(METRICS["accuracy"], references, before, after, classes=len(teacher.signature.labels),
                          margin=0.01, seed=0)  # fmt: skip
            unsure = distances(student["test"]) < margins.get(name, -np.inf)
            otherwise = after != before
            speed = f"{ratio.ratio:.2f} ({ratio.lower:.2f} to {ratio.upper:.2f})"
            changed = f"{np.mean(otherwise & ~unsure):.2%}, {np.mean(otherwise & unsure):.2%}"
            show_line(
                f"| {name} | {speed} | {np.mean(unsure):.1%} | {one.candidate:.4f} | {changed} | {-one.lower:.4f} |"
            )


def _with_margin(source: Path, folder: Path, margin: float) -> Path:
    model = onnx.load(os.fspath(source / "model.onnx"))
    found = [one for one in model.graph.initializer if one.name == MARGIN]
    if not found:
        raise SystemExit(f"{source} holds no cascade: set `compress.cascade`, and run it again")
    found[0].CopyFrom(numpy_helper.from_array(np.array(margin, dtype=np.float32), MARGIN))
    folder.mkdir()
    onnx.save(model, os.fspath(folder / "model.onnx"))
    for name in ("tokenizer.json", "signature.json"):
        shutil.copyfile(source / name, folder / name)
    return folder


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("run", type=Path)
    parser.add_argument("--shares", type=float, nargs="+", default=[0.05, 0.1, 0.15, 0.2, 0.25, 0.3])
    parser.add_argument("--rounds", type=int, default=9)
    given = parser.parse_args()
    main(given.run, given.shares, rounds=given.rounds)
