"""What a dictionary finds: the spans of the training rows, looked up word by word in the test rows, the longest first.

A model has to beat it; it knows no context and nothing that it was not shown. By hand:

    ftdeploy run recipes/clinical-extraction.yaml --until prepare
    R=runs/clinical-extraction
    python tests/benchmarks/entity_baseline.py $R/dataset --model $R/compressed
"""

from __future__ import annotations

import argparse
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path

from ftdeploy.artifact import Artifact, open_artifact
from ftdeploy.dataset import read_split
from ftdeploy.metrics import SPAN_METRICS, resolve, score
from ftdeploy.predictor import Predictor
from ftdeploy.spans import Span, dump, load
from ftdeploy.tasks.said import numbered

#: How often a phrase must be a span, of the times that it occurs in the training rows: common words are none.
_SHARE = 0.5


def dictionary(texts: list[str], labels: list[str]) -> dict[str, str]:
    """Phrase, in lower case -> the kind that it mostly is."""
    kinds: dict[str, Counter[str]] = defaultdict(Counter)
    for text, label in zip(texts, labels, strict=True):
        for span in load(label):
            kinds[text[span.start : span.end].casefold()][span.kind] += 1
    longest = max(len(phrase.split()) for phrase in kinds)
    seen = Counter(phrase for text in texts for _, _, phrase in phrases(text, longest) if phrase in kinds)
    return {phrase: of.most_common(1)[0][0] for phrase, of in kinds.items() if of.total() >= _SHARE * seen[phrase]}


def phrases(text: str, longest: int) -> list[tuple[int, int, str]]:
    """(start, end, lower case) of every run of up to so many words."""
    words, at = [], 0
    for word in text.split():
        at = text.index(word, at)
        words.append((at, at + len(word)))
        at += len(word)
    return [
        (words[first][0], words[last][1], text[words[first][0] : words[last][1]].casefold())
        for first in range(len(words))
        for last in range(min(len(words), first + longest) - 1, first - 1, -1)
    ]


def found(text: str, known: dict[str, str], longest: int) -> str:
    """The spans of a text, from the left, the longest first."""
    spans, reached = [], 0
    for start, end, phrase in phrases(text, longest):
        if start >= reached and phrase in known:
            spans.append(Span(start, end, known[phrase]))
            reached = end
    return dump(spans)


def measure(dataset: Artifact) -> dict[str, float]:
    """The metrics of spans on the test rows, of each kind as well, of a dictionary made of the training rows."""
    train, test = read_split(dataset, "train"), read_split(dataset, "test")
    known = dictionary(train["text"].to_pylist(), train["label"].to_pylist())
    longest = max(len(phrase.split()) for phrase in known)
    said = [found(text, known, longest) for text in test["text"].to_pylist()]
    table, (references, predictions) = numbered(test["label"].to_pylist(), said)
    kinds = sorted({span.kind for label in table for span in load(label)})
    names = (*SPAN_METRICS, *(f"entity_f1:{kind}" for kind in kinds))
    return {name: score(resolve(name, table), references, predictions, len(table)) for name in names}


def recall_by_novelty(dataset: Artifact, model: Path) -> dict[str, tuple[int, int]]:
    """Of the spans of the test rows whose words the training rows hold as a span, and of the others: found, all."""
    train, test = read_split(dataset, "train"), read_split(dataset, "test")
    rows = zip(train["text"].to_pylist(), train["label"].to_pylist(), strict=True)
    known = {text[span.start : span.end].casefold() for text, label in rows for span in load(label)}
    texts, predictor = test["text"].to_pylist(), Predictor(model)
    said = predictor.task.said(predictor.predict(texts), predictor.signature).labels
    counts = {"seen in training": [0, 0], "new": [0, 0]}
    for text, label, answer in zip(texts, test["label"].to_pylist(), said, strict=True):
        answered = set(load(answer))
        for span in load(label):
            seen = text[span.start : span.end].casefold() in known
            part = counts["seen in training" if seen else "new"]
            part[0] += span in answered
            part[1] += 1
    return {name: (found_, all_) for name, (found_, all_) in counts.items()}


def main(say: Callable[[str], None]) -> None:
    """Say the scores."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--model", type=Path, help="an artifact: also what it finds of new names")
    asked = parser.parse_args()
    dataset = open_artifact(asked.dataset, kind="dataset")
    for name, value in measure(dataset).items():
        say(f"{name:28} {value:.4f}")
    for name, (hits, of) in (recall_by_novelty(dataset, asked.model) if asked.model else {}).items():
        say(f"recall, names {name:14} {hits / of:.4f}  ({hits:,} of {of:,})")


if __name__ == "__main__":
    main(lambda line: print(line, flush=True))  # noqa: T201 - printing is what it is for
