"""The challenger's recipe: the champion's, going on from its checkpoint, with its rows where they stood and new ones.

It is a recipe like any other, and made by the stages of a run: the splits of the champion's dataset are sources with a
role, the new rows one without, which `data.split.others: divide` divides. What is near a row of validation or test
never stays in train, be it old or new.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ftdeploy.artifact import Artifact
from ftdeploy.dataset import SPLITS, SplitName, label_names, read_profile
from ftdeploy.pairs import TEXT_PAIR
from ftdeploy.recipe import Columns, DataSettings, ModelSettings, Recipe, SourceEntry, Split, TrainSettings
from ftdeploy.suite import Ceiling, Floor, WorstSlice
from ftdeploy.tasks import TASKS

#: The source of new rows, in ids before the colon.
NEW = "new"
#: Gates that hold a score against a number, whatever the baseline scores.
_FIXED = (Floor, Ceiling, WorstSlice)
#: Times the rate of the first training.
_SLOWER = 0.5


def challenger_recipe(recipe: Recipe, *, champion: Path, dataset: Artifact, rows: Path) -> Recipe:
    """Derive the recipe of a challenger.

    Args:
        recipe: the champion's.
        champion: its version's folder, absolute.
        dataset: its dataset.
        rows: the new rows, as `ftdeploy.update.collect` has them; absolute.
    """
    model = ModelSettings(path=champion / "checkpoint", max_length=recipe.model.max_length,
                          windows=recipe.model.windows)  # fmt: skip
    return recipe.model_copy(
        update={
            "data": _data(recipe, dataset, rows),
            "model": model,
            "train": _train(recipe),
            "update": recipe.update.model_copy(update={"learning_rate": _rate(recipe)}),
        }
    )


def _data(recipe: Recipe, dataset: Artifact, rows: Path) -> DataSettings:
    data, settings = recipe.data, recipe.update
    second = None if data.pairs is None else TEXT_PAIR
    columns = Columns(text_pair=second, id="id", group="group" if _grouped(data) else None)
    replay = round(settings.replay * int(read_profile(dataset)["splits"]["train"]["rows"]))
    stratify = data.split.stratify or data.split.by == "time"
    update: dict[str, Any] = {
        "source": None,
        "sources": (
            *(
                SourceEntry(
                    path=dataset.path / f"{name}.parquet",
                    name=f"old-{name}",
                    format="parquet",
                    role=name,
                    columns=columns,
                    rows=max(1, replay) if name == "train" and settings.replay < 1 else None,
                )
                for name in SPLITS
            ),
            SourceEntry(path=rows, name=NEW, format="parquet", columns=columns),
        ),
        "labels": TASKS[recipe.task].known_names(label_names(dataset)),
        "split": Split(
            test=settings.test, validation=settings.validation, stratify=stratify, leakage="drop", others="divide"
        ),
        "limit": None,  # the old rows are what it left
    }
    if data.quality is not None:
        # What was dropped once must not be followed by the next few hundredths with every update.
        update["quality"] = data.quality.model_copy(update={"action": "report", "out_of_fold": None})
    return data.model_copy(update=update)


def _grouped(data: DataSettings) -> bool:
    return any(part.group for part in (data.columns, *(entry.columns for entry in data.sources)) if part is not None)


def _train(recipe: Recipe) -> TrainSettings:
    """Nothing of what the champion has learned begins anew."""
    settings = recipe.update
    update: dict[str, Any] = {
        "reinitialize_layers": 0,
        "unfreeze": None,
        "learning_rate": _rate(recipe),
        "head_learning_rate": None,
        "embeddings_learning_rate": None,
    }
    if settings.epochs is not None:
        update["epochs"] = settings.epochs
    return recipe.train.model_copy(update=update)


def _rate(recipe: Recipe) -> float:
    """Of all layers; written into the challenger's recipe, or each update would halve that of the one before."""
    return recipe.update.learning_rate or recipe.train.learning_rate * _SLOWER


def without_floors(recipe: Recipe) -> Recipe:
    """What a challenger is run by. Floors and ceilings are for the old rows, where it is judged by them beside the
    champion; its own test rows are old and new ones together, and a new domain may be harder than they allow.

    Args:
        recipe: the challenger's.
    """
    suite = recipe.validate_.suite
    gates = tuple(gate for gate in suite.gates if not isinstance(gate, _FIXED))
    validate = recipe.validate_.model_copy(update={"suite": suite.model_copy(update={"gates": gates})})
    return recipe.model_copy(update={"validate_": validate})


def split_counts(dataset: Artifact) -> Mapping[SplitName, int]:
    """How many of the new rows stand in each split of a challenger's dataset."""
    sources = read_profile(dataset)["sources"]
    found: Mapping[SplitName, int] = next(one["splits"] for one in sources if one["name"] == NEW)
    return found
