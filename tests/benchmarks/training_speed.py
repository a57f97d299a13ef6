"""ftdeploy's training beside the plain Trainer of transformers at its defaults, on a recipe's rows; prints a table.

Each side is a process of its own that begins with the rows as parquet and ends with the trained model on disk: imports,
tokenising, evaluation after each epoch and saving are part of its time. The order alternates from seed to seed, so that
what else the machine does falls on all sides. Beside seconds on the clock it prints seconds of processor time, which
suffer less from neighbours. Both sides run with waiting threads asleep (OMP_WAIT_POLICY=PASSIVE).

The baseline is the fine-tuning example of transformers: batches of 8 rows (and, as a stronger baseline, 32), padded to
their longest row, 3 epochs, fp32, evaluated after each epoch, everything else as TrainingArguments has it.

Usage: ``python tests/benchmarks/training_speed.py [--limit 600] [--seeds 13 14 15] [--train '{"batch_tokens": 1800}']``
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ftdeploy.artifact import open_artifact
from ftdeploy.dataset import label_names, read_split
from ftdeploy.pipeline import FLOW
from ftdeploy.recipe import Recipe, load_recipe
from ftdeploy.sources import resolve
from ftdeploy.stage import run_stage

if TYPE_CHECKING:
    from numpy.typing import NDArray

ROOT = Path(__file__).parents[2]
OURS = "ftdeploy"
#: Sides by name: rows in a batch of the plain Trainer; None is ftdeploy.
SIDES: Mapping[str, int | None] = {OURS: None, "Trainer, batch 8": 8, "Trainer, batch 32": 32}
#: Two-sided 95% points of Student's t by degrees of freedom: seeds are few.
_T = {1: 12.71, 2: 4.30, 3: 3.18, 4: 2.78, 5: 2.57, 6: 2.45, 7: 2.36, 8: 2.31, 9: 2.26}


@dataclass(frozen=True)
class Training:
    """What one process did: seconds on the clock and of processor time, and which test rows its model has right."""

    wall: float
    cpu: float
    right: NDArray[np.float64]


def train_ours(home: Path, out: Path, seed: int, train: Mapping[str, Any]) -> None:
    """The train stage, with the recipe's settings."""
    recipe = _recipe(home)
    sections = {"train": type(recipe.train).model_validate(recipe.train.model_dump() | dict(train)), "seed": seed}
    dataset = open_artifact(home / "dataset", kind="dataset")
    run_stage(FLOW[1], recipe.model_copy(update=sections), {"dataset": dataset}, out)


def train_plain(home: Path, out: Path, seed: int, batch: int) -> None:
    """As the text-classification example of transformers does it."""
    from datasets import Dataset
    from transformers import (
        AutoModelForSequenceClassification,
        AutoTokenizer,
        DataCollatorWithPadding,
        Trainer,
        TrainingArguments,
        set_seed,
    )

    recipe, dataset = _recipe(home), open_artifact(home / "dataset", kind="dataset")
    names, folder = label_names(dataset), resolve(recipe.model)
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)

    def encode(rows: Mapping[str, Sequence[str]]) -> dict[str, Any]:
        found = tokenizer(rows["text"], truncation=True, max_length=recipe.model.max_length)
        return {**found, "label": [names.index(label) for label in rows["label"]]}

    rows = {}
    for split in ("train", "validation"):
        table = read_split(dataset, split, columns=["text", "label"])
        rows[split] = Dataset.from_dict(table.to_pydict()).map(encode, batched=True, remove_columns=["text", "label"])
    set_seed(seed)
    network = AutoModelForSequenceClassification.from_pretrained(
        folder, num_labels=len(names), local_files_only=True, ignore_mismatched_sizes=True
    )
    trainer = Trainer(
        model=network,
        args=TrainingArguments(
            output_dir=str(out / "checkpoints"), per_device_train_batch_size=batch, eval_strategy="epoch", seed=seed,
            report_to=[], disable_tqdm=True, num_train_epochs=recipe.train.epochs,
        ),
        train_dataset=rows["train"],
        eval_dataset=rows["validation"],
        data_collator=DataCollatorWithPadding(tokenizer),
        compute_metrics=lambda found: {"accuracy": float((found.predictions.argmax(-1) == found.label_ids).mean())},
    )  # fmt: skip
    trainer.train()
    trainer.save_model(str(out))
    tokenizer.save_pretrained(out)


