"""A tiny run of text-regression by the real command: for tests of what an answer that is a number needs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from checkpoints import SMALL, rewrite_rows, write_recipe, write_tiny_recipe
from tiny_run import TinyRun, run_to_the_end

SUITE: dict[str, Any] = {
    "name": "tiny-numbers",
    "metrics": ["r2", "spearman", "mae", "mse"],
    "gates": [
        {"kind": "non-inferiority", "metric": "spearman", "margin": 0.2},
        {"kind": "non-inferiority", "metric": "mse", "margin": 400},
        {"kind": "ceiling", "metric": "mae", "maximum": 100},
        {"kind": "floor", "metric": "spearman", "minimum": 0.05},
        {"kind": "flips", "maximum": 0.5},
        {"kind": "robustness", "perturbation": "whitespace", "maximum": 0.5, "rows": 32},
        {"kind": "consistency", "maximum": 0.5, "rows": 32},
    ],
    **SMALL,
}


def write_tiny_numbers(folder: Path, *, rows: int = 400, sections: Mapping[str, Any] | None = None) -> Path:
    """The tiny recipe, whose rows are as good as they have words: 100 and one more for each, far from what a network
    answers by itself.

    Args:
        folder: made when missing.
        rows: how many.
        sections: laid over the recipe, section by section.
    """
    given: dict[str, Any] = {
        "data": {"columns": {"text": "text", "label": "rating"}},
        "train": {"epochs": 6},
        "compress": {"candidates": ["ort-dynamic"], "max_drop": {"r2": 0.3, "mae": 20}},
        "validate": {"suite": SUITE},
    }
    recipe = write_tiny_recipe(folder, rows=rows, sections=given)
    rewrite_rows(folder / "rows.csv", "rating", lambda text, _label: 100 + len(text.split()))
    document = json.loads(recipe.read_text(encoding="utf-8")) | {"task": "text-regression"}
    return write_recipe(recipe, document, sections)


def make_tiny_numbers(folder: Path) -> TinyRun:
    """Write the recipe and run it to the end."""
    return run_to_the_end(write_tiny_numbers(folder))
