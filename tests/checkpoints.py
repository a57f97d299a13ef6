"""A checkpoint, rows and a recipe that are genuine and tiny: a whole run takes half a minute, for tests of the stages.

The rows are real (the movie-review snippets of the sentiment recipe), the vocabulary is learned from them, and the
network is a BERT of transformers, two layers deep, with weights drawn from a seed.
"""

from __future__ import annotations

import csv
import json
import runpy
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from ftdeploy.recipe import load_recipe
from ftdeploy.sources import resolve

ROOT = Path(__file__).resolve().parent.parent
LABELS = ("negative", "positive")

#: What keeps the suite of a tiny model small.
SMALL = {"resamples": 1000, "slice_rows": 10, "timing_rows": 16, "timing_rounds": 5}
#: Gates that a tiny model passes: with so few test rows, even equal answers leave an interval of several points.
SUITE: dict[str, Any] = {
    "name": "tiny",
    "gates": [
        {"kind": "non-inferiority", "metric": "accuracy", "margin": 0.2},
        {"kind": "floor", "metric": "accuracy", "minimum": 0.2},
    ],
    "resamples": 1000,
    "timing_rows": 16,
    "timing_rounds": 5,
}


@cache
def sentences() -> tuple[dict[str, str], ...]:
    """The rows of the sentiment recipe: ``text``, ``label``, ``id``, ``document``, ``source``.

    The package comes from the cache, the mirror or the index, as in a run, and is checked against its sha256.
    """
    source = load_recipe(ROOT / "recipes" / "sentiment.yaml").data.entries[0]
    load = runpy.run_path(str(ROOT / "recipes" / "sources" / "vader.py"))["load"]
    return tuple(load(resolve(source)))


def write_rows(path: Path, count: int) -> None:
    """``count`` rows at even distances, as CSV with the columns text and label.

    Args:
        path: the file.
        count: how many.
    """
    rows = sentences()
    with path.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(("text", "label"))
        for index in range(count):
            row = rows[index * len(rows) // count]
            writer.writerow((row["text"], row["label"]))


def write_tiny_checkpoint(folder: Path, *, hidden: int = 32, layers: int = 2, vocabulary: int = 1500,
                          seed: int = 7, texts: Sequence[str] = ()) -> None:  # fmt: skip
    """Write config.json, model.safetensors and a fast tokenizer, as transformers saves them.

    Args:
        folder: made when missing.
        hidden: width; two attention heads share it.
        layers: depth.
        vocabulary: WordPiece pieces.
        seed: of the weights.
        texts: that the vocabulary is learned from; none takes movie reviews.
    """
    import torch
    from tokenizers import BertWordPieceTokenizer
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder.mkdir(parents=True, exist_ok=True)
    learner = BertWordPieceTokenizer(lowercase=True)
    learner.train_from_iterator(
        texts or [row["text"] for row in sentences()[::4]], vocab_size=vocabulary, min_frequency=2, show_progress=False
    )
    BertTokenizerFast(tokenizer_object=learner._tokenizer, model_max_length=64).save_pretrained(folder)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        config = BertConfig(
            vocab_size=learner.get_vocab_size(),
            hidden_size=hidden,
            num_hidden_layers=layers,
            num_attention_heads=2,
            intermediate_size=2 * hidden,
            max_position_embeddings=64,
            attn_implementation="eager",
        )
        BertModel(config).save_pretrained(folder, safe_serialization=True)


def rewrite_rows(path: Path, label: str, told: Callable[[str, str], object]) -> None:
    """Give the rows of `write_rows` other labels.

    Args:
        path: the file.
        label: what their column is called from now on.
        told: of a row's text and label.
    """
    with path.open(encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    with path.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(("text", label))
        writer.writerows((row["text"], told(row["text"], row["label"])) for row in rows)


def write_recipe(path: Path, document: Mapping[str, Any], sections: Mapping[str, Any] | None = None) -> Path:
    """Write a recipe, with settings laid over it section by section; the path."""
    laid = {name: {**document.get(name, {}), **settings} for name, settings in (sections or {}).items()}
    # JSON is YAML, and writes 2e-3 in a form that YAML 1.1 reads as a number.
    path.write_text(json.dumps({**document, **laid}, indent=1), encoding="utf-8")
    yaml.safe_load(path.read_text(encoding="utf-8"))
    return path


def write_tiny_recipe(folder: Path, *, rows: int = 400, checkpoint: Path | None = None,
                      sections: Mapping[str, Any] | None = None) -> Path:  # fmt: skip
    """Write ``rows.csv`` and ``recipe.yaml``, and the checkpoint they name unless there is one.

    Args:
        folder: made when missing.
        rows: how many.
        checkpoint: a folder to use; None writes a tiny one into ``folder / "model"``.
        sections: laid over the recipe, section by section.

    Returns:
        The path of the recipe.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_rows(folder / "rows.csv", rows)
    if checkpoint is None:
        checkpoint = folder / "model"
        write_tiny_checkpoint(checkpoint)
    document: dict[str, Any] = {
        "version": 1,
        "name": "tiny",
        "task": "text-classification",
        "data": {
            "source": {"path": "rows.csv"},
            "columns": {"text": "text", "label": "label"},
            "split": {"test": 0.25, "validation": 0.2},
        },
        "model": {"path": str(checkpoint), "max_length": 48},
        "train": {"epochs": 2, "learning_rate": 2e-3, "batch_size": 16, "precision": "fp32"},
        "export": {"embedding_layer": 1},
        "compress": {"candidates": [], "max_drop": {"accuracy": 0.2}, "rows": 32, "rounds": 3},
        "validate": {"suite": SUITE},
        "package": {"tune_service": False},
    }
    return write_recipe(folder / "recipe.yaml", document, sections)
