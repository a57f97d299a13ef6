"""check: everything that can be known before anything runs."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Mapping
from operator import itemgetter
from pathlib import Path
from typing import Any, TypeVar

from ftdeploy import progress
from ftdeploy.checkpoints import check_checkpoint, check_trainable
from ftdeploy.errors import ConfigError, FtdeployError, ModelError, Problem, first_of
from ftdeploy.hardware import choose_device, has_bf16, processors
from ftdeploy.onnx_export import require_pairs, supported
from ftdeploy.prepare.peek import Beginning, peek
from ftdeploy.prepare.stream import Opened, open_sources
from ftdeploy.recipe import Recipe, SourceEntry, wanted_layers
from ftdeploy.sources import describe, fingerprints, resolve
from ftdeploy.tasks import TASKS
from ftdeploy.train.objective import check_given_weights
from ftdeploy.train.schedule import plan_steps

#: 100 million multiply-adds of a forward pass trained in a second, per processor: all-MiniLM-L6 at 30 tokens a row is
#: 3.2 of them, and two processors with AVX512-BF16 trained 76 rows a second in bf16, 34 in fp32. An order of magnitude.
_RATE = {"bf16": 120.0, "fp32": 54.0}
_TOKENS = 30
_SHOWN_LABELS = 20

T = TypeVar("T")


def check_recipe(recipe: Recipe) -> dict[str, str | int | float]:
    """Resolve a recipe's sources, read the first rows, inspect the checkpoint, and estimate what a run costs.

    Args:
        recipe: already valid by itself.

    Returns:
        Findings by name: sources, the first rows and their labels, architecture, device, and rough minutes, memory and
        disk.

    Raises:
        SourceError: data or checkpoint cannot be had.
        DataError: the first rows are not what the recipe says; or all of them, where there are not many.
        ModelError: the checkpoint is refused, cannot be trained or exported as the recipe says, or its architecture
            cannot be exported for the task.
        TrainingError: the warm-up is longer than the training.
        DeviceError: a device is forced that is not there.
        ConfigError: a class weight is given for a label that the rows do not have; or several of these at once, each a
            problem with the path of its section.
    """
    faults: dict[str, FtdeployError] = {}
    data = _try(faults, "data.source", lambda: _check_data(recipe))
    model = _try(faults, "model", lambda: _check_model(recipe))
    device = _try(faults, "device", lambda: choose_device(recipe.device))
    _try(faults, "data.unlabelled", lambda: _check_texts(recipe))
    rows = None if data is None else _try(faults, "data", lambda: _check_rows(recipe, data))
    if rows is not None:
        _try(faults, "train.class_weights", lambda: _check_weights(recipe, rows))
        _try(faults, "train.warmup", lambda: _check_warmup(recipe, rows))
    if data is None or rows is None or model is None or device is None or faults:
        raise _together(faults)
    checkpoint, config = model
    weights = sum(path.stat().st_size for path in checkpoint.glob("*.safetensors"))
    # Several copies stand on disk at once: checkpoint, optimizer (two moments), best and last, exports, candidates.
    disk = 14 * weights
    free = shutil.disk_usage(Path.cwd()).free
    return {
        "data": "; ".join(_source_words(entry) for entry in recipe.data.entries),
        "data bytes": _data_size(data),
        "rows": _row_words(rows),
        "labels": _label_words(rows),
        "checkpoint": describe(recipe.model)["source"],
        "architecture": f"{config['model_type']}, exportable for {recipe.task}",
        "weights": f"{weights / 1e6:.0f} MB",
        "device": f"{device.name} ({device.reason})",
        "memory, roughly": f"{(6 * weights + 1.5e9) / 1e9:.1f} GB",
        "disk, roughly": f"{disk / 1e9:.1f} GB" + (f"; only {free / 1e9:.1f} GB are free" if free < disk else ""),
        "time, roughly": _minutes(recipe, config, _row_count(rows, data))
        if device.name == "cpu"
        else "not estimated on a GPU",
    }


def _try(faults: dict[str, FtdeployError], section: str, look: Callable[[], T]) -> T | None:
    """What ``look`` finds; or None, with its error noted, so that the other sections are looked at all the same."""
    try:
        return look()
    except FtdeployError as error:
        faults[section] = error
        return None


def _together(faults: dict[str, FtdeployError]) -> FtdeployError:
    if len(faults) == 1:
        return next(iter(faults.values()))
    return ConfigError(
        f"{len(faults)} sections name what cannot be used",
        cause="see each",
        fix="correct them; paths in a recipe are relative to the recipe's own folder",
        problems=[Problem(path=path, message=error.what, hint=error.fix) for path, error in faults.items()],
    )


def _check_data(recipe: Recipe) -> tuple[Opened, ...]:
    progress.say("resolving the data")
    fingerprints(recipe.data.entries)  # the loader's file, too, must be there
    return open_sources(recipe.data)


def _check_texts(recipe: Recipe) -> None:
    fingerprints(recipe.data.unlabelled)
    for entry in recipe.data.unlabelled:
        resolve(entry)


def _source_words(entry: SourceEntry) -> str:
    described = describe(entry)
    return ", ".join(described[key] for key in ("source", "licence") if key in described)


def _check_rows(recipe: Recipe, sources: tuple[Opened, ...]) -> Beginning:
    progress.say("reading the first rows")
    return peek(recipe.data, sources, task=recipe.task, seed=recipe.seed)


def _check_weights(recipe: Recipe, rows: Beginning) -> None:
    given = recipe.train.class_weights
    labels = recipe.data.labels or (tuple(rows.labels) if rows.whole else ())
    if isinstance(given, Mapping) and labels:
        check_given_weights(given, labels)


def _check_warmup(recipe: Recipe, rows: Beginning) -> None:
    settings = recipe.train
    # Elsewhere how many steps there are follows from the tokens, which nobody has counted.
    a_row_each = not TASKS[recipe.task].per_token and recipe.model.windows is None and settings.batch_tokens is None
    if rows.training and a_row_each and not TASKS[recipe.task].vectors:
        plan_steps(math.ceil(rows.training / settings.batch_size), settings)


def _row_words(rows: Beginning) -> str:
    aside = "".join(f"; {count:,} set aside: {reason}" for reason, count in sorted(rows.rejected.items()))
    if rows.whole:
        return f"{rows.read:,} read, {rows.kept:,} kept{aside}"
    return f"the first {rows.read:,} were read{aside}"


def _label_words(rows: Beginning) -> str:
    counted = sorted(filter(itemgetter(1), rows.labels.items()), key=lambda item: (-item[1], item[0]))
    listed = first_of([f"{label} {count:,}" for label, count in counted], _SHOWN_LABELS)
    return listed if rows.whole else f"{listed} among these"


def _row_count(rows: Beginning, sources: tuple[Opened, ...]) -> int:
    """The rows there are, or about how many: a review has a line of 110 bytes."""
    return rows.kept if rows.whole else max(rows.read, _data_size(sources) // 110)


def _check_model(recipe: Recipe) -> tuple[Path, dict[str, Any]]:
    progress.say("resolving the checkpoint")
    checkpoint = resolve(recipe.model)
    check_checkpoint(checkpoint)
    config: dict[str, Any] = json.loads((checkpoint / "config.json").read_text(encoding="utf-8"))
    kind = str(config.get("model_type", ""))
    progress.say("asking Optimum about the architecture")
    if not supported(kind, TASKS[recipe.task].exported_as):
        raise ModelError(
            f"Optimum cannot export {kind or 'this kind of'} models for {recipe.task}",
            cause="the architecture is not among those that its ONNX exporter knows",
            fix="choose a checkpoint of another architecture (bert, distilbert, roberta, electra, mpnet, ...)",
        )
    check_trainable(checkpoint, task=recipe.task, max_length=recipe.model.max_length, layers=wanted_layers(recipe))
    if recipe.data.pairs is not None:
        require_pairs(checkpoint, recipe.data.pairs)
    return checkpoint, config


def _data_size(sources: tuple[Opened, ...]) -> int:
    return sum(_size(source.path) for source in sources)


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else sum(p.stat().st_size for p in path.rglob("*") if p.is_file())


def _minutes(recipe: Recipe, config: dict[str, object], rows: int) -> str:
    """Order of magnitude of the training time, from the number of rows and the size of the encoder."""
    layers, width = config.get("num_hidden_layers"), config.get("hidden_size")
    if not isinstance(layers, int) or not isinstance(width, int) or layers * width <= 0:
        return "not estimated for this architecture"
    work = layers * 12 * width * width * _TOKENS / 1e8
    rate = _RATE["bf16" if has_bf16() else "fp32"] * processors() / work
    rows = min(recipe.data.limit or 10**12, rows)
    share = 1 - recipe.data.split.test - recipe.data.split.validation
    return f"{1 + rows * share * recipe.train.epochs / rate / 60:.0f} minutes, of the order of"
