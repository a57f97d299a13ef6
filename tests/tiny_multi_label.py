"""A tiny run of multi-label-classification by the real command: for tests of what any number of labels need."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zlib import crc32

from checkpoints import SMALL, rewrite_rows, write_recipe, write_tiny_recipe
from tiny_run import TinyRun, run_to_the_end
from update_samples import domain

SUITE: dict[str, Any] = {
    "name": "tiny-labels",
    "metrics": ["label_f1", "label_recall", "label_f1:long"],
    "gates": [
        {"kind": "non-inferiority", "metric": "label_f1", "margin": 0.3},
        {"kind": "floor", "metric": "accuracy", "minimum": 0.05},
        {"kind": "flips", "maximum": 0.5},
        {"kind": "robustness", "perturbation": "whitespace", "maximum": 0.5, "rows": 32},
    ],
    **SMALL,
}


def write_tiny_labels(folder: Path, *, rows: int = 400, sections: Mapping[str, Any] | None = None) -> Path:
    """The tiny recipe, whose rows are positive or not, and long or not: two labels, one, or none.

    Args:
        folder: made when missing.
        rows: how many.
        sections: laid over the recipe, section by section.
    """
    given: dict[str, Any] = {
        "data": {"columns": {"text": "text", "label": "labels", "label_separator": "|"}},
        "train": {"epochs": 6},
        "compress": {"candidates": ["ort-dynamic"], "max_drop": {"label_f1": 0.3}},
        "validate": {"suite": SUITE},
    }
    recipe = write_tiny_recipe(folder, rows=rows, sections=given)
    rewrite_rows(folder / "rows.csv", "labels", _told)
    document = json.loads(recipe.read_text(encoding="utf-8")) | {"task": "multi-label-classification"}
    return write_recipe(recipe, document, sections)


def write_unsure_labels(folder: Path, *, sections: Mapping[str, Any] | None = None) -> Path:
    """The tiny recipe on rows of which a few words tell one label for sure, and another one in two of five: a model
    that has learned that never holds it for likelier than not, and labels have thresholds of their own.

    Args:
        folder: made when missing.
        sections: laid over the recipe, section by section.
    """
    gates = [{"kind": "non-inferiority", "metric": "label_f1", "margin": 0.3}]
    given: dict[str, Any] = {
        "export": {"thresholds": "f1"},
        "train": {"epochs": 4},
        "data": {"split": {"test": 0.2, "validation": 0.3}},
        "validate": {"suite": SUITE | {"metrics": ["label_f1"], "gates": gates}},
    }
    recipe = write_tiny_labels(folder, sections=given | dict(sections or {}))
    with (folder / "rows.csv").open("w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(("text", "labels"))
        for text, label in domain(600):
            some = label == "positive" and crc32(text.encode()) % 5 < 2
            writer.writerow((text, "|".join(["bad"] * (label == "negative") + ["seen"] * some) or "|"))
    return recipe


def _told(text: str, label: str) -> str:
    names = ["positive"] * (label == "positive") + ["long"] * (len(text.split()) > 15)
    return "|".join(names) or "|"


def make_tiny_labels(folder: Path) -> TinyRun:
    """Write the recipe and run it to the end."""
    return run_to_the_end(write_tiny_labels(folder))
