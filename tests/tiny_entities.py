"""A tiny run of token-classification on real rows (BC5CDR), by the real command: for tests of what entities need."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from checkpoints import SMALL, write_recipe, write_tiny_checkpoint
from real_data import MIRROR
from tiny_run import TinyRun, run_to_the_end

SUITE: dict[str, Any] = {
    "name": "tiny-entities",
    "metrics": ["entity_f1", "entity_recall", "entity_f1:Disease"],
    "gates": [
        {"kind": "non-inferiority", "metric": "entity_f1", "margin": 0.3},
        {"kind": "floor", "metric": "accuracy", "minimum": 0.01},
        {"kind": "slices", "metric": "entity_f1", "margin": 0.5, "rule": "none-worse"},
        {"kind": "flips", "maximum": 0.5},
        {"kind": "robustness", "perturbation": "whitespace", "maximum": 0.5, "rows": 32},
        {"kind": "consistency", "maximum": 0.5, "rows": 32},
    ],
    **SMALL,
}


def write_tiny_entities(folder: Path, *, sentences: int = 400,
                        sections: Mapping[str, Any] | None = None) -> Path:  # fmt: skip
    """Write ``rows.conll`` and ``recipe.yaml``; the path of the recipe.

    Args:
        folder: made when missing.
        sentences: how many.
        sections: laid over the recipe, section by section.
    """
    folder.mkdir(parents=True, exist_ok=True)
    parts = (MIRROR / "bc5cdr-train.tsv").read_text(encoding="utf-8").strip().split("\n\n")
    some = [parts[index * len(parts) // sentences] for index in range(sentences)]
    (folder / "rows.conll").write_text("\n\n".join(some) + "\n", encoding="utf-8")
    write_tiny_checkpoint(folder / "model", hidden=64)
    document: dict[str, Any] = {
        "version": 1,
        "name": "tiny-entities",
        "task": "token-classification",
        "data": {
            "source": {"path": "rows.conll"},
            "columns": {"text": "text", "label": "tags"},
            "split": {"test": 0.25, "validation": 0.2},
        },
        "model": {"path": str(folder / "model"), "max_length": 48},
        "train": {
            "epochs": 10,
            "learning_rate": 2e-3,
            "batch_size": 8,
            "precision": "fp32",
            "early_stopping": {"patience": 10},
        },
        "export": {"embedding_layer": 1},
        "compress": {"candidates": ["optimum-dynamic"], "max_drop": {"entity_f1": 0.3}, "rows": 32, "rounds": 3},
        "validate": {"suite": SUITE},
        "package": {"tune_service": False},
    }
    return write_recipe(folder / "recipe.yaml", document, sections)


def make_tiny_entities(folder: Path) -> TinyRun:
    """Write the recipe and run it to the end."""
    return run_to_the_end(write_tiny_entities(folder))
