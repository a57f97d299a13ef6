"""What logistic regression on TF-IDF makes of a recipe's rows: the figure that fine-tuning has to beat; run by hand.

It learns from the train and validation rows (80% with the recipes' splits) and is measured on the test rows that the
recipe's own verdict is about. Words and pairs of words, sublinear
counts, scikit-learn's defaults else.

    python tests/benchmarks/tfidf_baseline.py recipes/finance-sentiment.yaml [recipes/retail-categorization.yaml ...]
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score
from sklearn.pipeline import make_pipeline

from ftdeploy.dataset import read_split
from ftdeploy.prepare import prepare
from ftdeploy.recipe import load_recipe
from ftdeploy.stage import run_stage


def measure(path: Path) -> tuple[int, float, float]:
    """Test rows, accuracy and macro-F1."""
    with tempfile.TemporaryDirectory() as folder:
        dataset = run_stage(prepare, load_recipe(path), {}, Path(folder) / "dataset").artifact
        known = pa.concat_tables(
            [read_split(dataset, name, columns=["text", "label"]) for name in ("train", "validation")]
        )
        test = read_split(dataset, "test", columns=["text", "label"])
    model = make_pipeline(TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), LogisticRegression(max_iter=1000))
    model.fit(known["text"].to_pylist(), known["label"].to_pylist())
    guesses, truth = model.predict(test["text"].to_pylist()), test["label"].to_pylist()
    return len(truth), accuracy_score(truth, guesses), f1_score(truth, guesses, average="macro")


def main(say: Callable[[str], None]) -> None:
    """A line for each recipe."""
    for name in sys.argv[1:]:
        rows, accuracy, macro_f1 = measure(Path(name))
        say(f"{name}: accuracy {accuracy:.4f}, macro-F1 {macro_f1:.4f} on {rows:,} test rows")


if __name__ == "__main__":
    main(print)
