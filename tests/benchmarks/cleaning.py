"""What cleaning costs: CPU microseconds per row, for the default rules and for each rule of `data.clean` by itself.

Usage: ``python tests/benchmarks/cleaning.py [RECIPE]``; the rows are the recipe's first 5,000. The cost of a rule is
that of the whole cleaner with the rule on top of the defaults, less that of the defaults; rules that survey the rows
are measured with their survey. Medians of seven rounds, all settings in turn within a round. Prints; judges nothing.
"""

from __future__ import annotations

import statistics
import sys
import time
from itertools import chain, islice
from pathlib import Path
from typing import Any

from ftdeploy.prepare.builder import wanted
from ftdeploy.prepare.clean import Counts, look_at_all, make_cleaner
from ftdeploy.prepare.stream import open_sources, read_source, unified
from ftdeploy.recipe import Clean, load_recipe

ROUNDS, ROWS = 7, 5000
RULES: dict[str, dict[str, Any]] = {
    "(defaults)": {},
    "unicode: NFKC": {"unicode": "NFKC"},
    "fix_mojibake": {"fix_mojibake": True},
    "strip_html": {"strip_html": True},
    "strip_invisible": {"strip_invisible": True},
    "straight_quotes": {"straight_quotes": True},
    "urls: replace": {"urls": "replace"},
    "emails: replace": {"emails": "replace"},
    "handles: replace": {"handles": "replace"},
    "hashtags: replace": {"hashtags": "replace"},
    "repeated_letters: 3": {"repeated_letters": 3},
    "repeated_punctuation: 3": {"repeated_punctuation": 3},
    "min_words: 2": {"min_words": 2},
    "language": {"language": {}},
    "length_outliers": {"length_outliers": {}},
    "boilerplate": {"boilerplate": {"action": "remove"}},
}


def _texts(recipe: Path) -> list[Any]:
    written = load_recipe(recipe).data
    data = unified(written)
    rows = chain.from_iterable(read_source(one, written, wanted=wanted(data)) for one in open_sources(written))
    return [row.values.get(data.columns.text) for row in islice(rows, ROWS)]


def _microseconds(rules: Clean, texts: list[Any]) -> float:
    began = time.process_time()
    clean, counts = make_cleaner(rules, look_at_all(rules, lambda: [(text, "") for text in texts])), Counts()
    if rules.language is not None:
        began = time.process_time()  # loading its model takes 60 ms, once
    for text in texts:
        clean(text, counts)
    return (time.process_time() - began) / len(texts) * 1e6


def main(recipe: Path) -> None:
    """Print a line for each rule."""
    texts = _texts(recipe)
    settings = {name: Clean.model_validate(rules) for name, rules in RULES.items()}
    taken: dict[str, list[float]] = {name: [] for name in settings}
    for _ in range(ROUNDS):
        for name, rules in settings.items():
            taken[name].append(_microseconds(rules, texts))
    medians = {name: statistics.median(times) for name, times in taken.items()}
    everything = sum(len(text) for text in texts if isinstance(text, str)) / len(texts)
    sys.stdout.write(f"{len(texts):,} rows of {everything:.0f} characters; CPU microseconds per row\n")
    for name, median in medians.items():
        extra = "" if name == "(defaults)" else f"+{median - medians['(defaults)']:7.2f}"
        sys.stdout.write(f"{name:<26}{median:8.2f}  {extra}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "recipes/sentiment.yaml"))
