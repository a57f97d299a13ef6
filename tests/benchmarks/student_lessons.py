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
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from ftdeploy.artifact import Artifact, open_artifact
from ftdeploy.compress import _workshop
from ftdeploy.compress.students import make_student
from ftdeploy.console import show_line
from ftdeploy.dataset import SplitName, label_names, read_split
from ftdeploy.predictor import Predictor
from ftdeploy.recipe import CompressSettings, Distillation, Shape

if TYPE_CHECKING:
    from numpy.typing import NDArray

PLAN: dict[str, Any] = {"epochs": 2, "augment": 1.39}


@dataclass(frozen=True, kw_only=True)
class Exam:
    """Rows of a split, their class ids, and the logits of the fine-tuned model, float32 (rows, labels)."""

    texts: list[str]
    references: NDArray[np.int64]
    wanted: NDArray[np.float32]


def main(run: Path, ways: list[dict[str, Any]], *, shape: dict[str, Any], seed: int) -> None:
    """Print a row a way."""
    dataset, checkpoint, onnx = (open_artifact(run / name) for name in ("dataset", "checkpoint", "onnx"))
    teacher = Predictor(onnx.path, device="cpu")
    show_line("| | validation: accuracy, otherwise, error | test: accuracy, otherwise, error | seconds |")
    show_line("|---|---|---|---|")
    exams = [_exam(teacher, dataset, "validation"), _exam(teacher, dataset, "test")]
    show_line(f"| fp32 | {_scores(teacher, exams)} | |")
    for way in ways:
        given = shape | {key: way[key] for key in Shape.model_fields if key in way}
        lessons = PLAN | {key: value for key, value in way.items() if key in Distillation.model_fields}
        settings = CompressSettings.model_validate({"students": [given], "distillation": lessons})
        with tempfile.TemporaryDirectory() as folder:
            out, work = Path(folder, "out"), Path(folder, "work")
            out.mkdir()
            work.mkdir()
            # As a search has them.
            workshop, (cut,), _ = _workshop(checkpoint, onnx, dataset, teacher.task, settings, device="auto", seed=seed,
                                            work=work)  # fmt: skip
            if workshop.school is None:
                raise SystemExit(f"{teacher.task.name} has no students")
            began = time.monotonic()
            make_student(workshop.school, cut, seconds=0, work=work, out=out)
            took = time.monotonic() - began
            scores = _scores(Predictor(out, device="cpu"), exams)
        show_line("| {} {} | {} | {} |", cut.name, way, scores, round(took))


def _exam(teacher: Predictor, dataset: Artifact, split: SplitName) -> Exam:
    rows = read_split(dataset, split)
    texts = rows["text"].to_pylist()
    references = teacher.task.targets(rows["label"].to_pylist(), label_names(dataset))
    return Exam(texts=texts, references=references, wanted=teacher.predict(texts).logits)


def _scores(student: Predictor, exams: list[Exam]) -> str:
    said = []
    for exam in exams:
        ours = student.predict(exam.texts).logits
        answers = ours.argmax(axis=1)
        right, otherwise = np.mean(answers == exam.references), np.mean(answers != exam.wanted.argmax(axis=1))
        said.append(f"{right:.4f}, {otherwise:.2%}, {np.mean((ours - exam.wanted) ** 2):.3f}")
    return " | ".join(said)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("run", type=Path)
    parser.add_argument("ways", nargs="+", type=yaml.safe_load)
    parser.add_argument("--shape", type=yaml.safe_load, default={"ffn": 0.375, "heads": 0.75, "tokens": 0.5})
    parser.add_argument("--seed", type=int, default=13)
    given = parser.parse_args()
    main(given.run, given.ways, shape=given.shape, seed=given.seed)
