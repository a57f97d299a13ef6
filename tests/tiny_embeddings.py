"""A tiny run of feature-extraction on real rows, by the real command: for tests of what vectors need."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from checkpoints import SMALL, write_recipe, write_tiny_recipe
from tiny_run import TinyRun, run_to_the_end

SUITE: dict[str, Any] = {
    "name": "tiny-embeddings",
    "metrics": ["neighbour_agreement", "neighbour_accuracy"],
    "gates": [
        {"kind": "non-inferiority", "metric": "neighbour_agreement", "margin": 0.4},
        {"kind": "floor", "metric": "neighbour_accuracy", "minimum": 0.1},
        {"kind": "slices", "metric": "neighbour_agreement", "margin": 0.5, "rule": "none-worse"},
        {"kind": "flips", "maximum": 0.5},
    ],
    **SMALL,
}


def write_tiny_embeddings(folder: Path, *, rows: int = 400,
                          sections: Mapping[str, Any] | None = None) -> Path:  # fmt: skip
    """Write ``rows.csv`` and ``recipe.yaml``; the path of the recipe.

    Args:
        folder: made when missing.
        rows: how many.
        sections: laid over the recipe, section by section, or in place of what is no section.
    """
    import json

    path = write_tiny_recipe(folder, rows=rows)
    document = json.loads(path.read_text(encoding="utf-8"))
    del document["train"]
    document |= {"name": "tiny-embeddings", "task": "feature-extraction", "validate": {"suite": SUITE}}
    document["compress"] = {"candidates": ["ort-dynamic"], "max_drop": {"neighbour_agreement": 0.4}, "rows": 32,
                            "rounds": 3, "allow_slower": True, "min_gain": 1.0,
                            "objective": {"throughput": 0, "size": 1.0}}  # fmt: skip
    document["package"] = {**document.get("package", {}), "anomaly": {"level": 0.1}}
    return write_recipe(path, document, sections)


def make_tiny_embeddings(folder: Path) -> TinyRun:
    """Write the recipe and run it to the end."""
    return run_to_the_end(write_tiny_embeddings(folder))
