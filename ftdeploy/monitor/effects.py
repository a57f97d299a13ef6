"""How much of the traffic differs in one feature, in shares of rows, with interval and exact permutation p-value.

Every effect here is a share: at least so much of the window's probability stands elsewhere than in the reference. One
threshold then means the same for labels, lengths and confidences. The population stability index is not among them: its
usual limit of 0.2 is exceeded by chance alone in most windows of 20 rows, and by no fixed effect in large ones.
"""

from __future__ import annotations

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


def binned(values: Floats, edges: Floats) -> Ids:
    """A histogram over the edges of a drift reference; what lies outside falls into the outer bins."""
    return np.histogram(np.clip(values, edges[0], edges[-1]), edges)[0].astype(np.int64)
