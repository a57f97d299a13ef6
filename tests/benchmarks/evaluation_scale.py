"""How time and memory of an evaluation grow with the rows: a quarter, half and all of them, side by side.

Usage: ``python tests/benchmarks/evaluation_scale.py [ROWS]``; 100,000 rows of 40 words by default, two columns to cut
them by, and a suite with a gate of nearly every kind. The models answer by a formula, so that what is seen is the
engine's. Each size runs in a process of its own, on a table that is mapped into memory from the disk. Prints; judges
nothing. What stays of a row: 16 bytes of two models' probabilities of two labels, 40 of classes and scores, 8 a column
that the rows are cut by; the page adds its flipped rows.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

WORDS_IN_A_ROW, VOCABULARY = 40, 30_000
GATES = [
    {"kind": "non-inferiority", "metric": "accuracy", "margin": 0.01},
    {"kind": "non-inferiority", "metric": "macro_f1", "margin": 0.01},
    {"kind": "non-inferiority", "metric": "accuracy", "margin": 0.01, "method": "mcnemar"},
    {"kind": "equivalence", "metric": "accuracy", "margin": 0.05},
    {"kind": "floor", "metric": "roc_auc", "minimum": 0.5},
    {"kind": "ceiling", "metric": "brier", "maximum": 1.0},
    {"kind": "calibration", "margin": 0.05},
    {"kind": "slices", "margin": 0.05},
    {"kind": "slices", "metric": "brier", "margin": 0.05},
    {"kind": "worst-slice", "minimum": 0.5},
    {"kind": "flips", "maximum": 0.05},
    {"kind": "robustness", "perturbation": "typos", "margin": 0.2},
    {"kind": "consistency"},
    {"kind": "gap", "metric": "equalized_odds", "slice": "source", "maximum": 0.5},
]


def write(path: Path, rows: int) -> None:
    """A table of so many rows in Arrow's own format, written in pieces."""
    import pyarrow as pa

    draw = np.random.default_rng(0)
    words = np.array([f"w{index}" for index in range(VOCABULARY)])
    schema = pa.schema([(name, pa.string()) for name in ("text", "label", "id", "source", "vendor")])
    with pa.OSFile(str(path), "wb") as handle, pa.ipc.new_file(handle, schema) as writer:
        for start in range(0, rows, 4096):
            count = min(4096, rows - start)
            picked = words[draw.integers(VOCABULARY, size=(count, WORDS_IN_A_ROW))]
            numbers = range(start, start + count)
            columns = (
                [f"{number} {' '.join(row)}" for number, row in zip(numbers, picked, strict=True)],
                [("no", "yes")[number % 2] for number in numbers],
                [f"row {number}" for number in numbers],
                [f"source {number % 5}" for number in numbers],
                [f"vendor {number % 20}" for number in numbers],
            )
            writer.write(pa.record_batch([pa.array(column, pa.string()) for column in columns], schema=schema))


def answering(wrong: int) -> object:
    """A model that is wrong on one row in so many, and as sure as its text's number says."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from scripted import Scores, ScriptedModel

    def answer(texts: Sequence[str]) -> Scores:
        digits = ("".join(filter(str.isdigit, text.split()[0])) for text in texts)
        numbers = np.array([int(found or "0") for found in digits])
        sure = 0.55 + 0.45 * (numbers % 97) / 97
        yes = np.where((numbers % 2 == 1) ^ (numbers % wrong == 0), sure, 1 - sure)
        return np.asarray(np.stack([1 - yes, yes], axis=1), dtype=np.float32)

    return ScriptedModel(answer, name=str(wrong))


def resident() -> int:
    """Bytes of memory of this process that are no files mapped into it."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon:"))


def evaluate_one(path: Path) -> None:
    """Evaluate the table in this process, and print what it took as JSON."""
    import pyarrow as pa

    from ftdeploy.suite import Suite
    from ftdeploy.validate.evaluation import evaluate_models
    from ftdeploy.verdict import Compared

    suite = Suite.model_validate({"gates": GATES, "metrics": ["accuracy", "macro_f1", "brier", "ece"],
                                  "timing_rounds": 5})  # fmt: skip

    def evaluate(table: pa.Table) -> None:
        evaluate_models(suite, table, candidate=answering(19), baseline=answering(20), name="scale",  # type: ignore[arg-type]  # a formula
                        dataset=Compared(made_by="scale@1", digest="none"), task="text-classification")  # fmt: skip

    with pa.memory_map(str(path)) as source:
        table = pa.ipc.open_file(source).read_all()
        evaluate(table.slice(0, 1000))  # libraries are imported and warm
        before = peak = resident()
        done = threading.Event()

        def watch() -> None:
            nonlocal peak
            while not done.wait(0.01):
                peak = max(peak, resident())

        watcher = threading.Thread(target=watch)
        watcher.start()
        began, cpu = time.perf_counter(), time.process_time()
        evaluate(table)
        took, cpu = time.perf_counter() - began, time.process_time() - cpu
        done.set()
        watcher.join()
    sys.stdout.write(json.dumps({"seconds": took, "cpu": cpu, "bytes": peak - before}) + "\n")


def main(rows: int) -> None:
    sys.stdout.write(f"{'rows':>9} {'seconds':>9} {'cpu':>7} {'MB grown':>9} {'bytes a row':>12}\n")
    for count in (rows // 4, rows // 2, rows):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "rows.arrow"
            write(path, count)
            found = subprocess.run([sys.executable, __file__, "--one", str(path)], capture_output=True, text=True,
                                   check=True)  # fmt: skip
        one = json.loads(found.stdout.splitlines()[-1])
        sys.stdout.write(
            f"{count:>9,} {one['seconds']:>9.1f} {one['cpu']:>7.1f} {one['bytes'] / 1e6:>9.1f} "
            f"{one['bytes'] / count:>12.0f}\n"
        )
        sys.stdout.flush()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        evaluate_one(Path(sys.argv[2]))
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
