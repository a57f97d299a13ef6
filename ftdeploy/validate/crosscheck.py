"""The metrics once more, through `evaluate`: what the gates use must be what everybody else would compute."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType

from ftdeploy.errors import DependencyError
from ftdeploy.metrics import Ids
from ftdeploy.suite import suites_folder


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


@contextmanager
def _modules_in(folder: Path) -> Iterator[None]:
    """Have `evaluate` copy and import modules below a folder, and not below HOME, which may be read-only.

    It imports the copies as the package ``evaluate_modules`` through sys.path; both are as before when the block ends.
    """
    from evaluate import config

    def take_imported() -> dict[str, ModuleType]:
        names = [name for name in sys.modules if name.partition(".")[0] == config.MODULE_NAME_FOR_DYNAMIC_MODULES]
        return {name: sys.modules.pop(name) for name in names}

    before, places, imported = config.HF_MODULES_CACHE, list(sys.path), take_imported()
    config.HF_MODULES_CACHE = folder
    try:
        yield
    finally:
        config.HF_MODULES_CACHE, sys.path[:] = before, places
        take_imported()
        sys.modules.update(imported)


def crosscheck(scores: Mapping[str, float], references: Ids, predictions: Ids) -> None:
    """Compute metrics with `evaluate` on the same predictions and compare.

    Args:
        scores: metric name -> what ftdeploy computed.
        references, predictions: class ids, int64, shape (rows,).

    Raises:
        DependencyError: a metric differs, or a module is missing.
    """
    import evaluate

    with TemporaryDirectory(prefix="ftdeploy-evaluate-") as folder, _modules_in(Path(folder) / "modules"):
        for name, ours in scores.items():
            metric = evaluate.load(str(metric_module(name)), cache_dir=folder, keep_in_memory=True)
            theirs = metric.compute(predictions=predictions, references=references)[name]
            if not math.isclose(theirs, ours, rel_tol=1e-9, abs_tol=1e-12):
                raise DependencyError(
                    f"{name} is {ours!r} in ftdeploy and {theirs!r} through evaluate, on the same predictions",
                    cause=f"{metric_module(name)} was changed, or a version of evaluate computes otherwise",
                    fix="do not trust either number; install the pinned versions, or report this",
                )
