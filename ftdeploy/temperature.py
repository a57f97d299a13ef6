"""Temperature scaling: one number that makes a model's probabilities mean what they say (Guo et al. 2017, "On
Calibration of Modern Neural Networks").

Logits are divided by it before the softmax. It is fitted on validation rows, by the likelihood of their true labels,
and changes no label and no order of labels: where a label holds from a threshold on, that moves along.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import numpy as np

from ftdeploy import progress
from ftdeploy.document import Section
from ftdeploy.metrics import SCORE_METRICS, Floats, Ids, score
from ftdeploy.signature import read_signature, write_signature
from ftdeploy.tasks.said import softmax

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from ftdeploy.artifact import Fact

#: Between these it is looked for: beyond, answers are as good as certain, or as good as no answers.
LOWEST, HIGHEST = 0.05, 20.0
#: A fit that gains less in log-likelihood over all rows is none: so much a fitted number must gain for the model to be
#: expected to do better on other rows (Akaike 1974).
LEAST_GAIN = 1.0


class Calibration(Section):
    """What a temperature does on the rows that it was fitted on."""

    temperature: float
    """What logits are divided by."""
    rows: int
    """Validation rows."""
    log_loss: float
    """Mean negative log-likelihood of the true labels, in nats, at this temperature."""
    log_loss_before: float
    """At a temperature of 1."""
    ece: float
    """Expected calibration error over 15 bins, at this temperature."""
    ece_before: float
    """At a temperature of 1."""
    reason: str
    """Why this temperature, in words."""

    def sentence(self) -> str:
        """All of it, for people."""
        return (
            f"Temperature {self.temperature:g} ({self.reason}): on {self.rows:,} validation rows log loss "
            f"{self.log_loss_before:.4f} -> {self.log_loss:.4f}, calibration error "
            f"{self.ece_before:.4f} -> {self.ece:.4f}."
        )

    def facts(self) -> dict[str, Fact]:
        """The figures, for an artifact."""
        return {"calibration": self.reason, "temperature": self.temperature, "log_loss_before": self.log_loss_before,
                "log_loss": self.log_loss, "ece_before": self.ece_before, "ece": self.ece}  # fmt: skip


def labelled(
    logits: NDArray[np.float32], targets: Ids | NDArray[np.float32] | Sequence[Sequence[int]]
) -> tuple[NDArray[np.float32], Ids]:
    """Logits with their true class ids, whatever has a label: rows, or tokens of rows.

    Args:
        logits: shape (rows, labels), or (rows, tokens, labels).
        targets: class ids, int64, shape (rows,); or one for each token of a row, negative where none is judged; or
            which labels hold, float32, shape (rows, labels).

    Returns:
        Shapes (n, labels) and (n,).
    """
    if logits.ndim == 2 and isinstance(targets, np.ndarray) and targets.ndim == 2:  # noqa: PLR2004
        # A sigmoid is a softmax against a logit of 0: each decision is a row with two labels.
        flat = logits.reshape(-1)
        return np.stack([np.zeros_like(flat), flat], axis=1), targets.reshape(-1).astype(np.int64)
    if logits.ndim == 2:  # noqa: PLR2004  # rows and labels
        return logits, np.asarray(targets, dtype=np.int64)
    pairs = [(one[: len(ids)], np.asarray(ids, dtype=np.int64)) for one, ids in zip(logits, targets, strict=True)]
    of, ids = (np.concatenate(parts) for parts in zip(*pairs, strict=True))
    return of[ids >= 0], ids[ids >= 0]


def calibrate(logits: NDArray[np.float32], references: Ids, wanted: float | Literal["fit"]) -> Calibration:
    """The temperature of a model, and what it does.

    Args:
        logits: as the model that is shipped gives them on validation rows: shape (rows, labels), at least one row.
        references: true class ids, int64, shape (rows,).
        wanted: ``export.temperature``.
    """
    given = np.asarray(logits, dtype=np.float64)
    temperature, reason = _fit(given, references) if wanted == "fit" else (wanted, "set by the recipe")
    after, before = (_Judged(given, references, one) for one in (temperature, 1.0))
    return Calibration(temperature=temperature, rows=len(given), log_loss=after.log_loss, ece=after.ece,
                       log_loss_before=before.log_loss, ece_before=before.ece, reason=reason)  # fmt: skip


def calibrate_folder(folder: Path, logits: NDArray[np.float32],
                     targets: Ids | NDArray[np.float32] | Sequence[Sequence[int]],
                     wanted: float | Literal["fit"]) -> Calibration:  # fmt: skip
    """`calibrate` a model folder: its signature is written anew with the temperature, and thresholds of sets where they
    keep every answer; what was found is said.

    Args:
        folder: the model's.
        logits, targets: of its answers to validation rows, as `labelled` takes them.
        wanted: ``export.temperature``.
    """
    found = calibrate(*labelled(logits, targets), wanted)
    before = read_signature(folder)
    same = of_the_same_logits(before.thresholds, before.temperature, found.temperature)
    changed = {"temperature": found.temperature, "thresholds": same}
    write_signature(folder, before.model_copy(update=changed))
    progress.say(found.sentence())
    return found


def of_the_same_logits(thresholds: Mapping[str, float], before: float, after: float) -> dict[str, float]:
    """Thresholds of sets under another temperature: each label holds of the same logits, so that no answer changes.

    Args:
        thresholds: label -> probability, above 0 and below 1.
        before, after: the temperatures.
    """
    return {label: _share(math.log(least / (1 - least)) * before / after) for label, least in thresholds.items()}


def _share(logit: float) -> float:
    """The logistic function, without overflow."""
    power = math.exp(-abs(logit))
    return (power if logit < 0 else 1.0) / (1 + power)


class _Judged:
    """Log loss and calibration error at a temperature."""

    def __init__(self, logits: Floats, references: Ids, temperature: float) -> None:
        self.log_loss = log_loss(logits, references, temperature)
        predictions = logits.argmax(axis=1)
        self.ece = score(SCORE_METRICS["ece"], references, predictions, logits.shape[1],
                         softmax(logits / temperature).astype(np.float64))  # fmt: skip


def log_loss(logits: Floats, references: Ids, temperature: float) -> float:
    """Mean negative log-likelihood of the true labels, in nats; not cut off where a probability is 0 in float32."""
    scaled = logits / temperature
    top = scaled.max(axis=1)
    total = top + np.log(np.exp(scaled - top[:, None]).sum(axis=1))
    return float((total - scaled[np.arange(len(scaled)), references]).mean())


def _fit(logits: Floats, references: Ids) -> tuple[float, str]:
    """The likeliest temperature, or 1 where the rows cannot say, and why."""
    from scipy.optimize import minimize_scalar

    rows = len(logits)
    if (logits.argmax(axis=1) == references).all():
        return 1.0, "not fitted: every validation row is right, so none tells how often the model is wrong"
    # In its logarithm: the loss is convex in 1 / temperature, so it has one minimum in any monotone scale.
    found = minimize_scalar(lambda power: log_loss(logits, references, float(np.exp(power))), method="bounded",
                            bounds=(np.log(LOWEST), np.log(HIGHEST)), options={"xatol": 1e-5})  # fmt: skip
    # Four digits: logits that differ by rounding between processors give the same temperature.
    temperature = float(f"{np.exp(found.x):.4g}")
    gain = rows * (log_loss(logits, references, 1.0) - log_loss(logits, references, temperature))
    if not gain > LEAST_GAIN:
        return 1.0, f"not fitted: {rows:,} validation rows do not tell {temperature:g} from 1"
    bound = next((one for one in (LOWEST, HIGHEST) if abs(np.log(temperature / one)) < 1e-3), None)  # noqa: PLR2004
    return (bound, "fitted, and held at the bound") if bound else (temperature, "fitted")
