"""One fold: its rows as a dataset artifact, and what a trained model answers for those held out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ftdeploy import progress
from ftdeploy.artifact import Artifact
from ftdeploy.dataset import SPLITS, label_names, read_split
from ftdeploy.errors import DataError
from ftdeploy.files import write_json
from ftdeploy.folds import hold_out, tie_rows
from ftdeploy.hardware import choose_device
from ftdeploy.pairs import with_two_columns
from ftdeploy.prepare.near import pairs_in
from ftdeploy.recipe import CrossValidationSettings, DataSettings, Recipe
from ftdeploy.stage import Facts, Stage
from ftdeploy.tasks import TASKS

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray


def read_rows(dataset: Artifact, *, test: bool) -> pa.Table:
    """The rows that are divided into folds: train and validation, and test where that is asked for."""
    import pyarrow as pa

    tables = [read_split(dataset, name) for name in SPLITS if test or name != "test"]
    if "weight" in tables[0].column_names:  # only training rows have one; 1 is the weight of any other row
        kind = tables[0].schema.field("weight").type
        ones = [pa.array(np.ones(len(table)), type=kind) for table in tables[1:]]
        tables[1:] = [table.append_column("weight", one) for table, one in zip(tables[1:], ones, strict=True)]
    return pa.concat_tables(tables, promote_options="default")


def row_names(rows: pa.Table) -> list[str]:
    """A name for each row that does not depend on where it stands; the text, too, because ids may stand twice."""
    return [f"{name}\0{text}" for name, text in zip(rows["id"].to_pylist(), rows["text"].to_pylist(), strict=True)]


def fold_stage(fold: NDArray[np.int64], number: int) -> Stage:
    """A stage that writes the dataset of one fold, so that `run_stage` keeps its promises for it, too."""

    def divide(dataset: Artifact, *, data: DataSettings, seed: int, cross_validation: CrossValidationSettings,
               out: Path) -> Facts:  # fmt: skip
        rows = read_rows(dataset, test=cross_validation.all)
        return _write_fold(rows, fold == number, data, labels=label_names(dataset), seed=seed, out=out)

    return Stage(
        name="fold",
        writes="dataset",
        version=1,
        reads=("dataset",),
        sections=("data", "seed", "cross_validation"),
        resumes=False,
        libraries=("pyarrow", "scikit-learn"),
        outside=lambda _recipe: {"fold": str(number)},
        body=divide,
    )


def _write_fold(rows: pa.Table, held_out: NDArray[np.bool_], data: DataSettings, *, labels: Sequence[str], seed: int,
                out: Path) -> Facts:  # fmt: skip
    """A dataset whose test split is the fold; validation keeps the share that it has of the recipe's training part."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    part = rows.filter(pa.array(~held_out))
    texts = part["text"].to_pylist()
    units = tie_rows(texts, part["group"].to_pylist(), pairs_in(texts, data.duplicates)).tolist()
    share = data.split.validation / (1 - data.split.test)
    validation = hold_out(part["label"].to_pylist(), units, share=share, seed=seed, ids=row_names(part))
    if not validation.any():
        raise DataError(
            f"of the {len(part):,} rows that a fold is trained on none can be held out for validation",
            cause="they belong to so few groups, which are never divided, that a label would be missing in training",
            fix="ask for more folds, use a finer `data.columns.group`, or add rows",
        )
    splits = {
        "train": part.filter(pa.array(~validation)),
        "validation": part.filter(pa.array(validation)),
        "test": rows.filter(pa.array(held_out)),
    }
    counts = {}
    for name, table in splits.items():
        plain = table.drop_columns("weight") if name != "train" and "weight" in table.column_names else table
        pq.write_table(plain if data.pairs is None else with_two_columns(plain), out / f"{name}.parquet")
        found = table["label"].to_pylist()
        counts[name] = {"rows": len(table), "labels": {label: found.count(label) for label in labels}}
    pairs = {} if data.pairs is None else {"pairs": list(data.pairs)}
    write_json(out / "profile.json", {"labels": list(labels), "kept": len(rows), "splits": counts, **pairs})
    return {name: len(table) for name, table in splits.items()}


def predict(checkpoint: Artifact, texts: Sequence[str], recipe: Recipe) -> NDArray[np.float32]:
    """Probabilities of the labels by the torch model of a checkpoint, float32, shape (texts, labels).

    Args:
        checkpoint: a checkpoint artifact.
        texts: the rows.
        recipe: names task, longest input and device.
    """
    import torch
    from transformers import AutoTokenizer

    from ftdeploy.batching import by_length, pad
    from ftdeploy.onnx_export import load_model, pairs_of
    from ftdeploy.tasks.said import softmax
    from ftdeploy.windows import pool_rows

    device = choose_device(recipe.device).name
    model = load_model(checkpoint.path, TASKS[recipe.task]).to(device)
    tokenizer = AutoTokenizer.from_pretrained(checkpoint.path, local_files_only=True, trust_remote_code=False)
    task, windows = TASKS[recipe.task], recipe.model.windows
    pairs = pairs_of(model.config) is not None
    task.prepare_tokenizer(tokenizer.backend_tokenizer, recipe.model.max_length, windows, pairs=pairs)
    rows = task.encode(tokenizer.backend_tokenizer, texts, unknown=None, windows=windows,
                       pair_length=recipe.model.max_length if pairs else None)  # fmt: skip
    logits = np.empty((len(rows), model.config.num_labels), dtype=np.float32)
    with torch.inference_mode(), progress.task("predict", len(rows)) as advance:
        for batch in by_length([len(row.ids) for row in rows], tokens=8192):
            ids, mask = pad([rows[index].ids for index in batch], tokenizer.pad_token_id or 0)
            feeds = {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(mask)}
            found = model(**{name: tensor.to(device) for name, tensor in feeds.items()}).logits
            logits[batch] = found.float().cpu().numpy()
            advance(len(batch))
    return softmax(logits if windows is None else pool_rows(logits, rows, windows))