def right_rows(home: Path, model: Path) -> NDArray[np.float64]:
    """1 for each test row whose label the model says, else 0; float64 (rows,). fp32, one way for both sides."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    dataset = open_artifact(home / "dataset", kind="dataset")
    table = read_split(dataset, "test", columns=["text", "label"])
    names = label_names(dataset)
    tokenizer = AutoTokenizer.from_pretrained(model, local_files_only=True)
    network = AutoModelForSequenceClassification.from_pretrained(model, local_files_only=True).eval()
    texts, found = table["text"].to_pylist(), []
    with torch.inference_mode():
        for start in range(0, len(texts), 64):
            batch = tokenizer(
                texts[start : start + 64], truncation=True, max_length=_recipe(home).model.max_length, padding=True,
                return_tensors="pt",
            )  # fmt: skip
            found += network(**batch).logits.argmax(-1).tolist()
    truth = [names.index(label) for label in table["label"].to_pylist()]
    return np.asarray(np.array(found) == np.array(truth), dtype=np.float64)


def measure(home: Path, side: str, seed: int, train: str) -> Training:
    """Train in a process of its own, then look at what came of it."""
    out = home / f"{side} {seed}"
    command = [sys.executable, __file__, "--home", str(home), "--side", side, "--seeds", str(seed), "--train", train]
    environment = os.environ | {"OMP_WAIT_POLICY": "PASSIVE", "PYTHONPATH": str(ROOT)}
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run(command, check=True, capture_output=True, env=environment)
    wall, after = time.monotonic() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Training(wall=wall, cpu=cpu, right=right_rows(home, out))


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> str:
    """Geometric mean of theirs / ours over the seeds, with its 95% interval (Student's t on the logarithms)."""
    logs = [math.log(b / a) for a, b in zip(ours, theirs, strict=True)]
    mean = statistics.fmean(logs)
    if len(logs) < 2:
        return f"{math.exp(mean):.2f} (one seed: no interval)"
    half = _T[len(logs) - 1] * statistics.stdev(logs) / math.sqrt(len(logs))
    return f"{math.exp(mean):.2f} [{math.exp(mean - half):.2f}, {math.exp(mean + half):.2f}]"


def difference(ours: Sequence[Training], theirs: Sequence[Training]) -> str:
    """Mean difference of the accuracies, with a 95% interval: paired bootstrap over rows, and over seeds."""
    rows = np.array([a.right - b.right for a, b in zip(ours, theirs, strict=True)])
    random = np.random.default_rng(13)
    seeds, count = rows.shape
    means = [
        rows[random.integers(0, seeds, seeds)][:, random.integers(0, count, count)].mean() for _ in range(2000)
    ]  # fmt: skip
    low, high = np.quantile(means, [0.025, 0.975])
    return f"{rows.mean():+.4f} [{low:+.4f}, {high:+.4f}]"


def report(found: Mapping[str, Sequence[Training]], say: Callable[[str], None]) -> None:
    """The table."""
    say("| side | wall s | processor s | accuracy | wall: times ours | processor: times ours | ours - theirs |")
    say("|---|---|---|---|---|---|---|")
    ours = found[OURS]
    for side, runs in found.items():
        wall, cpu = [run.wall for run in runs], [run.cpu for run in runs]
        accuracy = statistics.fmean(float(run.right.mean()) for run in runs)
        compared = ["-"] * 3
        if side != OURS:
            compared = [
                ratio([run.wall for run in ours], wall), ratio([run.cpu for run in ours], cpu), difference(ours, runs),
            ]  # fmt: skip
        figures = [f"{statistics.fmean(wall):.1f}", f"{statistics.fmean(cpu):.1f}", f"{accuracy:.4f}", *compared]
        say(f"| {side} | {' | '.join(figures)} |")


def main(say: Callable[[str], None]) -> None:
    """Measure all sides, or be one of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", type=Path, default=ROOT / "recipes" / "sentiment.yaml")
    parser.add_argument("--limit", type=int, help="rows of the source; all when left out")
    parser.add_argument("--seeds", type=int, nargs="+", default=[13, 14, 15])
    parser.add_argument("--train", default="{}", help="JSON laid over the recipe's train section, for ftdeploy's side")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--home", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        out, batch = options.home / f"{options.side} {options.seeds[0]}", SIDES[options.side]
        if batch is None:
            train_ours(options.home, out, options.seeds[0], json.loads(options.train))
        else:
            train_plain(options.home, out, options.seeds[0], batch)
        return
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        asked = {"recipe": str(options.recipe.resolve()), "limit": options.limit}
        (home / "asked.json").write_text(json.dumps(asked), encoding="utf-8")
        dataset = run_stage(FLOW[0], _recipe(home), {}, home / "dataset").artifact
        say(f"{options.recipe.name}: {dict(dataset.facts)}; train: {options.train}")
        found: dict[str, list[Training]] = {side: [] for side in SIDES}
        for turn, seed in enumerate(options.seeds):
            for side in list(SIDES)[:: 1 if turn % 2 == 0 else -1]:
                run = measure(home, side, seed, options.train)
                say(f"seed {seed}, {side}: {run.wall:.1f} s wall, {run.cpu:.1f} s processor, {run.right.mean():.4f}")
                found[side].append(run)
        report(found, say)


def _recipe(home: Path) -> Recipe:
    asked = json.loads((home / "asked.json").read_text(encoding="utf-8"))
    recipe = load_recipe(Path(asked["recipe"]))
    return recipe.model_copy(update={"data": recipe.data.model_copy(update={"limit": asked["limit"]})})


if __name__ == "__main__":
    main(lambda line: print(line, flush=True))  # noqa: T201 - printing is what it is for
