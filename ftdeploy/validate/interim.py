"""Statistics that are about to move into ``ftdeploy.statistics``."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import betaincinv

from ftdeploy.metrics import METRICS, Ids
from ftdeploy.statistics import Comparison, Estimate, compare


def share(hits: int, of: int, *, confidence: float) -> Estimate:
    """A share of rows with the ends of its interval, each one-sided (Clopper & Pearson 1934)."""
    lower = float(betaincinv(hits, of - hits + 1, 1 - confidence)) if hits else 0.0
    upper = float(betaincinv(hits + 1, of - hits, confidence)) if hits < of else 1.0
    return Estimate(value=hits / of, lower=lower, upper=upper)


def compare_accuracy(references: Ids, baseline: Ids, candidate: Ids, **keys: Any) -> Comparison:
    """Paired non-inferiority of an accuracy."""
    classes = int(np.concatenate([references, baseline, candidate]).max()) + 1
    return compare(METRICS["accuracy"], references, baseline, candidate, classes=max(2, classes), **keys)
