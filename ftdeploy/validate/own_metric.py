"""A metric of the user's own: a file with an `evaluate.Metric`, named in a suite by its path."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ftdeploy.errors import ConfigError
from ftdeploy.metrics import Floats, Ids
from ftdeploy.validate.crosscheck import light_evaluate, modules_in

_COLUMNS = ("predictions", "references", "prediction_scores")


@dataclass(frozen=True, kw_only=True)
class ModuleMetric:
    """An `ftdeploy.metrics.OwnMetric` out of an `evaluate.Metric`.

    Its interval is bootstrapped from at most 500 resamples of the rows (`ftdeploy.statistics.sampling.OWN_RESAMPLES`),
    because it is computed anew for each, and with the least favourable row of the rarest classes.

    Attributes:
        name: of the file, without ``.py``.
        path: the file.
        greater_is_better: what the class says in an attribute of this name; True without one.
        needs_scores: whether its features name ``prediction_scores``.
        columns: its features.
        module: the metric itself.
    """

    name: str
    path: Path
    greater_is_better: bool
    needs_scores: bool
    columns: tuple[str, ...]
    module: Any

    def compute(self, references: Ids, predictions: Ids, scores: Floats | None = None) -> float:
        """The metric over some rows.

        Args:
            references, predictions: class ids, int64, shape (rows,).
            scores: probabilities, float, shape (rows, classes), where ``needs_scores``.

        Raises:
            ConfigError: it raised an error, or answered with no finite number.
        """
        given = {"predictions": predictions, "references": references, "prediction_scores": scores}
        # Not `compute`, which writes the rows to a file: this runs once a resample.
        try:
            found = self.module._compute(**{name: given[name].tolist() for name in self.columns})  # type: ignore[union-attr]  # noqa: SLF001
        except Exception as error:
            raise ConfigError(
                f"the metric {self.path} failed on {len(references)} rows: {type(error).__name__}: {error}",
                cause="a resample may lack a class, or hold one row many times",
                fix="let the metric answer for any rows, with a number",
            ) from error
        return self._number(found)

    def _number(self, found: Any) -> float:
        numbers = dict(found) if isinstance(found, dict) else {}
        value = numbers.get(self.name, next(iter(numbers.values())) if len(numbers) == 1 else None)
        if isinstance(value, int | float) and math.isfinite(value):
            return float(value)
        raise ConfigError(
            f"the metric {self.path} answered with {found!r}",
            cause="a finite number is wanted, alone in a dict or under the file's name",
            fix=f"return {{{self.name!r}: NUMBER}} from _compute",
        )


@cache
def own_metric(path: Path) -> ModuleMetric:
    """Load a metric from a file.

    Args:
        path: a Python file with a class derived from `evaluate.Metric`. Its features are ``predictions`` and
            ``references`` (class ids), and ``prediction_scores`` (a list of probabilities a row) or some of these. It
            is run as code: name only files that you trust.

    Raises:
        ConfigError: there is no such file, it cannot be loaded, or wants other columns.
    """
    if not path.is_file():
        raise ConfigError(
            f"there is no metric {path}",
            cause="the path is misspelt; it is relative to the suite's folder",
            fix="correct it, or name a metric of ftdeploy",
        )
    with (
        TemporaryDirectory(prefix="ftdeploy-evaluate-") as folder,
        light_evaluate() as evaluate,
        modules_in(Path(folder) / "modules"),
    ):
        try:
            module = evaluate.load(str(path), cache_dir=folder, keep_in_memory=True)
            # A metric may take rows of several kinds; the first is its usual one.
            columns = tuple(module.features[0] if isinstance(module.features, list) else module.features)
        except Exception as error:
            raise ConfigError(
                f"the metric {path} cannot be loaded: {type(error).__name__}: {error}",
                cause="it holds no class derived from evaluate.Metric, or imports what is not installed",
                fix="compare it with the metrics in evaluation_suites/metrics",
            ) from error
    others = sorted(set(columns) - set(_COLUMNS))
    if others or not columns:
        raise ConfigError(
            f"the metric {path} wants {', '.join(others) or 'nothing'}",
            cause="a metric of a suite is given class ids and probabilities",
            fix=f"let its features be some of: {', '.join(_COLUMNS)}",
        )
    return ModuleMetric(
        name=path.stem,
        path=path,
        greater_is_better=bool(getattr(module, "greater_is_better", True)),
        needs_scores="prediction_scores" in columns,
        columns=columns,
        module=module,
    )
