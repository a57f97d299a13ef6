"""All recipes in one table: what each reaches, beside a baseline that needs no network. By hand; what a run has done
already is not done again.

    python tests/benchmarks/recipe_table.py [recipes/NAME.yaml ...] [--runs runs] [--no-run]

The baseline of texts with labels is logistic regression on TF-IDF, as it comes and tuned on the validation rows
(`tfidf_baseline.py`), of pairs what common words tell (`pair_baseline.py`), of entities a dictionary
(`entity_baseline.py`), on the same rows; vectors have none. The model is better where the lower end of the shipped
one's interval lies above it. Intervals are those of the report, 95% at each end. Minutes are of training.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import entity_baseline  # type: ignore[import-not-found]  # beside this file when it runs
import pair_baseline  # type: ignore[import-not-found]  # likewise
import tfidf_baseline  # type: ignore[import-not-found]  # likewise

from ftdeploy.artifact import open_artifact
from ftdeploy.recipe import load_recipe
from ftdeploy.tasks import TASKS
from ftdeploy.verdict import Scored, read_report

ROOT = Path(__file__).resolve().parents[2]
_COLUMNS = (
    "recipe", "test rows", "metric", "baseline", "tuned", "fp32", "shipped", "better than both", "what ships", "MB",
    "times smaller", "throughput", "training", "verdict",
)  # fmt: skip


def row(recipe: Path, run: Path) -> Iterator[str]:
    """The cells of a finished run."""
    report = read_report(run / "report" / "report.json")
    facts = {kind: open_artifact(run / kind).facts for kind in ("checkpoint", "compressed")}
    first, size = report.metrics[0], [sum(path.stat().st_size for path in (run / kind).glob("*.onnx"))
                                      for kind in ("onnx", "compressed")]  # fmt: skip
    baselines = [found[first.metric] for found in _baselines(recipe, run) if first.metric in found]
    yield recipe.stem
    yield f"{report.rows:,}"
    yield first.metric
    yield from [*(f"{one:.4f}" for one in baselines), "", ""][:2]
    yield _interval(first.baseline)
    yield _interval(first.candidate)
    yield _better(first.candidate, max(baselines)) if baselines else ""
    yield str(facts["compressed"]["winner"])
    yield f"{size[1] / 1e6:.1f}"
    yield f"{size[0] / size[1]:.1f}"
    yield next((f"{cost.ratio:.2f}x" for cost in report.costs if cost.cost == "throughput"), "")
    yield f"{float(facts['checkpoint']['seconds']) / 60:.1f} min" if "seconds" in facts["checkpoint"] else "none"
    yield report.verdict


def _baselines(recipe: Path, run: Path) -> list[dict[str, float]]:
    """By metric: what needs no network, as it comes and tuned on the validation rows."""
    task, dataset = TASKS[load_recipe(recipe).task], open_artifact(run / "dataset", kind="dataset")
    if task.vectors:
        return []
    if load_recipe(recipe).data.columns.text_pair is not None:
        return [one for _, one in pair_baseline.measure(dataset)]
    return [entity_baseline.measure(dataset)] if task.per_token else [one for _, one in tfidf_baseline.measure(dataset)]


def _better(found: Scored, baseline: float) -> str:
    if found.lower > baseline:
        return "yes"
    return "not shown" if found.value > baseline else "no"


def _interval(found: Scored) -> str:
    return f"{found.value:.4f} [{found.lower:.4f}, {found.upper:.4f}]"


def main(say: Callable[[str], None]) -> None:
    """A table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipes", type=Path, nargs="*", default=sorted((ROOT / "recipes").glob("*.yaml")))
    parser.add_argument("--runs", type=Path, default=ROOT / "runs")
    parser.add_argument("--no-run", action="store_true", help="only what has been run")
    asked = parser.parse_args()
    say(f"| {' | '.join(_COLUMNS)} |")
    say("|" + "---|" * len(_COLUMNS))
    for recipe in asked.recipes:
        run = asked.runs / recipe.stem
        if not asked.no_run:  # a failed gate leaves a report, and its row says so
            subprocess.run([sys.executable, "-m", "ftdeploy", "run", str(recipe), "--out", str(run)], check=False)
        if not (run / "report" / "artifact.json").is_file():
            say(f"| {recipe.stem} | not run" + " |" * (len(_COLUMNS) - 1))
            continue
        say(f"| {' | '.join(row(recipe, run))} |")


if __name__ == "__main__":
    main(lambda line: print(line, flush=True))  # noqa: T201 - printing is what it is for
