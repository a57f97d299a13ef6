"""What each training technique brings on a recipe's own data, and what it costs; run by hand, prints a Markdown table.

Each technique is laid over the recipe alone, trained with several seeds through ftdeploy's own prepare and train, and
its checkpoint is measured on the test rows in fp32. A seed decides the split, too, so a technique is compared with the
plain recipe seed by seed: the interval is Student's t over the paired differences. With three seeds it is wide; that is
what three seeds can tell.

Seconds are those of the train stage alone. Processor seconds suffer less from neighbours than those on the clock.

Finished results are kept in a JSON lines file: stop it whenever you like, and start it again to go on. A training that
was interrupted begins anew, so that its time is its own.

Usage: ``python tests/benchmarks/techniques.py [--limit 2000] [--seeds 13 14 15] [--only plain focal ...] [--epochs 3]
[--set data.split.test=0.6] [--recipe recipes/sentiment.yaml] [--combine ema smoothing] [--out runs/techniques]
[--list]``; ``--limit 0`` takes all rows, ``--set`` is laid over the recipe for every training.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import stdtrit

from ftdeploy.artifact import Artifact
from ftdeploy.dataset import label_names, read_split
from ftdeploy.errors import FtdeployError
from ftdeploy.export import export
from ftdeploy.metrics import METRICS, score
from ftdeploy.prepare import prepare
from ftdeploy.recipe import Recipe, load_recipe
from ftdeploy.stage import run_stage
from ftdeploy.train import train

ROOT = Path(__file__).parents[2]
PLAIN = "plain"

#: Technique -> what is laid over the recipe, as ``--set`` takes it. ``TEACHER`` becomes the plain recipe's model of the
#: same seed.
TECHNIQUES: dict[str, tuple[str, ...]] = {
    PLAIN: (),
    "rate-halved": ("train.learning_rate=5.0e-5",),
    "rate-doubled": ("train.learning_rate=2.0e-4",),
    "schedule-cosine": ("train.schedule=cosine",),
    "schedule-cosine-with-restarts": ("train.schedule=cosine_with_restarts", "train.schedule_options={cycles: 2}"),
    "schedule-polynomial": ("train.schedule=polynomial", "train.schedule_options={power: 2}"),
    "schedule-constant": ("train.schedule=constant",),
    "schedule-constant-with-warmup": ("train.schedule=constant_with_warmup",),
    "schedule-inverse-sqrt": ("train.schedule=inverse_sqrt",),
    "schedule-one-cycle": ("train.schedule=one_cycle",),
    "schedule-on-plateau": ("train.schedule=reduce_lr_on_plateau", "train.schedule_options={patience: 0}"),
    "layerwise-decay": ("train.layerwise_decay=0.9",),
    "head-rate": ("train.head_learning_rate=5.0e-4",),
    "gradual-unfreezing": ("train.unfreeze={every: epoch, layers: 3}",),
    "freezing": ("train.freeze={layers: 2}",),
    "class-weights": ("train.class_weights=balanced",),
    "focal": ("train.focal_gamma=2",),
    "smoothing": ("train.label_smoothing=0.1",),
    "r-drop": ("train.r_drop=1",),
    "mixout": ("train.mixout=0.5",),
    "reinitialize": ("train.reinitialize_layers=1",),
    "lora": ("train.lora={rank: 8, alpha: 16}", "train.learning_rate=1.0e-3"),
    "ema": ("train.ema={decay: 0.99}",),
    "average-last": ("train.average_last=3",),
    "token-budget": ("train.batch_tokens=1000",),
    "quality-drop": ("data.quality={action: drop}",),
    "quality-down-weight": ("data.quality={action: down-weight}",),
    "near-duplicates-drop": ("data.duplicates={near: drop}",),
    "near-duplicates-ignored": ("data.duplicates={near: ignore}",),
    "self-distillation": ("train.teacher={path: TEACHER, temperature: 2, alpha: 0.5}",),
    "combination": (
        "train.layerwise_decay=0.9",
        "train.head_learning_rate=5.0e-4",
        "train.label_smoothing=0.1",
        "train.ema={decay: 0.99}",
    ),
}
#: A result is used again only if it was made with the very same of these.
_IDENTITY = ("technique", "seed", "overrides", "recipe")

Result = dict[str, Any]


def overrides_of(name: str, seed: int, options: argparse.Namespace) -> tuple[str, ...]:
    """All that is laid over the recipe for one training."""
    common = [f"seed={seed}"]
    common += [f"data.limit={options.limit}"] if options.limit else []
    common += [f"train.epochs={options.epochs}"] if options.epochs else []
    common += options.set
    return (*common, *options.techniques[name])


def identity(name: str, seed: int, options: argparse.Namespace) -> Result:
    """What a result belongs to; the recipe by its content."""
    return {
        "technique": name,
        "seed": seed,
        "overrides": list(overrides_of(name, seed, options)),
        "recipe": hashlib.sha256(options.recipe.read_bytes()).hexdigest()[:12],
    }


def read_results(file: Path) -> list[Result]:
    """The lines that were written whole."""
    found = []
    for line in file.read_text(encoding="utf-8").splitlines() if file.exists() else ():
        try:
            found.append(json.loads(line))
        except ValueError:  # cut short by a kill
            continue
    return found


def find(results: Sequence[Result], wanted: Result) -> Result | None:
    """The last result with this identity."""
    same = [one for one in results if all(one.get(key) == wanted[key] for key in _IDENTITY)]
    return same[-1] if same else None


def build(name: str, seed: int, options: argparse.Namespace) -> tuple[Recipe, Path]:
    """The recipe of one training, and its folder."""
    folder = options.out / name / str(seed)
    given = overrides_of(name, seed, options)
    if any("TEACHER" in one for one in given):
        given = tuple(one.replace("TEACHER", str(teacher(seed, options))) for one in given)
    return load_recipe(options.recipe, overrides=given), folder


def teacher(seed: int, options: argparse.Namespace) -> Path:
    """The plain recipe's model as an onnx artifact, trained now if it was not before."""
    recipe, folder = build(PLAIN, seed, options)
    dataset = run_stage(prepare, recipe, {}, folder / "dataset").artifact
    checkpoint = run_stage(train, recipe, {"dataset": dataset}, folder / "checkpoint").artifact
    found = run_stage(export, recipe, {"dataset": dataset, "checkpoint": checkpoint}, folder / "onnx").artifact
    return found.path.resolve()


