"""Labelled rows of a made-up domain, and a registry with a tiny champion: for tests of updates."""

from __future__ import annotations

import csv
import random
from pathlib import Path

from checkpoints import write_tiny_recipe

from ftdeploy.pipeline import run_recipe
from ftdeploy.recipe import as_text, load_recipe
from ftdeploy.registry import Registry

_FILL = ("the", "a", "of", "and", "to", "in", "that", "it", "is", "was", "film", "movie", "story", "plot", "actor",
         "scene", "one", "with", "for", "as", "but", "this")  # fmt: skip
_WORDS = {
    "negative": ("bad", "worst", "boring", "dull", "awful", "mess", "tired"),
    "positive": ("good", "great", "best", "wonderful", "enjoyable", "funny", "charming"),
}
#: For an update that is as small and as sure as it can be.
SETTINGS = ("update.epochs=4", "update.min_rows=100", "update.budgets={}")


def domain(rows: int, *, seed: int = 1) -> list[tuple[str, str]]:
    """Texts that a few words tell the label of, and their labels.

    Args:
        rows: how many.
        seed: another one gives other texts.
    """
    draw = random.Random(seed)  # noqa: S311 - test data
    made = []
    for number in range(rows):
        label = ("negative", "positive")[number % 2]
        words = [draw.choice(_FILL) for _ in range(8)] + [draw.choice(_WORDS[label]) for _ in range(4)]
        draw.shuffle(words)
        made.append((" ".join(words), label))
    return made


def shuffled(rows: list[tuple[str, str]], *, seed: int = 2) -> list[tuple[str, str]]:
    """The same texts with their labels at random."""
    labels = [label for _, label in rows]
    random.Random(seed).shuffle(labels)  # noqa: S311 - likewise
    return [(text, label) for (text, _), label in zip(rows, labels, strict=True)]


def write_csv(path: Path, rows: list[tuple[str, str]]) -> Path:
    """Rows as CSV with the columns text and label."""
    with path.open("w", encoding="utf-8", newline="") as handle:
        csv.writer(handle).writerows([("text", "label"), *rows])
    return path


def make_champion(folder: Path) -> Path:
    """A registry, REGISTRY/NAME, whose champion was trained on a few hundred real rows.

    Args:
        folder: made when missing.
    """
    path = write_tiny_recipe(folder / "recipe", rows=300, sections={"train": {"epochs": 1}})
    recipe = load_recipe(path)
    run_recipe(recipe, folder / "run")
    registry = Registry(folder / "registry" / "tiny")
    registry.promote(registry.enter(folder / "run", as_text(recipe)), why="the first")
    return registry.root
