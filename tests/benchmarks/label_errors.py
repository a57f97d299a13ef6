"""Planted label errors: how many of the suspects are planted, and what dropping them is worth. Run by hand.

A share of the training labels of a recipe is flipped at random (5%), and the search for wrong labels (`data.quality`)
is run on them. Printed per source of the probabilities: the share of planted rows among the first 200 suspects, with
Wilson's interval. A share below 1 does not mean that the others are right: the data has wrong labels of its own. Then
the accuracy on the untouched test rows of a model trained without the suspects, or with them weighed down, against one
trained on all rows, with the paired one-sided 95% ends of `ftdeploy.statistics.compare`; by logistic regression on
TF-IDF, and with ``--fine-tune`` by the recipe's own training (`ftdeploy cross-validate` for the probabilities, and
`ftdeploy run --until train` for each way). Finished runs are kept in ``--out``, so it can be ended and run again.

    python tests/benchmarks/label_errors.py                         # TF-IDF alone: a few minutes
    python tests/benchmarks/label_errors.py --encoder               # also with embeddings of the recipe's checkpoint
    python tests/benchmarks/label_errors.py --fine-tune --seeds 1   # seven trainings for each seed: hours
    python tests/benchmarks/label_errors.py --seeds 1 --out-of-fold FILE   # FILE: of OUT/seed-0's own cross-validation
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ftdeploy.artifact import Artifact
from ftdeploy.crossvalidate import FOLDER, PREDICTIONS, cross_validate
from ftdeploy.crossvalidate.fold import predict
from ftdeploy.dataset import SPLITS, label_names, read_split
from ftdeploy.metrics import METRICS, Ids
from ftdeploy.pipeline import run_recipe
from ftdeploy.prepare import prepare
from ftdeploy.recipe import DataSettings, Recipe, load_recipe
from ftdeploy.stage import run_stage
from ftdeploy.statistics import compare

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, kw_only=True)
class Planted:
    """A recipe whose training labels were flipped here and there.

    Attributes:
        recipe: over the files in `folder`.
        folder: of everything that belongs to this seed.
        ids: names of the flipped rows, as they are in the dataset.
        rows: training rows.
    """

    recipe: Recipe
    folder: Path
    ids: frozenset[str]
    rows: int


def plant(recipe: Recipe, clean: Artifact, folder: Path, *, share: float, seed: int) -> Planted:
    """Write the splits of a dataset as files, with flipped labels in train, and a recipe over them."""
    folder.mkdir(parents=True, exist_ok=True)
    random, labels = np.random.default_rng(seed), label_names(clean)
    flipped: set[str] = set()
    for name in SPLITS:
        rows = read_split(clean, name).to_pylist()
        if name == "train":
            for place in random.choice(len(rows), round(share * len(rows)), replace=False).tolist():
                others = [label for label in labels if label != rows[place]["label"]]
                rows[place]["label"] = others[int(random.integers(len(others)))]
                flipped.add(str(place))
        lines = [json.dumps(row | {"id": str(place)}, ensure_ascii=False) for place, row in enumerate(rows)]
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    sources = [{"name": name, "path": folder / f"{name}.jsonl", "role": name} for name in SPLITS]
    columns = {"group": "group", "id": "id"}
    data = DataSettings.model_validate({"sources": sources, "columns": columns, "labels": labels})
    made = recipe.model_copy(update={"data": data})
    table = read_split(run_stage(prepare, made, {}, folder / "dataset").artifact, "train")
    # The name of the source stands before the id of a row, with something between.
    ids = frozenset(name for name in table["id"].to_pylist() if name.removeprefix("train")[1:] in flipped)
    if len(ids) != len(flipped):
        raise SystemExit(f"{len(flipped)} rows were flipped and {len(ids)} are found again")
    return Planted(recipe=made, folder=folder, ids=ids, rows=len(table))


def with_quality(planted: Planted, **quality: Any) -> Recipe:
    """The recipe with a section `data.quality`."""
    data = {name: getattr(planted.recipe.data, name) for name in DataSettings.model_fields} | {"quality": quality}
    return planted.recipe.model_copy(update={"data": DataSettings.model_validate(data)})


def suspects(dataset: Artifact) -> list[str]:
    """The suspect training rows, the surest first."""
    with dataset.file("suspects.csv").open(encoding="utf-8", newline="") as handle:
        rows = [row for row in csv.DictReader(handle) if row["issue"] == "label" and row["split"] == "train"]
    return [row["id"] for row in rows]


def wilson(hits: int, of: int, z: float = 1.96) -> tuple[float, float]:
    """The interval of a share (Wilson 1927)."""
    share, square = hits / of, z * z
    middle = (share + square / (2 * of)) / (1 + square / of)
    half = z * np.sqrt(share * (1 - share) / of + square / (4 * of * of)) / (1 + square / of)
    return middle - half, middle + half


def quick_answers(dataset: Artifact, test: Any, *, weights: Mapping[str, float]) -> Ids:
    """Answers to the test rows by logistic regression on TF-IDF; a row that weighs 0 is left out."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    rows = [row for row in read_split(dataset, "train").to_pylist() if weights.get(row["id"], 1.0) > 0]
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2)
    matrix = vectorizer.fit_transform([row["text"] for row in rows])
    weight = [weights.get(row["id"], 1.0) for row in rows]
    model = LogisticRegression(max_iter=1000).fit(matrix, [row["label"] for row in rows], weight)
    return as_ids(model.predict(vectorizer.transform(test["text"].to_pylist())).tolist(), label_names(dataset))


