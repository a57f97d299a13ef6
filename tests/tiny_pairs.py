"""A tiny run on rows of two texts by the real command: for tests of what a second text needs."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping
from itertools import count, islice
from pathlib import Path
from typing import Any

from checkpoints import SMALL, sentences, write_recipe, write_tiny_recipe
from tiny import write_model_folder
from tiny_run import TinyRun, run_to_the_end
from tokenizers import Tokenizer
from tokenizers.processors import BertProcessing

from ftdeploy.pairs import Pairs
from ftdeploy.signature import read_signature, write_signature

#: How the columns with the two texts are called.
COLUMNS = ("premise", "hypothesis")
#: Words that the shorter text of a row has at most, and that the other has more than it.
SHORT, APART = 14, 6
SUITE: dict[str, Any] = {
    "name": "tiny-pairs",
    "gates": [
        {"kind": "non-inferiority", "metric": "accuracy", "margin": 0.2},
        {"kind": "floor", "metric": "accuracy", "minimum": 0.2},
        {"kind": "flips", "maximum": 0.5},
        {"kind": "robustness", "perturbation": "typos", "maximum": 0.9, "rows": 32},
        {"kind": "consistency", "maximum": 0.5, "rows": 32},
    ],
    "swaps": [{"name": "people", "pairs": [["he", "she"], ["man", "woman"]]}],
    **SMALL,
}


def which_is_longer(first: str, second: str) -> str:
    """A label for which both texts have to be read, and told apart."""
    return "first" if len(first.split()) > len(second.split()) else "second"


def write_pairs(path: Path, rows: int, *, column: str = "label",
                told: Callable[[str, str], object] = which_is_longer) -> None:  # fmt: skip
    """Two sentences a row, one of them much shorter: of two long ones, what is cut hides which is the longer.

    Args:
        path: a CSV file.
        rows: how many.
        column: with the label.
        told: the label of two texts.
    """
    every = sentences()
    with path.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow((*COLUMNS, column))
        drawn = ((every[(number * 31 + step) * 7 % len(every)]["text"] for step in (0, 1000)) for number in count())
        clear = ((first, second) for first, second in drawn if _differ(first, second))
        for first, second in islice(clear, rows):
            writer.writerow((first, second, told(first, second)))


def _differ(first: str, second: str) -> bool:
    shorter, longer = sorted(len(text.split()) for text in (first, second))
    return shorter <= SHORT and longer >= shorter + APART


def with_template(path: Path) -> None:
    """Give the tokenizer of a tiny checkpoint what BERT's puts around and between texts.

    Args:
        path: tokenizer.json.
    """
    tokenizer = Tokenizer.from_file(str(path))
    closing, opening = ((token, tokenizer.token_to_id(token)) for token in ("[SEP]", "[CLS]"))
    tokenizer.post_processor = BertProcessing(closing, opening)
    tokenizer.save(str(path))


def write_tiny_pairs(folder: Path, *, rows: int = 400, sections: Mapping[str, Any] | None = None,
                     plain: bool = False) -> Path:  # fmt: skip
    """The tiny recipe on rows of two texts.

    Args:
        folder: made when missing.
        rows: how many.
        sections: laid over the recipe, section by section.
        plain: leave the tokenizer without a template.
    """
    given: dict[str, Any] = {
        "data": {"columns": {"text": COLUMNS[0], "text_pair": COLUMNS[1], "label": "label"}},
        "train": {"epochs": 8},
        "compress": {"candidates": ["ort-dynamic"]},
        "validate": {"suite": SUITE},
        "monitor": {"traffic": {"text": True}},
    }
    recipe = write_tiny_recipe(folder, rows=rows, sections=given)
    if not plain:
        with_template(folder / "model" / "tokenizer.json")
    write_pairs(folder / "rows.csv", rows)
    return write_recipe(recipe, json.loads(recipe.read_text(encoding="utf-8")), sections)


def write_pair_model(folder: Path, **signature: Any) -> None:
    """The tiny model folder, as one that reads two texts: what it answers is of the words of both.

    Args:
        folder: made when missing.
        signature: passed on to `write_model_folder`.
    """
    write_model_folder(folder, **signature)
    with_template(folder / "tokenizer.json")
    write_signature(folder, read_signature(folder).model_copy(update={"pairs": Pairs(columns=COLUMNS)}))


def make_tiny_pairs(folder: Path) -> TinyRun:
    """Write the recipe and run it to the end."""
    return run_to_the_end(write_tiny_pairs(folder))
