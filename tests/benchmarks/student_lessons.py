"""What a student keeps of its teacher, by how it is taught: students of a finished run, one after the other.

    python tests/benchmarks/student_lessons.py runs/sentiment '{}' '{hidden: 1, learning_rate: 2.0e-4}' '{ffn: 0.5}'

Each argument after the run, in YAML, is laid over the defaults of `compress.distillation` and over the shape (--shape);
two epochs with 1.39 copies of each row are about what a search has time for. Prints a Markdown table: of validation and
test rows the accuracy, the share that is answered otherwise than by the fine-tuned model, and the mean squared error of
the logits, which varies the least from seed to seed. Seconds are the clock's: read them on an idle machine.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from ftdeploy.artifact import Artifact, open_artifact
from ftdeploy.compress import students
from ftdeploy.console import show_line
from ftdeploy.dataset import SplitName, label_names, read_split
from ftdeploy.onnx_export import load_model
from ftdeploy.predictor import Predictor
from ftdeploy.recipe import Distillation, Shape

PLAN: dict[str, Any] = {"epochs": 2, "augment": 1.39}


def main(run: Path, ways: list[dict[str, Any]], *, shape: dict[str, Any], seed: int) -> None:
    """Print a row a way."""
    dataset, checkpoint, onnx = (open_artifact(run / name) for name in ("dataset", "checkpoint", "onnx"))
    teacher = Predictor(onnx.path, device="cpu")
    show_line("| | validation: accuracy, otherwise, error | test: accuracy, otherwise, error | seconds |")
    show_line("|---|---|---|---|")
    show_line(f"| fp32 | {_scores(teacher, teacher, dataset)} | |")
    for way in ways:
        given = shape | {key: way[key] for key in Shape.model_fields if key in way}
        lessons = PLAN | {key: value for key, value in way.items() if key in Distillation.model_fields}
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            out, work = Path(folder, "out"), Path(folder, "work")
            out.mkdir()
            work.mkdir()
            school = _school(dataset, checkpoint, onnx, teacher, lessons, seed=seed)
            cut = students.cut_to(Shape.model_validate(given), load_model(checkpoint.path, school.task))
            students.make_student(school, cut, seconds=0, work=work, out=out)
            took = time.monotonic() - began
            scores = _scores(Predictor(out, device="cpu"), teacher, dataset)
        show_line("| {} {} | {} | {} |", cut.name, way, scores, round(took))


def _school(dataset: Artifact, checkpoint: Artifact, onnx: Artifact, teacher: Predictor, lessons: dict[str, Any], *,
            seed: int) -> students.School:  # fmt: skip
    train = read_split(dataset, "train")
    return students.School(
        checkpoint=checkpoint.path, onnx=onnx.path, rows=[row.ids for row in teacher.encode(train["text"].to_pylist())],
        targets=teacher.task.targets(train["label"].to_pylist(), label_names(dataset)), task=teacher.task,
        settings=Distillation.model_validate(lessons), opset=int(onnx.facts["opset"]), seed=seed, device="auto",
        bf16=checkpoint.facts.get("precision") == "bf16",
    )  # fmt: skip


def _scores(student: Predictor, teacher: Predictor, dataset: Artifact) -> str:
    said = []
    splits: tuple[SplitName, ...] = ("validation", "test")
    for split in splits:
        rows = read_split(dataset, split)
        references = teacher.task.targets(rows["label"].to_pylist(), label_names(dataset))
        ours, theirs = (one.predict(rows["text"].to_pylist()).logits for one in (student, teacher))
        otherwise = float(np.mean(ours.argmax(axis=1) != theirs.argmax(axis=1)))
        right = float(np.mean(ours.argmax(axis=1) == references))
        said.append(f"{right:.4f}, {otherwise:.2%}, {np.mean((ours - theirs) ** 2):.3f}")
    return " | ".join(said)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("run", type=Path)
    parser.add_argument("ways", nargs="+", type=yaml.safe_load)
    parser.add_argument("--shape", type=yaml.safe_load, default={"ffn": 0.375, "heads": 0.75})
    parser.add_argument("--seed", type=int, default=13)
    given = parser.parse_args()
    main(given.run, given.ways, shape=given.shape, seed=given.seed)
