"""recipes/clinical-sections.yaml on another division of its data: its three files as one, with 16 labels. By hand; what
a run has done already is not done again.

    python tests/benchmarks/pooled_sections.py FOLDER [--epochs 8]

The recipe keeps to the division of MTS-Dialog, whose test file is harder than its other rows. Here a fifth of all rows,
drawn by label, is tested on, and a header needs 10 of 1,501 rows to be a label of its own. Prints the figures of
logistic regression on TF-IDF (`tfidf_baseline.py`) and of the fine-tuned model in fp32 on the same test rows.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import tfidf_baseline  # type: ignore[import-not-found]  # beside this file when it runs
import yaml
from sklearn.metrics import accuracy_score, f1_score

from ftdeploy.artifact import open_artifact
from ftdeploy.console import show_line
from ftdeploy.dataset import read_split
from ftdeploy.predictor import Predictor

RECIPES = Path(__file__).resolve().parents[2] / "recipes"
#: Headers with fewer than 10 rows.
RARE = ("GYNHX", "IMAGING", "LABS", "OTHER_HISTORY", "PROCEDURES")


def main() -> None:
    """Run, and a line for each model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--epochs", type=int, default=8)
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    recipe = yaml.safe_load((RECIPES / "clinical-sections.yaml").read_text(encoding="utf-8"))
    data = recipe["data"]
    for source in data["sources"]:
        del source["role"]
        source["label_map"] = dict.fromkeys(RARE, "OTHER")
    del data["labels"]
    data["split"] = {"test": 0.2, "validation": 0.1, "stratify": True}
    recipe["train"]["epochs"] = asked.epochs
    parts = {name: recipe[name] for name in ("version", "name", "task", "seed", "data", "model", "train")}
    path, run = asked.folder / "recipe.yaml", asked.folder / "run"
    path.write_text(yaml.safe_dump(parts, sort_keys=False), encoding="utf-8")
    command = [sys.executable, "-m", "ftdeploy", "run", str(path), "--until", "export", "--out", str(run)]
    subprocess.run(command, check=True)
    dataset = open_artifact(run / "dataset", kind="dataset")
    for name, found in tfidf_baseline.measure(dataset):
        show_line(f"TF-IDF, {name}: accuracy {found['accuracy']:.4f}, macro-F1 {found['macro_f1']:.4f}")
    rows, predictor = read_split(dataset, "test"), Predictor(run / "onnx", device="cpu")
    logits = predictor.predict(rows["text"].to_pylist()).logits
    answers = [predictor.signature.labels[place] for place in logits.argmax(axis=1)]
    truth = rows["label"].to_pylist()
    accuracy, macro = accuracy_score(truth, answers), f1_score(truth, answers, average="macro")
    show_line(f"fine-tuned: accuracy {accuracy:.4f}, macro-F1 {macro:.4f}; {len(truth)} rows, {len(set(truth))} labels")


if __name__ == "__main__":
    main()
