"""What logistic regression on TF-IDF makes of a recipe's rows: the figure that fine-tuning has to beat; run by hand.

It learns from the train and validation rows (80% with the recipes' splits) and is measured on the test rows that the
recipe's own verdict is about. Words and pairs of words, sublinear counts, scikit-learn's defaults else; and once more
with the strength of its regularisation and the weights of its classes chosen by macro-F1 on the validation rows, as
scikit-learn's default is far too strong where labels are many and rows are few.

    python tests/benchmarks/tfidf_baseline.py recipes/finance-sentiment.yaml [recipes/retail-categorization.yaml ...]
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score
from sklearn.pipeline import make_pipeline

from ftdeploy.artifact import Artifact
from ftdeploy.dataset import SPLITS, read_split
from ftdeploy.prepare import prepare
from ftdeploy.recipe import load_recipe
from ftdeploy.stage import run_stage

DEFAULTS = (1.0, None)
#: Inverse strength of the regularisation, and whether rare classes count as much as common ones.
GRID = tuple(product((1.0, 10.0, 100.0), (None, "balanced")))

Rows = tuple[list[str], list[str]]


def scores(settings: tuple[float, str | None], known: Rows, asked: Rows) -> tuple[float, float]:
    """Accuracy and macro-F1 on ``asked`` of what learned from ``known``."""
    strength, weights = settings
    model: Any = make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True),
        LogisticRegression(C=strength, class_weight=weights, max_iter=1000),
    )
    guesses, truth = model.fit(*known).predict(asked[0]), asked[1]
    return accuracy_score(truth, guesses), f1_score(truth, guesses, average="macro")


def measure(dataset: Artifact) -> Iterator[tuple[str, dict[str, float]]]:
    """What scikit-learn's defaults reach on the test rows, by metric, and what the validation rows prefer."""
    tables = [read_split(dataset, name, columns=["text", "label"]) for name in SPLITS]
    train, validation, test = ((table["text"].to_pylist(), table["label"].to_pylist()) for table in tables)
    known = (train[0] + validation[0], train[1] + validation[1])
    best = max(GRID, key=lambda settings: scores(settings, train, validation)[1])
    for name, settings in (("defaults", DEFAULTS), (f"C={best[0]:g}, class_weight={best[1]}", best)):
        accuracy, macro_f1 = scores(settings, known, test)
        yield name, {"accuracy": accuracy, "macro_f1": macro_f1}


def main(say: Callable[[str], None]) -> None:
    """Two lines for each recipe."""
    for name in sys.argv[1:]:
        with tempfile.TemporaryDirectory() as folder:
            dataset = run_stage(prepare, load_recipe(Path(name)), {}, Path(folder) / "dataset").artifact
            for settings, found in measure(dataset):
                say(f"{name}, {settings}: accuracy {found['accuracy']:.4f}, macro-F1 {found['macro_f1']:.4f} on "
                    f"{read_split(dataset, 'test').num_rows:,} test rows")  # fmt: skip


if __name__ == "__main__":
    main(print)