def as_ids(values: Sequence[str], labels: Sequence[str]) -> Ids:
    """Label names as class ids."""
    return np.array([labels.index(value) for value in values], dtype=np.int64)


def say(line: str) -> None:
    """Print a line at once."""
    print(line, flush=True)  # noqa: T201 - printing is what it is for


def say_compared(name: str, keep: Ids, other: Ids, truth: Ids, classes: int) -> float:
    """A line with the accuracy of both and the interval of the difference, which is returned."""
    found = compare(METRICS["accuracy"], truth, keep, other, classes=classes, margin=0.0)
    ends = f"[{found.lower:+.4f}, {found.upper:+.4f}]"
    say(f"    {name:<34} {found.candidate:.4f} against {found.baseline:.4f}: {found.difference:+.4f} {ends}")
    return found.difference


def quick(dataset: Artifact, ways: Mapping[str, Sequence[str]]) -> dict[str, float]:
    """Compare training without some rows with training on all, by TF-IDF; the differences by way."""
    test, labels = read_split(dataset, "test"), label_names(dataset)
    truth = as_ids(test["label"].to_pylist(), labels)
    keep = quick_answers(dataset, test, weights={})
    found = {}
    for name, ids in ways.items():
        weight = 0.2 if name.startswith("weigh down") else 0.0
        other = quick_answers(dataset, test, weights=dict.fromkeys(ids, weight))
        found[name] = say_compared(name, keep, other, truth, len(labels))
    return found


def fine_tune(planted: Planted, top: int, differences: dict[str, list[float]]) -> Artifact:
    """Cross-validate the recipe's own model, then train on all rows, without suspects, and with them weighed down."""
    out = planted.folder / "fine_tuned"
    cross_validate(planted.recipe, out)
    predictions = out / FOLDER / PREDICTIONS
    listed = with_quality(planted, out_of_fold=predictions, listed=100_000)
    dataset = run_stage(prepare, listed, {}, planted.folder / "suspects fine-tuned").artifact
    answers: dict[str, Ids] = {}
    test, labels = read_split(dataset, "test"), label_names(dataset)
    for action in ("report", "drop", "down-weight"):
        recipe = with_quality(planted, out_of_fold=predictions, action=action, max_share=top / planted.rows)
        made = run_recipe(recipe, planted.folder / f"fine-tuned {action}", until="train")
        found = predict(made["checkpoint"], test["text"].to_pylist(), recipe)
        answers[action] = found.argmax(axis=1).astype(np.int64)
    truth = as_ids(test["label"].to_pylist(), labels)
    say("  fine-tuned, suspects by its own cross-validation:")
    for action in ("drop", "down-weight"):
        difference = say_compared(action, answers["report"], answers[action], truth, len(labels))
        differences.setdefault(f"{action}, fine-tuned", []).append(difference)
    return dataset


