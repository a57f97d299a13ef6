"""How much of the traffic differs in one feature, in shares of rows, with interval and exact permutation p-value.

Every effect here is a share: at least so much of the window's probability stands elsewhere than in the reference. One
threshold then means the same for labels, lengths and confidences. The population stability index is not among them: its
usual limit of 0.2 is exceeded by chance alone in most windows of 20 rows, and by no fixed effect in large ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from ftdeploy.monitor.two_sample import PERMUTATIONS, Measured

if TYPE_CHECKING:
    from ftdeploy.metrics import Floats, Ids

_RESAMPLES = 1000

Distance = Callable[["Floats", "Floats"], "Floats"]


def total_variation(one: Floats, other: Floats) -> Floats:
    """Half the sum of absolute differences of shares, over the last axis: the share of rows with another label."""
    return np.asarray(np.abs(one - other).sum(axis=-1) / 2)


def kolmogorov(one: Floats, other: Floats) -> Floats:
    """The greatest difference of the cumulated shares, over the last axis: the share that moved over some limit."""
    return np.asarray(np.abs(np.cumsum(one - other, axis=-1)).max(axis=-1))


def compare_counts(reference: Ids, window: Ids, distance: Distance, *, seed: int,
                   confidence: float = 0.95) -> Measured:  # fmt: skip
    """A distance between two histograms.

    The p-value is that of rows dealt anew to both samples (multivariate hypergeometric, exact but for the number of
    deals). The lower end is that of the basic bootstrap and the upper one of the percentile bootstrap: distances are
    biased upwards, which the first takes off and the second leaves, so that neither end promises too much.

    Args:
        reference, window: rows in each bin, int64, shape (bins,); at least one row each.
        distance: of shares, over the last axis.
        seed: of deals and resamples.
        confidence: of each end.
    """
    generator = np.random.default_rng(seed)
    here, there = int(window.sum()), int(reference.sum())
    observed = float(distance(window / here, reference / there))
    pooled = reference + window
    dealt = generator.multivariate_hypergeometric(pooled, here, size=PERMUTATIONS, method="marginals")
    null = distance(dealt / here, (pooled - dealt) / there)
    p = (1 + int((null >= observed - 1e-12).sum())) / (PERMUTATIONS + 1)
    drawn = distance(generator.multinomial(here, window / here, size=_RESAMPLES) / here,
                     generator.multinomial(there, reference / there, size=_RESAMPLES) / there)  # fmt: skip
    # A bin that no row fell into may still hold so much: resamples never show it.
    unseen = 1 - (1 - confidence) ** (1 / here)
    high = max(float(np.quantile(drawn, confidence)), unseen)
    return Measured(p=p, effect=observed, lower=max(0.0, min(observed, 2 * observed - high)),
                    upper=min(1.0, max(high, observed)))  # fmt: skip


def sizes_of_shares(reference: Ids, window: Ids) -> dict[str, float]:
    """Effect sizes of shares by name: the greatest Cohen's h of any bin, the difference of arcsines (Cohen 1988).

    Args:
        reference, window: rows in each bin, int64, shape (bins,); at least one row each.
    """
    angles = [2 * np.arcsin(np.sqrt(counts / counts.sum())) for counts in (reference, window)]
    return {"Cohen's h": float(np.abs(angles[1] - angles[0]).max())}


def sizes_of_numbers(reference: Ids, window: Ids, edges: Floats) -> dict[str, float]:
    """Effect sizes of numbers by name, as far as bins tell, each row standing in the middle of its own.

    Cohen's d is the difference of the means in standard deviations of both samples pooled, above 0 where the window's
    is larger; Wasserstein's distance (of order 1) is in the feature's own unit.

    Args:
        reference, window: rows in each bin, int64, shape (bins,); at least one row each.
        edges: of the bins, float64, shape (bins + 1,).
    """
    middles = (edges[1:] + edges[:-1]) / 2
    before, now = reference / reference.sum(), window / window.sum()
    means = [float(shares @ middles) for shares in (before, now)]
    squares = sum(float(counts @ (middles - mean) ** 2)
                  for counts, mean in zip((reference, window), means, strict=True))  # fmt: skip
    spread = math.sqrt(squares / max(1, int(reference.sum() + window.sum()) - 2))
    moved = np.abs(np.cumsum(now - before)[:-1]) @ np.diff(middles)
    return {
        "Cohen's d": (means[1] - means[0]) / spread if spread else 0.0,
        "Wasserstein distance": float(moved),
    }


def binned(values: Floats, edges: Floats) -> Ids:
    """A histogram over the edges of a drift reference; what lies outside falls into the outer bins."""
    return np.histogram(np.clip(values, edges[0], edges[-1]), edges)[0].astype(np.int64)
