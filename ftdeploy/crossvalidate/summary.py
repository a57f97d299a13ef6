"""What the folds say together: means, intervals, and the page for people."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ftdeploy.artifact import Artifact
from ftdeploy.charts import interval_chart
from ftdeploy.folds import OutOfFold
from ftdeploy.metrics import METRICS
from ftdeploy.page import Page, Part, Table
from ftdeploy.recipe import Recipe
from ftdeploy.statistics import estimate
from ftdeploy.tasks import TASKS

if TYPE_CHECKING:
    from numpy.typing import NDArray

_INTERVAL = "t interval over the folds, variance corrected as in Nadeau & Bengio (2003)"
_POOLED = "all held-out rows together, bootstrap over the rows"


def corrected_interval(values: Sequence[float], *, confidence: float) -> tuple[float, float]:
    """Ends of the two-sided t interval of the mean over the folds of one cross-validation.

    The folds' training parts overlap, so their values vary less than those of independent trainings would. Nadeau &
    Bengio (2003, "Inference for the Generalization Error", Machine Learning 52) replace the factor 1/k of the variance
    by 1/k + (rows held out) / (rows trained on), which for k folds is 1/k + 1/(k - 1).

    Args:
        values: of a metric, one a fold; at least two.
        confidence: of the interval.
    """
    from scipy.special import stdtrit

    folds = len(values)
    spread = float(np.std(values, ddof=1)) * math.sqrt(1 / folds + 1 / (folds - 1))
    reach = float(stdtrit(folds - 1, (1 + confidence) / 2)) * spread
    mean = float(np.mean(values))
    return mean - reach, mean + reach


def answers(found: OutOfFold) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    """True ids, predicted ids, and how many labels there are, as metrics want them."""
    ids = {name: index for index, name in enumerate(found.names)}
    references = np.array([ids[label] for label in found.labels], dtype=np.int64)
    return references, found.probabilities.argmax(axis=1).astype(np.int64), len(found.names)


def summarise(recipe: Recipe, dataset: Artifact, together: OutOfFold, folds: list[dict[str, Any]]) -> dict[str, Any]:
    """The result as plain data.

    Args:
        recipe: names the metrics, the confidence and the seed.
        dataset: whose rows they are.
        together: the predictions of all folds.
        folds: what is noted of each.
    """
    settings = recipe.cross_validation
    references, predictions, classes = answers(together)
    metrics = {}
    for name in TASKS[recipe.task].metrics:
        values = [one["metrics"][name] for one in folds]
        lower, upper = corrected_interval(values, confidence=settings.confidence)
        # Each end of an estimate is one-sided.
        pooled = estimate(METRICS[name], references, predictions, classes, confidence=(1 + settings.confidence) / 2,
                          seed=recipe.seed)  # fmt: skip
        metrics[name] = {
            "folds": values,
            "mean": float(np.mean(values)),
            "lower": lower,
            "upper": upper,
            "standard_deviation": float(np.std(values, ddof=1)),
            "pooled": {"value": pooled.value, "lower": pooled.lower, "upper": pooled.upper},
        }
    return {
        "name": recipe.name,
        "folds": settings.folds,
        "rows": len(together.ids),
        "test_rows_included": settings.all,
        "confidence": settings.confidence,
        "interval": _INTERVAL,
        "pooled": _POOLED,
        "dataset": dataset.digest,
        "metrics": metrics,
        "each_fold": [{name: one[name] for name in one if name not in ("key", "predictions")} for one in folds],
    }


def page(found: dict[str, Any]) -> Page:
    """The page for people, from what `summarise` returned."""
    percent = f"{found['confidence']:.0%}"
    parts = []
    for name, one in found["metrics"].items():
        rows = [(f"fold {n}", value, value, value) for n, value in enumerate(one["folds"], start=1)]
        rows.append(("mean of the folds", one["mean"], one["lower"], one["upper"]))
        rows.append(("all rows together", *(one["pooled"][end] for end in ("value", "lower", "upper"))))
        chart = interval_chart(rows, title=f"{name} by fold, with {percent} intervals", x=name)
        cells = [
            (label, f"{value:.4f}", "" if label.startswith("fold ") else f"{low:.4f} to {high:.4f}")
            for label, value, low, high in rows
        ]
        parts.append(Part(heading=name, charts=[chart], table=Table(columns=("", "#value", "#interval"), rows=cells)))
    folds = [
        [str(one["fold"]), *(f"{one['rows'][name]:,}" for name in ("train", "validation", "test")),
         f"{one['best_epoch']} of {one['epochs']}", one["checkpoint"][:12]]
        for one in found["each_fold"]
    ]  # fmt: skip
    columns = ("fold", "#trained on", "#validation", "#held out", "#best epoch", "checkpoint")
    parts.append(Part(heading="The folds", table=Table(columns=columns, rows=folds)))
    seen = "All rows were divided, the test rows, too." if found["test_rows_included"] else "No test row was used."
    return Page(
        title=f"Cross-validation of {found['name']}",
        summary=f"{found['folds']} folds over {found['rows']:,} rows, stratified, groups and equal texts undivided. "
        f"{seen} Mean: {found['interval']}, {percent}. Together: {found['pooled']}.",
        tiles=[(f"{name}, {percent} {one['lower']:.3f} to {one['upper']:.3f}", f"{one['mean']:.4f}")
               for name, one in found["metrics"].items()],
        parts=parts,
    )  # fmt: skip