def measure(name: str, seed: int, options: argparse.Namespace) -> Result:
    """Train once, and measure on the test rows."""
    recipe, folder = build(name, seed, options)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    dataset = run_stage(prepare, recipe, {}, folder / "dataset").artifact
    clock, processor = time.perf_counter(), time.process_time()
    checkpoint = run_stage(train, recipe, {"dataset": dataset}, folder / "checkpoint").artifact
    spent = {"wall": time.perf_counter() - clock, "cpu": time.process_time() - processor}
    scores, rows = test_scores(checkpoint, dataset, max_length=recipe.model.max_length)
    if name != PLAIN:  # the plain one may become a teacher
        shutil.rmtree(folder)
    return identity(name, seed, options) | spent | scores | {"test_rows": rows, "epochs": checkpoint.facts["epochs"]}


def test_scores(checkpoint: Artifact, dataset: Artifact, *, max_length: int) -> tuple[dict[str, float], str]:
    """Accuracy and macro-F1 of the checkpoint in fp32, and a digest that tells which rows they were measured on."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    table, labels = read_split(dataset, "test"), label_names(dataset)
    tokenizer = AutoTokenizer.from_pretrained(checkpoint.path, local_files_only=True)
    network = AutoModelForSequenceClassification.from_pretrained(checkpoint.path, local_files_only=True).eval()
    texts = table["text"].to_pylist()
    order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
    guesses = np.zeros(len(texts), dtype=np.int64)
    with torch.inference_mode():
        for start in range(0, len(order), 64):
            rows = order[start : start + 64]
            batch = tokenizer(
                [texts[index] for index in rows], truncation=True, max_length=max_length, padding=True,
                return_tensors="pt", return_token_type_ids=False,
            )  # fmt: skip
            guesses[rows] = network(**batch).logits.argmax(-1).numpy()
    truth = np.array([labels.index(label) for label in table["label"].to_pylist()], dtype=np.int64)
    found = {metric: score(METRICS[metric], truth, guesses, len(labels)) for metric in METRICS}
    return found, hashlib.sha256("\0".join(texts).encode()).hexdigest()[:12]


def interval(values: Sequence[float]) -> str:
    """Mean and 95% interval of Student's t; only the mean of a single value."""
    mean = statistics.fmean(values)
    if len(values) == 1:
        return f"{mean:+.4f}"
    half = float(stdtrit(len(values) - 1, 0.975)) * statistics.stdev(values) / len(values) ** 0.5
    return f"{mean:+.4f} [{mean - half:+.4f}, {mean + half:+.4f}]"


