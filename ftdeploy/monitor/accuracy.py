"""Accuracy without labels, how far such an estimate was off under shifts of known accuracy; accuracy with labels."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import ndtri

from ftdeploy.monitor.result import AccuracyResult

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ftdeploy.drift import Features
    from ftdeploy.metrics import Floats

#: In the order of the columns of ``shift_error``.
ESTIMATORS = ("calibrated confidence", "average thresholded confidence", "difference of confidences")
#: Share of made shifts, scaled to the size of the one at hand, under which a valid estimate was within the tolerance.
#: The interval is for the worst of them, and a flag by it would refuse nearly every estimate, right or wrong.
_TRUST = 0.8
#: Added to every magnitude: at none, too, estimates err.
_FLOOR = 0.1
#: Shifts of the right magnitude that a bound is learned from at least.
_LEAST_SHIFTS = 10


def estimates(reference: Mapping[str, NDArray[Any]], window: Features) -> Floats:
    """Estimated accuracy of a window, float64, shape (3,), by each of `ESTIMATORS`.

    Calibrated confidence is the share of right reference rows among those of like confidence, averaged over the
    window. The second is the share of rows above the confidence that as many reference rows exceed as are right (Garg
    et al. 2022). The third is the reference's accuracy less what the mean confidence fell by (Guillory et al. 2021).
    """
    rows, right = reference["reliability_rows"], reference["reliability_right"]
    confusion = reference["confusion"]
    accuracy = float(np.trace(confusion) / confusion.sum())
    bins = np.searchsorted(reference["reliability_edges"][1:-1], window.confidence, side="right")
    calibrated = float((right / np.maximum(rows, 1))[bins].mean())
    thresholded = float((window.confidence >= float(reference["atc_threshold"])).mean())
    difference = accuracy - (float(reference["confidence_mean"]) - float(window.confidence.mean()))
    return np.clip(np.array([calibrated, thresholded, difference]), 0, 1)


def estimate_accuracy(reference: Mapping[str, NDArray[Any]], window: Features, *, magnitude: float,
                      tolerance: float, confidence: float = 0.95) -> AccuracyResult | None:  # fmt: skip
    """The accuracy of a window without labels, by the estimator that erred least under the reference's shifts.

    The validity flag is learned: packaging makes shifts whose accuracy is known (`ftdeploy.monitor.held_out`), and
    keeps for each how large it was and how far each estimator was off. Errors over magnitude are taken as exchangeable
    between these shifts and the one at hand, and their quantiles bound the error (split conformal, Vovk et al. 2005):
    the upper one the interval, that of `_TRUST` the flag. It says no where the latter is above the tolerance, or the
    shift is larger than any that was learned from. It cannot know of a shift of another kind: labels do.

    Args:
        reference: of `ftdeploy.drift`; None comes back for one without true labels.
        window: at least one row.
        magnitude: effect of the classifier test between reference and window.
        tolerance: the error that a valid estimate may have.
        confidence: of the bound and of each end.
    """
    if "confusion" not in reference:
        return None
    values = estimates(reference, window)
    confusion = reference["confusion"]
    accuracy = float(np.trace(confusion) / confusion.sum())
    chosen, bound, reason = _learned(reference, magnitude, tolerance, confidence)
    value = float(values[chosen])
    sampling = math.sqrt(max(value * (1 - value), 0.01) / len(window) + accuracy * (1 - accuracy) / confusion.sum())
    reach = math.hypot(float(ndtri(confidence)) * sampling, bound)
    return AccuracyResult(
        estimator=ESTIMATORS[chosen],
        reference=accuracy,
        value=value,
        lower=max(0.0, value - reach),
        upper=min(1.0, value + reach),
        error_bound=bound,
        valid=not reason,
        reason=reason or f"under at least {_TRUST:.0%} of shifts so large that were made at packaging, it was off by "
        f"at most {tolerance:.3f}",
        others={name: float(other) for name, other in zip(ESTIMATORS, values, strict=True)
                if name != ESTIMATORS[chosen]},
    )  # fmt: skip


def _learned(reference: Mapping[str, NDArray[Any]], magnitude: float, tolerance: float,
             confidence: float) -> tuple[int, float, str]:  # fmt: skip
    """The estimator, the bound of its error, and why it is not valid (empty: it is)."""
    if "shift_error" not in reference or len(reference["shift_error"]) < _LEAST_SHIFTS:
        return 0, 1.0, "the bundle holds no shifts of known accuracy to learn from"
    magnitudes, errors = reference["shift_magnitude"], np.abs(reference["shift_error"])
    scaled = errors / (magnitudes + _FLOOR)[:, None]
    ordered = np.sort(scaled, axis=0)
    upper, usual = (
        ordered[min(len(scaled) - 1, math.ceil((len(scaled) + 1) * share) - 1)] for share in (confidence, _TRUST)
    )
    chosen = int(np.argmin(usual))
    bound = min(1.0, float(upper[chosen]) * (magnitude + _FLOOR))
    error = float(usual[chosen]) * (magnitude + _FLOOR)
    if magnitude > float(magnitudes.max()):
        return chosen, bound, "the shift is larger than any whose accuracy was known at packaging"
    if error > tolerance:
        why = f"under {1 - _TRUST:.0%} of shifts so large it was off by more than {min(1.0, error):.3f}"
        return chosen, bound, f"{why}, and {tolerance:.3f} is tolerated"
    return chosen, bound, ""


def wilson(right: int, rows: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's (1927) score interval of a share, each end one-sided; (0, 1) without rows."""
    if not rows:
        return 0.0, 1.0
    z = float(ndtri(confidence))
    share, room = right / rows, z * z / rows
    middle = (share + room / 2) / (1 + room)
    reach = z * math.sqrt(share * (1 - share) / rows + room / (4 * rows)) / (1 + room)
    return max(0.0, middle - reach), min(1.0, middle + reach)


def prequential(right: NDArray[np.bool_], *, fading: float = 0.99) -> Floats:
    """Accuracy so far with the past fading, after each labelled row in turn (Gama, Sebastiao & Rodrigues 2013).

    Args:
        right: in the order of time, bool, shape (rows,).
        fading: what a row weighs of the one after it; 0.99 looks back over about a hundred.

    Returns:
        float64, shape (rows,).
    """
    found = np.empty(len(right))
    hits = weight = 0.0
    for place, one in enumerate(right.tolist()):
        hits, weight = hits * fading + one, weight * fading + 1
        found[place] = hits / weight
    return found
