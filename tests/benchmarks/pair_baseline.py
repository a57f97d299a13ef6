"""What common words and characters tell of a recipe's pairs of texts: the figure that a model which reads both has to
beat; run by hand.

Logistic regression, and boosted trees, on four numbers of a pair: the cosine of TF-IDF by words and by characters
(n-grams of 3 to 5 within words), the share of common words, and the difference in length. They learn from the train and
validation rows and are measured on the test rows.

    python tests/benchmarks/pair_baseline.py runs/product-matching/dataset
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ftdeploy.artifact import Artifact, open_artifact
from ftdeploy.dataset import SplitName, read_split
from ftdeploy.pairs import parts

if TYPE_CHECKING:
    from numpy.typing import NDArray

Pairs = Sequence[tuple[str, str]]
#: How texts are cut.
CUTS: tuple[dict[str, Any], ...] = (
    {"analyzer": "word", "ngram_range": (1, 2)},
    {"analyzer": "char_wb", "ngram_range": (3, 5)},
)


def features(pairs: Pairs, vectorizers: Sequence[TfidfVectorizer]) -> NDArray[np.float64]:
    """Shape (pairs, 4)."""
    firsts, seconds = ([pair[side] for pair in pairs] for side in (0, 1))
    columns = []
    for vectorizer in vectorizers:
        ours, theirs = vectorizer.transform(firsts), vectorizer.transform(seconds)
        columns.append(np.asarray(ours.multiply(theirs).sum(axis=1)).ravel())
    words = [(set(first.casefold().split()), set(second.casefold().split())) for first, second in pairs]
    columns.append(np.array([len(one & other) / max(1, len(one | other)) for one, other in words]))
    columns.append(np.array([abs(len(first) - len(second)) / (len(first) + len(second)) for first, second in pairs]))
    return np.stack(columns, axis=1)


def measure(dataset: Artifact) -> list[tuple[str, dict[str, float]]]:
    """By model, its scores on the test rows by metric."""
    known, asked = _rows(dataset, "train", "validation"), _rows(dataset, "test")
    texts = [text for pair in known[0] for text in pair]
    vectorizers = [TfidfVectorizer(sublinear_tf=True, **cut).fit(texts) for cut in CUTS]
    learned, new = features(known[0], vectorizers), features(asked[0], vectorizers)
    models = {
        "logistic regression": make_pipeline(StandardScaler(), LogisticRegression()),
        "gradient boosting": GradientBoostingClassifier(random_state=13),
    }
    found = []
    for name, model in models.items():
        guesses = model.fit(learned, known[1]).predict(new)
        scores = {
            "accuracy": accuracy_score(asked[1], guesses),
            "macro_f1": f1_score(asked[1], guesses, average="macro"),
        }
        found.append((name, scores))
    return found


def _rows(dataset: Artifact, *splits: SplitName) -> tuple[list[tuple[str, str]], list[str]]:
    tables = [read_split(dataset, split, columns=["text", "label"]) for split in splits]
    pairs = [parts(text) for table in tables for text in table["text"].to_pylist()]
    return [(first, second) for first, second in pairs], [one for table in tables for one in table["label"].to_pylist()]


def main(say: Callable[[str], None]) -> None:
    """A line for each model."""
    for name, scores in measure(open_artifact(Path(sys.argv[1]), kind="dataset")):
        say(f"{name}: accuracy {scores['accuracy']:.4f}, macro-F1 {scores['macro_f1']:.4f}")


if __name__ == "__main__":
    main(print)