def table(names: Sequence[str], results: Mapping[tuple[str, int], Result], seeds: Sequence[int]) -> list[str]:
    """The lines of the Markdown table, in the order of the techniques; those without a result are left out."""
    titles = (
        "technique", "seeds", "accuracy", "macro-F1", "accuracy, difference to plain",
        "macro-F1, difference to plain", "seconds", "seconds / plain", "processor seconds / plain",
    )  # fmt: skip
    lines = [f"| {' | '.join(titles)} |", "|---" * len(titles) + "|"]
    for name in names:
        pairs = [
            (results[name, seed], results[PLAIN, seed])
            for seed in seeds
            if (name, seed) in results and (PLAIN, seed) in results
        ]
        if not pairs:
            continue
        mark = "" if all(one["test_rows"] == plain["test_rows"] for one, plain in pairs) else " *"
        means = [statistics.fmean(one[key] for one, _ in pairs) for key in ("accuracy", "macro_f1", "wall")]
        differences = [
            "" if name == PLAIN else interval([one[key] - plain[key] for one, plain in pairs])
            for key in ("accuracy", "macro_f1")
        ]
        ratios = [statistics.geometric_mean(one[key] / plain[key] for one, plain in pairs) for key in ("wall", "cpu")]
        lines.append(
            f"| {name}{mark} | {len(pairs)} | {means[0]:.4f} | {means[1]:.4f} | {differences[0]} | {differences[1]} "
            f"| {means[2]:.0f} | {ratios[0]:.2f} | {ratios[1]:.2f} |"
        )
    starred = any(" * |" in line for line in lines)
    return lines + (["", "\\* measured on other test rows than plain: it changes which rows there are."] * starred)


def parse_options() -> argparse.Namespace:
    """The command line, with the techniques that `--combine` adds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", type=Path, default=ROOT / "recipes" / "sentiment.yaml")
    parser.add_argument("--limit", type=int, default=2000, help="rows of all splits; 0 takes all")
    parser.add_argument("--seeds", type=int, nargs="+", default=[13, 14, 15])
    parser.add_argument("--epochs", type=int, default=0, help="0 takes the recipe's")
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE")
    parser.add_argument("--only", nargs="+", default=[], metavar="TECHNIQUE")
    parser.add_argument("--combine", nargs="+", action="append", default=[], metavar="TECHNIQUE")
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "techniques")
    parser.add_argument("--list", action="store_true", help="only print the techniques and the table so far")
    options = parser.parse_args()
    options.techniques = dict(TECHNIQUES)
    for parts in options.combine:
        options.techniques[" + ".join(parts)] = tuple(one for part in parts for one in TECHNIQUES[part])
    chosen = [*options.only, *(" + ".join(parts) for parts in options.combine)] or list(options.techniques)
    unknown = sorted(set(chosen) - options.techniques.keys())
    if unknown:
        parser.error(f"no technique {unknown[0]!r}; known: {', '.join(options.techniques)}")
    options.names = [name for name in options.techniques if name == PLAIN or name in chosen]
    return options


def announce(work: Sequence[tuple[str, int]], results: Sequence[Result], options: argparse.Namespace,
             say: Callable[[str], None]) -> None:  # fmt: skip
    """What is going to be done, and how long it will take as far as that is known."""
    rows = f"a sample of {options.limit:,} rows" if options.limit else "all rows"
    say(f"{len(work)} trainings on {rows} of {options.recipe.name}; results in {options.out / 'results.jsonl'}")
    known = [one for seed in options.seeds if (one := find(results, identity(PLAIN, seed, options)))]
    if work and known:
        each = statistics.fmean(one["wall"] for one in known)
        say(f"the plain training took {each:.0f} s, so about {each * len(work) / 60:.0f} minutes, techniques alike")
    elif work:
        say("how long they take is told after the first")


def main(say: Callable[[str], None]) -> None:
    """Train what is missing, then print the table."""
    options = parse_options()
    file = options.out / "results.jsonl"
    file.parent.mkdir(parents=True, exist_ok=True)
    results = read_results(file)
    wanted = [(name, seed) for seed in options.seeds for name in options.names]
    work = [one for one in wanted if find(results, identity(*one, options)) is None]
    if options.list:
        for name in options.names:
            say(f"{name}: {' '.join(options.techniques[name])}")
        work = []
    announce(work, results, options, say)
    if work:
        import ftdeploy.train.trainer  # noqa: F401  # takes seconds, which would else be those of the first training
    began = time.perf_counter()
    for done, (name, seed) in enumerate(work, start=1):
        try:
            result = measure(name, seed, options)
        except FtdeployError as error:  # the others are not to be lost
            say(f"{name}, seed {seed}: {error.what}; {error.fix}")
            continue
        with file.open("a", encoding="utf-8") as handle:
            handle.write(json.dumps(result) + "\n")
        results.append(result)
        left = (time.perf_counter() - began) / done * (len(work) - done) / 60
        say(
            f"{name}, seed {seed}: accuracy {result['accuracy']:.4f}, {result['wall']:.0f} s; "
            f"{len(work) - done} left, about {left:.0f} minutes"
        )
    found = {one: kept for one in wanted if (kept := find(results, identity(*one, options))) is not None}
    for line in table(options.names, found, options.seeds):
        say(line)


if __name__ == "__main__":
    main(lambda line: print(line, flush=True))  # noqa: T201 - printing is what it is for