def one_seed(planted: Planted, options: argparse.Namespace,
             differences: dict[str, list[float]]) -> dict[str, list[str]]:  # fmt: skip
    """Suspects by source of the probabilities; says, and adds to ``differences``, what dropping them is worth."""
    sources: dict[str, dict[str, Any]] = {"tfidf": {}}
    if options.encoder:
        sources["tfidf + encoder"] = {"encoder": encoder(planted.recipe)}
    if options.out_of_fold is not None:
        sources["out of fold"] = {"out_of_fold": options.out_of_fold}
    found = {}
    for name, keys in sources.items():
        recipe = with_quality(planted, **keys, listed=100_000)
        dataset = run_stage(prepare, recipe, {}, planted.folder / f"suspects {name}").artifact
        found[name] = suspects(dataset)
        say(f"  TF-IDF and logistic regression, suspects by {name}:")
        top = found[name][: options.top]
        ways = {f"drop {len(top)} suspects": top, f"weigh down {len(top)} suspects": top,
                "drop all suspects": found[name], f"drop the {len(planted.ids)} planted": planted.ids}  # fmt: skip
        for way, difference in quick(dataset, {way: sorted(ids) for way, ids in ways.items()}).items():
            differences.setdefault(f"{way}, by {name}", []).append(difference)
    if options.fine_tune:
        found["fine-tuned"] = suspects(fine_tune(planted, options.top, differences))
    return found


def encoder(recipe: Recipe) -> dict[str, Any]:
    """The origin of the recipe's checkpoint."""
    names = ("path", "url", "package", "hub", "revision", "sha256", "member")
    return {name: getattr(recipe.model, name) for name in names if getattr(recipe.model, name) is not None}


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--recipe", type=Path, default=ROOT / "recipes" / "sentiment.yaml")
    parser.add_argument("--seeds", type=int, default=3, help="how many times the labels are flipped anew")
    parser.add_argument("--share", type=float, default=0.05, help="of the training labels that are flipped")
    parser.add_argument("--top", type=int, default=200, help="suspects that are counted, and dropped")
    parser.add_argument("--limit", type=int, default=None, help="a sample of so many rows, for trying it out")
    parser.add_argument("--encoder", action="store_true", help="also with embeddings of the recipe's checkpoint")
    parser.add_argument("--out-of-fold", type=Path, default=None, help="also with these probabilities (one seed)")
    parser.add_argument("--fine-tune", action="store_true", help="also by fine-tuning: hours on a processor")
    parser.add_argument("--out", type=Path, default=Path("label_errors"), help="folder of what is made")
    return parser.parse_args()


def main() -> None:
    options = parse()
    overrides = [] if options.limit is None else [f"data.limit={options.limit}"]
    recipe = load_recipe(options.recipe, overrides=overrides)
    clean = run_stage(prepare, recipe, {}, options.out / "clean").artifact
    hits: dict[str, list[tuple[int, int]]] = {}
    differences: dict[str, list[float]] = {}
    for seed in range(options.seeds):
        planted = plant(recipe, clean, options.out / f"seed-{seed}", share=options.share, seed=seed)
        say(f"seed {seed}: {len(planted.ids):,} of {planted.rows:,} training labels flipped")
        for name, ids in one_seed(planted, options, differences).items():
            top = ids[: options.top]
            found = len(planted.ids.intersection(top))
            hits.setdefault(name, []).append((found, len(top)))
            say(f"  planted among the first {len(top)} suspects by {name}: {found / len(top):.3f}")
    say(f"planted rows among the first {options.top} suspects (base rate {options.share:.1%}):")
    for name, counts in hits.items():
        total, of = (sum(pair[part] for pair in counts) for part in (0, 1))
        low, high = wilson(total, of)
        each = ", ".join(f"{right / number:.3f}" for right, number in counts)
        say(f"  {name:<18} {total / of:.3f} [{low:.3f}, {high:.3f}]  by seed: {each}")
    say("accuracy against training on all rows, mean over the seeds (and each):")
    for name, values in differences.items():
        say(f"  {name:<42} {np.mean(values):+.4f}  ({', '.join(f'{value:+.4f}' for value in values)})")


if __name__ == "__main__":
    main()
