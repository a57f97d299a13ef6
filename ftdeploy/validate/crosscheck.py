"""The metrics once more, through `evaluate`: what the gates use must be what everybody else would compute."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any

from ftdeploy.errors import DependencyError
from ftdeploy.metrics import Floats, Ids
from ftdeploy.suite import suites_folder

#: Metric of ftdeploy -> the module that computes it as well, and with which options; those with the same name are not
#: listed. Of one class, ``f1:LABEL``, it is the module before the colon.
_MODULES: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "micro_f1": ("f1", {"average": "micro"}),
    "weighted_f1": ("f1", {"average": "weighted"}),
    "macro_precision": ("precision", {"average": "macro"}),
    "macro_recall": ("recall", {"average": "macro"}),
    "mcc": ("matthews_correlation", {}),
    "brier": ("brier_score", {}),
    "ece": ("expected_calibration_error", {}),
}


def metric_module(name: str) -> Path:
    """The file of the `evaluate.Metric` with this name.

    Raises:
        DependencyError: the installation is without it.
    """
    path = suites_folder() / "metrics" / f"{name}.py"
    if not path.is_file():
        raise DependencyError(
            f"the metric module {path} is missing",
            cause="the installation of ftdeploy is incomplete",
            fix="install ftdeploy again",
        )
    return path


#: `evaluate` without transformers: name of a module -> the module, where it was imported like that.
_light: dict[str, ModuleType] = {}


@contextmanager
def light_evaluate() -> Iterator[ModuleType]:
    """`evaluate`, without transformers and scipy.stats where nobody has imported it: only its evaluators want these,
    and importing them is two thirds of what judging a small model costs.

    Its modules leave sys.modules when the block ends: whoever imports `evaluate` later has it with its evaluators.
    """
    if "evaluate" in sys.modules or "transformers" in sys.modules:
        import evaluate

        yield evaluate
        return
    sys.modules.update(_light)
    without = [name for name in ("transformers", "scipy.stats") if name not in sys.modules]
    sys.modules.update(dict.fromkeys(without))  # type: ignore[arg-type] # None: how Python is told that there is none
    try:
        import evaluate
    finally:
        for name in without:
            del sys.modules[name]
    try:
        yield evaluate
    finally:
        names = [name for name in sys.modules if name.partition(".")[0] == "evaluate"]
        _light.update({name: sys.modules.pop(name) for name in names})


@contextmanager
def modules_in(folder: Path) -> Iterator[None]:
    """Have `evaluate` copy and import modules below a folder, and not below HOME, which may be read-only. Stands within
    `light_evaluate`.

    It imports the copies as the package ``evaluate_modules`` through sys.path; both are as before when the block ends.
    """
    from evaluate import config

    def take_imported() -> dict[str, ModuleType]:
        names = [name for name in sys.modules if name.partition(".")[0] == config.MODULE_NAME_FOR_DYNAMIC_MODULES]
        return {name: sys.modules.pop(name) for name in names}

    before, places, imported = config.HF_MODULES_CACHE, list(sys.path), take_imported()
    config.HF_MODULES_CACHE = folder
    # First: whoever has called `evaluate.load` before left another place with a package of this name, and it would win.
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        config.HF_MODULES_CACHE, sys.path[:] = before, places
        take_imported()
        sys.modules.update(imported)


def crosscheck(scores: Mapping[str, float], references: Ids, predictions: Ids, *, labels: Sequence[str] = (),
               probabilities: Floats | None = None) -> None:  # fmt: skip
    """Compute metrics with `evaluate` on the same predictions and compare.

    Args:
        scores: metric name -> what ftdeploy computed.
        references, predictions: class ids, int64, shape (rows,).
        labels: class id -> label, for metrics of one class.
        probabilities: of all classes, float, shape (rows, classes), for metrics that need them.

    Raises:
        DependencyError: a metric differs, or a module is missing.
    """
    with (
        TemporaryDirectory(prefix="ftdeploy-evaluate-") as folder,
        light_evaluate() as evaluate,
        modules_in(Path(folder) / "modules"),
    ):
        for name, ours in scores.items():
            module, options = _module(name, labels)
            metric = evaluate.load(str(metric_module(module)), cache_dir=folder, keep_in_memory=True)
            columns = {"references": references, "predictions": predictions, "prediction_scores": probabilities}
            given = {column: columns[column] for column in metric.features}
            theirs = metric.compute(**given, **options)[module]
            theirs = theirs[0] if isinstance(theirs, list) else theirs
            if not math.isclose(theirs, ours, rel_tol=1e-9, abs_tol=1e-12):
                raise DependencyError(
                    f"{name} is {ours!r} in ftdeploy and {theirs!r} through evaluate, on the same predictions",
                    cause=f"{metric_module(module)} was changed, or a version of evaluate computes otherwise",
                    fix="do not trust either number; install the pinned versions, or report this",
                )


def _module(name: str, labels: Sequence[str]) -> tuple[str, Mapping[str, Any]]:
    """The module of a metric and its options."""
    kind, colon, label = name.partition(":")
    if colon:
        return kind, {"average": None, "labels": [list(labels).index(label)]}
    return _MODULES.get(name, (name, {}))
