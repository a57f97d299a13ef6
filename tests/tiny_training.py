"""The train stage on a tiny checkpoint and a few hundred real rows: for tests of what a recipe's `train` asks for."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from checkpoints import write_tiny_recipe

from ftdeploy import progress
from ftdeploy.artifact import Artifact
from ftdeploy.prepare import prepare
from ftdeploy.recipe import load_recipe
from ftdeploy.stage import run_stage
from ftdeploy.train import train


class Interrupted(Exception):  # noqa: N818  # no error of the program: it stands for a kill
    """What ends a training in the middle."""


@dataclass(frozen=True)
class TinyTraining:
    """A recipe and its dataset, made once."""

    recipe: Path
    dataset: Artifact

    def run(self, target: Path, *overrides: str) -> Artifact:
        """Train into ``target``, from where an interrupted training stopped.

        Args:
            target: the artifact's folder.
            overrides: settings of the recipe.
        """
        recipe = load_recipe(self.recipe, overrides=overrides)
        with one_processor():
            return run_stage(train, recipe, {"dataset": self.dataset}, target).artifact

    def interrupt(self, target: Path, *overrides: str, evaluation: int = 2) -> None:
        """Train until an evaluation, and end there as a kill does: nothing is tidied up or saved.

        Args:
            target: the artifact's folder.
            overrides: settings of the recipe.
            evaluation: which, from 1.
        """
        seen = 0

        def listener(_: Any) -> None:
            nonlocal seen
            seen += 1
            if seen == evaluation:
                raise Interrupted

        with progress.listening(listener):
            try:
                self.run(target, *overrides)
            except Interrupted:
                return
        raise AssertionError(f"there were only {seen} evaluations")


@contextmanager
def one_processor() -> Iterator[None]:
    """Where the system lets one: the threads of so small a network wait for each other all the time, and beside other
    work each wait costs a hundred times what it saves."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {sorted(allowed)[os.getpid() % len(allowed)]})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def make_tiny_training(folder: Path, *, rows: int = 240) -> TinyTraining:
    """Write the tiny recipe and prepare its dataset.

    Args:
        folder: for recipe, rows, checkpoint and dataset.
        rows: of all splits.
    """
    recipe = write_tiny_recipe(folder, rows=rows, sections={"train": {"epochs": 3}})
    return TinyTraining(recipe, run_stage(prepare, load_recipe(recipe), {}, folder / "dataset").artifact)


def weights_of(checkpoint: Path) -> dict[str, Any]:
    """The tensors of a checkpoint's folder, by name."""
    from safetensors.torch import load_file

    return load_file(checkpoint / "model.safetensors")
